"""A model that paints at work for people who draw: the costly part once for each map, then many styles."""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from PIL import Image

from pinxit.apps.studio.refusals import Refused
from pinxit.errors import expected

V = TypeVar("V")

StyleSpec = Mapping[str, Any]
"""`{"seed": n}`, `{"picture": id}` or `{"between": [style, style], "at": 0..1}`."""

MOST_DEEP = 4
"""How deep styles between styles may be nested."""
MOST_SEED = (1 << 53) - 1
"""The largest number of which JavaScript, too, knows every one below."""
MOST_CANVASES, MOST_CANVAS_BYTES = 3, 768 << 20
"""Maps that are kept, with what was computed of them, and the memory that may take."""
MOST_PICTURE_BYTES = 64 << 20
MOST_STYLES = 1000


class Session:
    """One open model and what it was shown: set the canvas once, then paint cheaply.

    `model`: of SPADE, of pix2pixHD for label maps, or of PoE-GAN, as `pinxit.load` gives it.
    `picture`: the pixels of a style picture by its id, as `Pictures.get`.

    May be used from several threads; one paints at a time. Raises `Refused` (400) for any other model.
    """

    def __init__(self, model: Any, picture: Callable[[str], np.ndarray]) -> None:
        self.model, self.picture = model, picture
        match model.file.method:
            case "spade":
                self._painter: Painter = SpadePainter(model)
            case "pix2pixhd" if model.config.source == "labels":
                self._painter = Pix2pixHDPainter(model)
            case "poegan":
                self._painter = PoEGANPainter(model)
            case _:
                raise Refused(400, "no-maps", "this model paints no label maps; choose one that does, or translate")
        self._canvases: Recent[Any] = Recent(MOST_CANVAS_BYTES, self._painter.size_of, MOST_CANVASES)
        self._finished: Recent[Image.Image] = Recent(MOST_PICTURE_BYTES, lambda picture: 4 * math.prod(picture.size))
        self._styles: Recent[Any] = Recent(MOST_STYLES, lambda style: 1)
        self._lock = threading.RLock()

    def set_canvas(
        self,
        map: np.ndarray | None,
        instances: np.ndarray | None = None,
        *,
        sketch: np.ndarray | None = None,
        text: str | None = None,
    ) -> str:
        """A key to `paint` a map by, as long as it is one of the last few that were set or painted.

        `map`: indices [H, W] of the model's label set; `instances`: ids [H, W]. `sketch`: a picture [H, W(, C)] of
        lines, and `text`: a sentence, are for PoE-GAN, whose map may be None too. The same has the same key. What is
        costly waits for its first picture, since going back to a picture that is known needs none of it.

        Raises `PinxitError` for an index that the model does not know, or instances of another size.
        """
        key = key_of(map, instances, sketch, text)
        with self._lock:
            if self._canvases.get(key) is None:
                self._canvases.put(key, self._painter.canvas(Parts(map, instances, sketch, text)))
        return key

    def paint(self, canvas: str, style: StyleSpec | None = None) -> Image.Image:
        """The picture of a canvas in a style. It is kept and given to others too: not to be changed.

        `style`: None is seed 0, or for a model that has no styles its only one.

        Raises:
            Refused: 409 for a canvas that is no longer kept, 422 for a style that is malformed, 400 for one that this
                model cannot have, and what `picture` raises.
            PinxitError: the model does not know the map's labels, or has other wishes.
        """
        wanted = json.dumps(require_style(style), sort_keys=True)
        with self._lock:
            found = self._canvases.get(canvas)
            if found is None:
                raise Refused(409, "no-such-canvas", "the canvas is no longer kept; set it again")
            key = f"{canvas} {wanted}"
            picture = self._finished.get(key)
            if picture is None:
                resolved = None if style is None else self._resolved(style)
                found = self._painter.prepared(found)
                self._canvases.put(canvas, found)
                picture = self._painter.paint(found, resolved)
                self._finished.put(key, picture)
            return picture

    def _resolved(self, style: StyleSpec) -> Any:
        """What the model paints by."""
        key = json.dumps(style, sort_keys=True)
        found = self._styles.get(key)
        if found is None:
            match style:
                case {"seed": seed}:
                    found = self._painter.of_seed(seed)
                case {"picture": id}:
                    found = self._painter.of_photo(photo_of(self.picture(id)))
                case _:
                    first, last = (self._resolved(end) for end in style["between"])
                    found = self._painter.between(first, last, style["at"])
            self._styles.put(key, found)
        return found


class Parts(NamedTuple):
    """What a canvas is made of: see `Session.set_canvas`."""

    map: np.ndarray | None
    instances: np.ndarray | None
    sketch: np.ndarray | None
    text: str | None


