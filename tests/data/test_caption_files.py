"""Captioned sets in the layouts they are published in, and all that may be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from pinxit.data.caption_files import (
    Captioned,
    check_captions,
    find_captioned,
    scan_captioned,
    splits_of_captions,
)
from pinxit.errors import PinxitError


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def photo(path: Path, size: tuple[int, int] = (12, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "green").save(path)
    return path


def of(items: list[Captioned]) -> dict[str, tuple[str, ...]]:
    return {item.photo.name: item.captions for item in items}


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """CUB-200-2011 with two classes, with the captions beside it, as StackGAN's folder has it."""
    home = tmp_path / "birds" / "CUB_200_2011"
    names = ["001.Black_footed_Albatross/B_01", "001.Black_footed_Albatross/B_02", "002.Laysan_Albatross/L_01"]
    for name in names:
        photo(home / "images" / f"{name}.jpg")
        write(
            tmp_path / "birds" / "text_c10" / f"{name}.txt",
            f"a bird of {name[-4:]}.\nits \ufffd\ufffd beak  is long\n\n",
        )
    write(home / "images.txt", "".join(f"{number} {name}.jpg\n" for number, name in enumerate(names, 1)))
    write(home / "bounding_boxes.txt", "1 1.0 2.0 5.0 6.0\n2 0.0 0.0 12.0 10.0\n3 3.0 3.0 3.0 3.0\n")
    write(home / "train_test_split.txt", "1 0\n2 1\n3 1\n")
    write(home / "parts" / "part_locs.txt", "".join(f"1 {part} {part}.5 2.0 {part % 2}\n" for part in range(1, 16)))
    return tmp_path / "birds"


def test_birds(birds: Path) -> None:
    for folder in (birds, birds / "CUB_200_2011"):
        assert splits_of_captions(folder) == ["train", "test"]
        assert of(find_captioned(folder, "train")) == {
            "B_02.jpg": ("a bird of B_02.", "its beak is long"),
            "L_01.jpg": ("a bird of L_01.", "its beak is long"),
        }
    item = find_captioned(birds, "test")[0]
    assert (item.group, item.box) == ("001.Black_footed_Albatross", (1, 2, 5, 6))
    assert item.points is not None
    assert item.points[:2] == ((1.5, 2.0, True), (2.5, 2.0, False))
    assert find_captioned(birds, "train")[0].points is None


def test_birds_by_the_published_classes(birds: Path) -> None:
    write(birds / "text_c10" / "trainvalclasses.txt", "002.Laysan_Albatross\n")
    write(birds / "text_c10" / "testclasses.txt", "001.Black_footed_Albatross\n")
    assert list(of(find_captioned(birds, "train"))) == ["L_01.jpg"]
    assert list(of(find_captioned(birds, "val"))) == ["B_01.jpg", "B_02.jpg"]  # a missing val is test


def test_birds_that_are_damaged(birds: Path) -> None:
    boxes = birds / "CUB_200_2011" / "bounding_boxes.txt"
    write(boxes, "1 1.0 2.0 5.0 6.0\n2 0.0 0.0 12.0\n")
    with pytest.raises(
        PinxitError, match=r"^line 2 of '.*bounding_boxes\.txt' is 2 0\.0 0\.0 12\.0, expected 5 columns"
    ):
        find_captioned(birds)
    write(boxes, "1 1.0 2.0 5.0 six\n")
    with pytest.raises(PinxitError, match=r"^line 1 of '.*bounding_boxes\.txt' is 1 1\.0"):
        find_captioned(birds)
    write(boxes, "1 99.0 99.0 2.0 2.0\n")
    assert check_captions(scan_captioned(birds, "test")).problems[0].startswith(f"box of photo '{birds}")
    (birds / "text_c10").rename(birds / "elsewhere")
    with pytest.raises(PinxitError, match=r"^captions of '.*CUB_200_2011' is missing, expected a folder text_c10"):
        find_captioned(birds)


