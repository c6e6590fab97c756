"""Model files and checkpoints: whole or not at all, and every bad one told in one line."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import pinxit
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read, replacing

TENSORS = {"G.a": torch.arange(6.0).reshape(2, 3), "E.b": torch.tensor([1, 2])}


def file(**changes) -> ModelFile:
    made = {
        "method": "spade",
        "config": {"labels": 3, "size": [64, 64], "vae": True},
        "tensors": TENSORS,
        "label_set": {"name": "x", "labels": []},
        "card": {"source": "drawn by hand", "licence": "CC0 – frei"},
    }
    return ModelFile(**{**made, **changes})


@pytest.mark.parametrize("by", ["folder", "file"])
def test_round_trip(tmp_path: Path, by: str) -> None:
    path = file().save(tmp_path / "new" / "model")
    back = read(path if by == "file" else path.parent)
    assert (back.method, back.config, back.label_set, back.card) == (
        file().method,
        file().config,
        file().label_set,
        file().card,
    )
    assert back.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(back.tensors[k], v) and back.tensors[k].dtype == v.dtype for k, v in TENSORS.items())


def test_what_is_absent_stays_absent(tmp_path: Path) -> None:
    back = read(file(label_set=None, card={}).save(tmp_path))
    assert back.label_set is None
    assert back.card == {}


def test_config_json_is_for_people(tmp_path: Path) -> None:
    file().save(tmp_path)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"method": "spade", "config": file().config, "card": file().card}
    assert text.count("\n") > 5  # indented


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_others_can_read_what_is_meant_for_sharing(tmp_path: Path) -> None:
    mask = os.umask(0o022)
    try:
        path = file().save(tmp_path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_missing_model_or_a_folder_without_one(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^model '.*nowhere' is not there, expected a model folder or file; .*$"):
        read(tmp_path / "nowhere")
    with pytest.raises(PinxitError, match=r"^model '.*' is a folder without model.safetensors, expected .*$"):
        read(tmp_path)


def test_files_that_are_no_models_of_pinxits(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for metadata in (None, {"format": "pt"}, {"format": "99", "method": "spade"}, {"format": "1"}):
        save_file(TENSORS, path, metadata=metadata)
        with pytest.raises(PinxitError, match=r"^model '.*' is of format .*, expected format 1 of Pinxit; .*$"):
            read(path)
    whole = file().save(tmp_path).read_bytes()
    for damaged in (b"", whole[:5], whole[:200], whole[:-3], b"\xff" * 400, b"<html>404</html>"):
        path.write_bytes(damaged)
        with pytest.raises(PinxitError, match=r"^model '.*' is unreadable \(.*\), expected a safetensors file; .*$"):
            read(path)


def test_a_method_of_a_later_version_is_named(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^method of model '.*' is 'spode', .*did you mean 'spade'\?$"):
        pinxit.load(file(method="spode").save(tmp_path))


class Amid(Exception):
    pass


def test_replacing_keeps_the_older_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "x.txt"
    target.write_text("old")
    with pytest.raises(Amid), replacing(target) as temporary:
        temporary.write_text("half")
        raise Amid
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.txt"]


def test_replacing_takes_the_folders_it_made_with_it(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "old/new/newer/x.txt"):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with pytest.raises(ZeroDivisionError), replacing(tmp_path / "old/new/newer/x.txt"):
        (tmp_path / "old/new/another").touch()
        raise ZeroDivisionError
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["another", "new", "old"]


def test_replacing_shows_the_new_file_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.txt"
    with replacing(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["x.txt"]


def test_a_refusal_is_one_line_also_where_torch_has_wrapped_it(tmp_path: Path) -> None:
    def refuse() -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos") from None

    for raised in (refuse, lambda: (_ for _ in ()).throw(OSError(28, "No space left on device"))):
        with (
            pytest.raises(
                PinxitError, match=r"x.txt' is not saved \(No space left on device\), .*nothing was written$"
            ),
            replacing(tmp_path / "x.txt") as temporary,
        ):
            temporary.write_text("half")
            raised()
    assert list(tmp_path.iterdir()) == []


# Saves a model and a checkpoint, then larger ones where they do not fit, then says what is there.
FILL = """
import sys
from pathlib import Path
import torch
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.recipe import Recipe
from pinxit.training import checkpoint

out, limit = Path(sys.argv[1]), int(sys.argv[2])

class One(Recipe):
    def __init__(self, n):
        super().__init__()
        self.weight, self.optimizers = torch.nn.Parameter(torch.ones(n)), {}

def save(n):
    for what in (
        lambda: ModelFile("spade", {}, {"G.a": torch.ones(n)}).save(out),
        lambda: checkpoint.save(out, One(n), checkpoint.Position(0, n), {}),
    ):
        try:
            what()
            print("saved")
        except PinxitError as error:
            print(error)

save(10)
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
save(500_000)
assert len(read(out).tensors["G.a"]) == 10
state = checkpoint.read(out, {})
checkpoint.restore(state, One(10))
assert state["step"] == 10
print(*sorted(p.name for p in out.iterdir()))
"""


def fill(folder: Path, limit: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(folder), str(limit)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check_refusals(lines: list[str], reason: str) -> None:
    assert lines[:2] == ["saved", "saved"]
    for line, name in zip(lines[2:4], ("model.safetensors", "state.pt"), strict=True):
        assert f"{name}' is not saved ({reason}), expected room on the disk" in line
        assert line.endswith("the older file is untouched")
    assert lines[4] == "config.json model.safetensors state.pt"
    assert len(lines) == 5


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_file_that_may_not_grow_leaves_the_older_ones_whole(tmp_path: Path) -> None:
    check_refusals(fill(tmp_path, 100_000), "File too large")


def test_a_full_disk_leaves_the_older_ones_whole(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs Linux and root, to mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        check_refusals(fill(disk, 0), "No space left on device")
    finally:
        subprocess.run(["umount", disk], check=True)


def test_broken_metadata_is_told_in_one_line(tmp_path: Path) -> None:
    save_file(
        {"G.x": torch.zeros(1)}, tmp_path / "model.safetensors", {"format": "1", "method": "spade", "config": "{"}
    )
    with pytest.raises(
        PinxitError, match=r"^model '.*' is damaged in its metadata .*, expected a whole file; copy it again$"
    ):
        read(tmp_path)
