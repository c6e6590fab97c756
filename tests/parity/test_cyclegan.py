"""CycleGAN against numbers of the official code; every option comes from the golden's own spec.json."""

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

from pinxit.data.pairs import Pair
from pinxit.models.cyclegan.generate import load
from pinxit.models.cyclegan.network import discriminator, generator
from pinxit.models.cyclegan.recipe import CycleGANRecipe
from pinxit.models.cyclegan.weights import from_options, import_release, load_official, network_of, official_names
from pinxit.nn.dropout import Dropout
from pinxit.official import read_state

SYSTEM = "cyclegan"
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


def check_generator(golden: Path, compare: Compare) -> None:
    """Every checkpoint of a generator in the folder, in both modes, and as an imported model."""
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    options, _ = from_options(spec["options"])
    files = sorted(golden.glob("*_net_G*.pth"))
    assert files
    for path in files:
        toward = "BtoA" if path.stem.endswith("_B") else "AtoB"
        network = dataclasses.replace(options, directions=(toward,))
        if toward == "BtoA":
            network = dataclasses.replace(network, a=options.b, b=options.a)
        found = network_of(read_state(path), toward, "weights")
        assert dataclasses.replace(found, size=network.size) == network, "shapes tell the network"
        G = generator(dataclasses.replace(network, test_norm="running"), toward)
        load_official(G, path)
        with torch.no_grad():
            compare(f"{path.stem}, eval", worst(G.eval()(io["input"]), io["out_eval"]), atol)
            out = without_noise(G.train())(io["input"])
            compare(f"{path.stem}, train", worst(out, io["out_train_dropout_off"]), atol)
        model = load(import_release(path), norm="running").towards(toward)
        compare(f"{path.stem}, imported", worst(model.network(io["input"]), io["out_eval"]), atol)


@pytest.mark.golden_with("latest_net_G_A.pth")
def test_generator_of_b(golden: Path, compare: Compare) -> None:
    check_generator(golden, compare)


@pytest.mark.golden_with("latest_net_G_B.pth")
def test_generator_of_a(golden: Path, compare: Compare) -> None:
    check_generator(golden, compare)


@pytest.mark.golden_with("latest_net_G.pth")
def test_released_generator(golden: Path, compare: Compare) -> None:
    check_generator(golden, compare)


def check_discriminator(golden: Path, file: str, compare: Compare) -> None:
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    network, training = from_options(spec["options"])
    D = discriminator(network, training, spec["options"].get("input_nc_D", 3))
    load_official(D, golden / file)
    for mode in ("eval", "train"):
        with torch.no_grad():
            logits = D.train(mode == "train")(io["input"])
        compare(f"logits, {mode}", worst(logits, io[f"out_{mode}"]), spec.get("suggested_atol", 1e-4))


@pytest.mark.golden_with("latest_net_D_A.pth")
def test_discriminator_of_b(golden: Path, compare: Compare) -> None:
    check_discriminator(golden, "latest_net_D_A.pth", compare)


@pytest.mark.golden_with("latest_net_D_B.pth")
def test_discriminator_of_a(golden: Path, compare: Compare) -> None:
    check_discriminator(golden, "latest_net_D_B.pth", compare)


LOSS_NAMES = {
    "G_A": "AtoB",
    "G_B": "BtoA",
    "D_A": "D_B",
    "D_B": "D_A",
    "cycle_A": "cycle_A",
    "cycle_B": "cycle_B",
    "idt_A": "identity_B",
    "idt_B": "identity_A",
}
"""Theirs -> ours: there, a discriminator or an identity loss is called by the generator it goes with."""
NETWORKS = {"G_A": "AtoB", "G_B": "BtoA", "D_A": "D_B", "D_B": "D_A"}


@pytest.mark.golden_with("losses.json")
@pytest.mark.usefixtures("convolutions")
def test_trace(golden: Path, compare: Compare, compare_weights: Callable[..., None], new_part: type) -> None:
    """The losses of each step, then samples of every weight after the last."""
    options = spec_of(golden)["options"]
    network, training = from_options(options)
    data = arrays(golden / "data.npz")
    # There, the direction says which side of the data is called A from then on.
    sides = ("B", "A") if options.get("direction") == "BtoA" else ("A", "B")
    recipe = CycleGANRecipe(network, training).train()
    parts = {}
    for theirs, ours in NETWORKS.items():
        module = recipe.get_submodule(ours)
        parts[theirs] = new_part(module, recipe.optimizers[theirs[0]], official_names(module))
        load_official(module, golden / f"init_net_{theirs}.pth")
        parts[theirs].watch()
    without_noise(recipe)

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        ours = recipe.step(Pair(*(data[side][step] for side in sides)), step)
        # An identity loss that is off is told there as 0.
        assert set(ours) == {LOSS_NAMES[name] for name, v in theirs.items() if v or "idt" not in name}
        errors = [
            abs(ours[LOSS_NAMES[name]].item() - v) / max(abs(v), 0.01)
            for name, v in theirs.items()
            if LOSS_NAMES[name] in ours
        ]
        relative.append(max(errors))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)
    compare_weights(parts, golden, len(expected))
