"""Real samples, where they are, and small pictures made up for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

# A machine that trains beside the tests is slow now and then; that is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

PACKS = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def pack() -> Callable[[str], Path]:
    """`pack(name)`: the folder of a real sample; skips where it is not."""

    def find_pack(name: str) -> Path:
        folder = PACKS / name
        if not folder.is_dir():
            pytest.skip(f"no sample data: {folder} is missing")
        return folder

    return find_pack


@pytest.fixture
def write() -> Callable[..., Path]:
    """`write(path, array)`: save an array as a picture, with its folders; returns the path."""

    def write_picture(path: Path, pixels: np.ndarray, **options: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)  # pyright: ignore[reportArgumentType]
        return path

    return write_picture


@pytest.fixture
def small_set(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """A folder of five 12x16 pairs with instance maps: ids 0..2 and 255, in train_label, train_img and train_inst."""
    random = np.random.default_rng(0)
    for number in range(5):
        ids = random.choice(np.array([0, 1, 2, 255], np.uint8), (12, 16))
        write(tmp_path / "set" / "train_label" / f"{number}.png", ids)
        write(tmp_path / "set" / "train_img" / f"{number}.png", random.integers(0, 256, (12, 16, 3), np.uint8))
        write(tmp_path / "set" / "train_inst" / f"{number}.png", random.integers(0, 40000, (12, 16)).astype(np.uint16))
    return tmp_path / "set"