def test_flowers(tmp_path: Path) -> None:
    for number, group in ((6734, 1), (6735, 1), (1, 77)):
        photo(tmp_path / "jpg" / f"image_{number:05}.jpg")
        write(tmp_path / "text_c10" / f"class_{group:05}" / f"image_{number:05}.txt", f"flower {number}\n")
    assert [item.group for item in find_captioned(tmp_path)] == ["class_00077", "class_00001", "class_00001"]
    write(tmp_path / "trainvalclasses.txt", "class_00001\n")
    write(tmp_path / "testclasses.txt", "class_00077\n")
    assert of(find_captioned(tmp_path)) == {"image_06734.jpg": ("flower 6734",), "image_06735.jpg": ("flower 6735",)}
    assert of(find_captioned(tmp_path, "test")) == {"image_00001.jpg": ("flower 1",)}


@pytest.mark.parametrize("folder", ["train2014", "images/train2014"])
def test_coco(tmp_path: Path, folder: str) -> None:
    images = [{"id": 9, "file_name": "COCO_9.jpg"}, {"id": 25, "file_name": "COCO_25.jpg"}]
    annotations = [
        {"image_id": 25, "id": 1, "caption": "a giraffe \n"},
        {"image_id": 9, "id": 2, "caption": "a meal"},
        {"image_id": 25, "id": 3, "caption": "two giraffes"},
    ]
    for image in images:
        photo(tmp_path / folder / str(image["file_name"]))
    file = tmp_path / "annotations" / "captions_train2014.json"
    write(file, json.dumps({"images": images, "annotations": annotations}))
    assert splits_of_captions(tmp_path) == ["train2014"]
    want = {"COCO_9.jpg": ("a meal",), "COCO_25.jpg": ("a giraffe", "two giraffes")}
    assert of(find_captioned(tmp_path)) == of(find_captioned(tmp_path, "train2014")) == want
    with pytest.raises(PinxitError, match=r"^split of '.*' is 'val', expected one of train2014"):
        find_captioned(tmp_path, "val")
    write(file.with_name("captions_train2017.json"), file.read_bytes())
    with pytest.raises(PinxitError, match=r"^split of '.*' is 'train', expected one of train2014, train2017"):
        find_captioned(tmp_path)
    for content in (
        b'{"images": [',
        b"[]",
        b'{"images": [], "annotations": [{"image_id": 1, "caption": "x"}]}',
        b"[" * 99999,
    ):
        write(file, content)
        with pytest.raises(PinxitError, match=r"^captions '.*captions_train2014\.json' is not understood \("):
            find_captioned(tmp_path, "train2014")


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("train_captions.csv", 'image,caption\r\na.png,a cat\r\nb.png,"a dog, ""Rex"""\r\na.png,one  cat\r\n'),
        ("train_captions.csv", '\ufefffile_name,text\na.png,a cat\nb.png,"a dog, ""Rex"""\na.png,one\u3000cat\n'),
        ("train/captions.csv", 'caption,image\na cat,a.png\n"a dog, ""Rex""",b.png\none cat,a.png\n'),
        (
            "train/metadata.jsonl",
            (
                '{"file_name": "a.png", "text": ["a cat", "one cat"]}\n'
                '{"file_name": "b.png", "text": "a dog, \\"Rex\\""}\n'
            ),
        ),
        (
            "train_captions.jsonl",
            '{"image": "a.png", "captions": ["a cat", "one cat"]}\n\n{"image": "b.png", "caption": "a dog, \\"Rex\\""}',
        ),
    ],
)
def test_tables_of_ones_own(tmp_path: Path, table: str, content: str) -> None:
    photo(tmp_path / "train" / "a.png")
    photo(tmp_path / "train" / "b.png")
    write(tmp_path / table, content)
    assert of(find_captioned(tmp_path)) == {"a.png": ("a cat", "one cat"), "b.png": ('a dog, "Rex"',)}
    with pytest.raises(PinxitError, match=r"^split of '.*' is 'val', expected one of train; name one"):
        find_captioned(tmp_path, "val")


def test_a_table_in_the_folder_itself(tmp_path: Path) -> None:
    """Its names may lead into other folders, and out of this one."""
    paths = [photo(tmp_path / name) for name in ("set/a.png", "set/images/b.png", "set/deep/c.png", "other/d.png")]
    names = ["a.png", "b.png", "deep/c.png", "../other/d.png"]
    lines = [json.dumps({"image": name, "caption": name, "class": name[:1]}) for name in names]
    write(tmp_path / "set" / "captions.jsonl", "\n".join(lines))
    items = find_captioned(tmp_path / "set")
    assert {item.photo.resolve() for item in items} == set(paths)
    assert {item.captions[0] for item in items} == set(names)
    assert {item.group for item in items} == {"a", "b", "d", "."}


