"""A photo as a sketch for models that take some: by a model of PhotoSketch, or by an edge detector.

No web in it.
"""

from __future__ import annotations

import time

import numpy as np
from PIL import Image

from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.making import MOST_PAINTED, Made, require_pixels, rgb
from pinxit.apps.studio.pictures import Pictures
from pinxit.data.edges import edges_of
from pinxit.errors import expected


class Tracing:
    """Makes sketches of photos. `sketch` is for one thread, the painting thread of `Renders`."""

    def __init__(self, catalog: Catalog, pictures: Pictures) -> None:
        self.catalog, self.pictures = catalog, pictures

    def sketch(
        self, id: str, picture: str, size: tuple[int, int], drawer: str | None = None, *, edges: bool = False
    ) -> Made:
        """A photo as a sketch for the model `id`: uint8 [H, W], dark lines on white, held among the pictures.

        The photo is stretched to `size` (height, width), as an underlay is. `drawer`: the id of a model of PhotoSketch;
        by default the first there is, and without any, or with `edges`, the edges of `data.edges`.

        Raises `PinxitError` for a model that takes no sketch, a drawer that is none, and a size that is too large.
        """
        began = time.perf_counter()
        require_pixels(*size, MOST_PAINTED, "size of the sketch")
        if self.catalog.entry(id).inputs["sketch"] == "no":
            raise expected(f"model {id}", "without sketches", "one that takes them", "choose another")
        if edges and drawer is not None:
            raise expected("drawer", drawer, "none, as edges are asked for", "leave one of them out")
        height, width = size
        photo = Image.fromarray(rgb(self.pictures.get(picture))).resize((width, height), Image.Resampling.LANCZOS)
        by = None if edges else drawer or self._first()
        lines = edges_of(photo) if by is None else self._drawn(by, photo)
        added = self.pictures.add(np.asarray(lines))
        return Made(added, self.pictures.png(added), time.perf_counter() - began)

    def _first(self) -> str | None:
        return next((entry.id for entry in self.catalog.entries() if entry.method == "photosketch"), None)

    def _drawn(self, id: str, photo: Image.Image) -> Image.Image:
        method = self.catalog.entry(id).method
        if method != "photosketch":
            raise expected(f"model {id}", f"of method {method}", "one of PhotoSketch", "choose one")
        return self.catalog.model(id).draw(photo)
