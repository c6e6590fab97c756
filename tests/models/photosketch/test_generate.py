"""A model that draws, and the bare network for the losses of others."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.apps.cli import translate
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.photosketch.config import Network
from pinxit.models.photosketch.generate import contour_network, load
from pinxit.models.photosketch.network import generator
from pinxit.nn.norm import BatchNorm2d

NETWORK = Network(width=3, blocks=2, size=(32, 48))


def file(network: Network = NETWORK) -> ModelFile:
    torch.manual_seed(0)
    G = generator(network)
    for p in G.parameters():
        torch.nn.init.normal_(p, 0.0, 0.3)
    config = json.loads(json.dumps(dataclasses.asdict(network)))
    return ModelFile("photosketch", config, {f"G.{k}": v for k, v in G.state_dict().items()}, card={"data": "x"})


def photo(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (33, 50), (32, 48)])
def test_any_size_in_grey(size: tuple[int, int]) -> None:
    for norm in ("picture", "running"):
        out = load(file(), norm=norm).translate(photo(*size))
        assert (out.mode, out.size) == ("L", size[::-1])


def test_draw_is_at_the_size_trained_at() -> None:
    model, large = load(file()), photo(100, 90)
    small = model.translate(large.resize((48, 32), Image.Resampling.BICUBIC))
    assert model.draw(large) == small.resize((90, 100), Image.Resampling.BICUBIC)
    assert model.draw(large) != model.translate(large)
    assert model.draw(large.convert("L")).size == (90, 100)


def test_the_fast_form_is_the_network() -> None:
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    for norm in ("picture", "running"):
        model = load(file(), norm=norm)
        torch.testing.assert_close(model.computed(x), model.network(x), rtol=0, atol=1e-5)


def test_gradients_flow_through_the_bare_network_and_not_into_it() -> None:
    G = contour_network(file())
    assert G.training
    assert not any(p.requires_grad for p in G.parameters())
    pictures = (3 * torch.rand(2, 3, 32, 32) - 1).requires_grad_()
    drawn = G(pictures)
    assert drawn.shape == (2, 1, 32, 32)
    drawn.square().mean().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().sum() > 0
    assert torch.equal(G(pictures), drawn), "no dropout, although it was trained with some"
    alone = G(pictures[:1])
    assert not torch.allclose(alone, drawn[:1]), "statistics are the batch's"


def test_the_bare_network_in_eval_mode_is_the_model() -> None:
    x = torch.rand(1, 3, 32, 32)
    for norm in ("picture", "running"):
        f = file(dataclasses.replace(NETWORK, test_norm=norm))
        G = contour_network(f).eval()
        assert torch.equal(G(x), load(f).network(x))
    norms = [module for module in G.modules() if isinstance(module, BatchNorm2d)]
    before = norms[0].running_mean.clone()
    G.train()(x)
    assert not torch.equal(before, norms[0].running_mean)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file().save(tmp_path / "model")
    photo(40, 30).save(tmp_path / "photo.jpg")
    translate.main([str(tmp_path / "model"), str(tmp_path / "photo.jpg"), "--out", str(tmp_path / "out")])
    with Image.open(tmp_path / "out" / "photo.png") as made, Image.open(tmp_path / "photo.jpg") as given:
        assert made.mode == "L"
        assert np.array_equal(np.asarray(made), np.asarray(load(file()).translate(given.convert("RGB"))))
    assert "translated 1 picture" in capsys.readouterr().out
    with pytest.raises(PinxitError, match="--dropout is given, expected a model with dropout"):
        translate.main([str(tmp_path / "model"), str(tmp_path / "photo.jpg"), "--dropout"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"size": [32, 33]}, "--size is 32 33"),
        ({"colour": 1}, "with 'colour'"),
        ({"width": 4}, "model's G is not as its"),
    ],
)
def test_damaged_models(tmp_path: Path, change: dict, told: str) -> None:
    f = file()
    dataclasses.replace(f, config={**f.config, **change}).save(tmp_path)
    with pytest.raises(PinxitError, match=told):
        load(read(tmp_path))
