"""`pinxit translate`: files in, files out, whole or in windows, with a small method of the tests' own."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit import modelfile
from pinxit.apps.cli import translate
from pinxit.data.kinds import Kind
from pinxit.data.rasters import from_unit, read_raster, to_unit, write_raster
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models import METHODS
from pinxit.nn.dropout import Dropout, masks_of

from .conftest import TINY, Pinxit, files_in, in_a_process, pixels, save_model


class Network(nn.Module):
    """A stride, norms by the picture and a transposed convolution, as those of the methods have."""

    def __init__(self, channels_in: int, channels_out: int, norm: str, dropout: bool = False) -> None:
        super().__init__()

        def normed() -> nn.Module:
            return nn.InstanceNorm2d(4) if norm == "instance" else nn.BatchNorm2d(4)

        self.body = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels_in, 4, 3), normed(), nn.ReLU()),
            *(nn.Conv2d(4, 4, 3, 2, 1), normed(), nn.ReLU(), Dropout(0.5, dropout)),
            *(nn.ConvTranspose2d(4, 4, 4, 2, 1), normed(), nn.ReLU()),
            *(nn.Conv2d(4, channels_out, 3, padding=1), nn.Tanh()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Model:
    """What the methods' models have."""

    multiple, margin = 4, 8

    def padded(self, side: int) -> int:
        return -(-side // 4) * 4

    def __init__(self, file: ModelFile, way: str) -> None:
        self.file, c = file, file.config
        self.config = c
        sides = [Kind.from_dict(c["a"]), Kind.from_dict(c["b"])]
        self.input, self.output = sides if way == "AtoB" else sides[::-1]
        self.network = Network(self.input.channels, self.output.channels, c["norm"], c["test_dropout"])
        state = {name.removeprefix(f"{way}."): v for name, v in file.tensors.items() if name.startswith(f"{way}.")}
        self.network.load_state_dict(state)
        self.network.eval().requires_grad_(False)
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d) and c["test_norm"] == "picture":
                module.train().momentum = 0.0

    def norms(self) -> list[nn.Module]:
        kind = nn.InstanceNorm2d if self.config["test_norm"] == "running" else nn.InstanceNorm2d | nn.BatchNorm2d
        return [m for m in self.network.modules() if isinstance(m, kind)]

    def translate(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        height, width = picture.shape[:2]
        picture = np.pad(picture, [(0, -height % 4), (0, -width % 4), (0, 0)], mode="reflect")
        with torch.inference_mode(), masks_of(self.network, torch.Generator().manual_seed(seed)):
            made = self.network(torch.from_numpy(to_unit(picture, self.input))[None])[0].float().numpy()
        return from_unit(made[:, :height, :width], self.output)


class TwoWays(Model):
    def towards(self, way: str) -> Model:
        if not any(name.startswith(way) for name in self.file.tensors):
            raise expected("direction", way, "AtoB, which is all the model has", "choose it, or import both")
        return Model(self.file, way)


def load(file: ModelFile, device: str) -> Model:
    return (TwoWays if file.config["ways"] else Model)(file, "AtoB")


RGB, GREY, DEEP, FLOAT = Kind(), Kind(1), Kind(7, "uint16", 0, 65535), Kind(2, "float32", -5, 20)


def save_fake(folder: Path, a: Kind = RGB, b: Kind = RGB, *, ways: bool = False, norm: str = "instance") -> None:
    torch.manual_seed(0)
    tensors = {}
    for way, (i, o) in {"AtoB": (a, b), "BtoA": (b, a)}.items():
        tensors |= {f"{way}.{k}": 2 * v for k, v in Network(i.channels, o.channels, norm).state_dict().items()}
    config = {"a": a.as_dict(), "b": b.as_dict(), "ways": ways, "norm": norm}
    ModelFile("fake", {**config, "test_norm": "picture", "test_dropout": False}, tensors).save(folder)


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models, and pictures of each kind; nobody writes here."""
    home = tmp_path_factory.mktemp("fakes")
    save_fake(home / "rgb")
    save_fake(home / "both", RGB, GREY, ways=True)
    both = modelfile.read(home / "both")
    tensors = {name: value for name, value in both.tensors.items() if name.startswith("AtoB")}
    ModelFile("fake", both.config, tensors).save(home / "half")
    save_fake(home / "deep", DEEP, Kind(4, "uint16", 0, 65535))
    save_fake(home / "stained", GREY, DEEP)
    save_fake(home / "float", FLOAT, Kind(1, "float32", 0, 3))
    save_fake(home / "batch", norm="batch")
    save_model(home / "streets", TINY)
    random = np.random.default_rng(0)
    y, x = np.mgrid[:101, :150]
    light = np.stack([x * 1.5, y * 2.0, (x + y) * 0.9], -1) + random.normal(0, 20, (101, 150, 3))
    photo = light.clip(0, 255).astype(np.uint8)
    write_raster(home / "photo.png", photo)
    write_raster(home / "photo.tif", photo)
    write_raster(home / "seven.tif", random.integers(0, 65536, (70, 90, 7), np.uint16))
    write_raster(home / "float.npy", random.uniform(-5, 20, (70, 90, 2)).astype(np.float32))
    (home / "day").mkdir()
    for name in ("a.png", "b.jpg", ".hidden.png"):
        Image.fromarray(photo[:40, :50]).save(home / "day" / name)
    (home / "day/notes.txt").write_text("no picture", encoding="utf-8")
    return home


@pytest.fixture
def place(fakes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, which is also the current one."""
    shutil.copytree(fakes, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(METHODS, "fake", "fake_method")
    monkeypatch.setitem(sys.modules, "fake_method", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "fake_method.generate", SimpleNamespace(load=load))
    return tmp_path


def model_at(folder: str, way: str = "AtoB") -> Model:
    return Model(modelfile.read(Path(folder)), way)


@pytest.fixture
def done(pinxit: Pinxit) -> Callable[..., str]:
    """`done(command, remark)`: run it; it must work. Returns what it prints."""

    def run(command: str, remark: str = "") -> str:
        ran = pinxit("translate", *command.split())
        assert (ran.status, ran.err) == (0, remark), ran
        return ran.out

    return run


Done = Callable[..., str]


def test_files_folders_and_patterns(place: Path, done: Done) -> None:
    assert done("rgb photo.png day") == f"translated 3 pictures: {place / 'translated'}\n"
    assert list(files_in(Path("translated"))) == ["a.png", "b.png", "photo.png"]  # a JPEG is not made a JPEG again
    want = model_at("rgb").translate(read_raster("photo.png"))
    assert (read_raster("translated/photo.png") == want).all()
    assert want.std() > 5
    done("rgb day/*.png --out pattern")
    assert list(files_in(Path("pattern"))) == ["a.png"]
    done(f"rgb {place}/**/?.jpg day/b.jpg --out all")  # a file named twice is taken once
    assert list(files_in(Path("all"))) == ["b.png"]
    Path("day/[x].png").write_bytes(Path("day/a.png").read_bytes())
    done("rgb day/[x].png --out named")  # a name, though it looks like a pattern
    assert list(files_in(Path("named"))) == ["[x].png"]


def test_the_output_may_be_a_file(place: Path, done: Done) -> None:
    assert done("rgb photo.tif --out some/where.png") == f"translated 1 picture: {place / 'some/where.png'}\n"
    done("rgb photo.tif --out there")
    done("rgb photo.tif --out where.jpg")
    assert (read_raster("some/where.png") == read_raster("there/photo.tif")).all()
    with Image.open("where.jpg") as image:
        assert image.format == "JPEG"


@pytest.mark.parametrize(
    ("model", "picture", "name", "shape", "dtype"),
    [
        ("deep", "seven.tif", "seven.tif", (70, 90, 4), np.uint16),
        ("float", "float.npy", "float.npy", (70, 90, 1), np.float32),
        ("stained", "grey.png", "grey.tif", (101, 150, 7), np.uint16),  # no PNG has seven channels
        ("both", "photo.png", "photo.png", (101, 150, 1), np.uint8),
    ],
)
@pytest.mark.parametrize("options", ["", "--tile 64 --statistics exact"])
def test_pictures_of_any_kind(
    place: Path, done: Done, model: str, picture: str, name: str, shape: tuple[int, ...], dtype: type, options: str
) -> None:
    write_raster("grey.png", read_raster("photo.png")[..., :1])
    done(f"{model} {picture} {options}")
    got = read_raster(Path("translated") / name)
    want = model_at(model).translate(read_raster(picture))
    assert (got.shape, got.dtype) == (shape, dtype)
    assert np.abs(got.astype(float) - want.astype(float)).max() <= (1e-4 if dtype is np.float32 else 1)
    assert want.std() > 0


@pytest.mark.parametrize("picture", ["photo.png", "photo.tif"])
@pytest.mark.parametrize("options", ["--tile 64", "--tile 64 --overlap 40", "--tile 66", "--tile 120 --precision bf16"])
def test_windows_give_the_whole_picture(
    place: Path, done: Done, picture: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinxit.training.distributed.quick_at_bf16", lambda _: True)  # on a slow one it is remarked on
    remark = "note: --tile is 68, the next multiple of the 4 that the model needs\n" if "66" in options else ""
    done(f"rgb {picture} {options} --statistics exact --out windows", remark)
    whole = model_at("rgb").translate(read_raster(picture)).astype(int)
    error = np.abs(read_raster(f"windows/{picture}") - whole)
    assert error.max() <= (30 if "bf16" in options else 1)
    assert (error > 0).mean() < (0.9 if "bf16" in options else 0.01)
    done(f"rgb {picture} {options} --statistics tile --out tile", remark)
    assert np.abs(read_raster(f"tile/{picture}") - whole).mean() > 2
    done(f"rgb {picture} {options} --out sampled", remark)
    assert np.abs(read_raster(f"sampled/{picture}") - whole).mean() < 3


@pytest.mark.parametrize("size", [(1, 300), (300, 3), (65, 64), (67, 129)])
def test_windows_of_pictures_of_any_size(place: Path, done: Done, size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    write_raster("odd.tif", picture)
    done("rgb odd.tif --tile 64 --statistics exact")
    got = read_raster("translated/odd.tif")
    assert got.shape == picture.shape
    if min(size) > 4:
        assert np.abs(got - model_at("rgb").translate(picture).astype(int)).max() <= 1


def test_large_pictures_are_windowed_without_asking(place: Path, done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translate, "WHOLE", 100 * 150)
    monkeypatch.setattr(translate, "TILES", (80, 90))
    note = "note: 'photo.tif' is 150x101 (width x height); it is translated in windows of 80 (see --tile){}\n"
    done("rgb photo.tif day/a.png", note.format(""))
    shutil.copy("photo.tif", "twin.tif")
    done("rgb photo.tif day twin.tif", note.format(", and so are 1 more"))
    done("rgb photo.tif --tile 0 --out whole")
    assert (read_raster("whole/photo.tif") == model_at("rgb").translate(read_raster("photo.tif"))).all()
    monkeypatch.setattr(Model, "margin", 1000)
    ran = "note: the model sees 1000 pixels around each, more than windows of 92 have in common: they are blended, and "
    ran += "the result differs from that of the whole picture; --tile 4000 would not differ\n"
    done("rgb photo.tif", note.format("").replace("80", "92") + ran)  # the next multiple of 4


def test_a_model_that_sees_farther_than_its_windows_is_remarked_on(place: Path, done: Done) -> None:
    seen = "note: the model sees 8 pixels around each, more than windows of 64 have in common: they are blended, and "
    seen += "the result differs from that of the whole picture; --overlap 16 would do\n"
    done("rgb photo.png --tile 64 --overlap 8", seen)


def test_both_ways(place: Path, done: Done) -> None:
    done("both photo.png")
    done("both photo.png --direction AtoB --out same")
    assert files_in(Path("same")) == files_in(Path("translated"))
    done("both translated/photo.png --direction BtoA --out back")
    want = model_at("both", "BtoA").translate(read_raster("same/photo.png"))
    assert (read_raster("back/photo.png") == want).all()


def test_what_becomes_rgb_without_loss_is_remarked_on(place: Path, done: Done) -> None:
    photo = read_raster("photo.png")
    grey, alpha = photo[..., :1], np.concatenate([photo, photo[..., :1]], axis=2)
    write_raster("grey.png", grey)
    write_raster("alpha.png", alpha)
    write_raster("alpha.tif", alpha)
    with Image.open("alpha.png") as image:
        over_white = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    done(
        "rgb grey.png alpha.png",
        "note: 'grey.png' is grey; its channel is repeated\n"
        "note: 'alpha.png' has an alpha channel; it is shown over white\n",
    )
    model = model_at("rgb")
    assert (pixels(Path("translated/grey.png")) == model.translate(grey.repeat(3, axis=2))).all()
    error = np.abs(pixels(Path("translated/alpha.png")) - model.translate(np.asarray(over_white)).astype(int))
    assert error.max() <= 4  # Pillow rounds otherwise
    done(
        "rgb alpha.tif --tile 64 --statistics exact --out windows",
        "note: 'alpha.tif' has an alpha channel; it is shown over white\n",
    )
    assert np.abs(pixels(Path("windows/alpha.tif")) - pixels(Path("translated/alpha.png")).astype(int)).max() <= 1


def test_values_beyond_the_models_are_remarked_on(place: Path, done: Done) -> None:
    write_raster("hot.npy", read_raster("float.npy") * 2)
    write_raster("deep.tif", np.arange(6400, dtype=np.uint16).reshape(80, 80, 1))
    save_fake(Path("twelve"), Kind(1, "uint16", 10, 4095), GREY)
    hot = read_raster("hot.npy")
    for model, files, text in (
        ("float", "float.npy hot.npy", f"'hot.npy' has values {hot.min():g}..{hot.max():g}, beyond the -5..20"),
        ("twelve", "deep.tif", "'deep.tif' has values 0..6399, beyond the 10..4095"),
    ):
        for options in ("", "--tile 64"):
            note = f"note: {text} that the model was made for; they are clipped\n"
            done(f"{model} {files} {options}", note)


def test_dropout_is_noise_of_the_seed(place: Path, done: Done) -> None:
    for tile in ("", "--tile 64"):
        for name, options in (("off", ""), ("one", "--dropout"), ("again", "--dropout"), ("two", "--dropout --seed 2")):
            done(f"rgb photo.png {options} {tile} --out {name}")
        made = [Path(name, "photo.png").read_bytes() for name in ("off", "one", "again", "two")]
        assert made[1] == made[2]
        assert len(set(made)) == 3


def test_dropout_that_the_model_file_turns_on_hangs_on_the_seed_too(place: Path, done: Done) -> None:
    file = modelfile.read(Path("rgb"))
    ModelFile("fake", {**file.config, "test_dropout": True}, file.tensors).save(Path("noisy"))
    for tile in ("", "--tile 64"):
        for name, command in (("told", "rgb photo.png --dropout"), ("own", "noisy photo.png")):
            for seed in (0, 2):
                done(f"{command} --seed {seed} {tile} --out {name}{seed}")
        made = [Path(name, "photo.png").read_bytes() for name in ("told0", "told2", "own0", "own2")]
        assert made[:2] == made[2:]
        assert made[0] != made[1]


def test_the_statistics_of_batch_norm_are_a_choice(place: Path, done: Done) -> None:
    done("batch photo.png --out picture")
    done("batch photo.png --norm picture --out told")
    done("batch photo.png --norm running --out running")
    assert files_in(Path("told")) == files_in(Path("picture"))
    assert files_in(Path("running")) != files_in(Path("picture"))
    for name in ("picture", "running"):
        done(f"batch photo.png --tile 64 --norm {name} --statistics exact --out windows")
        assert np.abs(read_raster("windows/photo.png") - read_raster(f"{name}/photo.png").astype(int)).max() <= 1


def test_a_large_picture_never_is_in_memory(place: Path, done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows are all that is read, and rows of them all that is written."""
    from pinxit.data import rasters
    from pinxit.data.regions import RegionReader, RegionWriter

    tifffile.imwrite("wide.tif", np.random.default_rng(0).integers(0, 256, (700, 500, 3), np.uint8), tile=(64, 64))
    sizes: list[int] = []
    read, write = RegionReader.read, RegionWriter.write_rows

    def read_little(self: RegionReader, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        sizes.append((y1 - y0) * (x1 - x0))
        return read(self, y0, y1, x0, x1)

    def write_little(self: RegionWriter, rows: np.ndarray) -> None:
        sizes.append(rows.shape[0] * 64)
        write(self, rows)

    monkeypatch.setattr(RegionReader, "read", read_little)
    monkeypatch.setattr(RegionWriter, "write_rows", write_little)
    monkeypatch.setattr(rasters, "read_raster", None)
    done("rgb wide.tif --tile 64")
    assert max(sizes) == 64 * 64


def cut(path: str) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])


def with_gaps(path: str) -> None:
    array = read_raster(path)
    array[60:62, 5] = np.nan
    np.save(path, array)


def nothing() -> None:
    pass


BAD: dict[str, tuple[Callable[[], object], str, tuple[str, ...]]] = {
    # what: (the wrong, the command, what the line must say: name, value, remedy)
    "channels": (
        nothing,
        "rgb seven.tif",
        ("'seven.tif' is 7-channel uint16", "expected 3-channel uint8", "convert"),
    ),
    "channels of the last": (
        nothing,
        "rgb photo.png seven.tif --tile 64",
        ("'seven.tif' is 7-channel uint16", "expected 3-channel uint8"),
    ),
    "colours for a grey model": (
        nothing,
        "stained photo.png",
        ("'photo.png'", "3-channel", "expected 1-channel uint8"),
    ),
    "8 bits for a float model": (nothing, "float photo.png", ("'photo.png'", "uint8", "expected 2-channel float32")),
    "gaps": (
        lambda: with_gaps("float.npy"),
        "float float.npy",
        ("picture 'float.npy'", "not a number", "4 of 12,600 values", "expected numbers"),
    ),
    "gaps, in windows": (
        lambda: with_gaps("float.npy"),
        "float float.npy --tile 64",
        ("picture 'float.npy'", "not a number", "expected numbers"),
    ),
    "cut TIFF": (lambda: cut("seven.tif"), "deep seven.tif", ("picture 'seven.tif' is damaged", "copy or download")),
    "cut TIFF, in windows": (
        lambda: cut("seven.tif"),
        "deep seven.tif --tile 64",
        ("picture 'seven.tif' is damaged", "copy or download"),
    ),
    "TIFF stored turned, in windows": (
        lambda: tifffile.imwrite("turned.tif", read_raster("photo.png"), extratags=[(274, 3, 1, 6, True)]),
        "rgb photo.png turned.tif --tile 64",
        ("picture 'turned.tif' is stored turned", "save it upright, or read it whole"),
    ),
    "no TIFF at all": (
        lambda: shutil.copy("day/notes.txt", "notes.tif"),
        "rgb notes.tif",
        ("picture 'notes.tif' is",),
    ),
    "label maps are painted": (
        nothing,
        "streets photo.png",
        ("model 'streets' is of method spade", "expected one that makes pictures of pictures", "use pinxit paint"),
    ),
    "the embedded one too": (nothing, "demo photo.png", ("model 'demo' is of method spade", "use pinxit paint")),
    "no model": (nothing, "rbg photo.png", ("model 'rbg' is not there", "mend the path")),
    "no input": (nothing, "rgb", ("the list of pictures is empty", "before the options")),
    "input missing": (nothing, "rgb gone.png", ("'gone.png' is not there", "a pattern", "check the path")),
    "no match": (nothing, "rgb day/*.tif", ("pattern 'day/*.tif' is without a match", "check it")),
    "folder without pictures": (nothing, "rgb rgb", ("folder 'rgb' is without pictures",)),
    "window too small": (nothing, "rgb photo.png --tile 8", ("--tile is 8, expected 64 or more", "leave it out")),
    "window below 0": (nothing, "rgb photo.png --tile -1", ("--tile is -1", "or 0")),
    "overlap of all": (
        nothing,
        "rgb photo.png --tile 64 --overlap 64",
        ("--overlap is 64, expected 0..60 in windows of 64", "--tile"),
    ),
    "overlap below 0": (nothing, "rgb photo.png --overlap -4", ("--overlap is -4, expected 0 or more",)),
    "direction of one way": (
        nothing,
        "rgb photo.png --direction BtoA",
        ("--direction is BtoA, expected nothing: model 'rgb' knows one way", "leave it out"),
    ),
    "direction that is missing": (
        nothing,
        "half photo.png --direction BtoA",
        ("pinxit: --direction is BtoA, expected AtoB, which is all", "import both"),
    ),
    "seed": (nothing, "rgb photo.png --seed -1", ("--seed is -1", "choose another")),
    "one file for several": (nothing, "rgb day --out a.png", ("--out 'a.png' is one file", "a folder for 2 pictures")),
    "a format that cannot hold it": (nothing, "deep seven.tif --out a.jpg", ("'a.jpg'", ".tif or .npy")),
    "painted over": (
        nothing,
        "rgb photo.png --out photo.png",
        ("--out 'photo.png' is where 'photo.png' would be painted over", "name another"),
    ),
    "painted over in its folder": (nothing, "rgb photo.png --out .", ("would be painted over", "name another")),
    "two of one name": (
        nothing,
        "rgb day/a.png twin/a.png",
        ("name of 'twin/a.png' is that of 'day/a.png'", "one picture of each name"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_touches_no_file(place: Path, pinxit: Pinxit, case: str) -> None:
    Path("twin").mkdir()
    shutil.copy("day/a.png", "twin/a.png")
    Path("translated").mkdir()
    Path("translated/float.npy").write_bytes(b"an earlier one")
    wrong, command, said = BAD[case]
    wrong()
    before = files_in(place)
    ran = pinxit("translate", *command.split())
    assert (ran.status, ran.out) == (2, ""), ran
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", ran.err), ran.err
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert files_in(place) == before


def test_options_that_the_model_does_not_know(place: Path, pinxit: Pinxit) -> None:
    file = modelfile.read(Path("rgb"))
    config = {name: value for name, value in file.config.items() if not name.startswith("test_")}
    ModelFile("fake", config, file.tensors).save(Path("plain"))
    without = {**file.config, "norm": "instance", "dropout": False}
    ModelFile("fake", without, file.tensors).save(Path("without"))
    for option, what in (("--norm running", "batch norm"), ("--dropout", "dropout")):
        for model in ("plain", "without"):
            ran = pinxit("translate", model, "photo.png", *option.split())
            assert ran.status == 2
            assert f"{option.split()[0]} is given, expected a model with {what}, which '{model}' is not" in ran.err
    ModelFile("fake", {**config, "source": "labels"}, file.tensors).save(Path("labels"))
    ran = pinxit("translate", "labels", "photo.png")
    assert "model 'labels' is a fake of label maps" in ran.err
    assert "use pinxit paint" in ran.err
    ModelFile("unheard", config, file.tensors).save(Path("other"))
    assert "method of model 'other' is 'unheard'" in pinxit("translate", "other", "photo.png").err


def test_too_little_memory_is_told(place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Model, picture: np.ndarray, seed: int) -> np.ndarray:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Model, "translate", full)
    ran = pinxit("translate", "rgb", "photo.png")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err == (
        "pinxit: memory of cpu is not enough for 'photo.png', expected room for a window of it; "
        "lower --tile, or take --device cpu\n"
    )


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with translate.progress(2.0, quiet=False) as advance:
        advance(1.0)
        advance(1.0)
    assert "translating" in capsys.readouterr().err
    with pytest.raises(PinxitError), translate.progress(2.0, quiet=True):
        raise PinxitError


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
def test_an_input_behind_a_link_is_not_painted_over_either(place: Path, pinxit: Pinxit) -> None:
    Path("link.png").symlink_to("photo.png")
    before = files_in(place)
    ran = pinxit("translate", "rgb", "link.png", "--out", "photo.png")
    assert ran.status == 2
    assert files_in(place) == before


def test_help_waits_for_no_torch() -> None:
    script = (
        "import sys\nfrom pinxit.apps.cli.main import main\n"
        "try: main(['translate', '--help'])\nexcept SystemExit as stop: assert not stop.code\n"
        "print('\\nMODULES', *sys.modules)"
    )
    ran = in_a_process("-c", script)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(ran.stdout.rpartition("MODULES")[2].split()).isdisjoint({"torch", "numpy", "safetensors", "PIL"})
