"""The authors' trained folders, and the strict table of names that reads them.

Names of files, options and tensors are facts read from what the official code (github tamarott/SinGAN, MIT) writes:
`TrainedModels/PHOTO/scale_factor=…/` with `Gs.pth`, `Zs.pth`, `reals.pth` and `NoiseAmp.pth`, the first of which holds
whole pickled modules.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pinxit import unpickle
from pinxit.data.images import read_photo, to_tensor
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.singan.config import Network, Task, Training
from pinxit.models.singan.network import Generator
from pinxit.models.singan.pyramid import Pyramid, resize, scales_of
from pinxit.recipe import state_on_cpu

FILES = ("Gs.pth", "Zs.pth", "reals.pth", "NoiseAmp.pth")
CLASSES = ("SinGAN.models.GeneratorConcatSkip2CleanAdd", "SinGAN.models.ConvBlock", *unpickle.NN_CLASSES)


def official_names(network: nn.Module) -> dict[str, str]:
    """Ours -> theirs, for every weight and buffer of a Generator or Discriminator."""
    names = {}
    for ours in network.state_dict():
        theirs = re.sub(r"^blocks\.(\d+)\.", lambda m: "head." if m[1] == "0" else f"body.block{m[1]}.", ours)
        names[ours] = re.sub(r"^tail\.", "tail.0." if isinstance(network, Generator) else "tail.", theirs)
    return names


def load_official(network: nn.Module, path: Path) -> None:
    """Fill a Generator or Discriminator from `N/netG.pth` or `N/netD.pth`. Raises `PinxitError`."""
    fill(network, unpickle.load(path, ()), path)


def fill(network: nn.Module, official: Mapping[str, Tensor], path: Path) -> None:
    """Raises `PinxitError` where the official names and shapes are not exactly those of `network`."""
    theirs = {official_name: ours for ours, official_name in official_names(network).items()}
    odd = sorted(theirs.keys() ^ official.keys())
    if odd:
        got = f"{'without' if odd[0] in theirs else 'with'} {odd[0]!r}"
        raise expected(f"'{path}'", got, "the weights of SinGAN's network", "see that it is SinGAN's")
    try:
        network.load_state_dict({theirs[name]: value for name, value in official.items()})
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise expected(f"'{path}'", f"of another shape ({problem})", "one network's", "copy it again") from error


def import_release(source: Sequence[Path], *, photo: Path | None = None, min_size: int | None = None) -> ModelFile:
    """Read a folder of the authors' `TrainedModels`. Nothing in it is executed.

    `photo`: what it was trained on, to paste edits into; by default the 8-bit copy in the folder. `min_size`: the
    --min_size it was trained with, where the sizes in the folder do not tell.

    Raises `PinxitError` for a file that is missing, damaged, asks for code, or is not SinGAN's.
    """
    if len(source) != 1 or not source[0].is_dir():
        got = " ".join(map(str, source))
        raise expected(
            "the release", repr(got), "one folder with Gs.pth in it", "name TrainedModels/PHOTO/scale_factor=…"
        )
    folder = source[0]
    Gs, Zs, reals, amplitudes = (_list(folder / name) for name in FILES)
    if not len(Gs) == len(Zs) == len(amplitudes) == len(reals):
        got = f"with {len(Gs)} generators, {len(Zs)} noises, {len(reals)} sizes and {len(amplitudes)} amplitudes"
        raise expected(f"folder '{folder}'", got, "as many of each", "finish the training there, or copy it again")
    if len(Gs) < 2:
        raise expected(f"folder '{folder}'", f"with {len(Gs)} scales", "2 or more", "see that it is SinGAN's")
    states = [_state(G, folder / "Gs.pth") for G in Gs]
    pictures = [_picture(x, folder / "reals.pth") for x in reals]
    z_opt = _picture(Zs[0], folder / "Zs.pth")
    pyramid = _pyramid([(x.shape[2], x.shape[3]) for x in pictures], min_size, folder / "reals.pth")
    network = _network(states[0], z_opt, pyramid, folder)
    tensors: dict[str, Tensor] = {}
    for scale, state in enumerate(states):
        G = Generator(network, scale)
        fill(G, state, folder / "Gs.pth")
        tensors |= {f"G.{scale}.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    tensors["z_opt"] = z_opt.contiguous()
    tensors["amplitudes"] = torch.tensor([_number(a, folder / "NoiseAmp.pth") for a in amplitudes])
    tensors["real"] = pictures[-1].contiguous()
    tensors["photo"] = tensors["real"].clone() if photo is None else _photo(photo, pyramid.sizes[-1])
    config = {**dataclasses.asdict(network), "sizes": pyramid.sizes, "factor": pyramid.factor}
    card = {"source": f"SinGAN's official code, {folder.parent.name}/{folder.name}"}
    return ModelFile("singan", config, tensors, None, card)


def _pyramid(sizes: list[tuple[int, int]], smallest: int | None, path: Path) -> Pyramid:
    """The pyramid with these sizes. The smallest size it was made for, which fixes the exact ratio of the scales, is
    not in the files; it is the coarsest one's shorter side or one less."""
    candidates = (min(sizes[0]), min(sizes[0]) - 1) if smallest is None else (smallest,)
    for candidate in candidates:
        pyramid = scales_of(*sizes[-1], candidate, len(sizes) - 1)
        if list(pyramid.sizes) == sizes:
            return pyramid
    listed = ", ".join(f"{height}x{width}" for height, width in sizes)
    want = f"those of a pyramid whose smallest size is {' or '.join(map(str, candidates))}"
    raise expected(f"sizes (height x width) in '{path}'", listed, want, "give the --min-size it was trained with")


