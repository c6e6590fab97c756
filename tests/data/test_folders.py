from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pinxit.data.folders import default_label_set, detect_layout, find, natural, pair, scan, splits
from pinxit.errors import PinxitError


def touch(root: Path, *names: str) -> Path:
    """Empty files: which belong together is told by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(paths: Iterable[Path | None]) -> list[str]:
    return [path.name for path in paths if path is not None]


@pytest.mark.parametrize(
    ("folder", "layout", "label_set", "split", "items", "instances"),
    [
        ("camvid", "camvid_split", "camvid", "train", 367, 0),
        ("camvid", "camvid_split", "camvid", "val", 101, 0),
        ("coco_stuff", "coco_stuff", "coco_stuff", "train", 13, 13),
        ("coco_stuff", "coco_stuff", "coco_stuff", "validation", None, None),
        ("coco_stuff", "coco_stuff", "coco_stuff", "val", 8, 8),
        ("cityscapes", "cityscapes_split", "cityscapes", "train", 8, 8),
        ("ade20k", "ade20k", "ade20k", "val", 3, 0),
        ("ade20k", "ade20k", "ade20k", "validation", 3, 0),
        ("ade20k/ADEChallengeData2016", "ade20k", "ade20k", "val", 3, 0),
    ],
)
def test_the_real_samples_are_found_as_they_lie(
    pack: Callable[[str], Path],
    folder: str,
    layout: str,
    label_set: str,
    split: str,
    items: int | None,
    instances: int | None,
) -> None:
    root = pack(folder)
    assert detect_layout(root) == layout
    assert default_label_set(detect_layout(root)) == label_set
    found = find(root, split)
    if items is not None:
        assert len(found) == items
        assert sum(item.instance is not None for item in found) == instances
    assert all(item.photo is not None and item.photo.stem.startswith(item.name) for item in found)
    assert all(item.label.stem.startswith(item.name) for item in found)
    assert [item.name for item in found] == sorted((item.name for item in found), key=natural)


def test_pix2pixhd_cityscapes_pairs_by_place_and_its_test_has_no_photos(pack: Callable[[str], Path]) -> None:
    root = pack("cityscapes")
    first = find(root)[0]
    assert first.name == "aachen_000000_000019"
    assert names([first.label, first.photo, first.instance]) == [
        "aachen_000000_000019_gtFine_labelIds.png",
        "aachen_000000_000019_leftImg8bit.png",
        "aachen_000000_000019_gtFine_instanceIds.png",
    ]
    assert splits(root) == ["test", "train"]
    with pytest.raises(PinxitError, match=r"photo folder '.*test_img' is missing, .*name a split that has photos"):
        find(root, "test")
    maps = find(root, "test", photos_required=False)
    assert len(maps) == 15
    assert all(item.photo is None and item.instance is not None for item in maps)
    with pytest.raises(PinxitError, match=r"split of data folder '.*' is 'val', expected one of test, train"):
        find(root, "val")


def test_coco_portraits_are_part_of_their_split(tmp_path: Path) -> None:
    kinds = {"label": "png", "img": "jpg", "inst": "png"}
    touch(tmp_path, *(f"train_{kind}/000000000007.{end}" for kind, end in kinds.items()))
    touch(tmp_path, *(f"train_{kind}_portrait/000000000002.{end}" for kind, end in kinds.items()))
    assert [item.name for item in find(tmp_path)] == ["000000000002", "000000000007"]
    assert splits(tmp_path) == ["train"]


def test_cityscapes_as_its_authors_keep_it(tmp_path: Path) -> None:
    for place in ("ulm_000001_000019", "bonn_000010_000019", "bonn_000002_000019"):
        city = place.split("_")[0]
        kinds = ("labelIds.png", "instanceIds.png", "color.png", "polygons.json")
        touch(tmp_path, f"leftImg8bit/val/{city}/{place}_leftImg8bit.png")
        touch(tmp_path, *(f"gtFine/val/{city}/{place}_gtFine_{kind}" for kind in kinds))
    assert detect_layout(tmp_path) == "cityscapes"
    found = find(tmp_path, "val")
    assert [item.name for item in found] == ["bonn_000002_000019", "bonn_000010_000019", "ulm_000001_000019"]
    assert names([found[0].photo, found[0].instance]) == [
        "bonn_000002_000019_leftImg8bit.png",
        "bonn_000002_000019_gtFine_instanceIds.png",
    ]


def test_camvid_as_segnet_keeps_it_and_facades(tmp_path: Path) -> None:
    touch(tmp_path / "a", "train/x2.png", "train/x10.png", "trainannot/x2.png", "trainannot/x10.png", "train.txt")
    assert detect_layout(tmp_path / "a") == "camvid"
    assert [item.name for item in find(tmp_path / "a")] == ["x2", "x10"]
    touch(tmp_path / "b", "train_label/cmp_b0001.png", "train_img/cmp_b0001.jpg")
    assert default_label_set(detect_layout(tmp_path / "b")) == "facades"
    touch(tmp_path / "c", "train_label/mine.png", "train_img/mine.jpg")
    assert default_label_set(detect_layout(tmp_path / "c")) is None


def test_ade20k_outdoor(tmp_path: Path) -> None:
    scenes = {
        1: "airport_terminal",
        2: "beach",
        3: "church_outdoor",
        4: "sand",
        5: "church_indoor",
        6: "heath",
        7: "misc",
    }
    for number in scenes:
        touch(tmp_path, f"images/training/ADE_train_{number:08}.jpg", f"annotations/training/ADE_train_{number:08}.png")
    with pytest.raises(PinxitError, match=r"scene list '.*sceneCategories.txt' is missing"):
        find(tmp_path, outdoor=True)
    table = tmp_path / "sceneCategories.txt"
    table.write_text("".join(f"ADE_train_{number:08} {scene}\n" for number, scene in scenes.items()))
    assert [int(item.name[-1]) for item in find(tmp_path, outdoor=True)] == [2, 3, 4, 6]
    assert len(find(tmp_path)) == len(scenes)
    table.write_text("ADE_train_00000001 kitchen\n")
    with pytest.raises(PinxitError, match="without outdoor scenes"):
        find(tmp_path, outdoor=True)
    touch(tmp_path / "b", "train_label/mine.png", "train_img/mine.jpg")
    with pytest.raises(PinxitError, match="no part of the layout split_folders"):
        find(tmp_path / "b", outdoor=True)


@pytest.mark.parametrize(
    ("maps", "photos"),
    [
        (["a.png", "b.png"], ["a.jpg", "b.jpg"]),
        (["a_label.png", "b_label.png"], ["a.jpg", "b.jpg"]),
        (["a-mask.png", "b-mask.png"], ["a_photo.PNG", "b_photo.png"]),
        (["a_img.png", "a_photo.png"], ["a_img.png", "a_photo.png"]),
    ],
)
def test_any_pair_of_folders(tmp_path: Path, maps: list[str], photos: list[str]) -> None:
    touch(tmp_path, "m/.hidden.png", "m/Thumbs.db", *(f"m/{name}" for name in maps), *(f"p/{name}" for name in photos))
    items = pair(tmp_path / "m", tmp_path / "p")
    assert names(item.label for item in items) == maps
    assert names(item.photo for item in items) == photos


def test_a_missing_counterpart_is_named_and_the_rest_is_kept(tmp_path: Path) -> None:
    touch(tmp_path, *(f"train_label/{n}.png" for n in range(9)), *(f"train_img/{n}.jpg" for n in range(3, 10)))
    with pytest.raises(PinxitError) as error:
        find(tmp_path)
    message = str(error.value)
    assert "has 4 files without counterpart" in message
    assert f"label map '{tmp_path / 'train_label' / '0.png'}' has no photo" in message
    assert "and 1 more" in message
    assert "\n" not in message
    found = scan(tmp_path)
    assert [item.name for item in found.items] == list("345678")
    assert found.unpaired[-1] == f"photo '{tmp_path / 'train_img' / '9.jpg'}' has no label map"
    assert len(find(tmp_path, photos_required=False)) == 9


def test_instance_maps_are_for_all_or_none(tmp_path: Path) -> None:
    touch(tmp_path, "train_label/a.png", "train_label/b.png", "train_img/a.png", "train_img/b.png", "train_inst/a.png")
    with pytest.raises(PinxitError, match=r"label map '.*b.png' has no instance map"):
        find(tmp_path)


def test_two_files_of_one_name(tmp_path: Path) -> None:
    touch(tmp_path, "train_label/a.png", "train_img/a.png", "train_img/a.jpg")
    with pytest.raises(
        PinxitError, match=r"name 'a' is that of '.*a.jpg' and '.*a.png', expected one file of each name"
    ):
        find(tmp_path)


def test_missing_empty_and_unknown_folders(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"data folder '.*nowhere' is missing"):
        find(tmp_path / "nowhere")
    with pytest.raises(PinxitError, match=r"data folder '.*' is a folder with nothing, expected one with train_label"):
        find(tmp_path)
    touch(tmp_path, "holiday.jpg")
    with pytest.raises(PinxitError, match=r"is a file, expected a folder"):
        find(tmp_path / "holiday.jpg")
    (tmp_path / "train_label").mkdir()
    with pytest.raises(PinxitError, match=r"label folder '.*train_label' is without pictures"):
        find(tmp_path)
    with pytest.raises(PinxitError, match=r"label folder '.*maps' is missing"):
        pair(tmp_path / "maps", tmp_path)
    with pytest.raises(PinxitError, match=r"layout is 'coco', expected one of .*; did you mean 'coco_stuff'"):
        find(tmp_path, layout="coco")  # pyright: ignore[reportArgumentType]
