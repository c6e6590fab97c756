"""Sentences about a street scene, composed from its label map and the light of its photo.

They say only what the map and the pixels tell: which labels occur, how much of the picture they have, on which side
they are, and how light the sky and the rest are. How many of a thing there are a label map does not tell: two cars one
before the other are one patch of it. So a thing is called one where its only patch is slender, and else several.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

SEEN = 0.002
"""The least share of the picture that a label must have to be told of."""

_THINGS: dict[str, tuple[str, str]] = {
    "building": ("a building", "buildings"),
    "car": ("a car", "cars"),
    "truck": ("a truck", "trucks"),
    "bus": ("a bus", "buses"),
    "train": ("a train", "trains"),
    "motorcycle": ("a motorcycle", "motorcycles"),
    "bicycle": ("a bicycle", "bicycles"),
    "bicyclist": ("a cyclist", "cyclists"),
    "rider": ("a rider", "riders"),
    "pedestrian": ("a person on foot", "people on foot"),
    "person": ("a person", "people"),
    "tree": ("a tree", "trees"),
    "vegetation": ("greenery", "greenery"),
    "fence": ("fencing", "fencing"),
    "wall": ("a wall", "walls"),
    "pole": ("a pole", "poles"),
    "signsymbol": ("a sign", "signs"),
    "traffic sign": ("a traffic sign", "traffic signs"),
    "traffic light": ("a traffic light", "traffic lights"),
    "pavement": ("pavement", "pavement"),
    "sidewalk": ("sidewalk", "sidewalk"),
}
"""One and several of what the labels of CamVid and Cityscapes name; any other is called by its own name."""

_MOVING = {"car", "truck", "bus", "train", "motorcycle", "bicycle", "bicyclist", "rider", "pedestrian", "person"}
_GROUND = {"sky", "road"}


class _Part(NamedTuple):
    """What the map says about one label."""

    name: str
    share: float
    side: str
    """'on the left', 'on both sides', 'in the middle', …; empty: all over."""
    one: bool

    @property
    def phrase(self) -> str:
        """'cars on the right'."""
        one, several = _THINGS.get(self.name, (self.name, self.name))
        return f"{one if self.one else several} {self.side}".strip()


def caption_of(labels: np.ndarray, names: Sequence[str], photo: Image.Image | None) -> tuple[str, ...]:
    """Five sentences about a street scene, the same for the same picture.

    Args:
        labels: integers [H, W], indices of `names`; others count as unknown.
        names: what the labels are called: 'Sky', 'Road', 'Car', …; case is of no account.
        photo: of any size; None: nothing is said about the light.
    """
    parts = _parts(labels, names)
    share = {part.name: part.share for part in parts}
    sky, light = ("", "") if photo is None else _light(labels, names, photo)
    beside = sorted((part for part in parts if part.name not in _GROUND), key=lambda part: -part.share)
    moving = [part.phrase for part in beside if part.name in _MOVING]
    still = [part.phrase for part in beside if part.name not in _MOVING]
    all_of_it = [part.phrase for part in beside]
    empty = not any(name.lower() in _MOVING and (labels == number).any() for number, name in enumerate(names))
    street, above = _street(share.get("road", 0.0), empty), _above(share.get("sky", 0.0), sky)
    return (
        _sentence(street, light, _with(all_of_it[:3])),
        _sentence(_listed([*still[:2], above]) or "open land", light),
        _sentence(street, _with(moving), above and f"under {above}"),
        _sentence(f"{light or 'in the street'}:", _listed([*moving, *still][:3]) or "nothing but road and sky"),
        _sentence("a street scene", _with(all_of_it[:5])),
    )


def mirrored(caption: str) -> str:
    """The caption of the mirrored photo: 'left' and 'right' exchanged, as words of their own."""
    return re.sub(r"\b(left|right)\b", lambda side: "right" if side[0] == "left" else "left", caption)


def _parts(labels: np.ndarray, names: Sequence[str]) -> list[_Part]:
    """What there is of each label that has a share worth telling."""
    parts = []
    for number, name in enumerate(names):
        here = labels == number
        share = float(here.mean())
        if share >= SEEN:
            parts.append(_Part(name.lower(), share, _side(here.sum(0)), _is_one(here)))
    return parts


def _side(columns: np.ndarray) -> str:
    """Where a label is, by how many of its pixels each column of the picture has."""
    thirds = [float(part.sum() / columns.sum()) for part in np.array_split(columns, 3)]
    half = len(columns) // 2
    left = float(columns[:half].sum() / columns.sum())
    if left >= 0.85:
        return "on the left"
    if left <= 0.15:
        return "on the right"
    if thirds[1] >= 0.7:
        return "in the middle"
    if min(thirds[0], thirds[2]) >= 0.2 and thirds[1] < 0.3:
        return "on both sides"
    if left >= 0.65:
        return "mostly on the left"
    if left <= 0.35:
        return "mostly on the right"
    return ""


def _is_one(here: np.ndarray) -> bool:
    """Whether nine tenths of a label's pixels are in one run of columns, and that no wider than a thing is."""
    filled = np.flatnonzero(here.any(0))
    runs = np.split(filled, np.flatnonzero(np.diff(filled) > 1) + 1)
    largest = max((here[:, run] for run in runs), key=np.count_nonzero)
    high, wide = int(largest.any(1).sum()), largest.shape[1]
    few = wide <= 1.5 * high and wide < here.shape[1] / 4
    return bool(few and np.count_nonzero(largest) >= 0.9 * np.count_nonzero(here))


