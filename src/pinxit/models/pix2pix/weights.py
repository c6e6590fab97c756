"""The authors' releases: their options, their names for weights, and the strict table that reads them.

Names of files, options and tensors are facts read from checkpoints of the official code (github
junyanz/pytorch-CycleGAN-and-pix2pix).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pinxit.data.kinds import Kind
from pinxit.errors import expected, unknown_name
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pix.config import RELEASES, Direction, Network, Training
from pinxit.models.pix2pix.network import UNet, generator
from pinxit.nn.resnet import resnet_of
from pinxit.official import State, fill, read_options, read_state
from pinxit.recipe import state_on_cpu


def official_names(network: nn.Module) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer of a generator or discriminator.

    Of a U-Net: each block there holds the next finer-to-coarser one, between its halving and its doubling.
    """
    if not isinstance(network, UNet):
        return {name: name for name in network.state_dict()}
    block, last = ["model.model"], network.depth - 1
    for i in range(last):
        block.append(f"{block[-1]}.{1 if i == 0 else 3}.model")
    place = {
        "down": lambda i: (i, 0 if i == 0 else 1),
        "down_norms": lambda i: (i + 1, 2),
        "up": lambda i: (i, 3 if i in (0, last) else 5),
        "up_norms": lambda i: (i + 1, 4 if i + 1 == last else 6),
    }
    table = {}
    for name in network.state_dict():
        part, index, leaf = name.split(".")
        i, number = place[part](int(index))
        table[name] = f"{block[i]}.{number}.{leaf}"
    return table


