"""The shipped street scenes paint whole, sane label maps at any size, and a bad file is named in one line."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

from pinxit.data.labels import load_label_set
from pinxit.data.layouts import UNKNOWN, Layout, Shape, load_layouts
from pinxit.errors import PinxitError

CAMVID = [*(label.name for label in load_label_set("camvid").labels), UNKNOWN]
LAYOUTS = load_layouts()
FRAME = ((0, 0), (1, 0), (1, 1), (0, 1))

each = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def shares(ids: np.ndarray) -> dict[str, float]:
    return dict(zip(CAMVID, np.bincount(ids.ravel(), minlength=len(CAMVID)) / ids.size, strict=True))


def test_six_scenes_with_titles_in_a_small_file():
    assert len(LAYOUTS) == len({layout.name for layout in LAYOUTS}) == 6
    assert all(layout.title["en"] and layout.title["ja"] and layout.size == (192, 256) for layout in LAYOUTS)
    assert len(files("pinxit.embedded").joinpath("layouts.json").read_bytes()) < 40_000


@each
@pytest.mark.parametrize("size", [(192, 256), (96, 128), (90, 171), (1, 1)])
def test_every_pixel_has_a_label(layout: Layout, size: tuple[int, int]):
    ids = layout.draw(CAMVID, size)
    assert ids.shape == size
    assert ids.dtype == np.int64
    assert set(np.unique(ids)) <= set(range(len(CAMVID)))


@each
def test_shares_are_those_of_a_street(layout: Layout):
    """Ranges are the extremes of CamVid's 367 training maps, a little narrowed; small things are there, but small."""
    share = shares(layout.draw(CAMVID, layout.size))
    assert 0.10 < share["Sky"] < 0.40
    assert 0.15 < share["Road"] < 0.42
    assert 0.01 < share["Pavement"] < 0.12
    assert 0.15 < share["Building"] + share["Tree"] < 0.60
    assert 0.005 < share["Pole"] < 0.03
    assert 0.001 < share["SignSymbol"] < 0.03
    assert 0.001 < share["Car"] < 0.20
    assert max(share["Fence"], share["Pedestrian"], share["Bicyclist"]) < 0.05
    assert share[UNKNOWN] < 0.02


@each
def test_sky_is_above_and_road_below(layout: Layout):
    ids = layout.draw(CAMVID, layout.size)
    assert np.mean(ids[:20] == CAMVID.index("Sky")) > 0.15
    assert np.mean(ids[-20:] == CAMVID.index("Road")) > 0.5
    assert not np.any(ids[130:] == CAMVID.index("Sky"))


def test_every_label_is_used():
    assert {shape.label for layout in LAYOUTS for shape in layout.shapes} == set(CAMVID)


@each
def test_two_sizes_agree(layout: Layout):
    small, large = layout.draw(CAMVID, (96, 128)), layout.draw(CAMVID, (192, 256))
    assert np.mean(small == large[::2, ::2]) > 0.9
    a, b = shares(small), shares(large)
    assert all(abs(a[label] - b[label]) < 0.03 for label in CAMVID)


@each
@pytest.mark.parametrize("size", [(96, 128), (192, 256), (48, 64)])
def test_each_pole_alone_is_unbroken(layout: Layout, size: tuple[int, int]):
    """A pole, painted without what stands before it, has a pixel in every row from its top to its foot."""
    for shape in layout.shapes:
        if shape.label == "Pole":
            alone = Layout("alone", {}, (Shape("Sky", FRAME), shape), size).draw(["Sky", "Pole"], size)
            rows = np.flatnonzero(alone.any(axis=1))
            ys = [y * (size[0] - 1) for _, y in shape.points]
            assert rows[0] <= min(ys) + 0.5
            assert rows[-1] >= max(ys) - 0.5
            assert len(rows) == rows[-1] - rows[0] + 1


