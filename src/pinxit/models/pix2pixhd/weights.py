"""What the authors' code saves: its options, its names for weights, and the strict table that reads them.

Names of files, options and tensors are facts read from checkpoints of the official code (github NVIDIA/pix2pixHD).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet, load_label_set, numbered
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Network, Training
from pinxit.models.pix2pixhd.network import Discriminator, Encoder, Generator
from pinxit.official import fill, read_options, read_state, released_files
from pinxit.recipe import state_on_cpu

CITYSCAPES = 35
"""Labels of the authors' released models."""


def official_names(network: nn.Module, intermediate: bool = True) -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer of a Generator, Encoder or Discriminator.

    `intermediate`: whether a Discriminator gave out its layers, as feature matching wants it; else the official code
    numbers all its modules in one row.
    """
    table = {}
    head = ("", 0)  # the last convolution belongs to the Sequential before it, numbered behind what is there
    if isinstance(network, Generator):
        last = network.enhancers[-1].get_submodule("up") if network.level else network.model
        assert isinstance(last, nn.Sequential)
        head = (f"model{network.level}_2" if network.level else "model", len(last))
    for name in network.state_dict():
        official = name
        if isinstance(network, Generator):
            official = re.sub(r"^head\.(\d+)", lambda m: f"{head[0]}.{head[1] + int(m[1])}", official)
            official = re.sub(r"^enhancers\.(\d+)\.down", lambda m: f"model{int(m[1]) + 1}_1", official)
            official = re.sub(r"^enhancers\.(\d+)\.up", lambda m: f"model{int(m[1]) + 1}_2", official)
        elif isinstance(network, Discriminator):
            match = re.fullmatch(r"scales\.(\d+)\.layers\.(\d+)\.(\d)\.(.+)", name)
            assert match is not None
            scale, layer, place = int(match[1]), int(match[2]), int(match[3])
            row = max(0, 3 * layer - 1) + place  # convolution and ReLU, then with a norm between them
            official = f"scale{scale}_layer{layer}.{place}" if intermediate else f"layer{scale}.{row}"
            official += f".{match[4]}"
        table[name] = official
    return table


def load_official(network: nn.Module, path: Path, *, intermediate: bool = True) -> None:
    """Fill `network` with the official checkpoint at `path`; every name and shape must agree.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    want = f"a pix2pixHD {type(network).__name__}"
    fill(network, read_state(path), official_names(network, intermediate), f"weights '{path}'", want)


def has_batch_norm(state: Mapping[str, Tensor]) -> bool:
    return any(name.endswith(".weight") and value.dim() == 1 for name, value in state.items())


