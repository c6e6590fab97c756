"""What holds for every model that translates pictures: it sees no farther than it says, and windows of a picture larger
than memory give what the whole picture gives."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.data.rasters import from_unit, to_unit
from pinxit.modelfile import ModelFile
from pinxit.models.cyclegan import config as cyclegan
from pinxit.models.cyclegan.generate import load as load_cyclegan
from pinxit.models.cyclegan.network import generator as cyclegan_generator
from pinxit.models.photosketch import config as photosketch
from pinxit.models.photosketch.generate import load as load_photosketch
from pinxit.models.photosketch.network import generator as photosketch_generator
from pinxit.models.pix2pix import config as pix2pix
from pinxit.models.pix2pix.generate import load as load_pix2pix
from pinxit.models.pix2pix.network import generator
from pinxit.models.pix2pixhd import config as pix2pixhd
from pinxit.models.pix2pixhd.generate import load as load_pix2pixhd
from pinxit.models.pix2pixhd.network import Generator
from pinxit.nn.tiling import plan, smallest_exact_tile, translate

INPUT, OUTPUT = Kind(2, "uint16", 0, 65535), Kind()


def file_of(method: str, network: Any, part: str, G: nn.Module) -> ModelFile:
    config = json.loads(json.dumps(dataclasses.asdict(network)))
    return ModelFile(method, config, {f"{part}.{name}": value for name, value in G.state_dict().items()})


def a_pix2pix(**options: Any):
    network = pix2pix.Network(width=4, widest=2, input=INPUT, output=OUTPUT, **options)
    return load_pix2pix(file_of("pix2pix", network, "G", generator(network)))


def a_cyclegan(**options: Any):
    network = cyclegan.Network(width=4, directions=("BtoA",), a=OUTPUT, b=INPUT, **options)
    return load_cyclegan(file_of("cyclegan", network, "BtoA", cyclegan_generator(network, "BtoA")))


def a_pix2pixhd(**options: Any):
    network = pix2pixhd.Network(
        source="pictures", width=4, blocks=1, enhancer_blocks=1, input=INPUT, output=OUTPUT, **options
    )
    return load_pix2pixhd(file_of("pix2pixhd", network, "G", Generator(network)))


def a_photosketch(**options: Any):
    network = photosketch.Network(width=4, blocks=1, **options)
    return load_photosketch(file_of("photosketch", network, "G", photosketch_generator(network)))


MODELS: dict[str, Callable] = {
    "U-Net": lambda: a_pix2pix(depth=4, norm="instance"),
    "U-Net, batch norm of the picture": lambda: a_pix2pix(depth=4, test_norm="picture"),
    "U-Net, batch norm of training": lambda: a_pix2pix(depth=3, test_norm="running"),
    "ResNet": lambda: a_pix2pix(generator="resnet", blocks=2, norm="instance"),
    "ResNet, batch norm of the picture": lambda: a_pix2pix(generator="resnet", blocks=1, test_norm="picture"),
    "CycleGAN": lambda: a_cyclegan(blocks=1),
    "CycleGAN, batch norm of training": lambda: a_cyclegan(blocks=1, norm="batch", test_norm="running"),
    "PhotoSketch": lambda: a_photosketch(),
    "PhotoSketch, batch norm of training": lambda: a_photosketch(test_norm="running"),
    "pix2pixHD": lambda: a_pix2pixhd(downsamplings=3),
    "pix2pixHD, boundaries of instances": lambda: a_pix2pixhd(downsamplings=2, instances=True),
    "pix2pixHD, local": lambda: a_pix2pixhd(downsamplings=2, enhancers=1),
    "pix2pixHD, local twice, batch norm": lambda: a_pix2pixhd(downsamplings=1, enhancers=2, norm="batch"),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest):
    torch.manual_seed(0)
    return MODELS[request.param]()


def picture(height: int, width: int, kind: Kind) -> np.ndarray:
    """Of two or three channels, whose quarters differ, so that windows have statistics of their own."""
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]  # fmt: skip
    grain = np.random.default_rng(0).normal(0, 0.02 + 0.2 * x * y, (height, width))
    light = np.stack([0.3 + 0.4 * y + grain, 0.7 - 0.5 * x + grain, 0.6 - grain][: kind.channels], axis=-1)
    return (light.clip(0, 1) * kind.high).astype(kind.dtype)


def test_it_sees_no_farther_than_its_margin(model) -> None:
    norms = model.norms()
    for module in norms:
        module.forward = lambda x: x * 0.5  # statistics see everything
    side = 2 * -(-model.margin // model.multiple) * model.multiple + 3 * model.multiple
    x = torch.randn(1, model.input.channels, side, side, requires_grad=True)
    out = model.network(x)[0].sum(0)
    reached = []
    for at in range(side // 2, side // 2 + model.multiple):
        (gradient,) = torch.autograd.grad(out[at, at], x, retain_graph=True)
        reached.append(int((gradient.abs().sum((0, 1)).nonzero() - at).abs().max()))
    assert model.margin / 2 < max(reached) <= model.margin


def test_windows_give_the_whole_picture(model) -> None:
    """Of a side that is no multiple, too."""
    tile = smallest_exact_tile(model.multiple, model.margin)
    height, width = tile + tile // 2 - 3, tile + 5
    array = picture(height, width, model.input)
    x = torch.from_numpy(
        to_unit(
            np.pad(array, [(0, model.padded(s) - s) for s in (height, width)] + [(0, 0)], mode="reflect"), model.input
        )
    )
    rows: list[Tensor] = []
    tiling = plan(*x.shape[1:], tile=tile, multiple=model.multiple, margin=model.margin)
    assert tiling.exact
    assert len(tiling) > 3
    translate(
        model.network,
        lambda y0, y1, x0, x1: x[:, y0:y1, x0:x1],
        rows.append,
        tiling,
        norms=model.norms(),
        statistics="exact",
    )
    made = torch.cat(rows, 1)
    with torch.inference_mode():
        assert (made - model.network(x[None])[0]).abs().max() < 1e-4
    got, want = from_unit(made[:, :height, :width].numpy(), model.output), model.translate(array)
    assert np.abs(got.astype(int) - want).max() <= 1
