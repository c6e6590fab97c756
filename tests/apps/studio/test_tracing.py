"""A photo becomes a sketch, by a model of PhotoSketch or by the edge detector."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.apps.studio.making import MOST_PAINTED
from pinxit.data.edges import edges_of

from .conftest import Served, refused, serving
from .mixed_model import mixed_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    mixed_model(folder / "anything")
    mixed_model(folder / "words", ("text",))
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[models]) as served:
        yield served


@pytest.fixture
def photo() -> np.ndarray:
    y, x = np.mgrid[:96, :128]
    return np.stack([x * 2, 255 * ((x // 30 + y // 30) % 2), y * 2], -1).astype(np.uint8)


def sketch_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.mode == "L"
        return np.asarray(image).copy()


def test_edges_where_there_is_no_photosketch(studio: Served, photo: np.ndarray) -> None:
    request = {"picture": studio.upload(photo), "size": [48, 64], "client": "a"}
    answer = studio.post("/models/anything/photo-to-sketch", request)
    lines = sketch_of(answer)
    small = Image.fromarray(photo).resize((64, 48), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(lines, np.asarray(edges_of(small)))
    assert 20 < (lines == 0).sum() < lines.size / 4
    # It is what the model paints by.
    painted = studio.post("/models/anything/paint", {"sketch": answer.headers["x-pinxit-picture"], "client": "a"})
    assert painted.status_code == 200, painted.text


def test_a_model_of_photosketch_draws(models: Path, generators: Path, photo: np.ndarray, tmp_path: Path) -> None:
    with serving(tmp_path / "home", folders=[models, generators]) as studio:
        request = {"picture": studio.upload(photo), "size": [32, 32], "client": "a"}
        path = "/models/anything/photo-to-sketch"
        lines = sketch_of(studio.post(path, request))
        model: Any = pinxit.load(generators / "contours")
        small = Image.fromarray(photo).resize((32, 32), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(lines, np.asarray(model.draw(small)))
        np.testing.assert_array_equal(lines, sketch_of(studio.post(path, request | {"drawer": "contours"})))
        edges = sketch_of(studio.post(path, request | {"edges": True}))
        np.testing.assert_array_equal(edges, np.asarray(edges_of(small)))
        refused(studio.post(path, request | {"drawer": "contours", "edges": True}), 400, "refused")


def test_what_cannot_be_is_refused_in_one_line(studio: Served, photo: np.ndarray) -> None:
    request: dict[str, Any] = {"picture": studio.upload(photo), "size": [32, 32], "client": "a"}
    path = "/models/anything/photo-to-sketch"
    assert "demo" in refused(studio.post("/models/demo/photo-to-sketch", request), 400, "refused")
    assert "words" in refused(studio.post("/models/words/photo-to-sketch", request), 400, "refused")
    refused(studio.post("/models/none/photo-to-sketch", request), 404, "no-such-model")
    told = refused(studio.post(path, request | {"drawer": "demo"}), 400, "refused")
    assert told == "model demo is of method spade, expected one of PhotoSketch; choose one"
    refused(studio.post(path, request | {"drawer": "../x"}), 422, "bad-field")
    refused(studio.post(path, request | {"picture": "0" * 32}), 404, "no-such-picture")
    refused(studio.post(path, request | {"size": [2048, MOST_PAINTED // 2048 + 1]}), 413, "too-many-pixels")
    refused(studio.post(path, request | {"size": [32]}), 422, "bad-field")
    assert "photo-to-sketch" in str(studio.get("/openapi.json").json()["paths"].keys())
