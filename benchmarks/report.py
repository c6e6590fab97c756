"""What was measured, as a table, as JSON and as a plot."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from benchmarks.measure import Row

HEAD = ("case", "way", "plain", "fast", "times as fast", "range", "target", "largest difference", "mean", "")
MEMORY_HEAD = ("case", "way", "plain", "fast", "times less", "", "", "", "", "")


def table(rows: Sequence[Row]) -> str:
    """One in Markdown."""
    if not rows:
        return ""
    lines = [HEAD if rows[0].unit == "s" else MEMORY_HEAD, *(cells(row) for row in rows)]
    used = [i for i in range(len(HEAD)) if any(line[i] for line in lines[1:])]
    lines = [[line[i] for i in used] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(used))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(f"{c:{w}}" for c, w in zip(line, widths, strict=True)) + " |" for line in lines)


def cells(row: Row) -> tuple[str, ...]:
    ratios = sorted(row.ratios)
    plain, fast = (amount(sorted(values)[len(values) // 2], row.unit) for values in (row.plain, row.fast))
    spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}" if len(ratios) > 1 else ""
    # Beside the figure how much of the target it reaches; never asserted.
    target = "" if row.target is None else f"{row.target:g}: {row.ratio / row.target:.0%}"
    off = ["" if x is None else f"{x:.1e}" for x in (row.largest, row.mean)]
    return row.case, row.way, plain, fast, f"{row.ratio:.2f}", spread, target, *off, row.note


def amount(value: float, unit: str) -> str:
    if unit == "s" and value < 0.1:
        return f"{1000 * value:.3g} ms"
    return f"{value:.3g} {unit}"


def write(folder: Path, rows: Sequence[Row], about: dict[str, Any]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    told = folder / "benchmarks.json"
    told.write_text(json.dumps({**about, "rows": [row.to_json() for row in rows]}, indent=1) + "\n", encoding="utf-8")
    grown = [row for row in rows if row.axis is not None]
    if not grown:
        return [told]
    plot(grown).save(folder / "growth.png")
    return [told, folder / "growth.png"]


PANEL, MARGIN, GAP = (440, 330), (70, 40, 20, 60), 20
"""Sides of a panel in pixels, and what it leaves free at its left, top, right and bottom; what is between panels."""
COLORS = {"plain": (60, 60, 60), "fp32": (0, 105, 180), "bf16": (210, 80, 0)}
OTHER = (0, 130, 90)


def plot(rows: Sequence[Row]) -> Image.Image:
    """Time over what grows, a panel for each, both scales logarithmic."""
    axes = list(dict.fromkeys(str(row.axis) for row in rows))
    columns = min(2, len(axes))
    down = -(-len(axes) // columns)
    size = (columns * (PANEL[0] + GAP) + GAP, down * (PANEL[1] + GAP) + GAP)
    picture = Image.new("RGB", size, "white")
    for i, axis in enumerate(axes):
        corner = (GAP + i % columns * (PANEL[0] + GAP), GAP + i // columns * (PANEL[1] + GAP))
        panel(ImageDraw.Draw(picture), corner, axis, [row for row in rows if row.axis == axis])
    return picture


def panel(draw: ImageDraw.ImageDraw, corner: tuple[int, int], axis: str, rows: Sequence[Row]) -> None:
    lines: dict[str, list[tuple[float, float]]] = {"plain": []}
    for row in rows:
        assert row.at is not None
        lines.setdefault(row.way, []).append((row.at, sorted(row.fast)[len(row.fast) // 2]))
        if row.way == rows[0].way:
            lines["plain"].append((row.at, sorted(row.plain)[len(row.plain) // 2]))
    small, large = ImageFont.load_default(12), ImageFont.load_default(14)
    left, top = corner[0] + MARGIN[0], corner[1] + MARGIN[1]
    right, bottom = corner[0] + PANEL[0] - MARGIN[2], corner[1] + PANEL[1] - MARGIN[3]
    xs, ys = ([point[i] for line in lines.values() for point in line] for i in (0, 1))
    low_y, high_y = 10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys)))

    def x_of(x: float) -> float:
        return left + (right - left) * math.log(x / min(xs)) / max(math.log(max(xs) / min(xs)), 1e-9)

    def y_of(y: float) -> float:
        return bottom - (bottom - top) * math.log(y / low_y) / max(math.log(high_y / low_y), 1e-9)

    draw.text((left, corner[1] + 4), "seconds", fill="black", font=small)
    draw.text(((left + right) / 2, bottom + 40), axis, fill="black", font=large, anchor="mm")
    y = low_y
    while y <= high_y * 1.001:
        draw.line((left, y_of(y), right, y_of(y)), fill=(220, 220, 220))
        draw.text((left - 6, y_of(y)), f"{y:g}", fill="black", font=small, anchor="rm")
        y *= 10
    for x in sorted(set(xs)):
        draw.line((x_of(x), top, x_of(x), bottom), fill=(235, 235, 235))
        draw.text((x_of(x), bottom + 12), f"{x:g}", fill="black", font=small, anchor="mm")
    draw.rectangle((left, top, right, bottom), outline="black")
    for i, (way, points) in enumerate(lines.items()):
        color = COLORS.get(way, OTHER)
        places = [(x_of(x), y_of(y)) for x, y in sorted(points)]
        draw.line(places, fill=color, width=2)
        for x, y in places:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
        draw.text((right - 70 * (len(lines) - i), corner[1] + 20), way, fill=color, font=large)
