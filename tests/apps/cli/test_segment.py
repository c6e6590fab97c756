"""`pinxit segment`, and the way there: train, segment, and what is told of a model or a photo that is wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.images import read_map
from pinxit.data.labels import Label, LabelSet
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import Network
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.recipe import state_on_cpu

from .conftest import LABELS, Pinxit, files_in, pixels

TINY = Network(labels=3, size=(32, 32), depth=18, width=4, output_stride=8, rates=(1,), pyramid=8)


@pytest.fixture
def scene(place: Path) -> Path:
    """The place with `seer/`, a model of random weights for the garden's labels, and two photos of other sizes."""
    save(place / "seer", LabelSet.from_json(LABELS))
    random = np.random.default_rng(0)
    for name, height, width in (("a.png", 48, 64), ("b.jpg", 30, 21)):
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(place / name)
    return place


def save(folder: Path, labels: LabelSet) -> None:
    torch.manual_seed(0)
    network = dataclasses.replace(TINY, labels=len(labels.labels))
    tensors = {f"S.{k}": v for k, v in state_on_cpu(DeepLabV3(network).state_dict()).items()}
    ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels.to_json()).save(folder)


def test_maps_colours_and_overlays(scene: Path, pinxit: Pinxit) -> None:
    ran = pinxit("segment", "seer", "a.png", "b.jpg", "--out", "maps", "--colors", "--overlay")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"segmented 2 photos: {(scene / 'maps').resolve()}\n"
    names = {f"{stem}{form}.png" for stem in "ab" for form in ("", "_colors", "_overlay")}
    assert set(files_in(scene / "maps")) == names
    labels = LabelSet.from_json(LABELS)
    for stem, suffix, size in (("a", "png", (48, 64)), ("b", "jpg", (30, 21))):
        with Image.open(scene / "maps" / f"{stem}.png") as picture:
            assert picture.mode == "L"
        index = read_map(scene / "maps" / f"{stem}.png", labels)
        assert index.shape == size
        colors = pixels(scene / "maps" / f"{stem}_colors.png")
        assert np.array_equal(colors, labels.colorize(index))
        mean = (colors.astype(int) + pixels(scene / f"{stem}.{suffix}")) / 2
        assert np.abs(pixels(scene / "maps" / f"{stem}_overlay.png") - mean).max() <= 1


def test_ids_are_those_of_the_label_set_in_16_bit_where_they_must(scene: Path, pinxit: Pinxit) -> None:
    high = LabelSet("high", tuple(Label(id, f"label {id}", None, "labels") for id in (7, 300, 40_000)))
    save(scene / "high", high)
    assert pinxit("segment", "high", "a.png", "--out", "maps").status == 0
    with Image.open(scene / "maps" / "a.png") as picture:
        ids = np.array(picture)
    assert set(np.unique(ids)) <= {7, 300, 40_000}
    assert read_map(scene / "maps" / "a.png", high).shape == (48, 64)


def test_from_training_to_a_map_that_another_method_paints(scene: Path, pinxit: Pinxit) -> None:
    data = "--data garden --label-set garden.json --size 48 64"
    trained = pinxit(*f"train deeplabv3 --preset tiny {data} --steps 2 --out run --no-tensorboard".split())
    assert (trained.status, trained.out) == (0, "2 steps done; the model, log.jsonl and samples are in run\n")
    assert json.loads((scene / "run" / "config.json").read_text())["method"] == "deeplabv3"
    assert pinxit("segment", "run", "a.png", "--out", "maps").status == 0
    assert pinxit("paint", "plain", "maps/a.png", "--out", "painted").status == 0
    assert pixels(scene / "painted" / "a.png").shape == (48, 64, 3)
    assert "weights of S" in pinxit("info", "run").out


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("nowhere a.png", ("model 'nowhere' is not there",)),
        ("model a.png", ("model 'model' is of method spade, expected one of deeplabv3; train or import one",)),
        ("seer", ("list of photos is empty",)),
        ("seer absent.png", ("'absent.png' is not there",)),
        ("seer a.png broken.png", ("photo 'broken.png' is not a picture",)),
        ("seer a.png --out .", ("--out '.' is where 'a.png' would be painted over",)),
        ("seer a.png other/a.jpg", ("name of 'other/a.jpg' is that of 'a.png', expected one photo of each name",)),
        ("seer a.png a_colors.jpg --colors", ("name of 'a_colors.jpg' is that of 'a.png'",)),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    scene: Path, pinxit: Pinxit, arguments: str, parts: tuple[str, ...]
) -> None:
    (scene / "broken.png").write_text("no picture")
    (scene / "other").mkdir()
    for copy in ("other/a.jpg", "a_colors.jpg"):
        Image.open(scene / "a.png").save(scene / copy)
    before = files_in(scene)
    ran = pinxit("segment", *arguments.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("pinxit: ")
    assert ran.err.count("\n") == 1
    assert all(part in ran.err for part in parts), ran.err
    assert files_in(scene) == before
