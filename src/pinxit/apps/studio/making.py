"""From a recipe to a picture: what each request of the studio calls of a model. No web in it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.sentences import illustrate
from pinxit.apps.studio.session import Session
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError, expected

MOST_PAINTED = 1 << 20
"""Pixels of a map or a picture that goes through a network at once; about 2 GiB of memory with the larger ones."""
MOST_SAMPLED = 1 << 22
"""Pixels of what SinGAN makes, which it paints in strips."""
MOST_DIRECTIONS = 16
"""Principal directions of a generator that can be gone along."""
PARTS = ("map", "sketch", "text", "style")
"""What a picture may be painted by."""
MOST_SESSIONS = 2
"""A session keeps up to a GiB of what it has computed."""


@dataclass(frozen=True)
class Made:
    """A picture that has just been made: its id, its file, and the seconds it took."""

    id: str
    png: bytes
    seconds: float


class Maker:
    """Makes pictures, one after the other: `make` is for one thread, the painting thread of `Renders`.

    A recipe is a JSON object: {"kind": verb, "model": id} and the fields of that verb's request.
    """

    def __init__(self, catalog: Catalog, pictures: Pictures) -> None:
        self.catalog, self.pictures = catalog, pictures
        # With the model that each was made of: the catalogue opens it anew where its file has changed.
        self._sessions: dict[str, tuple[Any, Session]] = {}
        self._directions: dict[tuple[str, str], tuple[Any, Any]] = {}
        self._principal: tuple[Any, Any] | None = None
        """A generator and its directions, which take seconds to find."""

    def make(self, recipe: dict[str, Any], *, afresh: bool = False) -> Made:
        """Make a picture, hold it, and note how it was made. `afresh`: of nothing that was computed before. Raises
        `PinxitError`."""
        began = time.perf_counter()
        if afresh:
            self._sessions.pop(recipe["model"], None)
        if recipe.get("kind") not in VERBS:
            raise expected("kind of recipe", repr(recipe.get("kind")), "one of " + ", ".join(VERBS), "make it anew")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a size is far from the trained one; the page shows both
            image = VERBS[recipe["kind"]](self, self.catalog.model(recipe["model"]), recipe)
        id = self.pictures.add(array_of(image))
        self.pictures.note_recipe(id, recipe)
        return Made(id, self.pictures.png(id), time.perf_counter() - began)

    def _paint(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        session = self._session(recipe["model"], model)
        given = {name: recipe.get(name) for name in PARTS}
        if (use := recipe.get("use")) is not None:
            given = {name: value if name in use else None for name, value in given.items()}
        text = given["text"]
        if text is not None and not text.strip():
            given["text"] = None  # an empty box is as good as one that is switched off
        takes = self.catalog.entry(recipe["model"]).inputs
        for name in ("map", "sketch", "text"):
            if given[name] is not None and takes[name] == "no":
                raise expected(name, "given", f"none: model {recipe['model']} takes no {name}", "switch it off")
            if given[name] is None and takes[name] == "required":
                raise expected(name, "missing", f"one: model {recipe['model']} paints from it", "switch it on")
        map = None if given["map"] is None else self._small(given["map"], "map")
        if map is not None:
            if map.ndim != 2:
                raise expected("map", "in colours", "ids in one channel", "send it through /models/{id}/map first")
            map = model.label_set.index_of(map, "map")
        sketch = None if given["sketch"] is None else self._small(given["sketch"], "sketch")
        canvas = session.set_canvas(map, sketch=sketch, text=given["text"])
        return session.paint(canvas, given["style"])

    def _translate(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        if not hasattr(model, "translate"):
            raise no_verb(recipe)
        direction = recipe["direction"]
        if direction is not None:
            if not hasattr(model, "towards"):
                raise expected("direction", direction, "none: the model has one alone", "leave it out")
            model = self._towards(recipe["model"], model, direction)
        array = self._small(recipe["picture"], "picture")
        return image_of(model.translate(as_kind(array, model.input), recipe["seed"]), model.output)

    def _sample(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        self._require("sample", model, recipe)
        height, width = recipe["size"] or model.sizes[-1]
        require_pixels(height, width, MOST_SAMPLED, "size")
        return model.sample(1, recipe["start_scale"], (height, width), recipe["seed"])[0]

    def _super_resolve(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        self._require("super_resolve", model, recipe)
        height, width = (int(side * recipe["factor"]) for side in model.sizes[-1])
        require_pixels(height, width, MOST_SAMPLED, "enlarged size")
        return model.super_resolve(float(recipe["factor"]), recipe["seed"])

    def _blend(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        self._require("harmonize", model, recipe)
        picture, mask = self._photo(recipe["picture"]), self.pictures.get(recipe["mask"])
        if mask.shape[:2] != (picture.height, picture.width):
            got, want = f"{mask.shape[1]}x{mask.shape[0]}", f"{picture.width}x{picture.height} as its picture"
            raise expected("size of the mask", got, f"{want} (width x height)", "draw it over that picture")
        verb = model.harmonize if recipe["kind"] == "harmonize" else model.edit
        return verb(picture, Image.fromarray(rgb(mask)), recipe["start_scale"], recipe["seed"])

    def _paint_to_image(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        self._require("paint", model, recipe)
        return model.paint(self._photo(recipe["picture"]), recipe["start_scale"], recipe["seed"])

    def _reconstruct(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        self._require("reconstruct", model, recipe)
        return model.reconstruct()

    def _generate(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        if not hasattr(model, "principal"):
            raise no_verb(recipe)
        from pinxit.models.stylegan2.network import mixed  # brings torch, which the model has brought anyway

        latent = model.w(recipe["seed"], recipe["truncation"])
        if (mix := recipe["mix"]) is not None:
            layers = model.options.latents
            if mix["at"] > layers:
                raise expected("at", mix["at"], f"0..{layers}, the model's layers", "choose another")
            other = model.w(mix["seed"], recipe["truncation"])
            latent = mixed(latent[None], other[None], mix["at"], layers)[0]
        if not any(recipe["strengths"]):
            return next(model.pictures([latent]))
        if self._principal is None or self._principal[0] is not model:
            self._principal = None  # the old model goes before the new one's latents come
            self._principal = model, model.principal(min(MOST_DIRECTIONS, model.options.style_dim))
        moved = recipe["layers"] and tuple(recipe["layers"])
        return model.edit(latent, self._principal[1], recipe["strengths"], moved)

    def _illustrate(self, model: Any, recipe: dict[str, Any]) -> Image.Image:
        if self.catalog.entry(recipe["model"]).kind != "sentence":
            raise no_verb(recipe)
        return illustrate(model, recipe)

    def _session(self, id: str, model: Any) -> Session:
        known = self._sessions.get(id)
        if known is None or known[0] is not model:
            self._sessions.pop(id, None)
            while len(self._sessions) >= MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            known = self._sessions[id] = (model, Session(model, self.pictures.get))
        return known[1]

    def _towards(self, id: str, model: Any, direction: str) -> Any:
        known = self._directions.get((id, direction))
        if known is None or known[0] is not model:
            self._directions = {key: known for key, known in self._directions.items() if key[0] == id}
            known = self._directions[id, direction] = (model, model.towards(direction))
        return known[1]

    def _require(self, verb: str, model: Any, recipe: dict[str, Any]) -> None:
        """Raises `PinxitError` for a model that is none of a photo, or lacks the verb."""
        if not (hasattr(model, verb) and hasattr(model, "photo")):
            raise no_verb(recipe)

    def _small(self, id: str, thing: str) -> np.ndarray:
        array = self.pictures.get(id)
        require_pixels(array.shape[0], array.shape[1], MOST_PAINTED, f"size of the {thing}")
        return array

    def _photo(self, id: str) -> Image.Image:
        return Image.fromarray(rgb(self.pictures.get(id)))


VERBS: dict[str, Callable[[Maker, Any, dict[str, Any]], Image.Image]] = {
    "paint": Maker._paint,
    "translate": Maker._translate,
    "sample": Maker._sample,
    "generate": Maker._generate,
    "illustrate": Maker._illustrate,
    "super-resolve": Maker._super_resolve,
    "harmonize": Maker._blend,
    "edit": Maker._blend,
    "paint-to-image": Maker._paint_to_image,
    "reconstruct": Maker._reconstruct,
}


def file_ids(raw: np.ndarray, labels: LabelSet) -> np.ndarray:
    """A map as somebody's file has it, ids [H, W] or colours [H, W, 3], as ids of the set's files, uint8 [H, W].

    Raises `PinxitError` for what the set does not have, and for a set whose ids are of 16 bits.
    """
    ids = labels.ids_of(labels.from_colors(raw, "map") if raw.ndim == 3 else labels.index_of(raw, "map"))
    if ids.max() > 255:
        raise expected(f"an id of label set {labels.name!r}", ids.max(), "0..255 in the studio", "use the command line")
    return ids.astype(np.uint8)


def require_pixels(height: int, width: int, most: int, thing: str) -> None:
    """Raises `Refused` for more than the memory and the patience of the others are to bear."""
    if height * width > most:
        got = f"{width}x{height} (width x height)"
        error = expected(thing, got, f"at most {most:,} pixels in the studio", "make it smaller")
        raise Refused(413, "too-many-pixels", str(error))


def no_verb(recipe: dict[str, Any]) -> PinxitError:
    return expected(f"model {recipe['model']}", f"without {recipe['kind']}", "one that has it", "choose another")


def rgb(array: np.ndarray) -> np.ndarray:
    """A picture of the store's as uint8 [H, W, 3]; what is transparent shows white."""
    if array.dtype == np.uint16:
        array = np.round(array * (255 / 65535)).astype(np.uint8)
    if array.ndim == 2:
        return np.repeat(array[..., None], 3, axis=2)
    if array.shape[2] == 4:
        opaque = array[..., 3:].astype(np.float32) / 255
        return np.round(array[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)
    return array


def as_kind(array: np.ndarray, kind: Kind) -> np.ndarray:
    """A picture of the store's as [H, W, C] of what a model takes. Raises `PinxitError` for other than grey or RGB."""
    if kind.channels not in (1, 3):
        want = "one of 1 or 3 in the studio"
        raise expected("the model's input", f"of {kind.channels} channels", want, "use pinxit translate")
    if kind.channels == 1 and array.dtype == np.uint16 and kind.dtype == "uint16":
        return array[..., None]
    picture = rgb(array)
    if kind.channels == 1:
        picture = np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    match kind.dtype:
        case "uint8":
            return np.ascontiguousarray(picture)
        case "uint16":
            return picture.astype(np.uint16) * 257
        case "float32":
            return (kind.low + picture.astype(np.float32) / 255 * (kind.high - kind.low)).astype(np.float32)


def image_of(array: np.ndarray, kind: Kind) -> Image.Image:
    """[H, W, C] of what a model gives, to look at: grey or RGB, 8 bits, or 16 of one channel."""
    if array.dtype == np.float32:
        array = np.round((array - kind.low) / (kind.high - kind.low) * 255).clip(0, 255).astype(np.uint8)
    if array.shape[2] in (1, 2):
        return Image.fromarray(array[..., 0])
    if array.dtype == np.uint16:
        array = np.round(array * (255 / 65535)).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array[..., :3]))


def array_of(image: Image.Image) -> np.ndarray:
    return np.asarray(image if image.mode in ("L", "RGB", "RGBA", "I;16") else image.convert("RGB"))
