"""A photo becomes a map by a segmenter among the models, where its labels are those of the model that paints."""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.apps.studio import segmenting, server
from pinxit.apps.studio.making import MOST_PAINTED
from pinxit.data.labels import Label, LabelSet, load_label_set, numbered
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import PRESETS
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.models.spade.config import Network as SpadeNetwork
from pinxit.models.spade.network import Generator

from .conftest import Served, refused, serving

CAMVID = load_label_set("camvid")
LETTERS = LabelSet("letters", tuple(Label(9 - i, name, None, "letters") for i, name in enumerate("ABC")))
"""A set without 'unknown', with ids in another order than the channels."""


def deeplab(folder: Path, labels: LabelSet, bias: int | None = None) -> Path:
    """A tiny DeepLabV3 with random weights; `bias`: the label that it finds everywhere."""
    network = dataclasses.replace(PRESETS["tiny"].network, labels=len(labels.labels))
    torch.manual_seed(0)
    model = DeepLabV3(network)
    if bias is not None:
        model.classifier[4].bias.data[bias] += 1e6  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportAttributeAccessIssue, reportOptionalSubscript]
    tensors = {f"S.{name}": value for name, value in model.state_dict().items()}
    card = {"name": folder.name.title(), "licence": "own"}
    ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels.to_json(), card).save(folder)
    return folder


def spade(folder: Path, labels: LabelSet) -> Path:
    network = SpadeNetwork(
        labels=len(labels.labels), unknown=bool(labels.ignore), size=(32, 64), width=2, hidden=4, vae=True, z_dim=5
    )
    tensors = {f"G.{name}": value for name, value in Generator(network).state_dict().items()}
    ModelFile("spade", dataclasses.asdict(network), tensors, labels.to_json(), {}).save(folder)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    deeplab(models / "seer", CAMVID)
    # As CamVid's, but written otherwise, in another order, with a class more and other ids.
    upper = [Label(200 - i, label.name.upper(), None, "x") for i, label in enumerate(CAMVID.labels)]
    labels = (Label(3, "a dog", None, "x"), *upper)
    deeplab(models / "trees", LabelSet("other", labels), bias=1 + CAMVID.index("Tree"))
    deeplab(models / "dogs", LabelSet("other", labels), bias=0)
    deeplab(models / "few", numbered(3))
    deeplab(models / "letters", LETTERS, bias=1)
    deeplab(models / "more", LabelSet("more", (*LETTERS.labels, Label(20, "D", None, "letters"))))
    spade(models / "spelling", LETTERS)
    return models


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[home]) as served:
        yield served


