"""The painting queue: the latest of each client, turns between them, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from pinxit.apps.studio import renders as module
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.renders import Renders


@pytest.fixture
def renders() -> Iterator[Renders]:
    made = Renders()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _asyncio_has_nothing_to_complain_of(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Exceptions nobody retrieved, and coroutines nobody awaited, are told when they are collected."""
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        yield
        gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


class Gate:
    """Work that tells when it begins, and ends when it may."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.open.wait(20)
        return "gate"


async def begun(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.begun.wait, 20)


async def settled() -> None:
    """Tasks that were just made have put their requests into the queue."""
    for _ in range(3):
        await asyncio.sleep(0)


def test_work_is_done_in_one_thread_and_its_result_or_error_comes_back(renders: Renders) -> None:
    def fail() -> None:
        raise ValueError("no")

    async def main() -> None:
        threads = await asyncio.gather(*(renders.run(f"c{i}", threading.get_ident) for i in range(5)))
        assert len(set(threads)) == 1
        assert threads[0] != threading.get_ident()
        with pytest.raises(ValueError, match="no"):
            await renders.run("a", fail)
        assert await renders.run("a", lambda: 7) == 7

    asyncio.run(main())


def test_an_error_of_any_kind_does_not_end_the_thread(renders: Renders) -> None:
    class Odd(BaseException):
        pass

    def fail() -> None:
        raise Odd

    async def main() -> None:
        with pytest.raises(Odd):
            await renders.run("a", fail)
        assert await renders.run("a", lambda: 7) == 7

    asyncio.run(main())


def test_of_a_client_only_the_latest_waits(renders: Renders) -> None:
    async def main() -> None:
        gate, painted = Gate(), []
        first = asyncio.create_task(renders.run("a", gate))
        await begun(gate)
        later = [asyncio.create_task(renders.run("a", lambda i=i: painted.append(i) or i)) for i in range(10)]
        await settled()
        # They are told at once, not when their turn would have come.
        done, _ = await asyncio.wait(later[:9], timeout=20)
        assert len(done) == 9
        for task in later[:9]:
            error = task.exception()
            assert isinstance(error, Refused)
            assert (error.status, error.code) == (409, "superseded")
        gate.open.set()
        assert await first == "gate"  # what had begun is answered
        assert await later[9] == 9
        assert painted == [9]

    asyncio.run(main())


def test_clients_take_turns_whoever_asks_most(renders: Renders) -> None:
    """A replaced request keeps its client's place; one that is served goes to the end."""

    async def main() -> None:
        gate, order = Gate(), []
        first = asyncio.create_task(renders.run("z", gate))
        await begun(gate)
        tasks = []
        for client in "abc":
            tasks.append(asyncio.create_task(renders.run(client, lambda c=client: order.append(c))))
            await settled()
        for _ in range(50):  # a draws on
            tasks.append(asyncio.create_task(renders.run("a", lambda: order.append("a, later"))))
            tasks.append(asyncio.create_task(renders.run("z", lambda: order.append("z"))))
            await settled()
        gate.open.set()
        await first
        await asyncio.gather(*tasks, return_exceptions=True)
        assert order == ["a, later", "b", "c", "z"]

    asyncio.run(main())


def test_twenty_clients_that_hammer_are_all_served_about_equally(renders: Renders) -> None:
    served = dict.fromkeys(range(20), 0)

    async def client(number: int, until: float) -> None:
        while time.monotonic() < until:
            # The even ones send strokes without waiting, the odd ones wait for each picture.
            n = 5 if number % 2 == 0 else 1
            results = await asyncio.gather(
                *(renders.run(f"client{number}", lambda: time.sleep(0.002)) for _ in range(n)), return_exceptions=True
            )
            assert results[-1] is None  # the last stroke of a burst is always answered
            assert all(result is None or isinstance(result, Refused) for result in results[:-1])
            served[number] += 1

    async def main() -> None:
        until = time.monotonic() + 1.5
        await asyncio.gather(*(client(number, until) for number in range(20)))

    asyncio.run(main())
    assert min(served.values()) >= 5
    assert max(served.values()) - min(served.values()) <= 2


