"""SPADE's training with what is alike shared, and without, against numbers of the official code.

`test_spade.py` holds the plain networks to account, and steps as they are by default; this, both ways for certain."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pinxit.models.spade import shared
from pinxit.models.spade.network import Discriminator, Encoder, Generator
from pinxit.models.spade.recipe import SpadeRecipe
from pinxit.models.spade.weights import load_official

SYSTEM = "spade"
Compare = Callable[[str, float, float], None]

_spec = importlib.util.spec_from_file_location("spade_parity", Path(__file__).with_name("test_spade.py"))
assert _spec is not None
assert _spec.loader is not None
plain = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(plain)


@pytest.fixture(autouse=True)
def _shares_at_all_resolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PAYS", 1.0)


@pytest.mark.golden_with("latest_net_G.pth")
def test_generator(golden: Path, compare: Compare) -> None:
    spec, network, _ = plain.spec_of(golden)
    io = plain.arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    G = Generator(network)
    load_official(G, golden / "latest_net_G.pth")
    # `test_spade` gives each network two forwards by now, one in eval mode, which leaves everything as it is.
    with torch.no_grad():
        z = None
        if network.vae:
            E = Encoder(network)
            load_official(E, golden / "latest_net_E.pth", network.encoder_norm)
            mean, log_variance = shared.encode(E.train(), io["image"])
            z = mean + io["eps"] * torch.exp(0.5 * log_variance)
        maps = shared.Maps(io["label"][:, 0], io["instance"][:, 0], network)
        compare("picture, train, shared", plain.worst(shared.paint(G.train(), maps, z), io["out_train"]), atol)
    official = {theirs: ours for ours, theirs in plain.official_names(G).items()}
    after = {k.removeprefix("post_train/"): v for k, v in io.items() if k.startswith("post_train/")}
    error = max(plain.worst(G.state_dict()[official[k]], v) for k, v in after.items())
    compare("buffers after a shared forward", error, atol)


@pytest.mark.golden_with("latest_net_D.pth")
@pytest.mark.parametrize("apart", [False, True])
def test_discriminator(golden: Path, compare: Compare, apart: bool) -> None:
    spec, network, training = plain.spec_of(golden)
    io = plain.arrays(golden / "io.npz")
    D = Discriminator(network, training)
    load_official(D, golden / "latest_net_D.pth", training.d_norm)
    maps = shared.Maps(io["label"][:, 0], io["instance"][:, 0], network)
    for mode in ("eval", "train"):
        with torch.no_grad():
            firsts = shared.firsts_of(D.train(mode == "train"), maps)
            if apart:
                halves = shared.discriminate_apart(D, firsts, io["fake"], io["image"])
            else:
                both = shared.discriminate(D, firsts, torch.cat([io["fake"], io["image"]]))
                halves = [[[layer.chunk(2)[i] for layer in scale] for scale in both] for i in (0, 1)]
        errors = []
        for name, value in io.items():
            if name.startswith(f"{mode}/"):
                _, half, scale, layer = name.split("/")
                place = -1 if layer == "last" or not training.feature_matching else int(layer)
                errors.append(plain.worst(halves[half == "real"][int(scale)][place], value))
        compare(f"features, {mode} ({len(errors)})", max(errors), spec.get("suggested_atol", 1e-4))


@pytest.mark.golden_with("losses.json")
@pytest.mark.parametrize("share", [True, False], ids=["shared", "plain"])
def test_trace(golden: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch, share: bool) -> None:
    monkeypatch.setattr(plain, "SpadeRecipe", functools.partial(SpadeRecipe, share=share))
    plain.test_trace(golden, compare, monkeypatch)
