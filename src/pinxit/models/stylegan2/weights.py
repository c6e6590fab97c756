"""Checkpoints of the widely used PyTorch form, and the strict table of names that reads them.

Names of files, options and tensors are facts read from checkpoints of github rosinality/stylegan2-pytorch (MIT), which
GAN Sketching's code has too. The names of weights are ours too, so that the table of names is the identity; a modulated
convolution's weights have an axis more there.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from pinxit import unpickle
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.stylegan2.config import Network, Training
from pinxit.models.stylegan2.network import Discriminator, Generator
from pinxit.models.stylegan2.recipe import mean_w
from pinxit.nn.upfirdn import kernel_of
from pinxit.official import State, fill
from pinxit.recipe import state_on_cpu

PARTS = ("g_ema", "g", "d")
FORM = "a .pt with g_ema, as rosinality/stylegan2-pytorch writes it, or a generator's state dict"


def official_names(network: nn.Module) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer."""
    return {name: name for name in network.state_dict()}


def load_official(network: nn.Module, state: Mapping[str, Tensor], thing: str) -> None:
    """Fill a `Generator` or `Discriminator` from a state dict; every name and shape must agree.

    `thing`: what messages call it. Raises `PinxitError`.
    """
    flat = {name: value[0] if value.ndim == 5 and len(value) == 1 else value for name, value in state.items()}
    fill(network, flat, official_names(network), thing, "such a network", advice="check that this is the right file")


def official_state(network: nn.Module) -> State:
    """The state dict as the official code writes it: what its own `load_state_dict` takes."""
    modulated = re.compile(r"^(conv1|to_rgb1|convs\.\d+|to_rgbs\.\d+)\.conv\.weight$")
    one_more = isinstance(network, Generator)
    state = state_on_cpu(network.state_dict())
    return {name: value[None] if one_more and modulated.match(name) else value for name, value in state.items()}


def read_checkpoint(path: Path) -> dict[str, State]:
    """The state dicts in a training's checkpoint by name, `g_ema`, `g`, `d`, as far as they are there, and the mean w
    as `latent_avg` with one tensor; a lone state dict of a generator is called `g_ema`, of a discriminator `d`.

    Nothing in the file is executed. Raises `PinxitError` where it is damaged, holds code, or is none of these.
    """
    require_no_code(path)
    held = unpickle.load(path, ("argparse.Namespace",), "weights")
    if not isinstance(held, dict):
        raise expected(f"weights '{path}'", f"a {type(held).__name__}", FORM, "check that this is the right file")
    if any(part in held for part in PARTS):
        states = {part: held[part] for part in PARTS if part in held}
    elif "conv1.conv.weight" in held:
        states = {"g_ema": held}
    elif "final_conv.0.weight" in held:
        states = {"d": held}
    else:
        first = next((str(name) for name in held), "nothing")[:60]
        raise expected(f"weights '{path}'", f"with {first}", FORM, "check that this is the right file")
    for part, state in states.items():
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise expected(f"{part} in '{path}'", f"a {type(state).__name__}", "a dict of tensors", "copy it again")
    if isinstance(mean := held.get("latent_avg"), Tensor):
        states["latent_avg"] = {"latent_avg": mean}
    return states


def require_no_code(path: Path) -> None:
    """Raises `PinxitError` for NVlabs' own pickles, which rebuild their networks from source code that is in them."""
    if not path.is_file():
        raise expected(f"weights '{path}'", "a folder" if path.is_dir() else "not there", FORM, "check the path")
    with path.open("rb") as file:
        head = file.read(1 << 16)
    for name, converter in CONVERTERS.items():
        if head.startswith(b"\x80") and name in head:
            got = f"a pickle that holds source code and would run it ({name.decode()})"
            raise expected(f"weights '{path}'", got, FORM, f"convert it where you trust it, with {converter}")


CONVERTERS = {
    b"dnnlib.tflib": "rosinality/stylegan2-pytorch's convert_weight.py --gen --disc, and import the .pt that it writes",
    b"torch_utils.persistence": "a script that saves what rosinality/stylegan2-pytorch's Generator has, name by name, "
    "as torch.save({'g_ema': state}), and import that",
}
"""A name in NVlabs' pickles -> what makes tensors alone of them."""


