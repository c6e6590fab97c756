"""Sentences to pictures through the API."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pinxit
from pinxit.apps.studio import server

from .conftest import API, Served, refused, serving


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, illustrators: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[illustrators]) as served:
        yield served


def asked(studio: Served, model: str, text: str, **more: Any) -> Any:
    return studio.post(f"/models/{model}/illustrate", {"client": "test", "text": text, **more})


def made(studio: Served, model: str, text: str, **more: Any) -> np.ndarray:
    answer = asked(studio, model, text, **more)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image).astype(int)


def test_models_of_sentences_are_listed(studio: Served) -> None:
    answer = studio.get("/models").json()
    server.Models.model_validate(answer)
    models = {model["id"]: model for model in answer["models"]}
    walls, place = models["walls"], models["place"]
    assert (walls["kind"], walls["size"], walls["stages"]) == ("sentence", [128, 128], [[64, 64], [128, 128]])
    assert (walls["inputs"]["text"], walls["box"]) == ("required", False)
    assert walls["sentences"] == ["a red wall", "a small blue house"]
    assert models["rough"]["stages"] == [[64, 64]]
    assert (models["words"]["kind"], models["words"]["size"]) == ("sentence", [64, 64])
    assert (place["kind"], place["box"]) == ("sentence", True)
    assert models["points"]["kind"] == "other"
    assert models["demo"]["stages"] is None


def test_pictures_are_the_model_s_own(studio: Served, illustrators: Path) -> None:
    model = pinxit.load(illustrators / "walls")
    for text, seed in (("a red wall", 3), ("a red wall", 4), ("赤い壁と🐶", 3), ("wall " * 200, 3)):
        assert np.array_equal(made(studio, "walls", text, seed=seed), model.sample(text, seed=seed)[0])
    rough = made(studio, "walls", "a red wall", seed=3, stage=1)
    assert np.array_equal(rough, model.sample("a red wall", seed=3, stage=1)[0])
    first, other = (made(studio, "walls", text, seed=3) for text in ("a red wall", "a small blue house"))
    assert np.abs(first - other).max() > 0
    for text in ("a red wall", "  a red\n wall "):
        assert np.array_equal(made(studio, "walls", text, seed=3), first)


@pytest.mark.parametrize("id", ["walls", "words", "place"])
def test_what_lies_between_two_sentences(studio: Served, illustrators: Path, id: str) -> None:
    a, b = "a red wall", "a large blue house of many rooms"
    way = pinxit.load(illustrators / id).interpolate(a, b, 3, seed=5)
    for at, picture in ((0, way[0]), (0.5, way[1]), (1, way[2])):
        # Convolutions of another batch size round otherwise.
        between = made(studio, id, a, seed=5, between={"text": b, "at": at})
        assert np.abs(between - np.asarray(picture)).max() <= 1
    assert np.abs(np.asarray(way[0], int) - np.asarray(way[2], int)).max() > 1


def test_between_stages(studio: Served, illustrators: Path) -> None:
    model = pinxit.load(illustrators / "walls")
    rough = made(studio, "walls", "a wall", seed=5, stage=1, between={"text": "a house", "at": 1})
    assert np.abs(rough - np.asarray(model.sample("a house", seed=5, stage=1)[0])).max() <= 1


def test_a_place(studio: Served, illustrators: Path) -> None:
    model, box = pinxit.load(illustrators / "place"), (0, 0, 0.3, 0.3)
    cornered = made(studio, "place", "a red bird", seed=2, box=list(box))
    assert np.array_equal(cornered, model.sample("a red bird", seed=2, box=box)[0])
    assert np.abs(cornered - made(studio, "place", "a red bird", seed=2)).max() > 1
    moved = made(studio, "place", "a red bird", seed=2, box=list(box), between={"text": "a blue bird", "at": 0})
    assert np.abs(moved - cornered).max() <= 1


def test_a_picture_is_kept_and_made_again(studio: Served) -> None:
    fields = {"text": "a red wall", "seed": 9, "stage": 1, "between": {"text": "a house", "at": 0.25}, "box": None}
    answer = studio.post("/models/walls/illustrate", {"client": "a", **fields})
    entry = studio.post("/gallery", {"picture": answer.headers["X-Pinxit-Picture"]}).json()
    assert entry["recipe"] == {"kind": "illustrate", "model": "walls", **fields}
    again = studio.post(f"/gallery/{entry['id']}/again", {"client": "a"})
    assert again.headers["X-Pinxit-Same"] == "true"


@pytest.mark.parametrize(
    ("model", "fields", "status", "told"),
    [
        ("walls", {"text": ""}, 400, "the sentence is empty, expected at least a word"),
        ("walls", {"text": " \n\u200b"}, 400, "the sentence is empty"),
        ("walls", {"between": {"text": " ", "at": 0.5}}, 400, "the sentence is empty"),
        ("walls", {"text": "x" * 1001}, 422, "text is"),
        ("walls", {"text": 3}, 422, "text is 3"),
        ("walls", {"seed": -1}, 422, "seed is -1"),
        ("walls", {"stage": 3}, 422, "stage is 3"),
        ("walls", {"between": {"text": "a house", "at": 1.5}}, 422, "between.at is 1.5"),
        ("walls", {"box": [0, 0, 1, 1]}, 400, "box is given, expected none: model walls takes no place"),
        ("rough", {"stage": 2}, 400, "stage is 2, expected 1, the only one"),
        ("words", {"stage": 1}, 400, "stage is 1, expected none: model words has no stages"),
        ("place", {"box": [0.5, 0.5, 0.8, 0.1]}, 400, "box is 0.5, 0.5, 0.8, 0.1"),
        ("place", {"box": [0, 0, 1]}, 422, "box is of another form"),
        ("points", {}, 400, "model points is without illustrate"),
        ("demo", {}, 400, "model demo is without illustrate"),
        ("foreign", {}, 400, "text encoder 'sentence:none/of-this-machine'"),
        ("precomputed", {}, 400, "model precomputed is trained on precomputed embeddings"),
    ],
)
def test_what_is_refused(studio: Served, model: str, fields: dict[str, Any], status: int, told: str) -> None:
    answer = asked(studio, model, **{"text": "a red wall", **fields})
    assert told in refused(answer, status, "bad-field" if status == 422 else "refused")


def test_half_of_a_letter_is_refused_or_painted(studio: Served) -> None:
    content = b'{"client": "a", "text": "a \\ud83d wall"}'
    answer = studio.client.post(
        f"{API}/models/walls/illustrate", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (200, 422)
    assert studio.well()


def test_it_is_documented(studio: Served) -> None:
    document = studio.client.get(f"{API}/openapi.json").json()
    told = document["paths"][f"{API}/models/{{id}}/illustrate"]["post"]
    assert told["responses"]["200"]["content"].keys() == {"image/png"}
    form = document["components"]["schemas"]["Illustrate"]
    assert form["required"] == ["client", "text"]
    # Other people's programs stand on these.
    assert form["properties"].keys() == {"client", "text", "seed", "stage", "between", "box"}
