"""Drawings in SVG as pictures: a small part of the format, read safely. Nothing in a file is fetched or executed.

Drawn are path, polyline, polygon, line, rect, circle and ellipse, with their groups, transforms, strokes and fills, as
attributes, in `style`, or by classes in a style sheet. Left out are text, embedded pictures, references, clipping and
opacity; gradients count as black. Subpaths cut holes into one another (the even-odd rule).
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np
from PIL import Image, ImageChops, ImageColor, ImageDraw

from pinxit.errors import expected

MAX_BYTES = 1 << 22
MAX_POINTS = 1 << 20
MAX_DEPTH = 64
"""Limits of a file, of the points of its lines, and of groups within groups."""

SEGMENTS = 16
"""Straight parts of a curve; of a whole ellipse four times as many."""

Line = np.ndarray
"""Points [n, 2], x and y."""


class Shape(NamedTuple):
    """What one element draws, in the units of the whole drawing."""

    lines: list[tuple[Line, bool]]
    """Each with whether it is closed."""
    stroke: int | None
    """Grey value, 0..255; None: no line."""
    fill: int | None
    width: float


def draw_svg(path: str | Path, side: int = 1024) -> Image.Image:
    """The drawing in a file as an L picture on white, its longer side `side` pixels.

    Raises:
        PinxitError: the file is missing, too large, no SVG, declares a document type or entities, or draws nothing.
    """
    path = Path(path)
    name = f"sketch '{path}'"
    root = _parsed(path, name)
    try:
        shapes = list(_shapes(root, _classes(root), {}, np.eye(3), 0))
    except (ValueError, IndexError, OverflowError) as error:
        raise expected(name, f"damaged ({error})", "a whole SVG", "save it again, as plain SVG") from error
    points = sum(len(line) for shape in shapes for line, _ in shape.lines)
    if points > MAX_POINTS:
        raise expected(name, f"of {points:,} points", f"at most {MAX_POINTS:,}", "simplify it")
    if points == 0:
        want = "paths, lines or other shapes"
        raise expected(name, "without lines", want, "save its text and pictures as paths, or as a PNG")
    left, top, width, height = _frame(root, shapes)
    if not (0 < width < math.inf and 0 < height < math.inf and 1 / 50 < width / height < 50):
        raise expected(name, f"of size {width:g}x{height:g}", "a width and a height", "mend its viewBox")
    scale = side / max(width, height)
    page = Image.new("L", (max(1, round(width * scale)), max(1, round(height * scale))), 255)
    for shape in shapes:
        moved = shape._replace(
            # Rounded, as Pillow cuts off what is behind the point: 29.9999 and 30 are to be one.
            lines=[(np.round((line - (left, top)) * scale, 2), closed) for line, closed in shape.lines],
            width=shape.width * scale,
        )
        _paint(page, moved)
    return page


def _parsed(path: Path, name: str) -> ET.Element:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise expected(name, f"of {path.stat().st_size:,} bytes", f"at most {MAX_BYTES:,}", "simplify it")
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise expected(name, "missing", "an SVG file", "check the path") from error
    except OSError as error:
        raise expected(name, f"unreadable ({error.strerror})", "an SVG file", "check its kind and rights") from error

    def refuse(*_: object) -> None:
        want = "an SVG without document type and entities"
        raise expected(name, "with a DOCTYPE", want, "save it as plain SVG, or remove that line")

    # By expat first, whatever the encoding: entities can stand for gigabytes, or for other files.
    check = expat.ParserCreate()
    check.StartDoctypeDeclHandler = refuse
    try:
        check.Parse(data, True)
        root = ET.fromstring(data)
    except (expat.ExpatError, ET.ParseError, ValueError, LookupError) as error:
        raise expected(name, f"damaged ({error})", "an SVG file", "save it again, as plain SVG") from error
    if _tag(root) != "svg":
        raise expected(name, f"a file of <{_tag(root)}>", "an SVG file", "check the path")
    return root


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _properties(text: str) -> dict[str, str]:
    pairs = (part.split(":", 1) for part in text.split(";") if ":" in part)
    return {name.strip(): value.strip() for name, value in pairs}


def _classes(root: ET.Element) -> dict[str, dict[str, str]]:
    """Class -> its properties, of the style sheets in the file."""
    found: dict[str, dict[str, str]] = {}
    for element in root.iter():
        if _tag(element) == "style":
            for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", element.text or ""):
                for selector in selectors.split(","):
                    if selector.strip().startswith("."):
                        found.setdefault(selector.strip()[1:], {}).update(_properties(body))
    return found


PROPERTIES = ("stroke", "fill", "stroke-width", "display")
HIDDEN = ("defs", "clipPath", "mask", "marker", "pattern", "symbol", "metadata")


def _shapes(
    element: ET.Element, classes: Mapping[str, dict[str, str]], above: Mapping[str, str], matrix: np.ndarray, depth: int
) -> Iterator[Shape]:
    """What an element and those in it draw; `above`: what it inherits, `matrix`: from its units to the drawing's."""
    if depth > MAX_DEPTH:
        raise ValueError("groups too deep")
    style = {**above}
    own = {name: element.attrib[name] for name in PROPERTIES if name in element.attrib}
    for name in element.get("class", "").split():
        own.update(classes.get(name, {}))
    own.update(_properties(element.get("style", "")))
    style.update({name: value for name, value in own.items() if value != "inherit"})
    if style.get("display") == "none" or _tag(element) in HIDDEN:
        return
    matrix = matrix @ _transform(element.get("transform", ""))
    lines = _lines(element)
    if lines:
        stroke, fill = _grey(style.get("stroke", "none")), _grey(style.get("fill", "black"))
        zoom = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
        width = _number(style.get("stroke-width", "1")) * zoom
        # What is beyond these is a mistake, and would overflow in Pillow.
        if not all((np.abs(line) < 1e9).all() for line, _ in lines) or not (np.abs(matrix) < 1e9).all():
            raise ValueError("a coordinate beyond 1e9")
        moved = [(line @ matrix[:2, :2].T + matrix[:2, 2], closed) for line, closed in lines]
        yield Shape(moved, stroke, None if _tag(element) == "line" else fill, width)
    for child in element:
        yield from _shapes(child, classes, style, matrix, depth + 1)


