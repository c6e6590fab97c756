"""Checkpoints of the authors' PyTorch code, and the strict table of names that reads them.

Names of files, options and tensors are facts read from checkpoints of github hanzhanggit/StackGAN-Pytorch (MIT). The
TensorFlow code's checkpoints are of another form and other networks; they are not read.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.models.stackgan.config import Network, Training
from pinxit.models.stackgan.network import GRID, Discriminator, StageOne, StageTwo
from pinxit.official import State, fill, read_state
from pinxit.recipe import state_on_cpu
from pinxit.text.training import PRECOMPUTED, Texts

PREFIX = "STAGE1_G."
"""What the names of Stage-I begin with in a file of Stage-II."""
FORM = "a netG_epoch_N.pth of StackGAN-Pytorch"

_NAMES: tuple[tuple[str, str], ...] = (
    (r"^ca\.", "ca_net."),
    (r"^fc\.", "fc.0."),
    (r"^norm\.", "fc.1."),
    (r"^joint\.", "hr_joint."),
    (r"^image\.", "img.0."),
    (r"^encode\.", "encode_img."),
    (r"^with_text\.", "get_cond_logits.outlogits."),
    (r"^alone\.", "get_uncond_logits.outlogits."),
)
"""How our names begin -> theirs. Blocks of upsampling are counted from 1 there."""


def official_names(network: nn.Module) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer."""
    names = {}
    for name in network.state_dict():
        theirs = re.sub(r"^upsample\.(\d+)\.", lambda match: f"upsample{int(match[1]) + 1}.", name)
        for ours, official in _NAMES:
            theirs = re.sub(ours, official, theirs)
        names[name] = theirs
    return names


def load_official(network: StageOne | StageTwo | Discriminator, state: Mapping[str, Tensor], thing: str) -> None:
    """Fill a network from a state dict; every name and shape must agree. `thing`: what messages call it.

    Raises `PinxitError`.
    """
    fill(network, state, official_names(network), thing, "such a network", old_norms=False)


def split(state: State) -> tuple[State, State | None]:
    """A generator's state dict -> Stage-I's part of it, and Stage-II's where it is one of Stage-II."""
    first = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    if not first:
        return state, None
    return first, {name: value for name, value in state.items() if not name.startswith(PREFIX)}


def network_of(first: State, second: State | None, thing: str) -> Network:
    """The network that a generator's state dicts are of, as their names and shapes tell.

    Raises `PinxitError` where they are none of StackGAN's.
    """
    shapes = {name: tuple(value.shape) for name, value in first.items()}
    try:
        condition, text = shapes["ca_net.fc.weight"]
        condition //= 2
        told: dict[str, Any] = {
            "text_dim": text,
            "z_dim": shapes["fc.0.weight"][1] - condition,
            "condition_dim": condition,
            "g_width": shapes["upsample1.1.weight"][1] // 8,
        }
        if second is not None:
            shapes = {name: tuple(value.shape) for name, value in second.items()}
            told |= {"stage1_width": told["g_width"], "stage1_condition": condition}
            told["condition_dim"] = shapes["ca_net.fc.weight"][0] // 2
            told["g_width"] = shapes["encoder.0.weight"][0]
            told["residuals"] = sum(bool(re.fullmatch(r"residual\.\d+\.block\.0\.weight", name)) for name in second)
            told["size"] = GRID << sum(bool(re.fullmatch(r"upsample\d+\.1\.weight", name)) for name in second)
    except (KeyError, ValueError, IndexError) as error:
        raise expected(thing, f"without {error}", FORM, "check that this is the right file") from error
    return Network(**told)


def import_release(source: Path | Sequence[Path]) -> ModelFile:
    """Read a generator of either stage, of any widths; one of Stage-II brings its Stage-I.

    `source`: the file, or a folder of a training with netG_epoch_N.pth, of which the last is taken. Discriminators
    judge while training alone, and are passed over. Raises `PinxitError`.
    """
    path = file_in([source] if isinstance(source, Path) else list(source))
    thing = f"weights '{path}'"
    first, second = split(read_state(path))
    network = network_of(first, second, thing)
    G1 = StageOne(network)
    load_official(G1, first, thing)
    tensors = {f"G1.{name}": value for name, value in state_on_cpu(G1.state_dict()).items()}
    if second is not None:
        G2 = StageTwo(network)
        load_official(G2, second, thing)
        tensors |= {f"G2.{name}": value for name, value in state_on_cpu(G2.state_dict()).items()}
    card = {
        "source": f"weights of StackGAN-Pytorch, imported from {path.resolve().parent.name}/{path.name}",
        "licence": "the authors' code is MIT; of weights ask who trained them",
    }
    # The file does not tell which embeddings it was trained on: whoever samples names an encoder of the same width.
    texts = Texts(PRECOMPUTED, network.text_dim, pictures=False, opened=False)
    config = {**dataclasses.asdict(network), "stages": 1 if second is None else 2, **texts.described()}
    return ModelFile("stackgan", config, tensors, card=card)


def file_in(paths: list[Path]) -> Path:
    """The generator's file. Raises `PinxitError`."""
    if len(paths) != 1:
        raise expected("the release", f"{len(paths)} files", FORM, "name the one of the generator")
    if not paths[0].is_dir():
        return paths[0]
    found = {int(m[1]): p for p in paths[0].iterdir() if (m := re.fullmatch(r"netG_epoch_(\d+)\.pth", p.name))}
    if not found:
        raise expected(f"folder '{paths[0]}'", "without netG_epoch_N.pth", "one of them", "check the path")
    return found[max(found)]


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training, int]:
    """The official code's options, by their names there, as ours, and the stage; what is missing has its default there.

    Raises `PinxitError`.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    if tuple(o["betas"]) != (0.5, 0.999):
        raise expected("betas", o["betas"], "0.5, 0.999", "mend the options")
    stage = int(o["STAGE"])
    network = Network(
        size=256 if stage == 1 else int(o["IMSIZE"]),
        z_dim=o["Z_DIM"],
        text_dim=o["TEXT.DIMENSION"],
        condition_dim=o["GAN.CONDITION_DIM"],
        g_width=o["GAN.GF_DIM"],
        d_width=o["GAN.DF_DIM"],
        residuals=o["GAN.R_NUM"],
    )
    schedule = {f"stage{stage}_batch": o["batch"]}
    training = Training(stages=1 if stage == 1 else 2, lr=o["lr"], kl=o["COEFF.KL"], **schedule)
    return network, training, stage


_DEFAULTS: dict[str, Any] = {
    "STAGE": 1,
    "IMSIZE": 256,
    "Z_DIM": 100,
    "TEXT.DIMENSION": 1024,
    "GAN.CONDITION_DIM": 128,
    "GAN.GF_DIM": 128,
    "GAN.DF_DIM": 64,
    "GAN.R_NUM": 4,
    "COEFF.KL": 2.0,
    "lr": 2e-4,
    "betas": (0.5, 0.999),
    "batch": 64,
}
