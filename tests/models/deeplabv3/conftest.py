"""A data set that a tiny network learns at once: dark, red and bright blocks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLORS = np.array([(30, 30, 40), (200, 60, 50), (220, 220, 200)])


def draw(root: Path, split: str, n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for kind in ("label", "img"):
        (root / f"{split}_{kind}").mkdir(parents=True)
    for i in range(n):
        ids = np.kron(random.integers(0, 3, (3, 4)), np.ones((16, 16), int)).astype(np.uint8)
        photo = COLORS[ids] + random.integers(-20, 20, (48, 64, 3))
        ids[:4, :4] = 255
        Image.fromarray(ids).save(root / f"{split}_label" / f"{i}.png")
        Image.fromarray(photo.astype(np.uint8)).save(root / f"{split}_img" / f"{i}.png")


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pairs to train on and three to look at, 48x64, whose corner is 'unknown', and their `labels.json`."""
    root = tmp_path_factory.mktemp("blocks")
    labels = [{"id": i, "name": name, "color": COLORS[i].tolist()} for i, name in enumerate(("dark", "red", "bright"))]
    (root / "labels.json").write_text(json.dumps({"name": "blocks", "ignore": [255], "labels": labels}))
    draw(root, "train", 8, 0)
    draw(root, "val", 3, 1)
    return root
