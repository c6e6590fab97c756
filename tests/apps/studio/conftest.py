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

from pinxit.models.ganintcls.config import PRESETS as GANINTCLS
from pinxit.models.ganintcls.recipe import GANINTCLSRecipe
from pinxit.models.gawwn.config import PRESETS as GAWWN
from pinxit.models.gawwn.recipe import GAWWNRecipe
from pinxit.models.photosketch.config import PRESETS as PHOTOSKETCH
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.singan.config import PRESETS, Data
from pinxit.models.singan.recipe import build
from pinxit.models.stackgan.config import PRESETS as STACKGAN
from pinxit.models.stackgan.recipe import StackGANRecipe
from pinxit.models.stylegan2.config import PRESETS as STYLEGAN2
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe
from pinxit.nn.norm import BatchNorm2d
from pinxit.text.training import Texts

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


@pytest.fixture(scope="session")
def illustrators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models of sentences, with random weights: the StackGANs `walls` of two stages and `rough` of one; a
    GAN-INT-CLS `words`; the GAWWNs `place` (by a box) and `points`; and two StackGANs whose text encoder is not here,
    `foreign` and `precomputed`."""
    folder = tmp_path_factory.mktemp("illustrators")
    torch.manual_seed(0)
    tiny = STACKGAN["tiny"]
    recipe = StackGANRecipe(tiny.network, tiny.training, Texts("built-in", tiny.network.text_dim))
    recipe.G1_ema, recipe.G2_ema = None, None
    # Fresh weights, and statistics that nothing was seen for, make pictures of one grey, which would agree however they
    # were made.
    with torch.no_grad():
        for part in (recipe.G1, recipe.G2):
            part.ca.fc.weight.mul_(50)
            part.image.weight.mul_(10)
            for norm in part.modules():
                if isinstance(norm, BatchNorm2d):
                    norm.momentum = 1.0
        text = torch.randn(16, tiny.network.text_dim)
        recipe.G2(recipe.G1(text, torch.randn(16, 4), torch.randn(16, 4))[0], text, torch.randn(16, 4))
    recipe.model_file().save(folder / "rough")
    recipe.reached = 2
    walls = recipe.model_file()
    card = {**walls.card, "sentences": "a red wall\n\na small blue house\n"}
    dataclasses.replace(walls, card=card).save(folder / "walls")
    weights = {name: x for name, x in walls.tensors.items() if not name.startswith("texts.")}
    for name, encoder in (("foreign", "sentence:none/of-this-machine"), ("precomputed", "precomputed")):
        config = {**walls.config, "text_encoder": encoder, "text_digest": "0" * 64, "text_pictures": False}
        dataclasses.replace(walls, config=config, tensors=weights).save(folder / name)
    tiny = GANINTCLS["tiny"]
    recipe = GANINTCLSRecipe(tiny.network, tiny.training, Texts("built-in", tiny.network.text_dim))
    for p in recipe.G.parameters():
        p.data.mul_(3)
    recipe.model_file().save(folder / "words")
    tiny = GAWWN["tiny"]
    for name, where in (("place", "box"), ("points", "points")):
        network = dataclasses.replace(tiny.network, where=where)
        recipe = GAWWNRecipe(network, tiny.training, Texts("built-in", network.text_dim))
        for p in recipe.G.parameters():
            p.data.mul_(3)
        recipe.model_file().save(folder / name)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, balloons: Path) -> Iterator[Served]:
    """One studio for all tests of a module, which leave it as they find it."""
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[balloons]) as served:
        yield served
