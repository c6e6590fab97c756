"""Photos with their drawings: which files belong together, how they are varied, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.data.photo_sketches import (
    Drawn,
    PhotoSketchStream,
    Vary,
    check_drawn,
    drawn_pictures,
    find_drawn,
    varied,
)
from pinxit.errors import PinxitError

STILL = Vary((8, 8), 8, flip=False)


def page(value: int = 255, line: int = 0, size: tuple[int, int] = (10, 10)) -> np.ndarray:
    """Paper of `value` with a line."""
    pixels = np.full(size, value, np.uint8)
    pixels[2] = line
    return pixels


@pytest.fixture
def drawn(tmp_path: Path, write: Callable[..., Path]) -> tuple[Path, Path]:
    """Photos a, a_1, b and c: drawn in files, in one file of its name, in a folder."""
    photos, sketches = tmp_path / "photos", tmp_path / "sketches"
    for name in ("a", "a_1", "b", "c"):
        write(photos / f"{name}.jpg", np.full((10, 10, 3), 99, np.uint8))
    for name in ("a", "a_1", "a_2", "a_10", "b_01", "c/x", "c/y"):
        write(sketches / f"{name}.png", page())
    return photos, sketches


def names(found: list[Drawn]) -> dict[str, list[str]]:
    return {one.photo.stem: [path.stem for path in one.sketches] for one in found}


def test_folders_and_numbered_files(drawn: tuple[Path, Path]) -> None:
    found = find_drawn(None, *drawn)
    assert names(found) == {"a": ["a", "a_2", "a_10"], "a_1": ["a_1"], "b": ["b_01"], "c": ["x", "y"]}
    assert names(find_drawn(None, *drawn, most=1)) == {"a": ["a"], "a_1": ["a_1"], "b": ["b_01"], "c": ["x"]}


def test_the_authors_layout(tmp_path: Path, write: Callable[..., Path]) -> None:
    for name in ("p1", "p2", "p3"):
        write(tmp_path / "image" / f"{name}.jpg", np.zeros((8, 8, 3), np.uint8))
        for i in (1, 2):
            write(tmp_path / "sketch-rendered" / "width-5" / f"{name}_{i:02}.png", page())
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "train.txt").write_text("p3\np1\n\n")
    (tmp_path / "list" / "val.txt").write_text("p2\n")
    assert names(find_drawn(tmp_path)) == {"p1": ["p1_01", "p1_02"], "p3": ["p3_01", "p3_02"]}
    assert names(find_drawn(tmp_path, split="val")) == {"p2": ["p2_01", "p2_02"]}
    (tmp_path / "list" / "val.txt").write_text("p4\n")
    with pytest.raises(PinxitError, match=r"is without 'p4', which '.*val.txt' lists"):
        find_drawn(tmp_path, split="val")


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("layout", ["side by side", "folders"])
def test_pairs(tmp_path: Path, write: Callable[..., Path], direction, layout: str) -> None:
    photo, sketch = np.full((10, 10, 3), (200, 50, 50), np.uint8), np.repeat(page()[..., None], 3, axis=2)
    sides = [photo, sketch] if direction == "AtoB" else [sketch, photo]
    if layout == "folders":
        for name, side in zip("AB", sides, strict=True):
            write(tmp_path / f"train{name}" / "1.png", side)
    else:
        write(tmp_path / "train" / "1.png", np.hstack(sides))
    batch = drawn_pictures(find_drawn(tmp_path, direction=direction), STILL)
    assert batch.photo.shape == (1, 3, 8, 8)
    assert batch.sketches.shape == (1, 1, 8, 8)
    assert batch.photo[0, :, 4, 4].tolist() == pytest.approx([v / 127.5 - 1 for v in (200, 50, 50)], abs=0.01)
    assert batch.sketches[0, 0, 7, 0] == 1
    assert batch.sketches.min() < 0.2


def test_photos_with_fewer_drawings_show_them_again(drawn: tuple[Path, Path], write: Callable[..., Path]) -> None:
    for i, value in enumerate((200, 210)):
        write(drawn[1] / "c" / f"{'xy'[i]}.png", page(value))
    found = find_drawn(None, *drawn)
    batch = drawn_pictures(found, STILL)
    assert batch.sketches.shape == (4, 3, 8, 8)
    assert batch.sketches[3, :, 7, 0].tolist() == pytest.approx([v / 127.5 - 1 for v in (200, 210, 200)], abs=1e-5)
    assert PhotoSketchStream(found, STILL, 2, 0).references == 3


def test_photo_and_drawings_stay_together_when_varied() -> None:
    """A drawing that is the photo's grey copy remains so; nowhere does a bare corner show."""
    y, x = np.mgrid[0:1:90j, 0:1:60j]
    photo = Image.fromarray(np.round(60 + 120 * x * y + 40 * np.sin(9 * x)).astype(np.uint8)).convert("RGB")
    vary = Vary((48, 32), 40, rotate=30, share=1.0, jitter=0.0)
    seen = []
    for seed in range(8):
        one, two = varied([photo, photo.convert("L")], vary, np.random.default_rng(seed))
        assert one.size == two.size == (32, 48)
        assert np.abs(np.asarray(one.convert("L")).astype(int) - np.asarray(two)).max() <= 1
        assert np.asarray(two).min() > 10
        seen.append(np.asarray(two).astype(float))
    assert all(np.abs(a - b).mean() > 1 for a, b in pairwise(seen))


