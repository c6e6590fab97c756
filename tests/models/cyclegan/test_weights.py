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
from pinxit.models.cyclegan.config import RELEASES, Network
from pinxit.models.cyclegan.generate import load, network_of
from pinxit.models.cyclegan.network import generator
from pinxit.models.cyclegan.weights import from_options, import_release

TINY = Network(blocks=2, width=2, a=Kind(3), b=Kind(1), test_norm="picture")


def saved(folder: Path, part: str, network: Network = TINY, more: dict[str, Tensor] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    G = generator(network, "BtoA" if part == "G_B" else "AtoB")
    state = {name: torch.randn(v.shape) for name, v in G.state_dict().items()}
    torch.save({**state, **(more or {})}, folder / f"latest_net_{part}.pth")
    return folder / f"latest_net_{part}.pth"


@pytest.mark.parametrize(("norm", "dropout"), list(itertools.product(("instance", "batch", "none"), (False, True))))
def test_both_directions_are_one_model(norm, dropout: bool, tmp_path: Path) -> None:
    network = dataclasses.replace(TINY, norm=norm, dropout=dropout)
    for part in ("G_A", "G_B", "D_A"):
        saved(tmp_path, part, network)
    file = import_release(tmp_path)
    assert network_of(file) == network
    for model, part in ((load(file), "G_A"), (load(file).towards("BtoA"), "G_B")):
        theirs = torch.load(tmp_path / f"latest_net_{part}.pth")
        assert model.direction == ("AtoB" if part == "G_A" else "BtoA")
        assert all(torch.equal(v, theirs[k]) for k, v in model.network.state_dict().items())
    again = import_release([tmp_path / "latest_net_G_B.pth", tmp_path / "latest_net_G_A.pth"])
    assert again.config == file.config


@pytest.mark.parametrize("preset", RELEASES)
def test_releases(preset: str, tmp_path: Path) -> None:
    direction, _ = RELEASES[preset]
    folder = tmp_path / f"{preset}_pretrained"
    saved(folder, "G")
    file = import_release(folder, preset)
    network = network_of(file)
    assert network.directions == (direction,)
    assert (network.a, network.b) == ((Kind(3), Kind(1)) if direction == "AtoB" else (Kind(1), Kind(3)))
    assert file.card["data"].endswith(f", {direction}")
    model = load(file)
    assert (model.direction, model.input, model.output) == (direction, Kind(3), Kind(1))
    other = "BtoA" if direction == "AtoB" else "AtoB"
    with pytest.raises(PinxitError, match=f"^direction is {other}, expected {direction}, which is all the model has"):
        model.towards(other)
    with pytest.raises(PinxitError, match=f"^--direction is {other}, expected {direction} as {preset} has it"):
        import_release(folder, preset, direction=other)


def test_one_file_goes_where_its_name_or_the_option_says(tmp_path: Path) -> None:
    alone = saved(tmp_path / "g", "G")
    assert load(import_release(alone)).direction == "AtoB"
    assert load(import_release(alone, direction="BtoA")).direction == "BtoA"
    of_b = saved(tmp_path / "b", "G_B")
    assert load(import_release(of_b)).direction == "BtoA"
    with pytest.raises(PinxitError, match=r"^--direction is AtoB, expected BtoA as the file's name says"):
        import_release(of_b, direction="AtoB")


def test_old_instance_norms_with_statistics_are_read(tmp_path: Path) -> None:
    more = {f"model.{i}.{leaf}": torch.ones(2) for i in (2, 5) for leaf in ("running_mean", "running_var")}
    path = saved(tmp_path, "G_A", more={**more, "model.2.num_batches_tracked": torch.tensor(9)})
    assert network_of(import_release(path)).norm == "instance"


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "G_A")
    with pytest.raises(PinxitError, match=r"^preset is 'horse2zebr', expected one of .*; did you mean 'horse2zebra'"):
        import_release(path, "horse2zebr")
    with pytest.raises(
        PinxitError, match=r"^folder '.*' is without 7_net_G.*pth, expected .*; check --epoch or the pa"
    ):
        import_release(tmp_path, epoch="7")
    with pytest.raises(PinxitError, match=r"^'.*none.pth' is not there, expected"):
        import_release(tmp_path / "none.pth")
    saved(tmp_path, "G_B", dataclasses.replace(TINY, blocks=3))
    with pytest.raises(PinxitError, match=r"is of 3 blocks of 2, expected as '.*G_A.pth', 2 blocks of 2; import each"):
        import_release(tmp_path)
    with pytest.raises(PinxitError, match=r"G_A.pth' is AtoB as '.*', expected one of each direction"):
        import_release([path, path])
    batch = saved(tmp_path / "batch", "G", dataclasses.replace(TINY, norm="batch"))
    with pytest.raises(PinxitError, match=r"^the generator is of batch norm, expected style_monet's instance norm"):
        import_release(batch, "style_monet")
    extra = saved(tmp_path / "extra", "G", more={"model.99.weight": torch.ones(1)})
    with pytest.raises(PinxitError, match=r"^weights '.*' is with model\.99\.weight, expected a ResNet generator as"):
        import_release(extra)
    torch.save({"w": torch.ones(1)}, extra)
    with pytest.raises(PinxitError, match=r"^weights '.*' is with w, expected a ResNet generator; give a latest"):
        import_release(extra)


def test_official_defaults_and_refusals() -> None:
    network, training = from_options({})
    assert (network.blocks, network.width, network.norm, network.dropout) == (9, 64, "instance", False)
    assert (training.adversarial, training.cycle_a, training.identity, training.pool) == ("ls", 10.0, 0.5, 50)
    assert from_options({"netD": "n_layers", "n_layers_D": 4, "gan_mode": "vanilla"})[1].d_layers == 4
    for option, value in (("netG", "unet_256"), ("netD", "x"), ("gan_mode", "x"), ("norm", "x")):
        with pytest.raises(PinxitError, match=f"^{option} is '?{value}'?, expected"):
            from_options({option: value})
