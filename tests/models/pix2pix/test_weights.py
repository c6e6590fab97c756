"""Reading the authors' releases: names and shapes tell the network, and every one must agree.

That the right numbers come out is held to account in tests/parity; files here are written in the official form.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.data.kinds import Kind
from pinxit.errors import PinxitError
from pinxit.models.pix2pix.config import RELEASES, Network, Training
from pinxit.models.pix2pix.generate import load, network_of
from pinxit.models.pix2pix.network import discriminator, generator
from pinxit.models.pix2pix.weights import from_options, import_release, official_names
from pinxit.models.pix2pix.weights import network_of as told
from pinxit.nn.dropout import Dropout
from pinxit.nn.norm import BatchNorm2d
from pinxit.nn.resnet import Norm

UNET = Network(depth=5, width=2, input=Kind(4), output=Kind(1))
RESNET = dataclasses.replace(UNET, generator="resnet", blocks=2)
NETWORKS = {
    f"{kind} {norm}{' dropout' if dropout else ''}": dataclasses.replace(network, norm=norm, dropout=dropout)
    for (kind, network), norm, dropout in itertools.product(
        (("unet", UNET), ("resnet", RESNET)), ("batch", "instance", "none"), (True, False)
    )
} | {f"unet of depth {depth}": dataclasses.replace(UNET, depth=depth, widest=4) for depth in (2, 3, 4, 8)}
each_network = pytest.mark.parametrize("which", NETWORKS)


def state_of(network: Network) -> dict[str, Tensor]:
    """A generator's state dict as the official code writes it."""
    torch.manual_seed(0)
    G = generator(network)
    ours, table = G.state_dict(), official_names(G)
    assert set(table) == set(ours)
    assert len(set(table.values())) == len(table)
    state = {table[name]: torch.randn(v.shape) for name, v in ours.items()}
    counters = {k.replace("running_mean", "num_batches_tracked"): torch.tensor(3) for k in state if "running_mean" in k}
    return {**state, **counters}


def saved(folder: Path, network: Network, name: str = "latest_net_G.pth") -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(state_of(network), folder / name)
    return folder / name


@each_network
def test_names_and_shapes_tell_the_network(which: str, tmp_path: Path) -> None:
    network = NETWORKS[which]
    path = saved(tmp_path, network)
    file = import_release(path, no_dropout=not network.dropout)
    found = network_of(file)
    unused = {"blocks": network.blocks} if network.generator == "unet" else {"depth": network.depth}
    if network.depth == 2 and network.generator == "unet":
        unused["widest"] = network.widest  # the widths of two layers do not tell
    if network.generator == "resnet":
        unused["widest"] = network.widest
    if network.depth < 5 and network.generator == "unet":
        unused["widest"] = network.widest
    assert dataclasses.replace(found, size=network.size, test_norm=None, **unused) == network
    assert found.test_norm == "picture"
    table = official_names(generator(network))
    state = state_of(network)
    assert all(torch.equal(file.tensors[f"G.{ours}"], state[theirs]) for ours, theirs in table.items())
    assert load(file).network.training is False


def test_names_by_example() -> None:
    names = official_names(generator(dataclasses.replace(UNET, depth=3)))
    assert names.items() >= {
        ("down.0.weight", "model.model.0.weight"),
        ("up.0.bias", "model.model.3.bias"),
        ("down.1.weight", "model.model.1.model.1.weight"),
        ("down_norms.0.running_var", "model.model.1.model.2.running_var"),
        ("up.1.weight", "model.model.1.model.5.weight"),
        ("up_norms.0.bias", "model.model.1.model.6.bias"),
        ("down.2.weight", "model.model.1.model.3.model.1.weight"),
        ("up.2.weight", "model.model.1.model.3.model.3.weight"),
        ("up_norms.1.weight", "model.model.1.model.3.model.4.weight"),
    }


def test_old_instance_norms_with_statistics_are_read(tmp_path: Path) -> None:
    network = dataclasses.replace(UNET, norm="instance")
    state = state_of(network)
    old = {name.replace("5.weight", "6.running_mean"): torch.ones(4) for name in state if name.endswith(".5.weight")}
    assert old
    torch.save({**state, **old}, tmp_path / "latest_net_G.pth")
    assert network_of(import_release(tmp_path)).norm == "instance"


@pytest.mark.parametrize("preset", RELEASES)
def test_releases(preset: str, tmp_path: Path) -> None:
    direction, _ = RELEASES[preset]
    network = dataclasses.replace(UNET, depth=6)
    folder = saved(tmp_path / f"{preset}_pretrained", network).parent
    (folder / "train_opt.txt").write_text("no_dropout: True\ndirection: AtoB\n")  # the release knows better
    file = import_release(folder, preset)
    assert file.card["data"].endswith(f", {direction}")
    assert f"{preset}_pretrained/latest_net_G.pth" in file.card["source"]
    model = load(file, dropout=True)
    assert any(isinstance(m, Dropout) and m.at_test for m in model.network.modules())
    assert all(m.picture_at_test for m in model.network.modules() if isinstance(m, BatchNorm2d))
    assert model.norms()
    assert not load(file, norm="running").norms()


