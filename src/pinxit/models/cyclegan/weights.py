"""The authors' releases: their options, and their files as model files.

Names of files, options and tensors are facts read from checkpoints of the official code (github
junyanz/pytorch-CycleGAN-and-pix2pix). The names of weights are ours too (see `nn.resnet`, `nn.patchgan`), so that the
table of names is the identity.
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
from pinxit.models.cyclegan.config import RELEASES, Direction, Network, Training
from pinxit.models.cyclegan.network import generator
from pinxit.nn.resnet import resnet_of
from pinxit.official import State, fill, read_options, read_state
from pinxit.recipe import state_on_cpu


def official_names(network: nn.Module) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer."""
    return {name: name for name in network.state_dict()}


def load_official(network: nn.Module, path: Path) -> None:
    """Fill `network` with the official checkpoint at `path`; every name and shape must agree.

    Statistics of instance norms, which files of PyTorch before 0.4 have, are passed over: nothing ever read them.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    fill(network, read_state(path), official_names(network), f"weights '{path}'", "such a network")


def network_of(state: State, direction: Direction, thing: str) -> Network:
    """The generator that a checkpoint holds, as its names and shapes tell; `thing`: what messages call it.

    Raises `PinxitError` where it is no ResNet of two halvings.
    """
    found = resnet_of(state)
    if found is None:
        first = next(iter(state), "nothing")
        raise expected(thing, f"with {first}", "a ResNet generator", "give a latest_net_G*.pth of CycleGAN")
    into, out = Kind(found.channels_in), Kind(found.channels_out)
    return Network(
        blocks=found.blocks,
        width=found.width,
        norm=found.norm,
        dropout=found.dropout,
        test_norm="picture",
        directions=(direction,),
        a=into if direction == "AtoB" else out,
        b=out if direction == "AtoB" else into,
    )


def import_release(
    source: Path | Sequence[Path],
    preset: str | None = None,
    *,
    direction: Direction | None = None,
    epoch: str = "latest",
) -> ModelFile:
    """Read what the official code saved: a folder, or the files themselves.

    `source`: a folder with `<epoch>_net_G_A.pth` and `<epoch>_net_G_B.pth`, as training leaves it, or one of them; or
    with `<epoch>_net_G.pth`, as the authors release it, of which `preset`, one of `RELEASES`, or `direction` tells
    where it goes; AtoB where neither does.

    Raises `PinxitError`.
    """
    if preset is not None and preset not in RELEASES:
        raise unknown_name("preset", preset, RELEASES)
    released, does = RELEASES[preset] if preset is not None else (None, None)
    if released and direction and released != direction:
        raise expected("--direction", direction, f"{released} as {preset} has it", "leave it out")
    files = files_of([source] if isinstance(source, Path) else list(source), epoch, direction or released)
    networks, states = [], {}
    for toward, path in files.items():
        states[toward] = read_state(path)
        networks.append(network_of(states[toward], toward, f"weights '{path}'"))
    network = dataclasses.replace(networks[0], directions=tuple(files))
    for other, path in zip(networks[1:], list(files.values())[1:], strict=True):
        if dataclasses.replace(other, directions=network.directions) != network:
            got, want = f"of {other.blocks} blocks of {other.width}", f"as '{files['AtoB']}', {network.blocks} blocks"
            raise expected(f"weights '{path}'", got, f"{want} of {network.width}", "import each by itself")
    if preset is not None and (network.norm, network.dropout) != ("instance", False):
        got = f"of {network.norm} norm" + (" and dropout" if network.dropout else "")
        raise expected("the generator", got, f"{preset}'s instance norm without dropout", "leave out --preset")
    tensors = {}
    for toward, path in files.items():
        G = generator(network, toward)
        fill(G, states[toward], official_names(G), f"weights '{path}'", "a ResNet generator as its shapes tell")
        tensors |= {f"{toward}.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    first = next(iter(files.values())).resolve()
    card = {
        "source": f"weights of the authors' code, imported from {first.parent.name}/{first.name}",
        "licence": "the authors' code is BSD 2-Clause; of others' weights ask who trained them",
    }
    if does is None and (options := first.with_name("train_opt.txt")).is_file():
        does = str(read_options(options).get("name", "unknown"))
    if does is not None:
        card["data"] = f"{does}, {' and '.join(files)}"
    return ModelFile("cyclegan", dataclasses.asdict(network), tensors, card=card)


def files_of(sources: Sequence[Path], epoch: str, direction: Direction | None) -> dict[Direction, Path]:
    """The generators' files by direction, AtoB first. Raises `PinxitError` where there are none, or two of one."""
    forms = "*_net_G_A.pth and *_net_G_B.pth, or *_net_G.pth"
    paths = list(sources)
    if len(paths) == 1 and paths[0].is_dir():
        paths = [p for part in ("G_A", "G_B", "G") if (p := sources[0] / f"{epoch}_net_{part}.pth").is_file()]
        if not paths:
            raise expected(f"folder '{sources[0]}'", f"without {epoch}_net_G*.pth", forms, "check --epoch or the path")
    found: dict[Direction, Path] = {}
    for path in paths:
        if not path.is_file():
            raise expected(f"'{path}'", "not a file" if path.exists() else "not there", forms, "check the path")
        part = re.search(r"_net_G_([AB])\.pth$", path.name)
        toward: Direction = (direction or "AtoB") if part is None else "AtoB" if part[1] == "A" else "BtoA"
        if toward in found:
            raise expected(f"'{path}'", f"{toward} as '{found[toward]}'", "one of each direction", "name one of them")
        found[toward] = path
    if direction is not None and direction not in found:
        raise expected("--direction", direction, f"{' or '.join(found)} as the file's name says", "leave it out")
    return dict(sorted(found.items()))


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training]:
    """The official code's options (`train_opt.txt`, by their names there) as ours; what is missing has its default
    there.

    Raises `PinxitError` for an option that means another network.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    form = re.fullmatch(r"resnet_(\d)blocks", o["netG"])
    if form is None:
        raise expected("netG", o["netG"], "resnet_6blocks or resnet_9blocks", "only CycleGAN's own is read here")
    for name, known in (("netD", ("basic", "n_layers", "pixel")), ("gan_mode", _LOSSES), ("norm", _NORMS)):
        if o[name] not in known:
            raise unknown_name(name, o[name], known)
    network = Network(
        blocks=int(form[1]),
        width=o["ngf"],
        norm=o["norm"],
        dropout=not o["no_dropout"],
        test_norm="picture",
        size=(o["crop_size"], o["crop_size"]),
        a=Kind(o["input_nc"]),
        b=Kind(o["output_nc"]),
    )
    training = Training(
        batch=o["batch_size"],
        lr=o["lr"],
        betas=(o["beta1"], 0.999),
        adversarial=_LOSSES[o["gan_mode"]],  # type: ignore[arg-type]
        cycle_a=o["lambda_A"],
        cycle_b=o["lambda_B"],
        identity=o["lambda_identity"],
        pool=o["pool_size"],
        discriminator="pixel" if o["netD"] == "pixel" else "patch",
        d_width=o["ndf"],
        d_layers=o["n_layers_D"] if o["netD"] == "n_layers" else 3,
        init=o["init_type"],
        init_gain=o["init_gain"],
        load_size=o["load_size"],
        flip=not o["no_flip"],
    )
    return network, training


_LOSSES = {"lsgan": "ls", "vanilla": "original", "wgangp": "w"}
_NORMS = ("batch", "instance", "none")
_DEFAULTS: dict[str, Any] = {
    "netG": "resnet_9blocks",
    "netD": "basic",
    "norm": "instance",
    "ngf": 64,
    "ndf": 64,
    "n_layers_D": 3,
    "input_nc": 3,
    "output_nc": 3,
    "no_dropout": True,
    "direction": "AtoB",
    "gan_mode": "lsgan",
    "lambda_A": 10.0,
    "lambda_B": 10.0,
    "lambda_identity": 0.5,
    "pool_size": 50,
    "lr": 2e-4,
    "beta1": 0.5,
    "batch_size": 1,
    "init_type": "normal",
    "init_gain": 0.02,
    "crop_size": 256,
    "load_size": 286,
    "no_flip": False,
}
