"""`pinxit paint` with a model of PoE-GAN, and `pinxit data conditions`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from pinxit.data.conditions import counted, find_conditions
from pinxit.data.labels import load_label_set, numbered
from pinxit.data.layouts import load_layouts
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import Network
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.models.poegan.config import MODALITIES, PRESETS
from pinxit.models.poegan.recipe import PoEGANRecipe
from pinxit.recipe import state_on_cpu
from pinxit.text.training import Texts

from .conftest import Pinxit


def save_model(folder: Path, inputs: tuple[str, ...] = MODALITIES) -> None:
    torch.manual_seed(0)
    network = dataclasses.replace(PRESETS["tiny"].network, inputs=inputs, labels=3)
    texts = Texts(width=network.text_width) if "text" in inputs else None
    labels = numbered(3) if "map" in inputs else None
    PoEGANRecipe(network, PRESETS["tiny"].training, labels, texts).model_file().save(folder)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a model, one without maps and texts, and an input of each kind."""
    monkeypatch.chdir(tmp_path)
    save_model(Path("model"))
    save_model(Path("lines"), ("sketch", "style"))
    ids = np.zeros((40, 40), np.uint8)
    ids[20:], ids[:, :10] = 1, 2
    Image.fromarray(ids).save("street.png")
    Image.fromarray(ids[::-1]).save("other.png")
    page = Image.new("L", (40, 40), 255)
    ImageDraw.Draw(page).line((4, 4, 36, 36), fill=0, width=3)
    page.save("drawn.png")
    page.resize((40, 30)).save("small.png")
    Path("drawn.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M1 1L7 7" stroke="black"/></svg>'
    )
    Image.new("RGB", (50, 40), "orange").save("warm.jpg")
    return tmp_path


ALL = ("--map", "street.png", "--sketch", "drawn.png", "--text", "a street", "--style", "warm.jpg")


