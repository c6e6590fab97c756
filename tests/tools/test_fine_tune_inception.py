"""The classifier for Inception Score: what it learns from, and that its file is one that `--inception` takes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.evaluation.inception import Inception, load_inception


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "fine_tune_inception.py"
    found = importlib.util.spec_from_file_location("fine_tune_inception", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # where dataclasses look for it
    found.loader.exec_module(module)
    return module


def photos(folder: Path, count: int) -> Path:
    random = np.random.default_rng(0)
    for name, colour in (("dark", 40), ("light", 210)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = (colour + random.integers(-30, 30, (40, 48, 3))).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{i:02d}.png")
    return folder


def test_every_tenth_photo_is_held_out(tool: ModuleType, tmp_path: Path) -> None:
    classes, learnt, held = tool.find_classes(photos(tmp_path / "p", 21))
    assert classes == ["dark", "light"]
    assert [(path.parent.name, path.stem, kind) for path, kind in held] == [
        (name, stem, kind) for kind, name in enumerate(classes) for stem in ("09", "19", "20")
    ]
    assert len(learnt) == 36
    assert not {path for path, _ in learnt} & {path for path, _ in held}
    (x, y), *_ = tool.batches(learnt, 4, 0, 1)
    assert x.shape == (4, 3, 299, 299)
    assert ((x.mean((1, 2, 3)) > 0).long() == y).all()


@pytest.mark.parametrize(("found", "told"), [("nothing", "of 0 classes"), ("one photo", "of 1 photos")])
def test_too_little_is_told(tool: ModuleType, tmp_path: Path, found: str, told: str) -> None:
    if found == "one photo":
        photos(tmp_path / "p", 1)
    with pytest.raises(PinxitError, match=told):
        tool.find_classes(tmp_path / "p")


@pytest.mark.slow
def test_what_it_writes_is_read(tool: ModuleType, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = Inception()
    torch.save(start.state_dict(), tmp_path / "start.pth")
    options = {"inception": str(tmp_path / "start.pth"), "steps": 3, "batch": 4, "device": "cpu", "lr": 1e-2}
    right = tool.main(tool.FineTune(photos(tmp_path / "p", 5), tmp_path / "two.pth", **options))
    assert 0 <= right <= 1
    network = load_inception(tmp_path / "two.pth")
    assert network.channels("logits") == 2
    assert not network.published_classes
    for name, value in start.named_parameters():
        if not name.startswith("fc."):
            changed = not torch.equal(value, network.get_parameter(name))
            assert changed == name.startswith("Mixed_7"), name
    with pytest.raises(PinxitError, match="--blocks is Mixed_9"):
        tool.learning(network, ["Mixed_9"], 1e-3)
