"""`pinxit paint` and `pinxit import` with models of pix2pixHD."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.kinds import Kind
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.network import Encoder, Generator
from pinxit.models.pix2pixhd.weights import official_names

from .conftest import LABELS, Pinxit, files_in, pixels

PLAIN = Network(
    labels=3, unknown=True, output=Kind(), size=(32, 64), width=3, downsamplings=2, blocks=1, features="none"
)
STYLISH = dataclasses.replace(PLAIN, features="instance", encoder_width=3, encoder_downsamplings=2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """plain/, stylish/, pictures/ with random weights; a.png and b.png with maps, a_inst.png, photo.png."""
    for name, c in {
        "plain": PLAIN,
        "stylish": STYLISH,
        "pictures": dataclasses.replace(PLAIN, source="pictures", labels=0, unknown=False, input=Kind()),
    }.items():
        torch.manual_seed(0)
        tensors = {f"G.{k}": v for k, v in Generator(c).state_dict().items()}
        if c.features != "none":
            tensors |= {f"E.{k}": v for k, v in Encoder(c).state_dict().items()}
            tensors["styles.clusters"] = torch.rand(4, 10, 3) * 2 - 1
            tensors["styles.counts"] = torch.tensor([10, 2, 0, 0])
        labels = LABELS if c.source == "labels" else None
        ModelFile("pix2pixhd", dataclasses.asdict(c), tensors, labels).save(tmp_path / name)
    ids = np.kron(np.array([[0, 0, 1, 2], [1, 0, 0, 1]]), np.ones((16, 16))).astype(np.uint8)
    for name in "ab":
        Image.fromarray(ids).save(tmp_path / f"{name}.png")
    Image.fromarray((1000 * ids.astype(int) + np.arange(64) // 32).astype(np.uint16)).save(tmp_path / "a_inst.png")
    photo = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_maps_become_pictures(pinxit: Pinxit, home: Path) -> None:
    ran = pinxit("paint", "plain", "a.png", "b.png", "--out", "made")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"painted 2 pictures: {home / 'made'}\n"
    assert pixels(home / "made/a.png").shape == (32, 64, 3)
    assert np.array_equal(pixels(home / "made/a.png"), pixels(home / "made/b.png"))


def test_styles_of_objects(pinxit: Pinxit, home: Path) -> None:
    def made(out: str, *options: str) -> np.ndarray:
        ran = pinxit("paint", "stylish", "a.png", "--out", out, *options)
        assert (ran.status, ran.err) == (0, ""), ran.err
        return pixels(home / out / "a.png")

    every = made("1", "--style", "sky=3", "lawn=1")
    assert np.array_equal(every, made("2", "--style", "sky=3", "lawn=1", "--seed", "9"))
    ids = ("--instances", "a_inst.png", "--style", "0=3", "1=3", "1000=1", "1001=1")
    assert np.array_equal(every, made("3", *ids))
    assert not np.array_equal(every, made("4", *ids[:-1], "1001=0"))
    assert not np.array_equal(every, made("5", "--like", "photo.png"))
    ran = pinxit("paint", "stylish", "a.png", "--out", "many", "--variations", 3, "--seed", 4)
    assert ran.status == 0
    assert sorted(files_in(home / "many")) == ["a_000.png", "a_001.png", "a_002.png"]
    assert np.array_equal(pixels(home / "many/a_001.png"), made("6", "--seed", "5"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("stylish a.png --style sky", "--style is 'sky', expected a label or an instance's id, = and a number; "),
        ("stylish a.png --style sky=10", "--style is sky=10, expected 0..9; "),
        ("stylish a.png --style path=0", "--style is path=0, expected none, as no object of it was in the training"),
        ("stylish a.png --style skye=1", "label is 'skye', expected one of lawn, path, sky; did you mean 'sky'?"),
        ("stylish a.png --style 7=1", "--style is given for 7, without --instances, expected a label, or an id in "),
        ("stylish a.png --style 7=1 --instances a_inst.png", "--style is given for 7, expected a label, or an id in "),
        ("stylish a.png --like plain", "folder 'plain' is without pictures, expected "),
        ("stylish a.png b.png --like photo.png", "--like is 1 file, expected 2, one for each map; "),
        ("stylish a.png --like small.png", "size of 'small.png' is 9x9, expected 64x32 (width x height) as its label"),
        ("stylish a.png --like photo.png --variations 2", "--like is given with --variations 2, expected one of "),
        ("stylish a.png --instances a_inst.png b.png", "--instances is 2 files, expected 1, one for each map; "),
        ("stylish a.png --instances small.png", "size of 'small.png' is 9x9, expected 64x32 (width x height) as"),
        ("stylish a.png --seed -1", "--seed is -1, expected 0 or more, below 4294967296; "),
        ("stylish a.png --variations 0", "--variations is 0, expected 1 or more; "),
        ("plain a.png --style sky=0", "--style is given, expected nothing: model 'plain' was trained without "),
        ("plain a.png --variations 2", "--variations is given, expected nothing: model 'plain' was trained without"),
        ("plain photo.png", "colour map 'photo.png' has "),
        ("pictures a.png", "model 'pictures' is one for pictures, expected one for label maps; use pinxit translate"),
    ],
)
def test_mistakes_are_told_in_one_line_and_nothing_is_painted(
    pinxit: Pinxit, home: Path, arguments: str, message: str
) -> None:
    Image.new("L", (9, 9)).save(home / "small.png")
    ran = pinxit("paint", *arguments.split(), "--out", "made")
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"pinxit: {message}")
    assert ran.err.count("\n") == 1
    assert not (home / "made").exists()


def test_instances_that_have_no_effect_are_remarked(pinxit: Pinxit, home: Path) -> None:
    ran = pinxit("paint", "plain", "a.png", "--instances", "a_inst.png", "--out", "made")
    assert ran.status == 0
    assert ran.err == "note: --instances has no effect: model 'plain' was trained without instance maps\n"


def test_help_is_that_of_the_models_method(pinxit: Pinxit, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    told = pinxit("paint", "stylish", "--help").out
    for option in ("--style OBJECT=N ...", "--like FILE ...", "--seed INT", "--variations INT", "--instances FILE ..."):
        assert option in told


def test_a_release_is_imported_and_painted_with(pinxit: Pinxit, home: Path) -> None:
    c = dataclasses.replace(STYLISH, unknown=False, instances=True)
    (home / "release").mkdir()
    for part, network in (("G", Generator(c)), ("E", Encoder(c))):
        state, names = network.state_dict(), official_names(network)
        torch.save({names[k]: v for k, v in state.items()}, home / "release" / f"latest_net_{part}.pth")
    (home / "garden.json").write_text(json.dumps({**LABELS, "ignore": []}))
    ran = pinxit("import", "pix2pixhd", "release", "--label-set", "garden.json", "--out", "imported")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"imported pix2pixhd: {home / 'imported/model.safetensors'}\n"
    ran = pinxit("paint", "imported", "a.png", "--like", "photo.png", "--out", "made")
    assert (ran.status, ran.err) == (0, "")
    assert "comes without styles" in pinxit("paint", "imported", "a.png", "--out", "plainly").err
    ran = pinxit("import", "pix2pixhd", "release", "--out", "other")
    assert ran.status == 2
    assert ran.err.startswith(
        "pinxit: --label-set is missing, for weights of 4 input channels, expected a label set of 3"
    )
    assert "features" in pinxit("info", "imported").out
