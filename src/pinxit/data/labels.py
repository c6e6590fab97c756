"""Label sets: which ids a label map holds, what they mean, and the colours people paint them with."""

from __future__ import annotations

import colorsys
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.errors import PinxitError, expected, unknown_name

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Label:
    """One thing that can be painted."""

    id: int
    """The value that label map files hold for it, 0..65535."""
    name: str
    color: Color | None
    """Red, green, blue, 0..255; None lets the set choose one."""
    group: str
    """The drawer of the palette it lies in: sky, plant, building…"""


@dataclass(frozen=True)
class LabelSet:
    """The labels of a data set, in the order of the network's channels.

    A label's index, which is what the network sees, is its position in `labels`; each id in `ignore` means 'unknown'
    and has the index `len(labels)`. Nothing else is ever added to or taken from an id.

    Raises:
        PinxitError: two labels share an id or a name, an ignored id is a label's, or an id or a colour is out of range.
    """

    name: str
    labels: tuple[Label, ...]
    ignore: tuple[int, ...] = ()
    """The file ids that mean 'unknown'; empty where every pixel must have a label."""
    note: str = ""
    """Where names and colours come from."""

    def __post_init__(self) -> None:
        if not self.labels:
            raise expected(f"label set {self.name!r}", "empty", "one label or more", "list its labels")
        for what, values in (
            ("id", [str(label.id) for label in self.labels]),
            ("name", [label.name for label in self.labels]),
        ):
            if twice := [value for value, times in Counter(values).items() if times > 1]:
                raise expected(
                    f"{what} {twice[0]!r} of label set {self.name!r}",
                    "given twice",
                    f"one label for each {what}",
                    "remove one",
                )
        ids = {label.id for label in self.labels}
        for id in (*ids, *self.ignore):
            if not 0 <= id <= 65535:
                raise expected(f"an id of label set {self.name!r}", id, "0..65535", "correct it")
        if both := sorted(ids & set(self.ignore)):
            raise expected(
                f"id {both[0]} of label set {self.name!r}", "both a label and ignored", "one of the two", "remove one"
            )
        for label in self.labels:
            if label.color is not None and (len(label.color) != 3 or not all(0 <= part <= 255 for part in label.color)):
                raise expected(
                    f"the colour of {label.name!r} in label set {self.name!r}",
                    label.color,
                    "three of 0..255",
                    "correct it",
                )

    @property
    def unknown(self) -> int:
        """The index of 'unknown', one past the last label's."""
        return len(self.labels)

    @property
    def channels(self) -> int:
        """How many channels a one-hot map has: one a label, and one for 'unknown' if the set has ignored ids."""
        return len(self.labels) + bool(self.ignore)

    @cached_property
    def palette(self) -> np.ndarray:
        """uint8 [labels + 1, 3]: the colour of each index; labels that have none and 'unknown' get one that is free."""
        taken = {label.color for label in self.labels if label.color is not None}
        # 'unknown' chooses before the labels without colours do, so that it is black whenever black is free.
        unknown = next(
            color for color in ((0, 0, 0), (255, 255, 255), *distinct_colors(1, taken)) if color not in taken
        )
        free = iter(distinct_colors(sum(label.color is None for label in self.labels), taken | {unknown}))
        return np.array([*(label.color or next(free) for label in self.labels), unknown], np.uint8)

    def index(self, name: str) -> int:
        """The index of the label with this name.

        Raises:
            PinxitError: there is none; names the nearest.
        """
        names = [label.name for label in self.labels]
        if name not in names:
            raise unknown_name("label", name, names)
        return names.index(name)

    def look_up(self, raw: np.ndarray) -> np.ndarray:
        """A map as files have it, ids [H, W] or colours uint8 [H, W, 3], to int64 indices [H, W].

        -1 is what this set does not have. Of labels that share a colour the first is meant.
        """
        if raw.ndim == 3:
            codes, index = self._index_by_color
            found = _code(raw)
            place = np.searchsorted(codes, found).clip(max=len(codes) - 1)
            return np.where(codes[place] == found, index[place], -1)
        table = self._index_by_id
        if raw.dtype == np.uint8:
            return table[raw]
        return table[np.where((raw >= 0) & (raw < len(table)), raw, len(table) - 1)]

    def index_of(self, ids: np.ndarray, source: str) -> np.ndarray:
        """File ids, any integers of any shape, to int64 indices 0..`unknown`; `source` is the file that messages name.

        Raises:
            PinxitError: an id is neither a label's nor ignored.
        """
        index = self.look_up(ids)
        if (index < 0).any():
            raise self.wrong_ids([source], tally(ids[index < 0]), np.unique(ids).tolist())
        return index

    def ids_of(self, index: np.ndarray) -> np.ndarray:
        """Indices back to file ids, int64; 'unknown' becomes the first ignored id.

        Raises:
            PinxitError: an index is out of range, or 'unknown' where the set ignores no id.
        """
        ids = np.array([*(label.id for label in self.labels), *self.ignore[:1]], np.int64)
        if index.size and not 0 <= index.min() <= index.max() < len(ids):
            raise expected(
                "a label index",
                f"{index.min()}..{index.max()}",
                f"0..{len(ids) - 1} ({self.name})",
                "correct it",
            )
        return ids[index]

    def from_colors(self, rgb: np.ndarray, source: str) -> np.ndarray:
        """A colour-coded map, uint8 [H, W, 3], to int64 indices [H, W].

        Raises:
            PinxitError: a colour is no label's; names the most frequent ones and the label nearest to each.
        """
        index = self.look_up(rgb)
        if (index < 0).any():
            raise self.wrong_colors([source], tally_colors(rgb[index < 0]))
        return index

    def colorize(self, index: np.ndarray) -> np.ndarray:
        """Indices [H, W] to the colours people see, uint8 [H, W, 3]; 'unknown' is black unless a label is."""
        return self.palette[index]

    def wrong_ids(self, sources: Sequence[str], counts: Mapping[int, int], present: Iterable[int] = ()) -> PinxitError:
        """The message about ids outside this set: the files, {id: pixels}, and all ids there, which tell the remedy."""
        want = _span(label.id for label in self.labels) + (f" or {_span(self.ignore)} (unknown)" if self.ignore else "")
        held = {*counts, *present}
        fits = [name for name in label_set_names() if name != self.name and load_label_set(name)._holds_ids(held)]
        if len(counts) == 1 and counts.keys() <= {0, 255}:
            id = next(iter(counts))
            remedy = f"if {id} means 'unknown', add {id} to ignore in the label set's .json file (--label-set FILE)"
        elif fits:
            remedy = f"is this {fits[0]} (--label-set {fits[0]})?"
        else:
            remedy = "name the label set the map was made for (--label-set), or correct the map"
        values = _some((str(id), n) for id, n in counts.items())
        noun = "value" if len(counts) == 1 else "values"
        return PinxitError(f"{_files('label map', sources)} {noun} {values}, expected {want}; {remedy}")

    def wrong_colors(self, sources: Sequence[str], counts: Mapping[Color, int]) -> PinxitError:
        """The message about colours outside this set: the files and {colour: pixels}."""
        fits = [name for name in label_set_names() if name != self.name and load_label_set(name)._holds_colors(counts)]
        if len(counts) > 2 * len(self.labels):
            remedy = "so many colours mean soft edges: save the map as PNG without anti-aliasing"
        elif fits:
            remedy = f"is this {fits[0]} (--label-set {fits[0]})?"
        else:
            remedy = "paint with the set's colours, or add the colour to it"
        values = _some((f"{color} ({n} px, nearest is {self.nearest(color)})", n) for color, n in counts.items())
        noun = "colour" if len(counts) == 1 else "colours"
        want = f"the colours of label set {self.name!r}"
        return PinxitError(f"{_files('colour map', sources)} {noun} {values}, expected {want}; {remedy}")

    def nearest(self, color: Color) -> str:
        """The label whose colour lies nearest, as `'road' (128, 64, 128)`."""
        distance = ((self.palette[:-1].astype(int) - np.array(color)) ** 2).sum(1)
        place = int(distance.argmin())
        red, green, blue = self.palette[place].tolist()
        return f"{self.labels[place].name!r} ({red}, {green}, {blue})"

    def to_json(self) -> dict[str, Any]:
        """The content of a label set file, as JSON values."""
        labels = [asdict(label) | {"color": label.color and list(label.color)} for label in self.labels]
        return {"name": self.name, "note": self.note, "ignore": list(self.ignore), "labels": labels}

    @classmethod
    def from_json(cls, content: Any, source: str = "label set") -> LabelSet:
        """The inverse of `to_json`; `source` is the file that messages name.

        Raises:
            PinxitError: the content is of another form or lacks a field.
        """
        match content:
            case {"name": str(name), "labels": list(rows)}:
                labels = tuple(
                    _label(row, f"label {place} of label set file '{source}'") for place, row in enumerate(rows)
                )
            case _:
                form = '{"name": "...", "ignore": [...], "labels": [...]}'
                raise expected(
                    f"label set file '{source}'", "of another form", form, "start from a copy of a shipped one"
                )
        ignore = content.get("ignore", [])
        if not isinstance(ignore, list) or not all(isinstance(id, int) for id in ignore):
            raise expected(
                f"ignore of label set file '{source}'", repr(ignore), "a list of ids, as [255]", "correct it"
            )
        return cls(name, labels, tuple(ignore), str(content.get("note", "")))

    @cached_property
    def _index_by_id(self) -> np.ndarray:
        """int64: the index of each file id, -1 where there is none; the last entry is always -1."""
        table = np.full(max(256, 2 + max((*(label.id for label in self.labels), *self.ignore))), -1, np.int64)
        table[[label.id for label in self.labels]] = np.arange(len(self.labels))
        table[list(self.ignore)] = self.unknown
        return table

    @cached_property
    def _index_by_color(self) -> tuple[np.ndarray, np.ndarray]:
        """The colour codes in ascending order, and the index of each."""
        known = self.palette if self.ignore else self.palette[:-1]
        codes, first = np.unique(_code(known), return_index=True)
        return codes, first.astype(np.int64)

    def _holds_ids(self, ids: Iterable[int]) -> bool:
        return {label.id for label in self.labels}.union(self.ignore).issuperset(ids)

    def _holds_colors(self, colors: Iterable[Color]) -> bool:
        return set(self._index_by_color[0].tolist()).issuperset(
            red << 16 | green << 8 | blue for red, green, blue in colors
        )


