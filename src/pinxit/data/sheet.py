"""Contact sheets: many pictures in one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor


def columns(*sides: Tensor) -> Tensor:
    """Pictures [N, C, H, W] in [-1, 1] for each column -> [N, columns, 3, H, W], what `grid` takes.

    Grey becomes RGB, and of more than three channels the first three are; of two, the third is black. Where columns
    differ in size they are cut to what all have.
    """
    height, width = (min(x.shape[i] for x in sides) for i in (2, 3))
    rgb = []
    for x in sides:
        x = x[:, :3, :height, :width].float().clamp(-1, 1)
        if x.shape[1] == 2:
            x = torch.cat([x, torch.full_like(x[:, :1], -1)], dim=1)
        rgb.append(x.expand(-1, 3, -1, -1))
    return torch.stack(rgb, dim=1)


def grid(pictures: Tensor, gap: int = 4) -> Image.Image:
    """Pictures [rows, columns, 3, H, W] in [-1, 1] -> one picture, white between them."""
    rows, columns, _, height, width = pictures.shape
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    values = pictures.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 1, 3, 4, 2).numpy()
    for r in range(rows):
        for c in range(columns):
            y, x = r * (height + gap), c * (width + gap)
            page[y : y + height, x : x + width] = values[r, c]
    return Image.fromarray(page)


def titled(
    rows: Sequence[Sequence[Image.Image]], columns: Sequence[str], names: Sequence[str], gap: int = 6
) -> Image.Image:
    """Rows of pictures of one size under their columns' titles, each row's name above its first picture."""
    width, height = rows[0][0].size
    letters = max(11, height // 14)
    font = ImageFont.load_default(size=letters)
    line = round(letters * 1.6)
    page = Image.new(
        "RGB", (len(columns) * (width + gap) + gap, line + len(rows) * (height + line + gap) + gap), "white"
    )
    pen = ImageDraw.Draw(page)
    for c, title in enumerate(columns):
        pen.text((gap + c * (width + gap) + width / 2, line / 2), title, fill="black", font=font, anchor="mm")
    for r, (name, pictures) in enumerate(zip(names, rows, strict=True)):
        y = line + r * (height + line + gap)
        pen.text((gap, y + line / 2), name, fill="dimgray", font=font, anchor="lm")
        for c, picture in enumerate(pictures):
            page.paste(picture, (gap + c * (width + gap), y + line))
    return page
