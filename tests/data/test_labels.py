from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from pinxit.data.labels import Label, LabelSet, distinct_colors, label_set_names, load_label_set, numbered
from pinxit.errors import PinxitError

NAMES = ("ade20k", "camvid", "cityscapes", "coco_stuff", "facades")
SHAPES = {
    "ade20k": (150, 151),
    "camvid": (11, 12),
    "cityscapes": (35, 35),
    "coco_stuff": (182, 183),
    "facades": (13, 13),
}


def a_set(ignore: tuple[int, ...] = (9,)) -> LabelSet:
    return LabelSet("some", (Label(3, "sea", (0, 0, 200), "water"), Label(7, "sand", (200, 180, 90), "ground")), ignore)


def test_shipped_sets_have_the_channels_of_the_released_models() -> None:
    assert label_set_names() == NAMES
    for name, (labels, channels) in SHAPES.items():
        label_set = load_label_set(name)
        assert (label_set.name, len(label_set.labels), label_set.channels) == (name, labels, channels)
        assert all(label.group and label.name for label in label_set.labels)
        assert all(label.color is not None for label in label_set.labels)


def test_shipped_sets_agree_with_the_lists_of_the_data_sets(pack: Callable[[str], Path]) -> None:
    lines = (pack("coco_stuff") / "labels.txt").read_text().split("\n")
    coco = load_label_set("coco_stuff")
    assert [f"{label.id} {label.name}" for label in coco.labels] + ["255 unlabeled"] == [line for line in lines if line]
    rows = (pack("ade20k") / "objectInfo150.csv").read_text().splitlines()[1:]
    for label, row in zip(load_label_set("ade20k").labels, rows, strict=True):
        id, *_, names = row.split(",")
        assert label.id == int(id)
        assert names.replace(";", " ").startswith(label.name)
    for name in ("camvid", "cityscapes"):
        text = (pack(name) / "README.md").read_text()
        listed = [label for label in load_label_set(name).labels if label.name != "license plate"]
        assert all(f"{label.id} {label.name}" in text for label in listed)
    text = (pack("camvid") / "README.md").read_text()
    for label in load_label_set("camvid").labels:
        assert f"{label.id} {label.name} {str(label.color).replace(' ', '')}" in text


def test_index_is_the_position_and_every_ignored_id_is_unknown() -> None:
    ids = np.array([[3, 7, 9]], np.int32)
    label_set = a_set()
    index = label_set.index_of(ids, "x.png")
    assert index.dtype == np.int64
    assert index.tolist() == [[0, 1, 2]]
    assert label_set.unknown == 2
    assert label_set.ids_of(index).tolist() == ids.tolist()
    ade = load_label_set("ade20k")
    assert ade.index_of(np.array([0, 1, 150], np.uint8), "x").tolist() == [150, 0, 149]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, ">u2"])
def test_ids_outside_the_set_are_named(dtype: str) -> None:
    with pytest.raises(PinxitError) as error:
        load_label_set("coco_stuff").index_of(np.array([[0, 201, 255]], dtype), "cat.png")
    assert str(error.value).startswith("label map 'cat.png' has value 201, expected 0..181 or 255 (unknown); ")


def test_the_remedy_names_the_set_that_fits_or_the_id_to_ignore() -> None:
    camvid = load_label_set("camvid")
    with pytest.raises(PinxitError, match="is this coco_stuff"):
        camvid.index_of(np.array([[0, 170, 255]], np.uint8), "x.png")
    with pytest.raises(PinxitError, match="add 255 to ignore"):
        camvid.index_of(np.array([[0, 1, 255]], np.uint8), "x.png")
    with pytest.raises(
        PinxitError, match=r"has values 1000, 2000, expected 0\.\.10 or 11 \(unknown\); name the label set"
    ):
        camvid.index_of(np.array([[1000, 1000, 2000]], np.uint16), "x.png")
    with pytest.raises(PinxitError, match="-1"):
        camvid.index_of(np.array([[-1]], np.int32), "x.png")


def test_unknown_where_the_set_ignores_nothing_is_refused() -> None:
    with pytest.raises(PinxitError, match=r"a label index is 0\.\.2, expected 0\.\.1"):
        a_set(ignore=()).ids_of(np.array([0, 2]))


def test_colours_outside_the_set_are_named_with_count_and_nearest_label() -> None:
    rgb = np.zeros((1, 4, 3), np.uint8)
    rgb[0, 0] = (0, 0, 200)
    rgb[0, 1:3] = (199, 180, 90)
    with pytest.raises(PinxitError) as error:
        a_set().from_colors(rgb, "drawing.png")
    assert str(error.value) == (
        "colour map 'drawing.png' has colour (199, 180, 90) (2 px, nearest is 'sand' (200, 180, 90)), expected the "
        "colours of label set 'some'; paint with the set's colours, or add the colour to it"
    )


def test_the_remedy_for_colours() -> None:
    with pytest.raises(PinxitError, match="is this cityscapes"):
        a_set().from_colors(np.array([[[70, 130, 180]]], np.uint8), "x.png")
    soft = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    with pytest.raises(PinxitError, match=r"and 60 more.*anti-aliasing"):
        a_set().from_colors(soft, "x.png")


