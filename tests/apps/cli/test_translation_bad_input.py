"""pix2pix and CycleGAN through the commands: scientists' pictures there and back, and what a user may do wrong."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from pinxit import modelfile
from pinxit.apps.cli.main import main
from pinxit.data.kinds import Kind
from pinxit.data.rasters import read_raster, write_raster
from pinxit.modelfile import ModelFile
from pinxit.models import METHODS
from pinxit.models.pix2pix.config import Network
from pinxit.models.pix2pix.network import generator
from pinxit.models.pix2pix.weights import official_names
from pinxit.translator import Translator

from .conftest import TINY, Pinxit, files_in, in_a_process, save_model

RUN = "--preset tiny --steps 1 --no-tensorboard --sample-every 0"
PIX2PIX = f"train pix2pix {RUN} --out run --data"
CYCLEGAN = f"train cyclegan {RUN} --out run --data"
HEIGHT, WIDTH = 72, 81
"""Of the scientists' pictures: larger than the smallest window, and no multiple of anything."""


def picture(channels: int, dtype: str, number: int = 0) -> np.ndarray:
    random = np.random.default_rng((channels, number))
    if dtype == "uint16":
        return random.integers(0, 65536, (HEIGHT, WIDTH, channels), np.uint16)
    return random.normal(100, 40, (HEIGHT, WIDTH, channels)).astype(np.float32)


def save_sides(folder: Path, a: int, b: int, suffix: str, n: int = 2) -> None:
    for side, channels in (("trainA", a), ("trainB", b)):
        (folder / side).mkdir(parents=True)
        for i in range(n):
            array = picture(channels, "float32" if suffix == ".npy" else "uint16", i)
            if suffix == ".png":
                write_raster(folder / side / f"{i}.png", (array >> 8).astype(np.uint8))
            elif suffix == ".npy":
                np.save(folder / side / f"{i}.npy", array[..., 0] if channels == 1 else array)
            else:
                planar = None if channels == 1 else "contig"
                tifffile.imwrite(
                    folder / side / f"{i}.tif", array.squeeze(), photometric="minisblack", planarconfig=planar
                )


