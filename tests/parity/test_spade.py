"""SPADE against numbers of the official code; every option comes from the golden's own spec.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.data.labels import numbered
from pinxit.data.stream import LabelPhotos
from pinxit.models.spade.config import Network, Training
from pinxit.models.spade.fast import FastGenerator
from pinxit.models.spade.network import Discriminator, Encoder, Generator, embed
from pinxit.models.spade.recipe import SpadeRecipe
from pinxit.models.spade.weights import from_options, load_official, official_names

SYSTEM = "spade"
Compare = Callable[[str, float, float], None]


def spec_of(golden: Path) -> tuple[dict[str, Any], Network, Training]:
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    return spec, *from_options(spec["options"])


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as io:
        return {k: torch.from_numpy(io[k].astype(np.int64) if io[k].dtype.kind in "ui" else io[k]) for k in io.files}


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


@pytest.mark.golden_with("latest_net_G.pth")
def test_generator(golden: Path, compare: Compare) -> None:
    spec, network, _ = spec_of(golden)
    io = arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    G = Generator(network)
    load_official(G, golden / "latest_net_G.pth")
    labels, instances = io["label"][:, 0], io["instance"][:, 0]
    if "semantics" in io:
        compare("semantics", worst(embed(labels, instances, network), io["semantics"]), 0.0)
    with torch.no_grad():
        z, E = None, None
        if network.vae:
            E = Encoder(network)
            load_official(E, golden / "latest_net_E.pth", network.encoder_norm)
            mean, log_variance = E.eval()(io["image"])
            compare("encoder mean", worst(mean, io["mu"]), atol)
            compare("encoder log-variance", worst(log_variance, io["logvar"]), atol)
            z = mean + io["eps"] * torch.exp(0.5 * log_variance)
            direct = G.eval()(labels, instances, io["z_direct"])
            compare("picture of a given z", worst(direct, io["out_z_direct"]), atol)
        compare("picture, eval", worst(G.eval()(labels, instances, z), io["out_eval"]), atol)
        quick = FastGenerator(G.eval())
        compare("picture, eval, fast", worst(quick(labels, instances, z), io["out_eval"]), atol)
        canvas = quick.canvas(labels, instances)
        assert canvas is not None
        compare("picture, eval, of a canvas", worst(quick.paint(canvas, z), io["out_eval"]), atol)
        other = quick.canvas(torch.zeros_like(labels), instances)
        assert other is not None
        edited = quick.edited(other, labels, instances)
        assert edited is not None
        compare("picture, eval, of an edited canvas", worst(quick.paint(edited, z), io["out_eval"]), atol)
        if E is not None:
            mean, log_variance = E.train()(io["image"])
            z = mean + io["eps"] * torch.exp(0.5 * log_variance)
        compare("picture, train", worst(G.train()(labels, instances, z), io["out_train"]), atol)
    official = {theirs: ours for ours, theirs in official_names(G).items()}
    after = {k.removeprefix("post_train/"): v for k, v in io.items() if k.startswith("post_train/")}
    error = max(worst(G.state_dict()[official[k]], v) for k, v in after.items())
    compare("buffers after a train forward", error, atol)


@pytest.mark.golden_with("latest_net_D.pth")
def test_discriminator(golden: Path, compare: Compare) -> None:
    spec, network, training = spec_of(golden)
    io = arrays(golden / "io.npz")
    D = Discriminator(network, training)
    load_official(D, golden / "latest_net_D.pth", training.d_norm)
    semantics = embed(io["label"][:, 0], io["instance"][:, 0], network).repeat(2, 1, 1, 1)
    pictures = torch.cat([io["fake"], io["image"]])
    for mode in ("eval", "train"):
        with torch.no_grad():
            outputs = D.train(mode == "train")(semantics, pictures)
        errors = []
        for name, value in io.items():
            if not name.startswith(f"{mode}/"):
                continue
            _, half, scale, layer = name.split("/")
            # Without feature matching the official code gives the logits alone.
            place = -1 if layer == "last" or not training.feature_matching else int(layer)
            ours = outputs[int(scale)][place].chunk(2)[half == "real"]
            errors.append(worst(ours, value))
        compare(f"features, {mode} ({len(errors)})", max(errors), spec.get("suggested_atol", 1e-4))


LOSS_NAMES = {
    "GAN": "GAN",
    "GAN_Feat": "feature_matching",
    "KLD": "KL",
    "VGG": "perceptual",
    "D_Fake": "D_fake",
    "D_real": "D_real",
}


@pytest.mark.golden_with("losses.json")
def test_trace(golden: Path, compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of each step, then samples of every weight after the last."""
    _, network, training = spec_of(golden)
    data = arrays(golden / "data.npz")
    recipe = SpadeRecipe(network, training, numbered(network.labels)).train()
    parts: dict[str, tuple[nn.Module, str]] = {"G": (recipe.G, "instance"), "D": (recipe.D, training.d_norm)}
    if recipe.E is not None:
        parts["E"] = (recipe.E, network.encoder_norm)
    for part, (module, norm) in parts.items():
        load_official(module, golden / f"init_net_{part}.pth", norm)
    draws = iter(data.get("eps", ()))
    monkeypatch.setattr(recipe, "noise", lambda *_: next(draws))
    largest: dict[str, Tensor] = {}
    for part, (module, _) in parts.items():
        for name, p in module.named_parameters():
            p.register_post_accumulate_grad_hook(_remember(largest, f"{part}/{name}"))

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        batch = LabelPhotos(data["label"][step][:, 0], data["image"][step], data["instance"][step][:, 0])
        ours = recipe.step(batch, step)
        assert {LOSS_NAMES[k] for k in theirs} == set(ours)
        # Relative, but for losses around 0 (Wasserstein's), of which rounding leaves no digit to compare.
        relative.append(max(abs(ours[LOSS_NAMES[k]].item() - v) / max(abs(v), 0.01) for k, v in theirs.items()))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)

    # Adam divides a gradient by its own size, so where the true gradient is 0 (a bias in front of a normalisation)
    # rounding noise alone moves a weight by up to the learning rate a step. Such entries are told by the largest
    # gradient they ever saw here, against the network's largest, not by name, and held to what two runs can part by.
    with np.load(golden / "final_weights.npz") as final:
        clear, noisy = [0.0], [0.0]
        for part, (module, norm) in parts.items():
            group = recipe.optimizers["D" if part == "D" else "G"].param_groups[0]
            bound = 2 * adam_reach(group["lr"], group["betas"][1], len(expected))
            state = module.state_dict()
            noise = ROUNDING * max(g.max().item() for name, g in largest.items() if name.startswith(f"{part}/"))
            for name, official in official_names(module, norm).items():
                flat, theirs = state[name].flatten(), torch.from_numpy(final[f"{part}/{official}"][2:])
                places = torch.from_numpy(np.linspace(0, len(flat) - 1, 8).round().astype(np.int64))
                errors = (flat[places].double() - theirs.double()).abs()
                if name.endswith("running_mean"):
                    # It follows the bias in front of it, which is such an entry.
                    pull = torch.zeros(8)
                elif f"{part}/{name}" in largest:
                    pull = largest[f"{part}/{name}"].flatten()[places]
                else:
                    pull = torch.ones(8)
                clear += errors[pull >= noise].tolist()
                noisy += (errors[pull < noise] / bound).tolist()
    compare(f"weights after {len(expected)} steps ({len(clear) - 1})", max(clear), 1e-4)
    compare(f"of no gradient, to the bound ({len(noisy) - 1})", max(noisy), 1.0)


def adam_reach(rate: float, beta2: float, steps: int) -> float:
    """The farthest a weight can move: in step t by sqrt((1 - beta2^t) / (1 - beta2)) rates, its gradient growing."""
    return rate * sum(((1 - beta2**t) / (1 - beta2)) ** 0.5 for t in range(1, steps + 1))


ROUNDING = 3e-6
"""Gradients below this share of the largest are rounding noise: some tens of units in the last place of fp32. In the
goldens at hand none lies between 4e-7 and 1e-5."""


def _remember(largest: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def hook(p: Tensor) -> None:
        assert p.grad is not None
        seen = p.grad.abs()
        largest[name] = seen if name not in largest else torch.maximum(largest[name], seen)

    return hook
