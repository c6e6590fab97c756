"""For everyone, on every page: names for screen readers, the keyboard, small and zoomed screens, Japanese, dark."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

READY = {
    "paint": "[data-testid=picture][data-picture]",
    "translate": "[data-testid=translate-result] img[src]:visible",
    "photo": "#panel-photo .panel",
    "sketch": ".sketch .notice:not([hidden]) button, .tiles .tile:last-child img[src]",
    "text": ".text > :not([hidden])",
    "gallery": ".gallery-grid, .sheet-empty",
    "models": ".model-card",
}
"""What is there once a page has all that it asks the server for."""
TABS = tuple(READY)
JAPANESE = {
    "paint": "ペイント",
    "translate": "変換",
    "photo": "1枚の写真",
    "sketch": "スケッチ",
    "text": "テキスト",
    "gallery": "ギャラリー",
    "models": "モデル",
}
INTERACTIVE = {
    *("application", "button", "checkbox", "combobox", "gridcell", "image", "img", "link", "listbox", "menuitem"),
    *("option", "radio", "radiogroup", "searchbox", "slider", "spinbutton", "switch", "tab", "tabpanel", "textbox"),
    *("Canvas", "group", "dialog", "region", "progressbar"),
}
"""Roles that say nothing without a name, the canvas and pictures with them (decoration is hidden from the tree)."""
NEEDLESS = {"group", "region"}
"""Of these, those that may also stand for nothing, as <details> and <section> do."""

EXPECTED = """
    const expected = () => [...document.querySelectorAll(
      "a[href], button, input, select, textarea, summary, canvas, [tabindex]"
    )].filter((element) =>
      element.tabIndex >= 0 && !element.disabled && element.checkVisibility({visibilityProperty: true})
      && !(element.type === "radio" && !element.checked)  // one of a group is reached, arrows go on
    );
    const told = (element) => element.outerHTML.slice(0, 140);
