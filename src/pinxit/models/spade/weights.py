"""The authors' releases: their options, their names for weights, and the strict table that reads them.

Names of files, options and tensors are facts read from checkpoints of the official code (github NVlabs/SPADE).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pinxit.data.labels import load_label_set, numbered
from pinxit.errors import expected, unknown_name
from pinxit.modelfile import ModelFile
from pinxit.models.spade.config import PRESETS, UPSAMPLINGS, Network, Training
from pinxit.models.spade.network import Encoder, Generator
from pinxit.official import fill, read_options, read_state, released_files
from pinxit.recipe import state_on_cpu

RELEASES = ("coco", "ade20k", "cityscapes")
"""Presets whose networks are those of the released checkpoints."""

# Ours -> theirs. The first rule that matches rewrites its part of the name; all rules are tried in turn.
_G_NAMES = (
    (r"^first\.", "fc."),
    (r"^head\.", "head_0."),
    (r"^middle\.(\d)\.", r"G_middle_\1."),
    (r"^up\.(\d)\.", r"up_\1."),
    (r"^to_picture\.", "conv_img."),
    (r"(norm_[01s])\.norm\.", r"\1.param_free_norm."),
    (r"\.shared\.", ".mlp_shared.0."),
    (r"\.(gamma|beta)\.", r".mlp_\1."),
)
_E_NAMES = ((r"^mean\.", "fc_mu."), (r"^log_variance\.", "fc_var."))
_D_NAMES = ((r"^scales\.(\d+)\.", r"discriminator_\1."), (r"(_\d+)\.first\.", r"\1.model0.0."))
_SPECTRAL = {"weight": "weight_orig", "u": "weight_u", "v": "weight_v"}


def official_names(network: nn.Module, norm: str = "instance") -> dict[str, str]:
    """Our name -> the official code's, for every weight and buffer of a Generator, Encoder or Discriminator.

    `norm`: the normalisation inside an Encoder or Discriminator; where there is one, the official code wraps each
    convolution and its norm once more.
    """
    ours = network.state_dict()
    inner, outer = (".0", ".1") if norm != "none" else ("", None)
    table = {}
    for name in ours:
        official = name
        if isinstance(network, Generator):
            rules = _G_NAMES
        elif isinstance(network, Encoder):
            rules = _E_NAMES
            official = _numbered(official, r"^layers\.(\d+)", "layer", inner, outer)
        else:
            rules = _D_NAMES
            official = _numbered(official, r"(?<=\.)layers\.(\d+)", "model", ".0" + inner, ".0" + (outer or ""))
            last = len(network.get_submodule("scales.0.layers")) + 1  # type: ignore[arg-type]
            official = official.replace(".logits.", f".model{last}.0.")
        for pattern, replacement in rules:
            official = re.sub(pattern, replacement, official)
        stem, leaf = official.rsplit(".", 1)
        if f"{name.rsplit('.', 1)[0]}.u" in ours:
            leaf = _SPECTRAL.get(leaf, leaf)
        table[name] = f"{stem}.{leaf}"
    return table


def _numbered(name: str, pattern: str, word: str, conv: str, norm: str | None) -> str:
    """`layers.0.conv.` -> `<word>1<conv>.`, `layers.0.norm.` -> `<word>1<norm>.`; the authors count from 1."""
    match = re.search(pattern + r"\.(conv|norm)\.", name)
    if not match:
        return name
    return (
        name[: match.start()]
        + f"{word}{int(match[1]) + 1}{conv if match[2] == 'conv' else norm}."
        + name[match.end() :]
    )


def load_official(network: nn.Module, path: Path, norm: str = "instance") -> None:
    """Fill `network` with the official checkpoint at `path`; every name and shape must agree.

    Raises `PinxitError` for a file that is damaged, holds code, or belongs to another network.
    """
    # SPADE's batch norms have no weights, so that their statistics look like those of old instance norms.
    fill(
        network,
        read_state(path),
        official_names(network, norm),
        f"weights '{path}'",
        f"a SPADE {type(network).__name__} of this preset",
        advice="check --preset, or that this is the right file",
        old_norms=False,
    )


def import_release(
    source: Path | Sequence[Path],
    preset: str | None,
    *,
    label_set: str | None = None,
    epoch: str = "latest",
) -> ModelFile:
    """Read what the official code saved: a folder, or the files themselves.

    `source`: a folder with `<epoch>_net_G.pth` (and `<epoch>_net_E.pth` where the model has styles), or such files.
    `preset`: one of `RELEASES`; None reads the options from the `opt.txt` that training there writes beside them.
    `opt.pkl` is never opened. `label_set`: name or file of the set the labels mean; by default the release's own, or
    plain numbers with 255 for unknown.

    Raises `PinxitError`.
    """
    generator, encoder = released_files([source] if isinstance(source, Path) else source, epoch)
    options = generator.with_name("opt.txt")
    if preset is not None:
        if preset not in RELEASES:
            raise unknown_name("preset", preset, RELEASES)
        network = PRESETS[preset].network
    elif options.is_file():
        network, _ = from_options(read_options(options))
    else:
        raise expected("--preset", "missing", f"one of {', '.join(RELEASES)}", "name it, as there is no opt.txt")
    if network.vae and encoder is None and generator.is_file():
        raise expected(f"folder '{generator.parent}'", "without *_net_E.pth", "the style encoder too", "add the file")
    network = dataclasses.replace(network, vae=encoder is not None)
    G = Generator(network)
    load_official(G, generator)
    tensors = {f"G.{k}": v for k, v in state_on_cpu(G.state_dict()).items()}
    if encoder is not None:
        E = Encoder(network)
        load_official(E, encoder, network.encoder_norm)
        tensors |= {f"E.{k}": v for k, v in state_on_cpu(E.state_dict()).items()}
    card = {
        "source": f"weights of the authors' code, imported from {generator.parent.resolve().name}/{generator.name}",
        "licence": "NVIDIA's released weights: CC BY-NC-SA 4.0; others: as whoever trained them says",
    }
    name = label_set or (PRESETS[preset].data.label_set if preset else None)
    labels = load_label_set(name) if name else numbered(network.labels, (255,) if network.unknown else ())
    if len(labels.labels) != network.labels:
        got = f"{len(labels.labels)} labels"
        raise expected(
            f"label set {labels.name!r}", got, f"{network.labels} as the weights", "name the set they were for"
        )
    return ModelFile("spade", dataclasses.asdict(network), tensors, labels.to_json(), card)


def from_options(options: Mapping[str, Any]) -> tuple[Network, Training]:
    """The official code's options (`opt.txt`, by their names there) as ours; what is missing has its default there.

    Raises `PinxitError` for an option that means another network, such as SPADE's pix2pixHD ablation.
    """
    o: dict[str, Any] = {**_DEFAULTS, **options}
    if o["netG"] != "spade":
        raise expected("netG", o["netG"], "spade", "only SPADE's own generator is read here")
    spade = re.fullmatch(r"(spectral)?spade(syncbatch|batch|instance)(\d)x\d", o["norm_G"])
    if not spade:
        raise expected("norm_G", o["norm_G"], "like spectralspadesyncbatch3x3", "mend opt.txt")
    if o["num_upsampling_layers"] not in UPSAMPLINGS:
        raise unknown_name("num_upsampling_layers", o["num_upsampling_layers"], UPSAMPLINGS)
    doublings = UPSAMPLINGS[o["num_upsampling_layers"]]
    columns = o["crop_size"] >> doublings
    size = (round(columns / o["aspect_ratio"]) << doublings, columns << doublings)
    d_spectral, d_norm = _plain_norm("norm_D", o["norm_D"])
    network = Network(
        labels=o["label_nc"],
        unknown=o["contain_dontcare_label"],
        instances=not o["no_instance"],
        size=size,
        upsamplings=o["num_upsampling_layers"],
        width=o["ngf"],
        norm={"syncbatch": "sync_batch"}.get(spade[2], spade[2]),  # type: ignore[arg-type]
        kernel=int(spade[3]),  # type: ignore[arg-type]
        spectral=spade[1] is not None,
        vae=o["use_vae"],
        z_dim=o["z_dim"],
        encoder_norm=_plain_norm("norm_E", o["norm_E"])[1],
    )
    training = Training(
        batch=o["batchSize"],
        lr=o["lr"],
        ttur=not o["no_TTUR"],
        betas=(o["beta1"], o["beta2"]) if "beta1" in o else None,
        adversarial=o["gan_mode"],
        feature_matching=0.0 if o["no_ganFeat_loss"] else o["lambda_feat"],
        perceptual=0.0 if o["no_vgg_loss"] else o["lambda_vgg"],
        kl=o["lambda_kld"],
        d_width=o["ndf"],
        d_layers=o["n_layers_D"],
        d_scales=o["num_D"],
        d_norm=d_norm,
        d_spectral=d_spectral,
        init=o["init_type"],
        init_gain=o["init_variance"],
    )
    return network, training


def _plain_norm(option: str, text: str) -> tuple[bool, Any]:
    match = re.fullmatch(r"(spectral)(instance|batch|sync_batch|none|)", text)
    if not match:
        raise expected(option, text, "like spectralinstance", "mend opt.txt")
    return True, {"sync_batch": "batch", "": "none"}.get(match[2], match[2])


_DEFAULTS: dict[str, Any] = {
    "netG": "spade",
    "norm_G": "spectralspadesyncbatch3x3",
    "norm_D": "spectralinstance",
    "norm_E": "spectralinstance",
    "num_upsampling_layers": "normal",
    "use_vae": False,
    "ngf": 64,
    "ndf": 64,
    "z_dim": 256,
    "label_nc": 182,
    "contain_dontcare_label": False,
    "no_instance": False,
    "crop_size": 512,
    "aspect_ratio": 1.0,
    "batchSize": 1,
    "lr": 2e-4,
    "no_TTUR": False,
    "gan_mode": "hinge",
    "no_ganFeat_loss": False,
    "lambda_feat": 10.0,
    "no_vgg_loss": False,
    "lambda_vgg": 10.0,
    "lambda_kld": 0.05,
    "n_layers_D": 4,
    "num_D": 2,
    "init_type": "xavier",
    "init_variance": 0.02,
}
