"""Sketches that a generator is customised by, as its training will see them. No web in it."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from PIL import Image

from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.pictures import Pictures
from pinxit.data.sketches import normalised
from pinxit.errors import expected

MOST_KNOWN = 256
"""Sketches of which is remembered what they look like to a network; a page asks for 30 again and again."""


class Drawings:
    """Sketches out of `pictures`, cleaned for the generators of `catalog`. May be used from several threads."""

    def __init__(self, catalog: Catalog, pictures: Pictures) -> None:
        self.catalog, self.pictures = catalog, pictures
        self._known: OrderedDict[tuple[str, int], tuple[np.ndarray, list[str]]] = OrderedDict()
        self._lock = threading.Lock()

    def seen(self, model: str, picture: str) -> tuple[str, list[str]]:
        """(id of the picture that a training of this model will see, what was done to it and what is suspicious).

        Raises `Refused` (404) where there is no such model or picture, `PinxitError` for a model that is no generator,
        and a sketch that is blank.
        """
        entry = self.catalog.entry(model)
        if entry.kind != "generator" or entry.size is None:
            raise expected(f"model {model}", f"of method {entry.method}", "one of StyleGAN2", "choose another")
        side = entry.size[0]
        array = self.pictures.get(picture)
        with self._lock:
            known = self._known.get((picture, side))
        if known is None:
            sketch = normalised(Image.fromarray(array), (side, side))
            known = np.round((sketch.lines[0] + 1) * 127.5).clip(0, 255).astype(np.uint8), sketch.notes
            with self._lock:
                self._known[picture, side] = known
                while len(self._known) > MOST_KNOWN:
                    self._known.popitem(last=False)
        shown, notes = known
        return self.pictures.add(shown), notes
