"""Reading what the authors' code saves: every name and shape must agree. The numbers are tested in tests/parity."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.errors import PinxitError
from pinxit.models.pix2pixhd.config import Network, Training
from pinxit.models.pix2pixhd.generate import Model, config_of
from pinxit.models.pix2pixhd.network import Discriminator, Encoder, Generator
from pinxit.models.pix2pixhd.weights import from_options, import_release, load_official, official_names

TINY = Network(
    labels=5,
    instances=True,
    output=Kind(),
    size=(1024, 2048),
    width=2,
    downsamplings=2,
    blocks=3,
    enhancers=1,
    enhancer_blocks=2,
)
FEATURES = dataclasses.replace(TINY, features="instance", encoder_width=3, encoder_downsamplings=3, feature_channels=4)


def official(network: nn.Module, intermediate: bool = True) -> dict[str, Tensor]:
    table = official_names(network, intermediate)
    return {table[k]: v for k, v in network.state_dict().items()}


def release(folder: Path, c: Network, **options: Any) -> Path:
    """A folder as the official code writes it."""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    torch.save(official(Generator(c)), folder / "latest_net_G.pth")
    if c.features != "none":
        torch.save(official(Encoder(c)), folder / "latest_net_E.pth")
    if options:
        lines = "".join(f"{name}: {value}\n" for name, value in options.items())
        (folder / "opt.txt").write_text(
            f"------------ Options -------------\n{lines}-------------- End ----------------\n"
        )
    return folder


def test_names_by_example() -> None:
    names = official_names(Generator(TINY))
    assert set(names) == set(Generator(TINY).state_dict())
    assert len(set(names.values())) == len(names)
    assert names["model.4.weight"] == "model.4.weight"
    assert names["enhancers.0.down.1.weight"] == "model1_1.1.weight"
    assert names["enhancers.0.up.1.conv_block.5.bias"] == "model1_2.1.conv_block.5.bias"
    assert names["head.1.weight"] == "model1_2.6.weight"
    assert official_names(Generator(dataclasses.replace(TINY, enhancers=0)))["head.1.bias"] == "model.20.bias"
    two = official_names(Generator(dataclasses.replace(TINY, enhancers=2)))
    assert (two["enhancers.1.up.0.conv_block.1.weight"], two["head.1.weight"]) == (
        "model2_2.0.conv_block.1.weight",
        "model2_2.6.weight",
    )
    D = Discriminator(dataclasses.replace(TINY, norm="batch"), Training(d_width=2))
    assert official_names(D)["scales.1.layers.3.1.running_mean"] == "scale1_layer3.1.running_mean"
    flat = official_names(D, intermediate=False)
    assert [flat[f"scales.0.layers.{i}.0.weight"] for i in range(5)] == [f"layer0.{i}.weight" for i in (0, 2, 5, 8, 11)]
    assert flat["scales.0.layers.2.1.bias"] == "layer0.6.bias"


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("enhancers", [0, 1, 2])
@pytest.mark.parametrize("features", ["none", "instance"])
def test_shapes_tell_the_network(norm, enhancers: int, features, tmp_path: Path) -> None:
    c = dataclasses.replace(FEATURES, norm=norm, enhancers=enhancers, features=features)
    c = dataclasses.replace(c, size=(512 << enhancers, 1024 << enhancers))
    if not enhancers:
        c = dataclasses.replace(c, enhancer_blocks=3)
    file = import_release(release(tmp_path, c), label_set="5")
    told = config_of(file)
    if features == "none":
        unused = ("feature_channels", "encoder_width", "encoder_downsamplings")
        c = dataclasses.replace(c, **{name: getattr(told, name) for name in unused})
    assert told == c
    torch.manual_seed(0)
    assert all(torch.equal(file.tensors[f"G.{k}"], v) for k, v in Generator(c).state_dict().items())
    assert Model(file).label_set.labels[0].id == 0
    assert "NVIDIA" in file.card["licence"]


@pytest.mark.parametrize(
    ("c", "given", "options", "wanted"),
    [
        ({"labels": 35}, {}, {}, ("labels", 35, True, "cityscapes")),
        ({"labels": 35, "instances": False}, {}, {}, ("labels", 35, False, "cityscapes")),
        ({"labels": 5}, {}, {"label_nc": 5, "no_instance": False}, ("labels", 5, True, "numbered_5")),
        (
            {"labels": 6, "instances": False},
            {},
            {"label_nc": 6, "no_instance": True},
            ("labels", 6, False, "numbered_6"),
        ),
        ({"labels": 11, "unknown": True}, {"label_set": "camvid"}, {}, ("labels", 11, True, "camvid")),
        ({"source": "pictures", "input": Kind(3)}, {"pictures": True}, {}, ("pictures", 0, True, None)),
        (
            {"source": "pictures", "input": Kind(3), "instances": False},
            {"pictures": True},
            {},
            ("pictures", 0, False, None),
        ),
        (
            {"source": "pictures", "input": Kind(2), "instances": False},
            {},
            {"label_nc": 0, "input_nc": 2, "no_instance": True},
            ("pictures", 0, False, None),
        ),
    ],
)
def test_what_the_input_channels_mean(c, given, options, wanted, tmp_path: Path) -> None:
    base = {"labels": 0} if c.get("source") == "pictures" else {}
    file = import_release(release(tmp_path, dataclasses.replace(TINY, **{**base, **c}), **options), **given)
    told = config_of(file)
    name = None if file.label_set is None else file.label_set["name"]
    assert (told.source, told.labels, told.instances, name) == wanted


def test_features_of_labels_are_told_by_opt_txt_or_by_name(tmp_path: Path) -> None:
    folder = release(tmp_path, FEATURES)
    assert import_release(folder, label_set="5", features="label").config["features"] == "label"
    release(tmp_path, FEATURES, label_nc=5, no_instance=False, label_feat=True)
    assert import_release(folder).config["features"] == "label"


def test_old_instance_norms_have_statistics_nobody_reads(tmp_path: Path) -> None:
    """As PyTorch before 0.4 saved them."""
    release(tmp_path, TINY)
    state = torch.load(tmp_path / "latest_net_G.pth", weights_only=True)
    state |= {f"model.{i}.running_{what}": torch.zeros(8) for i in (2, 5) for what in ("mean", "var")}
    torch.save(state, tmp_path / "latest_net_G.pth")
    assert config_of(import_release(tmp_path, label_set="5")).norm == "instance"


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    release(tmp_path, TINY)
    path = tmp_path / "latest_net_G.pth"
    whole = torch.load(path, weights_only=True)
    for change, message in [
        ({"model.4.bias": None}, r"^weights '.*' is without model.4.bias, expected a pix2pixHD Generator"),
        (
            {"model.4.bias": torch.zeros(3)},
            r"^model.4.bias in weights '.*' is of shape \(3,\), expected \(8,\) as a pix2pixHD ",
        ),
        ({"model.99.bias": torch.zeros(3)}, r"^weights '.*' is with model.99.bias, expected a pix2pixHD Generator"),
        ({"model.1.weight": None}, r"^weights '.*' is of other names, expected a generator of pix2pixHD"),
    ]:
        state = {k: v for k, v in {**whole, **change}.items() if v is not None}
        torch.save(state, path)
        with pytest.raises(PinxitError, match=message):
            import_release(tmp_path, label_set="5")
    torch.save(whole, path)
    for given, message in [
        (
            {},
            r"^--label-set is missing, for weights of 6 input channels, expected a label set of 5 labels and instances",
        ),
        ({"label_set": "3"}, r"^label set 'numbered_3' is 3 labels, expected 6 input channels"),
        ({"label_set": "5", "epoch": "20"}, r"20_net_G.pth' is not there, expected "),
    ]:
        with pytest.raises(PinxitError, match=message):
            import_release(tmp_path, **given)
    (tmp_path / "opt.txt").write_text("label_nc: 9\nno_instance: True\n")
    with pytest.raises(PinxitError, match=r"^opt.txt is of 9 labels, expected 6 input channels as the weights; "):
        import_release(tmp_path)
    with pytest.raises(PinxitError, match=r"_net_D.pth' is not there, expected a folder"):
        import_release([tmp_path / "latest_net_D.pth"])
    path.write_bytes(b"no checkpoint")
    with pytest.raises(PinxitError, match=r"damaged"):
        load_official(Generator(TINY), path)


def test_options_of_another_network_are_refused() -> None:
    with pytest.raises(PinxitError, match=r"^netG is spade, expected global or local; "):
        from_options({"netG": "spade"})