def test_of_labels_that_share_a_colour_the_first_is_meant() -> None:
    cityscapes = load_label_set("cityscapes")
    rgb = np.array([[[0, 0, 0], [153, 153, 153], [0, 0, 142]]], np.uint8)
    found = [cityscapes.labels[index].name for index in cityscapes.from_colors(rgb, "x")[0]]
    assert found == ["unlabeled", "pole", "car"]


@pytest.mark.parametrize("name", [*NAMES, "numbered"])
@given(data=st.data())
def test_colours_round_trip(name: str, data: st.DataObject) -> None:
    label_set = numbered(300, ignore=(300,)) if name == "numbered" else load_label_set(name)
    shape = arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)
    index = data.draw(arrays.arrays(np.int64, shape, elements=st.integers(0, label_set.channels - 1)))
    rgb = label_set.colorize(index)
    assert rgb.dtype == np.uint8
    again = label_set.colorize(label_set.from_colors(rgb, "x"))
    assert (again == rgb).all()
    if len(np.unique(label_set.palette, axis=0)) == len(label_set.palette):
        assert (label_set.from_colors(rgb, "x") == index).all()


def test_only_labels_that_the_authors_gave_one_colour_share_one() -> None:
    for name in NAMES:
        colors = [label.color for label in load_label_set(name).labels]
        assert len(colors) - len(set(colors)) == {"cityscapes": 6, "ade20k": 1}.get(name, 0)
    assert len(set(distinct_colors(4096))) == 4096


def test_unknown_is_black_unless_a_label_is() -> None:
    assert a_set().palette[-1].tolist() == [0, 0, 0]
    black = LabelSet("x", (Label(0, "night", (0, 0, 0), "sky"), Label(1, "day", None, "sky")), (255,))
    assert black.palette.tolist()[::2] == [[0, 0, 0], [255, 255, 255]]
    assert len({tuple(color) for color in black.palette.tolist()}) == 3


def test_json_round_trip() -> None:
    for name in NAMES:
        label_set = load_label_set(name)
        assert LabelSet.from_json(json.loads(json.dumps(label_set.to_json()))) == label_set
    assert pickle.loads(pickle.dumps(a_set())) == a_set()


def test_a_set_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "beach.json"
    path.write_text(json.dumps(a_set().to_json()))
    assert load_label_set(path) == a_set() == load_label_set(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"label set file '.*bad.json' is not JSON"),
        ("[]", "of another form"),
        ('{"name": "x", "labels": []}', "label set 'x' is empty"),
        ('{"name": "x", "labels": [{"id": 0}]}', r"label 0 of label set file '.*bad.json' is {'id': 0}, expected"),
        ('{"name": "x", "labels": [{"id": 0, "name": "a", "color": [1, 2]}]}', r"color of label 0 .* is \[1, 2\]"),
        ('{"name": "x", "labels": [{"id": 0, "name": "a", "color": [1, 2, 256]}]}', "256.*expected three of 0..255"),
        ('{"name": "x", "labels": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}', "id '0' of .* is given twice"),
        ('{"name": "x", "labels": [{"id": 0, "name": "a"}, {"id": 1, "name": "a"}]}', "name 'a' of .* is given twice"),
        ('{"name": "x", "ignore": [0], "labels": [{"id": 0, "name": "a"}]}', "id 0 of .* is both a label and ignored"),
        ('{"name": "x", "ignore": 255, "labels": [{"id": 0, "name": "a"}]}', "ignore of .* is 255, expected a list"),
        ('{"name": "x", "labels": [{"id": -1, "name": "a"}]}', "is -1, expected 0..65535"),
    ],
)
def test_a_malformed_file_is_told(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(PinxitError, match=message) as error:
        load_label_set(path)
    assert "\n" not in str(error.value)


def test_names_are_suggested() -> None:
    with pytest.raises(PinxitError, match=r"label set is 'coco_stuf', expected one of .*; did you mean 'coco_stuff'\?"):
        load_label_set("coco_stuf")
    with pytest.raises(PinxitError, match=r"label set file 'my/set.json' is missing"):
        load_label_set("my/set.json")
    with pytest.raises(PinxitError, match=r"did you mean 'sand'\?"):
        a_set().index("sandy")
    assert a_set().index("sand") == 1
    with pytest.raises(PinxitError, match="number of labels is 0"):
        numbered(0)


@pytest.mark.parametrize(("name", "folder"), [("cityscapes", "cityscapes/train_label"), ("camvid", "camvid/val_label")])
def test_real_maps_survive_their_colours(pack: Callable[[str], Path], name: str, folder: str) -> None:
    with Image.open(min(pack(folder).iterdir())) as image:
        ids = np.array(image)
    label_set = load_label_set(name)
    rgb = label_set.colorize(label_set.index_of(ids, "x"))
    assert (label_set.colorize(label_set.from_colors(rgb, "x")) == rgb).all()


def test_a_number_is_a_plain_label_set() -> None:
    assert [label.id for label in load_label_set("3").labels] == [0, 1, 2]