def network_of(state: State, thing: str, *, mapping_rate: float = 0.01) -> Network:
    """The network that a generator's state dict is of, as its names and shapes tell; `thing`: what messages call it.

    Raises `PinxitError` where it is no generator of StyleGAN2.
    """
    count = sum(bool(re.fullmatch(r"to_rgbs\.\d+\.bias", name)) for name in state)
    layers = sum(bool(re.fullmatch(r"style\.\d+\.weight", name)) for name in state)
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    advice = "check that this is the right file"
    try:
        widths = [shapes["conv1.conv.weight"][1]] + [shapes[f"convs.{2 * i}.conv.weight"][1] for i in range(count)]
        kernel = state["convs.0.conv.blur.kernel"].float()
        dim = shapes["style.1.weight"][0]
    except (KeyError, IndexError) as error:
        raise expected(thing, f"without {error}", "a generator of StyleGAN2", advice) from error
    if not 1 <= count <= 8:
        raise expected(f"size of {thing}", f"{4 << count} pixels", "8 to 1024", advice)
    taps = kernel.sum(dim=1)
    blur = tuple(int(tap) for tap in (taps / taps.abs().min().clamp_min(1e-9)).round().clamp(-1e6, 1e6).tolist())
    network = Network(
        size=4 << count,
        channels=tuple(widths),
        style_dim=dim,
        mapping_layers=layers,
        mapping_rate=mapping_rate,
        blur=blur,
    )
    ours = kernel_of(blur, 4)
    if kernel.shape != ours.shape or not kernel.allclose(ours, atol=1e-6):
        raise expected(f"filter of {thing}", "not one of rows and columns of whole numbers", "as 1 3 3 1", advice)
    return network


def import_release(
    source: Path | Sequence[Path], *, which: Literal["g_ema", "g"] = "g_ema", mapping_rate: float = 0.01
) -> ModelFile:
    """Read a checkpoint of any size from 8 to 1024 pixels and any channels. The mean w is the file's, or that of
    random latents; a discriminator comes along where there is one.

    Raises `PinxitError`.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    if len(paths) != 1:
        raise expected("the release", f"{len(paths)} files", FORM, "name one")
    path = paths[0]
    states, thing = read_checkpoint(path), f"weights '{path}'"
    if which not in states:
        raise expected(thing, f"without {which}", " or ".join(p for p in PARTS[:2] if p in states) or FORM, "choose it")
    state = states[which]
    network = network_of(state, f"{which} of {thing}", mapping_rate=mapping_rate)
    shift = state.pop(f"style.{network.mapping_layers + 1}.w_shift", None)
    G = Generator(network)
    load_official(G, state, f"{which} of {thing}")
    mean = mean_w(G)
    if "latent_avg" in states:
        mean = states["latent_avg"]["latent_avg"].detach().float().reshape(-1)
        if mean.shape != (network.style_dim,):
            got = f"of {mean.numel()} numbers"
            raise expected(f"latent_avg of {thing}", got, f"{network.style_dim}, as w has", "copy it again")
    if shift is not None:
        absorb(G, shift.reshape(-1))
    tensors = {"w_mean": mean.contiguous()}
    tensors |= {f"G.{name}": value for name, value in state_on_cpu(G.state_dict()).items()}
    if "d" in states:
        D = Discriminator(network)
        load_official(D, states["d"], f"d of {thing}")
        tensors |= {f"D.{name}": value for name, value in state_on_cpu(D.state_dict()).items()}
    card = {
        "source": f"weights of rosinality's form of StyleGAN2, imported from {path.resolve().parent.name}/{path.name}",
        "licence": "rosinality's code is MIT; weights converted from Nvidia's are for non-commercial use alone; of "
        "others' weights ask who trained them",
    }
    return ModelFile("stylegan2", dataclasses.asdict(network), tensors, card=card)


def absorb(G: Generator, shift: Tensor) -> None:
    """What GAN Sketching's `w_shift` adds to every w, put into the biases that w is modulated with: the same pictures
    of the same z, at every truncation."""
    for name, module in G.named_modules():
        if name.endswith(".modulation"):
            weight, bias = module.get_parameter("weight"), module.get_parameter("bias")
            bias.data += weight.data @ shift / math.sqrt(weight.shape[1])


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training]:
    """The official code's options, by their names there, as ours; what is missing has its default there."""
    o: dict[str, Any] = {**_DEFAULTS, **options}
    size = int(o["size"])
    table = o.get("channels")
    channels = None if table is None else tuple(table[str(4 << i)] for i in range(int(math.log2(size)) - 1))
    network = Network(
        size=size,
        channels=channels,
        multiplier=o["channel_multiplier"],
        style_dim=o["style_dim"],
        mapping_layers=o["n_mlp"],
        mapping_rate=o["lr_mlp"],
        blur=tuple(o["blur_kernel"]),
    )
    training = Training(
        batch=o["batch"],
        lr=o["lr"],
        r1=o["r1"],
        r1_every=o["d_reg_every"],
        path=o["path_regularize"],
        path_every=o["g_reg_every"],
        path_shrink=o["path_batch_shrink"],
        mixing=o["mixing"],
        ema=o["ema_decay"],
    )
    return network, training


_DEFAULTS: dict[str, Any] = {
    "size": 256,
    "channel_multiplier": 2,
    "style_dim": 512,
    "n_mlp": 8,
    "lr_mlp": 0.01,
    "blur_kernel": (1, 3, 3, 1),
    "batch": 16,
    "lr": 0.002,
    "r1": 10,
    "d_reg_every": 16,
    "path_regularize": 2,
    "g_reg_every": 4,
    "path_batch_shrink": 2,
    "mixing": 0.9,
    "ema_decay": 0.5 ** (32 / 10_000),
}
