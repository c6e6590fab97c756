from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.studio import store
from pinxit.apps.studio.gallery import Gallery, named_in
from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused


def drawn(seed: int, *shape: int, dtype: type = np.uint8) -> np.ndarray:
    shape = shape or (40, 60, 3)
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures")


@pytest.fixture
def gallery(tmp_path: Path, pictures: Pictures) -> Gallery:
    return Gallery(tmp_path, pictures)


def made(pictures: Pictures, picture: int, **recipe: Any) -> str:
    id = pictures.add(drawn(picture))
    pictures.note_recipe(id, {"kind": "paint", "model": "demo", **recipe})
    return id


def kept(tmp_path: Path) -> set[str]:
    return {path.stem for path in (tmp_path / "pictures").glob("*")}


def test_an_entry_outlives_the_studio_with_all_it_was_made_from(
    tmp_path: Path, gallery: Gallery, pictures: Pictures
) -> None:
    map, style = pictures.add(drawn(1, 40, 60)), pictures.add(drawn(2))
    recipe = {"map": map, "sketch": None, "style": {"between": [{"seed": 3}, {"picture": style}], "at": 0.5}}
    id = made(pictures, 3, **recipe)
    before = datetime.now(UTC).replace(microsecond=0)
    entry = gallery.add(id)
    assert {k: entry[k] for k in ("kind", "model", "picture")} == {"kind": "paint", "model": "demo", "picture": id}
    assert entry["recipe"] == {"kind": "paint", "model": "demo", **recipe}
    assert before <= datetime.fromisoformat(entry["created"]) <= datetime.now(UTC)
    later = Gallery(tmp_path, Pictures(tmp_path / "pictures"))
    assert later.list() == [entry]
    assert later.get(entry["id"]) == entry
    for other, array in ((map, drawn(1, 40, 60)), (style, drawn(2)), (id, drawn(3))):
        assert np.array_equal(later.pictures.get(other), array)


def test_the_newest_comes_first_and_the_same_twice_is_one(gallery: Gallery, pictures: Pictures) -> None:
    first, second = (gallery.add(made(pictures, seed, seed=seed)) for seed in (1, 2))
    assert gallery.add(first["picture"]) == first
    assert gallery.list() == [second, first]


def test_pictures_go_with_the_last_entry_that_needs_them(tmp_path: Path, gallery: Gallery, pictures: Pictures) -> None:
    shared, own = pictures.add(drawn(1)), pictures.add(drawn(2))
    a, b = made(pictures, 3, map=shared, sketch=own), made(pictures, 4, map=shared)
    c = made(pictures, 5, mask=a)
    entries = [gallery.add(id) for id in (a, b, c)]
    gallery.remove(entries[0]["id"])
    assert kept(tmp_path) == {shared, a, b, c}  # the third was made from the first
    gallery.remove(entries[1]["id"])
    assert kept(tmp_path) == {a, c}
    gallery.remove(entries[2]["id"])
    assert kept(tmp_path) == set()
    assert gallery.list() == []


@pytest.mark.parametrize(
    ("array", "size"),
    [
        (drawn(1, 300, 600, 3), (256, 128)),
        (drawn(2, 20, 30, 4), (30, 20)),
        (drawn(3, 900, 300), (85, 256)),
        (drawn(4, 512, 512, dtype=np.uint16), (256, 256)),
        (drawn(5, 1, 4000, 3), (256, 1)),
    ],
)
def test_thumbnails(gallery: Gallery, pictures: Pictures, array: np.ndarray, size: tuple[int, int]) -> None:
    id = pictures.add(array)
    pictures.note_recipe(id, {"kind": "sample", "model": "runs.a", "seed": 1})
    with Image.open(io.BytesIO(gallery.thumbnail(gallery.add(id)["id"]))) as image:
        assert (image.format, image.size) == ("PNG", size)
        mean = np.asarray(image, float).mean()
    assert mean == pytest.approx(array.mean() / (256 if array.dtype == np.uint16 else 1), abs=3)


def test_what_is_not_there_or_was_not_made_here_is_refused(gallery: Gallery, pictures: Pictures) -> None:
    sent = pictures.add(drawn(1))
    with pytest.raises(Refused, match="was not made here, or too long ago") as told:
        gallery.add(sent)
    assert (told.value.status, told.value.code) == (409, "no-recipe")
    for id in ("0" * 32, "../../etc/passwd", "", "studio.sqlite"):
        with pytest.raises(Refused) as told:
            gallery.add(id)
        assert told.value.status == 404
    for entry in (1, 0, -1, 1 << 70, True, "1; DROP TABLE gallery", None):
        for verb in (gallery.get, gallery.remove, gallery.thumbnail):
            with pytest.raises(Refused, match="no entry") as told:
                verb(entry)  # pyright: ignore[reportArgumentType]
            assert (told.value.status, told.value.code) == (404, "no-such-entry")


def test_a_picture_is_kept_though_what_it_was_made_from_is_gone(
    tmp_path: Path, gallery: Gallery, pictures: Pictures
) -> None:
    id = made(pictures, 1, map="f" * 32, text="0123456789abcdef0123456789abcdef")
    assert gallery.add(id)["recipe"]["map"] == "f" * 32
    assert kept(tmp_path) == {id}
    gallery.remove(gallery.list()[0]["id"])
    assert kept(tmp_path) == set()


def test_a_disk_that_fills_up_leaves_neither_entry_nor_files(
    tmp_path: Path, gallery: Gallery, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    map = pictures.add(drawn(1))
    older = gallery.add(made(pictures, 2, map=map))
    before = kept(tmp_path)
    sketch, style = pictures.add(drawn(3)), pictures.add(drawn(4))
    id, keep = made(pictures, 5, map=map, sketch=sketch, style={"picture": style}), pictures.keep

    def full(id: str) -> Path:
        if id == style:
            raise Refused(409, "disk-full", "the disk is full")
        return keep(id)

    monkeypatch.setattr(pictures, "keep", full)
    with pytest.raises(Refused, match="the disk is full"):
        gallery.add(id)
    assert gallery.list() == [older]
    assert kept(tmp_path) == before
    monkeypatch.setattr(pictures, "keep", keep)
    gallery.add(id)
    assert kept(tmp_path) == before | {sketch, style, id}


def test_a_locked_file_keeps_nothing_and_a_removed_one_begins_anew(
    tmp_path: Path, gallery: Gallery, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    entry, id = gallery.add(made(pictures, 1)), made(pictures, 2)
    with closing(sqlite3.connect(gallery.store.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for verb in (lambda: gallery.add(id), gallery.list, lambda: gallery.remove(entry["id"])):
            with pytest.raises(Refused) as told:
                verb()
            assert (told.value.status, told.value.code) == (423, "locked")
        assert kept(tmp_path) == {entry["picture"]}
    assert gallery.list() == [entry]
    gallery.store.path.unlink()
    assert gallery.list() == []
    assert gallery.add(id)["picture"] == id


def test_ids_are_found_at_any_depth_and_nothing_else_is() -> None:
    a, b, c = (digit * 32 for digit in "abc")
    recipe = {"x": a, "y": [1, None, {"z": (b, [{"w": c}])}], "seed": 3, "t": "a" * 31, "u": "A" * 32, "d" * 32: "k"}
    assert sorted(named_in(recipe)) == [a, b, c]
