from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pinxit.errors import PinxitError
from pinxit.recipe import Recipe
from pinxit.training.checkpoint import Position, differences, read, restore, save

IDENTITY = {"method": "spade", "seed": 3, "network": {"norm": "instance", "size": (64, 64)}, "training": {"lr": 2e-4}}


class One(Recipe):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizers = {"G": torch.optim.Adam(self.parameters(), lr=0.1)}

    def descend(self) -> None:
        self.optimizers["G"].zero_grad()
        self.conv(torch.randn(1, 3, 4, 4)).square().sum().backward()
        self.optimizers["G"].step()


def test_weights_optimizers_and_the_random_generator_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = One()
    first.descend()
    save(tmp_path, first, Position(2, 7), IDENTITY)
    first.descend()

    second = One()
    state = read(tmp_path, {**IDENTITY, "network": {"norm": "instance", "size": [64, 64]}})  # a tuple is a list
    assert (state["stage"], state["step"]) == (2, 7)
    restore(state, second)
    second.descend()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert [p.name for p in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("now", "message"),
    [
        ({"seed": 4}, "seed is 4, expected 3 as the run '"),
        ({"method": "pix2pix"}, "method is 'pix2pix', expected 'spade' as the run '"),
        ({"network": {"norm": "batch", "size": (64, 64)}}, "network.norm is 'batch', expected 'instance' as the run '"),
        ({"network": {"norm": "instance", "size": (64, 96)}}, r"network.size is \[64, 96\], expected \[64, 64\] as "),
        ({"training": {"lr": 2e-4, "ema": 0.9}}, "training.ema is 0.9, expected None as the run '"),
    ],
)
def test_another_option_is_named(now: dict[str, Any], message: str, tmp_path: Path) -> None:
    save(tmp_path, One(), Position(), IDENTITY)
    with pytest.raises(PinxitError, match=f"^{message}.*; resume with that, or begin another run$"):
        read(tmp_path, {**IDENTITY, **now})


def test_differences_are_nested_names_in_order() -> None:
    was, now = {"a": 1, "b": {"x": 1, "y": {"z": 2}}, "gone": 0}, {"a": 1, "b": {"x": 5, "y": {"z": 3}}, "new": [1]}
    assert differences(was, was) == []
    assert differences(was, now) == [("b.x", 1, 5), ("b.y.z", 2, 3), ("gone", 0, None), ("new", None, [1])]


class Code:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


def test_a_damaged_or_strange_state_is_told_in_one_line_and_never_run(tmp_path: Path) -> None:
    path, proof = tmp_path / "state.pt", tmp_path / "proof"
    save(tmp_path, One(), Position(), IDENTITY)
    whole = path.read_bytes()
    for damaged in (b"", b"\x80", b"half", whole[:100], whole[:-10]):
        path.write_bytes(damaged)
        with pytest.raises(PinxitError, match=r"^checkpoint '.*state.pt' is damaged, expected a whole state.pt; .*$"):
            read(tmp_path, IDENTITY)
    torch.save({"format": 1, "identity": Code(proof)}, path)
    with pytest.raises(PinxitError, match="is damaged"):
        read(tmp_path, IDENTITY)
    assert not proof.exists()
    for strange in ({"format": 99}, {"weight": torch.zeros(1)}, [1, 2]):
        torch.save(strange, path)
        with pytest.raises(PinxitError, match=r"^checkpoint '.*' is of format (99|None), expected 1; .*$"):
            read(tmp_path, IDENTITY)
