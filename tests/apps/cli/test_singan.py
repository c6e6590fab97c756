"""SinGAN's commands: one photo's model in use, and each bad input told in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit as package
from pinxit.apps.cli.main import COMMANDS
from pinxit.modelfile import read
from pinxit.models.singan.config import PRESETS, Data
from pinxit.models.singan.recipe import build

from .conftest import TINY, Pinxit, files_in, in_a_process, pixels, save_model

HEIGHT, WIDTH = 30, 40
"""Of the model's photo; it has scales 0..5."""

COMMANDS_OF_ONE_PHOTO = ("sample", "super-resolve", "animate", "harmonize", "edit", "reconstruct")
BLEND = "model changed.png --mask mask.png --out out"
RETRAIN = "train singan --preset tiny --scale-factor 0.85"


@pytest.fixture(scope="module")
def balloons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of six scales, a few steps of training each; its photo; that changed, and where. Nobody writes here."""
    home = tmp_path_factory.mktemp("balloons")
    y, x = np.mgrid[:48, :64]
    Image.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(home / "photo.png")
    tiny = PRESETS["tiny"]
    network = dataclasses.replace(tiny.network, scale_factor=0.85)
    training = dataclasses.replace(tiny.training, lr=0.01)  # so that the noise is seen after so few
    recipe = build(dataclasses.replace(tiny, data=Data(home / "photo.png"), network=network, training=training)).train()
    for stage in recipe.stages():
        for i, batch in enumerate(stage.batches(0)):
            stage.step(batch, i)
    recipe.model_file().save(home / "model")
    small = Image.open(home / "photo.png").resize((WIDTH, HEIGHT))
    small.save(home / "small.png")
    Image.open(home / "photo.png").rotate(180).save(home / "other.png")
    small.paste((255, 0, 0), (18, 12, 24, 18))
    small.save(home / "changed.png")
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (18, 12, 24, 18))
    mask.save(home / "mask.png")
    Image.new("L", (WIDTH, HEIGHT)).save(home / "black.png")
    Image.new("L", (64, 48), 255).save(home / "large_mask.png")
    save_model(home / "streets", TINY)
    return home


@pytest.fixture
def place(balloons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, which is also the current one: model/, photo.png, changed.png, mask.png, …"""
    shutil.copytree(balloons, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def done(pinxit: Pinxit) -> Callable[[str], str]:
    """`done(command)`: run it; it must work, and remark nothing. Returns what it prints."""

    def run(command: str) -> str:
        ran = pinxit(*command.split())
        assert (ran.status, ran.err) == (0, ""), ran
        return ran.out

    return run


Done = Callable[[str], str]


def test_samples(place: Path, done: Done) -> None:
    assert done("sample model --n 3 --out a") == f"sampled 3 pictures: {place / 'a'}\n"
    assert list(files_in(Path("a"))) == ["model_000.png", "model_001.png", "model_002.png", "sheet.png"]
    assert pixels(Path("a/model_000.png")).shape == (HEIGHT, WIDTH, 3)
    assert pixels(Path("a/sheet.png")).shape == (2 * HEIGHT + 4, 2 * WIDTH + 4, 3)
    assert (pixels(Path("a/sheet.png"))[-HEIGHT:, -WIDTH:] == 255).all()
    assert (pixels(Path("a/sheet.png"))[:HEIGHT, :WIDTH] == pixels(Path("a/model_000.png"))).all()
    # As from Python; a picture is that of its own seed.
    for i, picture in enumerate(package.load("model").sample(3)):
        assert (np.asarray(picture) == pixels(Path(f"a/model_{i:03d}.png"))).all()
    done("sample model/model.safetensors --n 1 --seed 2 --out b")
    assert files_in(Path("b")) == {"model_000.png": files_in(Path("a"))["model_002.png"]}
    assert len(set(files_in(Path("a")).values())) == 4


def test_samples_by_default(place: Path, done: Done) -> None:
    done("sample model")
    assert len(files_in(Path("samples"))) == 9
    assert pixels(Path("samples/sheet.png")).shape == (3 * HEIGHT + 8, 3 * WIDTH + 8, 3)


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (20, 90), (61, 13)])
@pytest.mark.parametrize("scale", [0, 2, 5])
def test_samples_of_any_size_from_any_scale(place: Path, done: Done, size: tuple[int, int], scale: int) -> None:
    height, width = size
    done(f"sample model --n 1 --size {height} {width} --start-scale {scale} --out one.png")
    assert pixels(Path("one.png")).shape == (height, width, 3)
    assert not Path("sheet.png").exists()


