"""Photos with maps, sketches and captions, some missing: which files belong together, batches, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.augment import Preprocess
from pinxit.data.conditions import (
    Conditioned,
    Conditions,
    ConditionStream,
    check_conditions,
    condition_pictures,
    counted,
    find_conditions,
    label_set_of,
    read_captions,
    sketch_at,
)
from pinxit.data.labels import numbered
from pinxit.errors import PinxitError

LABELS = numbered(3, (255,))
FIXED = Preprocess("fixed", size=(12, 16), flip=False)
CROPPED = Preprocess("resize_and_crop", load_size=16, size=(12, 16))


@pytest.fixture
def folder(tmp_path: Path, write: Callable[..., Path]) -> Path:
    """Photos 1..4 of 64x96: 1 has all, 2 a map, 3 a sketch and captions, 4 nothing. Line, label 1 and red are in one
    place."""
    home = tmp_path / "set"
    for number in range(1, 5):
        column = 12 * number + 8
        photo, ids, page = np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96), np.uint8), np.full((64, 96), 255, "u1")
        photo[:, column : column + 8, 0], ids[:, column : column + 8], page[:, column : column + 8] = 255, 1, 0
        write(home / "photos" / f"{number}.png", photo)
        if number in (1, 2):
            write(home / "maps" / f"{number}.png", ids)
        if number in (1, 3):
            write(home / "sketches" / f"{number}.png", page)
    rows = [{"image": "1.png", "captions": ["a  pole", " on the left "]}, {"image": "3", "caption": "電柱"}]
    (home / "captions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return home


def texts_of(items: Sequence[Conditioned]) -> list[Tensor]:
    """Of each caption its item's number and its own."""
    return [torch.tensor([[int(item.name), i] for i in range(len(item.captions))]).reshape(-1, 2) for item in items]


def stream(items: Sequence[Conditioned], preprocess: Preprocess = CROPPED, batch: int = 4, **more) -> ConditionStream:
    return ConditionStream(items, LABELS, preprocess, texts_of(items), batch, seed=3, **more)


def same(a: Conditions, b: Conditions) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_what_belongs_together(folder: Path) -> None:
    items = find_conditions(folder)
    assert [item.name for item in items] == ["1", "2", "3", "4"]
    assert [item.has for item in items] == [
        (True, True, True), (True, False, False), (False, True, True), (False, False, False)
    ]  # fmt: skip
    assert items[0].captions == ("a pole", "on the left")
    assert items[2].captions == ("電柱",)
    assert counted(items) == "4 photos: 2 with a map, 2 with a sketch, 2 with a text"
    check_conditions(items, LABELS)


def test_splits_layouts_and_named_folders(folder: Path, tmp_path: Path) -> None:
    whole = [item.has for item in find_conditions(folder)]
    split = tmp_path / "splits"
    split.mkdir()
    folder.rename(split / "validation")
    assert [item.has for item in find_conditions(split, "val")] == whole
    with pytest.raises(PinxitError, match="expected one of validation"):
        find_conditions(split)
    here = split / "validation"
    named = find_conditions(None, photos=here / "photos", maps=here / "maps")
    assert [item.has for item in named] == [(has[0], False, False) for has in whole]
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    (here / "photos").rename(pairs / "train_img")
    (here / "maps").rename(pairs / "train_label")
    assert [item.has[0] for item in find_conditions(pairs)] == [True, True, False, False]
    added = find_conditions(pairs, sketches=here / "sketches", captions=here / "captions.jsonl")
    assert [item.has for item in added] == whole
    (pairs / "train_img").rename(pairs / "train")
    (pairs / "train_label").rename(pairs / "trainannot")
    assert [item.has[0] for item in find_conditions(pairs)] == [True, True, False, False]
    (pairs / "train").rename(pairs / "elsewhere")
    with pytest.raises(PinxitError, match=r"photos folder '.*train' is missing"):
        find_conditions(pairs)


