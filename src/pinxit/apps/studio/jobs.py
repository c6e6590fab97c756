"""Trainings and animations: our own commands in processes of their own, queued, and taken up again after a restart.

A job that crashes takes nothing with it. What is asked for is in `studio.sqlite`; how far a training is, is read from
what it writes itself (log.jsonl, samples/), so that no word passes between the processes but signals.
"""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from PIL import Image

import pinxit
from pinxit.apps.studio import forecasts as forecasting
from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.pictures import Pictures, disk_refused
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.store import Store
from pinxit.data.video import LEAST_FPS, LONGEST_GIF, MOST_FPS_GIF, write_animation
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import NAME as MODEL
from pinxit.models.singan.config import PRESETS, SUMMARIES
from pinxit.models.sketching.config import PRESETS as SKETCHING
from pinxit.training.checkpoint import NAME as STATE

Kind = Literal["train", "animate", "sketch"]
"""`sketch`: a training too, that customises a generator."""
State = Literal["queued", "running", "done", "failed", "cancelled"]

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,39}")
"""What a training may be called: its folder below runs/ is called so."""
MOST_SEED = (1 << 31) - 1
MOST_SKETCHES = 30
"""That a generator is customised by."""
HIGHEST_STRIP = 16384
"""Pixels: the side from which on browsers refuse a picture to draw from."""
GRACE = 5.0
"""Seconds from asking a process to stop, in which a training ends its step and saves, to killing it."""
NICENESS = 10
"""Painting comes before training."""
LOG_EVERY, KEEP_EVERY = 10, 100
"""Steps of a training between lines of its log, and between sheets of samples and checkpoints."""
TICK, IDLE = 0.1, 60.0
"""Seconds from one look at the processes to the next; at the file, where there are none."""
FORECAST_PATIENCE = 120.0
"""Seconds for the measuring."""

LOG = logging.getLogger(__name__)


@dataclass
class Job:
    """One training or animation. All fields but the last are in the table `jobs`."""

    id: int
    created: str
    kind: Kind
    state: State
    name: str
    model: str | None
    request: dict[str, Any]
    progress: float = 0.0
    message: str = ""
    weights: list[tuple[int, float]] = field(default_factory=list)
    """Of a training: steps of each scale, and its share of the time."""


@dataclass
class Running:
    """The process of a job."""

    job: Job
    process: subprocess.Popen[bytes]
    log_from: int
    """Where its part of log.txt begins: what is before is of earlier processes of the same job."""
    began: float = field(default_factory=time.time)
    progress: float = 0.0
    """Of the job when the process began."""
    kill_at: float | None = None
    """When it is killed (`time.monotonic`), once it was asked to stop."""


