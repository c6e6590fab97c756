"""Reading the authors' releases: every name and shape must agree, and nothing in a file is ever executed.

That the right numbers come out is held to account in tests/parity; files here are written in the official form.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pinxit.errors import PinxitError
from pinxit.models.spade.config import PRESETS, Network, Options, Training
from pinxit.models.spade.generate import Model, network_of
from pinxit.models.spade.network import Discriminator, Encoder, Generator
from pinxit.models.spade.weights import from_options, import_release, load_official, official_names
from pinxit.official import read_options, read_state

TINY = Network(labels=3, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5)

NETWORKS = {
    "G": (lambda: Generator(TINY), "instance"),
    "G most": (
        lambda: Generator(dataclasses.replace(TINY, size=(128, 128), upsamplings="most", vae=False)),
        "instance",
    ),
    "G plain": (lambda: Generator(dataclasses.replace(TINY, spectral=False, norm="instance", kernel=5)), "instance"),
    **{
        f"E {norm}": (lambda norm=norm: Encoder(dataclasses.replace(TINY, encoder_norm=norm)), norm)
        for norm in ("instance", "batch", "none")
    },
    **{
        f"D {norm}": (lambda norm=norm: Discriminator(TINY, Training(d_width=2, d_norm=norm)), norm)  # type: ignore
        for norm in ("instance", "batch", "none")
    },
    "D three layers, plain": (
        lambda: Discriminator(TINY, Training(d_width=2, d_layers=3, d_scales=3, d_spectral=False)),
        "instance",
    ),
}
each_network = pytest.mark.parametrize("kind", NETWORKS)


def made(kind: str) -> tuple[nn.Module, str]:
    make, norm = NETWORKS[kind]
    return make(), norm


def official(network: nn.Module, norm: str = "instance") -> dict[str, Tensor]:
    """A state dict as the official code writes it."""
    ours = network.state_dict()
    table = official_names(network, norm)
    counters = {
        name.replace("running_mean", "num_batches_tracked") for name in table.values() if "running_mean" in name
    }
    return {**{table[k]: v for k, v in ours.items()}, **{name: torch.tensor(7) for name in counters}}


@each_network
def test_names_are_a_bijection(kind: str) -> None:
    network, norm = made(kind)
    table = official_names(network, norm)
    assert set(table) == set(network.state_dict())
    assert len(set(table.values())) == len(table)


def test_names_by_example() -> None:
    G, E, D = Generator(TINY), Encoder(TINY), Discriminator(TINY, Training(d_width=2))
    batch = official_names(Encoder(dataclasses.replace(TINY, encoder_norm="batch")), "batch")
    assert official_names(G).items() >= {
        ("first.weight", "fc.weight"),
        ("head.conv_0.weight", "head_0.conv_0.weight_orig"),
        ("middle.1.conv_1.u", "G_middle_1.conv_1.weight_u"),
        ("up.3.norm_s.norm.running_mean", "up_3.norm_s.param_free_norm.running_mean"),
        ("up.0.norm_0.shared.bias", "up_0.norm_0.mlp_shared.0.bias"),
        ("up.0.norm_1.gamma.weight", "up_0.norm_1.mlp_gamma.weight"),
        ("to_picture.bias", "conv_img.bias"),
    }
    assert official_names(E).items() >= {
        ("layers.0.conv.weight", "layer1.0.weight_orig"),
        ("layers.5.conv.v", "layer6.0.weight_v"),
        ("mean.weight", "fc_mu.weight"),
        ("log_variance.bias", "fc_var.bias"),
    }
    assert batch["layers.1.norm.running_var"] == "layer2.1.running_var"
    assert official_names(D).items() >= {
        ("scales.1.first.weight", "discriminator_1.model0.0.weight"),
        ("scales.0.layers.2.conv.weight", "discriminator_0.model3.0.0.weight_orig"),
        ("scales.0.logits.weight", "discriminator_0.model4.0.weight"),
    }


@each_network
def test_every_tensor_arrives(kind: str, tmp_path: Path) -> None:
    network, norm = made(kind)
    torch.save(official(network, norm), tmp_path / "net.pth")
    other, _ = made(kind)
    load_official(other, tmp_path / "net.pth", norm)
    assert all(torch.equal(v, network.state_dict()[k]) for k, v in other.state_dict().items())


def refusal(network: nn.Module, state: object, folder: Path) -> str:
    """The message about a file with `state`; the network stays as it was."""
    path = folder / "latest_net_G.pth"
    torch.save(state, path)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(PinxitError) as caught:
        load_official(network, path)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_missing_an_extra_and_a_misshapen_tensor_are_named(tmp_path: Path) -> None:
    G = Generator(TINY)
    state = official(Generator(TINY))
    lacking = {k: v for k, v in state.items() if k != "up_2.norm_1.mlp_beta.bias"}
    assert "is without up_2.norm_1.mlp_beta.bias, expected a SPADE Generator" in refusal(G, lacking, tmp_path)
    extra = {**state, "up_9.conv_0.bias": torch.zeros(1)}
    assert "is with up_9.conv_0.bias, expected a SPADE Generator" in refusal(G, extra, tmp_path)
    misshapen = {**state, "fc.bias": torch.zeros(7)}
    assert "fc.bias in " in refusal(G, misshapen, tmp_path)
    assert "is of shape (7,), expected (128,)" in refusal(G, misshapen, tmp_path)


def test_another_networks_file_is_refused(tmp_path: Path) -> None:
    for other in (
        Encoder(TINY),
        Generator(dataclasses.replace(TINY, width=4)),
        Generator(dataclasses.replace(TINY, labels=5)),
        Generator(dataclasses.replace(TINY, vae=False)),
        Generator(dataclasses.replace(TINY, spectral=False)),
    ):
        assert "check --preset" in refusal(Generator(TINY), official(other), tmp_path)


class Code:
    """Unpickled as usual, this makes a file."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self):
        return os.system, (f"touch {self.made}",)


