"""Figures as papers have them: rows of pictures with sentences beside or above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

GAP, MARGIN = 4, 8
"""Pixels between pictures, and around texts."""

LEAST, MOST = 128, 256
"""Least and most pixels of a picture's longer side in a figure."""

MOST_LETTERS = 600
"""Of a text; more are not read beside a picture."""


def figure(rows: Sequence[Sequence[Image.Image]], beside: Sequence[str] = (), above: Sequence[str] = ()) -> Image.Image:
    """Rows of pictures, all shown in the size of the first; a text left of each row, and one above each column.

    Texts are wrapped, and end with … where there is no room for more. The letters are Pillow's own, which are Latin,
    Greek and Cyrillic: others, Japanese ones among them, are shown as boxes.
    """
    from PIL import Image, ImageDraw, ImageFont

    width, height = shown_size(rows[0][0].size)
    letters = max(12, min(16, height // 10))
    font = ImageFont.load_default(size=letters)
    line = round(1.4 * letters)
    left = max(width, 160) if beside else 0
    columns = max(len(row) for row in rows)
    titles = [wrapped(text, width, 8, font) for text in above]
    top = MARGIN + line * max(map(len, titles)) if titles else 0
    texts = [wrapped(text, left - 2 * MARGIN, max(1, height // line), font) for text in beside]
    size = (left + columns * (width + GAP) - GAP, top + len(rows) * (height + GAP) - GAP)
    page = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(page)

    def write(lines: Sequence[str], x: int, y: int) -> None:
        for i, text in enumerate(lines):
            pen.text((x, y + i * line), text, fill="black", font=font)

    for c, lines in enumerate(titles):
        write(lines, left + c * (width + GAP), MARGIN // 2)
    for r, row in enumerate(rows):
        y = top + r * (height + GAP)
        if texts:
            write(texts[r], MARGIN, y + max(0, height - line * len(texts[r])) // 2)
        for c, picture in enumerate(row):
            same = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
            page.paste(same, (left + c * (width + GAP), y))
    return page


def shown_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a picture in a figure: its own within the bounds that texts and pages want."""
    longer = max(size)
    factor = min(MOST, max(LEAST, longer)) / longer
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def wrapped(text: str, width: int, most: int, font: Font) -> list[str]:
    """A text in at most so many lines of at most so many pixels; words that are too long are broken anywhere."""
    cut = len(text) > MOST_LETTERS
    lines: list[str] = []
    for word in text[:MOST_LETTERS].split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in word:
            if lines[-1] and font.getlength(lines[-1] + letter) > width:
                lines.append("")
            lines[-1] += letter
    if len(lines) <= most and not cut:
        return lines
    lines = lines[:most]
    while lines[-1] and font.getlength(f"{lines[-1]} …") > width:
        lines[-1] = lines[-1][:-1]
    lines[-1] = f"{lines[-1].rstrip()} …"
    return lines
