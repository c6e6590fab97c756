"""Files of authors' codes: every name and shape must agree, and nothing in them is ever executed."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pinxit.errors import PinxitError
from pinxit.official import fill, read_options, read_state, released_files


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 1), nn.InstanceNorm2d(2))


def names(net: nn.Module) -> dict[str, str]:
    return {name: f"model.{name}" for name in net.state_dict()}


def theirs() -> dict[str, Tensor]:
    return {f"model.{name}": torch.full_like(v, 7) for name, v in network().state_dict().items()}


def test_every_tensor_arrives(tmp_path: Path) -> None:
    torch.save(OrderedDict(theirs()), tmp_path / "net.pth")
    net = network()
    fill(net, read_state(tmp_path / "net.pth"), names(net), "the file", "this")
    assert all(v.unique().tolist() == [7] for v in net.state_dict().values())


def test_the_older_container_and_counters_are_read(tmp_path: Path) -> None:
    state = {**theirs(), "model.1.num_batches_tracked": torch.tensor(3)}
    torch.save(OrderedDict(state), tmp_path / "net.pth", _use_new_zipfile_serialization=False)
    assert read_state(tmp_path / "net.pth").keys() == theirs().keys()


def test_statistics_of_old_instance_norms_are_passed_over() -> None:
    net = network()
    fill(net, {**theirs(), "model.1.running_mean": torch.ones(2)}, names(net), "the file", "this")
    # Those of a batch norm, which has weights beside them, are not.
    state = {**theirs(), "model.1.weight": torch.ones(2), "model.1.running_mean": torch.ones(2)}
    with pytest.raises(PinxitError, match=r"^the file is with model\.1\.running_mean, expected this; check that"):
        fill(net, state, names(net), "the file", "this")
    # Nor are any where batch norms without weights are meant.
    state = {**theirs(), "model.1.running_mean": torch.ones(2)}
    with pytest.raises(PinxitError, match=r"with model\.1\.running_mean, expected this; mend it$"):
        fill(net, state, names(net), "the file", "this", advice="mend it", old_norms=False)


def test_a_release_is_a_folder_or_its_files(tmp_path: Path) -> None:
    G, E = (tmp_path / f"30_net_{part}.pth" for part in "GE")
    assert released_files([tmp_path], "30") == (G, None)  # what is missing is told when it is read
    for path in (G, E):
        path.touch()
    assert released_files([tmp_path], "30") == released_files([E, G], "latest") == (G, E)
    assert released_files([G], "latest") == (G, None)
    for wrong, message in (([E], "generator's file is missing"), ([G, tmp_path / "x.pth"], "x.pth' is not there")):
        with pytest.raises(PinxitError, match=message):
            released_files(wrong, "30")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.0.bias": None}, r"^the file is without model\.0\.bias, expected this; check that this is the right"),
        ({"model.0.bias": torch.ones(3)}, r"^model\.0\.bias in the file is of shape \(3,\), expected \(2,\) as this"),
        ({"model.2.weight": torch.ones(3)}, r"^the file is with model\.2\.weight, expected this; check that"),
    ],
)
def test_what_does_not_agree_is_named_and_nothing_changes(change: dict[str, Tensor | None], message: str) -> None:
    net, state = network(), {k: v for k, v in {**theirs(), **change}.items() if v is not None}
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with pytest.raises(PinxitError, match=message):
        fill(net, state, names(net), "the file", "this")
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("held", [Hostile(), [torch.ones(1)], {"a": 1}, {1: torch.ones(1)}])
def test_anything_but_tensors_is_refused(held: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(held, "net.pth")
    with pytest.raises(PinxitError, match=r"net.pth"):
        read_state(Path("net.pth"))
    assert not Path("executed").exists()


def test_options_as_training_writes_them(tmp_path: Path) -> None:
    (tmp_path / "opt.txt").write_text(
        "----------------- Options ---------------\n"
        "               batch_size: 1                             \n"
        "                 dataroot: ./x y                         \t[default: None]\n"
        "                       lr: 0.0002                        \n"
        "               no_dropout: True                          \t[default: False]\n"
        "                   suffix:                               \n"
        "----------------- End -------------------\n"
    )
    assert read_options(tmp_path / "opt.txt") == {
        "batch_size": 1,
        "dataroot": "./x y",
        "lr": 0.0002,
        "no_dropout": True,
        "suffix": "",
    }