def _grey(color: str) -> int | None:
    """The grey value of a colour; None where nothing is drawn. What is not understood is black."""
    if color in ("none", "transparent"):
        return None
    try:
        r, g, b = ImageColor.getrgb(color)[:3]
    except ValueError:
        return 0
    return round(0.299 * r + 0.587 * g + 0.114 * b)


def _number(text: str) -> float:
    """A length; its unit is passed over."""
    match = re.match(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)", text)
    if not match:
        raise ValueError(f"{text[:20]!r} for a number")
    return float(match[1])


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", text)]


def _transform(text: str) -> np.ndarray:
    total = np.eye(3)
    for kind, inside in re.findall(r"(\w+)\s*\(([^)]*)\)", text):
        n = _numbers(inside)
        match kind, len(n):
            case "matrix", 6:
                one = np.array([[n[0], n[2], n[4]], [n[1], n[3], n[5]], [0, 0, 1]])
            case "translate", 1 | 2:
                one = np.array([[1, 0, n[0]], [0, 1, n[1] if len(n) > 1 else 0], [0, 0, 1]])
            case "scale", 1 | 2:
                one = np.diag([n[0], n[-1], 1.0])
            case "rotate", 1 | 3:
                c, s = math.cos(math.radians(n[0])), math.sin(math.radians(n[0]))
                x, y = (n[1], n[2]) if len(n) == 3 else (0.0, 0.0)
                one = np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y], [0, 0, 1]])
            case "skewX", 1:
                one = np.array([[1, math.tan(math.radians(n[0])), 0], [0, 1, 0], [0, 0, 1]])
            case "skewY", 1:
                one = np.array([[1, 0, 0], [math.tan(math.radians(n[0])), 1, 0], [0, 0, 1]])
            case _:
                raise ValueError(f"transform {kind[:20]!r}")
        total = total @ one
    return total


