"""Street scenes drawn for this project: polygons in fractions of the frame, painted as label maps of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from pinxit.data.labels import load_label_set
from pinxit.errors import expected, unknown_name

UNKNOWN = "Unlabelled"
"""What layouts call the pixels that no label of the set fits; allowed where the set ignores an id."""


class Shape(NamedTuple):
    """One polygon: a label name and its corners (x, y) in fractions 0..1 of width and height."""

    label: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Layout:
    """A scene as polygons; a later shape covers the earlier ones, and the first fills the frame."""

    name: str
    title: Mapping[str, str]
    """What people call the scene, by language code."""
    shapes: tuple[Shape, ...]
    size: tuple[int, int]
    """(height, width) the scene was drawn for; any other size works."""

    def draw(self, labels: Sequence[str], size: tuple[int, int]) -> np.ndarray:
        """The scene at `size` = (H, W), int64 [H, W]: each label's place in `labels`, or `len(labels)` if absent.

        No anti-aliasing. A corner goes to its nearest pixel and outlines are painted too, so thin poles stay whole at
        any size.

        Raises:
            PinxitError: a side of `size` is below 1.
        """
        height, width = size
        if height < 1 or width < 1:
            raise expected("layout size", f"{height}x{width}", "at least 1x1 (height x width)", "give a larger size")
        ids = {label: index for index, label in enumerate(labels)}
        canvas = Image.new("I", (width, height), len(labels))
        brush = ImageDraw.Draw(canvas)
        for label, points in self.shapes:
            corners = [(round(x * (width - 1)), round(y * (height - 1))) for x, y in points]
            index = ids.get(label, len(labels))
            brush.polygon(corners, fill=index)
            brush.line([*corners, corners[0]], fill=index)  # polygon() alone leaves gaps in slivers under a pixel
        return np.asarray(canvas, dtype=np.int64)


def load_layouts(path: str | PathLike[str] | None = None) -> tuple[Layout, ...]:
    """The layouts in a JSON file, by default the six shipped with Pinxit.

    Raises:
        PinxitError: the file is missing or not JSON, or holds a label, a point or a shape that cannot be painted.
    """
    source = files("pinxit.embedded").joinpath("layouts.json") if path is None else Path(path)
    file = f"layout file '{source}'"
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise expected(file, f"unreadable ({error.strerror})", "a JSON file", "check the path") from error
    except ValueError as error:
        raise expected(file, f"not JSON ({error})", "a JSON file", "correct it at that place") from error
    match content:
        case {"size": [int(height), int(width)], "labels": str(label_set), "layouts": [_, *_] as entries}:
            labels = load_label_set(label_set)
            known = [label.name for label in labels.labels] + [UNKNOWN] * bool(labels.ignore)
            return tuple(_layout(entry, known, (height, width), file) for entry in entries)
    form = '{"size": [height, width], "labels": "camvid", "layouts": [...]}'
    raise expected(file, "of another form", form, "start from a copy of the shipped layouts.json")


def _layout(entry: Any, known: Sequence[str], size: tuple[int, int], file: str) -> Layout:
    match entry:
        case {"name": str(name), "title": {"en": str()} as title, "shapes": [_, *_] as entries}:
            where = f"of layout {name!r} in {file}"
            shapes = tuple(_shape(shape, known, f"shape {place} {where}") for place, shape in enumerate(entries))
            if set(shapes[0].points) != {(0, 0), (1, 0), (1, 1), (0, 1)}:
                raise expected(
                    f"shape 0 {where}",
                    f"{shapes[0].label} over a part of the frame",
                    "the whole frame, corners 0,0 1,0 1,1 0,1",
                    "put a background shape first",
                )
            return Layout(name, dict(title), shapes, size)
    form = '{"name": "...", "title": {"en": "..."}, "shapes": [...]}'
    raise expected(f"layout in {file}", repr(entry)[:60], form, "correct it")


def _shape(entry: Any, known: Sequence[str], where: str) -> Shape:
    match entry:
        case {"label": str(label), "points": list(points)}:
            pass
        case _:
            form = '{"label": "...", "points": [[x, y], ...]}'
            raise expected(where, repr(entry)[:60], form, "correct it")
    if label not in known:
        raise unknown_name(f"label of {where}", label, known)
    if len(points) < 3:
        raise expected(where, f"{label} with {len(points)} points", "at least 3", "add points or remove the shape")
    for point in points:
        match point:
            case [float() | int() as x, float() | int() as y] if 0 <= x <= 1 and 0 <= y <= 1:
                pass
            case _:
                raise expected(f"point of {where}", point, "[x, y] in fractions 0..1 of width and height", "correct it")
    return Shape(label, tuple((float(x), float(y)) for x, y in points))
