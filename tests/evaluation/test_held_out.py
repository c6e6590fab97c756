"""What a model is to paint for a score: the split, the size, the pairs, and which rank paints what."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinxit.data.images import read_map
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError
from pinxit.evaluation.held_out import Maps, Translations, held_out, write_painted, write_real
from pinxit.modelfile import ModelFile

LABELS = LabelSet.from_json(
    {"name": "two", "ignore": [9], "labels": [{"id": 3, "name": "sky"}, {"id": 300, "name": "sea"}]}
)
SPADE = ModelFile("spade", {"size": [8, 16], "labels": 2, "instances": False}, {}, LABELS.to_json())
KINDS = {"input": Kind().as_dict(), "output": Kind().as_dict()}
PIX2PIX = ModelFile("pix2pix", {"size": [8, 8], **KINDS}, {})
CYCLEGAN = ModelFile(
    "cyclegan", {"size": [8, 8], "directions": ["AtoB", "BtoA"], "a": KINDS["input"], "b": KINDS["output"]}, {}
)


class Echo:
    """Gives back what it is given, and tells with which seed."""

    def __init__(self, file: ModelFile) -> None:
        self.file, self.seeds = file, list[int]()

    def canvas(self, map: np.ndarray, instances: np.ndarray | None) -> np.ndarray:
        return map

    def paint_on(self, canvas: np.ndarray, seed: int) -> Image.Image:
        self.seeds.append(seed)
        return Image.fromarray((canvas * 100).astype(np.uint8)).convert("RGB")

    def translate(self, picture: np.ndarray, seed: int) -> np.ndarray:
        self.seeds.append(seed)
        return picture


def street(home: Path, split: str = "val", number: int = 5) -> Path:
    """Maps of 16 x 32 pixels, the left half of label 3, the right one of 300, but for a corner of 9."""
    for part in ("label", "img"):
        (home / f"{split}_{part}").mkdir(parents=True)
    ids = np.full((16, 32), 3, np.uint16)
    ids[:, 16:] = 300
    ids[:4, :4] = 9
    for i in range(number):
        Image.fromarray(ids).save(home / f"{split}_label" / f"{i}.png")
        Image.new("RGB", (32, 16), (i, 2 * i, 3 * i)).save(home / f"{split}_img" / f"{i}.png")
    return home


def sides(home: Path, form: str) -> Path:
    for i in range(3):
        a, b = Image.new("RGB", (20, 20), (10 + i, 0, 0)), Image.new("RGB", (20, 20), (0, 0, 200 + i))
        if form == "beside":
            both = Image.new("RGB", (40, 20))
            both.paste(a, (0, 0))
            both.paste(b, (20, 0))
            (home / "test").mkdir(parents=True, exist_ok=True)
            both.save(home / "test" / f"{i}.png")
            continue
        for side, picture, name in (("A", a, f"{i}"), ("B", b, f"{i}" if form == "paired" else f"b{i}")):
            (home / f"test{side}").mkdir(parents=True, exist_ok=True)
            picture.save(home / f"test{side}" / f"{name}.png")
    return home


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_maps_are_brought_to_the_models_size_and_written_as_ids(tmp_path: Path) -> None:
    held = held_out(SPADE, street(tmp_path / "data"))
    assert isinstance(held, Maps)
    assert (held.split, held.size, held.names()) == ("val", (8, 16), ["0", "1", "2", "3", "4"])
    model: Any = Echo(SPADE)
    write_real(held, tmp_path / "out")
    write_painted(held, model, tmp_path / "out" / "painted", 40)
    assert model.seeds == [40, 41, 42, 43, 44]
    found = read_map(tmp_path / "out" / "maps" / "3.png", LABELS)
    assert found.shape == (8, 16)
    assert (found[:2, :2] == LABELS.unknown).all()
    assert (found[2:, :8] == 0).all()
    assert (found[:, 8:] == 1).all()
    assert np.array_equal(pixels(tmp_path / "out" / "painted" / "3.png")[..., 0], found * 100)
    assert np.array_equal(pixels(tmp_path / "out" / "real" / "3.png"), np.full((8, 16, 3), (3, 6, 9)))


def test_a_part_of_a_split_is_spread_over_it(tmp_path: Path) -> None:
    home = street(tmp_path)
    assert held_out(SPADE, home, most=2).names() == ["0", "2"]
    assert held_out(SPADE, home, most=99).names() == ["0", "1", "2", "3", "4"]
    assert held_out(SPADE, home, size=(24, 24)).size == (24, 24)


def test_without_a_held_out_split_there_is_nothing_to_score(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"held-out split of .* is missing \(splits: train\), expected one of val, "):
        held_out(SPADE, street(tmp_path, "train"))
    assert held_out(SPADE, tmp_path, split="train").split == "train"


@pytest.mark.parametrize("form", ["beside", "paired"])
@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_of_two_sides(form: str, direction: str, tmp_path: Path) -> None:
    home = sides(tmp_path / "data", form)
    # A model that was trained backwards says so on its card.
    file = PIX2PIX if direction == "AtoB" else dataclasses.replace(PIX2PIX, card={"data": "x, BtoA"})
    held = held_out(file, home)
    assert isinstance(held, Translations)
    assert (held.split, held.direction, held.paired, held.names()) == ("test", direction, True, ["0", "1", "2"])
    model: Any = Echo(file)
    write_real(held, tmp_path / "out")
    write_painted(held, model, tmp_path / "out" / "painted", 0)
    a, b = (11, 0, 0), (0, 0, 201)
    into, out = (a, b) if direction == "AtoB" else (b, a)
    assert np.array_equal(pixels(tmp_path / "out" / "painted" / "1.png"), np.full((8, 8, 3), into))
    assert np.array_equal(pixels(tmp_path / "out" / "real" / "1.png"), np.full((8, 8, 3), out))


def test_unpaired_sides_have_names_of_their_own(tmp_path: Path) -> None:
    held = held_out(CYCLEGAN, sides(tmp_path, "unpaired"), direction="BtoA")
    assert not held.paired
    assert (held.names(), held.real_names()) == (["b0", "b1", "b2"], ["0", "1", "2"])


def test_ranks_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = held_out(SPADE, street(tmp_path / "data"))
    written = []
    for rank in range(2):
        monkeypatch.setattr("pinxit.evaluation.held_out.rank", lambda rank=rank: rank)
        monkeypatch.setattr("pinxit.evaluation.held_out.world_size", lambda: 2)
        model: Any = Echo(SPADE)
        write_painted(held, model, tmp_path / f"{rank}", 7)
        written.append(([path.stem for path in sorted((tmp_path / f"{rank}").iterdir())], model.seeds))
    assert written == [(["0", "2", "4"], [7, 9, 11]), (["1", "3"], [8, 10])]


def test_what_paints_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match="a model of singan, expected one that paints held-out conditions"):
        held_out(ModelFile("singan", {}, {}), tmp_path)
    floats = {**PIX2PIX.config, "output": Kind(3, "float32", 0.0, 1.0).as_dict()}
    with pytest.raises(PinxitError, match=r"what the model gives is 3-channel float32 .*, expected 8-bit pictures"):
        held_out(dataclasses.replace(PIX2PIX, config=floats), sides(tmp_path, "paired"))


def test_two_pictures_of_one_name_would_be_one_file(tmp_path: Path) -> None:
    home = street(tmp_path / "data", number=2)
    held = held_out(SPADE, home)
    assert isinstance(held, Maps)
    twice = dataclasses.replace(held, items=[*held.items, held.items[0]])
    with pytest.raises(PinxitError, match="name '0' is given to several pictures"):
        write_real(twice, tmp_path / "out")