def _network(first: Mapping[str, Tensor], z_opt: Tensor, pyramid: Pyramid, folder: Path) -> Network:
    """The options, as far as the shapes tell them."""
    head, tail = first.get("head.conv.weight"), first.get("tail.0.weight")
    if head is None or tail is None or head.ndim != 4 or tail.ndim != 4:
        raise expected(f"'{folder / 'Gs.pth'}'", "without head.conv or tail.0", "SinGAN's networks", "copy it again")
    task: Task = "synthesis"
    if re.search(r"alpha=100$", folder.name):
        task = "super_resolution"
    layers = sum(name.endswith("conv.weight") for name in first) + 1
    network = Network(
        task=task,
        min_size=min(pyramid.sizes[0]),
        max_size=max(pyramid.sizes[-1]),
        width=head.shape[0],
        min_width=tail.shape[1],
        layers=layers,
        kernel=head.shape[2],
    )
    m = network.margin
    want = (1, 3, pyramid.sizes[0][0] + 2 * m, pyramid.sizes[0][1] + 2 * m)
    if z_opt.shape != want:
        raise expected(f"'{folder / 'Zs.pth'}'", f"of shape {tuple(z_opt.shape)}", str(want), "copy it again")
    inside = torch.zeros_like(z_opt)
    inside[..., m:-m, m:-m] = 1
    if (z_opt * (1 - inside)).any():  # noise in the margin: what the animation has alone
        network = dataclasses.replace(network, task="animation")
    return network


def network_from(options: Mapping[str, Any]) -> tuple[Network, Training]:
    """Ours for the official code's options (`nfc_init`, `min_size`, …); what is absent stays at its default."""
    network = {
        ours: options[theirs]
        for theirs, ours in (
            *(("nfc_init", "width"), ("min_nfc_init", "min_width"), ("num_layer", "layers"), ("ker_size", "kernel")),
            *(("min_size", "min_size"), ("max_size", "max_size"), ("scale_factor_init", "scale_factor")),
        )
        if theirs in options
    }
    training = {
        ours: options[theirs]
        for theirs, ours in (
            *(("niter_init", "steps"), ("lr_g", "lr"), ("Gsteps", "g_steps"), ("Dsteps", "d_steps")),
            *(("alpha", "reconstruction"), ("lambda_grad", "penalty"), ("noise_amp_init", "noise")),
        )
        if theirs in options
    }
    return Network(**network), Training(**training)


def _list(path: Path) -> list[Any]:
    values = unpickle.load(path, CLASSES)
    if not isinstance(values, list) or not values:
        raise expected(f"'{path}'", f"a {type(values).__name__}", "a list with an entry a scale", "copy it again")
    return values


def _state(network: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(network, unpickle.Inert):
        raise expected(f"'{path}'", f"a list of {type(network).__name__}", "of networks", "see that it is SinGAN's")
    return unpickle.state_dict(network)


def _picture(x: Any, path: Path) -> Tensor:
    if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[:2] != (1, 3) or not x.is_floating_point():
        got = f"with {tuple(x.shape)}" if isinstance(x, Tensor) else f"with a {type(x).__name__}"
        raise expected(f"'{path}'", got, "[1, 3, H, W] float tensors", "see that it is SinGAN's, of a colour picture")
    return x.detach().float()


def _number(x: Any, path: Path) -> float:
    value = x.item() if isinstance(x, Tensor) and x.numel() == 1 else x
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise expected(f"'{path}'", f"with {x!r}", "a number a scale", "copy it again")
    return float(value)


def _photo(path: Path, size: tuple[int, int]) -> Tensor:
    photo = to_tensor(read_photo(path))[None]
    small = resize(photo, min(max(size) / max(photo.shape[2:]), 1))
    if small.shape[2:] != size:
        got = f"{photo.shape[2]}x{photo.shape[3]}"
        want = f"the one that gives {size[0]}x{size[1]} (height x width)"
        raise expected(f"photo '{path}'", got, want, "give the one that was trained on, or none")
    return small
