"""What every method is held to; one that joins `METHODS` gives its data here and is tested with the rest."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

import pinxit
from pinxit.modelfile import read
from pinxit.models import METHODS
from pinxit.recipe import Recipe
from pinxit.training import checkpoint
from pinxit.training.checkpoint import Position
from pinxit.training.config import Run
from pinxit.training.loop import train

FILES = {"__init__.py", "config.py", "network.py", "recipe.py", "weights.py", "generate.py"}


def label_photos(folder: Path, tiny: Any) -> Any:
    """Five maps of three labels and photos that show them, 64x64."""
    random = np.random.default_rng(0)
    labels = [{"id": i, "name": f"label {i}", "color": None, "group": "labels"} for i in range(3)]
    (folder / "labels.json").write_text(json.dumps({"name": "three", "ignore": [], "labels": labels}))
    for kind in ("label", "img"):
        (folder / f"train_{kind}").mkdir()
    for i in range(5):
        ids = np.kron(random.integers(0, 3, (8, 8)), np.ones((8, 8), int)).astype(np.uint8)
        photo = 80 * ids[..., None] + random.integers(0, 60, (64, 64, 3))
        Image.fromarray(ids).save(folder / "train_label" / f"{i}.png")
        Image.fromarray(photo.astype(np.uint8)).save(folder / "train_img" / f"{i}.png")
    data = dataclasses.replace(tiny.data, data=folder, label_set=str(folder / "labels.json"))
    return dataclasses.replace(tiny, data=data)


def one_photo(folder: Path, tiny: Any) -> Any:
    """A photo of blocks, 40x32, and fewer steps a scale than it takes to get to the next."""
    random = np.random.default_rng(0)
    blocks = np.kron(random.integers(0, 255, (4, 5, 3)), np.ones((8, 8, 1)))
    Image.fromarray(blocks.astype(np.uint8)).save(folder / "photo.png")
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder / "photo.png"))


def drawing_photo(folder: Path, tiny: Any) -> Any:
    """Five pairs side by side: blocks of grey, and the same in colour."""
    random = np.random.default_rng(0)
    (folder / "train").mkdir()
    for i in range(5):
        blocks = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((8, 8, 1)))
        grey = np.broadcast_to(blocks.mean(axis=2, keepdims=True), blocks.shape)
        Image.fromarray(np.hstack([grey, blocks]).astype(np.uint8)).save(folder / "train" / f"{i}.png")
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder))


def two_sides(folder: Path, tiny: Any) -> Any:
    """Five bright and six dark pictures."""
    random = np.random.default_rng(0)
    for side, count, light in (("A", 5, 120), ("B", 6, 0)):
        (folder / f"train{side}").mkdir()
        for i in range(count):
            blocks = np.kron(light + random.integers(0, 120, (8, 8, 3)), np.ones((5, 5, 1)))
            Image.fromarray(blocks.astype(np.uint8)).save(folder / f"train{side}" / f"{i}.png")
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder))


def folder_of_pictures(folder: Path, tiny: Any) -> Any:
    """Six pictures of blocks, some in a folder of their own, none a square."""
    random = np.random.default_rng(0)
    for i in range(6):
        blocks = np.kron(random.integers(0, 255, (8, 9, 3)), np.ones((5, 5, 1)))
        path = folder / ("kind" if i % 2 else ".") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(blocks.astype(np.uint8)).save(path)
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder))


def drawn_photos(folder: Path, tiny: Any) -> Any:
    """Five photos of blocks, with one to three drawings of each."""
    random = np.random.default_rng(0)
    for i in range(5):
        blocks = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        (folder / "sketches" / str(i)).mkdir(parents=True)
        (folder / "photos").mkdir(exist_ok=True)
        Image.fromarray(blocks).save(folder / "photos" / f"{i}.png")
        for j in range(1 + i % 3):
            lines = np.where(random.random((40, 40)) < 0.1, 0, 255).astype(np.uint8)
            Image.fromarray(lines).save(folder / "sketches" / str(i) / f"{j}.png")
    data = dataclasses.replace(tiny.data, photos=folder / "photos", sketches=folder / "sketches")
    return dataclasses.replace(tiny, data=data)


def two_models_and_sketches(folder: Path, tiny: Any) -> Any:
    """Models with random weights of the methods that sketching is made of, and three drawn circles."""
    torch.manual_seed(0)
    for method, recipe in (("stylegan2", "StyleGAN2Recipe"), ("photosketch", "PhotoSketchRecipe")):
        other = part(method, "config").PRESETS["tiny"]
        getattr(part(method, "recipe"), recipe)(other.network, other.training).model_file().save(folder / method)
    (folder / "sketches").mkdir()
    for i in range(3):
        page = Image.new("L", (64, 64), 255)
        ImageDraw.Draw(page).ellipse((8 + 4 * i, 8, 56 - 4 * i, 56), outline=0, width=2)
        page.save(folder / "sketches" / f"{i}.png")
    sketches = (folder / "sketches",)
    data = dataclasses.replace(
        tiny.data, base=folder / "stylegan2", photosketch=folder / "photosketch", sketches=sketches
    )
    return dataclasses.replace(tiny, data=data)


def captioned_classes(folder: Path, tiny: Any) -> Any:
    """Two photos of blocks of each of five colours, and two sentences that name it."""
    random = np.random.default_rng(0)
    for name in ("red", "green", "blue", "grey", "brown"):
        (folder / name).mkdir()
        blocks = np.kron(random.integers(0, 255, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        for i in range(2):
            Image.fromarray(np.roll(blocks, 5 * i, axis=1)).save(folder / name / f"{i}.png")
            (folder / name / f"{i}.txt").write_text(f"a {name} one\nblocks of {name}, {i}\n", encoding="utf-8")
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder))


def captioned_birds(folder: Path, tiny: Any) -> Any:
    """Six photos of blocks in the layout of CUB-200-2011, with a sentence, a box and points each."""
    random = np.random.default_rng(0)
    names, boxes, points = [], [], []
    for i in range(6):
        name = f"00{1 + i % 2}.Kind/bird_{i}"
        for kind in ("images", "text"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        blocks = np.kron(random.integers(0, 255, (8, 9, 3)), np.ones((5, 5, 1))).astype(np.uint8)
        Image.fromarray(blocks).save(folder / "images" / f"{name}.jpg")
        (folder / "text" / f"{name}.txt").write_text(f"bird number {i}\n", encoding="utf-8")
        names.append(f"{i + 1} {name}.jpg")
        boxes.append(f"{i + 1} {4 + i} 5.0 30.0 25.0")
        points += [f"{i + 1} {part} {5 + 2 * part} {4 + 2 * part} {part % 2}" for part in range(1, 16)]
    (folder / "parts").mkdir()
    for name, lines in (("images.txt", names), ("bounding_boxes.txt", boxes), ("parts/part_locs.txt", points)):
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder))


def photos_with_parts(folder: Path, tiny: Any) -> Any:
    """Six photos with maps of three labels, sketches and captions; the last has none of them."""
    random = np.random.default_rng(0)
    labels = [{"id": i, "name": f"label {i}", "color": None, "group": "labels"} for i in range(3)]
    (folder / "labels.json").write_text(json.dumps({"name": "three", "ignore": [255], "labels": labels}))
    for kind in ("photos", "maps", "sketches"):
        (folder / kind).mkdir()
    captions = []
    for i in range(6):
        ids = np.kron(random.integers(0, 3, (4, 4)), np.ones((10, 10), int)).astype(np.uint8)
        photo = 80 * ids[..., None] + random.integers(0, 60, (40, 40, 3))
        Image.fromarray(photo.astype(np.uint8)).save(folder / "photos" / f"{i}.png")
        if i == 5:
            break
        Image.fromarray(ids).save(folder / "maps" / f"{i}.png")
        page = Image.new("L", (40, 40), 255)
        ImageDraw.Draw(page).line((4, 4 + 5 * i, 36, 20), fill=0, width=2)
        page.save(folder / "sketches" / f"{i}.png")
        captions.append(json.dumps({"image": f"{i}.png", "captions": [f"number {i}", f"blocks of label {ids[0, 0]}"]}))
    (folder / "captions.jsonl").write_text("\n".join(captions) + "\n", encoding="utf-8")
    data = dataclasses.replace(tiny.data, data=folder, label_set=str(folder / "labels.json"))
    return dataclasses.replace(tiny, data=data)


DATA: dict[str, Callable[[Path, Any], Any]] = {
    "spade": label_photos,
    "singan": one_photo,
    "pix2pixhd": label_photos,
    "pix2pix": drawing_photo,
    "cyclegan": two_sides,
    "deeplabv3": label_photos,
    "photosketch": drawn_photos,
    "stylegan2": folder_of_pictures,
    "sketching": two_models_and_sketches,
    "stackgan": captioned_classes,
    "ganintcls": captioned_classes,
    "gawwn": captioned_birds,
    "charcnnrnn": captioned_classes,
    "poegan": photos_with_parts,
}
"""Method -> a function that writes a small data set into a folder and points the tiny preset's options at it."""

