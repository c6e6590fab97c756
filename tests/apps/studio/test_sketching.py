"""Generators and what sketches make of them, through the API."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import pinxit
from pinxit.modelfile import read
from pinxit.models.sketching.config import PRESETS

from .conftest import Served, png, refused, serving

MOST = 120.0  # seconds that a training of 20 steps may take on a machine that does other things


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, generators: Path) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("studio") / "home", folders=[generators]) as served:
        yield served


def drawn(width: int = 96, height: int = 96, ink: Any = 0, paper: Any = 255, mode: str = "L") -> np.ndarray:
    """A ring."""
    image = Image.new(mode, (width, height), paper)
    ImageDraw.Draw(image).ellipse((width // 5, height // 5, width * 4 // 5, height * 4 // 5), outline=ink, width=5)
    return np.asarray(image)


def made(studio: Served, **asked: Any) -> np.ndarray:
    answer = studio.post("/models/shapes/generate", {"client": "test", **asked})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        return np.asarray(image).astype(int)


def seen(studio: Served, id: str) -> tuple[np.ndarray, list[str]]:
    answer = studio.post("/models/shapes/sketch", {"picture": id})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    with Image.open(io.BytesIO(studio.get(f"/pictures/{told['picture']}").content)) as image:
        return np.asarray(image), told["notes"]


def begin(studio: Served, **change: Any) -> Any:
    sketch = studio.upload(drawn(), "sketch")
    asked = {"model": "shapes", "photosketch": "contours", "sketches": [sketch], "preset": "tiny", "name": "rings"}
    return studio.post("/jobs/sketch", {**asked, **change})


def ended(studio: Served, id: int) -> dict[str, Any]:
    end = time.monotonic() + MOST
    while (job := studio.get(f"/jobs/{id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < end, job
        time.sleep(0.1)
    return job


def test_both_kinds_of_models_are_listed(studio: Served) -> None:
    models = {model["id"]: model for model in studio.get("/models").json()["models"]}
    shapes, contours = models["shapes"], models["contours"]
    assert (shapes["kind"], shapes["method"], shapes["size"]) == ("generator", "stylegan2", [32, 32])
    assert set(shapes["inputs"].values()) == {"no"}
    assert (contours["kind"], contours["method"], contours["size"]) == ("picture", "photosketch", [32, 32])
    assert contours["channels"] == {"input": 3, "output": 1}


def test_a_photo_is_drawn(studio: Served) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    answer = studio.post("/models/contours/translate", {"client": "a", "picture": studio.upload(photo)})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (image.mode, image.size) == ("L", (48, 40))
        ours = pinxit.load(studio.studio.catalog.entry("contours").path).translate(photo)
        assert np.array_equal(np.asarray(image), np.asarray(ours).squeeze())


def test_pictures_are_the_model_s_own(studio: Served, generators: Path) -> None:
    model = pinxit.load(generators / "shapes")
    for seed, truncation in ((3, 0.7), (3, 1), (4, 0.7)):
        assert np.array_equal(made(studio, seed=seed, truncation=truncation), model.sample(1, seed, truncation)[0])
    mixed = made(studio, seed=3, mix={"seed": 4, "at": 2})
    assert np.array_equal(mixed, model.mix(3, 4, 2))
    directions = model.principal(8)
    w = model.w(3, 0.7)
    for layers in (None, [0, 3]):
        edited = made(studio, seed=3, strengths=[0, -2.5], layers=layers)
        assert np.array_equal(edited, model.edit(w, directions, [0, -2.5], layers))
    assert not np.array_equal(made(studio, seed=3, strengths=[0, -2.5]), made(studio, seed=3))
    assert np.array_equal(made(studio, seed=3, strengths=[0, 0]), made(studio, seed=3))


def test_a_generated_picture_is_kept_and_made_again(studio: Served) -> None:
    asked = {"seed": 9, "truncation": 0.5, "mix": {"seed": 2, "at": 4}, "strengths": [1.5], "layers": [0, 4]}
    answer = studio.post("/models/shapes/generate", {"client": "a", **asked})
    entry = studio.post("/gallery", {"picture": answer.headers["X-Pinxit-Picture"]}).json()
    assert entry["kind"] == "generate"
    assert entry["recipe"] == {"kind": "generate", "model": "shapes", **asked}
    again = studio.post(f"/gallery/{entry['id']}/again", {"client": "a"})
    assert again.headers["X-Pinxit-Same"] == "true"


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        ({"truncation": 3}, 422, "truncation is 3"),
        ({"seed": -1}, 422, "seed is -1"),
        ({"mix": {"seed": 1, "at": 12}}, 400, "at is 12, expected 0..8"),
        ({"strengths": [0.0] * 17}, 422, "strengths is of another form"),
        ({"strengths": [0.0] * 8 + [1.0]}, 400, "strengths is 9, expected at most 8"),
        ({"strengths": [1], "layers": [4, 4]}, 400, "layers is 4 4, expected two numbers from 0 to 8"),
    ],
)
def test_what_a_generator_refuses(studio: Served, asked: dict[str, Any], status: int, told: str) -> None:
    answer = studio.post("/models/shapes/generate", {"client": "a", **asked})
    assert told in refused(answer, status, "bad-field" if status == 422 else "refused")


def test_other_models_generate_nothing(studio: Served) -> None:
    answer = studio.post("/models/demo/generate", {"client": "a"})
    assert "model demo is without generate" in refused(answer, 400, "refused")


def test_sketches_are_shown_as_the_network_will_see_them(studio: Served) -> None:
    wanted, notes = seen(studio, studio.upload(drawn(), "sketch"))
    assert (wanted.shape, notes) == ((32, 32), [])
    assert wanted[16, 16] == 255
    assert wanted[16, 6:9].min() < 100
    # Chalk; white strokes on nothing, which sent as a photo would be lost; paper of another aspect.
    chalk, notes = seen(studio, studio.upload(drawn(ink=255, paper=20), "sketch"))
    assert abs(chalk.astype(int) - wanted).mean() < 8
    assert "inverted" in notes[0]
    strokes = drawn(mode="RGBA", ink=(255, 255, 255, 255), paper=(0, 0, 0, 0))
    assert abs(seen(studio, studio.upload(strokes, "sketch"))[0].astype(int) - wanted).mean() < 8
    wide, notes = seen(studio, studio.upload(drawn(192, 96), "sketch"))
    assert "another aspect" in notes[0]
    assert (wide[:7] == 255).all()
    assert seen(studio, studio.upload(drawn(192, 96), "sketch"))[1] == notes


def test_sketches_that_are_none(studio: Served) -> None:
    blank = studio.upload(np.full((64, 64), 255, np.uint8), "sketch")
    assert "blank" in refused(studio.post("/models/shapes/sketch", {"picture": blank}), 400, "refused")
    ring = studio.upload(drawn(), "sketch")
    answer = studio.post("/models/contours/sketch", {"picture": ring})
    assert "model contours is of method photosketch, expected one of StyleGAN2" in refused(answer, 400, "refused")
    refused(studio.post("/models/shapes/sketch", {"picture": "0" * 32}), 404, "no-such-picture")
    for change, status, code, told in (
        ({"sketches": []}, 422, "bad-field", "sketches"),
        ({"sketches": [ring] * 31}, 422, "bad-field", "sketches"),
        ({"sketches": [ring, blank]}, 400, "refused", "blank"),
        ({"sketches": ["0" * 32]}, 404, "no-such-picture", ""),
        ({"photosketch": "shapes"}, 422, "bad-field", "photosketch is 'of method stylegan2'"),
        ({"photosketch": "none"}, 404, "no-such-model", ""),
        ({"model": "demo"}, 400, "refused", "expected one of StyleGAN2"),
        ({"preset": "huge"}, 422, "bad-field", "preset is 'huge', expected one of tiny"),
        ({"name": "../up"}, 422, "bad-field", "name"),
    ):
        assert told in refused(begin(studio, **change), status, code)
    assert studio.get("/jobs").json() == []


def test_a_generator_is_customised(studio: Served, generators: Path) -> None:
    before = (generators / "shapes" / "model.safetensors").read_bytes()
    strokes = drawn(mode="RGBA", ink=(255, 255, 255, 255), paper=(0, 0, 0, 0))
    sketches = [studio.upload(picture, "sketch") for picture in (drawn(), strokes, drawn(192, 96))]
    answer = begin(studio, sketches=sketches)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["kind"], answer.json()["preset"]) == ("sketch", "tiny")
    job = ended(studio, answer.json()["id"])
    assert (job["state"], job["message"], job["progress"]) == ("done", "", 1)
    assert job["model"] == "runs.rings"
    with Image.open(io.BytesIO(studio.get(f"/jobs/{job['id']}/preview").content)) as sheet:
        assert sheet.width >= 5 * 32  # before, its contours, now, its contours, the nearest sketch
    last = job["previews"] - 1
    sheets = [studio.get(f"/jobs/{job['id']}/preview", params={"at": at}).content for at in range(last + 1)]
    assert sheets[last] == studio.get(f"/jobs/{job['id']}/preview").content
    refused(studio.get(f"/jobs/{job['id']}/preview", params={"at": last + 1}), 404, "no-preview")
    model = studio.get("/models/runs.rings").json()
    assert (model["kind"], model["method"]) == ("generator", "stylegan2")
    assert (model["name"], "shapes" in model["card"]["customised"]) == ("rings", True)
    ours, base = (read(folder).tensors for folder in (studio.home / "runs" / "rings", generators / "shapes"))
    changed = {name for name in base if name.startswith("G.") and not torch.equal(ours[name], base[name])}
    assert changed  # by 20 steps too little for 8 bits
    assert all(name.startswith("G.style.") for name in changed)
    assert studio.post("/models/runs.rings/generate", {"client": "a", "seed": 1}).status_code == 200
    assert (generators / "shapes" / "model.safetensors").read_bytes() == before
    # What the command saw is what the page has shown.
    with Image.open(studio.home / "runs" / "rings" / "sketches.png") as sheet:
        page = np.asarray(sheet)
    for i, id in enumerate(sketches):
        shown = np.kron(seen(studio, id)[0], np.ones((4, 4)))
        assert np.array_equal(page[4:132, 4 + 132 * i : 132 + 132 * i], shown)
    assert studio.client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert studio.get("/models/runs.rings").status_code == 200


def test_cancelled_resumed_and_removed(studio: Served) -> None:
    id = begin(studio, preset="cpu", name="long").json()["id"]
    end = time.monotonic() + MOST
    while studio.get(f"/jobs/{id}").json()["progress"] == 0:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert studio.post(f"/jobs/{id}/cancel").json()["state"] == "cancelled"
    state = studio.home / "runs" / "long" / "state.pt"
    while not state.is_file():
        assert time.monotonic() < end
        time.sleep(0.05)
    job = studio.get(f"/jobs/{id}").json()
    assert 0 < job["progress"] < 1
    assert job["stage"].endswith(f" of {PRESETS['cpu'].training.steps}")
    assert studio.post(f"/jobs/{id}/resume").json()["state"] in ("queued", "running")
    while studio.get(f"/jobs/{id}").json()["progress"] <= job["progress"]:
        assert studio.get(f"/jobs/{id}").json()["state"] in ("queued", "running")
        assert time.monotonic() < end
        time.sleep(0.05)
    studio.post(f"/jobs/{id}/cancel")
    assert studio.client.delete(f"/api/v1/jobs/{id}").status_code == 204
    while state.parent.exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_sketch_keeps_what_is_transparent(studio: Served) -> None:
    strokes = drawn(mode="RGBA", ink=(10, 20, 30, 200), paper=(0, 0, 0, 0))
    for data, wanted in ((png(strokes), strokes), (png(strokes[..., :3]), strokes[..., :3])):
        with Image.open(io.BytesIO(studio.get(f"/pictures/{studio.upload(data, 'sketch')}").content)) as image:
            assert np.array_equal(np.asarray(image), wanted)