def test_a_sheet_of_large_pictures_is_of_small_ones(place: Path, done: Done) -> None:
    done("sample model --n 2 --size 30 600 --start-scale 5")
    assert pixels(Path("samples/sheet.png")).shape == (13, 2 * 256 + 4, 3)


@pytest.mark.parametrize("suffix", ["png", "jpg", "JPEG", "webp", "tif", "bmp", "ppm", "gif"])
def test_a_picture_is_of_the_kind_that_its_name_says(place: Path, done: Done, suffix: str) -> None:
    assert done(f"reconstruct model --out some/where.{suffix}").startswith("reconstructed 1 picture: ")
    kinds = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM"}
    with Image.open(f"some/where.{suffix}") as picture:
        assert picture.format == kinds.get(suffix, suffix.upper())
        assert picture.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize(("factor", "name"), [("4", "x4"), ("1.5", "x1.5"), ("2.25", "x2.25")])
def test_the_photo_enlarged(place: Path, done: Done, factor: str, name: str) -> None:
    done(f"super-resolve model --factor {factor} --out a")
    assert list(files_in(Path("a"))) == [f"model_{name}.png"]
    assert pixels(Path(f"a/model_{name}.png")).shape == (int(float(factor) * HEIGHT), int(float(factor) * WIDTH), 3)


def test_the_photo_given_back(place: Path, done: Done) -> None:
    told = done("reconstruct model")
    found = re.fullmatch(r"reconstructed 1 picture: [^\n]+\nRMSE against the photo: (\d+\.\d\d) of 255 levels\n", told)
    assert found, told
    given_back = pixels(Path("reconstructed/model.png")).astype(float)
    photo = np.round((package.load("model").photo[0].permute(1, 2, 0).numpy() + 1) * 127.5)
    assert float(found[1]) == pytest.approx(float(np.sqrt(((given_back - photo) ** 2).mean())), abs=0.006)


def frames_of(path: Path) -> list[np.ndarray]:
    if path.suffix != ".gif":
        av = pytest.importorskip("av")
        with av.open(str(path)) as container:
            return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames = []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
    return frames


@pytest.mark.parametrize("kind", ["gif", "mp4", "webm"])
def test_an_animation(place: Path, done: Done, kind: str) -> None:
    said = done(f"animate model --frames 7 --fps 20 --seed 3 --out walks/walk.{kind}")
    assert said == f"animated 7 frames: {place / 'walks' / f'walk.{kind}'}\n"
    assert list(files_in(Path("walks"))) == [f"walk.{kind}"]
    frames = frames_of(Path(f"walks/walk.{kind}"))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 7
    made = [np.asarray(picture, float) for picture in package.load("model").animate(7, seed=3)]
    assert max(np.abs(found - want).mean() for found, want in zip(frames, made, strict=True)) < 12
    assert np.abs(made[0] - made[6]).mean() > 0


def test_an_animation_by_default(place: Path, done: Done) -> None:
    done("animate model --frames 2")
    with Image.open("animation.gif") as image:
        assert (image.info["duration"], image.info["loop"]) == (100, 0)


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_an_animation_of_another_size(place: Path, done: Done, kind: str) -> None:
    done(f"animate model --frames 3 --size 21 50 --out walk.{kind}")
    assert [f.shape[:2] for f in frames_of(Path(f"walk.{kind}"))] == [(21 + (kind == "mp4"), 50)] * 3


def test_a_loop_has_no_jump(place: Path, done: Done) -> None:
    def steps(path: Path) -> list[float]:
        """From each frame to the next, and last from the last to the first."""
        frames = [frame.astype(float) for frame in frames_of(path)]
        return [float(np.abs(a - b).mean()) for a, b in zip(frames, frames[1:] + frames[:1], strict=True)]

    options = "--frames 30 --start-scale 0 --beta 0.95 --alpha 0.02"
    done(f"animate model {options} --loop --out loop.webm")
    done(f"animate model {options} --out walk.webm")
    *neighbours, jump = steps(Path("loop.webm"))
    assert jump <= max(neighbours)
    *neighbours, jump = steps(Path("walk.webm"))
    assert jump > 2 * max(neighbours)