MODEL_OF = {"sketching": "stylegan2"}
"""Methods whose models are another method's."""

CPU = torch.device("cpu")
each_method = pytest.mark.parametrize("method", METHODS)


def part(method: str, name: str) -> ModuleType:
    return importlib.import_module(f"{METHODS[method]}.{name}")


def test_every_method_has_data_here() -> None:
    assert set(DATA) == set(METHODS)


@each_method
def test_the_six_files(method: str) -> None:
    package = importlib.import_module(METHODS[method])
    assert package.__file__ is not None
    assert {path.name for path in Path(package.__file__).parent.glob("*.py")} >= FILES


@each_method
def test_the_card_names_paper_official_code_and_licence(method: str) -> None:
    card = importlib.import_module(METHODS[method]).__doc__ or ""
    assert re.search(r"^In: .+", card, re.MULTILINE)
    assert re.search(r"^Out: .+", card, re.MULTILINE)
    assert re.search(r'^Paper: .+, ".+", .+ \d{4}\.$', card, re.MULTILINE)
    assert re.search(r"^Official code: github \S+/\S+ \(.*(BSD|MIT|Apache|CC BY|licence).*\)", card, re.MULTILINE)


@each_method
def test_presets(method: str) -> None:
    config = part(method, "config")
    assert "tiny" in config.PRESETS
    assert set(config.SUMMARIES) == set(config.PRESETS)
    for options in config.PRESETS.values():
        assert isinstance(options, config.Options)
        with pytest.raises(dataclasses.FrozenInstanceError):
            options.network = None
    for name, fields in config.MAY_CHANGE.items():
        assert set(fields) <= {f.name for f in dataclasses.fields(getattr(config.PRESETS["tiny"], name))}


