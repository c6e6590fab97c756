"""A painting queue for people who draw: the latest request of each wins, and all have their turn."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pinxit.apps.studio.refusals import Refused

T = TypeVar("T")

MOST_WAITING = 256
"""Clients that may wait at once."""


@dataclass(eq=False)
class Waiting:
    """A request that has not begun, or is being worked on."""

    work: Callable[[], Any]
    done: asyncio.Future[tuple[Any, BaseException | None]]
    loop: asyncio.AbstractEventLoop

    def answer(self, result: Any, error: BaseException | None) -> None:
        """Hand over what came of it, from any thread. An error travels as a value: nobody may be there to retrieve it,
        of which asyncio would complain."""
        with suppress(RuntimeError):  # the loop is closed, and who waited there gone
            self.loop.call_soon_threadsafe(_settle, self.done, result, error)


def _settle(done: asyncio.Future[tuple[Any, BaseException | None]], result: Any, error: BaseException | None) -> None:
    if not done.done():
        done.set_result((result, error))


class Renders:
    """One thread that paints. Of each client at most one request waits, the latest; clients take turns.

    A client that is served goes to the end of the queue; one whose request is replaced by a later one keeps its place,
    so that it is not put back by drawing on. How often a client asks is therefore nothing to the others.
    """

    def __init__(self) -> None:
        self._queue: OrderedDict[str, Waiting] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._paint, name="pinxit-renders", daemon=True)
        self._thread.start()

    async def run(self, client: str, work: Callable[[], T]) -> T:
        """What `work()` gives, called in the painting thread. Where the await is cancelled before that begins, it is
        dropped; once begun it runs to its end, for nobody.

        Raises what `work` raises, and `Refused`: 409 "superseded" where a later request of the same client came before
        this one began, 429 where too many clients wait, 409 "closing" where the studio ends.
        """
        loop = asyncio.get_running_loop()
        waiting = Waiting(work, loop.create_future(), loop)
        self._put(client, waiting)
        try:
            result, error = await waiting.done
        except asyncio.CancelledError:
            self._drop(client, waiting)
            raise
        try:
            if error is not None:
                raise error
            return result
        finally:
            del waiting, result, error  # an error holds this frame, which must not hold the error

    def close(self) -> None:
        """Refuse all that waits, wait for what is being painted, and end the thread."""
        with self._changed:
            self._closed = True
            dropped = list(self._queue.values())
            self._queue.clear()
            self._changed.notify()
        for waiting in dropped:
            waiting.answer(None, _closing())
        self._thread.join()

    def _put(self, client: str, waiting: Waiting) -> None:
        with self._changed:
            if self._closed:
                raise _closing()
            earlier = self._queue.get(client)
            if earlier is None and len(self._queue) >= MOST_WAITING:
                raise Refused(429, "busy", f"{MOST_WAITING} others wait already; try again in a while")
            self._queue[client] = waiting
            self._changed.notify()
        if earlier is not None:
            text = "a later request of the same client came before this one began; nothing is to be done"
            earlier.answer(None, Refused(409, "superseded", text))

    def _drop(self, client: str, waiting: Waiting) -> None:
        with self._changed:
            if self._queue.get(client) is waiting:
                del self._queue[client]

    def _paint(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                _, waiting = self._queue.popitem(last=False)
            try:
                result, error = waiting.work(), None
            except BaseException as raised:  # whatever it is, it is for who asked; this thread goes on
                result, error = None, raised
            waiting.answer(result, error)
            del waiting, result, error  # nothing of it is held while the thread waits for the next


def _closing() -> Refused:
    return Refused(409, "closing", "the studio is being closed; start it again")
