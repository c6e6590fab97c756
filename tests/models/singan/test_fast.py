"""SinGAN's scales made quick: against the plain generators, and what that changes in pictures."""

from __future__ import annotations

import pytest
import torch

from pinxit.models.singan.config import PRESETS, Network
from pinxit.models.singan.generate import Model
from pinxit.models.singan.network import Generator
from pinxit.models.singan.pyramid import plan
from pinxit.models.singan.recipe import SinGANRecipe
from pinxit.nn.folded import Folded


@pytest.mark.parametrize("scale", [0, 4, 8])
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_scale_is_the_plain_one(scale: int, kernel: int) -> None:
    torch.manual_seed(0)
    network = Network(kernel=kernel)
    G, m = Generator(network, scale), network.margin
    x = torch.randn(1, 3, 31 + 2 * m, 42 + 2 * m)
    with torch.no_grad():
        for _ in range(3):
            G(x, x)
        G.eval()
        plain = G.double()(x.double(), x.double())
        fast = Folded([G.blocks, G.tail], torch.float64)(x).tanh() + x[..., m:-m, m:-m]
        torch.testing.assert_close(fast, plain, rtol=0, atol=1e-9)
        fast = Folded([G.float().blocks, G.tail])(x).tanh() + x[..., m:-m, m:-m]
        torch.testing.assert_close(fast, G(x, x), rtol=0, atol=1e-5)


def model() -> Model:
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    recipe = SinGANRecipe(tiny.network, tiny.training, plan(32, 40, tiny.network), torch.rand(1, 3, 32, 40) * 2 - 1)
    for _ in recipe.stages():
        pass
    return Model(recipe.model_file())


def test_pictures_are_the_plain_ones_to_two_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between scales pictures are cut to 8 bits, which makes a whole level of rounding, here and there."""
    m = model()
    quick = [m.vary(m.noise(seed)) for seed in range(4)]
    monkeypatch.setattr(Model, "_strip", lambda self, scale, x, previous: self.Gs[scale](x, previous))
    for seed, picture in enumerate(quick):
        off = (m.vary(m.noise(seed)) - picture).abs() * 127.5
        assert off.max() <= 2
        assert (off > 0.5).float().mean() < 1e-3


def test_autocast_takes_the_one_in_bf16() -> None:
    m = model()
    with torch.autocast("cpu", torch.bfloat16):
        half = m.vary(m.noise(0))
    assert half.dtype == torch.float32
    assert 0 < (half - m.vary(m.noise(0))).abs().mean() < 0.05
