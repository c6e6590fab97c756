"""Sketches as people have them: scans, phone photos of paper, chalk on a board, transparent PNGs, SVGs.

What networks want is black lines on white at one size. So the light is evened (the paper becomes white wherever it was
grey), what is light on dark is inverted, lines that would vanish at the wanted size are thickened, and what has another
aspect is set in the middle of white paper. Each of these is told in a note, and `preview` shows what came of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from pinxit.data.folders import natural
from pinxit.data.images import SUFFIXES as PICTURES
from pinxit.data.images import decoded, read_photo
from pinxit.data.outlines import GRID
from pinxit.data.svg import draw_svg
from pinxit.errors import expected

SUFFIXES = (*PICTURES, ".svg")
"""What counts as a sketch in a folder, in lower case."""

WORKING = 1024
"""Longest side in pixels at which a sketch is cleaned."""

LEAST_LINE = 0.6
"""Width in pixels that lines have at least in the result: those of 1 pixel of 100, at 64."""

MOST_DARK, MOST_GREY, MOST_COLORED, MOST_SOLID = 0.35, 0.25, 0.2, 0.02
"""Shares of a sketch's pixels that are dark, neither black nor white, of a colour other than the paper's, and within
areas wider than any pen draws. Beyond one of these it looks like a photo."""

ROUGH, SMALL = 0.05, 128
"""Deviation of the paper's lightness, of 1, beyond which it looks like a photo; without colours, however, only where
its longer side has so many pixels, since in small drawings lines are much of the paper."""

LEAST_INK, LEAST_CONTRAST = 3e-4, 0.05
"""Share of the pixels that lines fill at least, and how much darker than the paper's grain they are, of 1; else it is
blank."""

LEAST_STEP = 16
"""Difference of the darkest and the lightest value, of 255, below which a picture is blank."""

SAME_ASPECT = 0.02
"""How far two aspects may be apart, as a share, to count as one."""


class Sketch(NamedTuple):
    """A sketch as a network sees it."""

    name: str
    """What messages call it: its file."""
    lines: np.ndarray
    """float32 [1, H, W] in [-1, 1]: lines dark, paper 1."""
    notes: list[str]
    """What was done to it, and what is suspicious, a line each."""


def find_sketches(sources: Sequence[Path]) -> list[Path]:
    """Files as they are, and the sketches in folders, in natural order of their names.

    Raises:
        PinxitError: there are none, or one is missing.
    """
    files: list[Path] = []
    for path in sources:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
            files += sorted(inside, key=lambda p: natural(p.name))
            if not inside:
                raise expected(f"folder '{path}'", "without sketches", "one or more", "check the path")
        elif path.is_file():
            files.append(path)
        else:
            raise expected(f"sketch '{path}'", "missing", "a picture or an SVG", "check the path")
    if not files:
        raise expected("the number of sketches", 0, "1 or more", "name some")
    return list(dict.fromkeys(files))


def read_sketches(sources: Sequence[Path], size: tuple[int, int], *, pad: bool = True) -> list[Sketch]:
    """All sketches in files and folders, each as `read_sketch` gives it.

    Raises:
        PinxitError: as `find_sketches` and `read_sketch`.
    """
    return [read_sketch(path, size, pad=pad) for path in find_sketches(sources)]


def read_sketch(path: Path, size: tuple[int, int], *, pad: bool = True) -> Sketch:
    """The sketch in a file, clean and at `size` (height, width) pixels.

    `pad`: whether one of another aspect is set on white paper; else it is refused.

    Raises:
        PinxitError: the file is missing, is no picture and no SVG, is damaged or too large; the sketch is blank, or of
            another aspect where `pad` is off.
    """
    name = f"sketch '{path}'"
    if path.suffix.lower() == ".svg":
        return normalised(draw_svg(path, WORKING), size, name=name, pad=pad)
    image = decoded(path, "sketch")
    if image.has_transparency_data:
        return normalised(image.convert("RGBA"), size, name=name, pad=pad)
    return normalised(read_photo(path), size, name=name, pad=pad)


def normalised(picture: Image.Image, size: tuple[int, int], *, name: str = "the sketch", pad: bool = True) -> Sketch:
    """A picture of a sketch, of any mode, as `read_sketch` gives it; `name`: what messages call it.

    Raises:
        PinxitError: as `read_sketch`.
    """
    notes: list[str] = []
    height, width = size
    apart = math.log(picture.width / picture.height * height / width)
    if abs(apart) > SAME_ASPECT:
        got, want = f"{picture.width}x{picture.height}", f"{width}x{height}"
        if not pad:
            want = f"the aspect of {want} (width x height)"
            raise expected(f"size of {name}", got, want, "crop it, or let it be padded with white")
        notes.append(f"{name} is {got} (width x height), of another aspect than {want}; it is padded with white")
    ink = _ink(_reduced(_opaque(picture)), name, notes)
    rows, columns = ink.shape
    scale = min(height / rows, width / columns)
    page = Image.fromarray(np.round(255 * (1 - ink)).astype(np.uint8))
    thin = _line_width(ink > 0.5) * scale
    if thin < LEAST_LINE:
        for _ in range(math.ceil((LEAST_LINE - thin) / scale / 2)):
            page = page.filter(ImageFilter.MinFilter(3))
        notes.append(f"{name} has lines of {thin:.2g} pixels at {width}x{height}; they are made {LEAST_LINE:g} wide")
    if abs(apart) <= SAME_ASPECT:
        page = page.resize((width, height), Image.Resampling.BICUBIC)
    else:
        inner = page.resize((max(1, round(columns * scale)), max(1, round(rows * scale))), Image.Resampling.BICUBIC)
        page = Image.new("L", (width, height), 255)
        page.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    lines = np.asarray(page).astype(np.float32)[None] / 127.5 - 1
    return Sketch(name, lines, notes)


def preview(sketches: Sequence[Sketch], *, columns: int = 6, gap: int = 4) -> Image.Image:
    """What the network will see: all sketches on one sheet, at least 128 pixels high each, framed in grey."""
    _, height, width = sketches[0].lines.shape
    zoom = max(1, math.ceil(128 / height))
    columns = min(columns, len(sketches))
    rows = -(-len(sketches) // columns)
    page = Image.new("L", (columns * (zoom * width + gap) + gap, rows * (zoom * height + gap) + gap), 192)
    for i, sketch in enumerate(sketches):
        pixels = np.round((sketch.lines[0] + 1) * 127.5).clip(0, 255).astype(np.uint8)
        shown = Image.fromarray(pixels).resize((zoom * width, zoom * height), Image.Resampling.NEAREST)
        page.paste(shown, (gap + i % columns * (zoom * width + gap), gap + i // columns * (zoom * height + gap)))
    return page


def outline_of(photo: Image.Image, *, white: int = 240) -> Image.Image:
    """The outline of an object on a white ground, as an L picture of GRID x GRID pixels: a black line on white.

    What is darker than `white` (0..255, in grey) is the object; its outermost pixels are the line, so that highlights
    within it are ringed too, and no line is where it meets the frame. This is how the outlines of edges2fruits look:
    of its lines and these, 93 and 92 in 100 pixels lie within a pixel of the other's.
    """
    grey = photo.convert("RGB").resize((GRID, GRID), Image.Resampling.BICUBIC).convert("L")
    inside = grey.point([255] * white + [0] * (256 - white))
    return ImageChops.invert(ImageChops.subtract(inside, inside.filter(ImageFilter.MinFilter(3))))


def _opaque(picture: Image.Image) -> Image.Image:
    """RGB; what is transparent shows paper: white, or black under strokes that are light all over."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    pixels = np.asarray(picture).astype(np.float32)
    weight = pixels[..., 3].sum()
    light = pixels[..., :3].mean(axis=2)
    mean = float((light * pixels[..., 3]).sum() / weight) if weight else 0.0
    spread = float((np.abs(light - mean) * pixels[..., 3]).sum() / weight) if weight else 0.0
    # A white sticker with black lines on it is light too, but not all over; a sheet of paper covers most of the frame.
    strokes = mean > 160 and spread < 32 and weight < 127 * pixels[..., 3].size
    paper = Image.new("RGBA", picture.size, "black" if strokes else "white")
    return Image.alpha_composite(paper, picture).convert("RGB")


