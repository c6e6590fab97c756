from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import pinxit
from pinxit.apps.studio import jobs as module
from pinxit.apps.studio import store
from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.jobs import Jobs
from pinxit.apps.studio.pictures import Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.errors import PinxitError
from pinxit.models.singan.config import PRESETS

posix = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes are POSIX's")
PATIENCE = 120.0


def drawn(height: int = 48, width: int = 64) -> np.ndarray:
    """Coloured waves, a photo for SinGAN to learn."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (5 + c)) + np.cos(y / (9 - c) + x / 11) for c in range(3)]
    return (127.5 + 60 * np.stack(waves, -1)).astype(np.uint8)


@dataclass
class Home:
    """A home of the studio, and a photo in it."""

    path: Path
    pictures: Pictures
    photo: str
    opened: list[Jobs]

    def jobs(self, *, at_once: int = 1, start: bool = True) -> Jobs:
        jobs = Jobs(self.path, Catalog([], self.path / "runs"), self.pictures, at_once)
        self.opened.append(jobs)
        if start:
            jobs.start()
        return jobs


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield from a_home(tmp_path / "home")


def a_home(path: Path) -> Iterator[Home]:
    pictures = Pictures(path / "pictures")
    home = Home(path, pictures, pictures.add(drawn()), [])
    yield home
    for jobs in home.opened:
        jobs.close()


def wait(until: Callable[[], Any], patience: float = PATIENCE) -> Any:
    end = time.monotonic() + patience
    while not (found := until()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)
    return found


def ended(jobs: Jobs, id: int) -> dict[str, Any]:
    wait(lambda: jobs.get(id)["state"] not in ("queued", "running"))
    return jobs.get(id)


def written(home: Home, id: int, column: str = "state") -> Any:
    """What the file says of a job; None where it has none."""
    with closing(sqlite3.connect(home.path / "studio.sqlite")) as db:
        row = db.execute(f"SELECT {column} FROM jobs WHERE id = ?", (id,)).fetchone()
    return row and row[0]


def alive(pid: int) -> bool:
    """Whether the process runs; one that is ending, or has ended and was not waited for, has no command line left."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


# --- with real trainings, of the preset `tiny` ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, list[list[dict[str, Any]]]]]:
    """A home where two trainings and an animation were queued at once; and what their states were from time to time."""
    for home in a_home(tmp_path_factory.mktemp("trained") / "home"):
        jobs = home.jobs()
        for name in ("waves", "Waves"):
            jobs.train(home.photo, "tiny", name, 7)
        seen: list[list[dict[str, Any]]] = []
        queued = False
        while not queued or any(job["state"] in ("queued", "running") for job in seen[-1]):
            seen.append(jobs.list()[::-1])
            assert len(seen) < 20 * PATIENCE
            if not queued and (model := seen[-1][0]["model"]):
                jobs.animate(model, frames=5, start_scale=1, seed=3, fps=12.5, loop=False)
                queued = True
            time.sleep(0.05)
        yield home, seen


def test_two_trainings_and_an_animation_one_after_the_other(trained: tuple[Home, list[list[dict[str, Any]]]]) -> None:
    home, seen = trained
    assert [(j["name"], j["state"], j["message"]) for j in seen[-1]] == [
        ("waves", "done", ""),
        ("Waves 2", "done", ""),
        ("waves", "done", ""),
    ]
    assert max(sum(j["state"] == "running" for j in jobs) for jobs in seen) == 1
    assert any([j["state"] for j in jobs[:2]] == ["running", "queued"] for jobs in seen)
    jobs = home.opened[-1]
    first, second, animation = seen[-1]
    assert (first["kind"], first["preset"], first["progress"], first["seconds_left"]) == ("train", "tiny", 1, None)
    assert (animation["kind"], animation["preset"], animation["preview"]) == ("animate", None, 0)
    assert first["model"] != second["model"] == jobs.catalog.id_of(home.path / "runs" / "Waves 2")
    assert animation["model"] == first["model"]
    assert pinxit.load(home.path / "runs" / "waves").sizes[-1] == (30, 40)
    assert [written(home, id) for id in (1, 2, 3)] == ["done"] * 3
    assert jobs.counts() == {"running": 0, "queued": 0}


