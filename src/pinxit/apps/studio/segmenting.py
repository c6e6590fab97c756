"""A photo as a label map: which of the studio's models segment, which of these fit a model that paints, and the call.

No web in it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit.apps.studio.catalog import Catalog, Entry, opened, stamp_of
from pinxit.apps.studio.making import MOST_PAINTED, Made, require_pixels, rgb
from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.data.labels import LabelSet
from pinxit.errors import expected

MOST_FINER = 4
"""How many times finer than its canvas a photo is looked at, at most."""


class Segmenting:
    """Makes label maps of photos, by the models of the catalogue that segment.

    One of these is kept open. `map` is for one thread, the painting thread of `Renders`.
    """

    def __init__(self, catalog: Catalog, pictures: Pictures) -> None:
        self.catalog, self.pictures = catalog, pictures
        self._open: tuple[Path, tuple[int, ...], Any] | None = None

    def offered(self, id: str) -> dict[str, Any]:
        """The segmenters that fit the model `id`, as {"segmenters": [{"id", "name"}], "unfit": [{"id", "name",
        "missing", "foreign"}]}.

        A segmenter fits where each label of the model is one of its classes, names compared without case and signs;
        those that are none are `missing`. A class that is no label becomes 'unknown', or where the model knows no
        unknown pixels is `foreign`, and the segmenter does not fit either.

        Raises `PinxitError` for a model that paints no maps.
        """
        labels = _labels(self.catalog.entry(id))
        fit, unfit = [], []
        for entry in self.catalog.entries():
            if entry.kind == "segmenter":
                _, missing, foreign = _table(entry, labels)
                told = {"id": entry.id, "name": entry.name}
                if missing or foreign:
                    unfit.append({**told, "missing": missing, "foreign": foreign})
                else:
                    fit.append(told)
        return {"segmenters": fit, "unfit": unfit}

    def map(self, id: str, picture: str, size: tuple[int, int], segmenter: str | None = None) -> Made:
        """A photo as a map of the model `id`: uint8 ids of its files, (height, width) `size`, held among the pictures.

        The photo is stretched to the size, as an underlay is. `segmenter`: the id of one; by default the first that
        fits.

        Raises `PinxitError` for a model that paints no maps, a segmenter that does not fit it, or none, and a size that
        is too large.
        """
        began = time.perf_counter()
        require_pixels(*size, MOST_PAINTED, "size of the map")
        labels = _labels(self.catalog.entry(id))
        entry = self.catalog.entry(segmenter or self._first(id))
        if entry.kind != "segmenter":
            raise expected(f"model {entry.id}", f"of method {entry.method}", "a segmenter", "choose one")
        table, missing, foreign = _table(entry, labels)
        if missing or foreign:
            got = f"without {missing[0]!r}" if missing else f"with {foreign[0]!r}, which {id} does not know"
            raise expected(
                f"segmenter {entry.id}", got, f"of the labels of {id}", "choose one that was trained on them"
            )
        photo = rgb(self.pictures.get(picture))
        finer = _finer(photo.shape[:2], size)
        height, width = size
        seen = Image.fromarray(photo).resize((finer * width, finer * height), Image.Resampling.LANCZOS)
        found = table[np.asarray(self._opened(entry).segment(seen))]
        added = self.pictures.add(labels.ids_of(most_frequent(found, finer)).astype(np.uint8))
        return Made(added, self.pictures.png(added), time.perf_counter() - began)

    def _first(self, id: str) -> str:
        fit = self.offered(id)["segmenters"]
        if not fit:
            want = f"a segmenter of the labels of {id} among the models"
            raise Refused(409, "no-segmenter", f"photo to map is without a segmenter, expected {want}; train one")
        return fit[0]["id"]

    def _opened(self, entry: Entry) -> Any:
        stamp = stamp_of(entry.path)
        if stamp is None:
            raise Refused(404, "no-such-model", "the model's file is gone; look at the list of models")
        if self._open is None or self._open[:2] != (entry.path, stamp):
            self._open = None  # the old one goes first, so that there are never two in memory
            self._open = entry.path, stamp, opened(entry, self.catalog.device)
        return self._open[2]


def most_frequent(map: np.ndarray, side: int) -> np.ndarray:
    """The most frequent index of each square of `side` pixels; of equally frequent ones the lowest."""
    if side == 1:
        return map
    height, width = (length // side for length in map.shape)
    best, most = np.zeros((height, width), np.int64), np.zeros((height, width), np.int64)
    for index in np.unique(map):
        times = (map == index).reshape(height, side, width, side).sum((1, 3))
        best[times > most] = index
        np.maximum(most, times, out=most)
    return best


def _finer(has: tuple[int, ...], wanted: tuple[int, int]) -> int:
    """How many times finer than the size `wanted` a photo is looked at, so that small things in it are not lost."""
    times = min(MOST_FINER, has[0] // wanted[0], has[1] // wanted[1])
    while times > 1 and times**2 * wanted[0] * wanted[1] > MOST_PAINTED:
        times -= 1
    return max(1, times)


def _table(segmenter: Entry, labels: LabelSet) -> tuple[np.ndarray, list[str], list[str]]:
    """The index of the label for each of the segmenter's classes, the labels that are none of these, and the classes
    that are no label where there is no 'unknown' to put in their place."""
    from pinxit.evaluation.segmentation import class_table  # brings torch

    names = [label.name for label in _labels(segmenter).labels]
    table, missing = class_table(names, labels)
    foreign = [name for name, index in zip(names, table.tolist(), strict=True) if index == labels.unknown]
    return table, missing, [] if labels.ignore else foreign


def _labels(entry: Entry) -> LabelSet:
    if entry.label_set is None:
        raise expected(f"model {entry.id}", "without labels", "one that paints maps", "choose another")
    return LabelSet.from_json(entry.label_set)
