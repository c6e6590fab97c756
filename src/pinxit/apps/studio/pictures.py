"""Pictures by the hash of their content: what people sent, and what was made for them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit.apps.studio.refusals import Refused
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import replacing

ID = re.compile(r"[0-9a-f]{32}")
CHANNELS = (3, 4)
OVERHEAD = 1000
"""Bytes that a picture takes beside its pixels, about, so that tiny ones are not held without end."""
MOST_PIXELS = 1 << 26
"""A file of more pixels is none of ours: a damaged or foreign header must not fill the memory."""


@dataclass
class Held:
    """A picture in memory, with its PNG once that was asked for."""

    array: np.ndarray
    png: bytes | None = None
    recipe: str | None = None
    """As JSON, so that nobody changes it later, and its size is known."""

    @property
    def bytes(self) -> int:
        return OVERHEAD + self.array.nbytes + len(self.png or b"") + len(self.recipe or "")


class Pictures:
    """Pictures by the hash of their content; recent ones in memory (bounded in bytes), kept ones as PNG in a folder.

    A picture is uint8 [H, W], [H, W, 3] or [H, W, 4], or uint16 [H, W]; its id is 32 hex digits. What is neither kept
    nor recent is gone. May be used from several threads.

    `folder`: of the kept ones; made when there is one. `most_bytes`: what those in memory may take together, their PNGs
    and recipes included; the last one is held whatever its size.
    """

    def __init__(self, folder: Path, most_bytes: int = 256 << 20) -> None:
        self.folder, self.most_bytes = folder, most_bytes
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._files = threading.Lock()  # two that keep the same picture would write the same temporary file

    def add(self, array: np.ndarray) -> str:
        """Hold a picture, and say its id; the same pixels have the same id. The array is copied.

        Raises `PinxitError` for an array that is no picture.
        """
        require_picture(array)
        array = np.array(array, array.dtype.newbyteorder("="), order="C")
        array.flags.writeable = False  # it is given to many
        id = id_of(array)
        self._hold(id, array)
        return id

    def get(self, id: str) -> np.ndarray:
        """The pixels, read-only. Raises `Refused` (404) where there is no such picture, or its file is damaged."""
        return self._found(id).array

    def png(self, id: str) -> bytes:
        """The picture as a PNG of its own depth. Raises `Refused` (404)."""
        held = self._found(id)
        if held.png is None:
            png = encoded(held.array)
            with self._lock:
                if self._held.get(id) is held and held.png is None:
                    self._bytes += len(png)
                    held.png = png
                    self._let_go()
            return png
        return held.png

    def keep(self, id: str) -> Path:
        """Write the picture into the folder, unless it is there already; -> its file.

        Raises `Refused`: 404 where there is no such picture, 409 where the disk refuses.
        """
        path = self._path(id)
        with self._files:
            if not path.is_file():
                png = self.png(id)
                try:
                    with replacing(path) as temporary:
                        temporary.write_bytes(png)
                except (PinxitError, OSError) as error:
                    raise disk_refused(error) from error
        return path

    def forget(self, id: str) -> None:
        """Remove the kept file, if there is one. Raises `Refused` (409) where the disk refuses."""
        path = self._path(id)
        with self._files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_refused(error) from error

    def note_recipe(self, id: str, recipe: dict[str, Any]) -> None:
        """Remember what request a picture was made by, a JSON object, as long as it is in memory.

        Raises `Refused` (404) where there is no such picture.
        """
        text = json.dumps(recipe)
        held = self._found(id)
        with self._lock:
            if self._held.get(id) is held:
                self._bytes += len(text) - len(held.recipe or "")
                held.recipe = text
                self._let_go()

    def recipe(self, id: str) -> dict[str, Any] | None:
        """What request made a picture; None where that is not known, or no longer."""
        with self._lock:
            held = self._held.get(id)
            return json.loads(held.recipe) if held is not None and held.recipe is not None else None

    def _found(self, id: str) -> Held:
        with self._lock:
            if (held := self._held.get(id)) is not None:
                self._held.move_to_end(id)
                return held
        array = read(self._path(id))
        if array is None or id_of(array) != id:
            raise Refused(404, "no-such-picture", f"picture {id} is not there (any more); send or make it again")
        array.flags.writeable = False
        return self._hold(id, array)

    def _hold(self, id: str, array: np.ndarray) -> Held:
        with self._lock:
            if (held := self._held.get(id)) is None:
                held = self._held[id] = Held(array)
                self._bytes += held.bytes
            self._held.move_to_end(id)
            self._let_go()
            return held

    def _let_go(self) -> None:
        while self._bytes > self.most_bytes and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].bytes

    def _path(self, id: str) -> Path:
        """Raises `Refused` (404) for what is no id, so that nothing else ever becomes a path."""
        if not isinstance(id, str) or not ID.fullmatch(id):
            raise Refused(404, "no-such-picture", "the picture's id is malformed, expected 32 hex digits; correct it")
        return self.folder / f"{id}.png"


def require_picture(array: np.ndarray) -> None:
    """Raises `PinxitError` for an array that is no picture."""
    grey = array.ndim == 2 and array.dtype.name in ("uint8", "uint16")
    colored = array.ndim == 3 and array.shape[2] in CHANNELS and array.dtype.name == "uint8"
    if not (grey or colored) or array.size == 0:
        got = f"{array.dtype} of shape {list(array.shape)}"
        raise expected("picture", got, "uint8 [H, W], [H, W, 3] or [H, W, 4], or uint16 [H, W]", "convert it")


def id_of(array: np.ndarray) -> str:
    """32 hex digits of what a picture shows: its size, depth and pixels."""
    digest = hashlib.blake2b(f"{array.dtype.name}{array.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False)).data)
    return digest.hexdigest()


def encoded(array: np.ndarray) -> bytes:
    """A PNG of the array, exactly."""
    file = io.BytesIO()
    # Level 1: a stroke waits for this, and level 6 takes three times as long to save a tenth.
    Image.fromarray(array).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def read(path: Path) -> np.ndarray | None:
    """What `encoded` wrote; None where there is none, or something else."""
    try:
        with path.open("rb") as file, Image.open(file, formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            array = np.array(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning):
        return None
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def disk_refused(error: Exception) -> Refused:
    """The refusal of the disk, as this module's callers tell it."""
    if isinstance(error, OSError):
        text = f"the picture is not written ({os.strerror(error.errno or 0)}), expected room on the disk; free some"
        return Refused(409, "disk-full", text)
    return Refused(409, "disk-full", str(error))