def _light(labels: np.ndarray, names: Sequence[str], photo: Image.Image) -> tuple[str, str]:
    """What the sky is like, and the time of day and the light on the ground."""
    pixels = np.asarray(photo.convert("RGB").resize(labels.shape[::-1], Image.Resampling.BOX)).astype(np.float64)
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    lowered = [name.lower() for name in names]
    sky = labels == lowered.index("sky") if "sky" in lowered else np.zeros(labels.shape, bool)
    ground = float(luma[~sky].mean()) if not sky.all() else 0.0
    if sky.mean() < SEEN:
        return "", "in dim light" if ground < 50 else "by day"
    red, _, blue = pixels[sky].mean(0)
    if float(luma[sky].mean()) < 190:
        return "a dark sky", "at dusk"
    light = "in bright daylight" if ground >= 100 else "by day" if ground >= 70 else "in the shade"
    return "a blue sky" if blue - red >= 12 else "a white sky", light


def _street(road: float, empty: bool) -> str:
    """The street by its share of the picture: how broad it shows, and whether nobody is on it."""
    if road == 0:
        return "a place"
    words = ["broad"] if road >= 0.38 else ["narrow"] if road <= 0.22 else []
    words += ["empty"] if empty else []
    return " ".join(["an" if words == ["empty"] else "a", *filter(None, [", ".join(words)]), "street"])


def _above(part: float, sky: str) -> str:
    """The sky, with how much of the picture it has; nothing where none is seen."""
    if part == 0:
        return ""
    sky = sky.removeprefix("a ") or "sky"
    return f"a wide {sky}" if part >= 0.3 else f"a strip of {sky}" if part <= 0.1 else f"a {sky}"


def _with(phrases: Sequence[str]) -> str:
    return f"with {_listed(phrases)}" if phrases else ""


def _listed(phrases: Sequence[str]) -> str:
    """'cars on the left, trees and a sign'; what is empty is left out, and of equal phrases all but the first."""
    phrases = list(dict.fromkeys(phrase for phrase in phrases if phrase))
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)


def _sentence(*parts: str) -> str:
    text = " ".join(part for part in parts if part)
    return text[:1].upper() + text[1:] + "."