class Painter(Protocol):
    """What a session asks of a model; each method's own way is below."""

    def canvas(self, parts: Parts) -> Any:
        """What is kept of a map, at little cost."""
        ...

    def prepared(self, canvas: Any) -> Any:
        """The same with what is computed once, unless it has that or there is none."""
        ...

    def size_of(self, canvas: Any) -> int:
        """Bytes, about."""
        ...

    def of_seed(self, seed: int) -> Any:
        """What `paint` takes for a style; this and the next two raise `Refused` for one the model cannot have."""
        ...

    def of_photo(self, photo: Image.Image) -> Any: ...

    def between(self, first: Any, last: Any, at: float) -> Any: ...

    def paint(self, canvas: Any, style: Any) -> Image.Image: ...


class SpadePainter:
    """A style is a vector z; a canvas holds, once prepared, what all SPADE units make of the map."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.last: Any = None

    def canvas(self, parts: Parts) -> Any:
        return self.model.canvas(*of_map_alone(parts))

    def prepared(self, canvas: Any) -> Any:
        # Mostly it is the one before with a stroke more. A map so large that one alone would fill the memory is
        # computed anew for every picture.
        if canvas.tables is None:
            canvas = self.model.prepared(canvas, self.last, MOST_CANVAS_BYTES // 2)
            self.last = canvas
        return canvas

    def size_of(self, canvas: Any) -> int:
        return canvas.labels.nbytes + self.model.bytes_prepared(canvas)

    def of_seed(self, seed: int) -> np.ndarray:
        self._require_styles()
        return self.model.style(seed)

    def of_photo(self, photo: Image.Image) -> np.ndarray:
        self._require_styles()
        if self.model.E is None:
            raise no_encoder()
        return self.model.style(photo)

    def between(self, first: np.ndarray, last: np.ndarray, at: float) -> np.ndarray:
        t = np.float32(at)
        return first * (1 - t) + last * t

    def paint(self, canvas: Any, style: np.ndarray | None) -> Image.Image:
        return self.model.paint_on(canvas, 0 if style is None else style)

    def _require_styles(self) -> None:
        if not self.model.network.vae:
            raise no_styles()


class Pix2pixHDPainter:
    """A style is an argument of `Model.paint`: a seed or a photo; a canvas is the map itself."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def canvas(self, parts: Parts) -> Any:
        map, instances = of_map_alone(parts)
        if instances is not None and instances.shape != map.shape:
            raise expected("instance map", f"{instances.shape}", f"{map.shape} as its label map", "use the map's own")
        return map.copy(), None if instances is None else instances.copy()

    def prepared(self, canvas: Any) -> Any:
        return canvas

    def size_of(self, canvas: Any) -> int:
        return sum(part.nbytes for part in canvas if part is not None)

    def of_seed(self, seed: int) -> dict[str, Any]:
        self._require_styles()
        return {"seed": seed}

    def of_photo(self, photo: Image.Image) -> dict[str, Any]:
        self._require_styles()
        if self.model.E is None:
            raise no_encoder()
        return {"photo": photo}

    def between(self, first: dict[str, Any], last: dict[str, Any], at: float) -> dict[str, Any]:
        text = "this model has a style for each object, and none between two; choose a seed or a picture"
        raise Refused(400, "no-style-between", text)

    def paint(self, canvas: Any, style: dict[str, Any] | None) -> Image.Image:
        map, instances = canvas
        style = style or {}
        if (photo := style.get("photo")) is not None:
            # An object takes the style of its own place in the photo, which must therefore be of the map's size.
            style = {"photo": photo.resize(map.shape[::-1], Image.Resampling.LANCZOS)}
        return self.model.paint(map, instances, **style)

    def _require_styles(self) -> None:
        if self.model.config.features == "none":
            raise no_styles()