def _lines(element: ET.Element) -> list[tuple[Line, bool]]:
    """An element's lines in its own units, each with whether it is closed."""

    def length(name: str, default: str = "0") -> float:
        return _number(element.get(name, default))

    match _tag(element):
        case "path":
            return _path(element.get("d", ""))
        case "polyline" | "polygon" as kind:
            n = _numbers(element.get("points", ""))
            return [(np.array(n[: len(n) // 2 * 2]).reshape(-1, 2), kind == "polygon")] if len(n) >= 4 else []
        case "line":
            return [(np.array([[length("x1"), length("y1")], [length("x2"), length("y2")]]), False)]
        case "rect":  # without the rounding of its corners
            x, y, w, h = (length(name) for name in ("x", "y", "width", "height"))
            return [(np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]), True)]
        case "circle" | "ellipse" as kind:
            rx, ry = (length("r"),) * 2 if kind == "circle" else (length("rx"), length("ry"))
            turn = np.linspace(0, math.tau, 4 * SEGMENTS, endpoint=False)
            return [(np.stack([length("cx") + rx * np.cos(turn), length("cy") + ry * np.sin(turn)], axis=1), True)]
    return []


COUNTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
"""Numbers that each command of a path takes; lower case means from where the pen is."""

_T = np.linspace(0, 1, SEGMENTS + 1)[1:, None]


def _path(text: str) -> list[tuple[Line, bool]]:
    """The lines of a path's `d` (SVG 1.1, sec. 8.3)."""
    lines: list[tuple[Line, bool]] = []
    line: list[np.ndarray] = []
    pen = start = np.zeros(2)
    control, last = pen, ""

    def end(closed: bool) -> None:
        if len(line) > 1 or (line and closed):
            lines.append((np.concatenate([part.reshape(-1, 2) for part in line]), closed))
        line.clear()

    for letter, inside in re.findall(r"([MmLlHhVvCcSsQqTtAaZz])([^MmLlHhVvCcSsQqTtAaZz]*)", text):
        command, count = letter.upper(), COUNTS[letter.upper()]
        n = _arc_numbers(inside) if command == "A" else _numbers(inside)
        if (count == 0 and n) or (count and (not n or len(n) % count)):
            raise ValueError(f"{len(n)} numbers after {letter} in a path")
        for i in range(0, max(len(n), 1), max(count, 1)):
            own = n[i : i + count]
            base = pen if letter.islower() else np.zeros(2)
            # Where a path goes on after Z, it does so from the start of the part that was closed.
            if command not in "MZ" and not line:
                line.append(pen)
            match command:
                case "M":
                    if i == 0:
                        end(closed=False)
                        start = base + own
                    pen = base + own
                    line.append(pen)
                case "Z":
                    end(closed=True)
                    pen = start
                case "L":
                    pen = base + own
                    line.append(pen)
                case "H":
                    pen = np.array([base[0] + own[0], pen[1]])
                    line.append(pen)
                case "V":
                    pen = np.array([pen[0], base[1] + own[0]])
                    line.append(pen)
                case "C" | "S":
                    p = np.array(own).reshape(-1, 2) + base
                    first = p[0] if command == "C" else 2 * pen - control if last in ("C", "S") else pen
                    control, to = p[-2], p[-1]
                    outer, inner = (1 - _T) ** 3 * pen + _T**3 * to, (1 - _T) * first + _T * control
                    line.append(outer + 3 * (1 - _T) * _T * inner)
                    pen = to
                case "Q" | "T":
                    p = np.array(own).reshape(-1, 2) + base
                    control = p[0] if command == "Q" else 2 * pen - control if last in ("Q", "T") else pen
                    line.append((1 - _T) ** 2 * pen + 2 * (1 - _T) * _T * control + _T**2 * p[-1])
                    pen = p[-1]
                case "A":
                    to = base + own[5:]
                    line.append(_arc(pen, to, own[0], own[1], math.radians(own[2]), bool(own[3]), bool(own[4])))
                    pen = to
            last = command
    end(closed=False)
    return lines


def _arc_numbers(text: str) -> list[float]:
    """As `_numbers`; the two flags of an arc may stand without a space behind them."""
    number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
    gap = r"[\s,]*"
    pattern = gap.join([rf"({number})"] * 3 + [r"([01])"] * 2 + [rf"({number})"] * 2)
    return [float(value) for found in re.findall(pattern, text) for value in found]


def _arc(p: np.ndarray, q: np.ndarray, rx: float, ry: float, turn: float, large: bool, sweep: bool) -> np.ndarray:
    """The points of an elliptical arc behind `p` (SVG 1.1, appendix F.6)."""
    rx, ry = abs(rx), abs(ry)
    if rx == 0 or ry == 0 or np.allclose(p, q):
        return q[None]
    c, s = math.cos(turn), math.sin(turn)
    to_own = np.array([[c, s], [-s, c]])
    x, y = to_own @ ((p - q) / 2)
    grown = math.sqrt(max(1.0, (x / rx) ** 2 + (y / ry) ** 2))
    rx, ry = rx * grown, ry * grown
    rest = max(0.0, (rx * ry) ** 2 / ((rx * y) ** 2 + (ry * x) ** 2) - 1)
    sign = -1.0 if large == sweep else 1.0
    cx, cy = sign * math.sqrt(rest) * rx * y / ry, -sign * math.sqrt(rest) * ry * x / rx
    first, last = math.atan2((y - cy) / ry, (x - cx) / rx), math.atan2((-y - cy) / ry, (-x - cx) / rx)
    angle = (last - first) % math.tau if sweep else -((first - last) % math.tau)
    turns = first + angle * np.linspace(0, 1, 2 * SEGMENTS + 1)[1:]
    points = np.stack([cx + rx * np.cos(turns), cy + ry * np.sin(turns)], axis=1) @ to_own + (p + q) / 2
    points[-1] = q
    return points


def _frame(root: ET.Element, shapes: Sequence[Shape]) -> tuple[float, float, float, float]:
    """Left, top, width and height of the drawing: its viewBox, its size, or what its lines fill."""
    try:
        box = _numbers(root.get("viewBox", ""))
        if len(box) == 4:
            return box[0], box[1], box[2], box[3]
        if "%" not in root.get("width", "%") + root.get("height", "%"):
            return 0.0, 0.0, _number(root.get("width", "")), _number(root.get("height", ""))
    except ValueError:
        pass
    points = np.concatenate([line for shape in shapes for line, _ in shape.lines])
    rim = max(shape.width for shape in shapes)
    (left, top), (right, bottom) = points.min(axis=0) - rim, points.max(axis=0) + rim
    return left, top, right - left, bottom - top


def _paint(page: Image.Image, shape: Shape) -> None:
    if shape.fill is not None:
        mask = Image.new("1", page.size)
        for line, _ in shape.lines:
            if len(line) > 2:
                # In a frame of its own, as a scan traced into shapes has thousands of small ones.
                low, high = np.floor(line.min(axis=0)).clip(0), np.ceil(line.max(axis=0)) + 1
                box = (*low.astype(int).tolist(), *np.minimum(high, page.size).astype(int).tolist())
                if box[0] < box[2] and box[1] < box[3]:
                    part = Image.new("1", (box[2] - box[0], box[3] - box[1]))
                    ImageDraw.Draw(part).polygon([tuple(point) for point in (line - low).tolist()], fill=1)
                    mask.paste(ImageChops.logical_xor(mask.crop(box), part), box)
        page.paste(shape.fill, mask=mask)
    if shape.stroke is None or shape.width <= 0:
        return
    pen = ImageDraw.Draw(page)
    width = max(1, round(shape.width))
    for line, closed in shape.lines:
        points = [tuple(point) for point in (np.concatenate([line, line[:1]]) if closed else line).tolist()]
        pen.line(points, fill=shape.stroke, width=width, joint="curve")
        if width > 2:  # round ends
            for x, y in (points[0], points[-1]):
                r = width / 2
                pen.ellipse((x - r, y - r, x + r, y + r), fill=shape.stroke)
