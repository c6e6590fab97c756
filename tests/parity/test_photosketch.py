"""PhotoSketch against numbers of the official code; every option comes from the golden's own spec.json."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.data.photo_sketches import PhotoSketches
from pinxit.models.photosketch.generate import contour_network, load
from pinxit.models.photosketch.network import discriminator, generator, without_dropout
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.photosketch.weights import from_options, import_release, load_official, network_of, official_names
from pinxit.nn.norm import BatchNorm2d
from pinxit.official import read_state

SYSTEM = "photosketch"
Compare = Callable[[str, float, float], None]


def spec_of(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "spec.json").read_text(encoding="utf-8"))


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as io:
        return {name: torch.from_numpy(io[name]) for name in io.files}


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


@pytest.mark.golden_with("latest_net_G.pth")
def test_generator(golden: Path, compare: Compare) -> None:
    """As the official test script, in train mode, and in eval mode: alone, as an imported model, as others train by it,
    and in its fast form."""
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    network, _ = from_options(spec["options"])
    path = golden / "latest_net_G.pth"
    told = network_of(read_state(path), "weights")
    assert dataclasses.replace(told, dropout=network.dropout, size=network.size) == network, "shapes tell the network"
    with torch.no_grad():
        G = without_dropout(generator(dataclasses.replace(network, test_norm="running")))
        load_official(G, path)
        compare("drawing, eval", worst(G.eval()(io["input"]), io["out_eval"]), atol)
        compare("drawing, train", worst(G.train()(io["input"]), io["out_train"]), atol)
        norms = {name: module for name, module in G.named_modules() if isinstance(module, BatchNorm2d)}
        for name, want in io.items():
            if name.startswith("post_running_"):
                kind, place = name.removeprefix("post_").rsplit("_", 1)
                compare(name, worst(getattr(norms[f"model.{place}"], kind), want), atol)
    file = import_release(path)
    running = load(file, norm="running")
    compare("imported, running", worst(running.network(io["input"]), io["out_eval"]), atol)
    compare("imported, running, fast", worst(running.computed(io["input"]), io["out_eval"]), atol)
    if len(io["input"]) == 1 or network.norm != "batch":  # else the statistics of several pictures together
        model = load(file)
        compare("imported, picture", worst(model.network(io["input"]), io["out_train"]), atol)
        compare("imported, picture, fast", worst(model.computed(io["input"]), io["out_train"]), atol)
    drawn = contour_network(file)(io["input"].clone().requires_grad_())
    assert drawn.requires_grad
    compare("within another training", worst(drawn.detach(), io["out_train"]), atol)


@pytest.mark.golden_with("latest_net_D.pth")
def test_discriminator(golden: Path, compare: Compare) -> None:
    spec, io = spec_of(golden), arrays(golden / "io.npz")
    D = discriminator(*from_options({**spec["options"], "input_nc": 3, "output_nc": 1}))
    load_official(D, golden / "latest_net_D.pth")
    for mode in ("eval", "train"):
        with torch.no_grad():
            logits = D.train(mode == "train")(io["input"])
        theirs = io[f"out_{mode}"]
        if spec["options"].get("no_lsgan"):  # there a sigmoid ends it
            logits = torch.sigmoid(logits)
        compare(f"judgement, {mode}", worst(logits, theirs), spec.get("suggested_atol", 1e-4))


LOSS_NAMES = {"G_GAN": "GAN", "G_L1": "L1", "D_real": "D_real", "D_fake": "D_fake"}


@pytest.mark.golden_with("losses.json")
def test_trace(golden: Path, compare: Compare, compare_weights: Callable[..., None], new_part: type) -> None:
    """The losses of each step, then samples of every weight after the last."""
    network, training = from_options(spec_of(golden)["options"])
    data = arrays(golden / "data.npz")
    recipe = PhotoSketchRecipe(network, training).train()
    parts = {
        name: new_part(module, recipe.optimizers[name], official_names(module))
        for name, module in (("G", recipe.G), ("D", recipe.D))
    }
    for name, part in parts.items():
        load_official(part.network, golden / f"init_net_{name}.pth")
        part.watch()
    without_dropout(recipe.G)

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        ours = recipe.step(PhotoSketches(data["A"][step], data["B"][step]), step)
        relative.append(max(abs(ours[LOSS_NAMES[k]].item() - v) / max(abs(v), 0.01) for k, v in theirs.items()))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)
    compare_weights(parts, golden, len(expected))
