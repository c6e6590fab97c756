"""Sets of pictures: order, reading, digest, sizes, pairs, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation.pictures import Pictures, pairs, pictures


def painted(folder: Path, *names: str, size: tuple[int, int] = (6, 8), seed: int = 0) -> Path:
    """A folder of pictures of noise, of `size` (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / name)
    return folder


def test_a_folder_is_its_pictures_in_natural_order(tmp_path: Path) -> None:
    folder = painted(tmp_path / "a", "img10.png", "img9.png", "img1.jpg", ".hidden.png")
    (folder / "notes.txt").write_text("no picture")
    painted(folder / "below.png", "img0.png")  # a folder of such a name
    found = pictures(folder, name="real pictures")
    assert [file.name for file in found.files] == ["img1.jpg", "img9.png", "img10.png"]
    assert len(found) == 3
    assert found.name == "real pictures"
    assert len(list(found)) == 3  # it ends, as sequences do
    again = pictures(list(reversed(found.files)), name="the same")
    assert again.files == found.files


def test_a_picture_is_its_values_as_uint8(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    Image.fromarray(values).convert("RGBA").save(tmp_path / "b.png")
    grey = np.arange(35, dtype=np.uint16).reshape(5, 7) * 1800
    Image.fromarray(grey).save(tmp_path / "c.png")
    of = pictures(tmp_path, name="x")
    assert of[0].dtype == torch.uint8
    expected = torch.from_numpy(values.transpose(2, 0, 1).copy())
    assert torch.equal(of[0], expected)
    assert torch.equal(of[1], expected)
    assert of[2].shape == (3, 5, 7)
    assert int(of[2].max()) == round(34 * 1800 * 255 / 65535)
    with pytest.raises(IndexError):
        of[3]


def test_size_brings_all_to_one(tmp_path: Path) -> None:
    folder = painted(tmp_path, "a.png")
    painted(tmp_path, "b.png", size=(4, 4))
    of = pictures(folder, name="x", size=(4, 4))
    assert of.sizes() == [(4, 4), (4, 4)]
    assert of[0].shape == of[1].shape == (3, 4, 4)
    assert torch.equal(of[1], pictures(folder, name="x")[1])  # untouched where it has the size
    resized = Image.open(folder / "a.png").resize((4, 4), Image.Resampling.BICUBIC)
    assert torch.equal(of[0], torch.from_numpy(np.array(resized).transpose(2, 0, 1)))


def test_digest_is_of_contents_order_and_size_not_of_the_place(tmp_path: Path) -> None:
    a = painted(tmp_path / "a", "1.png", "2.png")
    digest = pictures(a, name="x").digest
    b = tmp_path / "elsewhere"
    shutil.copytree(a, b)
    assert pictures(b, name="y").digest == digest
    assert pictures(b, name="y", size=(4, 4)).digest not in (digest, pictures(b, name="y", size=(4, 5)).digest)
    (b / "1.png").rename(b / "3.png")
    assert pictures(b, name="y").digest != digest  # rows of features are in another order
    (b / "3.png").rename(b / "1.png")
    painted(b, "2.png", seed=1)
    assert pictures(b, name="y").digest != digest


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_sizes_are_those_of_upright_pictures(suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.new("RGB", (8, 5))
    image.save(tmp_path / f"flat.{suffix}")
    image.save(tmp_path / f"turned.{suffix}", exif=exif)
    of = pictures(tmp_path, name="x")
    assert of.sizes() == [(5, 8), (8, 5)] == [tuple(picture.shape[1:]) for picture in of]


def test_one_size(tmp_path: Path) -> None:
    painted(tmp_path, "a.png", "b.png", "c.png")
    assert pictures(tmp_path, name="x").one_size() == (6, 8)
    painted(tmp_path, "d.png", size=(7, 8))
    painted(tmp_path, "e.png", size=(9, 9))
    line = (
        r"^size of the pictures in x is 8x6 for 3 and 8x7 for 1 and 1 more sizes, expected one for all "
        r"\(width x height\); give --size to bring all to one, or choose those of one size$"
    )
    with pytest.raises(PinxitError, match=line):
        pictures(tmp_path, name="x").one_size()
    assert pictures(tmp_path, name="x", size=(5, 5)).one_size() == (5, 5)


def test_pairs_are_by_name_without_suffix(tmp_path: Path) -> None:
    a = pictures(painted(tmp_path / "a", "2.png", "10.png", "1.jpg"), name="a")
    b = pictures(painted(tmp_path / "b", "1.png", "2.png", "10.png"), name="b")
    assert pairs(a, b) == [(0, 0), (1, 1), (2, 2)]
    assert pairs(Pictures(a.files[1:], "a"), Pictures(b.files[1:], "b")) == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda t: pictures(t / "none", name="real pictures"), "folder '.*none' of real pictures is missing, expected"),
        (lambda t: pictures(painted(t, "a.png") / "a.png", name="x"), "of x is a file, expected a folder of pictures"),
        (lambda t: pictures(t, name="x"), "number of x in '.*' is 0, expected at least 2"),
        (lambda t: pictures(painted(t, "a.png"), name="x"), "number of x in '.*' is 1, expected at least 2"),
        (lambda t: pictures([], name="x", least=1), "number of x is 0, expected at least 1"),
        (
            lambda t: pictures(painted(t / "val", "a.png").parent, name="x"),
            "without pictures of its own, expected some; name one of the folders below it, such as 'val'",
        ),
        (lambda t: pictures([t / "a.png"], name="x"), "'.*a.png' of x is missing, expected a picture file"),
        (lambda t: pictures([Path(__file__)], name="x"), r"'.*\.py' of x is of another kind, expected a picture"),
        (
            lambda t: pairs(
                pictures(painted(t / "a", "1.png", "2.png", "3.png"), name="those", least=1),
                pictures(painted(t / "b", "1.png"), name="these", least=1),
            ),
            "'.*2.png' and 1 more of those is without a picture of its name among these, expected pairs",
        ),
        (
            lambda t: pairs(
                pictures(painted(t / "a", "1.png"), name="those", least=1),
                pictures(painted(t / "b", "1.png", "2.png"), name="these", least=1),
            ),
            "'.*2.png' of these is without a picture of its name among those",
        ),
        (
            lambda t: pairs(*(2 * [pictures(painted(t, "1.png", "1.jpg"), name="x")])),
            "name '1' is that of .*, expected one file of each name",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(make: Callable[[Path], object], line: str, tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=f"^[^\n]*{line}[^\n]*$"):
        make(tmp_path)


@pytest.mark.parametrize("read", [lambda of: of[0], lambda of: of.sizes(), lambda of: of.one_size()])
def test_what_is_no_picture_inside_is_told_when_it_is_read(read: Callable[[Pictures], Tensor], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>404</html>")
    painted(tmp_path, "b.png")
    with pytest.raises(PinxitError, match=r"^photo '.*a.png' is not a picture, expected [^\n]*$"):
        read(pictures(tmp_path, name="x"))


def test_a_picture_that_has_gone_is_told(tmp_path: Path) -> None:
    of = pictures(painted(tmp_path, "a.png", "b.png"), name="x")
    (tmp_path / "b.png").unlink()
    for read in (lambda: of[1], of.sizes, lambda: of.digest):
        with pytest.raises(PinxitError, match=r"^photo '.*b.png' is missing, expected a picture file"):
            read()
