"""pix2pix, CycleGAN, pix2pixHD and SinGAN, painting: the networks as they are written against their fast form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from benchmarks import maps
from benchmarks.measure import Pair, Row, Setting, Work, measured, memory
from pinxit.data.kinds import Kind
from pinxit.models.cyclegan import config as cyclegan_config
from pinxit.models.cyclegan import network as cyclegan
from pinxit.models.pix2pix import config as pix2pix_config
from pinxit.models.pix2pix import fast as pix2pix_fast
from pinxit.models.pix2pix import network as pix2pix
from pinxit.models.pix2pixhd import config as pix2pixhd_config
from pinxit.models.pix2pixhd import fast as pix2pixhd_fast
from pinxit.models.pix2pixhd import network as pix2pixhd
from pinxit.models.singan.config import Network as SinGANNetwork
from pinxit.models.singan.config import Training as SinGANTraining
from pinxit.models.singan.generate import Model as SinGANModel
from pinxit.models.singan.pyramid import plan
from pinxit.models.singan.recipe import SinGANRecipe
from pinxit.nn.resnet import ResnetGenerator

TARGETS = {"fp32": 1.5, "bf16": 2.5}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LABELS = 35
"""Of Cityscapes, which pix2pixHD was made for."""


def unet(width: int, size: int) -> tuple[nn.Module, Tensor]:
    return unet_of("running", width, size)


def unet_of_picture(width: int, size: int) -> tuple[nn.Module, Tensor]:
    return unet_of("picture", width, size)


def unet_of(test_norm: Literal["running", "picture"], width: int, size: int) -> tuple[nn.Module, Tensor]:
    depth = min(8, size.bit_length() - 1)
    c = pix2pix_config.Network(depth=depth, width=width, test_norm=test_norm, input=Kind(), output=Kind())
    return pix2pix.generator(c), picture(size, size)


def resnet(width: int, size: int) -> tuple[nn.Module, Tensor]:
    c = cyclegan_config.Network(width=width, a=Kind(), b=Kind())
    return cyclegan.generator(c, "AtoB"), picture(size, size)


def global_generator(width: int, size: int) -> tuple[nn.Module, Tensor]:
    c = pix2pixhd_config.Network(labels=LABELS, instances=True, width=width)
    left, right = (maps.regions(100, size, LABELS, seed) for seed in range(2))
    labels, instances = (torch.cat(sides, dim=2) for sides in zip(left, right, strict=True))
    return pix2pixhd.Generator(c), pix2pixhd.embed(labels, instances, c)


NETWORKS: dict[str, Callable[[int, int], tuple[nn.Module, Tensor]]] = {
    "pix2pix, U-Net, running statistics": unet,
    "pix2pix, U-Net, the picture's own": unet_of_picture,
    "CycleGAN, ResNet-9": resnet,
    "pix2pixHD, global generator": global_generator,
}


def translators(setting: Setting) -> list[Row]:
    """The other methods, painting: networks as they are written, against their fast form."""
    rows = []
    for name, make in NETWORKS.items():
        network, x = made(make, setting.width, setting.size)
        ways = {way: forward(fast_form(network, dtype), x) for way, dtype in DTYPES.items()}
        case = f"{name}, {x.shape[3]}x{x.shape[2]} px"
        rows += measured("translators", case, [Pair(forward(network, x), ways)] * setting.rounds, setting).values()
    width, size = singan_sizes(setting.width, setting.size)
    straight, model = singan(width, size)
    ways = {way: sampling(model, dtype) for way, dtype in DTYPES.items()}
    pairs = [Pair(sampling(straight, torch.float32), ways)] * setting.rounds
    rows += measured("translators", f"SinGAN, a sample, {size} px", pairs, setting).values()
    for row in rows:
        row.target = TARGETS[row.way]
    for name in () if setting.quick else NETWORKS:
        calls = {
            way: ["benchmarks.translators", "one_picture", name, way, setting.width, setting.size]
            for way in ("plain", *DTYPES)
        }
        rows += memory("translators", f"{name}: peak memory", calls, setting)
    return rows


def made(make: Callable[[int, int], tuple[nn.Module, Tensor]], width: int, size: int) -> tuple[nn.Module, Tensor]:
    """A network with random weights and statistics as of one that was trained, and what to put in."""
    torch.manual_seed(0)
    network, x = make(width, size)
    for module in network.modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.running_mean.normal_(0, 0.3)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            module.running_var.uniform_(0.5, 2)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return network.eval().requires_grad_(False), x


def picture(height: int, width: int) -> Tensor:
    """Blurred noise, as smooth as pictures are."""
    return nn.functional.avg_pool2d(torch.rand(1, 3, height + 8, width + 8), 9, stride=1).mul(8).sub(4).clamp(-1, 1)


def fast_form(network: nn.Module, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    if isinstance(network, pix2pixhd.Generator):
        return pix2pixhd_fast.FastGenerator(network, dtype)
    assert isinstance(network, pix2pix.UNet | ResnetGenerator)
    return pix2pix_fast.fast(network, dtype)


def forward(network: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    def work() -> Tensor:
        with torch.inference_mode():
            return network(x)

    return work


def one_picture(name: str, way: str, width: int, size: int) -> Work:
    """In a process of its own, for its memory."""
    network, x = made(NETWORKS[name], width, size)
    return forward(network if way == "plain" else fast_form(network, DTYPES[way]), x)


def singan_sizes(width: int, size: int) -> tuple[int, int]:
    """SinGAN's channels at its first scales, and the side of its finest."""
    return max(2, width // 2), max(40, size - 6)


def singan(width: int, size: int) -> tuple[SinGANModel, SinGANModel]:
    """A model of new networks at all scales, plain and fast."""
    torch.manual_seed(0)
    network = SinGANNetwork(max_size=size, width=width, min_width=width, max_width=4 * width)
    photo = picture(size, size)
    recipe = SinGANRecipe(network, SinGANTraining(), plan(size, size, network), photo)
    for scale in recipe.scales:
        recipe.grow(scale)
    return Straight(recipe.model_file()), SinGANModel(recipe.model_file())


def sampling(model: SinGANModel, dtype: torch.dtype) -> Work:
    def work() -> Tensor:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return model.vary(model.noise(0))

    return work


class Straight(SinGANModel):
    """A model that paints with the networks as they are written."""

    def _strip(self, scale: int, x: Tensor, previous: Tensor) -> Tensor:
        return self.Gs[scale](x, previous)


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {"translators": translators}