def map_of(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        assert image.mode == "L"
        return np.asarray(image).copy()


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


def test_segmenters_are_listed_and_paint_nothing(served: Served, photo: np.ndarray) -> None:
    models = {model["id"]: model for model in served.get("/models").json()["models"]}
    server.Models.model_validate(served.get("/models").json())
    seer = models["seer"]
    assert (seer["kind"], seer["method"], seer["name"]) == ("segmenter", "deeplabv3", "Seer")
    assert seer["card"]["licence"] == "own"
    assert [label["name"] for label in seer["label_set"]["labels"]] == [label.name for label in CAMVID.labels]
    assert [name for name, use in seer["inputs"].items() if use != "no"] == ["picture"]
    map, picture = served.street(), served.upload(photo)
    refused(served.post("/models/seer/paint", {"map": map, "client": "a"}), 400, "no-maps")
    refused(served.post("/models/seer/translate", {"picture": picture, "client": "a"}), 400, "refused")
    assert served.get("/models/seer/layouts").json() == []


def test_what_fits_a_model_is_told_and_why_the_rest_does_not(served: Served) -> None:
    told = served.get("/models/demo/segmenters").json()
    server.Segmenters.model_validate(told)
    assert [each["id"] for each in told["segmenters"]] == ["dogs", "seer", "trees"]
    unfit = {each["id"]: each for each in told["unfit"]}
    assert unfit.keys() == {"few", "letters", "more"}
    assert unfit["few"] == {
        "id": "few", "name": "Few", "missing": [label.name for label in CAMVID.labels], "foreign": [],
    }  # fmt: skip
    spelling = served.get("/models/spelling/segmenters").json()
    assert [each["id"] for each in spelling["segmenters"]] == ["letters"]
    # Without 'unknown' there is nothing that a D could become.
    assert {each["id"]: each["foreign"] for each in spelling["unfit"]}["more"] == ["D"]
    refused(served.get("/models/fruits/segmenters"), 400, "refused")
    refused(served.get("/models/none/segmenters"), 404, "no-such-model")


def test_a_photo_becomes_a_map_that_the_model_paints(served: Served, photo: np.ndarray) -> None:
    request = {"picture": served.upload(photo), "size": [48, 64], "segmenter": "seer", "client": "a"}
    answer = served.post("/models/demo/photo-to-map", request)
    map = map_of(answer)
    assert map.shape == (48, 64)
    model = served.studio.catalog.model("seer")
    found = model.segment(Image.fromarray(photo))  # which has twice the map's size
    assert len(np.unique(found)) > 1
    np.testing.assert_array_equal(map, segmenting.most_frequent(found, 2))
    picture = answer.headers["x-pinxit-picture"]
    assert served.post("/models/demo/paint", {"map": picture, "client": "a"}).status_code == 200
    assert float(answer.headers["x-pinxit-seconds"]) > 0


def test_classes_become_the_models_own_ids(served: Served, photo: np.ndarray) -> None:
    request = {"picture": served.upload(photo), "size": [33, 47], "client": "a"}
    tree = map_of(served.post("/models/demo/photo-to-map", request | {"segmenter": "trees"}))
    assert tree.shape == (33, 47)
    assert np.unique(tree).tolist() == [CAMVID.labels[CAMVID.index("Tree")].id]
    # What the model has no label for is unknown to it.
    dog = map_of(served.post("/models/demo/photo-to-map", request | {"segmenter": "dogs"}))
    assert np.unique(dog).tolist() == list(CAMVID.ignore)
    # The first that fits, where none is named.
    assert np.unique(map_of(served.post("/models/spelling/photo-to-map", request))).tolist() == [LETTERS.labels[1].id]


def test_what_cannot_be_is_refused_in_one_line(served: Served, photo: np.ndarray, tmp_path: Path) -> None:
    picture = served.upload(photo)
    request: dict[str, Any] = {"picture": picture, "size": [32, 32], "client": "a"}
    path = "/models/demo/photo-to-map"
    told = refused(served.post(path, request | {"segmenter": "few"}), 400, "refused")
    assert told == (
        "segmenter few is without 'Sky', expected of the labels of demo; choose one that was trained on them"
    )
    told = refused(served.post("/models/spelling/photo-to-map", request | {"segmenter": "more"}), 400, "refused")
    assert "with 'D', which spelling does not know" in told
    refused(served.post(path, request | {"segmenter": "demo"}), 400, "refused")
    refused(served.post(path, request | {"segmenter": "none"}), 404, "no-such-model")
    refused(served.post(path, request | {"segmenter": "../seer"}), 422, "bad-field")
    refused(served.post(path, request | {"picture": "0" * 32}), 404, "no-such-picture")
    refused(served.post(path, request | {"size": [2048, MOST_PAINTED // 2048 + 1]}), 413, "too-many-pixels")
    for size in ([32], [32, 0], [32, 1.5], "32"):
        refused(served.post(path, request | {"size": size}), 422, "bad-field")
    refused(served.post("/models/fruits/photo-to-map", request), 400, "refused")
    with serving(tmp_path / "home") as bare:
        assert bare.get("/models/demo/segmenters").json() == {"segmenters": [], "unfit": []}
        refused(bare.post(path, request | {"picture": bare.upload(photo)}), 409, "no-segmenter")


def test_one_segmenter_stays_open_and_the_painting_thread_runs_it(
    served: Served, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str]] = []
    real = segmenting.opened

    def opened(entry: Any, device: str) -> Any:
        made.append((entry.id, threading.current_thread().name))
        return real(entry, device)

    monkeypatch.setattr(segmenting, "opened", opened)
    monkeypatch.setattr(served.studio.segmenting, "_open", None)
    request = {"picture": served.upload(photo), "size": [32, 32], "client": "a"}
    for id in ("seer", "seer", "trees", "seer"):
        assert served.post("/models/demo/photo-to-map", request | {"segmenter": id}).status_code == 200
    assert made == [(id, "pinxit-renders") for id in ("seer", "trees", "seer")]


def test_a_damaged_segmenter_is_refused_and_another_serves(tmp_path: Path, photo: np.ndarray) -> None:
    models = tmp_path / "models"
    deeplab(models / "good", CAMVID)
    file = deeplab(models / "bad", CAMVID) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with serving(tmp_path / "home", folders=[models]) as served:
        request = {"picture": served.upload(photo), "size": [32, 32], "client": "a"}
        told = refused(served.post("/models/demo/photo-to-map", request | {"segmenter": "bad"}), 400, "broken-model")
        assert str(tmp_path) not in told
        assert served.post("/models/demo/photo-to-map", request | {"segmenter": "good"}).status_code == 200


def test_the_most_frequent_index_of_each_square() -> None:
    map = np.array([[0, 1, 5, 5], [1, 1, 5, 2], [3, 3, 7, 7], [2, 2, 7, 7]])
    assert segmenting.most_frequent(map, 2).tolist() == [[1, 5], [2, 7]]
    assert segmenting.most_frequent(map, 1) is map
    random = np.random.default_rng(0).integers(0, 4, (9, 12))
    for (y, x), found in np.ndenumerate(segmenting.most_frequent(random, 3)):
        assert found == np.bincount(random[3 * y : 3 * y + 3, 3 * x : 3 * x + 3].ravel()).argmax()


@pytest.mark.parametrize(
    ("has", "wanted", "finer"),
    [((96, 128), (48, 64), 2), ((95, 128), (48, 64), 1), ((10, 10), (48, 64), 1), ((4000, 4000), (100, 100), 4),
     ((4000, 4000), (512, 512), 2), ((4000, 4000), (1024, 1024), 1)],
)  # fmt: skip
def test_a_photo_is_looked_at_no_finer_than_it_is(has: tuple[int, int], wanted: tuple[int, int], finer: int) -> None:
    assert segmenting._finer(has, wanted) == finer
