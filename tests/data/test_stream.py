from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from pinxit.data.augment import Preprocess
from pinxit.data.folders import Item, find
from pinxit.data.images import read_instances, read_map, read_photo, to_tensor
from pinxit.data.labels import load_label_set, numbered
from pinxit.data.stream import LabelPhotos, LabelPhotoStream, label_pictures, load_item
from pinxit.errors import PinxitError

LABELS = numbered(3, ignore=(255,))
CROP = Preprocess("resize_and_crop", 12, (8, 8))
FIXED = Preprocess("fixed", 1, (12, 16))


def stream(root: Path, batch: int = 2, seed: int = 0, **options: int | Preprocess | bool) -> LabelPhotoStream:
    settings = {"preprocess": CROP, "use_instances": True, **options}
    return LabelPhotoStream(find(root), LABELS, batch=batch, seed=seed, **settings)  # pyright: ignore[reportArgumentType]


def take(stream: LabelPhotoStream, steps: int, start: int = 0) -> list[LabelPhotos]:
    return list(islice(stream.batches(start), steps))


def equal(a: LabelPhotos, b: LabelPhotos) -> bool:
    assert a.instances is not None
    assert b.instances is not None
    return all(torch.equal(x, y) for x, y in ((a.labels, b.labels), (a.photo, b.photo), (a.instances, b.instances)))


def rows(batches: list[LabelPhotos]) -> list[bytes]:
    """What each row shows, to tell rows apart."""
    return [photo.numpy().tobytes() for batch in batches for photo in batch.photo]


def test_shapes_types_and_ranges(small_set: Path) -> None:
    batch = take(stream(small_set), 1)[0]
    assert batch.instances is not None
    assert (batch.labels.shape, batch.photo.shape, batch.instances.shape) == ((2, 8, 8), (2, 3, 8, 8), (2, 8, 8))
    assert (batch.labels.dtype, batch.photo.dtype, batch.instances.dtype) == (torch.int64, torch.float32, torch.int64)
    assert 0 <= batch.labels.min() < batch.labels.max() <= LABELS.unknown
    assert -1 <= batch.photo.min() < batch.photo.max() <= 1
    assert all(part is not None and part.is_contiguous() for part in batch)
    assert take(stream(small_set, use_instances=False), 1)[0].instances is None


def test_a_row_is_the_file_it_came_from(small_set: Path) -> None:
    item = find(small_set)[0]
    assert item.photo is not None
    assert item.instance is not None
    alone = LabelPhotoStream([item], LABELS, Preprocess("none", flip=False, size=(1, 1)), 1, 0, use_instances=True)
    batch = take(alone, 1)[0]
    assert batch.labels.shape == (1, 32, 32)
    exact = take(
        LabelPhotoStream([item], LABELS, Preprocess("fixed", 1, (12, 16), False), 1, 0, use_instances=True), 1
    )[0]
    assert exact.instances is not None
    assert (exact.labels[0].numpy() == read_map(item.label, LABELS)).all()
    assert torch.equal(exact.photo[0], to_tensor(read_photo(item.photo)))
    assert (exact.instances[0].numpy() == read_instances(item.instance)).all()


@pytest.mark.parametrize("cache", [0, 700, 1 << 20])
def test_any_start_goes_on_with_the_same_batches(small_set: Path, cache: int) -> None:
    """With nothing, one item or all of them kept in memory."""
    whole = take(stream(small_set), 12)
    for start in (0, 1, 5, 11):
        again = take(stream(small_set, cache_bytes=cache), 12 - start, start)
        assert all(equal(a, b) for a, b in zip(whole[start:], again, strict=True))


def test_the_stream_can_be_read_twice_and_side_by_side(small_set: Path) -> None:
    one = stream(small_set)
    first, second = one.batches(0), one.batches(3)
    ahead = [next(second) for _ in range(3)]
    whole = [next(first) for _ in range(6)]
    assert all(equal(a, b) for a, b in zip(whole[3:], ahead, strict=True))


@pytest.mark.parametrize("world", [2, 3, 6])
def test_ranks_share_the_batch_of_one(small_set: Path, world: int) -> None:
    whole = take(stream(small_set, batch=6), 4, 1)
    parts = [take(stream(small_set, batch=6, rank=rank, world=world), 4, 1) for rank in range(world)]
    for step in range(4):
        for field in ("labels", "photo", "instances"):
            joined = torch.cat([getattr(part[step], field) for part in parts])
            assert torch.equal(joined, getattr(whole[step], field))