@pytest.mark.parametrize("form", ["zip", "legacy", "bare pickle", "whole module"])
def test_code_in_a_file_is_named_and_not_run(form: str, tmp_path: Path) -> None:
    path, proof = tmp_path / "latest_net_G.pth", tmp_path / "proof"
    content = {"fc.weight": torch.zeros(2), "x": Code(proof)}
    match form:
        case "zip":
            torch.save(content, path)
        case "legacy":
            torch.save(content, path, _use_new_zipfile_serialization=False)
        case "bare pickle":
            path.write_bytes(pickle.dumps({"x": Code(proof)}, protocol=2))
        case "whole module":
            torch.save(nn.Linear(2, 2), path)
    named = "torch.nn.modules.linear.Linear" if form == "whole module" else f"{os.system.__module__}.system"
    with pytest.raises(PinxitError) as caught:
        read_state(path)
    assert not proof.exists()
    assert str(caught.value) == (
        f"weights '{path}' is asking for {named}, expected tensors alone; nothing of it was run, do not trust it"
    )
    # The trap would have worked: the unsafe way springs it.
    if form != "whole module":
        torch.load(path, weights_only=False) if form != "bare pickle" else pickle.loads(path.read_bytes())
        assert proof.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_damaged_file_is_told_in_one_line(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    torch.save(official(Encoder(TINY)), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    for length in (0, 1, 2, 10, 100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PinxitError, match=r"^weights '.*latest_net_G.pth' is .*; .*$"):
            read_state(path)


def test_what_is_no_state_dict_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    with pytest.raises(PinxitError, match="is not there"):
        read_state(path)
    for content in ([torch.zeros(2)], {"a": {"b": torch.zeros(2)}}, {1: torch.zeros(2)}, torch.zeros(2), {"epoch": 3}):
        torch.save(content, path)
        with pytest.raises(PinxitError, match=r"^weights '.*' is a \w+, expected a dict of tensors; .*$"):
            read_state(path)


# As training there writes it: every option, and after those that were given what they would be otherwise.
OPT_TXT = """----------------- Options ---------------
             aspect_ratio: 1.0
                batchSize: 4                             \t[default: 1]
                    beta1: 0.0
                    beta2: 0.9
   contain_dontcare_label: True
                crop_size: 64                            \t[default: 512]
                 gan_mode: hinge
                 label_nc: 3                             \t[default: 13]
             lambda_feat: 10.0
                     name: [my] run: 2                   \t[default: label2coco]
                      ndf: 8                             \t[default: 64]
                     netG: spade
                      ngf: 2                             \t[default: 64]
              no_instance: True                          \t[default: False]
                   norm_D: spectralinstance
                   norm_E: spectralinstance
                   norm_G: spectralspadesyncbatch3x3     \t[default: spectralinstance]
    num_upsampling_layers: normal
                  use_vae: True                          \t[default: False]
                    z_dim: 5                             \t[default: 256]
----------------- End -------------------
"""


def test_opt_txt(tmp_path: Path) -> None:
    path = tmp_path / "opt.txt"
    path.write_text(OPT_TXT)
    options = read_options(path)
    assert options["batchSize"] == 4
    assert options["aspect_ratio"] == 1.0
    assert options["contain_dontcare_label"] is True
    assert options["norm_G"] == "spectralspadesyncbatch3x3"
    assert options["name"] == "[my] run: 2"
    assert len(options) == 20
    network, training = from_options(options)
    assert network == dataclasses.replace(TINY, unknown=True, hidden=128)
    assert (training.batch, training.d_width, training.betas) == (4, 8, (0.0, 0.9))


def test_options_that_are_missing_are_the_official_codes_defaults() -> None:
    network, training = from_options({})
    assert network == Network(labels=182, instances=True, size=(512, 512))
    assert training == Training(batch=1)


@pytest.mark.parametrize(
    ("norm_G", "norm", "kernel", "spectral"),
    [
        ("spectralspadesyncbatch3x3", "sync_batch", 3, True),
        ("spectralspadebatch5x5", "batch", 5, True),
        ("spectralspadeinstance1x1", "instance", 1, True),
        ("spadeinstance3x3", "instance", 3, False),
    ],
)
def test_norms_and_kernels(norm_G: str, norm: str, kernel: int, spectral: bool) -> None:
    network, _ = from_options({"norm_G": norm_G})
    assert (network.norm, network.kernel, network.spectral) == (norm, kernel, spectral)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"crop_size": 512, "aspect_ratio": 2.0, "num_upsampling_layers": "more"}, "size", (256, 512)),
        ({"crop_size": 256, "aspect_ratio": 1.5}, "size", (160, 256)),  # 8 / 1.5 rounds to 5 rows of 32
        ({"norm_E": "spectralbatch"}, "encoder_norm", "batch"),
        ({"norm_E": "spectral"}, "encoder_norm", "none"),
        ({"norm_D": "spectralbatch"}, "d_norm", "batch"),
        ({"no_TTUR": True, "beta1": 0.5, "beta2": 0.999}, "betas", (0.5, 0.999)),
        ({"no_TTUR": True}, "ttur", False),
        ({"no_ganFeat_loss": True}, "feature_matching", 0.0),
        ({"no_vgg_loss": True}, "perceptual", 0.0),
        ({"gan_mode": "ls"}, "adversarial", "ls"),
        ({"n_layers_D": 3, "num_D": 3}, "d_scales", 3),
        ({"init_type": "normal", "init_variance": 0.05}, "init_gain", 0.05),
    ],
)
def test_options_one_by_one(options, field: str, value: object) -> None:
    network, training = from_options(options)
    assert getattr(network if hasattr(network, field) else training, field) == value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"netG": "pix2pixhd"}, r"^netG is pix2pixhd, expected spade; "),
        ({"norm_G": "spectralinstance"}, r"^norm_G is spectralinstance, expected like spectralspadesyncbatch3x3; "),
        ({"norm_G": "spectralspadegroup3x3"}, r"^norm_G is "),
        ({"norm_D": "weight"}, r"^norm_D is weight, expected like spectralinstance; "),
        ({"num_upsampling_layers": "mots"}, r"^num_upsampling_layers is 'mots', .*did you mean 'most'\?$"),
    ],
)
def test_options_of_another_network_are_refused(options, message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        from_options(options)


def release(folder: Path) -> Network:
    """A released folder of a tiny network, with a trap in its opt.pkl."""
    (folder / "opt.txt").write_text(OPT_TXT)
    (folder / "opt.pkl").write_bytes(pickle.dumps(Code(folder / "proof")))
    network = dataclasses.replace(TINY, unknown=True, hidden=128)
    torch.save(official(Generator(network)), folder / "latest_net_G.pth")
    torch.save(official(Encoder(network)), folder / "latest_net_E.pth")
    return network


def test_a_release_by_its_opt_txt_or_by_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = release(tmp_path)
    # A preset says nothing of styles: that there is an encoder does.
    monkeypatch.setitem(PRESETS, "coco", Options(network=dataclasses.replace(network, vae=False)))
    read = {part: read_state(tmp_path / f"latest_net_{part}.pth") for part in "GE"}
    for preset in ("coco", None):
        file = import_release(tmp_path, preset)
        assert not (tmp_path / "proof").exists()
        assert network_of(file) == network
        assert torch.equal(file.tensors["G.to_picture.weight"], read["G"]["conv_img.weight"])
        assert torch.equal(file.tensors["E.layers.0.conv.u"], read["E"]["layer1.0.weight_u"])
        assert file.card["source"]
        assert "CC BY-NC-SA" in file.card["licence"]
        assert Model(file).E is not None
    (tmp_path / "latest_net_E.pth").unlink()
    with pytest.raises(PinxitError, match=r"is without \*_net_E.pth, expected the style encoder too"):
        import_release(tmp_path, None)  # which says that there are styles


def test_a_release_that_cannot_be_read_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"nowhere' is not there, expected "):
        import_release(tmp_path / "nowhere", "coco")
    with pytest.raises(PinxitError, match=r"^preset is 'coca', expected one of ade20k, .*; did you mean 'coco'\?$"):
        import_release(tmp_path, "coca")
    release(tmp_path)
    (tmp_path / "opt.txt").unlink()
    with pytest.raises(
        PinxitError, match=r"^--preset is missing, expected one of coco, ade20k, cityscapes; .*opt.txt$"
    ):
        import_release(tmp_path, None)
    assert not (tmp_path / "proof").exists()
