"""pix2pix against numbers of the official code; every option comes from the golden's own spec.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.data.pairs import Pair
from pinxit.models.pix2pix.generate import load
from pinxit.models.pix2pix.network import discriminator, generator
from pinxit.models.pix2pix.recipe import Pix2PixRecipe
from pinxit.models.pix2pix.weights import from_options, import_release, load_official, network_of, official_names
from pinxit.nn.dropout import Dropout
from pinxit.official import read_state

SYSTEM = "pix2pix"
Compare = Callable[[str, float, float], None]


def spec_of(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "spec.json").read_text(encoding="utf-8"))


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as io:
        return {name: torch.from_numpy(io[name]) for name in io.files}


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


def without_noise(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, Dropout):
            module.p = 0.0
    return network


@pytest.mark.golden_with("latest_net_G.pth")
def test_generator(golden: Path, compare: Compare) -> None:
    """In the modes of the official test script, with --eval and without, alone and as an imported model."""
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    network, _, _ = from_options(spec["options"])
    path = golden / "latest_net_G.pth"
    told = network_of(read_state(path), "weights")
    unit = {"depth": network.depth} if network.generator == "resnet" else {"blocks": network.blocks}
    found = dataclasses.replace(told, size=network.size, test_norm=network.test_norm, dropout=network.dropout, **unit)
    assert found == network, "shapes tell the network"
    with torch.no_grad():
        G = generator(dataclasses.replace(network, test_norm="running"))
        load_official(G, path)
        compare("picture, eval", worst(G.eval()(io["input"]), io["out_eval"]), atol)
        compare("picture, train", worst(without_noise(G.train())(io["input"]), io["out_train_dropout_off"]), atol)
    file = import_release(path, no_dropout=not network.dropout)
    model = load(file, norm="running")
    compare("imported, running", worst(model.network(io["input"]), io["out_eval"]), atol)
    if len(io["input"]) == 1 or network.norm != "batch":  # else the statistics of several pictures together
        model = load(file)
        compare("imported, picture", worst(model.network(io["input"]), io["out_train_dropout_off"]), atol)


@pytest.mark.golden_with("latest_net_D.pth")
def test_discriminator(golden: Path, compare: Compare) -> None:
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    options = spec["options"]
    network, training, _ = from_options(options)
    channels = options.get("input_nc_D", 6)
    D = discriminator(dataclasses.replace(network, input=Kind(channels - 1), output=Kind(1)), training)
    load_official(D, golden / "latest_net_D.pth")
    for mode in ("eval", "train"):
        with torch.no_grad():
            logits = D.train(mode == "train")(io["input"])
        compare(f"logits, {mode}", worst(logits, io[f"out_{mode}"]), spec.get("suggested_atol", 1e-4))


LOSS_NAMES = {"G_GAN": "GAN", "G_L1": "L1", "D_real": "D_real", "D_fake": "D_fake"}


@pytest.mark.golden_with("losses.json")
@pytest.mark.usefixtures("convolutions")
def test_trace(golden: Path, compare: Compare, compare_weights: Callable[..., None], new_part: type) -> None:
    """The losses of each step, then samples of every weight after the last."""
    network, training, direction = from_options(spec_of(golden)["options"])
    data = arrays(golden / "data.npz")
    recipe = Pix2PixRecipe(network, training, direction).train()
    parts = {
        name: new_part(module, recipe.optimizers[name], official_names(module))
        for name, module in (("G", recipe.G), ("D", recipe.D))
    }
    for name, part in parts.items():
        load_official(part.network, golden / f"init_net_{name}.pth")
        part.watch()
    without_noise(recipe.G)

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        ours = recipe.step(Pair(data["A"][step], data["B"][step]), step)
        assert {LOSS_NAMES[name] for name in theirs} == set(ours)
        # Relative, but for losses around 0 (Wasserstein's), of which rounding leaves no digit to compare.
        errors = [abs(ours[LOSS_NAMES[name]].item() - v) / max(abs(v), 0.01) for name, v in theirs.items()]
        relative.append(max(errors))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)
    compare_weights(parts, golden, len(expected))
