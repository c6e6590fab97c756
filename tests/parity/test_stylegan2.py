"""StyleGAN2 against numbers of the widely used PyTorch form; every option comes from the golden's own spec.json."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.models.stylegan2.config import Network, Training
from pinxit.models.stylegan2.draws import Draws
from pinxit.models.stylegan2.generate import load
from pinxit.models.stylegan2.network import Discriminator, Generator, mixed, truncated
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe, discriminator_loss, generator_loss, path_penalty, r1_penalty
from pinxit.models.stylegan2.weights import from_options, import_release, load_official, network_of, read_checkpoint

SYSTEM = "stylegan2"
Compare = Callable[[str, float, float], None]


def spec_of(golden: Path) -> tuple[dict[str, Any], Network, Training]:
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    return spec, *from_options(spec["options"])


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as io:
        return {name: torch.from_numpy(io[name]) for name in io.files}


def numbered(io: dict[str, Tensor], prefix: str) -> list[Tensor]:
    """`prefix`0, `prefix`1 …"""
    return [io[f"{prefix}{i}"] for i in range(sum(name.startswith(prefix) for name in io))]


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


def samples(x: Tensor) -> Tensor:
    """Sum, norm and eight entries, as the goldens keep of large tensors."""
    flat = x.double().flatten()
    places = torch.from_numpy(np.linspace(0, len(flat) - 1, 8).round().astype(np.int64))
    return torch.cat([flat.sum()[None], flat.norm()[None], flat[places]])


def checkpoint_of(golden: Path) -> Path:
    (path,) = golden.glob("*.pt")
    return path


@pytest.mark.golden_with("io.npz")
def test_pictures(golden: Path, compare: Compare) -> None:
    """Fixed noise, the model's own noise, truncation, mixing, w and w+; the imported model; the discriminator."""
    spec, network, _ = spec_of(golden)
    io, path, atol = arrays(golden / "io.npz"), checkpoint_of(golden), spec.get("suggested_atol", 1e-3)
    options = spec["options"]
    states = read_checkpoint(path)
    assert network_of(states["g_ema"], "checkpoint") == network, "shapes tell the network"
    G_ema, G, D = Generator(network), Generator(network), Discriminator(network)
    for part, key in ((G_ema, "g_ema"), (G, "g"), (D, "d")):
        load_official(part, states[key], f"{key} of '{path}'")
    noise, psi, at = numbered(io, "noise_"), options["truncation"], options["inject_index"]
    mean = io["mean_latent"][0]
    with torch.no_grad():
        w, w2 = G_ema.mapping(io["z"]), G_ema.mapping(io["z2"])
        of_mixed = mixed(w, w2, at, network.latents)
        compare("w", worst(w, io["out/w"]), atol)
        compare("w+ of a mix", worst(of_mixed, io["out/mixed_latents"]), atol)
        for name, latents, given in (
            ("fixed_noise", w, noise),
            ("buffer_noise", w, None),
            ("truncated", truncated(w, mean, psi), noise),
            ("mixed", of_mixed, noise),
            ("mixed_truncated", truncated(of_mixed, mean, psi), noise),
            ("from_w", io["out/w"], noise),
            ("from_wplus", io["wplus"], noise),
        ):
            compare(name, worst(G_ema(latents, given), io[f"out/{name}"]), atol)
        fakes = G(G.mapping(io["z"]), noise)
        compare("g_fixed_noise", worst(fakes, io["out/g_fixed_noise"]), atol)
        compare("d_real", worst(D(io["real"]), io["out/d_real"]), atol)
        compare("d_fake", worst(D(io["out/g_fixed_noise"][: len(io["out/d_fake"])]), io["out/d_fake"]), atol)
        eight = torch.cat([io["real"], 0.8 * io["real"].flip(0)])  # found by trying: the spec does not say
        compare("d_batch8", worst(D(eight), io["out/d_batch8"]), atol)
    model = load(import_release([path]))
    compare("imported", worst(model.G(io["out/w"]), io["out/buffer_noise"]), atol)


