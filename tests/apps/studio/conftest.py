"""A studio behind a real server on a free port of this machine, and small models for it."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.models.photosketch.config import PRESETS as PHOTOSKETCH
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.singan.config import PRESETS, Data
from pinxit.models.singan.recipe import build
from pinxit.models.stylegan2.config import PRESETS as STYLEGAN2
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe

httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

from pinxit.apps.cli.studio import listening  # noqa: E402 - what these import may be missing
from pinxit.apps.studio.server import Studio, create_app, open_studio  # noqa: E402

API = "/api/v1"
Serve = Callable[..., Any]


@dataclass
class Served:
    """A studio, where it is, and a client of it."""

    studio: Studio
    home: Path
    port: int
    client: Any

    def get(self, path: str, **more: Any) -> Any:
        return self.client.get(API + path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> Any:
        return self.client.post(API + path, json=json, **more)

    def upload(self, data: bytes | np.ndarray, what: str = "photo") -> str:
        """The id of a picture that must be taken."""
        answer = self.client.post(f"{API}/pictures?as={what}", content=data if isinstance(data, bytes) else png(data))
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def street(self) -> str:
        """The id of a small map for the model `demo`."""
        map = np.zeros((32, 32), np.uint8)
        map[16:] = 3
        return self.upload(map, "map")

    def well(self) -> bool:
        return self.get("/status").status_code == 200


def png(array: np.ndarray, kind: str = "PNG") -> bytes:
    """The file of a picture."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def refused(answer: Any, status: int, code: str) -> str:
    """Assert that a request was refused so; -> the message, which is one line."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code, error
    assert error["message"]
    assert "\n" not in error["message"]
    return error["message"]


@contextmanager
def serving(home: Path, **options: Any) -> Iterator[Served]:
    """`options`: of `open_studio`, and fields of `Studio`, to be set before it is served."""
    fields = {name: options.pop(name) for name in ("most_bytes", "body_seconds") if name in options}
    studio = open_studio(home, **options)
    for name, value in fields.items():
        setattr(studio, name, value)
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        create_app(studio), http="h11", ws="none", lifespan="on", log_level="warning", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    headers = {"Authorization": f"Bearer {studio.token}"} if studio.token else {}
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers=headers, trust_env=False) as client:
            yield Served(studio, home, port, client)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="session")
def balloons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `balloons`, a model of one photo of six scales up to 30x40, after a few steps of training each."""
    home = tmp_path_factory.mktemp("models")
    y, x = np.mgrid[:48, :64]
    Image.fromarray(np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)).save(home / "photo.png")
    tiny = PRESETS["tiny"]
    network = dataclasses.replace(tiny.network, scale_factor=0.85)
    recipe = build(dataclasses.replace(tiny, data=Data(home / "photo.png"), network=network)).train()
    for stage in recipe.stages():
        for i, batch in enumerate(stage.batches(0)):
            stage.step(batch, i)
    recipe.model_file().save(home / "balloons")
    return home


@pytest.fixture(scope="session")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `shapes`, a StyleGAN2, and `contours`, a PhotoSketch: of 32 px, with random weights."""
    folder = tmp_path_factory.mktemp("generators")
    torch.manual_seed(0)
    tiny = STYLEGAN2["tiny"]
    StyleGAN2Recipe(tiny.network, tiny.training).model_file().save(folder / "shapes")
    tiny = PHOTOSKETCH["tiny"]
    PhotoSketchRecipe(tiny.network, tiny.training).model_file().save(folder / "contours")
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, balloons: Path) -> Iterator[Served]:
    """One studio for all tests of a module, which leave it as they find it."""
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[balloons]) as served:
        yield served
