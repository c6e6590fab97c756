"""`python tools/caption_fruits.py PHOTOS OUT`: captions of single fruits on a white ground, to train StackGAN on.

PHOTOS has a folder for each class (GrapeBlue, PepperRed …). OUT gets train_captions.jsonl and val_captions.jsonl, which
refer to the photos where they are; every eighth photo of a class is val. (Views of one object are in both.) Each photo
has five sentences, always the same: of what kind it is, which is its class without the colour; and as measured in its
pixels, what colour and shape it has, which way its long axis points, and how much of the picture it fills.
"""

from __future__ import annotations

import colorsys
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pinxit.data.folders import natural
from pinxit.data.images import SUFFIXES, read_photo

KINDS = {
    "Cactusfruit": "cactus fruit",
    "Carambula": "star fruit",
    "Cocos": "coconut",
    "Corn": "corn cob",
    "CornHusk": "corn cob in its husk",
    "Dates": "date",
    "Pepper": "bell pepper",
    "PearStone": "pear",
    "PineappleMini": "pineapple",
}
"""Where the class, without its colour, is not the word for it."""

VAL = 8
"""One photo of so many is val."""


def kind_of(name: str) -> str:
    """'onion' of OnionRed."""
    name = re.sub(r"(?<=[a-z])(Red|Blue|Green|Yellow|Maroon)$", "", name)
    return KINDS.get(name) or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def colour_of(red: float, green: float, blue: float) -> str:
    """The name of a colour of 0..255: by its hue first, then by how vivid and how light it is."""
    hue, vivid, light = colorsys.rgb_to_hsv(red / 255, green / 255, blue / 255)
    hue *= 360
    if light < 0.25 and (vivid < 0.2 or not 60 <= hue < 260):
        return (
            "dark blue"
            if 190 <= hue < 260 and vivid >= 0.2
            else "black"
            if light < 0.2 or vivid < 0.2
            else "dark brown"
        )
    if 190 <= hue < 230:
        return "blue" if light >= 0.3 else "dark blue"
    if 230 <= hue < 325:
        return "purple" if light >= 0.45 else "dark purple"
    if hue >= 325 or hue < 8:
        if vivid >= 0.55:
            return "red" if light >= 0.45 else "dark red"
        return "pink" if light >= 0.6 else "dull red"
    if hue < 38:
        if vivid >= 0.75:
            return "orange" if light >= 0.6 else "dark red" if hue < 20 else "brown"
        if vivid >= 0.45:
            return "reddish brown" if hue < 22 else "golden brown"
        return "greyish brown" if vivid < 0.25 and light < 0.4 else "light brown" if light >= 0.55 else "brown"
    if hue < 62:
        if vivid >= 0.4:
            return (
                "yellowish green"
                if hue >= 47.5 and light < 0.7
                else "yellow"
                if vivid >= 0.7 or light >= 0.75
                else "brownish yellow"
            )
        return "cream" if light >= 0.45 and vivid >= 0.26 else "greyish brown"
    if vivid >= 0.3:
        return "green" if light >= 0.3 else "dark green"
    return "pale green" if light >= 0.48 else "greyish green"


def captions_of(photo: Image.Image, kind: str) -> list[str]:
    """Five sentences about a photo of one thing on a white ground."""
    pixels = np.asarray(photo.convert("RGB")).astype(np.float64)
    thing = pixels.min(2) < 225
    if not thing.any():
        thing[:] = True
    chroma = np.ptp(pixels[thing], axis=1)  # shades and highlights have little; people name what has more
    colour = colour_of(*np.median(pixels[thing][chroma >= np.median(chroma)], axis=0))
    y, x = np.nonzero(thing)
    spread, axes = np.linalg.eigh(np.cov(np.stack([x, y])))
    long = float(np.sqrt(spread[1] / max(spread[0], 1e-9)))
    steep = float(np.degrees(np.arctan2(abs(axes[1, 1]), abs(axes[0, 1]))))
    shape = "slender" if long >= 1.9 else "long" if long >= 1.35 else "oval" if long >= 1.15 else "round"
    pose = ""
    if long >= 1.35:
        pose = "standing upright" if steep >= 65 else "lying on its side" if steep <= 25 else "leaning to one side"
    share = float(thing.mean())
    size = "filling the picture" if share >= 0.7 else "small in the picture" if share <= 0.42 else "in the middle"
    return [
        f"{_a(colour)} {kind}.",
        f"{_a(kind)} {pose} on a white background.".replace("  ", " "),
        f"This {kind} is {colour} and {shape}.",
        f"{_a(shape)}, {colour} {kind}{', ' + pose if pose else ''}.",
        f"One {kind}, {colour} and {size}.",
    ]


def _a(word: str) -> str:
    return f"An {word}" if word[0] in "aeiou" else f"A {word}"


def main(photos: Path, out: Path) -> None:
    out.mkdir(parents=True)
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for folder in sorted(path for path in photos.iterdir() if path.is_dir()):
        files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for number, path in enumerate(sorted(files, key=lambda path: natural(path.name))):
            image = Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()
            captions = captions_of(read_photo(path), kind_of(folder.name))
            line = json.dumps({"image": image, "class": folder.name, "captions": captions})
            lines["val" if number % VAL == VAL // 2 else "train"].append(line)
    for split, written in lines.items():
        (out / f"{split}_captions.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")
    print(f"{len(lines['train'])} photos to train on, {len(lines['val'])} others: {out}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or not Path(sys.argv[1]).is_dir() or Path(sys.argv[2]).exists():
        sys.exit("usage: python tools/caption_fruits.py PHOTOS OUT, a folder of classes and a new one")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
