"""`state.pt`: all that a run needs to go on. It loads with `weights_only=True`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pinxit.errors import PinxitError, expected
from pinxit.modelfile import replacing
from pinxit.recipe import Recipe

NAME = "state.pt"
FORMAT = 1


@dataclass(frozen=True)
class Position:
    """How far a run has come: `step` iterations of the stage numbered `stage` are done."""

    stage: int = 0
    step: int = 0


def save(folder: Path, recipe: Recipe, position: Position, identity: Mapping[str, Any]) -> None:
    """Write the state; what was there before stays whole until the new file is. Raises `PinxitError` on a full disk."""
    state = {
        "format": FORMAT,
        "identity": json.dumps(identity),
        "stage": position.stage,
        "step": position.step,
        "recipe": recipe.state_dict(),
        "optimizers": {name: o.state_dict() for name, o in recipe.optimizers.items()},
        "rng": torch.get_rng_state(),
        "rng_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    # A file of Python's, so that a refusal of the disk arrives as the OSError it is.
    with replacing(folder / NAME) as temporary, temporary.open("wb") as file:
        torch.save(state, file)


def require_startable(folder: Path, resume: bool) -> None:
    """Raises `PinxitError` where there is nothing to resume, or a new run would take the place of another."""
    begun = (folder / NAME).is_file()
    if resume and not begun:
        raise expected(f"run '{folder}'", "without state.pt", "a run that was begun", "leave out --resume to begin it")
    if begun and not resume:
        raise expected(f"folder '{folder}'", "a run already", "a new folder", "add --resume to go on with it")


def precision_of_run(folder: Path) -> str:
    """What the run in a folder computes in; `auto` where its state does not tell, of which `read` will say why."""
    try:
        identity = json.loads(torch.load(folder / NAME, map_location="cpu", weights_only=True, mmap=True)["identity"])
        return str(identity["precision"])
    except Exception:  # a damaged file makes torch raise anything
        return "auto"


def read(folder: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a run's folder, if it is of the same method, data and options.

    Raises `PinxitError` naming the first difference, or what is wrong with the file.
    """
    path = folder / NAME
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise anything, IndexError and AssertionError included
        raise expected(f"checkpoint '{path}'", "damaged", "a whole state.pt", "begin the run anew") from error
    found = state.get("format") if isinstance(state, dict) else None
    if found != FORMAT:
        raise expected(f"checkpoint '{path}'", f"of format {found}", FORMAT, "use the version it is of")
    for name, was, now in differences(json.loads(state["identity"]), json.loads(json.dumps(identity))):
        raise PinxitError(
            f"{name} is {now!r}, expected {was!r} as the run '{folder}' has it; resume with that, or begin another run"
        )
    return state


def restore(state: Mapping[str, Any], recipe: Recipe) -> None:
    """Fill networks and optimizers, grown to the state's stage, and the random generators."""
    recipe.load_state_dict(state["recipe"])
    for name, optimizer in recipe.optimizers.items():
        optimizer.load_state_dict(state["optimizers"][name])
    torch.set_rng_state(state["rng"])
    if state["rng_cuda"] and torch.cuda.device_count() == len(state["rng_cuda"]):
        torch.cuda.set_rng_state_all(state["rng_cuda"])


def differences(was: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """(name, was, now) of each value that differs, nested names joined by dots."""
    found = []
    for name in sorted({*was, *now}):
        a, b = was.get(name), now.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append((f"{prefix}{name}", a, b))
    return found