def tally(ids: np.ndarray) -> dict[int, int]:
    """How many pixels each id has."""
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def tally_colors(rgb: np.ndarray) -> dict[Color, int]:
    """How many pixels each colour has, in uint8 [..., 3]."""
    return {(code >> 16, code >> 8 & 255, code & 255): n for code, n in tally(_code(rgb)).items()}


def label_set_names() -> tuple[str, ...]:
    """The label sets that come with Pinxit."""
    return tuple(
        sorted(entry.name.removesuffix(".json") for entry in _shipped().iterdir() if entry.name.endswith(".json"))
    )


def load_label_set(name_or_path: str | Path) -> LabelSet:
    """A label set that comes with Pinxit, by name, one from a `.json` file, or for a number n the plain ids 0..n-1.

    Raises:
        PinxitError: the name is unknown (suggests the nearest), or the file is missing or malformed.
    """
    text = str(name_or_path)
    if text in label_set_names():
        return _load_shipped(text)
    if text.isdecimal() and int(text) > 0:
        return numbered(int(text))
    path = Path(name_or_path)
    if path.is_file():
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise expected(
                f"label set file '{text}'", f"not JSON ({error})", "a JSON file", "correct it at that place"
            ) from error
        return LabelSet.from_json(content, text)
    if path.suffix == ".json" or path.name != text:
        raise expected(
            f"label set file '{text}'",
            "missing",
            "a .json file",
            f"write one, or choose of {', '.join(label_set_names())}",
        )
    raise unknown_name("label set", text, label_set_names())