def array(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def test_any_of_it(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("paint", "model", *ALL, "--n", 3, "--seed", 4, "--out", "a")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"painted 3 pictures: {place / 'a'}\n"
    assert sorted(path.name for path in Path("a").iterdir()) == [f"street_{i:03d}.png" for i in range(3)]
    pinxit("paint", "model", *ALL, "--seed", 5, "--out", "one.png")
    assert abs(array("one.png") - array("a/street_001.png")).max() <= 1
    made = []
    for i in range(4):
        ran = pinxit("paint", "model", *ALL[2 * i : 2 * i + 2], "--out", f"{i}.png", "--seed", 5)
        assert ran.status == 0, ran.err
        made.append(array(f"{i}.png"))
    assert pinxit("paint", "model", "--out", "b").out.endswith(f"{place / 'b'}\n")
    assert Path("b/model.png").is_file()
    assert all(abs(a - b).mean() > 0.1 for i, a in enumerate(made) for b in made[:i])


def test_the_embedded_one_paints_by_any_of_it(tmp_path: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [label.name for label in load_label_set("camvid").labels]
    street = load_layouts()[0].draw(names, (72, 96)).astype(np.uint8)
    Image.fromarray(street).save("street.png")
    page = Image.new("L", (96, 72), 255)
    pen = ImageDraw.Draw(page)
    for line in ((40, 36, 5, 70), (56, 36, 90, 70), (0, 5, 40, 34), (95, 5, 56, 34)):
        pen.line(line, fill=0, width=2)
    page.save("drawn.png")
    given = {
        "nothing": (),
        "map": ("--map", "street.png"),
        "sketch": ("--sketch", "drawn.png"),
        "shade": ("--text", "A street in the shade with buildings on both sides."),
        "sun": ("--text", "A street in the sun with trees on both sides."),
    }
    for name, options in given.items():
        ran = pinxit("paint", "mixed", *options, "--out", f"{name}.png", "--device", "cpu")
        assert (ran.status, ran.err) == (0, "")
    made = [array(f"{name}.png") for name in given]
    assert {picture.shape for picture in made} == {(72, 96, 3)}
    assert all(abs(a - b).mean() > 5 for i, a in enumerate(made) for b in made[:i])
    sky, road = (made[1][street == names.index(name)].mean() for name in ("Sky", "Road"))
    assert sky > road + 50
    assert made[4].mean() > made[3].mean() + 30  # lighter in the sun


def test_an_svg_is_drawn_at_the_maps_size(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("paint", "model", "--map", "street.png", "--sketch", "drawn.svg", "--out", "a.png")
    assert (ran.status, ran.err) == (0, "")
    assert pinxit("paint", "lines", "--sketch", "drawn.svg", "--out", "b.png").status == 0


def test_interpolation(place: Path, pinxit: Pinxit) -> None:
    to = ("--to-map", "other.png", "--to-text", "a field", "--to-seed", 9)
    ran = pinxit("paint", "model", *ALL, "--interpolate", 4, *to, "--film", "f.gif", "--out", "a")
    assert ran.status == 0, ran.err
    assert ran.out == f"painted 4 pictures: {place / 'a'}\nfilm of 4 frames: {place / 'f.gif'}\n"
    pinxit("paint", "model", *ALL, "--out", "first.png")
    last = ("--map", "other.png", "--sketch", "drawn.png", "--text", "a field", "--style", "warm.jpg", "--seed", 9)
    pinxit("paint", "model", *last, "--out", "last.png")
    assert abs(array("first.png") - array("a/street_000.png")).max() <= 1
    assert abs(array("last.png") - array("a/street_003.png")).max() <= 1


def test_a_sheet_of_all_subsets(place: Path, pinxit: Pinxit) -> None:
    assert pinxit("paint", "model", *ALL, "--subsets", "--n", 2, "--out", "a").status == 0
    assert [path.name for path in Path("a").iterdir()] == ["subsets.png"]
    with Image.open("a/subsets.png") as page:
        assert page.height >= (3 + 16) * 32


def test_what_is_squeezed_is_told(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("paint", "model", "--sketch", "small.png", "--out", "a")
    assert ran.status == 0
    assert ran.err == ("note: the model paints 32x32 pictures (width x height): what is 40x30 is squeezed\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("model --map street.png --sketch small.png", "size of the sketch 'small.png' is 40x30, expected 40x40"),
        ("model --map warm.jpg", "label map 'warm.jpg' is a JPEG"),
        ("model --map drawn.png", "label map 'drawn.png' has value"),
        ("model --sketch none.png", "sketch 'none.png' is missing"),
        ("model --style none.png", "photo 'none.png' is missing"),
        ("model --text ''", "--text"),
        ("lines --map street.png", "what to paint by is a map, expected sketch and style, or some of it"),
        ("lines --text street", "what to paint by is a text, expected sketch and style, or some of it"),
        ("model --seed -1", "--seed is -1"),
        ("model --n 0", "--n is 0"),
        ("model --to-seed 3", "--to-seed is given without --interpolate"),
        ("model --film a.gif", "--film is given without --interpolate"),
        ("model --interpolate 3", "--interpolate is given, expected with one of --to-map"),
        ("model --interpolate 3 --to-text x", "--text is missing, expected one to begin with"),
        ("model --interpolate 3 --to-seed 2 --n 2", "--interpolate is given with --n"),
        ("model --style warm.jpg --out warm.jpg", "--out 'warm.jpg' is"),
    ],
)
def test_mistakes_are_one_line(place: Path, pinxit: Pinxit, arguments: str, told: str) -> None:
    before = sorted(path.name for path in place.rglob("*"))
    ran = pinxit("paint", *("" if word == "''" else word for word in arguments.split()))
    assert ran.status == 2
    assert ran.err.startswith("pinxit: ")
    assert ran.err.count("\n") == 1
    assert told in ran.err
    assert sorted(path.name for path in place.rglob("*")) == before


def test_a_text_whose_encoder_is_not_installed(place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch) -> None:
    from pinxit import modelfile

    file = modelfile.read(Path("model"))
    config = {**file.config, "text_encoder": "clip:somewhere"}
    tensors = {name: x for name, x in file.tensors.items() if not name.startswith("texts.network")}
    dataclasses.replace(file, config=config, tensors=tensors).save(Path("clip"))
    ran = pinxit("paint", "clip", "--text", "a street")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert pinxit("paint", "clip", "--map", "street.png").status == 0


def test_help(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("paint", "model", "--help")
    assert "--to-style" in ran.out


def test_data_conditions_makes_what_is_missing(place: Path, pinxit: Pinxit) -> None:
    random = np.random.default_rng(0)
    for name in ("1", "2"):
        photo = np.kron(random.integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        (place / "photos").mkdir(exist_ok=True)
        Image.fromarray(photo).save(place / "photos" / f"{name}.png")
    Image.new("RGB", (64, 48), "grey").save("photos/3.png")
    ran = pinxit("data", "conditions", "photos", "--sketcher", "edges", "--out", "a")
    assert ran.out == f"3 photos: 0 with a map, 2 with a sketch, 0 with a text: {place / 'a' / 'train'}\n"

    tiny = Network(labels=3, size=(32, 32), depth=18, width=4, output_stride=8, rates=(1,), pyramid=8)
    weights = {f"S.{name}": x for name, x in state_on_cpu(DeepLabV3(tiny).state_dict()).items()}
    ModelFile("deeplabv3", dataclasses.asdict(tiny), weights, numbered(3).to_json()).save(Path("seer"))
    (place / "own").mkdir()
    Image.fromarray(np.full((48, 64), 2, np.uint8)).save("own/2.png")
    ran = pinxit(
        "data", "conditions", "photos", "--maps", "own", "--label-set", 3, "--segmenter", "seer", "--out", "b"
    )  # fmt: skip
    assert ran.out == f"3 photos: 3 with a map, 0 with a sketch, 0 with a text: {place / 'b' / 'train'}\n"
    assert (array("b/train/maps/2.png") == 2).all()
    assert array("b/train/maps/1.png").shape == (48, 64)
    assert json.loads(Path("b/label_set.json").read_text())["name"] == "numbered_3"
    ran = pinxit("data", "conditions", "photos", "--maps", "own", "--label-set", 4, "--segmenter", "seer", "--out", "c")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "label set of segmenter 'seer' is numbered_3, expected numbered_4" in ran.err


def test_data_conditions_keeps_what_is_there(place: Path, pinxit: Pinxit) -> None:
    (place / "photos").mkdir()
    (place / "own").mkdir()
    for name in ("1", "2"):
        Image.new("RGB", (64, 48), "grey").save(f"photos/{name}.png")
    Image.fromarray(np.full((48, 64), 2, np.uint8)).save("own/2.png")
    Path("said.jsonl").write_text(json.dumps({"image": "1.png", "caption": "my own words"}))
    own = ("--maps", "own", "--label-set", "3", "--captions", "said.jsonl")
    ran = pinxit("data", "conditions", "photos", *own, "--compose", "--out", "b", "--split", "val")
    assert ran.status == 0, ran.err
    items = find_conditions(Path("b"), "val")
    assert counted(items) == "2 photos: 1 with a map, 0 with a sketch, 2 with a text"
    assert items[0].captions == ("my own words",)
    assert len(items[1].captions) > 1
    assert array("b/val/maps/2.png").tolist() == np.full((48, 64), 2).tolist()
    ran = pinxit("data", "check", "b", "--split", "val")
    assert (ran.status, ran.out) == (0, "2 photos: 1 with a map, 0 with a sketch, 2 with a text\nno problems\n")
    Image.fromarray(np.full((48, 64), 9, np.uint8)).save("b/val/maps/1.png")
    (place / "b/val/sketches").mkdir()
    Image.new("L", (64, 48), 255).save("b/val/sketches/2.png")
    ran = pinxit("data", "check", "b", "--split", "val")
    assert ran.status == 2
    assert "problem: label map 'b/val/maps/1.png' has value 9" in ran.out
    assert "problem: sketch 'b/val/sketches/2.png' is blank" in ran.out
    assert ran.out.endswith("2 problems\n")
    again = pinxit("data", "conditions", "photos", *own, "--out", "b", "--split", "val")
    assert (again.status, again.err.count("\n")) == (2, 1)
    assert "with 'val' in it" in again.err
    for arguments, told in (
        (("--compose",), "--compose is given"),
        (("--sketcher", "pencil"), "--sketcher is 'pencil'"),
        (("--segmenter", "model"), "is of method poegan"),
    ):
        ran = pinxit("data", "conditions", "photos", *arguments, "--out", "c")
        assert (ran.status, ran.err.count("\n")) == (2, 1)
        assert told in ran.err
        assert not Path("c").exists()
