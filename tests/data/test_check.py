from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.data.augment import Preprocess
from pinxit.data.check import Report, check, check_folder
from pinxit.data.folders import Item, find
from pinxit.data.labels import load_label_set, numbered
from pinxit.errors import PinxitError

Write = Callable[..., Path]
LABELS = numbered(3, ignore=(255,))


def problem(report: Report) -> str:
    assert len(report.problems) == 1, report.problems
    assert "\n" not in report.problems[0]
    with pytest.raises(PinxitError, match="expected"):
        report.raise_if_bad()
    return report.problems[0]


def ids_in(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image).ravel()


def a_pair(tmp_path: Path, write: Write, ids: np.ndarray, photo: tuple[int, int] | None = None) -> list[Item]:
    shape = photo or (ids.shape[0], ids.shape[1])
    label = write(tmp_path / "map.png", ids)
    return [Item("map", label, write(tmp_path / "photo.png", np.zeros((*shape, 3), np.uint8)))]


@pytest.mark.parametrize(
    ("name", "split", "maps", "photos", "instances"),
    [
        ("camvid", "val", 101, 101, 0),
        ("coco_stuff", "train", 13, 13, 13),
        ("coco_stuff", "val", 8, 8, 8),
        ("cityscapes", "train", 8, 8, 8),
        ("cityscapes", "test", 15, 0, 15),
        ("ade20k", "val", 3, 3, 0),
    ],
)
def test_the_real_samples_are_sound(
    pack: Callable[[str], Path], name: str, split: str, maps: int, photos: int, instances: int
) -> None:
    labels, photos_required = load_label_set(name), split != "test"
    report = check_folder(pack(name), labels, split, photos_required=photos_required)
    report.raise_if_bad()
    assert not report.notes
    assert (report.maps, report.photos, report.instances) == (maps, photos, instances)
    files = [item.label for item in find(pack(name), split, photos_required=photos_required)]
    ids = np.concatenate([ids_in(file) for file in files])
    counts = {label.name: int((ids == label.id).sum()) for label in labels.labels}
    assert {**dict.fromkeys(report.absent, 0), **report.pixels, "(unknown)": 0} == {**counts, "(unknown)": 0}
    assert len(report.sizes) == maps
    assert sum(report.share.values()) == pytest.approx(1)
    assert sum(report.pixels.values()) == sum(height * width for height, width in report.sizes)


def test_the_table_tells_all(small_set: Path) -> None:
    (small_set / "train_img" / "3.png").unlink()
    report = check_folder(small_set, numbered(4, ignore=(255,)))
    lines = report.table().splitlines()
    assert lines[0] == "4 label maps, 4 photos, 4 instance maps"
    assert lines[1] == "size (height x width): 12x16"
    assert lines[2].split() == ["id", "label", "pixels", "files"]
    assert [line.split()[:3] for line in lines[3:6]] == [[str(id), "label", str(id)] for id in range(3)]
    assert lines[6].split()[0] == "(unknown)"
    assert lines[7] == "1 of 4 labels in no map: label 3"
    assert lines[8].startswith("problem: label map '")
    assert lines[9] == "1 problem"
    assert "3.png' has no photo, expected one of its name; add it or remove the file" in problem(report)


def test_progress_is_told(small_set: Path) -> None:
    calls: list[tuple[int, int]] = []
    check(find(small_set), LABELS, progress=lambda done, total: calls.append((done, total))).raise_if_bad()
    assert calls == [(number + 1, 5) for number in range(5)]


def test_ids_outside_the_set_are_one_line_for_all_files(small_set: Path) -> None:
    line = problem(check(find(small_set), numbered(3)))
    assert line.startswith(f"5 label maps ('{small_set / 'train_label' / '0.png'}', ")
    assert line.endswith(
        "have value 255, expected 0..2; if 255 means 'unknown', add 255 to ignore in the label set's .json file "
        "(--label-set FILE)"
    )


def test_the_set_that_fits_all_files_is_named(tmp_path: Path, write: Write) -> None:
    line = problem(check(a_pair(tmp_path, write, np.array([[0, 170, 255]], np.uint8)), load_label_set("camvid")))
    assert line.endswith(
        "has values 170, 255, expected 0..10 or 11 (unknown); is this coco_stuff (--label-set coco_stuff)?"
    )


