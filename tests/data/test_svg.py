"""SVG sketches: what is drawn where, and what is refused."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from pinxit.data.svg import draw_svg
from pinxit.errors import PinxitError


def drawn(folder: Path, inside: str, head: str = 'viewBox="0 0 100 100"', side: int = 100) -> np.ndarray:
    (folder / "s.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {head}>{inside}</svg>', encoding="utf-8")
    return np.asarray(draw_svg(folder / "s.svg", side))


PEN = 'fill="none" stroke="black" stroke-width="4"'
SAME = {
    "line": f'<line x1="20" y1="30" x2="80" y2="30" {PEN}/>',
    "polyline": f'<polyline points="20,30 80 30" {PEN}/>',
    "path": f'<path d="M20 30H80" {PEN}/>',
    "relative path": f'<path d="m20,30 l30-0 30 0" {PEN}/>',
    "style": '<path d="M20 30L80 30" style="fill:none; stroke: #000; stroke-width:4px"/>',
    "class": "<style>.a, .b {fill:none;stroke:#000;stroke-width:4}</style><path class='b' d='M20 30V30h60'/>",
    "inherited": '<g fill="none" stroke="black"><g stroke-width="4"><path d="M20 30 80 30"/></g></g>',
    "moved": f'<g transform="translate(10 20)"><path transform="scale(2)" d="M5 5h30" {PEN.replace("4", "2")}/></g>',
    "turned": f'<path transform="rotate(90 50 30)" d="M50 0V60" {PEN}/>',
    "matrix": f'<path transform="matrix(0 1 -1 0 60 0)" d="M30 -20V40" {PEN}/>',
    "straight curves": f'<path d="M20 30C30 30 40 30 50 30S70 30 80 30M20 30Q30 30 50 30T80 30" {PEN}/>',
}


@pytest.mark.parametrize("name", SAME)
def test_one_line_in_many_ways(tmp_path: Path, name: str) -> None:
    page, want = drawn(tmp_path, SAME[name]), drawn(tmp_path, SAME["line"])
    assert (want < 128).sum() == pytest.approx(4 * 60, rel=0.2)
    rows, columns = np.nonzero(page < 128)
    assert (rows.min(), rows.max()) == pytest.approx((28, 32), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((19, 81), abs=2)
    assert (page != want).mean() < 0.015


@pytest.mark.parametrize(
    "shape",
    [
        '<circle cx="50" cy="40" r="30"/>',
        '<ellipse cx="50" cy="40" rx="30" ry="30"/>',
        '<path d="M20 40A30 30 0 0 1 80 40a30 30 0 0 1-60 0z"/>',
        '<path d="M20 40a30,30 0 1160,0 30 30 0 11-60 0z" transform="translate(0) scale(1)"/>',
    ],
    ids=["circle", "ellipse", "arcs", "flags without spaces"],
)
def test_round_things(tmp_path: Path, shape: str) -> None:
    page = drawn(tmp_path, shape)
    y, x = np.mgrid[0:100, 0:100]
    disk = np.hypot(x - 50, y - 40) < 30
    assert ((page < 128) != disk).mean() < 0.02


def test_fills_are_black_by_default_and_holes_stay(tmp_path: Path) -> None:
    page = drawn(tmp_path, '<path d="M10 10H90V90H10Z M30 30H70V70H30Z"/>')
    assert page[20, 20] == 0
    assert page[50, 50] == 255
    assert drawn(tmp_path, '<rect x="10" y="10" width="50" height="50" fill="#808080"/>')[30, 30] == 128


def test_what_is_hidden_is_not_drawn(tmp_path: Path) -> None:
    inside = '<defs><path d="M0 0H90V90Z"/></defs><g display="none"><path d="M0 0H90V90Z"/></g>'
    page = drawn(tmp_path, inside + SAME["line"])
    assert (page != drawn(tmp_path, SAME["line"])).sum() == 0


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ('viewBox="0 0 100 50"', (50, 100)),
        ('viewBox="0 0 100 50" width="7" height="9"', (50, 100)),
        ('width="30mm" height="60mm"', (100, 50)),
        ("", (7, 100)),
    ],
)
def test_size(tmp_path: Path, head: str, size: tuple[int, int]) -> None:
    assert drawn(tmp_path, SAME["line"], head).shape == pytest.approx(size, abs=6)


BOMB = '<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
REFUSED = {
    "entities": (BOMB + '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0L1 1"/></svg>', "with a DOCTYPE"),
    "a file outside": ('<!DOCTYPE svg SYSTEM "file:///etc/passwd"><svg/>', "with a DOCTYPE"),
    "no lines": ('<svg xmlns="http://www.w3.org/2000/svg"><text>pear</text></svg>', "without lines"),
    "another file": ("<html><p/></html>", "a file of <html>"),
    "cut": ('<svg xmlns="http://www.w3.org/2000/svg"><path', "damaged"),
    "text": ("a pear", "damaged"),
    "numbers that lack": ('<svg><path d="M0 0L1"/></svg>', "damaged (1 numbers after L in a path)"),
    "a huge number": ('<svg viewBox="0 0 9 9"><path d="M0 0L1e999 1"/></svg>', "damaged (a coordinate"),
    "deep": ("<svg>" + "<g>" * 100 + '<path d="M0 0L1 1"/>' + "</g>" * 100 + "</svg>", "groups too deep"),
    "a thread": ('<svg viewBox="0 0 1 1000"><path d="M0 0L1 1"/></svg>', "of size 1x1000"),
    "no place": ('<svg viewBox="0 0 0 0"><path d="M0 0L1 1"/></svg>', "of size 0x0"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_refused(tmp_path: Path, name: str, encoding: str) -> None:
    text, told = REFUSED[name]
    path = tmp_path / "s.svg"
    path.write_text(text, encoding=encoding)
    with pytest.raises(PinxitError) as error:
        draw_svg(path)
    assert str(error.value).startswith(f"sketch '{path}' is ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match="missing"):
        draw_svg(tmp_path / "none.svg")


def test_thousands_of_small_shapes_are_quick(tmp_path: Path) -> None:
    small = "".join(f"M{x} {y}h.4v.4h-.4z" for x in range(0, 100, 2) for y in range(0, 100, 2))
    begun = time.perf_counter()
    page = drawn(tmp_path, f'<path d="{small}M-9-9h3v3z"/>', side=1024)
    assert time.perf_counter() - begun < 20
    assert (page < 128).mean() == pytest.approx(0.06, abs=0.02)  # 5x5 pixels each, both rims counted