def test_a_training_is_watched(trained: tuple[Home, list[list[dict[str, Any]]]]) -> None:
    home, seen = trained
    states = [jobs[0] for jobs in seen if jobs[0]["state"] == "running"]
    progress = [job["progress"] for job in states]
    assert progress == sorted(progress)
    assert len({p for p in progress if 0 < p < 1}) >= 2
    stages = list(dict.fromkeys(job["stage"] for job in states))
    assert stages[0] == ""
    assert stages[1:] == [f"scale {n} of 4" for n in (1, 2, 3, 4) if f"scale {n} of 4" in stages]
    assert all((job["seconds_left"] is not None) == (job["progress"] > 0.002) for job in states)
    previews = list(dict.fromkeys(job["preview"] for job in states))
    assert previews[0] == 0
    assert len(previews) >= 3
    with Image.open(io.BytesIO(home.opened[-1].preview(1))) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width >= 5 * 40  # the photo, its reconstruction and three samples


def test_frames_of_an_animation_are_those_of_the_model(trained: tuple[Home, list[list[dict[str, Any]]]]) -> None:
    home, _ = trained
    jobs = home.opened[-1]
    png, number, fps = jobs.frames(3)
    assert (number, fps) == (5, 12.5)
    model = pinxit.load(home.path / "runs" / "waves")
    wanted = model.animate(5, 1, 0.1, 0.9, None, 3, False)
    with Image.open(io.BytesIO(png)) as strip:
        assert np.array_equal(np.asarray(strip), np.concatenate([np.asarray(frame) for frame in wanted]))
    with Image.open(jobs.result(3)) as gif:
        assert (gif.format, gif.size, gif.info["duration"], gif.info["loop"]) == ("GIF", (40, 30), 80, 0)
        assert getattr(gif, "n_frames", 0) == 5
    for id in (1, 2):
        for verb in (jobs.frames, jobs.result):
            with pytest.raises(Refused, match="has no animation") as told:
                verb(id)
            assert told.value.code == "no-result"
    with pytest.raises(Refused, match="has no preview"):
        jobs.preview(3)


@posix
def test_a_killed_training_goes_on_where_it_was_and_after_a_restart_and_ends_the_same(
    home: Home, trained: tuple[Home, list[list[dict[str, Any]]]]
) -> None:
    jobs = home.jobs()
    id = jobs.train(home.photo, "tiny", "waves", 7)["id"]
    run = home.path / "runs" / "waves"
    wait((run / "state.pt").is_file)
    process = jobs._running[id].process
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == os.getpriority(os.PRIO_PROCESS, 0) + module.NICENESS
    os.kill(process.pid, signal.SIGKILL)
    job = ended(jobs, id)
    assert job["state"] == "failed"
    assert "killed by SIGKILL" in job["message"]
    assert 0 < job["progress"] < 1
    wait(lambda: written(home, id) == "failed")

    assert jobs.resume(id)["state"] == "queued"
    wait(lambda: jobs.get(id)["progress"] > job["progress"])
    jobs.close()
    assert written(home, id) == "running"
    assert process.poll() is not None
    assert (home.path / "jobs" / str(id) / "log.txt").read_text().count("this will take") == 2

    jobs = home.jobs()
    assert jobs.get(id)["name"] == "waves"
    assert ended(jobs, id)["state"] == "done"
    other = trained[0].path / "runs" / "waves"
    found, wanted = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


SERVER = """
import sys, time
from pathlib import Path
import numpy as np
from pinxit.apps.studio.catalog import Catalog
from pinxit.apps.studio.jobs import Jobs
from pinxit.apps.studio.pictures import Pictures

home = Path(sys.argv[1])
pictures = Pictures(home / "pictures")
jobs = Jobs(home, Catalog([], home / "runs"), pictures)
jobs.start()
y, x = np.mgrid[:48, :64]
jobs.train(pictures.add(np.stack([4 * x, 5 * y, x * y % 255], -1).astype(np.uint8)), "tiny", "waves", 1)
jobs.train(pictures.add(np.stack([4 * x, 5 * y, x * y % 255], -1).astype(np.uint8)), "tiny", "later", 1)
while True:
    if jobs._running:
        print(jobs._running[1].process.pid, flush=True)
        time.sleep(600)
    time.sleep(0.01)
"""