def _reduced(picture: Image.Image) -> Image.Image:
    """At most WORKING pixels long, by the mean of what comes together."""
    if max(picture.size) <= WORKING:
        return picture
    scale = WORKING / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BOX)


def _ink(picture: Image.Image, name: str, notes: list[str]) -> np.ndarray:
    """How much of a line is at each place of an RGB picture, [H, W] in 0..1."""
    if _light_on_dark(picture.convert("L")):
        picture = ImageChops.invert(picture)
        notes.append(f"{name} is light on dark; it is inverted")
    pixels = np.asarray(picture).astype(np.float32)
    paper = np.percentile(pixels.reshape(-1, 3), 90, axis=0)
    plain = (np.abs(pixels - paper).max(axis=2) < 6).mean() > 0.5
    if not plain:
        # Lines are darker than the paper around them: what no line of 5 % of the side's width hides is the paper. It
        # is nowhere taken for darker than a fifth of its brightest, so that a black area stays one.
        small = picture.copy()
        small.thumbnail((256, 256), Image.Resampling.BOX)
        # Shrunk a little more than grown, so that the rim of a shadow is not taken for a line.
        for kernel, times in ((ImageFilter.MaxFilter(3), 6), (ImageFilter.MinFilter(3), 10)):
            for _ in range(times):
                small = small.filter(kernel)
        small = small.filter(ImageFilter.GaussianBlur(2)).resize(picture.size, Image.Resampling.BILINEAR)
        paper = np.maximum(np.asarray(small).astype(np.float32), paper / 5)
    by_channel = pixels / np.maximum(paper, 1)
    shade = by_channel.min(axis=2)  # of colours the channel that the pen darkens most
    if not plain:
        shade = shade / max(float(np.median(shade)), 0.1)
    noise = 1.4826 * float(np.median(np.abs(shade - np.median(shade))))
    white = min(max(1 - 4 * noise, 0.6), 0.95)
    lined = shade < white
    black = float(np.percentile(shade[lined], 20)) if lined.mean() >= LEAST_INK else white
    if white - black < LEAST_CONTRAST or np.ptp(pixels) < LEAST_STEP:
        raise expected(name, "blank", "lines that stand out from the paper", "draw something, or darken it")
    if not plain:
        notes.append(f"{name} is on paper of uneven or grey light; the paper is made white")
    ink = ((white - shade) / (white - black)).clip(0, 1)
    colored = float((np.ptp(by_channel.clip(0, 1), axis=2) > 0.15).mean())
    if photo := _like_a_photo(ink, colored, noise):
        notes.append(f"{name} looks like a photo, not like lines on paper ({photo}); draw its lines, or go on as it is")
    return ink


