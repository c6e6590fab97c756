"""The API: what each request does, as a program sees it."""

from __future__ import annotations

import dataclasses
import io
import json
import runpy
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.studio import server
from pinxit.apps.studio.catalog import Entry

from .conftest import API, Served, png, refused, serving

EXAMPLE = Path(__file__).parents[3] / "examples" / "studio_client.py"


def pixels(answer: Any) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image)


def test_status(served: Served) -> None:
    told = served.get("/status").json()
    server.Status.model_validate(told)
    assert told["jobs"] == {"running": 0, "queued": 0}
    assert told["limits"]["pixels"] == 1 << 24


def test_a_picture_comes_back_as_it_was_sent(served: Served) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    answer = served.client.post(f"{API}/pictures?as=photo", content=png(photo))
    told = answer.json()
    assert {k: told[k] for k in ("width", "height", "channels", "bits")} == {
        "width": 30,
        "height": 20,
        "channels": 3,
        "bits": 8,
    }
    back = served.get(f"/pictures/{told['id']}")
    np.testing.assert_array_equal(pixels(back), photo)
    assert "immutable" in back.headers["cache-control"]
    assert served.upload(photo) == told["id"]


def test_a_map_keeps_its_ids_of_16_bits(served: Served) -> None:
    ids = np.array([[0, 300], [65535, 7]], np.uint16)
    answer = served.client.post(f"{API}/pictures?as=map", content=png(ids)).json()
    assert (answer["bits"], answer["channels"]) == (16, 1)
    np.testing.assert_array_equal(pixels(served.get(f"/pictures/{answer['id']}")), ids)


def test_models_are_told_without_their_paths(served: Served, balloons: Path) -> None:
    answer = served.get("/models")
    models = {model["id"]: model for model in answer.json()["models"]}
    assert {"demo", "fruits", "mixed", "balloons"} <= models.keys()
    assert str(balloons) not in answer.text
    assert str(served.home) not in answer.text
    assert served.get("/models/demo").json() == models["demo"]
    assert set(server.Model.model_fields) == {f.name for f in dataclasses.fields(Entry)} - {"path"}
    server.Models.model_validate(answer.json())
    refused(served.get("/models/none"), 404, "no-such-model")


def test_a_layout_is_painted_and_each_style_is_another_picture(served: Served) -> None:
    layouts = served.get("/models/demo/layouts").json()
    assert [server.Layout.model_validate(layout) for layout in layouts]
    assert served.get("/models/fruits/layouts").json() == []
    map = served.street()
    request = {"map": map, "style": {"seed": 1}, "client": "a"}
    answer = served.post("/models/demo/paint", request)
    first = pixels(answer)
    assert first.shape == (32, 32, 3)
    assert float(answer.headers["x-pinxit-seconds"]) >= 0
    np.testing.assert_array_equal(pixels(served.get(f"/pictures/{answer.headers['x-pinxit-picture']}")), first)
    other = pixels(served.post("/models/demo/paint", request | {"style": {"seed": 2}}))
    assert (first != other).any()
    between = {"between": [{"seed": 1}, {"seed": 2}], "at": 0}
    np.testing.assert_array_equal(pixels(served.post("/models/demo/paint", request | {"style": between})), first)
    style = {"picture": answer.headers["x-pinxit-picture"]}
    assert pixels(served.post("/models/demo/paint", request | {"style": style})).shape == (32, 32, 3)


def test_a_map_of_colours_is_read_as_ids(served: Served) -> None:
    labels = served.get("/models/demo").json()["label_set"]["labels"]
    colors = np.array([[labels[2]["color"], labels[0]["color"]]], np.uint8)
    answer = served.post("/models/demo/map", {"picture": served.upload(colors, "map")}).json()
    server.MapRead.model_validate(answer)
    ids = pixels(served.get(f"/pictures/{answer['map']}"))
    assert ids.tolist() == [[labels[2]["id"], labels[0]["id"]]]
    assert ids.dtype == np.uint8
    assert answer["labels"] == sorted({labels[2]["id"], labels[0]["id"]})
    wrong = served.upload(np.full((4, 4, 3), 17, np.uint8), "map")
    assert "(17, 17, 17)" in refused(served.post("/models/demo/map", {"picture": wrong}), 400, "refused")
    refused(served.post("/models/fruits/map", {"picture": wrong}), 400, "refused")


