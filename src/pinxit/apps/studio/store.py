"""`studio.sqlite`: the tables of the gallery and of the jobs, in a file that may be locked, removed or damaged."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from pinxit.apps.studio.refusals import Refused
from pinxit.errors import expected

NAME = "studio.sqlite"
VERSION = 1
"""Of the schema; `PRAGMA user_version` of a file."""
PATIENCE = 2.0
"""Seconds to wait for another program that holds the file locked."""

SCHEMA = (
    """CREATE TABLE gallery (
        id INTEGER PRIMARY KEY AUTOINCREMENT, created TEXT NOT NULL, kind TEXT NOT NULL, model TEXT NOT NULL,
        recipe TEXT NOT NULL, picture TEXT NOT NULL)""",
    """CREATE TABLE jobs (
        id INTEGER PRIMARY KEY, created TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL, name TEXT NOT NULL,
        model TEXT, request TEXT NOT NULL, progress REAL NOT NULL, message TEXT NOT NULL)""",
)

T = TypeVar("T")


class Store:
    """One SQLite file. Every operation opens it anew, so that a file that was removed, replaced or restored from a
    backup while the studio runs is simply the file from then on."""

    def __init__(self, home: Path) -> None:
        """`home`: the folder; it and the file are made when they are first needed."""
        self.path = home / NAME
        self.remarks: list[str] = []
        """What a person should know: a line for each damaged file that was moved aside."""
        self._mending = threading.Lock()

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in a transaction of its own, undone where it raises; -> what it returns.

        It may run twice, where the file proves damaged: what it does besides SQL must bear that.

        Raises:
            Refused: 423 `locked`: another program held the file for longer than `PATIENCE`. 409 `disk-full`. 409
                `store`: the operating system refuses the file.
            PinxitError: the file is of a newer version of Pinxit.
        """
        try:
            try:
                return self._once(work)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._move_aside(error)
                return self._once(work)
        except sqlite3.Error as error:
            raise _refused(error, self.path) from error

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with suppress(OSError):  # sqlite tells of it
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as db:
            # Immediate, also to read: a transaction that becomes a writer half way fails at once where another writes.
            db.execute("BEGIN IMMEDIATE")
            try:
                (version,) = db.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in SCHEMA:
                        db.execute(statement)
                    db.execute(f"PRAGMA user_version = {VERSION}")
                elif version != VERSION:
                    got, remedy = f"of version {version}", "use a newer Pinxit, or another --home"
                    raise expected(f"'{self.path}'", got, f"version {VERSION}", remedy)
                done = work(db)
                db.execute("COMMIT")
            except BaseException:
                # Some errors (a full disk) have rolled back already.
                if db.in_transaction:
                    with suppress(sqlite3.Error):
                        db.execute("ROLLBACK")
                raise
            return done

    def _move_aside(self, error: sqlite3.DatabaseError) -> None:
        """The damaged file, and the journal that belongs to it, under a name that is not taken; nothing is deleted."""
        with self._mending:
            try:
                # Another thread may have done it while this one waited.
                self._once(lambda db: db.execute("SELECT count(*) FROM gallery").fetchone())
                return
            except sqlite3.DatabaseError as again:
                if not _damaged(again):
                    raise
            n = 1
            while (aside := self.path.with_name(f"{NAME}.damaged-{n}")).exists():
                n += 1
            try:
                self.path.rename(aside)
                journal = self.path.with_name(f"{NAME}-journal")
                if journal.exists():
                    journal.rename(aside.with_name(f"{aside.name}-journal"))
            except OSError as refused:
                text = f"'{self.path}' is damaged and cannot be renamed ({refused.strerror}); move it away"
                raise Refused(409, "store", text) from refused
            self.remarks.append(
                f"'{self.path}' was damaged ({error}): it is '{aside.name}' now, and a new one is begun"
            )


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for errors that Python's module raises itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _damaged(error: sqlite3.Error) -> bool:
    if _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return True
    # The version says that our tables are there, and they are not, or not as we made them.
    text = str(error)
    return _code(error) == sqlite3.SQLITE_ERROR and ("no such table" in text or "already exists" in text)


def _refused(error: sqlite3.Error, path: Path) -> Refused:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        got, remedy = "locked by another program", "close that, and try again"
        return Refused(423, "locked", str(expected(f"'{path}'", got, "a file that may be written", remedy)))
    if code == sqlite3.SQLITE_FULL or "disk is full" in str(error):
        return Refused(409, "disk-full", str(expected(f"'{path}'", "on a full disk", "room on the disk", "free some")))
    remedy = "check its kind and rights, and the room on its disk"
    return Refused(409, "store", str(expected(f"'{path}'", f"not usable ({error})", "a file of SQLite", remedy)))