def load_official(network: nn.Module, path: Path) -> None:
    """Fill `network` with the official checkpoint at `path`; every name and shape must agree.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    fill(network, read_state(path), official_names(network), f"weights '{path}'", "such a network")


def network_of(state: State, thing: str) -> Network:
    """The generator that a checkpoint holds, as its names and shapes tell; `thing`: what messages call it.

    Dropout has no weights; of the U-Net's nothing is told, and it is taken to be there.

    Raises `PinxitError` where it is none of pix2pix's.
    """
    halvings = sorted((k for k in state if re.fullmatch(_HALVING, k)), key=len)
    if "model.model.3.weight" in state and len(halvings) >= 2:
        widths = [state[name].shape[0] for name in halvings]
        # Of batch norm there are scales, and in front of instance norm biases.
        batch = any(value.dim() == 1 and name.endswith(".weight") for name, value in state.items())
        return Network(
            generator="unet",
            depth=len(widths),
            width=widths[0],
            widest=max(widths) // widths[0],
            norm="batch" if batch else "instance" if "model.model.0.bias" in state else "none",
            input=Kind(state[halvings[0]].shape[1]),
            output=Kind(state["model.model.3.weight"].shape[1]),
        )
    found = resnet_of(state)
    if found is None:
        first = next(iter(state), "nothing")
        raise expected(thing, f"with {first}", "a U-Net or ResNet generator", "give a latest_net_G.pth of pix2pix")
    return Network(
        generator="resnet",
        width=found.width,
        blocks=found.blocks,
        norm=found.norm,
        dropout=found.dropout,
        input=Kind(found.channels_in),
        output=Kind(found.channels_out),
    )


def import_release(
    source: Path | Sequence[Path],
    preset: str | None = None,
    *,
    no_dropout: bool = False,
    direction: Direction | None = None,
    epoch: str = "latest",
) -> ModelFile:
    """Read what the official code saved: a folder with `<epoch>_net_G.pth`, or that file itself.

    `preset`: one of `RELEASES`. `no_dropout`, `direction`: see `config.Release`. The model keeps what the authors' test
    script does by default, the picture's own statistics, but for its dropout.

    Raises `PinxitError`.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    if len(sources) != 1:
        raise expected("what to import", f"{len(sources)} files", "one folder or one *_net_G.pth", "name one")
    path = sources[0] / f"{epoch}_net_G.pth" if sources[0].is_dir() else sources[0]
    if preset is not None and preset not in RELEASES:
        raise unknown_name("preset", preset, RELEASES)
    told: Mapping[str, Any] = {}
    for name in ("train_opt.txt", "opt.txt", "test_opt.txt"):
        if preset is None and not told and path.with_name(name).is_file():
            told = read_options(path.with_name(name))
    released, does = RELEASES[preset] if preset is not None else (None, None)
    state = read_state(path)
    network = network_of(state, f"weights '{path}'")
    if preset is not None and (network.generator, network.norm) != ("unet", "batch"):
        got = f"a {network.generator} with {network.norm} norm"
        raise expected(f"weights '{path}'", got, f"{preset}'s U-Net with batch norm", "leave out --preset")
    if network.generator == "unet":
        network = dataclasses.replace(network, dropout=not (no_dropout or told.get("no_dropout", False)))
    elif no_dropout and network.dropout:
        raise expected("--no-dropout", "given", "nothing, as the weights' numbers tell of dropout", "leave it out")
    network = dataclasses.replace(network, test_norm="picture", size=size_of(network))
    G = generator(network)
    fill(G, state, official_names(G), f"weights '{path}'", f"a {network.generator} generator as its shapes tell")
    tensors = {f"G.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    direction = direction or released or told.get("direction")
    card = {
        "source": f"weights of the authors' code, imported from {path.resolve().parent.name}/{path.name}",
        "licence": "the authors' code is BSD 2-Clause; of others' weights ask who trained them",
    }
    if direction is not None:
        card["data"] = f"{does or told.get('name', 'unknown')}, {direction}"
    return ModelFile("pix2pix", dataclasses.asdict(network), tensors, card=card)


def size_of(network: Network) -> tuple[int, int]:
    """What it was trained at, most likely: a U-Net down to one pixel."""
    side = 1 << network.depth if network.generator == "unet" else 256
    return side, side


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training, Direction]:
    """The official code's options (`train_opt.txt`, by their names there) as ours; what is missing has its default
    there.

    Raises `PinxitError` for an option that means another network.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    form = re.fullmatch(r"unet_(\d+)|resnet_(\d)blocks", o["netG"])
    if form is None:
        raise expected("netG", o["netG"], "unet_128, unet_256, resnet_6blocks or resnet_9blocks", "mend the options")
    if o["netD"] not in ("basic", "n_layers", "pixel"):
        raise unknown_name("netD", o["netD"], ("basic", "n_layers", "pixel"))
    if o["gan_mode"] not in _LOSSES:
        raise unknown_name("gan_mode", o["gan_mode"], _LOSSES)
    if o["norm"] not in ("batch", "instance", "none"):
        raise unknown_name("norm", o["norm"], ("batch", "instance", "none"))
    network = Network(
        generator="unet" if form[1] else "resnet",
        depth=int(form[1]).bit_length() - 1 if form[1] else Network.depth,
        blocks=int(form[2] or Network.blocks),
        width=o["ngf"],
        norm=o["norm"],
        dropout=not o["no_dropout"],
        test_norm="picture",
        size=(o["crop_size"], o["crop_size"]),
        input=Kind(o["input_nc"]),
        output=Kind(o["output_nc"]),
    )
    training = Training(
        batch=o["batch_size"],
        lr=o["lr"],
        betas=(o["beta1"], 0.999),
        adversarial=_LOSSES[o["gan_mode"]],  # type: ignore[arg-type]
        gradient_penalty=0.0,
        l1=o["lambda_L1"],
        discriminator="pixel" if o["netD"] == "pixel" else "patch",
        d_width=o["ndf"],
        d_layers=o["n_layers_D"] if o["netD"] == "n_layers" else 3,
        init=o["init_type"],
        init_gain=o["init_gain"],
        load_size=o["load_size"],
        flip=not o["no_flip"],
    )
    return network, training, o["direction"]


_HALVING = r"model\.model\.(0|1\.model\.(3\.model\.)*1)\.weight"
_LOSSES = {"vanilla": "original", "lsgan": "ls", "wgangp": "w"}
_DEFAULTS: dict[str, Any] = {
    "netG": "unet_256",
    "netD": "basic",
    "norm": "batch",
    "ngf": 64,
    "ndf": 64,
    "n_layers_D": 3,
    "input_nc": 3,
    "output_nc": 3,
    "no_dropout": False,
    "direction": "AtoB",
    "gan_mode": "vanilla",
    "lambda_L1": 100.0,
    "lr": 2e-4,
    "beta1": 0.5,
    "batch_size": 1,
    "init_type": "normal",
    "init_gain": 0.02,
    "crop_size": 256,
    "load_size": 286,
    "no_flip": False,
}