@pytest.mark.parametrize("verb", ["harmonize", "edit"])
def test_a_change_is_blended_in_at_several_scales(place: Path, done: Done, verb: str) -> None:
    said = {"harmonize": "harmonized", "edit": "edited"}[verb]
    assert done(f"{verb} model changed.png --mask mask.png") == f"{said} 4 pictures: {place / said}\n"
    assert list(files_in(Path(said))) == [f"changed_scale{scale}.png" for scale in range(1, 5)]
    done(f"{verb} {BLEND} --start-scale 3")
    done(f"{verb} {BLEND} --start-scale 5")
    assert list(files_in(Path("out"))) == ["changed_scale3.png", "changed_scale5.png"]
    assert files_in(Path("out"))["changed_scale3.png"] == files_in(Path(said))["changed_scale3.png"]
    model = package.load("model")
    with Image.open("changed.png") as picture, Image.open("mask.png") as mask:
        want = getattr(model, verb)(picture.convert("RGB"), mask, 3)
    assert (np.asarray(want) == pixels(Path("out/changed_scale3.png"))).all()
    done(f"{verb} {BLEND}/one.png --start-scale 3 --seed 1")
    assert files_in(Path("out"))["one.png"] != files_in(Path("out"))["changed_scale3.png"]


def test_paintings_at_several_scales(place: Path, done: Done) -> None:
    Path("drawn").mkdir()
    for name, color in (("sea", "navy"), ("hill", "olive")):
        Image.new("RGB", (WIDTH, HEIGHT), color).save(f"drawn/{name}.png")
    assert done("paint model drawn") == f"painted 4 pictures: {place / 'painted'}\n"
    assert list(files_in(Path("painted"))) == [f"{name}_scale{s}.png" for name in ("hill", "sea") for s in (1, 2)]
    done("paint --seed 0 model/model.safetensors --start-scale 2 drawn/sea.png --out sea.png")
    done("paint --out other model drawn/sea.png --start-scale 5")
    assert Path("sea.png").read_bytes() == files_in(Path("painted"))["sea_scale2.png"]
    assert list(files_in(Path("other"))) == ["sea_scale5.png"]
    with Image.open("drawn/sea.png") as painting:
        assert (np.asarray(package.load("model").paint(painting, 2)) == pixels(Path("sea.png"))).all()


def test_a_scale_retrained_for_paintings(place: Path, pinxit: Pinxit, done: Done) -> None:
    train = [*RETRAIN.split(), "--data", "photo.png", "--base", "model", "--base-scale", 2, "--out", "flat"]
    model = package.load("model")
    ran = pinxit(*train, "--palette", 3, "--steps", 2)
    assert (ran.status, ran.out) == (0, f"2 steps done; the model, log.jsonl and samples are in {Path('flat')}\n"), ran
    assert "this will take about" in ran.err
    flat = package.load("flat")
    assert (flat.palette_scale, flat.palette.shape, flat.sizes) == (2, (3, 3), model.sizes)
    # A painting goes in there; all of its colours that are near one of the palette's are that one.
    done("paint flat small.png")
    done("paint flat small.png --start-scale 3 --out painted")
    assert list(files_in(Path("painted"))) == ["small_scale2.png", "small_scale3.png"]
    done("paint model small.png --start-scale 2 --out plain.png")
    assert Path("plain.png").read_bytes() != files_in(Path("painted"))["small_scale2.png"]
    colors = [tuple(color) for color in ((flat.palette + 1) * 127.5).round().int().tolist()]
    for name, shift in (("drawn", 0), ("shifted", 3)):
        drawn = Image.new("RGB", (WIDTH, HEIGHT), colors[0])
        drawn.paste(tuple(min(level + shift, 255) for level in colors[1]), (10, 5, 30, 20))
        drawn.save(f"{name}.png")
        done(f"paint flat {name}.png --out {name}_painted.png")
    near = np.abs(pixels(Path("drawn_painted.png")).astype(int) - pixels(Path("shifted_painted.png"))).max(-1) < 2
    assert near.mean() > 0.9
    for command in ("sample flat --n 1", "reconstruct flat", "animate flat --frames 2"):
        done(command)
    # A run of other options is another one.
    ran = pinxit(*train, "--palette", 4, "--steps", 2, "--resume")
    assert ran.status == 2
    assert "data.palette is 4, expected 3 as the run 'flat' has it" in ran.err
    assert pinxit(*train, "--palette", 3, "--steps", 2, "--resume").status == 0