def import_release(
    source: Path | Sequence[Path],
    *,
    label_set: str | None = None,
    pictures: bool = False,
    features: str = "instance",
    epoch: str = "latest",
) -> ModelFile:
    """Read what the official code saved: a folder, or the files themselves.

    `source`: a folder with `<epoch>_net_G.pth` (and `<epoch>_net_E.pth` where the model has features), or such files.
    The shapes of the weights tell the networks; `opt.txt` beside them, where there is one, which input channels mean
    what, else `label_set` does (a name, a file or a number), or `pictures` (label_nc 0). Without any of them the
    weights are taken for Cityscapes' 35 labels where these fit.

    Raises `PinxitError`.
    """
    generator, encoder = released_files([source] if isinstance(source, Path) else source, epoch)
    of_g = read_state(generator)
    of_e = None if encoder is None else read_state(encoder)
    options = generator.with_name("opt.txt")
    told = read_options(options) if options.is_file() else {}
    network = shapes_of(of_g, f"weights '{generator}'")
    if of_e is not None:
        kind = "label" if told.get("label_feat") is True else features
        network = encoder_shapes(dataclasses.replace(network, features=kind), of_e, f"weights '{encoder}'")  # type: ignore[arg-type]
    channels = of_g["model.1.weight"].shape[1] - (0 if of_e is None else network.feature_channels)
    network, labels = inputs_of(network, channels, told, label_set, pictures)
    G = Generator(network)
    load_official(G, generator)
    tensors = {f"G.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    if encoder is not None:
        E = Encoder(network)
        load_official(E, encoder)
        tensors |= {f"E.{k}": v for k, v in state_on_cpu(E.state_dict()).items()}
    card = {
        "source": f"weights of the authors' code, imported from {generator.parent.resolve().name}/{generator.name}",
        "licence": "NVIDIA's released weights: CC BY-NC-SA 4.0; others: as whoever trained them says",
    }
    config = dataclasses.asdict(network)
    return ModelFile("pix2pixhd", config, tensors, None if labels is None else labels.to_json(), card)


def shapes_of(state: Mapping[str, Tensor], thing: str) -> Network:
    """The network of a generator's state dict, but for what its input channels mean.

    Raises `PinxitError` where it is none of pix2pixHD's.
    """
    enhancers = max((int(m[1]) for name in state if (m := re.match(r"model(\d+)_1\.", name))), default=0)
    try:
        width = state["model.1.weight"].shape[0]
        last = sequence(state, f"model{enhancers}_2." if enhancers else "model.")[-1]
        return Network(
            width=width >> enhancers,
            downsamplings=halvings(state, "model."),
            blocks=blocks(state, "model."),
            enhancers=enhancers,
            enhancer_blocks=blocks(state, "model1_2.") if enhancers else 3,
            norm="batch" if has_batch_norm(state) else "instance",
            input=None,
            output=Kind(channels=last.shape[0]),
            size=(512 << enhancers, 1024 << enhancers),
        )
    except (KeyError, IndexError, PinxitError) as error:
        want = "a generator of pix2pixHD (model.1.weight, ...)"
        raise expected(thing, "of other names", want, "use the latest_net_G.pth") from error


def encoder_shapes(network: Network, state: Mapping[str, Tensor], thing: str) -> Network:
    try:
        return dataclasses.replace(
            network,
            encoder_width=state["model.1.weight"].shape[0],
            encoder_downsamplings=halvings(state, "model."),
            feature_channels=sequence(state, "model.")[-1].shape[0],
        )
    except (KeyError, IndexError, PinxitError) as error:
        want = "an encoder of pix2pixHD (model.1.weight, ...)"
        raise expected(thing, "of other names", want, "use the latest_net_E.pth") from error


def sequence(state: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """The convolutions directly in a Sequential, in its order."""
    found = {
        int(m[1]): v for k, v in state.items() if v.dim() == 4 and (m := re.fullmatch(rf"{prefix}(\d+)\.weight", k))
    }
    return [found[i] for i in sorted(found)]


def halvings(state: Mapping[str, Tensor], prefix: str) -> int:
    """Convolutions between the first and the last are as many that halve as that double; the last may be elsewhere."""
    return sum(weight.shape[2] == 3 for weight in sequence(state, prefix)) // 2


def blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({m[1] for name in state if (m := re.match(rf"{prefix}(\d+)\.conv_block\.", name))})


def inputs_of(
    network: Network, channels: int, told: Mapping[str, Any], label_set: str | None, pictures: bool
) -> tuple[Network, LabelSet | None]:
    """The network with its `channels` of input explained, and the label set where there is one.

    Raises `PinxitError`.
    """
    given = None if label_set is None else load_label_set(label_set)
    if "label_nc" in told:
        labels, boundary = int(told["label_nc"]), not told.get("no_instance", False)
        pictures = labels == 0
        if channels - boundary != (int(told.get("input_nc", 3)) if pictures else labels):
            got = f"{labels} labels" + " and instances" * boundary
            raise expected(
                "opt.txt", f"of {got}", f"{channels} input channels as the weights", "put the right one there"
            )
    elif pictures:
        labels, boundary = 0, channels in (2, 4)
    elif given is not None:
        labels = len(given.labels) + (bool(given.ignore) and channels > len(given.labels))
        boundary = channels > labels
    elif channels - CITYSCAPES in (0, 1):
        labels, boundary = CITYSCAPES, channels > CITYSCAPES
    else:
        got = f"missing, for weights of {channels} input channels"
        want = f"a label set of {channels - 1} labels and instances, or {channels} without"
        raise expected("--label-set", got, want, "name it, or --pictures")
    network = dataclasses.replace(network, instances=boundary)
    if pictures:
        return dataclasses.replace(network, source="pictures", input=Kind(channels=channels - boundary)), None
    known = given or (load_label_set("cityscapes") if labels == CITYSCAPES else numbered(labels))
    unknown = bool(known.ignore) and labels == len(known.labels) + 1
    if labels + boundary != channels or len(known.labels) + unknown != labels:
        want = f"{channels} input channels as the weights, with instances or without"
        raise expected(f"label set {known.name!r}", f"{len(known.labels)} labels", want, "name the set they were for")
    if not unknown:
        known = dataclasses.replace(known, ignore=())
    return dataclasses.replace(network, labels=len(known.labels), unknown=unknown), known


def from_options(o: Mapping[str, Any]) -> tuple[Network, Training]:
    """The official code's options (by their names there) as ours.

    Raises `PinxitError` for an option that means another network.
    """
    if o["netG"] not in ("global", "local"):
        raise expected("netG", o["netG"], "global or local", "mend the options")
    boundary, pictures = not o["no_instance"], o["label_nc"] == 0
    network = Network(
        source="pictures" if pictures else "labels",
        labels=o["label_nc"],
        instances=boundary,
        input=Kind(channels=o["input_nc"]) if pictures else None,
        output=Kind(channels=o["output_nc"]),
        width=o["ngf"],
        downsamplings=o["n_downsample_global"],
        blocks=o["n_blocks_global"],
        enhancers=o["n_local_enhancers"] if o["netG"] == "local" else 0,
        enhancer_blocks=o["n_blocks_local"],
        norm=o["norm"],
        features="label" if o["label_feat"] else "instance" if o["instance_feat"] else "none",
        feature_channels=o["feat_num"],
        encoder_width=o["nef"],
        encoder_downsamplings=o["n_downsample_E"],
    )
    training = Training(
        lr=o["lr"],
        betas=(o["beta1"], 0.999),
        adversarial="original" if o["no_lsgan"] else "ls",
        feature_matching=0.0 if o["no_ganFeat_loss"] else o["lambda_feat"],
        perceptual=0.0 if o["no_vgg_loss"] else o["lambda_feat"],
        d_width=o["ndf"],
        d_layers=o["n_layers_D"],
        d_scales=o["num_D"],
        pool=o["pool_size"],
    )
    return network, training