def test_turned_by_nothing_is_the_crop() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    vary = Vary((32, 32), 40, rotate=0.0, share=1.0, jitter=0.0, flip=False)
    random = np.random.default_rng(3)
    (made,) = varied([photo], vary, random)
    again = np.random.default_rng(3)
    for _ in range(2):
        again.random()
    top, left = again.random() * 8, again.random() * 8
    want = photo.transform((32, 32), Image.Transform.AFFINE, (1, 0, left, 0, 1, top), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(made).astype(int) - np.asarray(want)).max() <= 1


def test_jitter_is_the_photos_alone_and_small() -> None:
    photo = Image.new("RGB", (16, 16), (200, 100, 50))
    vary = Vary((16, 16), 16, share=0.0, jitter=0.05, flip=False)
    made = [varied([photo, photo.convert("L")], vary, np.random.default_rng(seed)) for seed in range(20)]
    colors = np.array([one.getpixel((3, 3)) for one, _ in made])
    assert len(np.unique(colors, axis=0)) > 10
    assert np.abs(colors - (200, 100, 50)).max() < 60
    assert all(two == photo.convert("L") for _, two in made)


BAD = {
    "white on black": (page(0, 255), "is dark all over (mean 26 of 255), expected dark lines on white; invert it"),
    "blank": (page(255, 255), "is blank, expected dark lines on white; remove it"),
    "aspect": (page(size=(10, 20)), "is 20x10, expected the aspect of"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_check(drawn: tuple[Path, Path], write: Callable[..., Path], name: str) -> None:
    check_drawn(find_drawn(None, *drawn))
    for file in ("c/x", "c/y"):
        write(drawn[1] / f"{file}.png", BAD[name][0])
    with pytest.raises(PinxitError) as error:
        check_drawn(find_drawn(None, *drawn))
    assert "c/x.png' " + BAD[name][1] in str(error.value).replace("\\", "/")
    assert str(error.value).endswith("(1 more such pictures)")


def test_refusals(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    photos, sketches = drawn
    with pytest.raises(PinxitError, match="data folder is missing, expected --data, or --photos and --sketches"):
        find_drawn(None)
    with pytest.raises(PinxitError, match="data folder is given with --photos"):
        find_drawn(tmp_path, photos, sketches)
    with pytest.raises(PinxitError, match=r"sketches folder '.*none' is missing"):
        find_drawn(None, photos, tmp_path / "none")
    with pytest.raises(PinxitError, match=r"photos folder '.*none' is missing"):
        find_drawn(None, tmp_path / "none", sketches)
    (sketches / "b_01.png").unlink()
    with pytest.raises(PinxitError, match=r"photo '.*b.jpg' is without drawings, expected a folder 'b', or files b_1"):
        find_drawn(None, photos, sketches)
    with pytest.raises(PinxitError, match="--load-size is 200, expected 256 or more"):
        Vary((256, 300), 200)
    with pytest.raises(PinxitError, match="the list of photos is empty"):
        PhotoSketchStream([], STILL, 1, 0)