class Jobs:
    """The queue of one home. Thread-safe; all that waits for a process does so in the scheduler's thread."""

    def __init__(self, home: Path, catalog: Catalog, pictures: Pictures, at_once: int = 1) -> None:
        """Raises as `Store.run`."""
        self.home, self.catalog, self.pictures, self.at_once = home.resolve(), catalog, pictures, at_once
        self.store = Store(self.home)
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._home_lock: int | None = None
        self._running: dict[int, Running] = {}
        self._forecasts: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self._forecasting, self._converting, self._writing = threading.Lock(), threading.Lock(), threading.Lock()
        self._jobs = {job.id: job for job in self.store.run(_read)}
        self._queue: list[int] = []
        self._unsaved = self._refused = False
        self._look_at = 0.0
        """When the file is looked at next, or written again where that was refused."""

    # --- the queue ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work the queue off. Raises `PinxitError` where another studio does so with this home."""
        with self._lock:
            if self._thread is not None:
                return
            self._home_lock = _take(self.home)
            self._closing = False
            # Those that ran when the last server ended go on first.
            self._queue = [j.id for state in ("running", "queued") for j in self._jobs.values() if j.state == state]
            for id in self._queue:
                self._jobs[id].state = "queued"
            places = [str(self._place(job)) for job in self._jobs.values() if job.state != "done"]
            self._thread = threading.Thread(target=self._schedule, args=(places,), name="studio-jobs", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the processes, which keep what they have. Jobs that ran stay `running` in the file, so that the next
        start goes on with them."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._home_lock is not None:
            os.close(self._home_lock)
            self._home_lock = None

    def counts(self) -> dict[str, int]:
        """{"running", "queued"}: how many."""
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return {"running": states.count("running"), "queued": states.count("queued")}

    # --- what a page asks for -----------------------------------------------------------------------------------

    def train(self, picture_id: str, preset: str, name: str, seed: int = 0) -> dict[str, Any]:
        """Queue the training of a SinGAN on a picture; `name` is made unique. -> the job, as `get` tells it.

        Raises:
            Refused: 422 `bad-field`; 404 `no-such-picture`; 409 `disk-full`; 423 `locked`.
            PinxitError: the picture is too small.
        """
        name = _run_name(name)
        _require_preset(preset, PRESETS)
        _require_integer("seed", seed, 0, MOST_SEED)
        height, width = self.pictures.get(picture_id).shape[:2]
        _weights(height, width, preset)  # that it is large enough
        photo = self.pictures.png(picture_id)
        request = {"preset": preset, "seed": seed, "size": [height, width], "picture": picture_id}
        return self._add("train", name, None, request, {"photo.png": photo})

    def animate(
        self,
        model_id: str,
        frames: int = 60,
        start_scale: int = 2,
        alpha: float = 0.1,
        beta: float = 0.9,
        seed: int = 0,
        loop: bool = False,
        fps: float = 10.0,
    ) -> dict[str, Any]:
        """Queue an animation by a model of SinGAN; the arguments are those of `pinxit animate`. -> the job.

        Raises `Refused`: 404 `no-such-model`; 422 `bad-field`; 409 `disk-full`; 423 `locked`.
        """
        entry = self.catalog.entry(model_id)
        if entry.method != "singan":
            raise _bad("model", f"of method {entry.method}", "one of SinGAN")
        sizes = entry.scales or ([entry.size] if entry.size else [])
        _require_integer("seed", seed, 0, (1 << 32) - 1)
        _require_integer("start_scale", start_scale, 0, max(len(sizes) - 1, 0))
        for thing, value in (("alpha", alpha), ("beta", beta)):
            _require_number(thing, value, 0, 1)
        _require_number("fps", fps, LEAST_FPS, MOST_FPS_GIF)
        most = HIGHEST_STRIP // sizes[-1][0] if sizes else 100
        _require_integer("frames", frames, 2, min(most, int(LONGEST_GIF * fps)))
        if type(loop) is not bool:
            raise _bad("loop", loop, "true or false")
        request = {"frames": frames, "start_scale": start_scale, "alpha": alpha, "beta": beta}
        request |= {"seed": seed, "loop": loop, "fps": fps}
        return self._add("animate", entry.name, entry.id, request)

    def sketch(
        self, model: str, photosketch: str, sketches: Sequence[str], preset: str, name: str, seed: int = 0
    ) -> dict[str, Any]:
        """Queue the customising of a generator by 1 to `MOST_SKETCHES` sketches; `name` is made unique. -> the job.

        `model`, `photosketch`: ids of a model of StyleGAN2 and one of PhotoSketch; `sketches`: ids of pictures.

        Raises `Refused`: 422 `bad-field`; 404 `no-such-model`, `no-such-picture`; 409 `disk-full`; 423 `locked`.
        """
        name = _run_name(name)
        _require_preset(preset, SKETCHING)
        _require_integer("seed", seed, 0, MOST_SEED)
        for thing, id, method in (("model", model, "stylegan2"), ("photosketch", photosketch, "photosketch")):
            entry = self.catalog.entry(id)
            if entry.method != method:
                raise _bad(thing, f"of method {entry.method}", f"one of {method}")
        if not 1 <= len(sketches) <= MOST_SKETCHES:
            raise _bad("sketches", f"{len(sketches)} of them", f"1..{MOST_SKETCHES}")
        files = {f"sketch-{i:02d}.png": self.pictures.png(id) for i, id in enumerate(sketches, 1)}
        request = {"preset": preset, "seed": seed, "base": model, "photosketch": photosketch, "sketches": [*sketches]}
        return self._add("sketch", name, None, request, files)

    def list(self) -> list[dict[str, Any]]:
        """All jobs, the newest first."""
        with self._lock:
            return [self._told(job) for job in sorted(self._jobs.values(), key=lambda job: -job.id)]

    def get(self, id: int) -> dict[str, Any]:
        """{"id", "kind", "state", "name", "model", "progress" (0..1), "stage", "seconds_left", "message", "created",
        "preset", "preview" (0, or a number that changes with each new one), "previews" (how many)}. Raises `Refused`
        404 `no-such-job`."""
        with self._lock:
            return self._told(self._job(id))

    def cancel(self, id: int) -> dict[str, Any]:
        """Take a job out of the queue, or ask its process to stop; -> the job. Nothing happens to one that has ended.

        What a training has learnt is kept, for `resume`. Raises `Refused` 404 `no-such-job`.
        """
        with self._lock:
            job = self._job(id)
            if job.state in ("queued", "running"):
                if id in self._queue:
                    self._queue.remove(id)
                if id in self._running:
                    self._stop(self._running[id])
                self._turn(job, "cancelled")
            return self._told(job)

    def resume(self, id: int) -> dict[str, Any]:
        """Queue a job again that failed or was cancelled: a training goes on from its last checkpoint, if it came so
        far. -> the job; one that waits or runs stays as it is.

        Raises `Refused`: 404 `no-such-job`; 409 `done`.
        """
        with self._lock:
            job = self._job(id)
            if job.state == "done":
                raise Refused(409, "done", f"job {id} is done, expected one to go on with; begin a new one")
            if job.state in ("failed", "cancelled"):
                self._queue.append(id)
                self._turn(job, "queued")
            return self._told(job)

    def remove(self, id: int) -> None:
        """Forget a job that has ended, with its files. The model of a training that is done stays, in runs/; what one
        left that is not done goes too.

        Raises `Refused`: 404 `no-such-job`; 409 `busy`: it waits or runs.
        """
        with self._lock:
            job = self._job(id)
            if job.state in ("queued", "running"):
                raise Refused(409, "busy", f"job {id} is {job.state}, expected one that has ended; cancel it first")
            del self._jobs[id]
            self._unsaved = True
            # A process that was cancelled may still be saving; the scheduler deletes the files once it is gone.
            if id in self._running:
                self._running[id].kill_at = 0.0
            else:
                self._delete_files(job)
            self._wake.set()

    # --- what a job has made ------------------------------------------------------------------------------------

    def preview(self, id: int, at: int | None = None) -> bytes:
        """A sheet of samples of a training, a PNG: the newest, or that at a place, the oldest being 0.

        Raises `Refused` 404 `no-preview`, `no-such-job`.
        """
        with self._lock:
            sheets = self._sheets(self._job(id))
        place = len(sheets) - 1 if at is None else at
        with suppress(OSError):
            if 0 <= place < len(sheets):
                return sheets[place].read_bytes()
        raise Refused(404, "no-preview", f"job {id} has no preview {'yet' if at is None else at}; try again later")

    def result(self, id: int) -> Path:
        """The animation as a GIF. Raises `Refused` 404 `no-result`, `no-such-job`."""
        lossless, request = self._lossless(id)
        gif = lossless.with_suffix(".gif")
        with self._converting:  # once, should two ask
            if not gif.is_file():
                try:
                    write_animation(_frames(lossless, request), gif, request["fps"])
                except (PinxitError, OSError) as error:
                    raise disk_refused(error) from error
        return gif

    def frames(self, id: int) -> tuple[bytes, int, float]:
        """(PNG of all frames of an animation one below the other, how many, frames a second), without the loss of
        colours that a GIF has. Raises `Refused` 404 `no-result`, `no-such-job`."""
        lossless, request = self._lossless(id)
        frames = _frames(lossless, request)
        width, height = frames[0].size
        strip = Image.new("RGB", (width, height * len(frames)))
        for i, frame in enumerate(frames):
            strip.paste(frame, (0, i * height))
        out = io.BytesIO()
        strip.save(out, format="PNG", compress_level=3)
        return out.getvalue(), len(frames), float(request["fps"])

    def forecasts(self, picture_id: str) -> list[dict[str, Any]]:
        """{"preset", "summary", "seconds", "memory" (bytes)} of each preset for a picture on this machine, about; None
        for both where they cannot be measured. The first time for a size it takes seconds.

        Raises `Refused` 404 `no-such-picture`, `PinxitError` where the picture is too small.
        """
        height, width = self.pictures.get(picture_id).shape[:2]
        for preset in forecasting.PRESETS:
            _weights(height, width, preset)  # that it is large enough
        with self._forecasting:
            if (height, width) not in self._forecasts:
                found = _measured(height, width)
                rows = [
                    {"preset": preset, "summary": SUMMARIES[preset], "seconds": seconds, "memory": memory}
                    for preset, (seconds, memory) in found.items()
                ]
                if any(row["seconds"] is None for row in rows):
                    return rows
                self._forecasts[height, width] = rows
            return self._forecasts[height, width]

    # --- jobs in memory and in the file -------------------------------------------------------------------------

    def _job(self, id: int) -> Job:
        if type(id) is not int or id not in self._jobs:
            raise Refused(404, "no-such-job", f"there is no job {id!r}; reload the page")
        return self._jobs[id]

    def _add(
        self,
        kind: Kind,
        name: str,
        model: str | None,
        request: dict[str, Any],
        files: Mapping[str, bytes] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Make a job and its folder with these files, write it into the table, and queue it; or nothing of all that."""
        with self._lock:
            # Folders too, as the file with the other numbers may have been lost.
            taken = [int(f.name) for f in self.home.glob("jobs/*") if f.name.isascii() and f.name.isdigit()]
            id = max([*self._jobs, *taken, *self._running], default=0) + 1
            created = datetime.now(UTC).isoformat(timespec="seconds")
            name = self._unique(name) if kind != "animate" else name
            job = self._jobs[id] = Job(id, created, kind, "queued", name, model, request)
        folder = self._folder(job)
        try:
            folder.mkdir(parents=True)
            for file, content in files.items():
                folder.joinpath(file).write_bytes(content)
            self._write()
        except BaseException as error:
            with self._lock:
                del self._jobs[id]
                self._unsaved = True
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise disk_refused(error) from error
            raise
        with self._lock:
            self._queue.append(id)
            self._wake.set()
            return self._told(job)

    def _unique(self, name: str) -> str:
        """The name, or with the first number behind it that makes it one of its own, whatever the case."""
        folder = self.home / "runs"
        taken = {entry.name.lower() for entry in folder.iterdir()} if folder.is_dir() else set()
        taken |= {job.name.lower() for job in self._jobs.values() if job.kind != "animate"}
        unique, n = name, 1
        while unique.lower() in taken:
            n += 1
            unique = f"{name[: 39 - len(str(n))].rstrip()} {n}"
        return unique

    def _turn(self, job: Job, state: State, message: str = "") -> None:
        """To another state; the scheduler writes it into the file, and tries again where that is locked."""
        job.progress, _ = self._progress(job)
        job.state, job.message = state, message
        if state == "done":
            job.progress = 1.0
            if job.kind != "animate":
                job.model = self.catalog.id_of(self._place(job))
        self._unsaved = True
        self._wake.set()

    def _write(self) -> None:
        """All jobs into the table: they are few, and it may have lost some. Nobody else writes it (`start`). Raises as
        `Store.run`."""
        with self._writing:  # an older state of things must not come after a newer one
            with self._lock:
                self._unsaved = False
                rows = [
                    (j.id, j.created, j.kind, j.state, j.name, j.model, json.dumps(j.request), j.progress, j.message)
                    for j in self._jobs.values()
                ]

            def work(db: sqlite3.Connection) -> None:
                db.execute("DELETE FROM jobs")
                db.executemany(f"INSERT INTO jobs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

            try:
                self.store.run(work)
            except BaseException:
                self._unsaved = True
                raise

    def _save(self, *, now: bool = False) -> None:
        """Write what has changed; and all, where the file was removed or replaced by another. What is refused, as by a
        file that is locked, is tried again later: the jobs go on meanwhile."""
        if not now and time.monotonic() < self._look_at and (self._refused or not self._unsaved):
            return
        try:
            if not self._unsaved:
                (count,) = self.store.run(lambda db: db.execute("SELECT count(*) FROM jobs").fetchone())
                with self._lock:
                    self._unsaved = self._unsaved or count != len(self._jobs)
            if self._unsaved:
                self._write()
            self._refused = False
        except PinxitError as error:
            if not self._refused:
                LOG.warning("the state of the jobs is not written yet: %s", error)
            self._refused = True
        self._look_at = time.monotonic() + 1

    # --- the scheduler ------------------------------------------------------------------------------------------

    def _schedule(self, places: Sequence[str]) -> None:
        _stop_orphans(places)
        while not self._closing:
            self._wake.clear()
            try:
                with self._lock:
                    self._reap()
                    self._launch()
                self._save()
            except Exception:
                # A defect; the other jobs still want to be seen to.
                LOG.exception("in the scheduler of jobs")
                time.sleep(1)
            self._wake.wait(TICK if self._running or self._unsaved else IDLE)
        with self._lock:
            for running in self._running.values():
                self._stop(running)
        give_up = time.monotonic() + 2 * GRACE
        while self._running and time.monotonic() < give_up:
            with self._lock:
                self._reap()
            time.sleep(0.02)
        self._save(now=True)

    def _launch(self) -> None:
        """Begin the jobs at the head of the queue while there is room. Not one whose old process is still stopping."""
        for id in list(self._queue):
            if len(self._running) >= self.at_once:
                return
            if id in self._running:
                continue
            self._queue.remove(id)
            job = self._jobs[id]
            try:
                folder = self._folder(job)
                folder.mkdir(parents=True, exist_ok=True)
                command = self._command(job)
                with (folder / "log.txt").open("ab") as log:
                    begin = log.tell()
                    process = _spawn(command, log)
            except (OSError, PinxitError) as error:
                self._turn(job, "failed", str(error))
                continue
            self._turn(job, "running")
            self._running[id] = Running(job, process, begin, progress=job.progress)

    def _command(self, job: Job) -> list[str]:
        """What is run; every argument that came from a request has been checked, and none can be read as an option."""
        r, place = job.request, self._place(job)
        if job.kind == "animate":
            assert job.model is not None
            options = {k: r[k] for k in ("frames", "fps", "start_scale", "alpha", "beta", "seed")}
            given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
            given += ["--loop"] if r["loop"] else []
            return ["animate", str(self.catalog.entry(job.model).path.resolve()), f"--out={place}", *given]
        begun = ["--resume"] if (place / STATE).is_file() else []
        every = [f"--log-every={LOG_EVERY}", f"--sample-every={KEEP_EVERY}", f"--checkpoint-every={KEEP_EVERY}"]
        if job.kind == "sketch":
            base, photosketch = (self._model_path(r[role]) for role in ("base", "photosketch"))
            drawn = [str(self._folder(job) / f"sketch-{i:02d}.png") for i in range(1, len(r["sketches"]) + 1)]
            what = [f"--photosketch={photosketch}", f"--preset={r['preset']}", f"--out={place}", f"--seed={r['seed']}"]
            return ["sketch", str(base), *what, *every, *begun, "--sketches", *drawn]
        photo = self._folder(job) / "photo.png"
        what = [f"--preset={r['preset']}", f"--data={photo}", f"--out={place}", f"--seed={r['seed']}"]
        return ["train", "singan", *what, *every, *begun]

    def _model_path(self, id: str) -> Path:
        """The folder of a model, whose name its card then says; the file where that is called otherwise."""
        path = self.catalog.entry(id).path.resolve()
        return path.parent if path.name == MODEL else path

    def _stop(self, running: Running) -> None:
        """Ask a process to stop; it is killed if it has not after `GRACE`."""
        if running.kill_at is None:
            running.kill_at = time.monotonic() + GRACE
            _end(running.process)

    def _reap(self) -> None:
        """Take note of the processes that have ended, and kill those whose time is up."""
        for id, running in list(self._running.items()):
            status = running.process.poll()
            if status is None:
                if running.kill_at is not None and time.monotonic() >= running.kill_at:
                    _end(running.process, kill=True)
                continue
            del self._running[id]
            job = running.job
            if id not in self._jobs:
                self._delete_files(job)
            elif status == 0 and self._complete(job):
                if id in self._queue:  # resumed while it was stopping, and now there is nothing left to do
                    self._queue.remove(id)
                self._turn(job, "done")
            elif job.state == "running" and not self._closing:
                self._turn(job, "failed", self._cause(running, status))

    def _cause(self, running: Running, status: int) -> str:
        """Why a process ended before its work was done, in a line."""
        if status < 0:
            name = signal.Signals(-status).name if -status in [*signal.Signals] else f"signal {-status}"
            more = ", as happens where memory runs out" if name == "SIGKILL" else ""
            return f"the process was killed by {name}{more}; resume goes on from what was kept"
        try:
            with (self._folder(running.job) / "log.txt").open("rb") as log:
                log.seek(running.log_from)
                lines = log.read().decode("utf-8", "replace").splitlines()
        except OSError:
            lines = []
        told = [line.removeprefix("pinxit:").strip() for line in lines if line.startswith("pinxit:")]
        if told:
            return told[-1]
        if status == 0:
            return "the process was stopped before its end; resume goes on from there"
        last = next((line.strip() for line in reversed(lines) if line.strip()), "without a word")
        return f"the process ended with status {status}: {last[:300]}"

    # --- what the processes leave -------------------------------------------------------------------------------

    def _folder(self, job: Job) -> Path:
        return self.home / "jobs" / str(job.id)

    def _place(self, job: Job) -> Path:
        """Where the result goes: the folder of the run; of an animation, an animated PNG, which loses no colours."""
        return self.home / "runs" / job.name if job.kind != "animate" else self._folder(job) / "result.png"

    def _delete_files(self, job: Job) -> None:
        shutil.rmtree(self._folder(job), ignore_errors=True)
        if job.kind != "animate" and job.state != "done":
            shutil.rmtree(self._place(job), ignore_errors=True)

    def _told(self, job: Job) -> dict[str, Any]:
        progress, stage = (job.progress, "") if job.state == "done" else self._progress(job)
        left, running = None, self._running.get(job.id)
        if job.state == "running" and running is not None and progress - running.progress > 0.002:
            # Up to the log's last line, or what is left would grow until the next.
            logged = _changed(self._place(job) / "log.jsonl") / 1000
            expected_end = logged + (1 - progress) * (logged - running.began) / (progress - running.progress)
            left = round(max(expected_end - time.time(), 0.0), 1)
        sheets = self._sheets(job)
        return {
            "id": job.id,
            "kind": job.kind,
            "state": job.state,
            "name": job.name,
            "model": job.model,
            "progress": round(progress, 4),
            "stage": stage,
            "seconds_left": left,
            "message": job.message,
            "created": job.created,
            "preset": job.request.get("preset"),
            "preview": _changed(sheets[-1]) if sheets else 0,
            "previews": len(sheets),
        }

    def _progress(self, job: Job) -> tuple[float, str]:
        """(0..1 of the work, where a training is), from the last line of the log; as it last was where there is none
        that can be read."""
        if job.kind == "animate":
            return job.progress, ""
        last = _last_line(self._place(job) / "log.jsonl")
        weights = self._weights_of(job)
        if last is None or not 0 <= last["stage_number"] < len(weights):
            return job.progress, ""
        scale, step = last["stage_number"], last["step"]
        steps, weight = weights[scale]
        done = sum(w for _, w in weights[:scale]) + weight * min(step / steps, 1)
        stage = f"step {step} of {steps}" if job.kind == "sketch" else f"scale {scale + 1} of {len(weights)}"
        return min(done / sum(w for _, w in weights), 1.0), stage

    def _weights_of(self, job: Job) -> list[tuple[int, float]]:
        if not job.weights and job.kind == "sketch":
            job.weights = [(SKETCHING[job.request["preset"]].training.steps, 1.0)]
        if not job.weights:
            height, width = job.request["size"]
            job.weights = _weights(height, width, job.request["preset"])
        return job.weights

    def _complete(self, job: Job) -> bool:
        """Whether the work is done. A training that was stopped ends as one that is done, with status 0."""
        place = self._place(job)
        if job.kind == "animate":
            return place.is_file()
        last, weights = _last_line(place / "log.jsonl"), self._weights_of(job)
        if last is None or not (place / MODEL).is_file():
            return False
        return last["stage_number"] == len(weights) - 1 and last["step"] >= weights[-1][0]

    def _sheets(self, job: Job) -> list[Path]:
        """The sheets of samples of a training, the oldest first."""
        if job.kind == "animate":
            return []
        sheets = [f for f in (self._place(job) / "samples").glob("*.png") if not f.name.startswith(".")]
        return sorted(sheets, key=lambda file: (_changed(file), file.name))

    def _lossless(self, id: int) -> tuple[Path, dict[str, Any]]:
        with self._lock:
            job = self._job(id)
            if job.kind == "animate" and job.state == "done" and self._place(job).is_file():
                return self._place(job), job.request
        raise Refused(404, "no-result", f"job {id} has no animation (yet); wait for its end")


COLUMNS = "id, created, kind, state, name, model, request, progress, message"


def _read(db: sqlite3.Connection) -> list[Job]:
    rows = db.execute(f"SELECT {COLUMNS} FROM jobs ORDER BY id").fetchall()
    return [
        Job(id, created, kind, state, name, model, json.loads(request), progress, message)
        for id, created, kind, state, name, model, request, progress, message in rows
    ]


def _bad(thing: str, got: object, want: str) -> Refused:
    got = repr(got)[:100]
    return Refused(422, "bad-field", str(expected(thing, got, want, "correct it")))


def _run_name(name: object) -> str:
    name = name.strip() if isinstance(name, str) else name
    if not isinstance(name, str) or not RUN_NAME.fullmatch(name):
        raise _bad("name", name, "1 to 40 letters (A-Z), digits, spaces, - and _, a letter or digit first")
    return name


def _require_preset(preset: object, presets: Mapping[str, object]) -> None:
    if not isinstance(preset, str) or preset not in presets:
        raise _bad("preset", preset, f"one of {', '.join(presets)}")


def _require_integer(thing: str, value: object, lowest: int, highest: int) -> None:
    if type(value) is not int or not lowest <= value <= highest:
        raise _bad(thing, value, f"a whole number, {lowest}..{highest}")


def _require_number(thing: str, value: object, lowest: float, highest: float) -> None:
    if type(value) not in (int, float) or not lowest <= value <= highest:  # pyright: ignore[reportOperatorIssue]
        raise _bad(thing, value, f"a number, {lowest}..{highest}")


def _weights(height: int, width: int, preset: str) -> list[tuple[int, float]]:
    """(steps, relative time) of each scale of a training on a photo of this size. Raises `PinxitError`: too small."""
    from pinxit.models.singan.pyramid import plan  # imports torch, which the rest here does not

    options = PRESETS[preset]
    t = options.training
    weights = []
    for scale, (h, w) in enumerate(plan(height, width, options.network).sizes):
        pixels = t.crops * t.crop**2 if t.in_windows(h, w) else t.batch * h * w
        steps = t.steps_at(h, w)
        # As measured on CPUs: below some 800 pixels a step gets no cheaper, and 2x the channels cost about 2.8x.
        weights.append((steps, steps * max(pixels, 800) * max(options.network.widths(scale)) ** 1.5))
    return weights


def _last_line(log: Path) -> dict[str, Any] | None:
    """The last whole line of a log.jsonl, if it tells stage_number and step."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 8192, 0))
            lines = file.read().split(b"\n")
    except OSError:
        return None
    for line in reversed(lines[:-1]):  # what is behind the last line's end is not whole
        with suppress(ValueError):
            last = json.loads(line)
            if isinstance(last, dict) and {int} == {type(last.get(key)) for key in ("stage_number", "step")}:
                return last
    return None


def _changed(path: Path) -> int:
    """When, in ms; 0 for a file that is gone."""
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except OSError:
        return 0


def _frames(path: Path, request: dict[str, Any]) -> list[Image.Image]:
    """The frames of an animated PNG, RGB; those that are alike were written as one that lasts longer."""
    frames = []
    with Image.open(path) as image:
        for i in range(getattr(image, "n_frames", 1)):
            image.seek(i)
            times = max(round(image.info.get("duration", 0) * request["fps"] / 1000), 1)
            frames += [image.convert("RGB")] * times
    # Where all are alike, it is a picture without a time.
    return frames + [frames[-1]] * (request["frames"] - len(frames))


def _measured(height: int, width: int) -> dict[str, tuple[float | None, int | None]]:
    """Preset -> seconds and bytes, by a process of `forecasts`."""
    command = [sys.executable, "-P", "-m", forecasting.__name__, str(height), str(width)]
    unknown: dict[str, tuple[float | None, int | None]] = dict.fromkeys(forecasting.PRESETS, (None, None))
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        ran = subprocess.run(command, env=_environment(), capture_output=True, check=True, timeout=FORECAST_PATIENCE)
        return {preset: (seconds, int(memory)) for preset, (seconds, memory) in json.loads(ran.stdout).items()}
    return unknown


# --- processes ------------------------------------------------------------------------------------------------------


def _environment() -> dict[str, str]:
    """Ours, with this very Pinxit to be found, installed or not."""
    root = Path(pinxit.__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    # Installed packages are found anyway, and must not come before Python's own.
    if root.name not in ("site-packages", "dist-packages"):
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), environment.get("PYTHONPATH")]))
    return environment