def test_a_sliver_between_pixels_is_drawn_whole():
    sliver = Shape("Pole", ((0.1, 0.2), (0.9, 0.3), (0.9, 0.301), (0.1, 0.201)))
    ids = Layout("sliver", {}, (Shape("Sky", FRAME), sliver), (40, 40)).draw(["Sky", "Pole"], (40, 40))
    assert (ids == 1).any(axis=0).sum() == 32


def test_ids_follow_the_order_of_the_labels():
    layout = LAYOUTS[0]
    forward, backward = layout.draw(CAMVID, (96, 128)), layout.draw(CAMVID[::-1], (96, 128))
    assert np.array_equal(backward, len(CAMVID) - 1 - forward)


def test_a_label_outside_the_set_is_unknown():
    without_car = [label for label in CAMVID if label != "Car"]
    forward, partial = LAYOUTS[2].draw(CAMVID, (96, 128)), LAYOUTS[2].draw(without_car, (96, 128))
    assert np.array_equal(partial == len(without_car), forward == CAMVID.index("Car"))


def test_an_empty_size_is_refused():
    with pytest.raises(PinxitError, match="layout size is 0x256"):
        LAYOUTS[0].draw(CAMVID, (0, 256))


def content(*shapes: Any) -> dict[str, Any]:
    scene = {"name": "x", "title": {"en": "X"}, "shapes": [{"label": "Sky", "points": FRAME}, *shapes]}
    return {"size": [192, 256], "labels": "camvid", "layouts": [scene]}


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(json.dumps(content({"label": "Road", "points": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]]})))
    (layout,) = load_layouts(path)
    ids = layout.draw(["Sky", "Road"], (10, 10))
    assert ids[:4].max() == 0
    assert ids[5:].min() == 1


TRIANGLE = [[0, 0], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (content({"label": "Cra", "points": TRIANGLE}), r"label of shape 1 of layout 'x' .* is 'Cra', .* mean 'Car'"),
        (content({"label": "Car", "points": TRIANGLE[:2]}), r"shape 1 .* is Car with 2 points, expected at least 3"),
        (
            content({"label": "Car", "points": [*TRIANGLE, [0.5, 1.2]]}),
            r"point of shape 1 .* is \[0.5, 1.2\], expected .*0\.\.1",
        ),
        (content({"label": "Car", "points": [*TRIANGLE, [float("nan"), 0]]}), r"point of shape 1 .* is \[nan, 0\]"),
        (content({"label": "Car", "points": [*TRIANGLE, "a"]}), r"point of shape 1 .* is a, expected"),
        (content({"label": "Car"}), r"shape 1 .* is \{'label': 'Car'\}, expected"),
        (content() | {"labels": "camvit"}, r"label set is 'camvit', .* mean 'camvid'"),
        (content() | {"layouts": []}, r"is of another form"),
        (content() | {"layouts": [{"name": "x"}]}, r"layout in .* is \{'name': 'x'\}, expected"),
        ([], r"is of another form"),
    ],
)
def test_a_bad_file_is_named_in_one_line(tmp_path, bad: Any, message: str):
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(PinxitError, match=message) as error:
        load_layouts(path)
    assert "\n" not in str(error.value)


def test_a_scene_without_background_is_refused(tmp_path):
    bad = content()
    bad["layouts"][0]["shapes"][0]["points"] = TRIANGLE
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(bad))
    with pytest.raises(PinxitError, match=r"shape 0 of layout 'x' .* is Sky over a part of the frame"):
        load_layouts(path)


def test_a_missing_and_a_cut_file_are_refused(tmp_path):
    with pytest.raises(PinxitError, match=r"none\.json' is unreadable"):
        load_layouts(tmp_path / "none.json")
    cut = tmp_path / "cut.json"
    cut.write_text('{"size": [192,')
    with pytest.raises(PinxitError, match=r"cut\.json' is not JSON"):
        load_layouts(cut)