def test_what_a_model_does_not_take_is_refused(served: Served) -> None:
    map, client = served.street(), {"client": "a"}
    for more in ({"sketch": map}, {"text": "a street"}, {"map": None}):
        refused(served.post("/models/demo/paint", {"map": map} | more | client), 400, "refused")
    refused(served.post("/models/fruits/paint", {"map": map} | client), 400, "no-maps")
    refused(served.post("/models/demo/translate", {"picture": map} | client), 400, "refused")
    refused(served.post("/models/fruits/translate", {"picture": map, "direction": "AtoB"} | client), 400, "refused")
    refused(served.post("/models/demo/sample", client), 400, "refused")
    refused(served.post("/models/demo/reconstruct", client), 400, "refused")
    large = served.upload(np.zeros((1100, 1000), np.uint8), "map")
    refused(served.post("/models/demo/paint", {"map": large} | client), 413, "too-many-pixels")
    refused(served.post("/models/balloons/super-resolve", {"factor": 99.0} | client), 422, "bad-field")


def test_an_outline_is_translated(served: Served) -> None:
    outlines = served.get("/models/fruits/outlines").json()
    assert [server.Outline.model_validate(outline) for outline in outlines]
    assert served.get("/models/demo/outlines").json() == []
    answer = served.post("/models/fruits/translate", {"picture": outlines[0]["picture"], "client": "a"})
    assert pixels(answer).shape == (128, 128, 3)


def test_all_that_is_made_of_one_photo(served: Served) -> None:
    photo = served.post("/models/balloons/reconstruct", {"client": "a"})
    height, width = pixels(photo).shape[:2]
    assert served.get("/models/balloons").json()["scales"][-1] == [height, width]
    learnt = served.get("/models/balloons/photo").json()
    server.ModelPhoto.model_validate(learnt)
    assert pixels(served.get(f"/pictures/{learnt['picture']}")).shape == (height, width, 3)
    refused(served.get("/models/demo/photo"), 400, "refused")
    picture = photo.headers["x-pinxit-picture"]
    mask = np.zeros((height, width), np.uint8)
    mask[10:20, 10:20] = 255
    blend = {"picture": picture, "mask": served.upload(mask, "mask"), "start_scale": 2}
    for verb, fields, size in (
        ("sample", {"seed": 1}, (height, width)),
        ("sample", {"seed": 1, "size": [20, 50]}, (20, 50)),
        ("super-resolve", {"factor": 2}, (2 * height, 2 * width)),
        ("harmonize", blend, (height, width)),
        ("edit", blend, (height, width)),
        ("paint-to-image", {"picture": picture, "start_scale": 1}, (height, width)),
    ):
        answer = served.post(f"/models/balloons/{verb}", fields | {"client": "a"})
        assert pixels(answer).shape == (*size, 3), verb
    small = blend | {"mask": served.upload(mask[:5], "mask"), "client": "a"}
    refused(served.post("/models/balloons/edit", small), 400, "refused")
    refused(served.post("/models/balloons/sample", {"start_scale": 60, "client": "a"}), 400, "refused")
    refused(served.post("/models/balloons/sample", {"size": [9000, 9000], "client": "a"}), 413, "too-many-pixels")


def test_what_is_kept_is_made_again(served: Served) -> None:
    answer = served.post("/models/demo/paint", {"map": served.street(), "style": {"seed": 5}, "client": "a"})
    kept = served.post("/gallery", {"picture": answer.headers["x-pinxit-picture"]}).json()
    server.GalleryEntry.model_validate(kept)
    assert (kept["kind"], kept["model"]) == ("paint", "demo")
    assert kept["recipe"]["style"] == {"seed": 5}
    assert "client" not in kept["recipe"]
    assert kept in served.get("/gallery").json()
    np.testing.assert_array_equal(pixels(served.get(f"/gallery/{kept['id']}/picture")), pixels(answer))
    assert pixels(served.get(f"/gallery/{kept['id']}/thumbnail")).shape == (32, 32, 3)
    session = served.studio.maker._sessions["demo"][1]
    again = served.post(f"/gallery/{kept['id']}/again", {"client": "a"})
    assert served.studio.maker._sessions["demo"][1] is not session, "it was not made, but remembered"
    assert again.headers["x-pinxit-same"] == "true"
    np.testing.assert_array_equal(pixels(again), pixels(answer))
    assert served.client.delete(f"{API}/gallery/{kept['id']}").status_code == 204
    refused(served.get(f"/gallery/{kept['id']}/picture"), 404, "no-such-entry")
    refused(served.post("/gallery", {"picture": served.street()}), 409, "no-recipe")


def test_a_recipe_of_another_version_is_refused(served: Served) -> None:
    picture = served.upload(np.zeros((3, 5, 3), np.uint8))
    for recipe in ({"kind": "dream", "model": "demo"}, {"kind": "paint", "model": "demo", "mood": 3}):
        served.studio.pictures.note_recipe(picture, recipe)
        kept = served.post("/gallery", {"picture": picture}).json()
        refused(served.post(f"/gallery/{kept['id']}/again", {"client": "a"}), 409, "no-recipe")
        served.client.delete(f"{API}/gallery/{kept['id']}")