@posix
def test_a_killed_server_leaves_a_process_that_the_next_one_stops_before_it_goes_on(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE", 1.0)
    environment = {**os.environ, "PYTHONPATH": str(Path(pinxit.__file__).parents[1])}
    command = [sys.executable, "-c", SERVER, str(home.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        orphan = int(server.stdout.readline())
        wait(lambda: written(home, 1) == "running")
        with pytest.raises(PinxitError, match=r"home '.*' is in use by another studio, expected a home of its own"):
            home.jobs()
        wait((home.path / "runs" / "waves" / "log.jsonl").is_file)
        server.kill()
    try:
        os.kill(orphan, signal.SIGSTOP)  # so that it has not ended by itself before the next server comes
        assert alive(orphan)
        jobs = home.jobs()
        wait(lambda: jobs.get(1)["state"] == "running")
        assert not alive(orphan)
    finally:
        if alive(orphan):
            os.kill(orphan, signal.SIGKILL)
    assert [jobs.cancel(2)["state"], ended(jobs, 1)["state"]] == ["cancelled", "done"]


@pytest.mark.slow
def test_forecasts_are_told_for_each_preset_and_remembered(home: Home) -> None:
    jobs = home.jobs(start=False)
    found = jobs.forecasts(home.photo)
    assert [row["preset"] for row in found] == ["draft", "fast", "paper"]
    assert 1 < found[0]["seconds"] < found[1]["seconds"] < found[2]["seconds"]
    assert all(type(row["memory"]) is int and row["memory"] > 1 << 20 and row["summary"] for row in found)
    began = time.monotonic()
    assert jobs.forecasts(home.pictures.add(255 - drawn())) == found
    assert time.monotonic() - began < 0.5


# --- with processes that only behave like trainings -------------------------------------------------------------------


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`child(code)`: what is run in place of every command from here on."""

    def use(code: str) -> None:
        def spawn(arguments: Any, log: Any) -> subprocess.Popen[bytes]:
            command = [sys.executable, "-S", "-c", code, *arguments]
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

        monkeypatch.setattr(module, "_spawn", spawn)

    monkeypatch.setattr(module, "GRACE", 0.5)
    use("import time; time.sleep(600)")
    return use


STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: None); print('up', flush=True)\n"


@posix
def test_cancel_stops_a_process_and_kills_one_that_does_not_listen(home: Home, child: Callable[[str], None]) -> None:
    jobs = home.jobs()
    child(STUBBORN + "while True: time.sleep(0.1)")
    id = jobs.train(home.photo, "tiny", "a")["id"]
    process = wait(lambda: jobs._running.get(id)).process
    wait((home.path / "jobs" / str(id) / "log.txt").read_text)
    began = time.monotonic()
    assert jobs.cancel(id)["state"] == "cancelled"
    assert time.monotonic() - began < 0.4  # nobody waits for the process
    # It waits for its own old process, and then goes on.
    child("import time; time.sleep(600)")
    assert jobs.resume(id)["state"] == "queued"
    wait(lambda: jobs.get(id)["state"] == "running")
    assert time.monotonic() - began >= 0.5
    assert process.returncode == -signal.SIGKILL
    second = jobs._running[id].process
    jobs.cancel(id)
    wait(lambda: second.returncode is not None)
    assert second.returncode == -signal.SIGTERM
    wait(lambda: written(home, id) == "cancelled")
    assert jobs.get(id)["message"] == ""


@posix
def test_a_thousand_cancels(home: Home, child: Callable[[str], None]) -> None:
    jobs = home.jobs()
    ids = [jobs.train(home.photo, "tiny", f"a{n}")["id"] for n in range(5)]
    wait(lambda: jobs._running)
    for n in range(1000):
        jobs.cancel(ids[n % 5])
        if n % 3 == 0:
            jobs.resume(ids[n % 5])
    for id in ids:
        jobs.cancel(id)
    wait(lambda: not jobs._running)
    assert {job["state"] for job in jobs.list()} == {"cancelled"}
    wait(lambda: all(written(home, id) == "cancelled" for id in ids))
    child("")
    jobs.resume(ids[0])
    assert "stopped before its end" in ended(jobs, ids[0])["message"]  # the scheduler is well


@posix
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print('note: x'); print('pinxit: --data is bad; mend it'); raise SystemExit(2)", "--data is bad; mend it"),
        ("print('pinxit: a'); print('pinxit: b'); print('more'); raise SystemExit(2)", "b"),
        ("raise ValueError('a defect')", "the process ended with status 1: ValueError: a defect"),
        ("raise SystemExit(3)", "the process ended with status 3: without a word"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the process was killed by SIGSEGV; resume"),
        ("import os; os.kill(os.getpid(), 34)", "the process was killed by"),
        ("", "the process was stopped before its end"),
    ],
)
def test_why_a_job_failed_is_told(home: Home, child: Callable[[str], None], code: str, said: str) -> None:
    child(code)
    jobs = home.jobs()
    job = ended(jobs, jobs.train(home.photo, "tiny", "a")["id"])
    assert job["state"] == "failed"
    assert job["message"].startswith(said)
    assert "\n" not in job["message"]


@posix
def test_only_what_the_last_process_said_counts(home: Home, child: Callable[[str], None]) -> None:
    child("print('pinxit: the first'); raise SystemExit(2)")
    jobs = home.jobs()
    id = jobs.train(home.photo, "tiny", "a")["id"]
    assert ended(jobs, id)["message"] == "the first"
    child("raise SystemExit(2)")
    jobs.resume(id)
    assert ended(jobs, id)["message"] == "the process ended with status 2: without a word"


@posix
def test_no_more_run_than_may_and_the_others_wait_their_turn(home: Home, child: Callable[[str], None]) -> None:
    jobs = home.jobs(at_once=2)
    ids = [jobs.train(home.photo, "tiny", "a")["id"] for _ in range(4)]
    wait(lambda: len(jobs._running) == 2)
    time.sleep(0.3)
    assert [jobs.get(id)["state"] for id in ids] == ["running", "running", "queued", "queued"]
    assert jobs.counts() == {"running": 2, "queued": 2}
    jobs.cancel(ids[2])
    jobs.cancel(ids[0])
    wait(lambda: jobs.get(ids[3])["state"] == "running")
    assert jobs.get(ids[2])["state"] == "cancelled"
    assert [job["id"] for job in jobs.list()] == ids[::-1]


@posix
def test_after_a_restart_what_ran_goes_on_first(home: Home, child: Callable[[str], None]) -> None:
    jobs = home.jobs()
    a, b, c = (jobs.train(home.photo, "tiny", "a")["id"] for _ in range(3))
    wait(lambda: jobs._running)
    jobs.cancel(a)
    wait(lambda: jobs.get(b)["state"] == "running")
    jobs.resume(a)
    jobs.close()
    assert [written(home, id) for id in (a, b, c)] == ["queued", "running", "queued"]
    jobs = home.jobs()
    wait(lambda: jobs.get(b)["state"] == "running")
    assert [jobs.get(id)["state"] for id in (a, c)] == ["queued", "queued"]


@posix
def test_removing_takes_the_files_but_for_a_model_that_is_done(
    home: Home, child: Callable[[str], None], trained: tuple[Home, list[list[dict[str, Any]]]]
) -> None:
    child(STUBBORN + "while True: time.sleep(0.1)")
    jobs = home.jobs()
    a, b = (jobs.train(home.photo, "tiny", "a")["id"] for _ in range(2))
    log = home.path / "jobs" / str(a) / "log.txt"
    wait(lambda: log.is_file() and log.read_text())
    (home.path / "runs" / "a" / "samples").mkdir(parents=True)
    for id in (a, b):
        with pytest.raises(Refused, match="cancel it first") as told:
            jobs.remove(id)
        assert (told.value.status, told.value.code) == (409, "busy")
    jobs.cancel(b)
    jobs.remove(b)
    assert not (home.path / "jobs" / str(b)).exists()
    jobs.cancel(a)
    jobs.remove(a)  # while its process does not listen
    wait(lambda: not (home.path / "runs" / "a").exists() and not log.parent.exists())
    assert jobs.list() == []
    wait(lambda: written(home, a) is None)
    with pytest.raises(Refused) as told:
        jobs.remove(a)
    assert (told.value.status, told.value.code) == (404, "no-such-job")

    other = trained[0].opened[-1]
    other.remove(2)
    assert not (trained[0].path / "jobs" / "2").exists()
    assert (trained[0].path / "runs" / "Waves 2" / "model.safetensors").is_file()


@posix
def test_a_job_that_is_done_is_not_resumed(trained: tuple[Home, list[list[dict[str, Any]]]]) -> None:
    jobs = trained[0].opened[-1]
    with pytest.raises(Refused, match="is done") as told:
        jobs.resume(1)
    assert (told.value.status, told.value.code) == (409, "done")
    assert jobs.cancel(1)["state"] == "done"


def test_the_file_may_go_while_jobs_run(home: Home, child: Callable[[str], None]) -> None:
    jobs = home.jobs()
    a, b = (jobs.train(home.photo, "tiny", "a")["id"] for _ in range(2))
    wait(lambda: written(home, a) == "running")
    (home.path / "studio.sqlite").unlink()
    wait(lambda: (home.path / "studio.sqlite").is_file() and written(home, a) == "running")
    assert written(home, b) == "queued"
    (home.path / "studio.sqlite").write_bytes(b"no database" * 1000)
    wait(lambda: (home.path / "studio.sqlite.damaged-1").is_file() and written(home, b) == "queued")
    assert jobs.cancel(a)["state"] == "cancelled"
    wait(lambda: written(home, a) == "cancelled" and written(home, b) == "running")
    jobs.close()
    assert [job["state"] for job in home.jobs(start=False).list()] == ["running", "cancelled"]


def test_a_locked_file_refuses_new_jobs_and_lets_the_others_go_on(
    home: Home, child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store, "PATIENCE", 0.2)
    jobs = home.jobs()
    a, b = (jobs.train(home.photo, "tiny", "a")["id"] for _ in range(2))
    wait(lambda: written(home, a) == "running")
    with closing(sqlite3.connect(home.path / "studio.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Refused) as told:
            jobs.train(home.photo, "tiny", "c")
        assert (told.value.status, told.value.code) == (423, "locked")
        assert sorted(p.name for p in (home.path / "jobs").iterdir()) == [str(a), str(b)]
        jobs.cancel(a)
        wait(lambda: jobs.get(b)["state"] == "running")
        assert len(jobs.list()) == 2
    wait(lambda: written(home, a) == "cancelled" and written(home, b) == "running")
    assert len([r for r in caplog.records if "not written yet" in r.getMessage()]) <= 2


def test_a_full_disk_begins_nothing(home: Home, child: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = home.jobs()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(Refused, match="room on the disk") as told:
            jobs.train(home.photo, "tiny", "a")
    assert (told.value.status, told.value.code) == (409, "disk-full")
    assert jobs.list() == []
    assert list((home.path / "jobs").iterdir()) == []
    assert jobs.train(home.photo, "tiny", "a")["name"] == "a"


# --- what is asked for ------------------------------------------------------------------------------------------------

BAD_NAMES = [
    *("", " ", "-x", "--resume", "../x", "..", ".", "a/b", "a\\b", "/etc", "a\0b", "a\nb", "é", "画", "a" * 41, "a.b"),
    *("con:", "~", "$HOME", "a;b", "*", None, 3, ["a"], "_x", "\u202ea", "a\n"),
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_names_are_folders_below_runs_and_nothing_else(home: Home, name: Any) -> None:
    jobs = home.jobs(start=False)
    if isinstance(name, str) and name.strip() != name and name.strip():
        assert jobs.train(home.photo, "tiny", name)["name"] == name.strip()
        return
    with pytest.raises(Refused, match=r"name is .*, expected 1 to 40 letters") as told:
        jobs.train(home.photo, "tiny", name)
    assert (told.value.status, told.value.code) == (422, "bad-field")
    assert jobs.list() == []
    assert not (home.path / "jobs").exists()


def test_names_are_made_unique_whatever_the_case(home: Home) -> None:
    jobs = home.jobs(start=False)
    (home.path / "runs" / "Old").mkdir(parents=True)
    asked = ["sea", "Sea", "sea 2", "old", "x" * 40, "x" * 40, "a" * 38 + " b", "a" * 38 + " b"]
    names = [jobs.train(home.photo, "tiny", name)["name"] for name in asked]
    assert names == ["sea", "Sea 2", "sea 2 2", "old 2", "x" * 40, "x" * 38 + " 2", "a" * 38 + " b", "a" * 38 + " 2"]
    assert all(module.RUN_NAME.fullmatch(name) for name in names)
    assert home.jobs(start=False).train(home.photo, "tiny", "SEA")["name"] == "SEA 3"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"preset": "huge"}, "bad-field"),
        ({"preset": "tiny --out=/etc"}, "bad-field"),
        ({"preset": ["tiny"]}, "bad-field"),
        ({"seed": -1}, "bad-field"),
        ({"seed": 1 << 31}, "bad-field"),
        ({"seed": 1.5}, "bad-field"),
        ({"seed": True}, "bad-field"),
        ({"seed": "1"}, "bad-field"),
        ({"picture_id": "0" * 32}, "no-such-picture"),
        ({"picture_id": "../../../etc/passwd"}, "no-such-picture"),
    ],
)
def test_trainings_are_checked(home: Home, wrong: dict[str, Any], code: str) -> None:
    jobs = home.jobs(start=False)
    asked: dict[str, Any] = {"picture_id": home.photo, "preset": "tiny", "name": "a", "seed": 1} | wrong
    with pytest.raises(Refused) as told:
        jobs.train(**asked)
    assert told.value.code == code
    assert "\n" not in str(told.value)
    assert jobs.list() == []


def test_a_photo_that_is_too_small_is_told_at_once(home: Home) -> None:
    jobs = home.jobs(start=False)
    small = home.pictures.add(drawn(10, 200))
    for ask in (lambda: jobs.train(small, "draft", "a"), lambda: jobs.forecasts(small)):
        with pytest.raises(PinxitError, match="the photo's shorter side is 10 px, expected 25 or more"):
            ask()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"model_id": "demo"}, "bad-field"),
        ({"model_id": "nobody"}, "no-such-model"),
        ({"model_id": "../runs/waves"}, "no-such-model"),
        ({"frames": 1}, "bad-field"),
        ({"frames": 16384 // 30 + 1}, "bad-field"),
        ({"frames": 10.0}, "bad-field"),
        ({"start_scale": 4}, "bad-field"),
        ({"start_scale": -1}, "bad-field"),
        ({"alpha": 1.1}, "bad-field"),
        ({"beta": float("nan")}, "bad-field"),
        ({"alpha": "0.1 --out=/etc/x.gif"}, "bad-field"),
        ({"seed": 1 << 32}, "bad-field"),
        ({"loop": 1}, "bad-field"),
        ({"fps": 51}, "bad-field"),
        ({"fps": 0}, "bad-field"),
        ({"fps": True}, "bad-field"),
        ({"fps": 0.1, "frames": 100}, "bad-field"),
    ],
)
def test_animations_are_checked(
    trained: tuple[Home, list[list[dict[str, Any]]]], wrong: dict[str, Any], code: str
) -> None:
    home, seen = trained
    jobs = home.opened[-1]
    before = jobs.list()
    with pytest.raises(Refused) as told:
        jobs.animate(**{"model_id": seen[-1][0]["model"]} | wrong)
    assert told.value.code == code
    assert jobs.list() == before


@pytest.mark.parametrize("id", [0, 2, -1, 1 << 70, "1", "../1", None, True])
def test_jobs_that_are_not_there(home: Home, id: Any) -> None:
    jobs = home.jobs(start=False)
    if id is True:
        jobs.train(home.photo, "tiny", "a")
    for verb in (jobs.get, jobs.cancel, jobs.resume, jobs.remove, jobs.preview, jobs.result, jobs.frames):
        with pytest.raises(Refused) as told:
            verb(id)
        assert told.value.status == 404


def test_numbers_are_not_used_again_where_the_file_was_lost(home: Home) -> None:
    assert home.jobs(start=False).train(home.photo, "tiny", "a")["id"] == 1
    (home.path / "studio.sqlite").unlink()
    assert home.jobs(start=False).train(home.photo, "tiny", "a")["id"] == 2


def test_what_is_run_has_no_option_but_ours(home: Home, child: Callable[[str], None]) -> None:
    """Every argument is a word of ours, or an option of ours with its value in the same argument."""
    child("import json, sys; print(json.dumps(sys.argv[1:]))")
    jobs = home.jobs()
    id = jobs.train(home.photo, "draft", "a b", 5)["id"]
    ended(jobs, id)
    run, photo = home.path / "runs" / "a b", home.path / "jobs" / str(id) / "photo.png"
    arguments = json.loads((photo.parent / "log.txt").read_text())
    assert arguments[:2] == ["train", "singan"]
    assert {"--preset=draft", f"--data={photo}", f"--out={run}", "--seed=5"} <= set(arguments[2:])
    assert "--resume" not in arguments
    assert all(a.startswith("--") for a in arguments[2:])
    with Image.open(photo) as image:
        assert np.array_equal(np.asarray(image), drawn())
    run.mkdir(parents=True)
    (run / "state.pt").write_bytes(b"")
    jobs.resume(id)
    ended(jobs, id)
    assert "--resume" in (photo.parent / "log.txt").read_text().splitlines()[-1]


@pytest.mark.parametrize("preset", PRESETS)
def test_shares_of_the_scales_are_those_of_the_training(preset: str) -> None:
    from pinxit.models.singan.pyramid import plan

    weights = module._weights(250, 188, preset)
    sizes = plan(250, 188, PRESETS[preset].network).sizes
    assert [steps for steps, _ in weights] == [PRESETS[preset].training.steps_at(*size) for size in sizes]
    assert all(weight > 0 for _, weight in weights)


def test_the_log_is_read_from_its_end_whatever_it_holds(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    assert module._last_line(log) is None
    whole = '{"stage": "s", "stage_number": 2, "step": 20}\n'
    for text, step in (
        (whole, 20),
        (whole * 10_000 + whole.replace("20", "30"), 30),
        (whole + '{"stage_number": 3, "st', 20),
        (whole + "{}\n[]\nnull\n{\n\n", 20),
        (whole + '{"stage_number": "x", "step": 1}\n', 20),
        ("no line", None),
        ("", None),
    ):
        log.write_text(text)
        last = module._last_line(log)
        assert (last and last["step"]) == step


def test_processes_are_known_by_the_place_they_write_to(tmp_path: Path) -> None:
    place = tmp_path / "runs" / "a b"
    code = "import time; time.sleep(600)"
    commands = [
        ["pinxit", "train", f"--out={place}"],
        ["pinxit", "train", f"--out={place} 2"],
        ["vi", f"--out={place}"],
    ]
    processes = [subprocess.Popen([sys.executable, "-S", "-c", code, *command]) for command in commands]
    try:
        wait(lambda: module._processes_writing([str(place), f"{place} 2"]) == {p.pid for p in processes[:2]})
        module._stop_orphans([str(place)])
        assert processes[0].wait(5) == -signal.SIGTERM
        assert [p.poll() for p in processes[1:]] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.wait()
