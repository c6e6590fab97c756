"""`model.safetensors`: weights for painting, with all that is needed to read them. Nothing in it can execute code."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pinxit.errors import PinxitError, expected

FORMAT = "1"
NAME = "model.safetensors"


@dataclass(frozen=True)
class ModelFile:
    """Weights by name (`G.…`, `E.…`), the method they belong to, its configuration, and where they come from."""

    method: str
    config: Mapping[str, Any]
    """The network's options, as JSON values."""
    tensors: Mapping[str, Tensor]
    label_set: Mapping[str, Any] | None = None
    card: Mapping[str, str] = field(default_factory=dict)
    """Free text for people: `source`, `licence`, `data`, `steps`, `command`."""

    def save(self, folder: Path) -> Path:
        """Write `model.safetensors` and, for people, `config.json` into `folder`; an older file stays whole on failure.

        Raises `PinxitError` where the disk refuses.
        """
        readable = json.dumps({"method": self.method, "config": self.config, "card": self.card}, indent=2)
        self.save_as(folder / NAME)
        with replacing(folder / "config.json") as temporary:
            temporary.write_text(readable + "\n", encoding="utf-8")
        return folder / NAME

    def save_as(self, file: Path) -> None:
        """Write the model file alone, under a name of one's choice; an older file stays whole on failure.

        Raises `PinxitError` where the disk refuses.
        """
        described = {
            "format": FORMAT,
            "method": self.method,
            "config": json.dumps(self.config),
            "label_set": json.dumps(self.label_set),
            "card": json.dumps(self.card),
        }
        with replacing(file) as temporary:
            # Not save_file, whose files none but their owner can read.
            temporary.write_bytes(save(dict(self.tensors), metadata=described))


def read(path: Path) -> ModelFile:
    """Read a model file, or the one in a folder (of a run or a model).

    Raises `PinxitError` where there is none, or where it is not a model of Pinxit's.
    """
    file = path / NAME if path.is_dir() else path
    if not file.is_file():
        got = "a folder without model.safetensors" if path.is_dir() else "not there"
        raise expected(f"model '{path}'", got, "a model folder or file", "train or import one, or mend the path")
    try:
        with safe_open(file, framework="pt") as f:
            described = f.metadata() or {}
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise expected(f"model '{file}'", f"unreadable ({error})", "a safetensors file", "copy it again") from error
    if described.get("format") != FORMAT or "method" not in described:
        raise expected(
            f"model '{file}'", f"of format {described.get('format')}", f"format {FORMAT} of Pinxit", "use pinxit import"
        )
    try:
        config, label_set, card = (json.loads(described[key]) for key in ("config", "label_set", "card"))
    except (KeyError, ValueError) as error:
        raise expected(
            f"model '{file}'", f"damaged in its metadata ({error})", "a whole file", "copy it again"
        ) from error
    return ModelFile(described["method"], config, tensors, label_set, card)


class replacing:
    """Write a file under a temporary name and rename it when it is whole and on disk.

    Whatever cuts the writing short, `target` is either the older file or the new one, entire. A refusal of the disk
    (full, read-only) is raised as a `PinxitError`. Folders that were made for it go again where it does not come.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        self.made: list[Path] = []

    def __enter__(self) -> Path:
        self.made = [folder for folder in self.target.parents if not folder.exists()]
        self.target.parent.mkdir(parents=True, exist_ok=True)
        return self.temporary

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            try:
                with self.temporary.open("rb+") as f:
                    os.fsync(f.fileno())
                self.temporary.replace(self.target)
                return
            except OSError as refused:
                error = refused
        self.temporary.unlink(missing_ok=True)
        with suppress(OSError):  # others may have begun to use them
            for folder in self.made:
                folder.rmdir()
        # torch.save raises an error of its own on top of the operating system's.
        # What others have already told stays as it is.
        refused = None if isinstance(error, PinxitError) else error
        while refused is not None and not isinstance(refused, OSError):
            refused = refused.__cause__ or refused.__context__
        if refused is not None:
            kept = "the older file is untouched" if self.target.exists() else "nothing was written"
            raise PinxitError(
                f"'{self.target}' is not saved ({refused.strerror or refused}), expected room on the disk; "
                f"free some and go on, {kept}"
            ) from error
