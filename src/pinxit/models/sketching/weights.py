"""What the official code saved: a customised generator, with its discriminator of pictures.

Names of files, options and tensors are facts read from checkpoints of github PeterWang512/GANSketching (MIT). Its
networks are those of the PyTorch form of StyleGAN2 that `pinxit.models.stylegan2.weights` reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pinxit.errors import expected, unknown_name
from pinxit.modelfile import ModelFile
from pinxit.models.sketching.config import Change, Training
from pinxit.models.stylegan2.generate import network_of
from pinxit.models.stylegan2.network import Discriminator
from pinxit.models.stylegan2.weights import import_release as import_stylegan2
from pinxit.models.stylegan2.weights import load_official, read_checkpoint
from pinxit.recipe import state_on_cpu

FORM = "a folder with ITERATION_net_G.pth, or that file and, where it is at hand, ITERATION_net_D_image.pth"


def import_release(source: Path | Sequence[Path], *, iteration: str = "best", mapping_rate: float = 0.01) -> ModelFile:
    """Read a customised generator as a model of StyleGAN2: a folder of checkpoints, or the files of the generator and
    of a discriminator of pictures (the pretrained netG.pth and netD.pth are such too).

    Raises `PinxitError`.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    if len(paths) == 1 and paths[0].is_dir():
        paths = files_in(paths[0], iteration)
    if not 1 <= len(paths) <= 2:
        raise expected("the release", f"{len(paths)} files", FORM, "name these")
    held = [(path, read_checkpoint(path)) for path in paths]
    generators = [path for path, states in held if "g_ema" in states]
    discriminators = [(path, states["d"]) for path, states in held if "d" in states and path not in generators]
    if len(generators) != 1:
        raise expected("the release", f"{len(generators)} generators", FORM, "name one")
    file = import_stylegan2(generators[0], mapping_rate=mapping_rate)
    tensors = dict(file.tensors)
    for path, state in discriminators:
        network = network_of(file)
        size = 4 << sum(bool(re.fullmatch(r"convs\.\d+\.skip\.1\.weight", name)) for name in state)
        if size != network.size:
            want = f"{network.size}, as the generator's pictures"
            raise expected(f"size of weights '{path}'", f"{size} pixels", want, "name the one that belongs to it")
        D = Discriminator(network)
        load_official(D, state, f"weights '{path}'")
        tensors |= {f"D.{name}": value for name, value in state_on_cpu(D.state_dict()).items()}
    where = generators[0].resolve()
    card = {
        "source": f"weights of the authors' code of GAN Sketching, imported from {where.parent.name}/{where.name}",
        "licence": "the authors' code is MIT; of weights ask who trained them, and those that they began with",
    }
    return replace(file, tensors=tensors, card=card)


def files_in(folder: Path, iteration: str) -> list[Path]:
    """The generator of an iteration in a folder of checkpoints, and its discriminator of pictures where there is one.

    Raises `PinxitError`.
    """
    found = {m[1]: path for path in folder.iterdir() if (m := re.fullmatch(r"(\d+)_net_G\.pth", path.name))}
    if not found:
        raise expected(f"folder '{folder}'", "without ITERATION_net_G.pth", FORM, "check the path")
    told = folder / "best_iter.txt"
    if iteration == "best":
        iteration = (
            told.read_text(encoding="utf-8", errors="replace").strip() if told.is_file() else max(found, key=int)
        )
    if iteration not in found:
        raise unknown_name(f"iteration in '{folder}'", iteration, found)
    D = folder / f"{iteration}_net_D_image.pth"
    return [found[iteration], *([D] if D.is_file() else [])]


def from_options(options: Mapping[str, Any]) -> Training:
    """The official code's options, by their names there, as ours; what is missing has its default there.

    The average, which the official code has not, is off. Raises `PinxitError` for an option of another objective.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    for name, known in (("optim_param_g", _TRAINED), ("gan_mode", _LOSSES)):
        if o[name] not in known:
            raise unknown_name(name, o[name], known)
    if o["beta1"] != 0 or o["beta2"] != 0.99:
        raise expected("beta1, beta2", f"{o['beta1']}, {o['beta2']}", "0, 0.99", "mend the options")
    return Training(
        steps=o["max_iter"],
        batch=o["batch"],
        lr=o["lr"],
        train=_TRAINED[o["optim_param_g"]],
        image=o["l_image"],
        weight=o["l_weight"],
        adversarial=_LOSSES[o["gan_mode"]],
        r1=o["r1"],
        r1_every=0 if o["no_d_regularize"] else o["d_reg_every"],
        mixing=o["mixing"],
        augment=tuple(policy for policy in o["diffaug_policy"].split(",") if policy),
        sketch_discriminator="fresh" if o["dsketch_no_pretrain"] else "original",
        drawn=_changes("transform_fake", o["transform_fake"]),
        given=_changes("transform_real", o["transform_real"]),
        ema=0.0,
        keep="last",
    )


def _changes(name: str, told: str) -> tuple[Change, ...]:
    """A list of transforms as ours; which channel is repeated when makes no difference, so that it is left out."""
    changes: list[Change] = []
    for part in told.split(","):
        if part == "toSketch":
            changes.append("contour")
        elif match := re.fullmatch(r"(up|down)(\d+)", part):
            change: Change = "up" if match[1] == "up" else "down"
            changes.extend(change for _ in range(int(match[2])))
        elif part != "to3ch":
            raise unknown_name(f"transform in {name}", part, ("toSketch", "to3ch", "up1", "down1"))
    return tuple(changes)


_TRAINED: dict[str, Any] = {"style": "mapping", "w_shift": "shift"}
_LOSSES: dict[str, Any] = {"softplus": "original", "original": "original", "hinge": "hinge", "ls": "ls", "w": "w"}
_DEFAULTS: dict[str, Any] = {
    "max_iter": 75_001,
    "batch": 4,
    "mixing": 0.9,
    "optim_param_g": "style",
    "dsketch_no_pretrain": False,
    "lr": 0.002,
    "beta1": 0.0,
    "beta2": 0.99,
    "gan_mode": "softplus",
    "l_image": 0,
    "l_weight": 0,
    "no_d_regularize": False,
    "d_reg_every": 16,
    "r1": 10,
    "transform_real": "to3ch",
    "transform_fake": "toSketch,to3ch",
    "diffaug_policy": "",
}