def test_odd_photos_work_and_are_remarked_on(place: Path, pinxit: Pinxit) -> None:
    """The mask too; each kind is told once, and last what is not of the photo's size."""
    with Image.open("photo.png") as photo:
        photo.convert("RGBA").save("alpha.png")
        photo.convert("CMYK").save("print.tif")
        photo.save("moving.gif", save_all=True, append_images=[photo.rotate(90), photo.rotate(180)])
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.rotate(90, expand=True).save("turned.jpg", exif=exif)
        Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save("deep.png")
    odd = {
        "alpha.png": "has an alpha channel; it is shown over white",
        "print.tif": "is CMYK, as for print; it is converted to RGB without its colour profile",
        "moving.gif": "has 3 frames; the first is taken",
        "turned.jpg": "is stored turned or mirrored, as its EXIF says; it is turned upright",
        "deep.png": "has more than 8 bits a channel; they are scaled to 8",
    }
    fitted = "is 64x48 (width x height); it is scaled to the 40x30 of the model's photo"
    ran = pinxit("paint", "model", *odd, "--start-scale", 1)
    assert ran.out == f"painted 5 pictures: {place / 'painted'}\n"
    notes = [f"note: '{name}' {text}\n" for name, text in odd.items()] + [f"note: '{name}' {fitted}\n" for name in odd]
    assert ran.err == "".join(notes)
    for name, text in odd.items():
        ran = pinxit("edit", "model", name, "--mask", "large_mask.png", "--start-scale", 4)
        assert (ran.status, ran.err) == (0, f"note: '{name}' {text}\nnote: '{name}' {fitted}\n")
    Image.new("LA", (WIDTH, HEIGHT), (255, 255)).save("mask.png")
    ran = pinxit("harmonize", "model", "small.png", "--mask", "mask.png", "--start-scale", 1)
    assert (ran.status, ran.err) == (0, "note: 'mask.png' has an alpha channel; it is shown over white\n")


def test_a_painting_of_another_aspect_is_stretched_and_that_is_told(place: Path, pinxit: Pinxit) -> None:
    Image.new("RGB", (50, 50), "navy").save("square.png")
    ran = pinxit("paint", "model", "square.png", "--start-scale", 1)
    assert pixels(Path("painted/square_scale1.png")).shape == (HEIGHT, WIDTH, 3)
    assert ran.err == (
        "note: 'square.png' is 50x50 (width x height); it is stretched to the 40x30 of the model's photo\n"
    )