@each_method
def test_config_imports_no_torch(method: str) -> None:
    script = f"import sys, {METHODS[method]}.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


@each_method
def test_fields_have_docstrings_which_become_help(method: str) -> None:
    for node in ast.parse(inspect.getsource(part(method, "config"))).body:
        if isinstance(node, ast.ClassDef) and node.name in ("Data", "Network", "Training"):
            for field, after in pairwise([*node.body, node]):
                if isinstance(field, ast.AnnAssign):
                    told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
                    assert told, f"{node.name}.{ast.unparse(field.target)}"


def built(method: str, folder: Path) -> Recipe:
    """The tiny preset's recipe on its small data set."""
    folder.mkdir()
    return part(method, "recipe").build(DATA[method](folder, part(method, "config").PRESETS["tiny"]), seed=3)


def short(recipe: Recipe, out: Path, steps: int, **options: Any) -> Position:
    """Train `steps` steps of the first stage."""
    stages = recipe.stages

    def cut():
        for stage in stages():
            yield dataclasses.replace(stage, steps=steps)
            return

    recipe.stages = cut  # type: ignore[method-assign]
    return train(recipe, Run(out, **{"sample_every": 0, "tensorboard": False, **options}), CPU, {})


def same(a: Any, b: Any) -> bool:
    """Bit for bit, however nested."""
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@each_method
def test_tiny_trains_and_its_model_loads(method: str, tmp_path: Path) -> None:
    recipe = built(method, tmp_path / "data")
    assert isinstance(recipe, Recipe)
    before = {k: v.clone() for k, v in recipe.state_dict().items()}
    assert short(recipe, tmp_path / "run", 2, sample_every=2) == Position(0, 2)
    assert not same(before, dict(recipe.state_dict()))
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 1

    file = recipe.model_file()
    assert file.method == MODEL_OF.get(method, method)
    assert json.loads(json.dumps(file.config)).keys() == file.config.keys()
    back = read(tmp_path / "run")
    assert same(dict(file.tensors), dict(back.tensors))
    assert all(isinstance(v, str) for v in back.card.values())
    assert pinxit.load(tmp_path / "run").file.method == file.method


@each_method
def test_all_state_is_module_and_optimizer_state(method: str, tmp_path: Path) -> None:
    """Two steps, a save, two more, against two steps and a save in one recipe and the rest in a fresh one."""
    whole = built(method, tmp_path / "data")
    short(whole, tmp_path / "whole", 4, checkpoint_every=2)

    first = built(method, tmp_path / "data of first")
    short(first, tmp_path / "cut", 2)
    torch.manual_seed(99)
    second = built(method, tmp_path / "data of second")
    short(second, tmp_path / "cut", 4, resume=True)
    assert second is not first
    states = [checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut")]
    assert states[0]["step"] == 4
    assert same(*states)
    assert same(dict(read(tmp_path / "whole").tensors), dict(read(tmp_path / "cut").tensors))


@each_method
def test_looking_on_changes_nothing(method: str, tmp_path: Path) -> None:
    short(built(method, tmp_path / "data"), tmp_path / "blind", 3)
    often = {"sample_every": 1, "log_every": 1, "checkpoint_every": 1}
    short(built(method, tmp_path / "data of seen"), tmp_path / "seen", 3, **often)
    assert same(*(checkpoint.read(tmp_path / name, {}) for name in ("blind", "seen")))


@each_method
def test_batches_are_a_function_of_the_step(method: str, tmp_path: Path) -> None:
    for stage in built(method, tmp_path / "data").stages():
        batches = stage.batches(0)
        first = [next(batches) for _ in range(5)]
        assert same(tuple(next(stage.batches(4))), tuple(first[4]))
        assert not same(tuple(first[0]), tuple(first[1]))
        break


@each_method
def test_a_step_returns_detached_scalars(method: str, tmp_path: Path) -> None:
    for stage in built(method, tmp_path / "data").train().stages():
        losses = stage.step(next(stage.batches(0)), 0)
        assert losses
        assert all(loss.shape == () and not loss.requires_grad and loss.isfinite() for loss in losses.values())
        break
