"""Models that paint by any of a map, a sketch, a sentence and a style picture, through the API."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

import pinxit
from pinxit.apps.studio import server
from pinxit.apps.studio.session import Session
from pinxit.models.poegan.config import MODALITIES

from .conftest import Served, refused, serving
from .mixed_model import CAMVID, mixed_model

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def street(height: int = 48, width: int = 48) -> np.ndarray:
    """Indices, which are ids in CamVid's files, too."""
    map = np.zeros((height, width), np.uint8)
    map[height // 2 :] = 3
    map[:, : width // 3] = 1
    return map


def drawn(height: int = 48, width: int = 48) -> np.ndarray:
    page = Image.new("L", (width, height), 255)
    ImageDraw.Draw(page).ellipse((8, 8, width - 9, height - 9), outline=0, width=3)
    return np.asarray(page)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    mixed_model(folder / "anything")
    mixed_model(folder / "words", ("text", "style"))
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[models]) as served:
        yield served


@pytest.fixture(scope="module")
def parts(studio: Served) -> dict[str, Any]:
    return {
        "map": studio.upload(street(), "map"),
        "sketch": studio.upload(drawn(), "sketch"),
        "text": "A street with a tree, in the evening.",
        "style": {"picture": studio.upload(PHOTO)},
    }


def paint(studio: Served, model: str = "anything", **asked: Any) -> Any:
    return studio.post(f"/models/{model}/paint", {"client": "a", **asked})


def id_of(answer: Any) -> str:
    """Of the picture that must have been made: equal where each pixel is."""
    assert answer.status_code == 200, answer.text
    return answer.headers["x-pinxit-picture"]


def pixels(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image).astype(int)


def test_such_models_are_listed_with_what_they_take(studio: Served) -> None:
    listed = studio.get("/models").json()
    server.Models.model_validate(listed)
    found = {model["id"]: model for model in listed["models"]}
    anything, words = found["anything"], found["words"]
    assert (anything["kind"], anything["method"], anything["size"]) == ("mixed", "poegan", [32, 32])
    assert {name: anything["inputs"][name] for name in MODALITIES} == dict.fromkeys(MODALITIES, "optional")
    assert [label["name"] for label in anything["label_set"]["labels"]] == [label.name for label in CAMVID.labels]
    assert words["label_set"] is None
    assert [words["inputs"][name] for name in MODALITIES] == ["no", "no", "optional", "optional"]
    assert len(studio.get("/models/anything/layouts").json()) > 0
    assert studio.get("/models/words/layouts").json() == []


def test_every_subset_gives_a_picture_of_its_own_which_is_the_models(
    studio: Served, parts: dict[str, Any], models: Path
) -> None:
    model: Any = pinxit.load(models / "anything")
    arguments = {
        "map": street().astype(np.int64),
        "sketch": Image.fromarray(drawn()),
        "text": parts["text"],
        "style": Image.fromarray(PHOTO),
    }
    found = set()
    for count in range(5):
        for some in combinations(MODALITIES, count):
            answer = paint(studio, **{name: parts[name] for name in some})
            found.add(id_of(answer))
            plain = model.paint(**{name: arguments[name] for name in some}, seed=0)[0]
            # Several rows are painted together by others, which may round otherwise.
            assert abs(pixels(answer) - np.asarray(plain).astype(int)).max() <= 1
    assert len(found) == 16


def test_what_is_switched_off_has_no_influence(studio: Served, parts: dict[str, Any]) -> None:
    for count in range(5):
        for some in combinations(MODALITIES, count):
            given = id_of(paint(studio, **{name: parts[name] for name in some}))
            assert id_of(paint(studio, **parts, use=list(some))) == given
    other = {**parts, "sketch": studio.upload(drawn()[::-1, ::-1].copy() // 2, "sketch"), "text": "Something else."}
    use = ["map", "style"]
    assert id_of(paint(studio, **other, use=use)) == id_of(paint(studio, **parts, use=use))
    assert id_of(paint(studio, **other)) != id_of(paint(studio, **parts))


def test_seeds_are_chance_and_styles_lie_between(studio: Served, parts: dict[str, Any]) -> None:
    def styled(style: Any) -> str:
        return id_of(paint(studio, map=parts["map"], style=style))

    seeds = [{"seed": 0}, {"seed": 7}]
    assert styled(None) == styled(seeds[0]) != styled(seeds[1])
    for first, last in pairwise([*seeds, parts["style"], {"picture": studio.upload(PHOTO[:, ::-1].copy() // 2)}]):
        middle = styled({"between": [first, last], "at": 0.5})
        assert middle not in (styled(first), styled(last))
        assert styled({"between": [first, last], "at": 0.25}) not in (styled(first), middle)
    # Far apart and deep: what was computed for one of them must not be forgotten before it is used.
    deep: Any = parts["style"]
    for seed in range(4):
        deep = {"between": [deep, {"between": [parts["style"], {"seed": seed}], "at": 0.5}], "at": 0.5}
        if seed == 1:
            break
    first = styled(deep)
    for seed in range(12):
        styled({"between": [parts["style"], {"seed": seed}], "at": 0.3})
    assert styled(deep) == first


@pytest.mark.parametrize("text", ["道路と木", "🌳🚗", "x" * 1000, "a\tb\n c", "é", "\u200bstreet"])
def test_any_sentence_is_a_text(studio: Served, text: str) -> None:
    assert id_of(paint(studio, text=text)) != id_of(paint(studio))
    assert id_of(paint(studio, text=text)) == id_of(paint(studio, text=text))


def test_an_empty_text_is_none(studio: Served) -> None:
    nothing = id_of(paint(studio))
    for text in ("", "  ", "\n\t"):
        assert id_of(paint(studio, text=text)) == nothing
    told = refused(paint(studio, text="\u200b"), 400, "refused")
    assert "sentence is empty" in told
    refused(paint(studio, text="x" * 1001), 422, "bad-field")


def test_what_cannot_be_is_refused_in_one_line(studio: Served, parts: dict[str, Any], tmp_path: Path) -> None:
    told = refused(paint(studio, "words", map=parts["map"]), 400, "refused")
    assert told == "map is given, expected none: model words takes no map; switch it off"
    refused(paint(studio, "words", sketch=parts["sketch"]), 400, "refused")
    small = studio.upload(drawn(32, 32), "sketch")
    told = refused(paint(studio, map=parts["map"], sketch=small), 400, "refused")
    assert told.startswith("size of the sketch is 32x32, expected 48x48")
    blank = studio.upload(np.full((48, 48), 255, np.uint8), "sketch")
    assert "blank" in refused(paint(studio, sketch=blank), 400, "refused")
    refused(paint(studio, map=studio.upload(np.full((48, 48), 77, np.uint8), "map")), 400, "refused")
    refused(paint(studio, sketch="0" * 32), 404, "no-such-picture")
    refused(paint(studio, use=["picture"]), 422, "bad-field")
    refused(paint(studio, "demo", sketch=parts["sketch"], map=parts["map"]), 400, "refused")
    assert "map is missing" in refused(paint(studio, "demo", map=parts["map"], use=["style"]), 400, "refused")
    mixed_model(tmp_path / "plain", ("map",))
    with serving(tmp_path / "home", folders=[tmp_path / "plain"]) as bare:
        picture = bare.upload(PHOTO)
        told = refused(paint(bare, "plain", style={"picture": picture}), 400, "refused")
        assert "style" in told
        assert id_of(paint(bare, "plain", style={"seed": 3})) != id_of(paint(bare, "plain"))


def test_it_is_made_again_from_the_gallery(studio: Served, parts: dict[str, Any]) -> None:
    kept = studio.post("/gallery", {"picture": id_of(paint(studio, **parts, use=["sketch", "text", "style"]))}).json()
    assert kept["recipe"]["text"] == parts["text"]
    answer = studio.post(f"/gallery/{kept['id']}/again", {"client": "b"})
    assert id_of(answer) == kept["picture"]
    assert answer.headers["x-pinxit-same"] == "true"
    home = studio.home / "pictures"
    assert all((home / f"{id}.png").is_file() for id in (parts["map"], parts["sketch"], parts["style"]["picture"]))
    # As an earlier version kept it.
    old = {"kind": "paint", "model": "demo", "map": "0" * 32, "sketch": None, "text": None, "style": {"seed": 1}}
    assert server._checked(old, "b")["use"] is None


def test_a_stroke_has_the_rest_computed_once(models: Path) -> None:
    model: Any = pinxit.load(models / "anything")
    session = Session(model, lambda id: PHOTO)
    calls: list[str] = []
    for name in ("map", "sketch", "style"):
        encoder = model.G.encoders[name].encoder
        encoder.register_forward_hook(lambda *_, name=name: calls.append(name))
    for step in range(3):
        map = street().astype(np.int64)
        map[step] = 5
        canvas = session.set_canvas(map, sketch=drawn(), text="a street")
        for style in ({"picture": "photo"}, {"seed": 1}, {"between": [{"picture": "photo"}, {"seed": 1}], "at": 0.5}):
            session.paint(canvas, style)
    assert sorted(calls) == ["map", "map", "map", "sketch", "style"]
