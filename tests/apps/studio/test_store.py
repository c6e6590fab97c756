from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pinxit.apps.studio import store as module
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.store import NAME, VERSION, Store
from pinxit.errors import PinxitError

ROW = ("2026-01-01T00:00:00+00:00", "paint", "demo", "{}", "0" * 32)


def put(db: sqlite3.Connection) -> int | None:
    return db.execute(
        "INSERT INTO gallery (created, kind, model, recipe, picture) VALUES (?, ?, ?, ?, ?)", ROW
    ).lastrowid


def count(db: sqlite3.Connection) -> int:
    return db.execute("SELECT count(*) FROM gallery").fetchone()[0]


def test_what_is_written_is_there_for_the_next_to_open(tmp_path: Path) -> None:
    assert Store(tmp_path / "new" / "home").run(put) == 1
    assert Store(tmp_path / "new" / "home").run(count) == 1
    with closing(sqlite3.connect(tmp_path / "new" / "home" / NAME)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_what_raises_is_undone(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half(db: sqlite3.Connection) -> None:
        put(db)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store.run(half)
    assert store.run(count) == 0


def test_a_file_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    store.run(put)
    store.path.unlink()
    assert store.run(count) == 0
    assert store.run(put) == 1
    store.path.unlink()
    store.path.parent.rmdir()
    assert store.run(put) == 1
    assert store.remarks == []


def test_a_file_locked_for_a_moment_is_waited_for_and_one_locked_for_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    store = Store(tmp_path)
    store.run(put)
    with closing(sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for work in (put, count):
            with pytest.raises(Refused, match=r"studio.sqlite' is locked by another program, expected") as told:
                store.run(work)
            assert (told.value.status, told.value.code) == (423, "locked")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert store.run(put) == 2
        release.join()


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"no database at all, but long enough to be read as the head of one" * 50,
        lambda b: b[:100] + bytes(len(b) - 100),
        lambda b: b[:4096] + b"\x5a" * (len(b) - 4096),
        lambda b: b"",
    ],
    ids=["text", "zeros", "pages", "empty"],
)
def test_a_damaged_file_is_moved_aside_and_a_new_one_begun(tmp_path: Path, damage: Any) -> None:
    store = Store(tmp_path)
    store.run(put)
    whole = store.path.read_bytes()
    for n in (1, 2):
        damaged = damage(whole)
        store.path.write_bytes(damaged)
        assert store.run(put) == 1
        assert store.run(count) == 1
        if damaged:  # an empty file is a new one
            assert (tmp_path / f"{NAME}.damaged-{n}").read_bytes() == damaged
            assert len(store.remarks) == n
            assert f"{NAME}.damaged-{n}" in store.remarks[-1]


def test_a_database_of_another_program_is_moved_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        db.execute("CREATE TABLE gallery (other TEXT)")
    store = Store(tmp_path)
    assert store.run(put) == 1
    assert len(store.remarks) == 1


def test_many_threads_find_one_damaged_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.path.write_bytes(b"x" * 5000)
    got: list[int | None] = []
    threads = [threading.Thread(target=lambda: got.append(store.run(put))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=str) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(store.remarks) == 1


def test_a_newer_version_is_told_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / NAME)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(PinxitError, match=r"is of version 2, expected version 1; use a newer Pinxit"):
        Store(tmp_path).run(count)
    assert (tmp_path / NAME).read_bytes() == before


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    """SQLite's own limit of pages makes the very error that a full disk does."""
    store = Store(tmp_path)
    store.run(put)

    def much(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA max_page_count = 8")
        for _ in range(2000):
            put(db)

    with pytest.raises(Refused, match="is on a full disk, expected room on the disk; free some") as told:
        store.run(much)
    assert (told.value.status, told.value.code) == (409, "disk-full")
    assert store.run(count) == 1


def test_a_file_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    began = time.monotonic()
    with pytest.raises(Refused, match="is not usable") as told:
        Store(tmp_path).run(put)
    assert (told.value.status, told.value.code) == (409, "store")
    assert time.monotonic() - began < 5
