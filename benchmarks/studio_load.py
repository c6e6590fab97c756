"""Many people paint in one studio at once: errors, pictures a second, whether each got what they drew last, and memory.

    python benchmarks/studio_load.py
    python benchmarks/studio_load.py --clients 20 --seconds 60 --pause 0.5

Starts a studio of its own on loopback, with the embedded model. Each client draws a stroke on its map, uploads the map
and asks for the picture, then draws on after a pause (exponential, --pause on average) whether or not the picture has
come, as a person does whose picture follows the brush; so that most requests are superseded by the client's next one
(409 "superseded": as it should be, no error). After the last stroke each client waits for its picture. Then, with
nobody else there, every client's last map is painted once more: it has to be the same picture, to the last bit.

What grows is not to be a cache that fills: the server's store of pictures is filled before, with maps of the clients'
size (--fill), and the clients paint until so many pictures have come (--warm-up) that its memory of finished pictures,
some 250 of this size, is full too. Memory is that of the server and the processes it started (resident, from /proc:
Linux only), after the warm-up and then twice.

Nothing may be an error, every last stroke must be answered rightly, and after the warm-up memory may grow by 5 % at
most; else the exit status is 1. Clients and server share the cores.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from studio_latency import Api, machine, percentile, started_studio, stroke

MOST_GROWTH = 1.05
STYLES = 4
"""Clients of the same style share what the server keeps of it."""


@dataclass
class Client:
    number: int
    address: str
    model: str
    labels: list[int]
    size: int
    outcomes: Counter[str] = field(default_factory=Counter)
    waits: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    last: tuple[str, str] | None = None
    """The map drawn last, and the picture that it became."""

    def draw(self, end: threading.Event, pause: float) -> None:
        random = np.random.default_rng(self.number)
        canvas = random.choice(np.array(self.labels, np.uint8), (self.size // 32, self.size // 32)).repeat(32, 0)
        canvas = np.ascontiguousarray(canvas.repeat(32, 1))
        api, answers = Api(self.address), threading.local()
        with ThreadPoolExecutor(4) as asking:
            pending: list[Future[str | None]] = []
            map_id = None
            while not end.is_set():
                stroke(canvas, random, self.labels)
                try:
                    map_id = api.upload(canvas)
                    pending.append(asking.submit(self.ask, answers, map_id))
                except Exception as error:
                    self.failed(error)
                # No two requests so close that the earlier could overtake the later on another connection.
                time.sleep(0.05)
                end.wait(max(0.0, random.exponential(pause) - 0.05))
            if pending and map_id and (picture := pending[-1].result()):
                self.last = (map_id, picture)
        api.close()

    def ask(self, answers: threading.local, map_id: str) -> str | None:
        """A connection per thread: the earlier request is still open when the next one supersedes it."""
        try:
            if not hasattr(answers, "api"):
                answers.api = Api(self.address)
            began = time.perf_counter()
            made = answers.api.paint(self.model, map_id, {"seed": self.number % STYLES}, f"load-{self.number}")
            self.outcomes["painted" if made else "superseded"] += 1
            if made is None:
                return None
            self.waits.append(time.perf_counter() - began)
            return made.id
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: Exception) -> None:
        self.outcomes["errors"] += 1
        self.errors.append(f"client {self.number}: {type(error).__name__}: {error}")


def fill(api: Api, mib: int, side: int) -> None:
    """Upload maps, each another, of so much memory in all."""
    for number in range(mib * (1 << 20) // side**2):
        map = np.zeros((side, side), np.uint8)
        map.flat[:2] = divmod(number, 256)
        api.upload(map)


def memory(pid: int) -> float | None:
    """MiB of a process and all that it started, or None where the system does not tell so."""
    try:
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        tree = {pid}
        while more := {child for child, parent in parents.items() if parent in tree} - tree:
            tree |= more
        total = 0
        for each in tree:
            try:
                lines = Path(f"/proc/{each}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    except (OSError, IndexError, ValueError):
        return None
    return total / 1024 if total else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--warm-up", type=int, default=600, help="pictures that are painted before")
    parser.add_argument("--pause", type=float, default=0.5, help="s between two strokes of a client, on average")
    parser.add_argument("--size", type=int, default=256, help="side of the maps, a multiple of 32")
    parser.add_argument("--fill", type=int, default=280, help="MiB of maps sent before; the server holds 256")
    parser.add_argument("--model", default="demo", help="id of a model of label maps")
    o = parser.parse_args()

    with started_studio() as (address, process):
        api = Api(address)
        labels = api.labels(o.model)
        blank = api.upload(np.full((o.size, o.size), labels[0], np.uint8))
        api.paint(o.model, blank, {"seed": 0}, "warm-up")
        fill(api, o.fill, o.size)
        begun, end = time.monotonic(), threading.Event()
        clients = [Client(n, address, o.model, labels, o.size) for n in range(o.clients)]
        threads = [threading.Thread(target=c.draw, args=(end, o.pause)) for c in clients]
        for thread in threads:
            thread.start()
        while sum(client.outcomes["painted"] for client in clients) < o.warm_up and process.poll() is None:
            time.sleep(0.1)
        warm = time.monotonic()
        marks: dict[float, float | None] = {}
        for share in (0, 0.5, 1):
            time.sleep(max(0.0, warm + share * o.seconds - time.monotonic()))
            marks[share * o.seconds] = memory(process.pid)
        end.set()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun

        right = 0
        for client in clients:
            if client.last is not None:
                map_id, picture = client.last
                again = api.paint(o.model, map_id, {"seed": client.number % STYLES}, "check")
                right += again is not None and again.id == picture
        api.close()

    outcomes = sum((client.outcomes for client in clients), Counter())
    waits = sorted(wait for client in clients for wait in client.waits)
    asked = sum(outcomes.values())
    print(machine())
    print(f"{o.clients} clients, {warm - begun:.0f} s of warm-up and {o.seconds:g} s, maps of {o.size}x{o.size}")
    print(f"a stroke every {o.pause:g} s and client, on average")
    print(f"requests to paint   {asked} ({asked / took:.1f}/s)")
    print(f"errors              {outcomes['errors']}")
    print(f"painted             {outcomes['painted']} ({outcomes['painted'] / took:.1f} pictures/s)")
    print(f"superseded          {outcomes['superseded']} ({outcomes['superseded'] / max(asked, 1):.0%} of requests)")
    if waits:
        median, late = percentile(waits, 50), percentile(waits, 95)
        print(f"wait for a picture  median {median:.2f} s, 95th percentile {late:.2f} s")
    fewest = min(client.outcomes["painted"] for client in clients)
    most = max(client.outcomes["painted"] for client in clients)
    print(f"pictures a client   {fewest} to {most}")
    print(f"last strokes        {right} of {o.clients} answered, each with its own picture to the last bit")
    for seconds, mib in marks.items():
        print(f"memory at {seconds:3.0f} s     {'not known here' if mib is None else f'{mib:.0f} MiB'}")
    first, _, last = marks.values()
    growth = last / first if first and last else 1.0
    print(f"growth of memory    x {growth:.3f} after the warm-up")
    for line in [line for client in clients for line in client.errors][:10]:
        print(line, file=sys.stderr)
    return int(outcomes["errors"] > 0 or right < o.clients or growth > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
