"""Sketches as people have them all become the same black lines on white; what is no sketch is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pinxit.data.outlines import GRID
from pinxit.data.sketches import Sketch, find_sketches, normalised, outline_of, preview, read_sketch, read_sketches
from pinxit.errors import PinxitError

SIZE = (64, 64)
SIDE = 480


def drawing(width: int = 10) -> np.ndarray:
    """A pear of sorts: 0 where the pen was, else 1, [SIDE, SIDE]."""
    page = Image.new("L", (SIDE, SIDE), 255)
    pen = ImageDraw.Draw(page)
    pen.ellipse((100, 160, 380, 440), outline=0, width=width)
    pen.line([(240, 160), (250, 90), (290, 60)], fill=0, width=width)
    return np.asarray(page).astype(np.float32) / 255


def light(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Warm light from one side with the shadow of a hand, [SIDE, SIDE, 3], and the grain of paper and sensor."""
    y, x = np.mgrid[0:1:SIDE * 1j, 0:1:SIDE * 1j]  # fmt: skip
    shadow = np.where((x - 1) ** 2 + (y - 1) ** 2 < 0.2, 0.7, 1.0)
    warm = ((0.4 + 0.35 * x + 0.15 * y) * shadow)[..., None] * np.array([1, 0.93, 0.8])
    return warm, np.random.default_rng(seed).normal(0, 4, (SIDE, SIDE, 3))


def image(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.round(values).clip(0, 255).astype(np.uint8))


def forms() -> dict[str, Callable[[], Image.Image]]:
    lines = drawing()
    warm, grain = light()
    ink = image(255 * (1 - lines))

    def rgba(color: int) -> Image.Image:
        return Image.merge("RGBA", [Image.new("L", (SIDE, SIDE), color)] * 3 + [ink])

    return {
        "grey paper": lambda: image(190 * lines),
        "phone photo": lambda: image((0.25 + 0.75 * lines)[..., None] * warm * 255 + grain),
        "pencil": lambda: image((0.75 + 0.25 * lines)[..., None] * warm * 255 + grain),
        "white on black": lambda: image(255 * (1 - lines)),
        "chalk on a board": lambda: image((1 - lines)[..., None] * 160 + 60 * warm + grain),
        "blue pen": lambda: image(255 - (1 - lines)[..., None] * np.array([215, 195, 35])),
        "yellow pen": lambda: image(255 - (1 - lines)[..., None] * np.array([0, 0, 255])),
        "transparent, black strokes": lambda: rgba(0),
        "transparent, white strokes": lambda: rgba(255),
        "1 bit": lambda: image(255 * lines).convert("1"),
        "palette": lambda: image(255 * lines).convert("P"),
        "large": lambda: image(255 * lines).resize((4 * SIDE, 4 * SIDE)),
    }


@pytest.mark.parametrize("form", forms())
def test_all_forms_become_the_same(tmp_path: Path, form: str) -> None:
    want = normalised(image(255 * drawing()), SIZE).lines
    forms()[form]().save(tmp_path / "s.png")
    sketch = read_sketch(tmp_path / "s.png", SIZE)
    assert sketch.lines.shape == (1, *SIZE)
    assert sketch.lines.dtype == np.float32
    assert sketch.lines.min() >= -1
    assert sketch.lines.max() == 1
    assert not any("photo," in note for note in sketch.notes)
    assert np.abs(sketch.lines - want).mean() < 0.05
    ours, theirs = sketch.lines < 0, want < 0
    assert (ours & theirs).sum() > 0.8 * max(ours.sum(), theirs.sum()) > 50


def test_an_svg_is_the_same_drawing(tmp_path: Path) -> None:
    (tmp_path / "s.svg").write_text(
        '<svg viewBox="0 0 480 480" xmlns="http://www.w3.org/2000/svg" fill="none" stroke="black" stroke-width="10">'
        '<circle cx="240" cy="300" r="135"/><path d="M240 160L250 90L290 60"/></svg>'
    )
    want = normalised(image(255 * drawing()), SIZE).lines
    assert np.abs(read_sketch(tmp_path / "s.svg", SIZE).lines - want).mean() < 0.05


def test_a_sticker_keeps_its_white() -> None:
    lines = drawing()
    alpha = image(np.where(np.hypot(*(np.mgrid[0:SIDE, 0:SIDE] - 240)) < 225, 255, 0))
    sticker = Image.merge("RGBA", [image(255 * lines)] * 3 + [alpha])
    assert np.abs(normalised(sticker, SIZE).lines - normalised(image(255 * lines), SIZE).lines).mean() < 0.05


def test_thin_lines_are_thickened_and_told() -> None:
    thin, thick = (normalised(image(255 * drawing(width)), SIZE) for width in (1, 10))
    assert any("has lines of 0.095 pixels at 64x64; they are made 0.6 wide" in note for note in thin.notes)
    assert not thick.notes
    assert (thin.lines < 0.5).sum() > 0.5 * (thick.lines < 0.5).sum()


def test_another_aspect_is_padded_or_refused(tmp_path: Path) -> None:
    image(255 * drawing()[60:440]).save(tmp_path / "s.png")
    sketch = read_sketch(tmp_path / "s.png", SIZE)
    assert (sketch.lines[:, :5] == 1).all()
    assert (sketch.lines[:, -5:] == 1).all()
    assert "is 480x380 (width x height), of another aspect than 64x64; it is padded with white" in sketch.notes[0]
    with pytest.raises(PinxitError, match=r"size of sketch '.*' is 480x380, expected the aspect of 64x64 \(width x"):
        read_sketch(tmp_path / "s.png", SIZE, pad=False)
    assert read_sketch(tmp_path / "s.png", (38, 48), pad=False).lines.shape == (1, 38, 48)