class PoEGANPainter:
    """A style is what a style picture was encoded to, or None, and noise. A canvas has, once prepared, map, sketch and
    text as the model takes them.

    Between two seeds lies other noise, between two pictures what lies between their features; between a picture and a
    seed the picture stays, and the noise goes along.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.last: Any = None

    def canvas(self, parts: Parts) -> Any:
        if parts.instances is not None:
            raise expected("instance map", "given", "none: this model knows no instances", "leave it out")
        return parts

    def prepared(self, canvas: Any) -> Any:
        if not isinstance(canvas, Parts):
            return canvas
        sketch = None if canvas.sketch is None else Image.fromarray(canvas.sketch)
        new = self.model.canvas(canvas.map, sketch, canvas.text)
        if self.last is not None:
            # A stroke changes one part alone. What the others are encoded to the model knows by their identity.
            known = self.last.inputs
            same = [name for name, x in new.inputs.items() if name in known and x.equal(known[name])]
            new = new.with_(self.last.only(*same))
        self.last = new
        return new

    def size_of(self, canvas: Any) -> int:
        parts = canvas if isinstance(canvas, Parts) else canvas.inputs.values()
        return sum(getattr(part, "nbytes", 0) for part in parts)

    def of_seed(self, seed: int) -> tuple[list[Any] | None, list[Any]]:
        return None, self.model.noise(seed)

    def of_photo(self, photo: Image.Image) -> tuple[list[Any] | None, list[Any]]:
        import torch  # which the model has brought

        seen = self.model.canvas(style=photo).inputs["style"]
        with torch.no_grad():
            return self.model.G.encoders["style"](seen), self.model.noise(0)

    def between(self, first: Any, last: Any, at: float) -> tuple[list[Any] | None, list[Any]]:
        from pinxit.models.poegan.generate import between

        noise = [between(a, b, at) for a, b in zip(first[1], last[1], strict=True)]
        if first[0] is None or last[0] is None:
            return first[0] or last[0], noise
        return [a.lerp(b, at) for a, b in zip(first[0], last[0], strict=True)], noise

    def paint(self, canvas: Any, style: Any) -> Image.Image:
        import torch

        from pinxit.data.images import to_image
        from pinxit.models.poegan.generate import Canvas

        features, noise = style or self.of_seed(0)
        if features is not None:
            # Stands for a picture that there need not be: the encoder is told what it finds in it.
            photo = torch.empty(1, 3, *self.model.size, device=self.model.device)
            canvas = canvas.with_(Canvas({"style": self.model.G.encoders["style"].remember(photo, features)}))
        return to_image(self.model.pictures(canvas, [x[None] for x in noise])[0])


def of_map_alone(parts: Parts) -> tuple[np.ndarray, np.ndarray | None]:
    """Map and instances, for a method that takes nothing else."""
    assert parts.map is not None
    assert parts.sketch is None
    assert parts.text is None
    return parts.map, parts.instances


class Recent(Generic[V]):
    """The values used last, by key: at most `most_values`, together of a size up to `most`; the very last always."""

    def __init__(self, most: int, size: Callable[[V], int], most_values: int = 1 << 30) -> None:
        self.most, self.most_values, self.size = most, most_values, size
        self.values: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self.total = 0

    def get(self, key: str) -> V | None:
        if key not in self.values:
            return None
        self.values.move_to_end(key)
        return self.values[key][0]

    def put(self, key: str, value: V) -> None:
        self.total += self.size(value) - self.values.pop(key, (value, 0))[1]
        self.values[key] = value, self.size(value)
        while len(self.values) > 1 and (self.total > self.most or len(self.values) > self.most_values):
            self.total -= self.values.popitem(last=False)[1][1]


def require_style(style: object, deep: int = 0) -> object:
    """The style, if it is None or of one of the forms. Raises `Refused` (422)."""
    if deep > MOST_DEEP:
        raise Refused(422, "bad-field", f"style is nested too deep, expected at most {MOST_DEEP} levels; choose two")
    match style:
        case None if deep == 0:
            return style
        case {"seed": int(seed), **rest} if not rest and not isinstance(seed, bool) and 0 <= seed <= MOST_SEED:
            return style
        case {"picture": str(), **rest} if not rest:
            return style
        case {"between": [first, last], "at": (int() | float()) as at, **rest} if (
            not rest and not isinstance(at, bool) and 0 <= at <= 1
        ):
            require_style(first, deep + 1)
            require_style(last, deep + 1)
            return style
    form = '{"seed": 7}, {"picture": "ID"} or {"between": [STYLE, STYLE], "at": 0.5}'
    raise Refused(422, "bad-field", f"style is of another form, expected {form}; correct it")


def photo_of(pixels: np.ndarray) -> Image.Image:
    """A picture of any kind that `Pictures` holds as 8-bit RGB; what is transparent shows white."""
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    photo = Image.fromarray(pixels)
    if photo.mode == "RGBA":
        photo = Image.alpha_composite(Image.new("RGBA", photo.size, "white"), photo)
    return photo.convert("RGB")


def key_of(
    map: np.ndarray | None,
    instances: np.ndarray | None,
    sketch: np.ndarray | None = None,
    text: str | None = None,
) -> str:
    """What tells canvases apart: 32 hex digits of their content."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (map, instances, sketch):
        digest.update(b"none" if array is None else f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    digest.update(b"none" if text is None else b"text " + text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def no_styles() -> Refused:
    text = "style is given, expected none: this model's pictures hang on the map alone; leave it out"
    return Refused(400, "no-style", text)


def no_encoder() -> Refused:
    text = "style is a picture, expected a seed: this model came without its encoder; choose a seed"
    return Refused(400, "no-style-encoder", text)
