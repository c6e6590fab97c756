"""The command line in this process, a small data set with a label set of its own, and random models for it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pinxit as pinxit_package
from pinxit.apps.cli.main import main
from pinxit.data.labels import LabelSet
from pinxit.modelfile import ModelFile
from pinxit.models.spade.config import PRESETS, Network
from pinxit.models.spade.network import Encoder, Generator
from pinxit.recipe import state_on_cpu

SHARED = Path(__file__).parents[3].parent / "shared"

LABELS = {
    "name": "garden",
    "ignore": [255],
    "labels": [
        {"id": 0, "name": "sky", "color": [100, 150, 250]},
        {"id": 1, "name": "lawn", "color": [90, 160, 60]},
        {"id": 2, "name": "path", "color": [180, 170, 150]},
    ],
}

TINY = dataclasses.replace(PRESETS["tiny"].network, labels=3, unknown=True)


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit status and what it printed."""

    status: int
    out: str
    err: str


Pinxit = Callable[..., Ran]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from more threads, and lose much where something else keeps the cores busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pinxit(capsys: pytest.CaptureFixture[str]) -> Pinxit:
    """`pinxit("paint", model, …)`: the command line in this process."""

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        status: object = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code or 0
        assert isinstance(status, int)
        printed = capsys.readouterr()
        return Ran(status, printed.out, printed.err)

    return run


def in_a_process(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in a process of its own, with the Pinxit that is tested whatever the current folder is."""
    sources = str(Path(pinxit_package.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": sources, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def pack() -> Callable[[str], Path]:
    """`pack(name)`: the folder of a real sample; skips where it is not."""

    def find(name: str) -> Path:
        folder = SHARED / "data" / name
        if not folder.is_dir():
            pytest.skip(f"no sample data: {folder} is missing")
        return folder

    return find


def garden_map(height: int = 48, width: int = 64) -> np.ndarray:
    """Sky over lawn with a path, and a corner of 'unknown': file ids, uint8."""
    ids = np.zeros((height, width), np.uint8)
    ids[height // 2 :] = 1
    ids[height * 3 // 4 :, width // 3 : width // 2] = 2
    ids[: height // 8, : width // 8] = 255
    return ids


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the folders of all tests start from: the set, its labels and the models. Nobody writes here."""
    home = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    (home / "garden.json").write_text(json.dumps(LABELS), encoding="utf-8")
    for split, number in (("train", 4), ("val", 2)):
        for part in ("label", "img"):
            (home / "garden" / f"{split}_{part}").mkdir(parents=True)
        for i in range(number):
            Image.fromarray(garden_map()).save(home / "garden" / f"{split}_label" / f"{i:04d}.png")
            photo = random.integers(0, 256, (48, 64, 3), np.uint8)
            Image.fromarray(photo).save(home / "garden" / f"{split}_img" / f"{i:04d}.png")
    save_model(home / "model", TINY)
    save_model(home / "stylish_without_encoder", TINY, encoder=False)
    save_model(home / "plain", dataclasses.replace(TINY, vae=False))
    save_model(home / "bounded", dataclasses.replace(TINY, vae=False, instances=True))
    return home


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, which is also the current one: garden/, garden.json, model/, plain/, …"""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save_model(folder: Path, network: Network, labels: LabelSet | None = None, *, encoder: bool = True) -> Path:
    """A model of random weights whose pictures are not flat and hang on map and style."""
    torch.manual_seed(0)
    parts: dict[str, torch.nn.Module] = {"G": Generator(network)}
    if network.vae and encoder:
        parts["E"] = Encoder(network)
    tensors = {f"{name}.{k}": v for name, part in parts.items() for k, v in state_on_cpu(part.state_dict()).items()}
    labels = labels or LabelSet.from_json(LABELS)
    if not network.unknown:
        labels = dataclasses.replace(labels, ignore=())
    card = {"data": "none: random weights", "licence": "none", "steps": "0"}
    return ModelFile("spade", dataclasses.asdict(network), tensors, labels.to_json(), card).save(folder)


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