def gradients(network: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.golden_with("io.npz")
def test_losses_and_gradients(golden: Path, compare: Compare) -> None:
    """The losses, and samples of the gradients of both penalties by every weight."""
    _, network, _ = spec_of(golden)
    io, states = arrays(golden / "io.npz"), read_checkpoint(checkpoint_of(golden))
    theirs = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    G, D = Generator(network), Discriminator(network)
    load_official(G, states["g"], "g")
    load_official(D, states["d"], "d")
    on_real, on_fake = D(io["real"]), D(io["out/g_fixed_noise"][: len(io["out/d_fake"])])
    r1 = r1_penalty(D, io["real"])
    mean_in = torch.tensor(theirs["path_mean_in"])
    path, mean = path_penalty(G, G.mapping(io["z"]), numbered(io, "noise_"), io["path_y"], mean_in)
    ours = {
        "d_logistic": discriminator_loss(on_real, on_fake),
        "g_nonsat": generator_loss(on_fake),
        "r1": r1,
        "path_penalty": path,
        "path_mean": mean,
        "path_mean_in": mean_in,
    }
    assert set(ours) == set(theirs)
    errors = [abs(ours[name].item() - value) / max(abs(value), 1e-3) for name, value in theirs.items()]
    compare("losses (relative)", max(errors), 1e-4)
    for prefix, found in (("grad_path/G/", gradients(G, path)), ("grad_r1/D/", gradients(D, r1))):
        expected = {name.removeprefix(prefix): value for name, value in io.items() if name.startswith(prefix)}
        # Where theirs has none, as the loss does not depend on the weight, ours is 0.
        assert all(not found[name].any() for name in found.keys() - expected.keys())
        off = [
            (samples(found[name]) - value.double()).abs().max().item() / max(value[1].item(), 1e-3)
            for name, value in expected.items()
        ]
        compare(f"{prefix} ({len(off)}, to their norms)", max(off), 1e-3)


LOSS_NAMES = {
    "d": "D",
    "real_score": "D_real",
    "fake_score": "D_fake",
    "r1": "r1",
    "g": "G",
    "path": "path",
    "path_mean": "path_mean",
}


@pytest.mark.golden_with("data.npz")
def test_trace(
    golden: Path,
    compare: Compare,
    compare_weights: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    new_part: type,
) -> None:
    """The losses of each step, lazy penalties among them, then samples of every weight and of the average."""
    from pinxit.data.squares import Squares
    from pinxit.models.stylegan2.recipe import FOR_D, FOR_G, FOR_PATH

    spec, network, training = spec_of(golden)
    data, states = arrays(golden / "data.npz"), read_checkpoint(checkpoint_of(golden))
    (at,) = {int(found) for found in re.findall(r"inject_index (\d+)", spec["order"])}
    recipe = StyleGAN2Recipe(network, training).train()
    parts = {}
    for key, name, optimizer in (("g", "G", "G"), ("d", "D", "D"), ("g_ema", "G_ema", "G")):
        module = recipe.get_submodule(name)
        load_official(module, states[key], key)
        names = {ours: ours for ours in module.state_dict()}
        parts[key] = new_part(module, recipe.optimizers[optimizer], names)
        if name != "G_ema":  # which has no gradients; it moves as G does
            parts[key].watch()
    parts["g_ema"].largest = parts["g"].largest
    letter = {FOR_D: "d", FOR_G: "g", FOR_PATH: "p"}

    def latents(_: Draws, G: Generator, step: int, draw: int, rows: int, count: int) -> list[Tensor]:
        names = [f"z_{letter[draw]}"] if count == 1 else [f"z_{letter[draw]}{i}" for i in range(count)]
        return [data[f"s{step}/{name}"] for name in names]

    monkeypatch.setattr(Draws, "mix_at", lambda _, G, step, draw: at if draw == FOR_G else None)
    monkeypatch.setattr(Draws, "latents", latents)
    monkeypatch.setattr(Draws, "noise", lambda _, G, step, draw, rows: numbered(data, f"s{step}/{letter[draw]}/noise_"))
    monkeypatch.setattr(recipe, "direction", lambda step, rows: data[f"s{step}/path_y"])

    expected = json.loads((golden / "losses.json").read_text(encoding="utf-8"))
    relative = []
    for step, theirs in enumerate(expected):
        ours = recipe.step(Squares(data["real"][step]), step)
        # Theirs has the lengths' own mean too, which ours is a moving mean of.
        errors = [
            abs(ours[LOSS_NAMES[name]].item() - value) / max(abs(value), 1e-3)
            for name, value in theirs.items()
            if name != "path_length"
        ]
        relative.append(max(errors))
    compare("losses, first step (relative)", relative[0], 1e-4)
    compare("losses, all steps (relative)", max(relative), 1e-3)
    compare_weights(parts, golden, len(expected))
