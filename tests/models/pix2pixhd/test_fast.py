"""The fast generator of pix2pixHD against the plain one."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pinxit.data.kinds import Kind
from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.fast import FastGenerator
from pinxit.models.pix2pixhd.network import Generator

PLAIN = Network(labels=5, output=Kind(), size=(32, 64), width=4, downsamplings=2, blocks=2, enhancer_blocks=1)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"enhancers": 1},
        {"enhancers": 2, "instances": True},
        {"downsamplings": 0, "blocks": 0},
        {"norm": "batch", "enhancers": 1},
        {"norm": "batch", "test_norm": "running"},
        {"features": "instance", "width": 16},
    ],
)
@pytest.mark.parametrize("n", [1, 2])
def test_it_is_the_plain_generator(change, n: int) -> None:
    torch.manual_seed(0)
    c = dataclasses.replace(PLAIN, **change)
    G = Generator(c)
    x = torch.rand(n, G.inputs, 4 * c.multiple, 5 * c.multiple)
    with torch.no_grad():
        for _ in range(3):
            G(torch.rand(2, *x.shape[1:]))
        G.eval()
        exact = G.double()(x.double())
        torch.testing.assert_close(FastGenerator(G, torch.float64)(x.double()), exact, rtol=0, atol=1e-9)
        torch.testing.assert_close(FastGenerator(G.float())(x), G(x), rtol=0, atol=1e-5)
