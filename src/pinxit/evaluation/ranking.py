"""A person's eye: blind ranking studies kept in a folder, and their answers. `preferences.py` says what these tell.

Two designs. `pairs`, the two-alternative forced choice of Isola et al. 2017, Park et al. 2019 and Wang et al. 2018 on
Mechanical Turk: which of two? `ranking`, as in Zhang et al. 2017 (StackGAN): all methods' pictures of one condition in
order, the mean rank told.

A study is a folder: `study.json` (the questions; methods are codes), `pictures/` under the hashes of their contents,
`key.json` (who is who; nobody serves it), `raters.jsonl` and `answers.jsonl`, to which lines are only ever added.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.data.labels import LabelSet

FORMAT = 1
"""Of study.json."""
BROKEN = -1
"""In place of a method: the broken copy that an attention check shows."""
MOST_METHODS = 9
"""There are as many keys of digits, and nobody ranks more with care."""
MOST_RATERS = 10_000
MOST_LINES = 20
"""Answers kept of a rater for each question, those taken back included."""
DAY = 86_400.0

Design = Literal["pairs", "ranking"]
Kind = Literal["question", "check", "repeat"]
T = TypeVar("T")


# The study


@dataclass(frozen=True)
class Item:
    """One condition: the ids of its pictures, one for each method in the order of the codes, and what stands above."""

    pictures: tuple[str, ...]
    condition: str | None = None
    caption: str | None = None


@dataclass(frozen=True)
class Check:
    """An attention check: the picture of a method beside its broken copy."""

    item: int
    method: int
    broken: str


@dataclass(frozen=True)
class Question:
    """`shown`: methods as they stand on the screen, from the left or the top; `BROKEN` among them in a check."""

    kind: Kind
    item: int
    shown: tuple[int, ...]


@dataclass(frozen=True)
class Study:
    """A study as `study.json` has it. Methods are numbers here, and the letters A, B, … in files."""

    folder: Path
    id: str
    design: Design
    methods: int
    seed: int
    per_rater: int
    """Questions of each rater, checks and repeats not counted."""
    repeats: int
    """Questions that each rater gets once more, mirrored."""
    items: tuple[Item, ...]
    checks: tuple[Check, ...]
    question: str | None = None
    """What is asked; None: what the page asks of itself, in the rater's language."""
    instructions: str | None = None
    seconds: float | None = None
    """How long pictures are seen; None: without limit."""

    @property
    def codes(self) -> tuple[str, ...]:
        return tuple(chr(ord("A") + method) for method in range(self.methods))

    @cached_property
    def circle(self) -> list[Question]:
        """Every question once, such that each stretch of the circle is balanced.

        With P pairs, any P questions in a row have each pair once, each of another item as far as there are as many; a
        pair's turns alternate sides. A ranking's turns rotate through the places of the screen.
        """
        groups = list(combinations(range(self.methods), 2)) if self.design == "pairs" else [tuple(range(self.methods))]
        items = [self._shuffled(range(len(self.items)), "items", g) for g in range(len(groups))]
        return [
            Question(
                "question",
                items[g][turn],
                rotated(self._shuffled(group, "sides", g, turn // len(group)), turn % len(group)),
            )
            for turn in range(len(self.items))
            for g, group in enumerate(groups)
        ]

    def sheet(self, number: int) -> list[Question]:
        """The questions of rater `number` = 0, 1, …: the next `per_rater` of the circle, in an order of their own.

        After any number of sheets each question was asked equally often, but for one; each time round the circle what
        is shown moves on by one place. Attention checks are mixed in, and repeats come after what they repeat.
        """
        circle, asked = self.circle, []
        for place in range(number * self.per_rater, (number + 1) * self.per_rater):
            lap, at = divmod(place, len(circle))
            asked.append(Question("question", circle[at].item, rotated(circle[at].shown, lap)))
        checks = [
            Question("check", check.item, rotated((check.method, BROKEN), i + number))
            for i, check in enumerate(self.checks)
        ]
        order = self._shuffled([*asked, *checks], "order", number)
        again = [question for question in order if question.kind == "question"][: self.repeats]
        if again:
            cut = order.index(again[-1]) + 1
            repeats = [Question("repeat", question.item, question.shown[::-1]) for question in again]
            order = [*order[:cut], *self._shuffled([*order[cut:], *repeats], "repeats", number)]
        return order

    def pictures_of(self, question: Question) -> list[str]:
        """The ids of the pictures, as they stand on the screen."""
        broken = {check.item: check.broken for check in self.checks} if question.kind == "check" else {}
        pictures = self.items[question.item].pictures
        return [broken[question.item] if method == BROKEN else pictures[method] for method in question.shown]

    def picture(self, id: str) -> Path | None:
        """The file of a picture of this study; None for any other name."""
        return self.folder / "pictures" / f"{id}.png" if id in self._ids else None

    @cached_property
    def _ids(self) -> set[str]:
        return {
            *(id for item in self.items for id in (*item.pictures, item.condition) if id is not None),
            *(check.broken for check in self.checks),
        }

    def _shuffled(self, things: Iterable[T], *purpose: object) -> list[T]:
        # By hashes, not a generator of random numbers: a rater who comes back next year, when the libraries are other
        # versions, must find the same sheet.
        def key(numbered: tuple[int, T]) -> bytes:
            return hashlib.sha256(repr((self.seed, *purpose, numbered[0])).encode()).digest()

        return [thing for _, thing in sorted(enumerate(things), key=key)]


def rotated(shown: Sequence[int], by: int) -> tuple[int, ...]:
    by %= len(shown)
    return (*shown[by:], *shown[:by])


def make(
    out: Path,
    methods: Mapping[str, Path],
    *,
    design: Design = "pairs",
    inputs: Path | None = None,
    label_set: LabelSet | None = None,
    items: int | None = None,
    checks: int = 0,
    repeats: int = 0,
    per_rater: int | None = None,
    question: str | None = None,
    instructions: str | None = None,
    seconds: float | None = None,
    seed: int = 0,
    sources: Mapping[str, str] | None = None,
) -> Study:
    """Write a new study of the pictures in `methods` (name -> folder), which belong together by their names.

    `inputs`: what is shown above the choices: a folder of pictures of these names, or a `.txt` of captions (one line
    for each picture in the order of their names, or `name<TAB>caption`). `label_set`: the inputs are label maps of it.
    `items`: so many, drawn by `seed`; None for all. `per_rater`: None for every question. `sources`: what a person
    calls the folders, where these are not their own.

    Raises:
        PinxitError: the pictures do not fit together, a number is out of its range, or `out` is there already.
    """
    if not 2 <= len(methods) <= MOST_METHODS:
        raise expected("number of methods", len(methods), f"2..{MOST_METHODS}", "name as many with --models")
    for option, number in (("--checks", checks), ("--repeats", repeats), ("--seed", seed)):
        if number < 0:
            raise expected(option, number, "0 or more", "correct it")
    if seconds is not None and not 0 < seconds <= DAY:
        raise expected("--seconds", f"{seconds:g}", "more than 0, and at most a day", "leave it out for no limit")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise expected(f"--out '{out}'", "there already", "a new folder", "name another, so that no answer is lost")
    sources = sources or {name: str(folder) for name, folder in methods.items()}
    of_method = {name: _by_stem(folder, f"folder '{sources[name]}'") for name, folder in methods.items()}
    names = _common_names(of_method, sources)
    conditions, captions = _conditions(inputs, names)

    order = _drawn(len(names), items, seed)
    every = len(order) * (math.comb(len(methods), 2) if design == "pairs" else 1)
    if per_rater is not None and not 1 <= per_rater <= every:
        raise expected("--questions-per-rater", per_rater, f"1..{every}, as many as there are", "correct it")
    per_rater = per_rater or every
    if checks > len(order):
        raise expected("--checks", checks, f"0..{len(order)}, one of each item at most", "lower it")
    if repeats > per_rater:
        raise expected("--repeats", repeats, f"0..{per_rater}, as many as a rater's questions", "lower it")

    random = np.random.default_rng(seed)
    hidden = [list(methods)[i] for i in random.permutation(len(methods))]  # what A, B, … stand for
    out.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        (building / "pictures").mkdir()
        made: list[Item] = []
        for place in order:
            name = names[place]
            pictures = tuple(_store(building, _photo(of_method[method][name])) for method in hidden)
            condition = _store(building, _shown_map(conditions[name], label_set)) if name in conditions else None
            made.append(Item(pictures, condition, captions.get(name)))
        checked: list[Check] = []
        for item in random.permutation(len(order))[:checks]:
            method = int(random.integers(len(hidden)))
            good = _photo(of_method[hidden[method]][names[order[item]]])
            checked.append(Check(int(item), method, _store(building, broken_copy(good, random))))
        study = Study(
            out, secrets.token_hex(8), design, len(hidden), seed, per_rater, repeats, tuple(made), tuple(checked),
            question, instructions, seconds,
        )  # fmt: skip
        who = {code: {"name": name, "from": sources[name]} for code, name in zip(study.codes, hidden, strict=True)}
        key = {
            "about": "who is who; not for raters",
            "methods": who,
            "items": [names[place] for place in order],
        }
        described = {"format": FORMAT, **{k: v for k, v in asdict(study).items() if k != "folder"}}
        _write_json(building / "key.json", key)
        _write_json(building / "study.json", described)
        building.chmod(0o755)  # mkdtemp's own is 0o700
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return study


def broken_copy(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """What nobody who looks prefers: the picture cut into tiles that are shuffled, half of its pixels noise.

    The noise is there for pictures that shuffling does not change, such as one of a single colour.
    """
    from PIL import Image

    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]

    def bands(n: int) -> NDArray[np.int64]:
        parts = np.array_split(np.arange(n), min(4, n))
        return np.concatenate([parts[i] for i in random.permutation(len(parts))])

    shuffled = pixels[np.ix_(bands(height), bands(width))]
    noise = random.integers(0, 256, pixels.shape, np.uint8)
    return Image.fromarray(np.where(random.random((height, width, 1)) < 0.5, noise, shuffled))


def read(folder: Path) -> Study:
    """The study in a folder. Raises `PinxitError` where there is none that can be read."""
    path = folder / "study.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise expected(
            f"study '{folder}'", "without study.json", "a folder of `pinxit rank new`", "check the path"
        ) from error
    except (OSError, ValueError) as error:
        raise expected(f"'{path}'", "damaged", "a study of this version", "make the study anew") from error
    try:
        if content.pop("format") != FORMAT:
            raise ValueError
        items = tuple(Item(tuple(item.pop("pictures")), **item) for item in content.pop("items"))
        checks = tuple(Check(**check) for check in content.pop("checks"))
        study = Study(folder, items=items, checks=checks, **content)
        if not re.fullmatch("[0-9a-f]{16}", study.id) or not 2 <= study.methods <= MOST_METHODS:
            raise ValueError
        if any(len(item.pictures) != study.methods for item in items):
            raise ValueError
        if any(re.fullmatch("[0-9a-f]{32}", id) is None for id in study._ids):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise expected(f"'{path}'", "of another form", "a study of this version", "make the study anew") from error
    if not items or study.per_rater < 1:
        raise expected(f"study '{folder}'", "empty", "one question or more", "make it anew with some pictures")
    return study


def names_of(study: Study) -> list[str]:
    """The methods' names, in the order of the codes. Raises `PinxitError`."""
    path = study.folder / "key.json"
    try:
        methods = json.loads(path.read_text(encoding="utf-8"))["methods"]
        return [str(methods[code]["name"]) for code in study.codes]
    except (OSError, ValueError, KeyError, TypeError) as error:
        want = "the file that `pinxit rank new` has written"
        raise expected(f"'{path}'", "missing or damaged", want, "put it back: it says who is who") from error


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _drawn(n: int, wanted: int | None, seed: int) -> list[int]:
    if wanted is None:
        return list(range(n))
    if not 1 <= wanted <= n:
        raise expected("--items", wanted, f"1..{n}, as many as there are", "correct it, or leave it out for all")
    return sorted(int(i) for i in np.random.default_rng([seed, 1]).permutation(n)[:wanted])


def _by_stem(folder: Path, thing: str) -> dict[str, Path]:
    from pinxit.data.folders import by_name
    from pinxit.data.images import SUFFIXES

    if not folder.is_dir():
        raise expected(thing, "missing", "a folder of pictures", "check the path")
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    if not files:
        raise expected(thing, "without pictures", "one or more", "check the path")
    return by_name(files, lambda path: path.stem)


def _common_names(of_method: Mapping[str, Mapping[str, Path]], sources: Mapping[str, str]) -> list[str]:
    """The names that all have. Raises `PinxitError` where one has others."""
    first, *others = of_method
    for other in others:
        for here, there in ((other, first), (first, other)):
            missing = sorted(of_method[there].keys() - of_method[here].keys())
            if missing:
                more = f" and {len(missing) - 1} more" if missing[1:] else ""
                got, want = f"without '{missing[0]}'{more} of '{sources[there]}'", "pictures of the same names in all"
                raise expected(f"folder '{sources[here]}'", got, want, "add what is missing, or remove the rest")
    return list(of_method[first])


def _conditions(inputs: Path | None, names: Sequence[str]) -> tuple[dict[str, Path], dict[str, str]]:
    """Pictures and captions by name. Raises `PinxitError` where one has none."""
    if inputs is None:
        return {}, {}
    if inputs.suffix.lower() != ".txt":
        of_input = _by_stem(inputs, f"--inputs '{inputs}'")
        missing = [name for name in names if name not in of_input]
        if missing:
            got, want = f"without '{missing[0]}'", "a picture of each name that the methods have"
            raise expected(f"--inputs '{inputs}'", got, want, "add what is missing")
        return {name: of_input[name] for name in names}, {}
    try:
        lines = [line.strip() for line in inputs.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise expected(f"--inputs '{inputs}'", "not readable", "captions in UTF-8, a line each", "check it") from error
    if lines and all("\t" in line for line in lines):
        captions = dict(line.split("\t", 1) for line in lines)
        missing = [name for name in names if name not in captions]
        if missing:
            got, want = f"without '{missing[0]}'", "a caption of each name that the methods have"
            raise expected(f"--inputs '{inputs}'", got, want, "add what is missing")
        return {}, {name: captions[name].strip() for name in names}
    if len(lines) != len(names):
        want = f"{len(names)}, one for each picture of a method"
        raise expected(f"--inputs '{inputs}'", f"{len(lines)} captions", want, "or write name, tab and caption")
    return {}, dict(zip(names, lines, strict=True))


def _photo(path: Path) -> Image.Image:
    from pinxit.data.images import read_photo

    return read_photo(path)


def _shown_map(path: Path, labels: LabelSet | None) -> Image.Image:
    """A condition as a person is to see it: a label map in its set's colours."""
    from PIL import Image

    from pinxit.data.images import read_map

    return _photo(path) if labels is None else Image.fromarray(labels.colorize(read_map(path, labels)))


def _store(folder: Path, picture: Image.Image) -> str:
    """Keep a picture under the hash of its file, which holds the pixels and nothing else (no EXIF, no names)."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.asarray(picture.convert("RGB"))).save(file, "PNG")
    id = hashlib.sha256(file.getvalue()).hexdigest()[:32]
    (folder / "pictures" / f"{id}.png").write_bytes(file.getvalue())
    return id


# Answers


@dataclass(frozen=True)
class Answer:
    """One rater's answer to one question; `ranking`: what was `shown`, the best first."""

    rater: str
    place: int
    """Of the question in the rater's sheet."""
    kind: Kind
    item: int
    shown: tuple[int, ...]
    ranking: tuple[int, ...]
    seconds: float
    at: str


def read_answers(study: Study) -> list[Answer]:
    """All answers that count: of each rater and question the last one given.

    Raises:
        PinxitError: a line is damaged, or not of this study; it names the line.
    """
    numbers = {code: method for method, code in enumerate(study.codes)} | {"broken": BROKEN}
    last: dict[tuple[str, int], Answer] = {}
    for line, content in _lines(study.folder / "answers.jsonl"):
        try:
            shown, ranking = (tuple(numbers[code] for code in content[name]) for name in ("shown", "ranking"))
            answer = Answer(
                str(content["rater"]), int(content["place"]), content["kind"], int(content["item"]), shown, ranking,
                float(content["seconds"]), str(content["at"]),
            )  # fmt: skip
            if not (
                answer.kind in ("question", "check", "repeat")
                and 0 <= answer.item < len(study.items)
                and len(set(shown)) == len(shown) >= 2
                and sorted(shown) == sorted(ranking)
                and (BROKEN in shown) == (answer.kind == "check")
                and math.isfinite(answer.seconds)
            ):
                raise ValueError
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_line(study.folder / "answers.jsonl", line, "not of this study") from error
        last[answer.rater, answer.place] = answer
    return list(last.values())


def read_raters(study: Study) -> dict[str, int]:
    """Rater -> number of the sheet, of all who have begun. Raises `PinxitError` as `read_answers`."""
    raters: dict[str, int] = {}
    for line, content in _lines(study.folder / "raters.jsonl"):
        try:
            raters[str(content["rater"])] = int(content["sheet"])
        except (KeyError, TypeError, ValueError) as error:
            raise _bad_line(study.folder / "raters.jsonl", line, "not of this study") from error
    return raters


def _lines(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a .jsonl and the numbers of their lines, from 1; nothing where there is no file."""
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise _bad_line(path, number, "no JSON") from error
        if not isinstance(content, dict):
            raise _bad_line(path, number, "no JSON object")
        found.append((number, content))
    return found


def _bad_line(path: Path, line: int, got: str) -> PinxitError:
    return expected(
        f"line {line} of '{path}'", got, "an answer or a rater as the page writes it", "mend or remove the line"
    )


class Intake:
    """Raters and their answers, as they come in: each is on disk before it is acknowledged. One for each study."""

    def __init__(self, study: Study) -> None:
        """Raises `PinxitError` where a line of an earlier time is damaged."""
        self.study = study
        self._raters = read_raters(study)
        self._given: dict[str, dict[int, list[int]]] = {}
        self._lines: dict[str, int] = {}
        for answer in read_answers(study):
            order = [answer.shown.index(method) for method in answer.ranking]
            self._given.setdefault(answer.rater, {})[answer.place] = order
            self._lines[answer.rater] = self._lines.get(answer.rater, 0) + 1
        self._lock = threading.Lock()

    def join(self) -> str:
        """A new rater, with the next sheet. Raises `PinxitError` where there are too many."""
        with self._lock:
            if len(self._raters) >= MOST_RATERS:
                raise expected("number of raters", len(self._raters), f"at most {MOST_RATERS}", "end the study")
            rater, sheet = secrets.token_hex(16), max(self._raters.values(), default=-1) + 1
            _append(self.study.folder / "raters.jsonl", {"rater": rater, "sheet": sheet, "at": now()})
            self._raters[rater] = sheet
            return rater

    def __contains__(self, rater: str) -> bool:
        return rater in self._raters

    def sheet(self, rater: str) -> list[Question]:
        return self.study.sheet(self._raters[rater])

    def given(self, rater: str) -> dict[int, list[int]]:
        """What the rater has answered: place -> order, as `add` takes it."""
        with self._lock:
            return dict(self._given.get(rater, {}))

    def add(self, rater: str, place: int, order: Sequence[int], seconds: float) -> None:
        """Keep an answer; one to the same question that was there before no longer counts.

        `order`: places on the screen, counted from 0, the best first.

        Raises:
            PinxitError: there is no such question, `order` is no order of what it shows, or the rater has answered far
                more often than there are questions.
        """
        sheet = self.sheet(rater)
        if not 0 <= place < len(sheet):
            raise expected("place", place, f"0..{len(sheet) - 1}", "load the page anew")
        question = sheet[place]
        if sorted(order) != list(range(len(question.shown))):
            raise expected("order", list(order), f"each of 0..{len(question.shown) - 1} once", "load the page anew")
        codes = {**dict(enumerate(self.study.codes)), BROKEN: "broken"}
        answer = {
            "rater": rater,
            "place": place,
            "kind": question.kind,
            "item": question.item,
            "shown": [codes[method] for method in question.shown],
            "ranking": [codes[question.shown[i]] for i in order],
            "seconds": round(seconds, 3),
            "at": now(),
        }
        with self._lock:
            lines = self._lines.get(rater, 0)
            if lines >= MOST_LINES * len(sheet):
                raise expected("number of answers", lines, "one for each question", "begin anew as another rater")
            _append(self.study.folder / "answers.jsonl", answer)
            self._lines[rater] = lines + 1
            self._given.setdefault(rater, {})[place] = list(order)


def _append(path: Path, content: object) -> None:
    with path.open("ab") as file:
        file.write(json.dumps(content, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