def numbered(n: int, ignore: tuple[int, ...] = ()) -> LabelSet:
    """A plain set of the ids 0..n-1 with generated colours, for maps that come without a list of names.

    Raises:
        PinxitError: `n` is not 1..4096, or an ignored id is below `n`.
    """
    if not 1 <= n <= 4096:
        raise expected("number of labels", n, "1..4096", "correct it")
    colors = distinct_colors(n, {(0, 0, 0)})
    return LabelSet(
        f"numbered_{n}", tuple(Label(id, f"label {id}", color, "labels") for id, color in enumerate(colors)), ignore
    )


def distinct_colors(n: int, taken: Iterable[Color | None] = ()) -> list[Color]:
    """`n` colours, always the same, unlike one another and not among `taken`."""
    colors: list[Color] = []
    used = set(taken)
    step = 0
    while len(colors) < n:
        # The golden ratio spreads the hues evenly for every n; three shades keep neighbours in hue apart.
        hue = step * 0.618033988749895 % 1
        red, green, blue = colorsys.hsv_to_rgb(hue, (0.85, 0.55, 0.95)[step % 3], (0.95, 0.8, 0.55)[step // 3 % 3])
        color = (round(red * 255), round(green * 255), round(blue * 255))
        if color not in used:
            used.add(color)
            colors.append(color)
        step += 1
    return colors


@cache
def _load_shipped(name: str) -> LabelSet:
    return LabelSet.from_json(json.loads((_shipped() / f"{name}.json").read_text(encoding="utf-8")), name)


def _shipped() -> Traversable:
    return files("pinxit.data") / "label_sets"


def _label(row: Any, where: str) -> Label:
    match row:
        case {"id": int(id), "name": str(name)}:
            pass
        case _:
            raise expected(
                where, repr(row)[:60], '{"id": 0, "name": "...", "color": [r, g, b], "group": "..."}', "correct it"
            )
    match row.get("color"):
        case None:
            color = None
        case [int(red), int(green), int(blue)]:
            color = (red, green, blue)
        case other:
            raise expected(f"color of {where}", repr(other)[:60], "[red, green, blue] of 0..255, or null", "correct it")
    return Label(id, name, color, str(row.get("group", "other")))


def _code(rgb: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] -> int32 [...], one number a colour."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _span(ids: Iterable[int]) -> str:
    """0..33, 40: runs of ids, short."""
    runs: list[list[int]] = []
    for id in sorted(set(ids)):
        if runs and id == runs[-1][1] + 1:
            runs[-1][1] = id
        else:
            runs.append([id, id])
    return ", ".join(f"{first}..{last}" if last > first else str(first) for first, last in runs)


def _some(entries: Iterable[tuple[str, int]], most: int = 4) -> str:
    """The most frequent entries, and how many more there are."""
    ranked = [text for text, _ in sorted(entries, key=lambda entry: -entry[1])]
    return ", ".join(ranked[:most]) + (f" and {len(ranked) - most} more" if len(ranked) > most else "")


def _files(thing: str, sources: Sequence[str], most: int = 3) -> str:
    if len(sources) == 1:
        return f"{thing} '{sources[0]}' has"
    named = ", ".join(f"'{source}'" for source in sources[:most])
    return f"{len(sources)} {thing}s ({named}{', …' if len(sources) > most else ''}) have"
