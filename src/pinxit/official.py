"""What authors' codes leave on disk: state dicts and option dumps, read without executing anything of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from pinxit import unpickle
from pinxit.errors import expected

State = dict[str, Tensor]


def read_state(path: Path) -> State:
    """The state dict in a `.pth`, without the counters of batches, which no computation reads.

    Raises `PinxitError` where there is none, where it is damaged, or holds anything beside tensors.
    """
    state = unpickle.load(path, (), "weights")
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        got = f"a {type(state).__name__}"
        raise expected(f"weights '{path}'", got, "a dict of tensors", "use the latest_net_*.pth")
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


def fill(
    network: nn.Module,
    state: Mapping[str, Tensor],
    names: Mapping[str, str],
    thing: str,
    want: str,
    *,
    advice: str = "check that this is the right file, and the options it was trained with",
    old_norms: bool = True,
) -> None:
    """Load `state` into `network`; every name and shape must agree.

    `names`: our name -> theirs, for every weight and buffer.
    `thing`, `want`, `advice`: what messages call the file, and a network as this is, and propose.
    `old_norms`: whether what instance norms of PyTorch before 0.4 counted (`running_mean` and `running_var` without a
    `weight` beside them) is passed over, as nothing ever read it; False where batch norms have that form.

    Raises `PinxitError`, and leaves the network as it was, for a name that is missing or too many, or another shape.
    """
    ours = network.state_dict()
    for name, theirs in names.items():
        if theirs not in state:
            raise expected(thing, f"without {theirs}", want, advice)
        got, shape = tuple(state[theirs].shape), tuple(ours[name].shape)
        if got != shape:
            raise expected(f"{theirs} in {thing}", f"of shape {got}", f"{shape} as {want} has it", advice)
    known = set(names.values())
    stems = {name.rpartition(".")[0] for name in state if name.endswith(".weight")}
    for name in sorted(set(state) - known):
        stem, _, leaf = name.rpartition(".")
        if not old_norms or leaf not in ("running_mean", "running_var") or stem in stems:
            raise expected(thing, f"with {name}", want, advice)
    network.load_state_dict({name: state[theirs] for name, theirs in names.items()})


def released_files(sources: Sequence[Path], epoch: str) -> tuple[Path, Path | None]:
    """The generator's file in a folder or among files, and the encoder's where there is one.

    Raises `PinxitError`.
    """
    if len(sources) == 1 and sources[0].is_dir():
        encoder = sources[0] / f"{epoch}_net_E.pth"
        return sources[0] / f"{epoch}_net_G.pth", encoder if encoder.is_file() else None
    by_part: dict[str, Path] = {}
    for path in sources:
        part = re.search(r"_net_([GE])\.pth$", path.name)
        if not part or not path.is_file():
            got = "not there" if not path.exists() else "of another name"
            raise expected(f"'{path}'", got, "a folder, or files *_net_G.pth and *_net_E.pth", "check the path")
        by_part[part[1]] = path
    if "G" not in by_part:
        raise expected("the generator's file", "missing", "a *_net_G.pth", "name it too")
    return by_part["G"], by_part.get("E")


def read_options(path: Path) -> dict[str, Any]:
    """The options in an `opt.txt`, whose lines read `name: value [default: other]`."""
    options: dict[str, Any] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.match(r"\s*(\w+): (.*?)\s*(?:\[default: .*\])?\s*$", line)
        if match:
            options[match[1]] = _value(match[2])
    return options


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
