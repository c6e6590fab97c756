"""The gallery and the models in a browser: kept, looked at, made again, deleted; cards, licences, broken files."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page, Route


class Client:
    """A program that uses the API: tests of the gallery need pictures, not the page that paints them."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/api/v1/"

    def ask(self, path: str, body: object = None, method: str | None = None) -> tuple[Any, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return (
                json.loads(text) if answer.headers.get_content_type() == "application/json" else text
            ), answer.headers

    def keep(self, seed: int) -> dict[str, Any]:
        """Paint the drawn street in the style of a seed, and keep it."""
        layouts, _ = self.ask("models/demo/layouts")
        body = {"map": layouts[0]["map"], "style": {"seed": seed}, "client": "test-gallery"}
        _, headers = self.ask("models/demo/paint", body)
        return self.ask("gallery", {"picture": headers["X-Pinxit-Picture"]})[0]

    def gallery(self) -> list[dict[str, Any]]:
        answer, _ = self.ask("gallery")
        return answer["entries"] if isinstance(answer, dict) else answer


@pytest.fixture
def client(studio: Any) -> Client:
    client = Client(studio.url)
    for entry in client.gallery():  # another test may have kept some
        client.ask(f"gallery/{entry['id']}", method="DELETE")
    return client


def test_what_was_kept_is_there_with_how_it_was_made(page: Page, client: Client, shot: Callable[..., None]) -> None:
    older, newer = client.keep(3), client.keep(4)
    page.goto("/#gallery")
    items = page.locator(".gallery-item")
    items.nth(1).wait_for()
    assert items.evaluate_all("all => all.map(item => Number(item.dataset.entry))") == [newer["id"], older["id"]]
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gallery-item img')].every((image) => image.naturalWidth > 0)"
    )
    shot(page, "gallery")

    items.first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    picture = dialog.locator(".gallery-picture")
    page.wait_for_function("() => document.querySelector('.gallery-picture').naturalWidth > 0")
    facts = dialog.locator(".facts").inner_text()
    assert "Streets" in facts
    assert "random, seed 4" in facts
    size = picture.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert f"{size[0]} × {size[1]} px" in facts
    page.keyboard.press("ArrowRight")
    assert "random, seed 3" in dialog.locator(".facts").inner_text()
    page.keyboard.press("Escape")
    page.locator(f"[data-entry='{older['id']}']:focus").wait_for()  # the one looked at last


def test_it_is_made_again_to_the_last_bit(page: Page, client: Client, shot: Callable[..., None]) -> None:
    client.keep(5)
    page.goto("/#gallery")
    page.locator(".gallery-item").click()
    page.get_by_role("button", name="Make it again").click()
    page.locator(".gallery-status[data-same='true']").wait_for()
    assert "The same, to the last bit" in page.locator(".gallery-status").inner_text()
    shot(page, "gallery-again")


def test_another_picture_is_called_another(page: Page, client: Client) -> None:
    entry = client.keep(6)
    kept, _ = client.ask(f"gallery/{entry['id']}/picture")

    def another(route: Route) -> None:
        headers = {"X-Pinxit-Same": "false", "X-Pinxit-Seconds": "0.1", "X-Pinxit-Picture": "0" * 32}
        route.fulfill(body=kept, headers={"Content-Type": "image/png", **headers})

    page.route("**/again", another)
    page.goto("/#gallery")
    page.locator(".gallery-item").click()
    page.get_by_role("button", name="Make it again").click()
    page.locator(".gallery-status[data-same='false']").wait_for()
    assert page.locator(".gallery-figures figcaption").all_inner_texts() == ["As kept", "Made again"]


def test_download_and_delete(page: Page, client: Client) -> None:
    kept, gone = client.keep(7), client.keep(8)
    page.goto("/#gallery")
    page.locator(f"[data-entry='{gone['id']}']").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.path().read_bytes() == client.ask(f"gallery/{gone['id']}/picture")[0]

    page.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog", name="Delete this picture?")
    question.get_by_role("button", name="Cancel").click()
    assert len(client.gallery()) == 2
    page.get_by_role("button", name="Delete").click()
    question.get_by_role("button", name="Delete").click()
    page.locator(f"[data-entry='{gone['id']}']").wait_for(state="detached")
    assert [entry["id"] for entry in client.gallery()] == [kept["id"]]
    with pytest.raises(HTTPError, match="404") as error:
        client.ask(f"gallery/{gone['id']}")
    error.value.close()


def test_an_empty_gallery_says_how_to_fill_it(page: Page, client: Client, shot: Callable[..., None]) -> None:
    page.goto("/#gallery")
    page.get_by_text("Nothing kept yet").wait_for()
    shot(page, "gallery-empty")
    page.get_by_role("button", name="Go and paint").click()
    assert page.get_by_role("tab", name="Paint").get_attribute("aria-selected") == "true"


def test_a_kept_picture_opens_in_paint(page: Page, client: Client) -> None:
    client.keep(9)
    page.goto("/#gallery")
    page.locator(".gallery-item").click()
    page.get_by_role("button", name="Open in Paint").click()
    assert page.get_by_role("tab", name="Paint").get_attribute("aria-selected") == "true"
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Brush", exact=True).wait_for()


def test_models_with_their_licences_and_what_could_not_be_opened(
    page: Page, studio: Any, client: Client, shot: Callable[..., None]
) -> None:
    broken = studio.home / "runs" / "broken"
    broken.mkdir(parents=True, exist_ok=True)
    (broken / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0no json!")
    models, _ = client.ask("models")
    try:
        page.goto("/#models")
        page.get_by_role("heading", name="Files that could not be opened").wait_for()
        assert "broken" in page.locator(".model-problems").inner_text()
        shot(page, "models", whole=True)
    finally:
        (broken / "model.safetensors").unlink()
        broken.rmdir()
    assert page.locator(".model-card").count() == len(models["models"])
    for model in models["models"]:
        card = page.locator(f"[data-model='{model['id']}']")
        assert card.get_by_role("heading").inner_text() == model["name"]
        # Models that other tests of this studio trained state none.
        assert model["card"].get("licence", "not stated") in card.locator(".model-licence").inner_text()
    assert "a label map, a style (optional)" in page.locator("[data-model='demo']").inner_text()

    for name, tab in (("Use Streets", "Paint"), ("Use Fruits", "Translate"), ("Use Mixed streets", "Paint")):
        page.get_by_role("tab", name="Models").click()
        page.get_by_role("button", name=name).click()
        assert page.get_by_role("tab", name=tab).get_attribute("aria-selected") == "true"
