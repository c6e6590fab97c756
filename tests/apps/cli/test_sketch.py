"""`pinxit sketch`, from sketches to a model that the other commands take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pinxit.modelfile import ModelFile, read
from pinxit.models.photosketch import config as photosketch
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.stylegan2 import config as stylegan2
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe

from .conftest import Pinxit

TINY = "--steps 4 --score-every 2 --score-of 4 --device cpu --no-tensorboard"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """model/, contours/ (of PhotoSketch), circle.png, thin.svg."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    tiny, other = stylegan2.PRESETS["tiny"], photosketch.PRESETS["tiny"]
    StyleGAN2Recipe(tiny.network, tiny.training).model_file().save(Path("model"))
    PhotoSketchRecipe(other.network, other.training).model_file().save(Path("contours"))
    page = Image.new("L", (96, 96), 255)
    ImageDraw.Draw(page).ellipse((12, 12, 84, 84), outline=0, width=4)
    page.save("circle.png")
    path = '<path d="M10 50 C10 10 90 10 90 50 S50 90 10 50" fill="none" stroke="black" stroke-width="3"/>'
    Path("bean.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">{path}</svg>')
    return tmp_path


def sketched(pinxit: Pinxit, more: str = "", sketches: str = "circle.png bean.svg", out: str = "run"):
    return pinxit(*f"sketch model --sketches {sketches} --photosketch contours --out {out} {TINY} {more}".split())


def test_from_sketches_to_pictures(pinxit: Pinxit, place: Path) -> None:
    ran = sketched(pinxit, "--sample-every 2 --rows 3")
    assert ran.status == 0, ran.err
    assert ran.out.splitlines() == [
        f"what the network sees of the sketches (2): {place / 'run' / 'sketches.png'}",
        "4 steps done; the model, log.jsonl and samples are in run",
    ]
    with Image.open("run/sketches.png") as seen:
        assert seen.height >= 128
    sheets = sorted(Path("run/samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["sketching_000002.png", "sketching_000004.png"]
    # Before and after of the same z: the first two columns of all sheets are the same.
    first, last = (np.asarray(Image.open(sheet)) for sheet in sheets)
    assert first.shape == (3 * 36 - 4, 5 * 36 - 4, 3)
    assert (first[:, :72] == last[:, :72]).all()

    file = read(Path("run"))
    assert file.method == "stylegan2"
    assert file.card["customised"] == "model, by sketches (2), with pinxit sketch"
    for command in (
        "sample run --n 2 --out pictures --device cpu",
        "project run pictures/run_000.png --steps 2 --out found.png --device cpu",
        "info run",
    ):
        assert pinxit(*command.split()).status == 0
    assert sketched(pinxit, out="again").status == 0


def test_cut_and_resumed_is_bit_equal(pinxit: Pinxit, place: Path) -> None:
    assert sketched(pinxit).status == 0
    assert sketched(pinxit, "--steps 3", out="cut").status == 0
    ran = sketched(pinxit, "--resume", out="cut")
    assert ran.status == 0, ran.err
    whole, cut = (torch.load(f"{name}/state.pt", weights_only=True) for name in ("run", "cut"))
    assert whole["step"] == cut["step"] == 4
    for name, value in whole["recipe"].items():
        assert torch.equal(value, cut["recipe"][name]), name
    one, two = (read(Path(name)).tensors for name in ("run", "cut"))
    assert all(torch.equal(value, two[name]) for name, value in one.items())

    circle = Image.open("circle.png").rotate(90).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ImageDraw.Draw(circle).line((0, 0, 90, 90), fill=0, width=4)
    circle.save("circle.png")
    ran = sketched(pinxit, "--resume --steps 6", out="cut")
    told = "--resume is with other sketches or other models, expected those that the run began with; name those, or "
    assert (ran.status, ran.err.splitlines()[-1]) == (2, f"pinxit: {told}begin another run")


def test_what_is_remarked_on_sketches_is_told(pinxit: Pinxit, place: Path) -> None:
    """A photo is taken with a warning, another aspect is padded."""
    random = np.random.default_rng(0)
    photo = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    Image.fromarray(photo).save("photo.png")
    page = Image.new("L", (200, 100), 255)
    ImageDraw.Draw(page).rectangle((20, 20, 180, 80), outline=0, width=5)
    page.save("wide.png")
    ran = sketched(pinxit, sketches="photo.png wide.png")
    assert ran.status == 0
    notes = [line for line in ran.err.splitlines() if line.startswith("note: ")]
    assert any("'photo.png' looks like a photo" in note for note in notes)
    assert any("'wide.png' is 200x100 (width x height), of another aspect than 32x32" in note for note in notes)
    assert "Warning" not in ran.err


def test_the_kind_of_the_sketches_says_how_they_are_varied(pinxit: Pinxit, place: Path) -> None:
    for more, out, told in (
        ("", "a", ["color", "translation"]),
        ("--kind contours", "b", []),
        ("--kind contours --augment cutout", "c", ["cutout"]),
    ):
        assert sketched(pinxit, more, out=out).status == 0
        identity = torch.load(f"{out}/state.pt", weights_only=True)["identity"]
        assert f'"augment": {told}'.replace("'", '"') in identity


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sketch model --photosketch contours", "the number of --sketches is 0, expected 1 or more"),
        ("sketch model --sketches circle.png", "--photosketch is missing, expected a model of PhotoSketch"),
        ("sketch model --sketches circle.png --photosketch model", "--photosketch 'model' is of method stylegan2"),
        ("sketch contours --sketches circle.png --photosketch contours", "model 'contours' is of method photosketch"),
        ("sketch none --sketches circle.png --photosketch contours", "model 'none' is not there"),
        ("sketch model --sketches none.png --photosketch contours", "sketch 'none.png' is missing"),
        ("sketch model --sketches blank.png --photosketch contours", "sketch 'blank.png' is blank"),
        ("sketch model --sketches wide.png --photosketch contours --no-pad", "size of sketch 'wide.png' is 200x100"),
        ("sketch model --sketches circle.png --photosketch contours --images none", "data folder 'none' is missing"),
        ("sketch model --sketches circle.png --photosketch contours --batch 6", "--batch is 6, expected a multiple"),
        ("sketch model --sketches circle.png --photosketch contours --preset small", "preset is 'small', expected one"),
        ("sketch other --sketches circle.png --photosketch contours", "the model's D is not as its configuration"),
    ],
)
def test_mistakes(pinxit: Pinxit, place: Path, command: str, told: str) -> None:
    """Another size's discriminator among them: one line each, and no model."""
    Image.new("L", (64, 64), 255).save("blank.png")
    wide = Image.new("L", (200, 100), 255)
    ImageDraw.Draw(wide).line((10, 50, 190, 50), fill=0, width=5)
    wide.save("wide.png")
    base = read(Path("model"))
    ends = {name: value[..., :-1] for name, value in base.tensors.items() if name == "D.final_linear.0.weight"}
    ModelFile("stylegan2", base.config, {**base.tensors, **{n: v.contiguous() for n, v in ends.items()}}).save(
        Path("other")
    )
    ran = pinxit(*command.split(), *f"--out run {TINY}".split())
    assert ran.status == 2
    assert ran.err.splitlines()[-1].startswith(f"pinxit: {told}"), ran.err
    assert not Path("run/model.safetensors").exists()