def test_colours_outside_the_set(tmp_path: Path, write: Write) -> None:
    colors = np.full((2, 2, 3), (128, 128, 129), np.uint8)
    line = problem(check(a_pair(tmp_path, write, colors), load_label_set("camvid")))
    assert "map.png' has colour (128, 128, 129) (4 px, nearest is 'Sky' (128, 128, 128)), expected" in line
    colors[:] = (128, 128, 128)
    report = check(a_pair(tmp_path, write, colors), load_label_set("camvid"))
    report.raise_if_bad()
    assert report.share == {"Sky": 1.0}


def test_sizes_that_differ(tmp_path: Path, write: Write) -> None:
    items = a_pair(tmp_path, write, np.zeros((4, 6), np.uint8), photo=(4, 5))
    line = problem(check(items, LABELS))
    assert "photo.png' is 5x4, expected 6x4 (width x height) as its label map '" in line
    items = a_pair(tmp_path, write, np.zeros((4, 6), np.uint8))
    instance = write(tmp_path / "instance.png", np.zeros((2, 2), np.uint16))
    items = [Item("map", items[0].label, items[0].photo, instance)]
    assert "instance.png' is 2x2, expected 6x4" in problem(check(items, LABELS))
    check(items, LABELS, use_instances=False).raise_if_bad()


def test_unreadable_files(tmp_path: Path, write: Write) -> None:
    items = a_pair(tmp_path, write, np.zeros((40, 60), np.uint8))
    assert items[0].photo is not None
    items[0].photo.write_bytes(items[0].photo.read_bytes()[:60])
    assert "photo.png' is damaged" in problem(check(items, LABELS))
    items[0].label.write_text("no picture")
    assert len(check(items, LABELS).problems) == 2
    with pytest.raises(PinxitError, match=r"map.png' is not a picture, .* \(1 more: `pinxit data check` lists all\)$"):
        check(items, LABELS).raise_if_bad()


def test_instance_maps_of_one_value(tmp_path: Path, write: Write) -> None:
    items = a_pair(tmp_path, write, np.array([[0, 1]], np.uint8))
    flat = Item("map", items[0].label, items[0].photo, write(tmp_path / "flat.png", np.zeros((1, 2), np.uint16)))
    assert problem(check([flat], LABELS)).startswith("1 of 1 instance maps (first '")
    good = Item("map", flat.label, flat.photo, write(tmp_path / "good.png", np.array([[0, 9]], np.uint16)))
    report = check([flat, good], LABELS)
    report.raise_if_bad()
    assert len(report.notes) == 1


def test_pictures_that_the_preprocess_does_not_fit(small_set: Path, write: Write) -> None:
    items = find(small_set)
    line = problem(check(items, LABELS, preprocess=Preprocess("crop", 1, (14, 16))))
    assert line.startswith("size of 5 pictures before the crop (first '")
    assert "is 12x16, expected at least 14x16 (height x width)" in line
    check(items, LABELS, preprocess=Preprocess("crop", 1, (12, 16))).raise_if_bad()

    write(small_set / "train_label" / "4.png", np.zeros((50, 16), np.uint8))
    write(small_set / "train_img" / "4.png", np.zeros((50, 16, 3), np.uint8))
    write(small_set / "train_inst" / "4.png", np.zeros((50, 16), np.uint16))
    line = problem(check(items, LABELS, preprocess=Preprocess("scale_width", 32), batch=2))
    assert "size after preprocess scale_width is 24x32 ('" in line
    check(items, LABELS, preprocess=Preprocess("scale_width", 32)).raise_if_bad()
    check(items, LABELS, preprocess=Preprocess("fixed", 32), batch=2).raise_if_bad()


def test_what_may_be_meant_so_is_a_note(tmp_path: Path, write: Write) -> None:
    report = check(a_pair(tmp_path, write, np.array([[0, 255, 255]], np.uint8)), LABELS)
    report.raise_if_bad()
    assert report.notes == ["67% of all pixels are 'unknown', expected few; is numbered_3 the right label set?"]
    write(tmp_path / "train_label" / "000000000001.png", np.zeros((2, 2), np.uint8))
    write(tmp_path / "train_img" / "000000000001.png", np.zeros((2, 2), np.uint8))
    assert "expected coco_stuff by the layout coco_stuff" in check_folder(tmp_path, LABELS).notes[0]
