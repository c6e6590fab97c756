"""What was made and kept, with how it was made, so that it can be made again."""

from __future__ import annotations

import io
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.store import Store

PICTURE_ID = re.compile(r"[0-9a-f]{32}")
THUMBNAIL = 256
"""Longer side of a thumbnail, px."""


class Gallery:
    """Kept pictures and their recipes. Thread-safe."""

    def __init__(self, home: Path, pictures: Pictures) -> None:
        self.store = Store(home)
        self.pictures = pictures

    def add(self, picture_id: str) -> dict[str, Any]:
        """Keep a picture that was made here, and every picture that its recipe names; -> its entry, which is the old
        one where it is kept already: {"id", "created" (ISO, UTC), "kind", "model", "recipe", "picture"}.

        Raises `Refused`: 404 `no-such-picture`; 409 `no-recipe`: how it was made is not known; 409 `disk-full`.
        """
        self.pictures.get(picture_id)
        recipe = self.pictures.recipe(picture_id)
        if recipe is None:
            text = "the picture was not made here, or too long ago: make it again, then keep it"
            raise Refused(409, "no-recipe", text)
        text = json.dumps(recipe, sort_keys=True)

        def work(db: sqlite3.Connection) -> dict[str, Any]:
            columns = f"SELECT {COLUMNS} FROM gallery WHERE picture = ? AND recipe = ?"
            row = db.execute(columns, (picture_id, text)).fetchone()
            if row is None:
                # First the row, then the files: where the file of the table is locked, none is written.
                values = (datetime.now(UTC).isoformat(timespec="seconds"), _word(recipe, "kind", "verb"))
                cursor = db.execute(
                    "INSERT INTO gallery (created, kind, model, recipe, picture) VALUES (?, ?, ?, ?, ?)",
                    (*values, _word(recipe, "model"), text, picture_id),
                )
                row = db.execute(f"SELECT {COLUMNS} FROM gallery WHERE id = ?", (cursor.lastrowid,)).fetchone()
            self._keep(db, picture_id, recipe, row[0])
            return _entry(row)

        return self.store.run(work)

    def list(self) -> list[dict[str, Any]]:
        """All entries, the newest first."""
        rows = self.store.run(lambda db: db.execute(f"SELECT {COLUMNS} FROM gallery ORDER BY id DESC").fetchall())
        return [_entry(row) for row in rows]

    def get(self, id: int) -> dict[str, Any]:
        """Raises `Refused` 404 `no-such-entry`."""
        return self.store.run(lambda db: _entry(_row(db, id)))

    def remove(self, id: int) -> None:
        """Take an entry out, and forget its pictures but for those that others use.

        Raises `Refused` 404 `no-such-entry`.
        """

        def work(db: sqlite3.Connection) -> None:
            entry = _entry(_row(db, id))
            db.execute("DELETE FROM gallery WHERE id = ?", (id,))
            used = _used(db)
            for picture in {entry["picture"], *named_in(entry["recipe"])} - used:
                self.pictures.forget(picture)

        self.store.run(work)

    def thumbnail(self, id: int) -> bytes:
        """The picture of an entry as a PNG of at most `THUMBNAIL` px a side. Raises `Refused` 404."""
        array = self.pictures.get(self.get(id)["picture"])
        image = Image.fromarray((array >> 8).astype(np.uint8) if array.dtype == np.uint16 else array)
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS, reducing_gap=3.0)
        out = io.BytesIO()
        image.save(out, format="PNG")
        return out.getvalue()

    def _keep(self, db: sqlite3.Connection, picture_id: str, recipe: dict[str, Any], entry: int) -> None:
        """The files of an entry. Where the disk refuses one, those go again that no other entry uses."""
        kept = []
        try:
            self.pictures.keep(picture_id)
            kept.append(picture_id)
            for other in named_in(recipe):
                # What it was made from may be gone already, or be a text that reads like an id: the picture is worth
                # keeping all the same.
                try:
                    self.pictures.keep(other)
                    kept.append(other)
                except Refused as refused:
                    if refused.status != 404:
                        raise
        except BaseException:
            db.execute("DELETE FROM gallery WHERE id = ?", (entry,))  # is rolled back, but `_used` must not see it
            used = _used(db)
            for picture in set(kept) - used:
                with suppress(Exception):
                    self.pictures.forget(picture)
            raise


def named_in(value: Any) -> Iterator[str]:
    """Every picture id among the values of a recipe, however deep."""
    if isinstance(value, dict):
        value = [*value.values()]
    if isinstance(value, list | tuple):
        for part in value:
            yield from named_in(part)
    elif isinstance(value, str) and PICTURE_ID.fullmatch(value):
        yield value


COLUMNS = "id, created, kind, model, recipe, picture"


def _row(db: sqlite3.Connection, id: int) -> tuple[Any, ...]:
    # Larger integers than SQLite's raise in Python's module.
    row = None
    if type(id) is int and 0 < id < 1 << 63:
        row = db.execute(f"SELECT {COLUMNS} FROM gallery WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise Refused(404, "no-such-entry", f"there is no entry {id!r} in the gallery; reload the page")
    return row


def _entry(row: tuple[Any, ...]) -> dict[str, Any]:
    entry = dict(zip(COLUMNS.split(", "), row, strict=True))
    return {**entry, "recipe": json.loads(entry["recipe"])}


def _used(db: sqlite3.Connection) -> set[str]:
    """Ids of the pictures that the entries need."""
    rows = db.execute("SELECT picture, recipe FROM gallery").fetchall()
    return {id for picture, recipe in rows for id in (picture, *named_in(json.loads(recipe)))}


def _word(recipe: dict[str, Any], *keys: str) -> str:
    """The first of these values that is a text, else ''."""
    return next((recipe[key] for key in keys if isinstance(recipe.get(key), str)), "")
