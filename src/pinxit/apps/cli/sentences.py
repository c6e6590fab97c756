"""What the commands of models that paint sentences share: options, opening the model, and the sentences themselves."""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import PinxitError, expected
from pinxit.models import METHODS

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.modelfile import ModelFile

PAINTERS = ("stackgan", "ganintcls", "gawwn")
"""Methods whose models paint a sentence and need nothing else."""

MOST_VARIANTS = 64
"""Sentences that a pattern may stand for."""

ModelPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="Model folder or file, of StackGAN or its like.")]
TextEncoder = Annotated[
    str | None,
    tyro.conf.arg(
        help="Where the text encoder that the model was trained with lies on this machine: sentence:FOLDER, "
        "clip:FOLDER or char-cnn-rnn:MODEL.",
        help_behavior_hint="(default: as the model says)",
    ),
]
Box = Annotated[
    tuple[float, float, float, float] | None,
    tyro.conf.arg(
        metavar="X Y W H",
        help="Of GAWWN trained with boxes: where it is, left, top, width and height from 0 to 1 of the picture's side.",
        help_behavior_hint="(default: the middle)",
    ),
]
Points = Annotated[
    tuple[str, ...],
    tyro.conf.arg(metavar="PART=X,Y ...", help="Of GAWWN trained with points: where parts are, as beak=0.3,0.25."),
]


class Model(Protocol):
    """What `load` of such a method gives: a seed has the same noise whatever the sentence."""

    file: ModelFile

    def sample(self, sentence: str, n: int = 1, seed: int = 0) -> list[Image.Image]: ...

    def interpolate(self, a: str, b: str, steps: int = 8, seed: int = 0) -> list[Image.Image]: ...


def open_model(command: str, path: Path, device: str, text_encoder: str | None) -> Any:
    """The `Model` at `path`. Raises `PinxitError` for one of another method."""
    from pinxit import modelfile
    from pinxit.training.distributed import pick_device

    method = pictures.method_of(path)
    if method not in (None, *PAINTERS):
        got, want = f"of method {method}", f"one that paints sentences ({', '.join(PAINTERS)}), for `{command}`"
        raise expected(f"model '{path}'", got, want, "train or import one")
    file = modelfile.read(pictures.found_model(path))
    chosen = pick_device(device)
    return importlib.import_module(f"{METHODS[file.method]}.generate").load(file, chosen, text_encoder)


def place_of(model: Model, box: tuple[float, float, float, float] | None, points: Sequence[str]) -> dict[str, Any]:
    """--box and --points as the model's verbs take them. Raises `PinxitError` where it takes none."""
    place: dict[str, Any] = {} if box is None else {"box": box}
    for point in points:
        part, _, where = point.partition("=")
        try:
            x, y = (float(number) for number in where.split(","))
        except ValueError as error:
            raise expected("--points", repr(point), "PART=X,Y such as beak=0.3,0.25", "correct it") from error
        place.setdefault("points", {})[part.strip()] = (x, y)
    if place and model.file.method != "gawwn":
        got = f"given for a model of {model.file.method}"
        raise expected(" and ".join(f"--{name}" for name in place), got, "nothing", "leave it out: gawwn has places")
    return place


def cleaned(sentence: str, thing: str) -> str:
    """The sentence as models take it. `thing`: what messages call it. Raises `PinxitError` for an empty one."""
    from pinxit.text.encoder import clean

    try:
        return clean(sentence)
    except PinxitError as error:
        raise PinxitError(f"{thing}: {error}") from error


def read_sentences(file: Path) -> list[str]:
    """The sentences of a text file, one a line; empty lines are passed over. Raises `PinxitError`."""
    thing = f"--sentences '{file}'"
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise expected(thing, "not there", "a text file, a sentence a line", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise expected(thing, f"unreadable ({error})", "a text file in UTF-8", "save it so") from error
    found = [cleaned(line, f"line {i} of {thing}") for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise expected(thing, "empty", "a sentence a line", "write some")
    return found


def variants(sentence: str, edits: Sequence[str] = ()) -> list[str]:
    """All that a sentence stands for: `a {red,green} pepper` for two, and each edit `red->yellow` for one more.

    An edit is made to the first of them, where its left side stands as a word, or, in a script without blanks, at all.
    Raises `PinxitError` for an edit of another form or of what is not in the sentence, and for too many sentences.
    """
    parts = [
        part[1:-1].split(",") if part[:1] == "{" and "," in part else [part]
        for part in re.split(r"(\{[^{}]*\})", sentence)
    ]
    number = 1
    for part in parts:
        number *= len(part)
    if number > MOST_VARIANTS:
        raise expected("SENTENCE", f"a pattern of {number}", f"one of at most {MOST_VARIANTS} sentences", "shorten it")
    found = ["".join(chosen) for chosen in itertools.product(*parts)]
    for edit in edits:
        old, arrow, new = (part.strip() for part in edit.partition("->"))
        if not (old and arrow):
            raise expected("--edits", repr(edit), 'what is replaced, and by what, as "red->yellow"', "correct it")
        changed = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _, new=new: new, found[0])
        if changed == found[0] and not old.isascii():
            changed = found[0].replace(old, new)
        if changed == found[0]:
            raise expected("--edits", repr(edit), f"a change to words of {found[0]!r}", "name what stands there")
        found.append(changed)
    return list(dict.fromkeys(found))


def asked(sentence: Sequence[str], file: Path | None, edits: Sequence[str] = ()) -> list[str]:
    """The sentences to be painted. Raises `PinxitError` where there are none, or what is given is not one."""
    if file is not None:
        for option, given in (("SENTENCE", sentence), ("--edits", edits)):
            if given:
                raise expected(option, "given with --sentences", "one of the two", "leave one out")
        return read_sentences(file)
    if not sentence:
        raise expected("SENTENCE", "missing", "what is to be seen", "write it behind MODEL, in quotes")
    if len(sentence) > 1:
        got = f"{len(sentence)} arguments, {sentence[0][:40]!r} the first"
        raise expected("SENTENCE", got, "one", "put it in quotes; several go into a file, --sentences FILE")
    return [cleaned(one, "SENTENCE") for one in variants(cleaned(sentence[0], "SENTENCE"), edits)]
