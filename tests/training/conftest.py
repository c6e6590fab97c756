"""A data set small enough to train on in a test, and recipes to train."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six maps and photos to train on and two to look at, 64x64, of four labels."""
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    labels = [{"id": i, "name": f"label {i}", "color": None, "group": "labels"} for i in range(4)]
    (root / "labels.json").write_text(json.dumps({"name": "four", "ignore": [], "labels": labels}))
    for split, n in (("train", 6), ("val", 2)):
        for kind in ("label", "img"):
            (root / f"{split}_{kind}").mkdir()
        for i in range(n):
            ids = np.kron(random.integers(0, 4, (8, 8)), np.ones((8, 8), int)).astype(np.uint8)
            photo = 60 * ids[..., None] + random.integers(0, 60, (64, 64, 3))
            Image.fromarray(ids).save(root / f"{split}_label" / f"{i}.png")
            Image.fromarray(photo.astype(np.uint8)).save(root / f"{split}_img" / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def arguments(data: Path) -> Callable[..., list[str]]:
    """`arguments(out, "--steps 3")`: the command line of a tiny training that looks at nothing unless asked to."""

    def made(out: Path, options: str = "") -> list[str]:
        run = f"train spade --preset tiny --data {data} --label-set {data / 'labels.json'} --out {out} --no-tensorboard"
        return [*run.split(), "--sample-every", "0", *options.split()]

    return made
