"""`pinxit info MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.apps.cli.pictures import STYLE


@dataclass(frozen=True)
class Info:
    """What a model takes, what it was trained on, and what it may be used for."""

    model: tyro.conf.Positional[Path]
    """Model folder or file; `demo`, `fruits`, `mixed`: those that come along."""


def main(arguments: list[str]) -> None:
    print(describe(tyro.cli(Info, args=arguments, prog="pinxit info", config=STYLE)))


def describe(o: Info) -> str:
    """The model's card and options as text."""
    from pinxit import modelfile
    from pinxit.apps.cli.pictures import found_model

    path = found_model(o.model)
    file = modelfile.read(path)
    rows = [("method", file.method), *file.card.items()]
    parts: dict[str, int] = {}
    for name, tensor in file.tensors.items():
        part = name.split(".")[0]
        parts[part] = parts.get(part, 0) + tensor.numel()
    rows += [(f"weights of {part}", f"{count:,}") for part, count in parts.items()]
    rows += [(name, str(value)) for name, value in file.config.items()]
    if file.label_set:
        names = [label["name"] for label in file.label_set["labels"]]
        rows.append((f"labels ({file.label_set['name']})", ", ".join(f"{i} {name}" for i, name in enumerate(names))))
    width = max(len(name) for name, _ in rows)
    return "\n".join([str(path), *(f"  {name:{width}}  {value}" for name, value in rows)])