def test_an_animation_is_made_and_forgotten(served: Served) -> None:
    asked = {"model": "balloons", "frames": 4, "start_scale": 1, "fps": 8, "loop": True}
    job = served.post("/jobs/animate", asked).json()
    server.Job.model_validate(job)
    refused(served.get(f"/jobs/{job['id']}/result"), 404, "no-result")
    end = time.monotonic() + 60
    while job["state"] in ("queued", "running") and time.monotonic() < end:
        time.sleep(0.2)
        job = served.get(f"/jobs/{job['id']}").json()
    assert job["state"] == "done", job
    assert served.get("/jobs").json() == [job]
    answer = served.get(f"/jobs/{job['id']}/result")
    assert (answer.headers["content-type"], answer.content[:4]) == ("image/gif", b"GIF8")
    answer = served.get(f"/jobs/{job['id']}/frames")
    assert (answer.headers["x-pinxit-frames"], answer.headers["x-pinxit-fps"]) == ("4", "8")
    height, width = served.get("/models/balloons").json()["scales"][-1]
    assert pixels(answer).shape == (4 * height, width, 3)
    assert served.client.delete(f"{API}/jobs/{job['id']}").status_code == 204
    refused(served.get(f"/jobs/{job['id']}"), 404, "no-such-job")
    refused(served.post("/jobs/1/cancel"), 404, "no-such-job")


def test_a_later_request_of_the_same_client_supersedes(served: Served) -> None:
    """While the painting thread is held up, three requests of one client come: the middle one is superseded."""
    map, go, began = served.street(), threading.Event(), threading.Event()
    make = served.studio.maker.make

    def slowly(recipe: dict[str, Any]) -> Any:
        began.set()
        go.wait(30)
        return make(recipe)

    def ask(seed: int) -> Any:
        return served.post("/models/demo/paint", {"map": map, "style": {"seed": seed}, "client": "c"})

    served.studio.maker.make = slowly  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with ThreadPoolExecutor() as pool:
            first = pool.submit(ask, 1)
            assert began.wait(30)
            second = pool.submit(ask, 2)
            time.sleep(0.5)
            third = pool.submit(ask, 3)
            refused(second.result(), 409, "superseded")
            go.set()
            assert (first.result().status_code, third.result().status_code) == (200, 200)
    finally:
        go.set()
        served.studio.maker.make = make  # pyright: ignore[reportAttributeAccessIssue]