@pytest.mark.filterwarnings(
    "ignore:.*fork:DeprecationWarning"
)  # Python 3.12 and later, of torch's way to start workers
def test_workers_read_the_same(small_set: Path) -> None:
    ours, theirs = take(stream(small_set), 5, 2), take(stream(small_set, workers=1), 5, 2)
    assert all(equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_every_item_once_an_epoch_in_a_new_order(small_set: Path) -> None:
    shown = rows(take(stream(small_set, batch=1, preprocess=Preprocess("fixed", 1, (12, 16), flip=False)), 20))
    epochs = [shown[start : start + 5] for start in range(0, 20, 5)]
    assert all(len(set(epoch)) == 5 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_set_smaller_than_the_batch_wraps_around(small_set: Path) -> None:
    batch = take(stream(small_set, batch=15, preprocess=Preprocess("fixed", 1, (12, 16), flip=False)), 1)
    assert batch[0].labels.shape[0] == 15
    assert sorted(rows(batch).count(row) for row in set(rows(batch))) == [3] * 5


def test_seed_and_nothing_else_decides(small_set: Path) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before, state = take(stream(small_set), 3), torch.get_rng_state()
    torch.manual_seed(2)
    assert all(equal(a, b) for a, b in zip(before, take(stream(small_set), 3), strict=True))
    torch.manual_seed(1)
    take(stream(small_set), 3)
    assert torch.equal(torch.get_rng_state(), state)
    assert not equal(before[0], take(stream(small_set, seed=1), 1)[0])


def test_flips_turn_map_photo_and_instances_together(small_set: Path) -> None:
    plain = {}
    for item in find(small_set):
        batch = load_item(item, LABELS, FIXED, use_instances=True)
        assert batch.instances is not None
        plain[batch.photo.numpy().tobytes()] = (batch.labels, batch.instances)
    flipped = 0
    for batch in take(stream(small_set, batch=1, preprocess=FIXED), 20):
        assert batch.instances is not None
        turned = batch.photo.numpy().tobytes() not in plain
        parts = [part.flip(-1) if turned else part for part in (batch.photo, batch.labels, batch.instances)]
        labels, instances = plain[parts[0].numpy().tobytes()]
        assert torch.equal(parts[1], labels)
        assert torch.equal(parts[2], instances)
        flipped += turned
    assert 0 < flipped < 20


def test_pictures_for_validation_have_no_part_in_chance(small_set: Path) -> None:
    items = find(small_set)[:3]
    batch = label_pictures(items, LABELS, CROP, use_instances=True)
    assert batch.labels.shape == (3, 8, 8)
    assert equal(batch, label_pictures(items, LABELS, CROP, use_instances=True))
    assert torch.equal(load_item(items[1], LABELS, CROP).photo[0], batch.photo[1])
    assert load_item(items[1], LABELS, CROP).instances is None
    with pytest.raises(PinxitError, match=r"the photo of label map '.*0.png' is missing"):
        load_item(Item("0", items[0].label), LABELS, CROP)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_file_is_one_line_also_from_a_worker(small_set: Path, write: Callable[..., Path], workers: int) -> None:
    for number in range(5):
        write(small_set / "train_label" / f"{number}.png", np.full((12, 16), 77, np.uint8))
    with pytest.raises(PinxitError, match=r"^label map '.*' has value 77, expected 0..2 or 255 \(unknown\)") as error:
        take(stream(small_set, workers=workers), 1)
    assert "\n" not in str(error.value)


def test_wrong_sizes_are_told(small_set: Path, write: Callable[..., Path]) -> None:
    write(small_set / "train_label" / "4.png", np.zeros((12, 40), np.uint8))
    with pytest.raises(PinxitError, match=r"size of '.*4.png' is 16x12, expected 40x12 \(width x height\)"):
        take(stream(small_set), 5)
    write(small_set / "train_img" / "4.png", np.zeros((12, 40, 3), np.uint8))
    with pytest.raises(PinxitError, match=r"train_inst.*4.png' is 16x12, expected 40x12"):
        take(stream(small_set), 5)
    with pytest.raises(PinxitError, match=r"sizes within a batch is 32x32, 32x64?, expected one|sizes within a batch"):
        take(stream(small_set, batch=5, use_instances=False, preprocess=Preprocess("scale_width", 32)), 1)


def test_wrong_settings_are_told(small_set: Path) -> None:
    items = find(small_set)
    with pytest.raises(PinxitError, match="batch is 5, expected a multiple of the number of processes, 2"):
        LabelPhotoStream(items, LABELS, CROP, 5, 0, world=2)
    with pytest.raises(PinxitError, match="seed is -1"):
        LabelPhotoStream(items, LABELS, CROP, 5, -1)
    with pytest.raises(PinxitError, match="list of pictures to train on is empty"):
        LabelPhotoStream([], LABELS, CROP, 5, 0)
    maps = [Item(item.name, item.label) for item in items]
    with pytest.raises(PinxitError, match=r"the photo of label map '.*0.png' is missing"):
        LabelPhotoStream(maps, LABELS, CROP, 5, 0)
    photos = [Item(item.name, item.label, item.photo) for item in items]
    with pytest.raises(PinxitError, match=r"the instance map of label map '.*0.png' is missing"):
        LabelPhotoStream(photos, LABELS, CROP, 5, 0, use_instances=True)


@pytest.mark.parametrize(
    ("name", "split"), [("coco_stuff", "train"), ("cityscapes", "train"), ("ade20k", "val"), ("camvid", "val")]
)
def test_the_real_samples_stream(pack: Callable[[str], Path], name: str, split: str) -> None:
    labels, items = load_label_set(name), find(pack(name), split)[:4]
    instances = items[0].instance is not None
    preprocess = Preprocess("resize_and_crop", 72, (64, 64))
    batch = take(LabelPhotoStream(items, labels, preprocess, 4, 0, use_instances=instances), 1)[0]
    assert batch.labels.shape == (4, 64, 64)
    assert batch.labels.max() < labels.channels
    assert (batch.instances is not None) == instances
    assert len(batch.labels.unique()) > 3