KINDS = {
    "1-channel TIFF": ("tif1", 1, 1, ".tif"),
    "4-channel TIFF": ("tif4", 4, 4, ".tif"),
    "7-channel TIFF": ("tif7", 7, 7, ".tif"),
    "7 to 1 channels, TIFF": ("tif71", 7, 1, ".tif"),
    "1-channel .npy": ("npy1", 1, 1, ".npy"),
    "4 to 7 channels, .npy": ("npy47", 4, 7, ".npy"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of each kind and, in `of_…`, models of a step that the command trained on it. Nobody writes here."""
    home = tmp_path_factory.mktemp("trained")
    for name, a, b, suffix in (*KINDS.values(), ("rgb", 3, 3, ".png")):
        save_sides(home / name, a, b, suffix)
        main([*f"train pix2pix {RUN} --data {home / name} --out {home / f'of_{name}'}".split()])
    main([*f"train cyclegan {RUN} --data {home / 'rgb'} --out {home / 'both_ways'}".split()])
    (home / "ab/train").mkdir(parents=True)
    for i in range(2):
        write_raster(home / f"ab/train/{i}.png", np.full((40, 80, 3), 60 * i, np.uint8))
    save_model(home / "streets", TINY)
    return home


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the test's own, which is also the current one."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path)  # pytest keeps the folders of three sessions


# There and back.


@pytest.mark.parametrize("tile", ["", "--tile 64 --overlap 8"])
@pytest.mark.parametrize("case", KINDS)
def test_what_comes_out_is_of_the_kind_that_was_trained_for(place: Path, pinxit: Pinxit, case: str, tile: str) -> None:
    name, _, channels, suffix = KINDS[case]
    ran = pinxit("translate", f"of_{name}", f"{name}/trainA", *tile.split())
    assert ran.status == 0, ran.err
    of_b = read_raster(f"{name}/trainB/0{suffix}")
    assert sorted(path.name for path in Path("translated").iterdir()) == [f"0{suffix}", f"1{suffix}"]
    for i in range(2):
        got = read_raster(f"translated/{i}{suffix}")
        assert (got.shape, got.dtype) == ((HEIGHT, WIDTH, channels), of_b.dtype)
        assert got.std() > 0
    if suffix == ".npy":  # an array [H, W] comes back as one
        assert np.load("translated/0.npy").ndim == (2 if name == "npy1" else 3)
    output = modelfile.read(Path(f"of_{name}")).config["output"]
    assert (output["channels"], output["dtype"]) == (channels, str(of_b.dtype))


class Same(Translator):
    """Gives what it takes."""

    def __init__(self, file: ModelFile, device: str) -> None:
        kind = Kind.from_dict(file.config["kind"])
        network = nn.Identity()
        network.register_parameter("unused", nn.Parameter(torch.zeros(())))  # tells the command its device
        super().__init__(network, kind, kind, multiple=1, smallest=1, margin=0, device=torch.device(device))


@pytest.mark.parametrize("tile", ["", "--tile 64"])
@pytest.mark.parametrize("channels", [1, 4, 7])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_reading_and_writing_lose_nothing(
    place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch, dtype: str, channels: int, tile: str
) -> None:
    """16 bits come back to the bit through a model that does nothing; floats but for the rounding to -1 .. 1."""
    monkeypatch.setitem(METHODS, "same", "same_method")
    monkeypatch.setitem(sys.modules, "same_method", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "same_method.generate", SimpleNamespace(load=Same))
    array = picture(channels, dtype)
    low, high = (0, 65535) if dtype == "uint16" else (float(array.min()), float(array.max()))
    ModelFile("same", {"kind": Kind(channels, dtype, low, high).as_dict()}, {"x": torch.zeros(1)}).save(Path("same"))  # pyright: ignore[reportArgumentType]
    for suffix in (".tif", ".npy"):
        write_raster(f"mine{suffix}", array)
        assert (read_raster(f"mine{suffix}") == array).all()
        ran = pinxit("translate", "same", f"mine{suffix}", *tile.split())
        assert (ran.status, ran.err) == (0, "")
        got = read_raster(f"translated/mine{suffix}")
        assert (got.shape, got.dtype) == (array.shape, array.dtype)
        if dtype == "uint16":
            assert (got == array).all()
            assert files_in(Path("translated"))[f"mine{suffix}"] == Path(f"mine{suffix}").read_bytes()
        else:
            assert np.abs(got - array).max() <= 1e-7 * (high - low)
    with tifffile.TiffFile("translated/mine.tif") as file:  # another program sees the same picture
        assert (np.asarray(file.asarray()).reshape(array.shape) == read_raster("translated/mine.tif")).all()


def test_dropout_that_a_model_was_told_to_keep_hangs_on_the_seed(place: Path, pinxit: Pinxit) -> None:
    assert pinxit(*PIX2PIX.split(), "tif4", "--test-dropout", "--depth", "6").status == 0
    for name, seed in (("one", 0), ("again", 0), ("other", 5)):
        assert pinxit("translate", "run", "tif4/trainA/0.tif", "--seed", seed, "--out", name).status == 0
    one, again, other = (Path(name, "0.tif").read_bytes() for name in ("one", "again", "other"))
    assert one == again
    assert one != other


# What is wrong, done to the current folder.


def cut(path: str, to: float = 0.5) -> Callable[[], None]:
    def wrong() -> None:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: int(len(content) * to)])

    return wrong


def gaps(path: str, value: float = np.nan) -> Callable[[], None]:
    def wrong() -> None:
        array = np.load(path)
        array[3:5, 4] = value
        np.save(path, array)

    return wrong


def save(path: str, *shape: int, dtype: type = np.uint8) -> Callable[[], None]:
    def wrong() -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_raster(path, np.zeros(shape, dtype))

    return wrong


def without(*paths: str) -> Callable[[], None]:
    def wrong() -> None:
        for path in paths:
            Path(path).unlink()

    return wrong


def other_suffix() -> None:
    Path("rgb/trainA/0.png").unlink()
    write_raster("rgb/trainA/0.tif", np.zeros((HEIGHT, WIDTH, 3), np.uint16))


def release() -> None:
    """A U-Net of the authors' form."""
    G = generator(Network(depth=3, width=2, input=Kind(), output=Kind()))
    state = G.state_dict()
    Path("release").mkdir()
    torch.save({theirs: state[ours] for ours, theirs in official_names(G).items()}, "release/latest_net_G.pth")


def nothing() -> None:
    pass


def empty_folder() -> None:
    Path("nothing").mkdir()


CHECKED = {
    # what: (the wrong, the data folder, what the line must say: name, value, remedy)
    "unequal counts": (
        without("rgb/trainA/1.png"),
        "rgb",
        ("sides of 1 and 2 pictures", "'rgb/trainB/1.png'", "add what is missing or remove the rest"),
    ),
    "mismatched sizes": (
        save("rgb/trainB/1.png", HEIGHT, 40, 3),
        "rgb",
        ("size of 'rgb/trainB/1.png' is 40x72", "81x72 (width x height) as 'rgb/trainA/1.png' has", "resize"),
    ),
    "odd width": (save("ab/train/1.png", 40, 81, 3), "ab", ("width of 'ab/train/1.png' is 81", "even", "two folders")),
    "gaps": (
        gaps("npy47/trainA/1.npy"),
        "npy47",
        ("'npy47/trainA/1.npy' is not a number or infinite in 8 of", "fill the gaps"),
    ),
    "infinite": (gaps("npy47/trainB/0.npy", np.inf), "npy47", ("'npy47/trainB/0.npy'", "infinite in 14 of")),
    "empty side": (
        without("rgb/trainB/0.png", "rgb/trainB/1.png"),
        "rgb",
        ("side B folder 'rgb/trainB' is without pictures", "check the path"),
    ),
    "cut TIFF": (
        cut("tif7/trainB/1.tif"),
        "tif7",
        ("picture 'tif7/trainB/1.tif' is damaged", "copy or download it again"),
    ),
    "TIFF of a few bytes": (cut("tif7/trainB/1.tif", 0.0001), "tif7", ("'tif7/trainB/1.tif' is damaged",)),
    "empty TIFF": (cut("tif4/trainA/0.tif", 0), "tif4", ("'tif4/trainA/0.tif' is damaged", "copy or download")),
    "two kinds on a side": (other_suffix, "rgb", ("3-channel uint16", "3-channel uint8", "convert")),
    "two files of a name": (
        save("rgb/trainA/1.tif", HEIGHT, WIDTH, 3),
        "rgb",
        ("name '1' is that of 'rgb/trainA/1.png' and 'rgb/trainA/1.tif'", "remove or rename one"),
    ),
}

BAD: dict[str, tuple[Callable[[], None], str, tuple[str, ...]]] = {
    **{f"{what}, trained on": (wrong, f"{PIX2PIX} {data}", said) for what, (wrong, data, said) in CHECKED.items()},
    # CycleGAN's sides need be neither equally many nor of one size.
    **{
        f"{what}, CycleGAN": (wrong, f"{CYCLEGAN} {data} --identity 0", said)
        for what, (wrong, data, said) in CHECKED.items()
        if what not in ("unequal counts", "mismatched sizes", "two files of a name")
    },
    "other channels": (
        nothing,
        "translate of_tif4 tif7/trainA",
        ("picture 'tif7/trainA/0.tif' is 7-channel uint16, expected 4-channel uint16", "convert it"),
    ),
    "other numbers": (nothing, "translate of_npy1 tif1/trainA", ("1-channel uint16, expected 1-channel float32",)),
    "the last of several": (
        nothing,
        "translate of_rgb rgb/trainA/1.png tif4/trainB/0.tif --out elsewhere/deep",
        ("'tif4/trainB/0.tif' is 4-channel uint16", "expected 3-channel uint8"),
    ),
    "gaps, translated": (
        gaps("npy1/trainA/1.npy"),
        "translate of_npy1 npy1/trainA",
        ("picture 'npy1/trainA/1.npy' is not a number or infinite in 2 of", "fill the gaps"),
    ),
    "cut TIFF, translated": (
        cut("tif7/trainA/1.tif"),
        "translate of_tif7 tif7/trainA",
        ("picture 'tif7/trainA/1.tif' is damaged", "copy or download it again"),
    ),
    "BtoA of a model with one way": (
        nothing,
        "translate of_rgb rgb/trainB --direction BtoA",
        ("--direction is BtoA", "'of_rgb' knows one way", "leave it out"),
    ),
    "a folder without pictures": (empty_folder, "translate of_rgb nothing", ("folder 'nothing' is without pictures",)),
    "a folder of sides": (nothing, "translate of_rgb rgb", ("folder 'rgb' is without pictures", "check the path")),
    "a model of label maps": (
        nothing,
        "translate streets rgb/trainA",
        ("model 'streets' is of method spade", "use pinxit paint"),
    ),
    "painting with a translator": (
        nothing,
        "paint of_rgb rgb/trainA",
        ("model 'of_rgb' is of method pix2pix", "use pinxit translate"),
    ),
    "painting with CycleGAN": (
        nothing,
        "paint both_ways rgb/trainA",
        ("model 'both_ways' is of method cyclegan", "use pinxit translate"),
    ),
    "the picture over itself": (
        nothing,
        "translate of_rgb rgb/trainA/0.png --out rgb/trainA/0.png",
        ("--out 'rgb/trainA/0.png'", "would be painted over", "name another"),
    ),
    "the folder over itself": (
        nothing,
        "translate of_rgb rgb/trainA --out rgb/trainA",
        ("--out 'rgb/trainA'", "would be painted over", "name another"),
    ),
    "a window of 7": (
        nothing,
        "translate of_rgb rgb/trainA --tile 7",
        ("--tile is 7, expected 64 or more", "leave it out"),
    ),
    "7 channels as PNG": (
        nothing,
        "translate of_tif7 tif7/trainA/0.tif --out a.png",
        ("format of 'a.png' is .png", ".tif or .npy for a 7-channel uint16 picture"),
    ),
    "norm of instance norm": (nothing, "translate both_ways rgb/trainA --norm running", ("--norm is given",)),
    "dropout of a U-Net too shallow for any": (
        nothing,
        "translate of_rgb rgb/trainA --dropout",
        ("--dropout is given, expected a model with dropout, which 'of_rgb' is not", "leave it out"),
    ),
    "dropout of none": (nothing, "translate both_ways rgb/trainA --dropout", ("--dropout is given",)),
    "a checkpoint for a model": (nothing, "translate of_rgb/state.pt rgb/trainA", ("'of_rgb/state.pt' is unreadable",)),
    "a discriminator too deep": (
        nothing,
        f"{PIX2PIX} rgb --d-layers 9",
        ("--d-layers is 9, expected 4 or fewer for pictures of 64x64", "lower it"),
    ),
    "a discriminator too deep, CycleGAN": (nothing, f"{CYCLEGAN} rgb --d-layers 4", ("--d-layers is 4, expected 3",)),
    "too many scales": (
        nothing,
        f"{PIX2PIX.replace('pix2pix', 'pix2pixhd')} rgb --source pictures --features none --d-scales 7",
        ("--d-scales is 7, expected 6 or fewer for pictures of 64x64", "lower it"),
    ),
    "a size that the halvings do not divide": (
        nothing,
        f"{PIX2PIX} rgb --size 48 64",
        ("--size is 48 64, expected multiples of 32", "--depth"),
    ),
    "identity of unlike sides": (
        nothing,
        f"{CYCLEGAN} npy47",
        ("--identity is 0.5 with 4 channels of A and 7 of B", "--identity 0"),
    ),
    "a range that is none": (nothing, f"{PIX2PIX} npy1 --range-a 5 5", ("is 5..5", "a low and a higher value")),
    "one side alone": (nothing, f"{PIX2PIX.removesuffix(' --data')} --a rgb/trainA", ("one of side B", "name these")),
    "a side for the data": (nothing, f"{PIX2PIX} rgb/trainA", ("data folder 'rgb/trainA'", "trainA and trainB")),
    "an import of nothing": (nothing, "import cyclegan --out model", ("FOLDER is missing", "before the options")),
    "pix2pix's release as CycleGAN's": (
        release,
        "import cyclegan release --out model",
        ("'release/latest_net_G.pth' is with model.model", "expected a ResNet generator"),
    ),
    "pix2pix's release as pix2pixHD's": (
        release,
        "import pix2pixhd release --out model",
        ("'release/latest_net_G.pth' is of other names", "a generator of pix2pixHD"),
    ),
    "an epoch that is not there": (release, "import cyclegan release --epoch 9 --out model", ("without 9_net_G*.pth",)),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_touches_no_file(place: Path, pinxit: Pinxit, case: str) -> None:
    wrong, command, said = BAD[case]
    wrong()
    before, folders = files_in(place), folders_in(place)
    ran = pinxit(*command.split())
    assert (ran.status, ran.out) == (2, ""), ran
    assert_one_line(ran.err)
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert files_in(place) == before
    assert folders_in(place) == folders


@pytest.mark.parametrize("case", CHECKED)
def test_the_check_tells_the_same(place: Path, pinxit: Pinxit, case: str) -> None:
    wrong, data, said = CHECKED[case]
    wrong()
    before = files_in(place)
    ran = pinxit("data", "check", data)
    assert ran.status == 2
    problems = re.findall(r"^(?:problem|pinxit): (.*)$", ran.out + ran.err, flags=re.MULTILINE)
    assert len(problems) == 1
    assert [words for words in said[:1] if words not in problems[0]] == [], problems
    assert files_in(place) == before


@pytest.mark.parametrize("wrong", [gaps("npy1/trainA/1.npy"), cut("npy1/trainA/1.npy")], ids=["gaps", "cut"])
def test_what_only_a_window_shows_leaves_nothing_behind(place: Path, pinxit: Pinxit, wrong: Callable[[], None]) -> None:
    """Where pictures are read in windows, no look at all of them comes first."""
    wrong()
    before, folders = files_in(place), folders_in(place)
    command = "translate of_npy1 npy1/trainA/1.npy --tile 64 --overlap 8 --out new/deep"
    ran = pinxit(*command.split())
    assert (ran.status, ran.out) == (2, "")
    assert_one_line(ran.err.splitlines(keepends=True)[-1])
    assert "'npy1/trainA/1.npy' is" in ran.err
    assert (files_in(place), folders_in(place)) == (before, folders)


@pytest.mark.parametrize("case", ["cut TIFF, translated", "gaps, trained on", "unequal counts, trained on"])
def test_in_a_process_of_its_own(place: Path, case: str) -> None:
    """Nothing but the one line comes out of a real process either, such as tifffile's log or torch's warnings."""
    wrong, command, said = BAD[case]
    wrong()
    before = files_in(place)
    done = in_a_process("-m", "pinxit", *command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert_one_line(done.stderr)
    assert [words for words in said if words not in done.stderr] == []
    assert files_in(place) == before


def assert_one_line(text: str) -> None:
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", text), text
    assert "Traceback" not in text


def folders_in(place: Path) -> set[Path]:
    return {path for path in place.rglob("*") if path.is_dir()}