BAD: dict[str, tuple[str, tuple[str, ...]]] = {
    # what: (the command, what the line must say: name, value, remedy)
    **{
        f"{command} of another method": (
            f"{command} streets{rest}",
            ("model 'streets' is of method spade", f"expected singan, which has `{command}`", "pinxit train singan"),
        )
        for command, rest in zip(
            COMMANDS_OF_ONE_PHOTO,
            ("", "", "", " changed.png --mask mask.png", " changed.png --mask mask.png", ""),
            strict=True,
        )
    },
    "sample of the embedded model": ("sample demo", ("model 'demo' is of method spade",)),
    "model missing": ("sample modle", ("model 'modle' is not there", "train or import one")),
    "model that is none": ("animate photo.png", ("model 'photo.png' is unreadable", "a safetensors file")),
    "no sample": ("sample model --n 0", ("--n is 0", "1 or more")),
    "scale below 0": ("sample model --start-scale -1", ("--start-scale is -1, expected 0..5, the model's; choose",)),
    "scale that there is not": ("sample model --start-scale 6", ("--start-scale is 6, expected 0..5, the model's",)),
    "scale of an animation": ("animate model --start-scale 6", ("--start-scale is 6, expected 0..5",)),
    "scale of a harmonisation": (f"harmonize {BLEND} --start-scale 12", ("--start-scale is 12, expected 1..5",)),
    "scale of an edit": (f"edit {BLEND} --start-scale 0", ("--start-scale is 0, expected 1..5",)),
    "scale of a painting": ("paint model small.png --start-scale 0", ("--start-scale is 0, expected 1..5",)),
    "seed below 0": ("sample model --seed -1", ("--seed is -1", "choose another")),
    "seed too large": (f"paint model small.png --seed {10**20}", (f"--seed is {10**20}", "0..4294967295")),
    "seed of an animation": ("animate model --seed -1", ("--seed is -1",)),
    "seed of an edit": (f"edit {BLEND} --seed -1", ("--seed is -1",)),
    "seed of super-resolution": ("super-resolve model --seed -1", ("--seed is -1",)),
    "size of nothing": ("sample model --size 0 5", ("--size is 0x5 (height x width)", "8 px to")),
    "size of nothing, in motion": ("animate model --size 0 5", ("--size is 0x5 (height x width)",)),
    "size too large": ("sample model --size 99999 99999", ("--size is 99999x99999", "67,108,864 pixels")),
    "several samples in one file": ("sample model --out a.png", ("--out 'a.png' is one file", "a folder for 8")),
    "several scales in one file": (f"harmonize {BLEND}/a.png", ("--out 'out/a.png' is one file", "a folder for 4")),
    "factor below 1": ("super-resolve model --factor 0.5", ("--factor is 0.5, expected above 1, at most 16",)),
    "factor too large": ("super-resolve model --factor 40", ("--factor is 40, expected above 1, at most 16",)),
    "factor that is no number": ("super-resolve model --factor nan", ("--factor is nan, expected above 1",)),
    "one frame": ("animate model --frames 1", ("--frames is 1, expected 2 or more",)),
    "no frame": ("animate model --frames -3 --out a.mp4", ("--frames is -3, expected 2 or more",)),
    "frames that fill the memory": (
        "animate model --size 3000 3000",
        ("--frames is 100 of 3000x3000 (height x width), expected at most 29 of this size; ask for fewer or smaller",),
    ),
    "frames of a loop that fill the memory": (
        "animate model --size 3000 3000 --frames 29 --loop",
        ("--frames is 29 of 3000x3000 (height x width), expected at most 7 of this size in a loop",),
    ),
    "alpha above 1": ("animate model --alpha 2", ("--alpha is 2, expected 0..1",)),
    "beta below 0": ("animate model --beta -0.5", ("--beta is -0.5, expected 0..1",)),
    "no frame a second": ("animate model --fps 0", ("--fps is 0, expected 0.1..50 for .gif",)),
    "too many frames a second": ("animate model --fps 60", ("--fps is 60, expected 0.1..50 for .gif",)),
    "animation of another kind": (
        "animate model --out a.avi",
        ("animation 'a.avi' is of kind '.avi'", ".gif, .mp4 or .webm", "name it so"),
    ),
    "animation of no kind": ("animate model --out a", ("animation 'a' is of no kind", ".gif, .mp4 or .webm")),
    "picture missing": (
        "edit model chagned.png --mask mask.png",
        ("photo 'chagned.png' is missing", "check the path"),
    ),
    "mask missing": ("edit model changed.png --mask maks.png", ("'maks.png' is missing", "check the path")),
    "mask that is no picture": ("edit model changed.png --mask model/config.json", ("config.json' is not a picture",)),
    "mask of another size": (
        "edit model changed.png --mask large_mask.png",
        ("size of --mask 'large_mask.png' is 64x48", "40x30 (width x height), as 'changed.png' has", "resize it"),
    ),
    "mask that is black": (
        "harmonize model changed.png --mask black.png",
        ("--mask is black all over", "white where the picture is to be repainted"),
    ),
    "painting missing": ("paint model small.png gone.png", ("'gone.png' is not there", "check the path")),
    "painting that is no picture": ("paint model small.png model/config.json", ("config.json' is not a picture",)),
    "no painting": ("paint model", ("the list of paintings is empty", "before the options")),
    "folder without paintings": ("paint model model", ("folder 'model' is without pictures",)),
    "two paintings of one name": (
        "paint model small.png twin/small.png",
        ("name of 'twin/small.png' is that of 'small.png'", "one painting of each name", "an --out each"),
    ),
    "a painting painted over": (
        "paint model small.png --out small.png --start-scale 1",
        ("--out 'small.png' is where 'small.png' would be painted over", "a file that is not read", "name another"),
    ),
    "a painting painted over in its folder": (
        "paint model dir/x.png dir/x_scale1.png --out dir",
        ("--out 'dir' is where 'x_scale1.png' would be painted over", "a folder without the files that are read"),
    ),
    "a picture painted over": (
        "harmonize model changed.png --mask mask.png --start-scale 2 --out ./changed.png",
        ("would be painted over", "name another"),
    ),
    "a mask painted over": (
        "edit model changed.png --mask dir/changed_scale2.png --out dir",
        ("--out 'dir' is where 'changed_scale2.png' would be painted over",),
    ),
    **{
        f"retraining with {what}": (f"{RETRAIN} {options} --out run", said)
        for what, options, said in (
            ("no scale", "--data photo.png --base model", ("--base-scale is missing, expected 1..5, the model's",)),
            ("a scale beyond", "--data photo.png --base model --base-scale 6", ("--base-scale is 6, expected 1..5",)),
            ("no base", "--data photo.png --palette 5", ("--palette is 5 without --base", "add --base MODEL")),
            ("one colour", "--data photo.png --base model --base-scale 1 --palette 1", ("--palette is 1", "2..64")),
            ("another method", "--data photo.png --base streets --base-scale 1", ("'streets' is of method spade",)),
            (
                "another photo",
                "--data other.png --base model --base-scale 1",
                ("--base 'model' is of another photo", "one of 'other.png'", "name the photo that it was trained on"),
            ),
            (
                "another network",
                "--width 8 --data photo.png --base model --base-scale 1",
                ("--width is 8, expected 4, as --base 'model' has it", "give --width 4"),
            ),
        )
    },
    **{
        f"retraining in the place of the base: {base}": (
            f"{RETRAIN} --data photo.png --base {base} --base-scale 1 --out ./model",
            (f"--out is the folder of --base '{base}'", "as it is kept", "name a new one"),
        )
        for base in ("model", "model/model.safetensors")
    },
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_touches_no_file(place: Path, pinxit: Pinxit, case: str) -> None:
    for copy in ("twin/small.png", "dir/x.png", "dir/x_scale1.png", "dir/changed_scale2.png"):
        Path(copy).parent.mkdir(exist_ok=True)
        shutil.copy("small.png", copy)
    Path("animation.gif").write_bytes(b"an earlier one")
    before = files_in(place)
    command, said = BAD[case]
    ran = pinxit(*command.split())
    assert (ran.status, ran.out) == (2, ""), ran
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", ran.err), ran.err
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert files_in(place) == before


def test_a_model_of_one_scale_takes_no_picture(place: Path, pinxit: Pinxit) -> None:
    """As a run leaves it that was cut short at once."""
    tiny = PRESETS["tiny"]
    recipe = build(dataclasses.replace(tiny, data=Data(Path("photo.png")))).train()
    stage = next(recipe.stages())
    stage.step(next(stage.batches(0)), 0)
    recipe.model_file().save(Path("young"))
    assert pinxit("sample", "young", "--n", 1).status == 0
    blend = "young changed.png --mask mask.png"
    for command in ("paint young small.png", f"edit {blend}", f"harmonize {blend}", f"edit {blend} --start-scale 1"):
        ran = pinxit(*command.split())
        assert ran.status == 2
        assert "the model is of one scale, expected two or more; let its training go on" in ran.err


def test_a_training_by_default_shows_pictures_of_each_scale(place: Path, pinxit: Pinxit) -> None:
    """Five steps a scale, and --sample-every at its 500: a sheet at the end of each."""
    command = "train singan --preset tiny --data photo.png --out run --no-tensorboard"
    assert pinxit(*command.split()).status == 0
    sizes = read(Path("run")).config["sizes"]
    names = [f"scale{scale}_{width}x{height}_000005.png" for scale, (height, width) in enumerate(sizes)]
    assert len(names) >= 4
    assert list(files_in(Path("run/samples"))) == names
    for name, (height, width) in zip(names, sizes, strict=True):
        # Of the photo, its reconstruction and three samples.
        assert pixels(Path("run/samples") / name).shape == (height, 5 * width + 4 * 4, 3)


def test_a_run_goes_on_only_with_what_it_was_begun_with(place: Path, pinxit: Pinxit) -> None:
    shutil.copy("photo.png", "twin.png")
    command = "train singan --preset tiny --data photo.png --out run --no-tensorboard"
    assert pinxit(*command.split()).status == 0
    assert pinxit(*command.split(), "--resume").status == 0
    before = files_in(Path("run"))

    def refused(options: str, name: str) -> None:
        ran = pinxit(*command.split(), "--resume", *options.split())
        assert ran.status == 2
        line = rf"pinxit: {re.escape(name)}, expected [^\n]+ as the run 'run' has it; resume with that, or begin [^\n]+"
        assert re.fullmatch(line, ran.err.splitlines()[-1]), ran.err
        assert files_in(Path("run")) == before

    refused("--seed 1", "seed is 1")
    refused("--steps 6", "training.steps is 6")
    refused("--task animation", "network.task is 'animation'")
    refused("--crop 20", "training.crop is 20")
    refused("--data twin.png", "data.data is 'twin.png'")
    photo = pixels(Path("twin.png"))
    for other in (255 - photo, photo[:, 24:]):  # the second makes fewer scales than the run has
        Image.fromarray(other).save("photo.png")
        digest = hashlib.sha256(Path("photo.png").read_bytes()).hexdigest()[:16]
        refused("", f"SHA-256 of the photo is '{digest}'")


OPTIONS = {
    "sample": "MODEL, --out PATH, --n INT, --start-scale INT, --size H W, --seed INT, --device {auto",
    "super-resolve": "MODEL, --out PATH, --factor FLOAT, --seed INT, --device {auto",
    "animate": "MODEL, --out PATH, --frames INT, --fps FLOAT, --start-scale INT, --alpha FLOAT, --beta FLOAT, "
    "--size H W, --loop, --seed INT, --device {auto, pinxit[video]",
    "harmonize": "MODEL, PICTURE, --mask PATH, --out PATH, --start-scale INT, --seed INT, --device {auto, middle ones",
    "edit": "MODEL, PICTURE, --mask PATH, --out PATH, --start-scale INT, --seed INT, --device {auto, middle ones",
    "reconstruct": "MODEL, --out PATH, --device {auto",
    "paint model": "MODEL PAINTING ..., --out PATH, --start-scale INT, --seed INT, --device {auto, authors take 1 or 2",
    "paint streets": "MODEL MAP ..., --style STYLE ..., pinxit paint MODEL --help",
    "paint": "MODEL MAP ..., --style STYLE ..., pinxit paint MODEL --help",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_the_options(place: Path, pinxit: Pinxit, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ran = pinxit(*command.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    assert [option for option in OPTIONS[command].split(", ") if option not in ran.out] == [], ran.out
    assert command.startswith("paint") or "None" not in ran.out


def test_help_waits_for_no_torch(place: Path) -> None:
    commands = [[*command.split(), "--help"] for command in OPTIONS]
    script = (
        "import sys\nfrom pinxit.apps.cli.main import main\n"
        f"for command in {commands!r}:\n"
        "    try: main(command)\n    except SystemExit as stop: assert not stop.code\n"
        "print('\\nMODULES', *sys.modules)"
    )
    ran = in_a_process("-c", script)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert set(ran.stdout.rpartition("MODULES")[2].split()).isdisjoint({"torch", "numpy", "safetensors", "PIL", "av"})


def test_the_commands_are_there() -> None:
    assert set(COMMANDS_OF_ONE_PHOTO) <= set(COMMANDS)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such links")
def test_an_input_behind_a_link_is_not_painted_over_either(place: Path, pinxit: Pinxit) -> None:
    Path("link.png").symlink_to("small.png")
    before = files_in(place)
    ran = pinxit("paint", "model", "link.png", "--out", "small.png", "--start-scale", 1)
    assert ran.status == 2
    assert "would be painted over" in ran.err
    assert files_in(place) == before
