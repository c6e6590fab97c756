"""Does a segmenter tell good pictures from bad ones? Photos, what a model paints of their maps, and wrong pictures.

    python benchmarks/segmenter.py MODEL SEGMENTER DATA

MODEL paints label maps (`demo` comes along), SEGMENTER is of `pinxit train deeplabv3`, DATA a data set that both know
the labels of. Of its held-out split, which neither may have been trained on, are scored against the split's maps: the
photos; what MODEL paints, in a style of its own for each; and the same pictures shuffled, each against the map of
another place. A segmenter is fit to measure paintings by if it ranks them so.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from pinxit import load, modelfile
from pinxit.apps.cli.pictures import found_model
from pinxit.evaluation.held_out import Maps, held_out, write_painted, write_real
from pinxit.evaluation.pictures import pictures
from pinxit.evaluation.segmentation import segmentation_scores, segmenter

SHOWN = ("mIoU (void ignored)", "accuracy (void ignored)", "mIoU (void counted)", "accuracy (void counted)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("segmenter", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", help="by default the first held-out one")
    parser.add_argument("--pictures", type=int, help="so many, evenly spread; by default all")
    parser.add_argument("--seed", type=int, default=0, help="of the first picture's style")
    o = parser.parse_args()

    path = found_model(o.model)
    held = held_out(modelfile.read(path), o.data, split=o.split, most=o.pictures)
    if not isinstance(held, Maps):
        parser.error(f"model '{o.model}' paints no label maps; name one that does")
    judge = segmenter(o.segmenter)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_real(held, folder)
        write_painted(held, load(path), folder / "painted", o.seed)
        names = held.names()
        (folder / "shuffled").mkdir()
        for i, name in enumerate(names):
            other = names[(i + len(names) // 2) % len(names)]
            shutil.copy(folder / "painted" / f"{other}.png", folder / "shuffled" / f"{name}.png")
        maps = pictures(folder / "maps", name="maps")
        height, width = held.size
        print(
            f"{len(names)} of {held.split} of {o.data.name} at {width}x{height}, by {judge.name} ({judge.digest[:12]})"
        )
        print(f"{'':10}" + "".join(f"{name:>26}" for name in SHOWN))
        for kind in ("real", "painted", "shuffled"):
            scores = segmentation_scores(pictures(folder / kind, name=kind), maps, judge, held.labels)
            found = {score.name: score.value for score in scores}
            print(f"{kind:10}" + "".join(f"{100 * found[name]:26.1f}" for name in SHOWN))


if __name__ == "__main__":
    main()
