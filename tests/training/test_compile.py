"""`--compile`, in processes of their own, since compiled code and its settings outlive a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import pinxit.training.loop
from pinxit.errors import PinxitError
from pinxit.recipe import Recipe
from pinxit.training.loop import compile_networks

HAS_COMPILER = any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name)


def python(script: str, *arguments: str, cache: Path) -> str:
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_compiler_the_cpu_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinxit.training.loop.shutil, "which", lambda name: None)
    recipe = Recipe()
    recipe.G = nn.Linear(2, 2)
    with pytest.raises(PinxitError, match=r"^--compile is given, expected a C\+\+ compiler on .*; leave it out"):
        compile_networks(recipe, torch.device("cpu"))


# Everything of torch.compile but the generation of machine code, which would take minutes for SPADE.
# Both runs by the plain networks, which are what is compiled: `shared` sums in another order, and with GAN losses
# near 0 that shows from the second step on.
TRACED = """
import functools, sys
import torch
from pinxit.models.spade.recipe import SpadeRecipe
torch.compile = functools.partial(torch.compile, backend="aot_eager")
SpadeRecipe.shares = False
from pinxit.apps.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler on this machine")
def test_spade_traced_has_the_losses_and_names_of_plain(arguments: Callable[..., list[str]], tmp_path: Path) -> None:
    losses, names = [], []
    for extra in ("", " --compile"):
        out = tmp_path / f"run{extra.strip()}"
        python(TRACED, *arguments(out, "--steps 2 --log-every 1 --d-scales 1" + extra), cache=tmp_path / "cache")
        records = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        losses.append([v for r in records for k, v in r.items() if k not in ("stage", "steps_per_second", "loading")])
        names.append(torch.load(out / "state.pt", weights_only=True)["recipe"].keys())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3, abs=1e-5)
    assert names[0] == names[1]


# The blocks that change their own buffers, generated and run.
GENERATED = """
import json
import torch
from torch import nn
from pinxit.nn.norm import BatchNorm2d, SpectralConv2d
from pinxit.recipe import Recipe, update
from pinxit.training.loop import compile_networks

def trained(compiled):
    torch.manual_seed(0)
    recipe = Recipe()
    recipe.G = nn.Sequential(SpectralConv2d(3, 8, 3, padding=1), BatchNorm2d(8), nn.ReLU(), SpectralConv2d(8, 1, 3))
    optimizer = torch.optim.SGD(recipe.parameters(), lr=0.1)
    if compiled:
        compile_networks(recipe, torch.device("cpu"))
    losses = []
    for step in range(3):
        loss = recipe.G(torch.randn(2, 3, 8, 8)).square().mean()
        update(optimizer, loss)
        losses.append(loss.item())
    return losses + [v.double().sum().item() for v in recipe.state_dict().values()], list(recipe.state_dict())

print(json.dumps([trained(False), trained(True)]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler on this machine")
def test_compiled_blocks_train_as_plain_ones(tmp_path: Path) -> None:
    (plain, names), (compiled, same_names) = json.loads(python(GENERATED, cache=tmp_path / "cache"))
    assert compiled == pytest.approx(plain, rel=1e-4, abs=1e-5)
    assert names == same_names