def test_options_beside_the_weights_are_heeded(tmp_path: Path) -> None:
    saved(tmp_path, UNET, "200_net_G.pth")
    (tmp_path / "train_opt.txt").write_text("no_dropout: True \t[default: False]\n  direction: BtoA\n name: mine\n")
    file = import_release(tmp_path, epoch="200")
    assert network_of(file).dropout is False
    assert file.card["data"] == "mine, BtoA"
    (tmp_path / "train_opt.txt").unlink()
    assert network_of(import_release([tmp_path / "200_net_G.pth"])).dropout is True
    assert network_of(import_release([tmp_path / "200_net_G.pth"], no_dropout=True)).dropout is False


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.model.3.bias": torch.ones(9)}, r"^model\.model\.3\.bias in weights '.*' is of shape \(9,\), expected"),
        ({"model.model.4.bias": torch.ones(9)}, r"^weights '.*' is with model\.model\.4\.bias, expected a unet gener"),
        ({"model.model.3.bias": None}, r"^weights '.*' is without model\.model\.3\.bias, expected"),
        ({"model.model.3.weight": None}, r"^weights '.*' is with model\.model\..*, expected a U-Net or ResNet"),
    ],
)
def test_what_does_not_agree_is_refused(change: dict[str, Tensor | None], message: str, tmp_path: Path) -> None:
    state = {k: v for k, v in {**state_of(UNET), **change}.items() if v is not None}
    torch.save(state, tmp_path / "latest_net_G.pth")
    with pytest.raises(PinxitError, match=message):
        import_release(tmp_path)


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, RESNET)
    with pytest.raises(PinxitError, match=r"^preset is 'edges2shoe', expected one of .*; did you mean 'edges2shoes'"):
        import_release(path, "edges2shoe")
    with pytest.raises(PinxitError, match="is a resnet with batch norm, expected map2sat's U-Net with batch norm"):
        import_release(path, "map2sat")
    with pytest.raises(PinxitError, match=r"^--no-dropout is given, expected nothing, as the weights' numbers tell"):
        import_release(path, no_dropout=True)
    with pytest.raises(PinxitError, match=r"^what to import is 2 files, expected one folder or one"):
        import_release([path, path])
    with pytest.raises(PinxitError, match=r"^weights '.*9_net_G.pth' is not there"):
        import_release(tmp_path, epoch="9")
    torch.save({}, path)
    with pytest.raises(PinxitError, match="is with nothing, expected a U-Net or ResNet generator"):
        import_release(path)
    torch.save(discriminator(UNET, Training(d_width=2)).state_dict(), path)
    with pytest.raises(PinxitError, match=r"is with model\.0\.weight, expected a U-Net or ResNet generator"):
        import_release(path)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("netG", "stylegan2", "^netG is stylegan2, expected unet_128"),
        ("netD", "multi", "^netD is 'multi', expected one of basic"),
        ("gan_mode", "hinge", "^gan_mode is 'hinge', expected one of lsgan"),
        ("norm", "sync", "^norm is 'sync', expected one of batch"),
    ],
)
def test_options_of_other_networks_are_refused(option: str, value: str, message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        from_options({option: value})


def test_official_defaults_and_forms() -> None:
    network, training, direction = from_options({})
    assert (network.generator, network.depth, network.width, network.norm, network.dropout) == (
        "unet",
        8,
        64,
        "batch",
        True,
    )
    assert (training.adversarial, training.l1, training.d_layers, direction) == ("original", 100.0, 3, "AtoB")
    network, training, direction = from_options(
        {"netG": "resnet_6blocks", "netD": "n_layers", "n_layers_D": 5, "gan_mode": "wgangp", "direction": "BtoA"}
    )
    assert (network.generator, network.blocks, training.d_layers) == ("resnet", 6, 5)
    assert (training.adversarial, training.gradient_penalty, direction) == ("w", 0.0, "BtoA")
    assert from_options({"netD": "basic", "n_layers_D": 5})[1].d_layers == 3
    assert from_options({"netD": "pixel"})[1].discriminator == "pixel"
    assert from_options({"netG": "unet_128"})[0].depth == 7


def test_a_norm_of_another_kind_is_told_apart() -> None:
    for norm in ("batch", "instance", "none"):
        state = state_of(dataclasses.replace(UNET, norm=norm))  # type: ignore[arg-type]
        kinds: tuple[Norm, ...] = (told(state, "it").norm,)
        assert kinds == (norm,)
