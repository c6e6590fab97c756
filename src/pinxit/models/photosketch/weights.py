"""The authors' release: its options, its names for weights, and the strict table that reads them.

Names of files, options and tensors are facts read from checkpoints of the official code (github mtli/PhotoSketch).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pinxit.errors import expected, unknown_name
from pinxit.modelfile import ModelFile
from pinxit.models.photosketch.config import Network, Training
from pinxit.models.photosketch.network import generator
from pinxit.nn.resnet import resnet_of
from pinxit.official import State, fill, read_state
from pinxit.recipe import state_on_cpu


def official_names(network: nn.Module) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer of a generator or discriminator: the same."""
    return {name: name for name in network.state_dict()}


def load_official(network: nn.Module, path: Path) -> None:
    """Fill `network` with the official checkpoint at `path`; every name and shape must agree.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    fill(network, read_state(path), official_names(network), f"weights '{path}'", "such a network")


def network_of(state: State, thing: str) -> Network:
    """The generator that a checkpoint holds, as its names and shapes tell; `thing`: what messages call it.

    Raises `PinxitError` where it is none of PhotoSketch's.
    """
    found = resnet_of(state)
    if found is None or not found.dropout or found.norm == "none":
        first = next(iter(state), "nothing")
        got = f"with {first}" if found is None else "a ResNet generator of another method"
        raise expected(thing, got, "a ResNet generator of PhotoSketch", "give its latest_net_G.pth")
    if (found.channels_in, found.channels_out) != (3, 1):
        got = f"of {found.channels_in} channels in and {found.channels_out} out"
        raise expected(thing, got, "3 in and 1 out", "is it one of pix2pix? then use pinxit import pix2pix")
    return Network(width=found.width, blocks=found.blocks, norm=found.norm)


def import_release(source: Path | Sequence[Path], *, epoch: str = "latest") -> ModelFile:
    """Read what the official code saved: a folder with `<epoch>_net_G.pth`, or that file itself, of any name.

    The model keeps what the authors' test script does, the picture's own statistics.

    Raises `PinxitError`.
    """
    sources = [source] if isinstance(source, Path) else list(source)
    if len(sources) != 1:
        raise expected("what to import", f"{len(sources)} files", "one folder or one *_net_G.pth", "name one")
    path = sources[0] / f"{epoch}_net_G.pth" if sources[0].is_dir() else sources[0]
    state = read_state(path)
    network = network_of(state, f"weights '{path}'")
    G = generator(network)
    fill(G, state, official_names(G), f"weights '{path}'", "PhotoSketch's generator as its shapes tell")
    card = {
        "source": f"weights of the authors' code, imported from {path.resolve().parent.name}/{path.name}",
        "licence": "the authors' code is BSD 3-Clause; of others' weights ask who trained them",
        "data": "photos to contour drawings",
    }
    tensors = {f"G.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    return ModelFile("photosketch", dataclasses.asdict(network), tensors, card=card)


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training]:
    """The official code's options, by their names there, as ours; what is missing has its default there, but for a
    history of fakes (`pool_size`), which its training script turns off.

    Raises `PinxitError` for an option that means another network or another objective.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    if o["which_model_netG"] not in _BLOCKS:
        raise unknown_name("which_model_netG", o["which_model_netG"], _BLOCKS)
    if o["which_model_netD"] not in ("basic", "n_layers", "global_np"):
        raise unknown_name("which_model_netD", o["which_model_netD"], ("basic", "n_layers", "global_np"))
    if o["norm"] not in ("batch", "instance"):
        raise unknown_name("norm", o["norm"], ("batch", "instance"))
    for name, want in (("input_nc", 3), ("output_nc", 1), ("pool_size", 0)):
        if o[name] != want:
            raise expected(name, o[name], want, "mend the options")
    side = o["fineSize"]
    network = Network(
        width=o["ngf"],
        blocks=_BLOCKS[o["which_model_netG"]],
        norm=o["norm"],
        dropout=not o["no_dropout"],
        size=(side,) * 2,
    )
    training = Training(
        batch=o["batchSize"],
        references=o["nGT"],
        lr=o["lr"],
        betas=(o["beta1"], 0.999),
        adversarial="original" if o["no_lsgan"] else "ls",
        gan=o["lambda_G"],
        l1=o["lambda_A"],
        discriminator="global" if o["which_model_netD"] == "global_np" else "patch",
        d_width=o["ndf"],
        d_layers=o["n_layers_D"] if o["which_model_netD"] == "n_layers" else 3,
        init=o["init_type"],
        load_size=o["loadSize"],
        flip=not o["no_flip"],
    )
    return network, training


_BLOCKS = {"resnet_6blocks": 6, "resnet_9blocks": 9}
_DEFAULTS: dict[str, Any] = {
    "which_model_netG": "resnet_9blocks",
    "which_model_netD": "basic",
    "norm": "instance",
    "ngf": 64,
    "ndf": 64,
    "n_layers_D": 3,
    "input_nc": 3,
    "output_nc": 3,
    "no_dropout": False,
    "no_lsgan": False,
    "lambda_G": 1.0,
    "lambda_A": 10.0,
    "lr": 2e-4,
    "beta1": 0.5,
    "batchSize": 1,
    "nGT": 5,
    "init_type": "normal",
    "loadSize": 286,
    "fineSize": 256,
    "no_flip": False,
    "pool_size": 0,
}