def test_text_files_of_the_same_names(tmp_path: Path) -> None:
    for name in ("train/red/10.jpg", "train/red/9.jpg", "train/1.png", "val/2.webp"):
        photo(tmp_path / name)
        write((tmp_path / name).with_suffix(".txt"), f"of {name}\n\n  more of it \n")
    write(tmp_path / "train" / "README.txt", "about")
    items = find_captioned(tmp_path)
    assert [(item.photo.name, item.group) for item in items] == [("1.png", ""), ("9.jpg", "red"), ("10.jpg", "red")]
    assert items[1].captions == ("of train/red/9.jpg", "more of it")
    assert list(of(find_captioned(tmp_path, "test"))) == ["2.webp"]  # a missing test is val
    assert splits_of_captions(tmp_path / "train") == ["train"]
    assert len(find_captioned(tmp_path / "train")) == 3


def test_any_script_and_any_length(tmp_path: Path) -> None:
    captions = [
        "赤い鳥が枝にとまっている。",
        "a 🐦 with 👩‍👩‍👧",
        "x" * 10_000,
        "long " * 2_000,
        "Ünïcödé",
        "\u0000",
        "عصفور",
    ]
    for table in ("captions.jsonl", "captions.csv"):
        folder = tmp_path / table.replace(".", "_")
        photo(folder / "a.png")
        lines = [json.dumps({"image": "a.png", "caption": caption}, ensure_ascii=False) for caption in captions]
        if table == "captions.csv":
            lines = ["image,caption", *(f'a.png,"{caption}"' for caption in captions)]
        write(folder / table, "\n".join(lines))
        found = scan_captioned(folder)
        assert found.items[0].captions == tuple(caption.strip() for caption in captions)
        assert "1 photos (first" in check_captions(found).notes[0]


def test_captions_without_photo_and_the_reverse(tmp_path: Path) -> None:
    photo(tmp_path / "train" / "a.png")
    rows = "".join(f"{name}.png,of {name}\n" for name in "abcd")
    write(tmp_path / "train_captions.csv", "image,caption\n" + rows)
    with pytest.raises(PinxitError) as told:
        find_captioned(tmp_path)
    assert str(told.value) == (
        f"photo '{tmp_path}/train/b.png' is missing though it has captions, and so for 2 others "
        "(`pinxit data check` lists all), expected a photo for all captions; add it or remove its captions"
    )
    write(tmp_path / "train_captions.csv", "image,caption\na.png,of a\n")
    photo(tmp_path / "train" / "e.png")
    photo(tmp_path / "train" / "f.png")
    with pytest.raises(PinxitError) as told:
        find_captioned(tmp_path)
    assert str(told.value) == (
        f"caption of photo '{tmp_path}/train/e.png' is missing, and so for 1 other (`pinxit data check` lists all), "
        "expected one or more for each photo; write one or remove the photo"
    )
    problems = check_captions(scan_captioned(tmp_path)).problems
    assert [problem.split(", expected")[0] for problem in problems] == [
        f"caption of photo '{tmp_path}/train/{name}.png' is missing" for name in "ef"
    ]


def test_text_files_without_photo_and_the_reverse(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "b")
    with pytest.raises(PinxitError, match=r"^photo '.*b\.jpg' is missing though it has captions, expected"):
        find_captioned(tmp_path)
    photo(tmp_path / "b.png")
    photo(tmp_path / "c.png")
    write(tmp_path / "a.txt", " \n\n")
    with pytest.raises(PinxitError, match=r"^caption of photo '.*a\.png' is missing, and so for 1 other "):
        find_captioned(tmp_path)


