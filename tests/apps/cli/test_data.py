"""`pinxit data check` on data sets of two sides; those of label maps are in test_journeys and test_bad_input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pinxit.data.rasters import write_raster

from .conftest import Pinxit


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`joint` has side-by-side files, `apart` pairs in two folders, each with three."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder in ("joint/train", "apart/trainA", "apart/trainB"):
        Path(folder).mkdir(parents=True)
        for number in range(3):
            write_raster(f"{folder}/{number}.png", random.integers(0, 256, (8, 10, 3)).astype(np.uint8))


def test_reports_of_sound_data(pinxit: Pinxit) -> None:
    ran = pinxit("data", "check", "joint")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == "3 pictures, A and B side by side"
    assert ran.out.splitlines()[-1] == "no problems"
    assert "8x5" in ran.out
    for arguments in (["apart"], ["--a", "apart/trainA", "--b", "apart/trainB"]):
        ran = pinxit("data", "check", *arguments)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[0] == "3 pictures on side A, 3 on side B, by name"


def test_unpaired_sides(pinxit: Pinxit) -> None:
    Path("apart/trainB/2.png").unlink()
    ran = pinxit("data", "check", "apart")
    assert ran.status == 2
    assert "problem: sides of 3 and 2 pictures have a picture without counterpart ('apart/trainA/2.png')" in ran.out
    assert ran.out.splitlines()[-1] == "1 problem"
    ran = pinxit("data", "check", "apart", "--unpaired")
    assert ran.status == 0
    assert ran.out.splitlines()[0] == "3 pictures on side A, 2 on side B, unpaired"


def spoil_size() -> None:
    write_raster("apart/trainB/1.png", np.zeros((8, 9, 3), np.uint8))


def spoil_width() -> None:
    write_raster("joint/train/1.png", np.zeros((8, 9, 3), np.uint8))


def spoil_channels() -> None:
    write_raster("apart/trainA/1.png", np.zeros((8, 10, 4), np.uint8))


def spoil_file() -> None:
    path = Path("apart/trainA/1.png")
    path.unlink()
    write_raster("apart/trainA/1.tif", np.zeros((8, 10, 3), np.uint8))
    with Path("apart/trainA/1.tif").open("rb+") as file:
        file.truncate(300)


def spoil_numbers() -> None:
    for side in "AB":
        for path in Path(f"apart/train{side}").iterdir():
            path.unlink()
        for number in range(3):
            write_raster(
                f"apart/train{side}/{number}.npy", np.full((8, 10, 1), np.nan if side == "B" else 1, np.float32)
            )


@pytest.mark.parametrize(
    ("spoil", "folder", "number", "words"),
    [
        (spoil_size, "apart", 1, "size of 'apart/trainB/1.png' is 9x8, expected 10x8 (width x height) as"),
        (spoil_width, "joint", 1, "width of 'joint/train/1.png' is 9, expected an even number"),
        (spoil_channels, "apart", 1, "'apart/trainA/1.png' is 4-channel uint8, expected 3-channel uint8"),
        (spoil_file, "apart", 1, "'apart/trainA/1.tif' is damaged (it ends early"),
        (spoil_numbers, "apart", 3, "is not a number or infinite in 80 of 80 values"),
    ],
)
def test_each_mistake_has_a_line(
    pinxit: Pinxit, spoil: Callable[[], None], folder: str, number: int, words: str
) -> None:
    spoil()
    ran = pinxit("data", "check", folder)
    assert (ran.status, ran.err) == (2, "")
    lines = [line for line in ran.out.splitlines() if line.startswith("problem: ")]
    assert len(lines) == number, ran.out
    assert all(words in line for line in lines), ran.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["apart", "--a", "apart/trainA"], "FOLDER is given with --a or --b"),
        (
            ["--a", "apart/trainA"],
            "FOLDER is missing, expected a data set's folder, or --maps and --photos, or --a and",
        ),
        (["--a", "x", "--b", "y", "--maps", "z"], "--maps or --photos is given with --a or --b"),
        (["--a", "apart/trainA", "--b", "nowhere"], "side B folder 'nowhere' is missing"),
        (["apart", "--split", "test"], "is 'test', expected one of train"),
        (["joint/train"], "data folder 'joint/train' is of no layout that is known, expected one with train_label and"),
        (["nowhere"], "data folder 'nowhere' is missing"),
    ],
)
def test_wrong_arguments(pinxit: Pinxit, arguments: list[str], words: str) -> None:
    ran = pinxit("data", "check", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("pinxit: ")
    assert ran.err.count("\n") == 1
    assert words in ran.err


@pytest.fixture
def captioned() -> Path:
    """Photos a and b with a table of captions, beside a set of label maps."""
    for name in ("captioned/train/a.png", "captioned/train/b.png"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        write_raster(name, np.zeros((8, 10, 3), np.uint8))
    Path("captioned/train_captions.csv").write_text("image,caption\na.png,a cat\nb.png,two  dogs\nb.png,dogs\n")
    return Path("captioned")


def test_captions_are_recognised(pinxit: Pinxit, captioned: Path) -> None:
    for arguments in ([], ["--captions"]):
        ran = pinxit("data", "check", "captioned", *arguments)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out.splitlines()[0] == "2 photos with 3 captions"
        assert ran.out.splitlines()[-1] == "no problems"
    ran = pinxit("data", "check", "captioned", "--split", "val")
    assert ran.status == 2
    assert "split of 'captioned' is 'val', expected one of train; name one of these" in ran.err


def test_captions_beside_label_maps(pinxit: Pinxit, captioned: Path) -> None:
    """Then they are looked at when that is asked for."""
    for folder, values in (
        ("train_label", np.ones((8, 10, 1), np.uint8)),
        ("train_img", np.zeros((8, 10, 3), np.uint8)),
    ):
        (captioned / folder).mkdir()
        write_raster(captioned / folder / "a.png", values)
    assert pinxit("data", "check", "captioned", "--label-set", "camvid").out.startswith("1 label maps, 1 photos")
    assert pinxit("data", "check", "captioned", "--captions").out.startswith("2 photos with 3 captions")
    assert pinxit("data", "check", "--captions", "--maps", "x", "--photos", "y").status == 2


def test_all_that_is_wrong_with_captions(pinxit: Pinxit, captioned: Path) -> None:
    (captioned / "train/a.png").write_bytes(b"no picture")
    (captioned / "train_captions.csv").write_text("image,caption\na.png,a cat\nc.png,x\nd.png,\n")
    ran = pinxit("data", "check", "captioned")
    assert ran.status == 2
    assert [line.split(", expected")[0] for line in ran.out.splitlines() if line.startswith("problem:")] == [
        "problem: caption in line 4 of 'captioned/train_captions.csv' is empty",
        "problem: photo 'captioned/train/c.png' is missing though it has captions",
        "problem: caption of photo 'captioned/train/b.png' is missing",
        "problem: photo 'captioned/train/a.png' is not a picture",
    ]
    assert ran.out.splitlines()[-1] == "4 problems"