def test_a_thousand_cancels_leave_nothing_behind(renders: Renders) -> None:
    class Ballast:
        def __call__(self) -> None:
            painted.append(1)

    painted: list[int] = []
    alive: list[weakref.ref] = []

    async def main() -> None:
        gate = Gate()
        first = asyncio.create_task(renders.run("first", gate))
        await begun(gate)
        for i in range(1000):
            work = Ballast()
            alive.append(weakref.ref(work))
            task = asyncio.create_task(renders.run(f"client{i % 7}" if i % 2 else f"view{i}", work))
            del work
            await asyncio.sleep(0)
            task.cancel()
            if i % 3:
                with pytest.raises(asyncio.CancelledError):
                    await task
        await settled()
        assert not renders._queue
        gate.open.set()
        await first
        assert await renders.run("after", lambda: "served") == "served"
        assert len(asyncio.all_tasks()) == 1

    before = threading.active_count()
    asyncio.run(main())
    gc.collect()
    assert threading.active_count() <= before + 1  # asyncio.to_thread's is ended by then or not
    assert painted == []
    assert [reference() for reference in alive if reference() is not None] == []


def test_a_cancel_while_it_is_painted_ends_the_wait_and_the_work_goes_on_for_nobody(renders: Renders) -> None:
    async def main() -> None:
        gate = Gate()
        task = asyncio.create_task(renders.run("a", gate))
        await begun(gate)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        assert await renders.run("a", lambda: 7) == 7

    asyncio.run(main())


def test_a_cancelled_client_does_not_take_its_later_request_with_it(renders: Renders) -> None:
    async def main() -> None:
        gate = Gate()
        first = asyncio.create_task(renders.run("z", gate))
        await begun(gate)
        old = asyncio.create_task(renders.run("a", lambda: "old"))
        await settled()
        new = asyncio.create_task(renders.run("a", lambda: "new"))
        await settled()
        old.cancel()
        gate.open.set()
        assert await new == "new"
        await first
        with pytest.raises((asyncio.CancelledError, Refused)):
            await old

    asyncio.run(main())


def test_results_and_errors_are_not_held_after_they_are_handed_over(renders: Renders) -> None:
    class Picture:
        pass

    class Complaint(Exception):
        pass

    gone: list[weakref.ref] = []

    def paint() -> Picture:
        picture = Picture()
        gone.append(weakref.ref(picture))
        return picture

    def fail() -> None:
        error = Complaint()
        gone.append(weakref.ref(error))
        raise error

    async def main() -> None:
        await renders.run("a", paint)
        with pytest.raises(Complaint):
            await renders.run("a", fail)

    asyncio.run(main())
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_too_many_that_wait_are_refused_and_those_that_wait_may_go_on(
    renders: Renders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)

    async def main() -> None:
        gate = Gate()
        first = asyncio.create_task(renders.run("z", gate))
        await begun(gate)
        tasks = [asyncio.create_task(renders.run(f"c{i}", lambda i=i: i)) for i in range(3)]
        await settled()
        with pytest.raises(Refused, match=r"^3 others wait already; ") as refused:
            await renders.run("c4", lambda: 4)
        assert (refused.value.status, refused.value.code) == (429, "busy")
        again = asyncio.create_task(renders.run("c0", lambda: "later"))
        await settled()
        gate.open.set()
        await first
        assert await again == "later"
        assert await asyncio.gather(*tasks[1:]) == [1, 2]
        with pytest.raises(Refused):
            await tasks[0]

    asyncio.run(main())


def test_close_refuses_what_waits_ends_the_thread_and_may_be_repeated() -> None:
    renders = Renders()

    async def main() -> None:
        gate = Gate()
        first = asyncio.create_task(renders.run("a", gate))
        await begun(gate)
        waiting = asyncio.create_task(renders.run("b", lambda: "never"))
        await settled()
        threading.Timer(0.1, gate.open.set).start()
        renders.close()
        assert not renders._thread.is_alive()
        assert await first == "gate"  # what had begun was finished, and answered
        with pytest.raises(Refused, match=r"^the studio is being closed; ") as refused:
            await waiting
        assert (refused.value.status, refused.value.code) == (409, "closing")
        with pytest.raises(Refused):
            await renders.run("c", lambda: "never")

    asyncio.run(main())
    renders.close()


def test_an_event_loop_that_ended_is_no_harm(renders: Renders) -> None:
    gate = Gate()

    async def main() -> None:
        task = asyncio.create_task(renders.run("a", gate))
        await begun(gate)
        task.cancel()

    asyncio.run(main())
    gate.open.set()

    async def again() -> None:
        assert await renders.run("a", lambda: 7) == 7

    asyncio.run(again())