@pytest.mark.parametrize(
    ("table", "content", "told"),
    [
        (
            "captions.jsonl",
            '{"image": "a.png", "caption": "x"}\n{"image": "a.png", "capt',
            "line 2 of 'T' is no JSON (Unterminated",
        ),
        ("captions.jsonl", '"a.png"', "line 1 of 'T' is \"a.png\", expected an object such as"),
        (
            "captions.jsonl",
            '{"image": "a.png", "caption": 7}',
            'line 1 of \'T\' is {"image": "a.png", "caption": 7}, expected',
        ),
        ("captions.jsonl", '{"image": "a.png", "captions": ["x", 7]}', "line 1 of 'T' is {"),
        ("captions.jsonl", '{"caption": "x"}', "line 1 of 'T' is {"),
        ("captions.jsonl", "[" * 99999, "line 1 of 'T' is no JSON ("),
        (
            "captions.jsonl",
            '{"image": "a.png", "caption": " "}',
            "caption in line 1 of 'T' is empty, expected a sentence",
        ),
        (
            "captions.jsonl",
            '{"image": "a.png", "caption": "\\ud83d"}',
            "caption in line 1 of 'T' is of half a character",
        ),
        (
            "captions.jsonl",
            '{"image": "a.png", "caption": "é"}'.encode("latin1"),
            "captions 'T' is not UTF-8 (byte 0xe9 in line 1)",
        ),
        (
            "captions.csv",
            "image,caption\na.png,x\n".encode("utf-16"),
            "captions 'T' is not UTF-8 (byte 0xff in line 1)",
        ),
        ("captions.csv", "a.png,x\n", "columns of 'T' is a.png, x, expected image, caption"),
        ("captions.csv", "", "columns of 'T' is missing, expected image, caption"),
        (
            "captions.csv",
            "image,caption\na.png,a cat, a dog\n",
            "line 2 of 'T' is of 3 columns, expected 2; put a caption",
        ),
        ("captions.csv", "image,caption\na.png\n", "line 2 of 'T' is of fewer columns, expected 2"),
        ("captions.csv", "image,caption\na.png,\n", "caption in line 2 of 'T' is empty"),
        ("captions.csv", 'image,caption\na.png,"x\n', "line 2 of 'T' is no CSV (unexpected end of data)"),
        ("a.txt", "caf\xe9\nx".encode("latin1"), "captions 'T' is not UTF-8 (byte 0xe9 in line 1)"),
    ],
)
def test_what_is_wrong_in_a_file(tmp_path: Path, table: str, content: str | bytes, told: str) -> None:
    photo(tmp_path / "a.png")
    file = write(tmp_path / table, content)
    with pytest.raises(PinxitError) as error:
        find_captioned(tmp_path)
    assert str(error.value).startswith(told.replace("'T'", f"'{file}'"))
    assert "\n" not in str(error.value)


def test_all_faults_are_listed(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    write(tmp_path / "b.png", "no picture")
    lines = ['{"image": "a.png", "caption": "x"}', "{", "}", '{"image": "b.png", "caption": "y"}']
    write(tmp_path / "captions.jsonl", "\n".join(lines))
    with pytest.raises(PinxitError, match=r"^line 2 of .* \(1 more: `pinxit data check` lists all\)$"):
        find_captioned(tmp_path)
    seen = []
    report = check_captions(scan_captioned(tmp_path), lambda done, total: seen.append((done, total)))
    assert [problem.split(" is ")[0].rsplit("/", 1)[0] for problem in report.problems] == [
        f"line 2 of '{tmp_path}",
        f"line 3 of '{tmp_path}",
        f"photo '{tmp_path}",
    ]
    assert seen == [(1, 2), (2, 2)]
    assert report.table().splitlines()[-1] == "3 problems"


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^--data is missing"):
        find_captioned(None)
    with pytest.raises(PinxitError, match=r"^data folder '.*none' is missing"):
        find_captioned(tmp_path / "none")
    with pytest.raises(PinxitError, match=r"^data folder '.*' is a folder with nothing, expected one of captions"):
        find_captioned(tmp_path)
    write(tmp_path / "captions.jsonl", "\n")
    with pytest.raises(PinxitError, match=r"^split 'train' of '.*' is empty"):
        find_captioned(tmp_path)
    assert splits_of_captions(tmp_path / "none") == []
    photo(tmp_path / "pictures" / "a.png")
    assert splits_of_captions(tmp_path / "pictures") == []


def test_the_sample_of_flickr(pack: Callable[[str], Path]) -> None:
    report = check_captions(scan_captioned(pack("flickr8k_1000"), "val"))
    assert report.table().splitlines()[0] == "100 photos with 500 captions"
    assert report.problems == []
    assert splits_of_captions(pack("flickr8k_1000")) == ["train", "val"]
    assert splits_of_captions(pack("coco_stuff")) == splits_of_captions(pack("fruits64")) == []