"""


def go(page: Page, tab: str) -> None:
    page.goto(f"/#{tab}")
    page.locator(READY[tab]).first.wait_for()


@pytest.mark.parametrize("tab", TABS)
def test_everything_has_a_name(page: Page, tab: str) -> None:
    go(page, tab)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    nodes = [node for node in tree["nodes"] if not node.get("ignored")]
    roles = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes]
    nameless = [role for role, name in roles if role in INTERACTIVE - NEEDLESS and not name]
    assert not nameless
    assert sum(role == "tab" for role, _ in roles) == len(TABS)
    assert sum(role == "button" for role, _ in roles) >= 2
    # A name twice says nothing about which of the two it is.
    buttons = [name for role, name in roles if role == "button"]
    assert sorted(buttons) == sorted(set(buttons))


@pytest.mark.parametrize("tab", TABS)
def test_the_keyboard_reaches_everything_and_one_sees_where_it_is(page: Page, tab: str) -> None:
    go(page, tab)
    page.evaluate(f"""() => {{
      {EXPECTED}
      const seen = new Set();
      const ringless = [];
      addEventListener("focusin", ({{target}}) => {{
        seen.add(target);
        const ring = (element) => getComputedStyle(element).outlineStyle !== "none";
        // A ring of its own, or one that is drawn on its picture, or around it.
        const near = [target, ...target.children, target.parentElement];
        if (!near.some(ring)) ringless.push(told(target));
      }});
      window.probe = {{
        left: () => expected().filter((element) => !seen.has(element)).map(told), ringless, count: expected().length,
      }};
    }}""")
    for _ in range(page.evaluate("probe.count") + 3):
        page.keyboard.press("Tab")
    assert page.evaluate("probe.left()") == []
    assert page.evaluate("probe.ringless") == []


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True},
        {"viewport": {"width": 360, "height": 640}},
        {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    ],
    ids=["phone", "small phone", "200 % zoom"],
)
def test_nothing_is_cut_off_at_the_side(
    open_page: Callable[..., Page], options: dict[str, Any], shot: Callable[..., None]
) -> None:
    page = open_page(**options)
    for tab in TABS:
        go(page, tab)
        shot(page, f"width-{options['viewport']['width']}-{tab}")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= options["viewport"]["width"], tab
        # What overflow: hidden would hide from that: every control is inside the window, or in a row that scrolls.
        outside = page.evaluate("""() => [...document.querySelectorAll("main button, main input, main select")]
          .filter((element) => element.checkVisibility({visibilityProperty: true}))
          .filter((element) => !element.closest(".visually-hidden"))
          .filter((element) => {
            const box = element.getBoundingClientRect();
            for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
              if (["auto", "scroll"].includes(getComputedStyle(up).overflowX)) return false;
            }
            return box.width > 0 && (box.left < -1 || box.right > innerWidth + 1);
          }).map((element) => element.outerHTML.slice(0, 140))""")
        assert outside == [], tab


@pytest.mark.parametrize("locale", ["en-US", "ja-JP"])
def test_it_speaks_the_language_of_the_browser(
    open_page: Callable[..., Page], locale: str, shot: Callable[..., None]
) -> None:
    page = open_page(locale=locale)
    for tab in TABS:
        go(page, tab)
        if locale == "ja-JP":
            shot(page, f"ja-{tab}")
        assert page.evaluate("document.documentElement.lang") == locale[:2]
        text = page.locator("body").inner_text()
        names = page.locator("[aria-label], [title]").evaluate_all(
            "all => all.map((one) => [one.ariaLabel, one.title, one.placeholder].join(' '))"
        )
        # A key that has no words is shown as it is.
        keys = re.findall(r"(?<![\w./-])(?:[a-z]+)\.[a-z][A-Za-z]+\b(?!\.)", "\n".join([text, *names]))
        assert not [key for key in keys if key.split(".")[0] in (*TABS, "tab", "shell", "dom", "compare", "player")], (
            tab
        )
        if locale == "ja-JP":
            assert page.get_by_role("tab", selected=True).inner_text() == JAPANESE[tab]
            buttons = page.locator("main button:visible, main summary:visible")
            own = page.locator("main button:visible:not([lang])").evaluate_all(
                "all => all.map((one) => one.ariaLabel || one.innerText.trim())"
            )
            assert buttons.count()
            plain = [name for name in own if re.fullmatch(r"[A-Z][a-z]+(?: [a-z]+)+", name)]
            assert not plain, f"English on the Japanese page: {plain}"


def test_the_language_can_be_chosen_and_is_remembered(page: Page) -> None:
    go(page, "models")
    page.get_by_role("button", name="日本語").click()
    page.get_by_role("tab", name="モデル").wait_for()
    page.goto("/#gallery")
    page.reload()
    page.get_by_role("tab", name="ギャラリー").wait_for()
    page.get_by_role("button", name="English").click()
    page.get_by_role("tab", name="Gallery").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_light_and_dark(
    open_page: Callable[..., Page], scheme: str, shot: Callable[..., None]
) -> None:
    page = open_page(color_scheme=scheme)
    for tab in TABS:
        go(page, tab)
        if scheme == "dark":
            shot(page, f"dark-{tab}")
        faint = page.evaluate(FAINT)
        assert faint == [], tab
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    brightness = [int(value) for value in re.findall(r"\d+", background)[:3]]
    assert max(brightness) < 64 if scheme == "dark" else min(brightness) > 192


FAINT = r"""() => {
  // WCAG 2: contrast of text with what is painted behind it, at least 4.5 (3 where it is large).
  const paint = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = (css) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = css;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data].map((value) => value / 255);
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (color) => {
    const [r, g, b] = color.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const layers = [];
    for (let up = element; up; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (style.backgroundImage !== "none") return null;  // a gradient or a picture: not for this test
      layers.push(rgba(style.backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under));
  };
  const faint = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})) continue;
    if (element.closest("[aria-disabled='true'], :disabled, .visually-hidden, .skip, script, style")) continue;
    const under = behind(element);
    if (!under) continue;
    let opacity = 1;
    for (let up = element; up; up = up.parentElement) opacity *= Number(getComputedStyle(up).opacity);
    if (opacity < 1) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(over(rgba(style.color), under)), light(under)].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (large ? 3 : 4.5)) faint.add(`${contrast.toFixed(2)} ${text.slice(0, 40)} (${element.className})`);
  }
  return [...faint];
}"""