def photo() -> Image.Image:
    """A red ball before hills of grass."""
    y, x = np.mgrid[0:1:SIDE * 1j, 0:1:SIDE * 1j]  # fmt: skip
    blades = np.random.default_rng(1).normal(1, 0.25, (SIDE // 4, SIDE // 4)).repeat(4, 0).repeat(4, 1)
    hills = np.where((y > 0.5 + 0.1 * np.sin(9 * x))[..., None], (60, 120, 40), (120, 160, 230))
    hills = hills * ((0.6 + 0.4 * x) * blades)[..., None]
    ball = (np.hypot(x - 0.5, y - 0.6) < 0.25)[..., None]
    return image(np.where(ball, np.array([200, 40, 40]) * (1.2 - x)[..., None], hills) + light()[1])


@pytest.mark.parametrize("grey", [False, True])
def test_a_photo_warns(grey: bool) -> None:
    picture = photo().convert("L") if grey else photo()
    told = [note for note in normalised(picture, SIZE, name="sketch 'ball.jpg'").notes if "photo" in note]
    assert len(told) == 1
    assert told[0].startswith("sketch 'ball.jpg' looks like a photo, not like lines on paper (")
    assert told[0].endswith("; draw its lines, or go on as it is")


@pytest.mark.parametrize("kind", ["white", "black", "paper", "transparent"])
def test_blank(tmp_path: Path, kind: str) -> None:
    warm, grain = light()
    page = {
        "white": Image.new("L", (50, 50), 255),
        "black": Image.new("RGB", (50, 50)),
        "paper": image(warm * 255 + grain),
        "transparent": Image.new("RGBA", (50, 50)),
    }[kind]
    page.save(tmp_path / "s.png")
    with pytest.raises(PinxitError, match=r"^sketch '.*' is blank, expected lines that stand out from the paper; draw"):
        read_sketch(tmp_path / "s.png", SIZE)


def test_none_and_missing(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^the number of sketches is 0, expected 1 or more; name some$"):
        read_sketches([], SIZE)
    with pytest.raises(PinxitError, match=r"^folder '.*' is without sketches, expected one or more"):
        read_sketches([tmp_path], SIZE)
    with pytest.raises(PinxitError, match=r"^sketch '.*none.png' is missing"):
        find_sketches([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PinxitError, match=r"^sketch '.*text.png' is not a picture"):
        read_sketch(tmp_path / "text.png", SIZE)


def test_folders_in_natural_order(tmp_path: Path) -> None:
    for name in ("10.png", "9.PNG", "1.svg", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_sketches([tmp_path, tmp_path / "9.PNG"])] == ["1.svg", "9.PNG", "10.png"]


def test_the_preview_shows_them_all() -> None:
    lines = normalised(image(255 * drawing()), SIZE)
    sheet = preview([lines] * 7, columns=4)
    assert sheet.size == (4 * 132 + 4, 2 * 132 + 4)
    assert np.asarray(sheet)[4:132, 4:132].mean() == pytest.approx((lines.lines.mean() + 1) * 127.5, abs=1)
    assert preview([Sketch("one", np.ones((1, 200, 100), np.float32), [])]).size == (108, 208)


def test_outlines_of_a_disk() -> None:
    y, x = np.mgrid[0:200, 0:200]
    disk = image(np.where((np.hypot(x - 100, y - 100) < 60)[..., None], (180, 60, 30), 255))
    lines = np.asarray(outline_of(disk)) == 0
    assert lines.shape == (GRID, GRID)
    y, x = np.nonzero(lines)
    assert np.hypot(x - 49.5, y - 49.5) == pytest.approx(29.5, abs=1.5)
    assert 150 < lines.sum() < 260
    assert not (np.asarray(outline_of(Image.new("RGB", (64, 64), "red"))) == 0).any()


@pytest.mark.parametrize(("name", "pattern"), [("fruit_sketches", "Pear*/*.png"), ("quickdraw28", "png/*/*.png")])
def test_real_sketches(pack: Callable[[str], Path], name: str, pattern: str) -> None:
    files = sorted(pack(name).glob(pattern))
    sketches = read_sketches(files, SIZE)
    assert len(sketches) == len(files) > 20
    assert not [note for sketch in sketches for note in sketch.notes if "photo" in note or "invert" in note]
    assert all(0.005 < (sketch.lines < 0.5).mean() < 0.5 for sketch in sketches)


def test_real_photos_warn(pack: Callable[[str], Path]) -> None:
    files = sorted(pack("outdoor_photos").glob("*.jpg"))[:12]
    told = [any("photo," in note for note in read_sketch(file, SIZE).notes) for file in files]
    assert sum(told) > 0.8 * len(files) > 4


def test_outlines_are_those_of_edges2fruits(pack: Callable[[str], Path]) -> None:
    """Of lines and lines, nine in ten pixels lie within a pixel of the other's."""

    def near(lines: np.ndarray) -> np.ndarray:
        wide = np.pad(lines, 1)
        return np.any([wide[y : y + GRID, x : x + GRID] for y in range(3) for x in range(3)], axis=0)

    shares = []
    for file in sorted(pack("edges2fruits").glob("val/*.jpg"))[::5]:
        both = Image.open(file)
        theirs = np.asarray(both.crop((0, 0, 128, 128)).convert("L").resize((GRID, GRID))) < 128
        ours = np.asarray(outline_of(both.crop((128, 0, 256, 128)))) < 128
        shares.append(((ours & near(theirs)).sum() / ours.sum(), (theirs & near(ours)).sum() / theirs.sum()))
    assert np.mean(shares, axis=0).min() > 0.9
