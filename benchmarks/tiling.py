"""A large picture through `pinxit translate`: peak memory and time.

    python benchmarks/tiling.py --model runs/horses --side 20000
    python benchmarks/tiling.py --width 16 --blocks 6 --side 4000 --tile 512 --statistics exact

The picture is synthetic, of the kind that the model takes: light that changes from end to end, and grain that changes
from place to place. It is written as a tiled TIFF, piece by piece. Without a model, one of CycleGAN with random weights
is made, of --width and --blocks. What else is given goes to `pinxit translate`, which runs in a process of its own, so
that the peak is that of the translation alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
import torch

import pinxit
from pinxit.data.kinds import Kind
from pinxit.modelfile import ModelFile

TRANSLATE = """
import resource, sys, time
from pinxit.apps.cli.main import main
began = time.perf_counter()
main(["translate", *sys.argv[1:]])
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << (30 if sys.platform == "darwin" else 20))
print(f"peak memory {peak:.2f} GiB, time {seconds:.1f} s")
"""

EDGE = 512
"""Side of the TIFF's tiles."""


def write_picture(path: Path, side: int, kind: Kind) -> None:
    def tiles() -> Iterator[np.ndarray]:
        random = np.random.default_rng(0)
        for top in range(0, side, EDGE):
            for left in range(0, side, EDGE):
                y, x = ((start + np.arange(EDGE)) / side for start in (top, left))
                light = 0.5 + 0.3 * np.cos(5 * y + 2)[:, None] * np.sin(4 * x)
                grain = random.normal(0, 0.02 + 0.1 * top / side, (EDGE, EDGE, kind.channels))
                values = kind.low + (kind.high - kind.low) * (light[..., None] + grain).clip(0, 1)
                yield (values if kind.dtype == "float32" else values.round()).astype(kind.dtype)

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side, kind.channels),
        dtype=kind.dtype,
        tile=(EDGE, EDGE),
        planarconfig="contig",
        photometric="rgb" if kind.channels == 3 else "minisblack",
        bigtiff=True,
    )


def save_model(folder: Path, width: int, blocks: int) -> None:
    import dataclasses

    from pinxit.models.cyclegan.config import Network
    from pinxit.models.cyclegan.network import generator

    torch.manual_seed(0)
    network = Network(width=width, blocks=blocks, directions=("AtoB",), a=Kind(), b=Kind())
    tensors = {f"AtoB.{name}": value for name, value in generator(network, "AtoB").state_dict().items()}
    ModelFile("cyclegan", dataclasses.asdict(network), tensors).save(folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    o, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as place:
        model, picture = o.model, Path(place, "picture.tif")
        if model is None:
            save_model(model := Path(place, "model"), o.width, o.blocks)
        write_picture(picture, o.side, pinxit.load(model).input)
        command = [model, picture, "--out", Path(place, "out"), *options]
        subprocess.run([sys.executable, "-c", TRANSLATE, *map(str, command)], check=True)


if __name__ == "__main__":
    main()