def _like_a_photo(ink: np.ndarray, colored: float, noise: float) -> str:
    """What makes it look like one; nothing where it looks like a sketch."""
    dark, grey = float((ink > 0.5).mean()), float(((ink > 0.15) & (ink < 0.85)).mean())
    inside = Image.fromarray(np.where(ink > 0.3, 255, 0).astype(np.uint8))
    inside.thumbnail((100, 100))
    for _ in range(6):
        inside = inside.filter(ImageFilter.MinFilter(3))
    solid = float((np.asarray(inside) > 127).mean())
    for share, most, what in (
        (dark, MOST_DARK, "dark"),
        (grey, MOST_GREY, "grey"),
        (colored, MOST_COLORED, "coloured"),
        (solid, MOST_SOLID, "within filled areas"),
    ):
        if share > most:
            return f"{100 * share:.0f} % of it is {what}"
    return "its ground is full of shades" if noise > ROUGH and (colored > 0.02 or max(ink.shape) >= SMALL) else ""


def _light_on_dark(grey: Image.Image) -> bool:
    """Whether lines are lighter than what is around them."""
    small = grey.copy()
    small.thumbnail((96, 96), Image.Resampling.BOX)
    around = small.filter(ImageFilter.MedianFilter(25))
    detail = np.asarray(small).astype(np.float32) - np.asarray(around).astype(np.float32)
    return bool(detail[detail > 16].sum() > -detail[detail < -16].sum())


def _line_width(lines: np.ndarray) -> float:
    """Mean width in pixels of lines, a mask [H, W]: twice the area over the length of the rim."""
    rim = (lines[1:] != lines[:-1]).sum() + (lines[:, 1:] != lines[:, :-1]).sum()
    return 2 * float(lines.sum()) / max(int(rim), 1)
