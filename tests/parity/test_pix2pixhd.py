"""pix2pixHD against numbers of the official code; every option comes from the golden's own spec.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.data.stream import LabelPhotos
from pinxit.models.pix2pixhd.config import Network, Training
from pinxit.models.pix2pixhd.features import find_objects, instance_means, spread
from pinxit.models.pix2pixhd.network import Discriminator, Encoder, Generator, embed, semantic_channels
from pinxit.models.pix2pixhd.recipe import Pix2PixHDRecipe
from pinxit.models.pix2pixhd.weights import from_options, import_release, load_official, official_names

SYSTEM = "pix2pixhd"
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


def source_of(io: dict[str, Tensor], c: Network, step: int | None = None) -> tuple[Tensor, Tensor | None]:
    """What goes in, and the instances; the official code keeps label maps with a channel, some as floats."""
    label = io["label"] if step is None else io["label"][step]
    instances = io.get("inst")
    if instances is not None and step is not None:
        instances = instances[step]
    source = label[:, 0].long() if c.source == "labels" else label
    return source, None if instances is None else instances[:, 0].long()


@pytest.mark.golden_with("latest_net_G.pth")
def test_generator(golden: Path, compare: Compare) -> None:
    spec, c, _ = spec_of(golden)
    io = arrays(golden / "io.npz")
    atol = spec.get("suggested_atol", 1e-4)
    G = Generator(c)  # in train mode, as the official test script leaves it
    load_official(G, golden / "latest_net_G.pth")
    source, instances = source_of(io, c)
    with torch.no_grad():
        x = embed(source, instances, c)
        if "net_label_input" in io:
            compare("semantics", worst(x, io["net_label_input"].float()), 0.0)
        if c.features != "none":
            E = Encoder(c)
            load_official(E, golden / "latest_net_E.pth")
            objects = find_objects(source, instances, c)
            every = E(io["image"])
            features = spread(instance_means(every, objects.place), objects.place)
            if "feat_unpooled" in io:
                compare("features of pixels", worst(every, io["feat_unpooled"]), atol)
            compare("features of objects", worst(features, io["feat"]), atol)
            x = torch.cat([x, features], dim=1)
        compare("picture", worst(G(x), io["out"]), atol)


@pytest.mark.golden_with("latest_net_G.pth")
def test_shapes_tell_the_network(golden: Path, compare: Compare) -> None:
    """The checkpoint alone, with the number of labels, is imported as the network that the options describe."""
    _, c, _ = spec_of(golden)
    features = "label" if c.features == "label" else "instance"
    labels = str(c.labels) if c.source == "labels" else None
    file = import_release(golden, label_set=labels, pictures=labels is None, features=features)
    G = Generator(c)
    load_official(G, golden / "latest_net_G.pth")
    ours = {f"G.{k}": v for k, v in G.state_dict().items()}
    assert ours.keys() == {k for k in file.tensors if k.startswith("G.")}
    compare("imported weights", max(worst(file.tensors[k], v) for k, v in ours.items()), 0.0)
    told = ("width", "downsamplings", "blocks", "enhancers", "features", "labels", "instances", "norm")
    assert {k: file.config[k] for k in told} == {k: getattr(c, k) for k in told}


@pytest.mark.golden_with("latest_net_D.pth")
def test_discriminator(golden: Path, compare: Compare) -> None:
    spec, c, t = spec_of(golden)
    io = arrays(golden / "io.npz")
    D = Discriminator(c, t)
    intermediate = t.feature_matching > 0
    load_official(D, golden / "latest_net_D.pth", intermediate=intermediate)
    assert io["input"].shape[1] == semantic_channels(c) + 3
    with torch.no_grad():
        outputs = D(io["input"])
    errors = []
    for name, value in io.items():
        if not name.startswith("out/"):
            continue
        _, scale, layer = name.split("/")
        # Without feature matching the official code gives the last alone, behind a sigmoid for the vanilla loss.
        ours = outputs[int(scale)][int(layer) if intermediate else -1]
        errors.append(worst(ours if intermediate or t.adversarial == "ls" else ours.sigmoid(), value))
    compare(f"features ({len(errors)})", max(errors), spec.get("suggested_atol", 1e-4))


LOSS_NAMES = {
    "G_GAN": "GAN",
    "G_GAN_Feat": "feature_matching",
    "G_VGG": "perceptual",
    "D_fake": "D_fake",
    "D_real": "D_real",
}


@pytest.mark.golden_with("losses.json")
@pytest.mark.usefixtures("convolutions")
def test_trace(golden: Path, compare: Compare) -> None:
    """The losses of each step, then samples of every weight after the last."""
    _, c, t = spec_of(golden)
    data = arrays(golden / "data.npz")
    recipe = Pix2PixHDRecipe(c, t).train()
    parts: dict[str, nn.Module] = {"G": recipe.G, "D": recipe.D}
    if recipe.E is not None:
        parts["E"] = recipe.E
    intermediate = t.feature_matching > 0
    for part, module in parts.items():
        load_official(module, golden / f"init_net_{part}.pth", intermediate=intermediate)
    largest: dict[str, Tensor] = {}
    for part, module in parts.items():
        for name, p in module.named_parameters():
            p.register_post_accumulate_grad_hook(_remember(largest, f"{part}/{name}"))

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        source, instances = source_of(data, c, step)
        if step == 0 and "fake_step0" in data:
            with torch.no_grad():
                fake = recipe.paint(embed(source, instances, c), source, data["image"][0], instances)
            compare("first fake", worst(fake, data["fake_step0"]), 1e-4)
        ours = recipe.step(LabelPhotos(source, data["image"][step], instances), step)
        assert {LOSS_NAMES[k] for k in theirs} == set(ours)
        relative.append(max(abs(ours[LOSS_NAMES[k]].item() - v) / max(abs(v), 0.01) for k, v in theirs.items()))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)

    # Adam divides a gradient by its own size, so where the true gradient is 0 (a bias in front of a normalisation)
    # rounding noise alone moves a weight by up to the learning rate a step. Such entries are told by the largest
    # gradient they ever saw here, against the network's largest, not by name, and held to what two runs can part by.
    with np.load(golden / "final_weights.npz") as final:
        clear, noisy = [0.0], [0.0]
        for part, module in parts.items():
            group = recipe.optimizers["D" if part == "D" else "G"].param_groups[0]
            bound = 2 * adam_reach(group["lr"], group["betas"], len(expected))
            state = module.state_dict()
            noise = ROUNDING * max(g.max().item() for name, g in largest.items() if name.startswith(f"{part}/"))
            for name, official in official_names(module, intermediate).items():
                flat, theirs = state[name].flatten(), torch.from_numpy(final[f"{part}/{official}"][2:])
                places = torch.from_numpy(np.linspace(0, len(flat) - 1, 8).round().astype(np.int64))
                errors = (flat[places].double() - theirs.double()).abs()
                pull = torch.ones(8)
                if name.endswith("running_mean"):
                    # It follows the bias in front of it, which is such an entry.
                    pull = torch.zeros(8)
                elif f"{part}/{name}" in largest:
                    pull = largest[f"{part}/{name}"].flatten()[places]
                clear += errors[pull >= noise].tolist()
                noisy += (errors[pull < noise] / bound).tolist()
    compare(f"weights after {len(expected)} steps ({len(clear) - 1})", max(clear), 1e-4)
    compare(f"of no gradient, to the bound ({len(noisy) - 1})", max(noisy), 1.0)


def adam_reach(rate: float, betas: tuple[float, float], steps: int) -> float:
    """The farthest a weight can move: in step t, its gradient growing, by sqrt((1 - beta2^t) / (1 - beta2)) rates, and
    by the first moment's own correction (1 - beta1) / (1 - beta1^t) of that, or one rate, whichever is more."""
    first, second = betas
    return rate * sum(
        max(1.0, ((1 - second**t) / (1 - second)) ** 0.5 * (1 - first) / (1 - first**t)) for t in range(1, steps + 1)
    )


ROUNDING = 3e-6
"""Gradients below this share of the largest are rounding noise: some tens of units in the last place of fp32."""


def _remember(largest: dict[str, Tensor], name: str) -> Callable[[Tensor], None]:
    def hook(p: Tensor) -> None:
        assert p.grad is not None
        seen = p.grad.abs()
        largest[name] = seen if name not in largest else torch.maximum(largest[name], seen)

    return hook