def test_captions_of_both_forms(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("one\n\n two  words \n")
    (tmp_path / "2.txt").write_text("\n")
    assert read_captions(tmp_path) == {"1": ("one", "two words")}
    lines = tmp_path / "lines.jsonl"
    lines.write_text('\ufeff{"image": "a.v2.jpg", "caption": "x"}\n{"image": "a.v2.jpg", "captions": ["y"]}\n')
    assert read_captions(lines) == {"a.v2": ("x", "y")}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", r"line 1 of '.*' is not JSON"),
        ('{"image": 3, "caption": "x"}', "line 1 of .*expected"),
        ('{"image": "a.png", "captions": [1]}', "line 1 of"),
        ("", "is without any"),
        ("\udcff", "no UTF-8"),
    ],
)
def test_captions_of_another_form(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "c.jsonl"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(PinxitError, match=told):
        read_captions(file)
    with pytest.raises(PinxitError, match="is missing"):
        read_captions(tmp_path / "none.jsonl")


def test_parts_are_cut_and_mirrored_alike(folder: Path) -> None:
    items = find_conditions(folder)[:1]
    seen = set()
    for batch in islice(stream(items, Preprocess("resize_and_crop", load_size=48, size=(40, 60))).batches(), 8):
        for photo, labels, sketch in zip(batch.photo, batch.labels, batch.sketch, strict=True):
            red, label, line = (photo[0] > 0), labels == 1, sketch[0] > 0.5
            assert red.any()
            for part in (label, line):
                assert (part == red).float().mean() > 0.95
            seen.add(int(red[0].float().argmax()))
    assert len(seen) > 4  # crops differ
    assert max(seen) > 30 > min(seen)  # some are mirrored


def test_what_is_missing_is_zeros(folder: Path) -> None:
    items = find_conditions(folder)
    batch = condition_pictures(items, LABELS, FIXED, texts_of(items))
    assert batch.has.tolist() == [list(item.has) for item in items]
    assert batch.photo.shape == (4, 3, 12, 16)
    assert batch.labels.dtype == torch.int64
    assert batch.sketch.dtype == torch.float32
    for which, part in enumerate((batch.labels, batch.sketch, batch.text)):
        assert (part.flatten(1) != 0).any(1).tolist() == [item.has[which] for item in items]
    assert 0 <= batch.sketch.min() < 0.01 < 0.6 < batch.sketch.max() <= 1
    without = condition_pictures(items, LABELS, FIXED)
    assert without.text.shape == (4, 0)
    assert not without.has[:, 2].any()


def test_every_caption_comes_and_what_names_sides_is_not_mirrored(folder: Path) -> None:
    items = find_conditions(folder)[:1]
    place: dict[int, set[int]] = {0: set(), 1: set()}
    for batch in islice(stream(items, Preprocess("fixed", size=(12, 16), flip=True)).batches(), 10):
        for photo, text in zip(batch.photo, batch.text, strict=True):
            place[int(text[1])].add(int(photo[0, 0].argmax()))
    assert len(place[0]) == 2  # "a pole", mirrored or not
    assert len(place[1]) == 1  # "on the left"


def test_captions_of_mirrored_photos_let_them_be_mirrored(folder: Path) -> None:
    items = find_conditions(folder)[:1]
    mirrored = [rows + 10 for rows in texts_of(items)]
    place: dict[int, set[int]] = {}
    for batch in islice(stream(items, Preprocess("fixed", size=(12, 16)), mirrored=mirrored).batches(), 10):
        for photo, text in zip(batch.photo, batch.text, strict=True):
            place.setdefault(int(text[1]), set()).add(int(photo[0, 0].argmax()))
    assert {caption: len(found) for caption, found in place.items()} == {0: 2, 1: 1, 11: 1}
    assert place[1] != place[11]


def test_a_step_hangs_on_seed_and_number_alone(folder: Path) -> None:
    items = find_conditions(folder)
    straight = list(islice(stream(items).batches(), 5))
    assert same(next(stream(items).batches(4)), straight[4])
    assert not same(straight[0], straight[1])
    ranks = [stream(items, rank=rank, world=2).batches(4) for rank in (0, 1)]
    halves = [next(batches) for batches in ranks]
    assert same(Conditions(*(torch.cat(parts) for parts in zip(*halves, strict=True))), straight[4])
    workers = stream(items, workers=1, cache_bytes=0).batches(4)
    assert same(next(workers), straight[4])


def test_sketches_are_clean_and_squeezed_as_photos_are() -> None:
    page = Image.new("L", (200, 100), 230)
    page.paste(40, (98, 0, 102, 100))
    small = np.asarray(sketch_at(page, (100, 200), (32, 32)))
    assert small.shape == (32, 32)
    assert (small[:, 15:17] > 60).all()
    assert (small[:, :12] < 8).all()


def test_what_does_not_fit(folder: Path, write: Callable[..., Path]) -> None:
    def told(match: str) -> None:
        with pytest.raises(PinxitError, match=match):
            check_conditions(find_conditions(folder), LABELS)

    ids = np.zeros((64, 96), np.uint8)
    write(folder / "maps" / "2.png", ids[:32])
    told(r"size of '.*photos.2.png' is 96x64, expected 96x32")
    write(folder / "maps" / "2.png", ids + 9)
    told("has value 9")
    write(folder / "maps" / "2.png", ids)
    write(folder / "sketches" / "3.png", np.pad(np.zeros((40, 20), np.uint8), 8, constant_values=255))
    told("size of sketch .* is 36x56, expected the aspect of")
    write(folder / "sketches" / "3.png", ids)
    told("sketch .* is blank")
    write(folder / "sketches" / "5.png", ids)
    told("sketch '5' of .* is without a photo")
    (folder / "sketches" / "5.png").rename(folder / "photos" / "1.jpg")
    told("name '1' is that of")


def test_what_is_asked_for_and_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match="data folder is missing, expected --data"):
        find_conditions(None)
    with pytest.raises(PinxitError, match="is missing"):
        find_conditions(tmp_path / "nowhere")
    with pytest.raises(PinxitError, match="expected one with photos/"):
        find_conditions(folder / "photos")
    with pytest.raises(PinxitError, match=r"sketches folder .* is missing"):
        find_conditions(folder, sketches=tmp_path / "nowhere")
    items = find_conditions(folder)
    with pytest.raises(PinxitError, match="label set is missing"):
        ConditionStream(items, None, FIXED, None, 2, 0)
    with pytest.raises(PinxitError, match="is 1 rows, expected 2, one a caption"):
        ConditionStream(items, LABELS, FIXED, [torch.zeros(1, 4)] * 4, 2, 0)
    with pytest.raises(PinxitError, match="is empty"):
        ConditionStream([], LABELS, FIXED, None, 2, 0)
    with pytest.raises(PinxitError, match="batch is 3"):
        stream(items, batch=3, world=2)


def test_the_label_set_is_named_or_in_the_folder(folder: Path) -> None:
    items = find_conditions(folder)
    with pytest.raises(PinxitError, match="--label-set is missing"):
        label_set_of(items, folder)
    (folder / "label_set.json").write_text(json.dumps(LABELS.to_json()))
    assert label_set_of(items, folder) == LABELS
    named = label_set_of(items, folder, "camvid")
    assert named is not None
    assert named.name == "camvid"
    assert label_set_of(items[3:], None) is None