def _spawn(arguments: Sequence[str], log: io.BufferedWriter) -> subprocess.Popen[bytes]:
    """`pinxit ARGUMENTS` in a session of its own, so that Ctrl-C in the server's terminal is the server's alone.

    -P: the current folder, wherever the server was started, is no place to import from.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "pinxit", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=_environment(),
        start_new_session=True,
    )
    # From here, not between fork and exec, where Python code may deadlock if the parent has threads. It has not
    # begun any thread yet that would stay as it is.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    return process


def _end(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """Ask a process and those it has started to stop; or kill them. It was not waited for yet, so that its id is not
    another's."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        else:
            process.kill()


def _take(home: Path) -> int:
    """Lock a home against other studios, whose jobs ours would take for left over; -> the descriptor to close.

    Raises `PinxitError` where one has it. The lock goes with the process, however that ends.
    """
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / "studio.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # not a POSIX system: then it is for the person to see to
        pass
    except OSError as error:
        os.close(descriptor)
        remedy = "close that one, or give another --home"
        raise expected(f"home '{home}'", "in use by another studio", "a home of its own", remedy) from error
    return descriptor


def _stop_orphans(places: Sequence[str]) -> None:
    """Stop processes of ours that a server left behind which was killed: they write where jobs are to go on.

    They are known by their command line, which names the place they write to: no number of a process is kept that
    might be another's by now. (Linux can kill a child when its parent dies; that is bound to the thread that started
    it, has to be asked for between fork and exec, and would spare no other system.)
    """
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while places and (found := _processes_writing(places)):
        late = time.monotonic() > deadline
        for pid in found if late else found - asked:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        asked |= found
        if time.monotonic() > deadline + GRACE:
            return  # not ours to stop; the command itself then finds its place taken
        time.sleep(0.05)


def _processes_writing(places: Sequence[str]) -> set[int]:
    """Ids of the processes `… -m pinxit … --out=PLACE …`."""
    wanted = {f"--out={place}" for place in places}
    if Path("/proc/self/cmdline").is_file():
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    arguments = (entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
                    if "pinxit" in arguments and wanted & set(arguments):
                        found.add(int(entry.name))
        return found
    try:
        lines = subprocess.run(["ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return set()
    rows = [line.split(maxsplit=1) for line in lines.splitlines()]
    return {int(r[0]) for r in rows if len(r) == 2 and " pinxit " in r[1] and any(f"{w} " in r[1] for w in wanted)}
