"""The server of a ranking study: what it answers, what it refuses, and that it tells nobody who is who."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

httpx = pytest.importorskip("httpx")
uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

from pinxit.apps.cli.studio import listening  # noqa: E402 - what these import may be missing
from pinxit.apps.studio.ranking import FILES, create_app  # noqa: E402
from pinxit.evaluation.ranking import Intake, Study, make, read, read_answers  # noqa: E402

from .conftest import refused  # noqa: E402

API = "/api/v1/rank"
NAMES = ("Xylograph-7", "Quillon", "Zwieback")


@dataclass
class Served:
    study: Study
    client: Any

    def get(self, path: str) -> Any:
        return self.client.get(API + path)

    def post(self, path: str, body: Any) -> Any:
        return self.client.post(API + path, json=body)


@contextmanager
def serving(study: Study, token: str | None = None) -> Iterator[Served]:
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = create_app(Intake(study), token=token)
    server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            yield Served(study, client)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folders = {}
    for m, name in enumerate(NAMES):
        folder = folders[name] = tmp_path / name
        folder.mkdir()
        for i in range(3):
            Image.new("RGB", (8, 6), (50 * m, 50 * i, 9)).save(folder / f"{i}.png")
    (tmp_path / "captions.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    return make(
        tmp_path / "study", folders, inputs=tmp_path / "captions.txt", checks=1, repeats=1, instructions="Look\nwell."
    )


@pytest.fixture
def served(study: Study) -> Iterator[Served]:
    with serving(study) as served:
        yield served


def test_a_rater_comes_answers_and_comes_back(served: Served) -> None:
    about = served.get("/study").json()
    assert about["study"] == served.study.id
    assert (about["design"], about["questions"], about["checks"], about["seconds"]) == ("pairs", 11, True, None)
    assert (about["question"], about["instructions"]) == (None, "Look\nwell.")
    sheet = served.post("/raters", {}).json()
    assert len(sheet["questions"]) == 11
    assert sheet["answers"] == [None] * 11
    assert {question["caption"] for question in sheet["questions"]} == {"one", "two", "three"}
    for question in sheet["questions"]:
        for id in question["pictures"]:
            answer = served.get(f"/pictures/{id}")
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "image/png"
            assert "immutable" in answer.headers["cache-control"]
    given = {"rater": sheet["rater"], "place": 3, "order": [1, 0], "seconds": 2.25}
    assert served.post("/answers", given).json() == {"answered": 1}
    assert served.post("/answers", {**given, "order": [0, 1]}).json() == {"answered": 1}
    back = served.get(f"/raters/{sheet['rater']}").json()
    assert back["questions"] == sheet["questions"]
    assert back["answers"] == [[0, 1] if place == 3 else None for place in range(11)]
    (kept,) = read_answers(served.study)
    assert (kept.rater, kept.place, kept.ranking, kept.seconds) == (sheet["rater"], 3, kept.shown, 2.25)
    other = served.post("/raters", {}).json()
    assert other["rater"] != sheet["rater"]
    assert other["questions"] != sheet["questions"]


def test_nothing_that_is_sent_tells_who_is_who(served: Served, study: Study) -> None:
    """Every address there is, with what an answer and a mistake bring; headers too."""
    sheet = served.post("/raters", {}).json()
    rater = sheet["rater"]
    answers = [
        *(served.client.get(address) for address in FILES),
        served.get("/study"),
        served.get(f"/raters/{rater}"),
        served.post("/raters", {}),
        served.post("/answers", {"rater": rater, "place": 0, "order": [0, 1], "seconds": 1}),
        served.post("/answers", {"rater": rater, "place": 99, "order": [0, 1], "seconds": 1}),
        served.post("/answers", {"rater": rater, "place": 0, "order": [0, 1, 2], "seconds": 1}),
        served.post("/answers", {"rater": NAMES[0]}),
        *(served.get(f"/pictures/{id}") for question in sheet["questions"] for id in question["pictures"]),
        *(served.client.get(f"/{name}") for name in ("key.json", "study.json", "answers.jsonl", "js/../key.json")),
        *(served.client.get(f"/{name}") for name in ("openapi.json", "docs", "api/v1/models", "api/v1/openapi.json")),
    ]
    sent = b"".join(answer.content + repr(answer.headers).encode() for answer in answers)
    assert len(sent) > 20_000
    for secret in (*NAMES, str(study.folder.parent), '"A"', '"broken"', '"check"'):
        assert secret.encode() not in sent, secret
    # The key does tell: what is looked for is written so.
    assert all(name in (study.folder / "key.json").read_text(encoding="utf-8") for name in NAMES)


def test_a_check_looks_like_any_other_question(served: Served) -> None:
    sheet = served.post("/raters", {}).json()
    assert {tuple(question) for question in sheet["questions"]} == {("pictures", "condition", "caption")}
    assert {len(question["pictures"]) for question in sheet["questions"]} == {2}


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rank/pictures/../../key.json",
        "/api/v1/rank/pictures/%2e%2e%2f%2e%2e%2fkey.json",
        "/api/v1/rank/pictures/..%5c..%5ckey.json",
        "/css/../../rank.py",
        "/js/%2e%2e/%2e%2e/server.py",
        "//etc/passwd",
        "/index.html",
        "/js/paint.js",
        "/pictures",
    ],
)
def test_paths_lead_nowhere(served: Served, path: str) -> None:
    request = served.client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = served.client.send(request)
    assert answer.status_code in (404, 422), path
    assert "error" in answer.json()


def test_what_is_no_picture_of_the_study_is_not_served(served: Served, study: Study) -> None:
    stranger = "0" * 32
    Image.new("RGB", (2, 2)).save(study.folder / "pictures" / f"{stranger}.png")
    refused(served.get(f"/pictures/{stranger}"), 404, "no-such-picture")
    refused(served.get("/pictures/none"), 422, "bad-field")


def good(served: Served) -> dict[str, Any]:
    return {"rater": served.post("/raters", {}).json()["rater"], "place": 0, "order": [0, 1], "seconds": 1.5}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"rater": "0" * 32}, 404, "no-such-rater"),
        ({"rater": "../key"}, 422, "bad-field"),
        ({"rater": None}, 422, "bad-field"),
        ({"place": 11}, 400, "refused"),
        ({"place": -1}, 422, "bad-field"),
        ({"place": "0"}, 422, "bad-field"),
        ({"place": 1e99}, 422, "bad-field"),
        ({"order": [0]}, 422, "bad-field"),
        ({"order": [0, 0]}, 400, "refused"),
        ({"order": [0, 1, 2]}, 400, "refused"),
        ({"order": [0, 9]}, 422, "bad-field"),
        ({"order": list(range(100))}, 422, "bad-field"),
        ({"seconds": -1.0}, 422, "bad-field"),
        ({"seconds": 1e9}, 422, "bad-field"),
        ({"seconds": "1"}, 422, "bad-field"),
        ({"more": "x"}, 422, "bad-field"),
    ],
)
def test_answers_that_are_none_are_refused(
    served: Served, change: dict[str, Any], status: int, code: str, study: Study
) -> None:
    refused(served.post("/answers", {**good(served), **change}), status, code)
    assert not (study.folder / "answers.jsonl").exists()


def test_bodies_are_small_and_from_this_page(served: Served, study: Study) -> None:
    body = json.dumps({**good(served), "more": "x" * (1 << 17)})
    refused(served.client.post(f"{API}/answers", content=body), 413, "too-large")
    refused(served.client.post("/api/v1/pictures", content=body), 413, "too-large")
    foreign = {"Origin": "http://elsewhere.example"}
    refused(served.client.post(f"{API}/raters", json={}, headers=foreign), 403, "foreign-origin")
    refused(served.client.get("/", headers={"Host": "elsewhere.example"}), 403, "foreign-host")
    refused(served.client.post(f"{API}/answers", content=b"{"), 422, "bad-field")
    refused(served.client.delete(f"{API}/answers"), 405, "wrong-method")
    assert not (study.folder / "answers.jsonl").exists()
    page = served.client.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_raters_from_elsewhere_need_the_token(study: Study) -> None:
    with serving(study, token="a-token-of-the-study") as served:
        refused(served.get("/study"), 401, "no-token")
        assert served.client.get("/").status_code == 401
        came = served.client.get("/?token=a-token-of-the-study")
        assert came.status_code == 303
        assert served.get("/study").status_code == 200  # with the cookie


def test_many_raters_at_once_lose_nothing(served: Served, study: Study) -> None:
    def rate() -> None:
        with httpx.Client(base_url=served.client.base_url, timeout=60, trust_env=False) as client:
            sheet = client.post(f"{API}/raters", json={}).json()
            for place in range(len(sheet["questions"])):
                body = {"rater": sheet["rater"], "place": place, "order": [1, 0], "seconds": 0.5}
                assert client.post(f"{API}/answers", json=body).status_code == 200

    threads = [threading.Thread(target=rate) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_answers(study)) == 6 * 11
    sheets = [json.loads(line)["sheet"] for line in (study.folder / "raters.jsonl").read_text().splitlines()]
    assert sorted(sheets) == list(range(6))
    # A server that is started again goes on from there.
    intake = Intake(read(study.folder))
    assert intake.sheet(intake.join()) == study.sheet(6)


def test_pictures_are_the_methods_own(served: Served, study: Study) -> None:
    colors = set()
    for item in study.items:
        for id in item.pictures:
            path = study.picture(id)
            assert path is not None
            assert served.get(f"/pictures/{id}").content == path.read_bytes()
            with Image.open(path) as picture:
                colors.add(tuple(np.asarray(picture)[0, 0].tolist()))
    assert colors == {(50 * m, 50 * i, 9) for m in range(3) for i in range(3)}