def test_nothing_is_painted_for_a_client_that_has_gone(served: Served) -> None:
    """One request holds the painting thread up; of two behind it, the client of the second hangs up."""
    map, go, began, seeds = served.street(), threading.Event(), threading.Event(), []
    make = served.studio.maker.make

    def slowly(recipe: dict[str, Any]) -> Any:
        seeds.append(recipe["style"]["seed"])
        began.set()
        go.wait(30)
        return make(recipe)

    def asked(seed: int) -> bytes:
        body = json.dumps({"map": map, "style": {"seed": seed}, "client": f"c{seed}"}).encode()
        head = f"POST {API}/models/demo/paint HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    served.studio.maker.make = slowly  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as first:
            first.sendall(asked(1))
            assert began.wait(30)
            with socket.create_connection(("127.0.0.1", served.port), timeout=30) as stays:
                with socket.create_connection(("127.0.0.1", served.port), timeout=30) as goes:
                    goes.sendall(asked(2))
                    stays.sendall(asked(3))
                    time.sleep(0.5)
                time.sleep(0.5)
                go.set()
                assert stays.recv(100).split()[1] == b"200"
    finally:
        go.set()
        served.studio.maker.make = make  # pyright: ignore[reportAttributeAccessIssue]
    assert seeds == [1, 3]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "JSON object"),
        (b"{", "no JSON"),
        (b"[]", ""),
        (b"[" * 60_000, ""),
        (b'{"client": "a"}', "map is missing"),
        (b'{"map": null, "client": "a b"}', "client is 'a b'"),
        (b'{"map": null, "client": "a", "more": 1}', "more is unknown"),
        (b'{"map": null, "client": "a", "style": {"seed": "1"}}', "style.seed is '1'"),
        (b'{"map": null, "client": "a", "style": {"seed": 1.5}}', "style.seed"),
        (b'{"map": null, "client": "a", "style": {"seed": NaN}}', "style.seed"),
        (b'{"map": null, "client": "a", "style": ' + b'{"at":0,"between":[{"seed":1},' * 900 + b"1", ""),
    ],
)
def test_a_bad_body_is_told_in_one_line(served: Served, body: bytes, words: str) -> None:
    answer = served.client.post(f"{API}/models/demo/paint", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    message = refused(answer, answer.status_code, "bad-field" if answer.status_code == 422 else "refused")
    assert words in message
    assert len(message) < 300


def test_styles_nested_too_deep_are_refused(served: Served) -> None:
    style: dict[str, Any] = {"seed": 1}
    for _ in range(100):
        style = {"between": [style, {"seed": 2}], "at": 0.5}
    answer = served.post("/models/demo/paint", {"map": served.street(), "style": style, "client": "a"})
    assert answer.status_code in (400, 422), answer.text


def test_a_full_disk_is_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(served.studio.gallery, "list", full)
    refused(served.get("/gallery"), 409, "disk-full")


def test_a_defect_is_told_and_the_server_goes_on(
    served: Served, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(served.studio.gallery, "list", broken)
    answer = served.get("/gallery")
    refused(answer, 500, "defect")
    assert "nosniff" in answer.headers["x-content-type-options"]
    assert "ZeroDivisionError: ours" in capfd.readouterr().err
    assert served.well()


def test_pages_have_their_types_and_are_asked_for_anew(served: Served) -> None:
    kinds = {
        "/": "text/html",
        "/js/apidoc.js": "text/javascript",
        "/css/base.css": "text/css",
        "/api.html": "text/html",
    }
    for path, kind in kinds.items():
        answer = served.client.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["content-type"].partition(";")[0] == kind
        assert answer.headers["cache-control"] == "no-cache"
    refused(served.client.get("/nothing.js"), 404, "not-found")
    refused(served.client.post("/"), 405, "wrong-method")


def test_the_api_is_documented(served: Served) -> None:
    document = served.client.get(f"{API}/openapi.json").json()
    names = []
    for path, methods in document["paths"].items():
        assert path.startswith(API)
        for method, told in methods.items():
            names.append(told["operationId"])
            assert told["summary"], (path, method)
            assert told["tags"], (path, method)
            assert any(status in told["responses"] for status in ("200", "204")), (path, method)
    assert len(set(names)) == len(names)
    # Other people's programs stand on these.
    assert {"status", "send_picture", "picture", "models", "paint", "translate", "sample", "keep", "train"} <= set(
        names
    )
    paint = document["paths"][f"{API}/models/{{id}}/paint"]["post"]
    assert paint["responses"]["200"]["content"].keys() == {"image/png"}
    assert "X-Pinxit-Picture" in paint["responses"]["200"]["headers"]
    assert "409" in paint["responses"]


def test_the_example_client(served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = runpy.run_path(str(EXAMPLE))
    url = f"http://127.0.0.1:{served.port}"
    Image.fromarray(np.full((32, 32), 3, np.uint8)).save(tmp_path / "map.png")
    example["main"]([str(tmp_path / "out.png"), str(tmp_path / "map.png"), "--url", url])
    assert "painted" in capsys.readouterr().out
    with Image.open(tmp_path / "out.png") as painted:
        assert painted.size == (32, 32)
    studio = example["Studio"](url)
    assert {model["id"] for model in studio.models()} >= {"demo", "fruits", "mixed"}
    translated = studio.translate("fruits", studio.upload(tmp_path / "out.png"))
    entry = studio.keep(translated)
    assert entry["kind"] == "translate"
    served.client.delete(f"{API}/gallery/{entry['id']}")
    with pytest.raises(example["Refused"], match="no model") as refusal:
        studio.sample("none")
    assert refusal.value.code == "no-such-model"


def test_the_example_client_brings_its_token(tmp_path: Path) -> None:
    token = "of-this-test-alone"
    with serving(tmp_path / "home", token=token) as served:
        example = runpy.run_path(str(EXAMPLE))
        for studio in (
            example["Studio"](f"http://127.0.0.1:{served.port}/?token={token}"),
            example["Studio"](f"http://127.0.0.1:{served.port}", token),
        ):
            assert studio.models()
        with pytest.raises(example["Refused"], match="token"):
            example["Studio"](f"http://127.0.0.1:{served.port}").models()


def test_what_was_kept_outlives_the_server(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as served:
        made = served.post("/models/demo/paint", {"map": served.street(), "client": "a"})
        kept = served.post("/gallery", {"picture": made.headers["x-pinxit-picture"]}).json()
    with serving(tmp_path / "home") as served:
        assert served.get("/gallery").json() == [kept]
        again = served.post(f"/gallery/{kept['id']}/again", {"client": "a"})
        assert again.headers["x-pinxit-same"] == "true"
        assert json.loads(served.get("/status").text)["demo"] is False
