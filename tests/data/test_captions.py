from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.captions import Captioned, CaptionStream, find_captioned, square_about, still
from pinxit.errors import PinxitError


@pytest.fixture
def items(tmp_path: Path) -> list[Captioned]:
    """Five photos of several sizes, the first two of class a and the others of class b, with one to five captions."""
    random = np.random.default_rng(0)
    made = []
    for number, (height, width) in enumerate([(12, 20), (20, 12), (16, 16), (9, 30), (24, 18)]):
        path = tmp_path / f"{number}.png"
        Image.fromarray(random.integers(0, 255, (height, width, 3), np.uint8)).save(path)
        made.append(Captioned(path, tuple("abcde"[: number + 1]), "a" if number < 2 else "b"))
    return made


def tokens(items: list[Captioned]) -> list[Tensor]:
    """Rows [captions, 2]: which item, which caption."""
    return [torch.tensor([[number, row] for row in range(len(item.captions))]) for number, item in enumerate(items)]


def stream(items: list[Captioned], rank: int = 0, world: int = 1, workers: int = 0, **options: object) -> CaptionStream:
    return CaptionStream(items, tokens(items), 8, 4, 3, rank, world, workers, **options)  # pyright: ignore


def test_batches_are_a_function_of_the_step(items: list[Captioned]) -> None:
    first = list(islice(stream(items, load=10).batches(0), 6))
    assert first[0].photo.shape == (4, 3, 8, 8)
    assert first[0].photo.dtype == torch.float32
    assert -1 <= first[0].photo.min() < first[0].photo.max() <= 1
    again = next(stream(items, load=10).batches(4))
    assert torch.equal(again.photo, first[4].photo)
    assert torch.equal(again.text, first[4].text)
    assert (again.which, again.wrong, again.box, again.points) == (None,) * 4


def test_the_text_is_a_caption_of_the_photo(items: list[Captioned]) -> None:
    seen = set()
    for batch in islice(stream(items, flip=False, with_index=True).batches(0), 40):
        assert batch.which is not None
        assert torch.equal(batch.text[:, 0], batch.which)
        for row, number in enumerate(batch.which.tolist()):
            assert torch.equal(batch.photo[row], still(items[number], 8))
        seen |= {tuple(row) for row in batch.text.tolist()}
    assert seen == {(number, row) for number in range(5) for row in range(number + 1)}


def test_every_photo_is_shown_equally_often(items: list[Captioned]) -> None:
    shown = torch.cat([batch.text[:, 0] for batch in islice(stream(items).batches(0), 5)])
    assert torch.bincount(shown).tolist() == [4] * 5


@pytest.mark.parametrize("workers", [0, 2])
def test_ranks_share_what_one_process_has(items: list[Captioned], workers: int) -> None:
    options = {"load": 10, "with_index": True, "with_wrong": True, "with_places": True}
    whole = next(stream(items, **options).batches(2))
    parts = [next(stream(items, rank, 2, workers, **options).batches(2)) for rank in range(2)]
    for field in whole._fields:
        assert torch.equal(getattr(whole, field), torch.cat([getattr(part, field) for part in parts]))


def test_crops_and_flips_are_all_that_there_are(items: list[Captioned]) -> None:
    """Of a 10x10 picture a crop of 8 has three places each way, and each of them a mirrored twin."""
    square = items[2:3]
    shown = torch.cat([batch.photo for batch in islice(stream(square, load=10).batches(0), 100)])
    assert len(torch.unique(shown, dim=0)) == 18
    unflipped = torch.cat([batch.photo for batch in islice(stream(square, load=10, flip=False).batches(0), 50)])
    assert len(torch.unique(unflipped, dim=0)) == 9


def test_wrong_photos_are_of_another_group(items: list[Captioned]) -> None:
    seen = set()
    for batch in islice(stream(items, flip=False, with_index=True, with_wrong=True).batches(0), 40):
        assert batch.which is not None
        assert batch.wrong is not None
        for number, photo in zip(batch.which.tolist(), batch.wrong, strict=True):
            other = next(n for n, item in enumerate(items) if torch.equal(photo, still(item, 8)))
            seen.add((number, other))
    assert seen == {(a, b) for a in range(5) for b in range(5) if items[a].group != items[b].group}
    alike = [Captioned(item.photo, item.captions) for item in items]
    batch = next(CaptionStream(alike, tokens(alike), 8, 20, 0, flip=False, with_wrong=True).batches(0))
    assert batch.wrong is not None
    assert not (batch.wrong == batch.photo).flatten(1).all(1).any()


def test_the_mean_of_several_embeddings(items: list[Captioned]) -> None:
    rows = [torch.full((5, 3), float(number)) + torch.arange(5.0)[:, None] for number in range(5)]
    batch = next(CaptionStream(items, rows, 8, 4, 0, mean_of=9, with_index=True).batches(0))
    assert batch.which is not None
    assert torch.equal(batch.text, (batch.which[:, None] + 2.0).expand(4, 3))
    with pytest.raises(PinxitError, match=r"^mean_of is 2, expected 1, as these texts are tokens"):
        CaptionStream(items, tokens(items), 8, 4, 0, mean_of=2)


def test_squares_about_boxes() -> None:
    """The numbers of StackGAN's code: half the side is three quarters of the longer one, fractions are cut off."""
    assert square_about((60.0, 27.0, 325.0, 304.0), 500, 335) == (0, 0, 465, 335)
    assert square_about((100, 50, 40, 20), 500, 335) == (90, 30, 150, 90)
    assert square_about((600, 50, 40, 20), 500, 335) is None


def test_boxes_and_points_follow_the_crop(tmp_path: Path) -> None:
    """A white box on black stays where the batch says that it is, and its upper left corner is a point that is seen."""
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[20:40, 30:60] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    points = [(0.0, 0.0, False)] * 15
    points[6] = (30.0, 20.0, True)  # CUB's left eye
    item = Captioned(tmp_path / "a.png", ("x",), "", (30, 20, 30, 20), tuple(points))
    texts = [torch.zeros(1, 2)]
    mirrored = set()
    for crop_boxes, squeeze in ((True, False), (False, True)):
        some = CaptionStream([item], texts, 60, 8, 0, load=66, crop_boxes=crop_boxes, squeeze=squeeze, with_places=True)
        for batch in islice(some.batches(0), 3):
            assert batch.box is not None
            assert batch.points is not None
            for photo, box, at in zip(batch.photo, batch.box * 60, batch.points, strict=True):
                rows, columns = (np.flatnonzero(photo[0].amax(axis) > 0) for axis in (1, 0))
                left, top, width, height = box.tolist()
                assert abs(columns[0] - left) <= 1
                assert abs(rows[0] - top) <= 1
                assert abs(len(columns) - width) <= 2
                assert abs(len(rows) - height) <= 2
                eye = 10 if at[10, 2] else 6
                mirrored.add(eye)
                corner = left + width if eye == 10 else left
                assert at[eye].tolist() == pytest.approx([corner / 60, top / 60, 1], abs=1e-5)
                assert at.count_nonzero() == 3
    assert mirrored == {6, 10}


def test_a_strip_is_cut_to_its_middle(tmp_path: Path) -> None:
    Image.new("RGB", (5000, 1), "red").save(tmp_path / "strip.png")
    item = Captioned(tmp_path / "strip.png", ("a line",))
    batch = next(CaptionStream([item], [torch.zeros(1, 1)], 64, 1, 0, load=76).batches(0))
    assert batch.photo.shape == (1, 3, 64, 64)


def test_what_cannot_be_shown(items: list[Captioned], tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^the list of photos to train on is empty"):
        stream([])
    with pytest.raises(PinxitError, match=r"^number of texts is 4, expected 5"):
        CaptionStream(items, tokens(items)[:4], 8, 4, 0)
    with pytest.raises(PinxitError, match=r"^form of the encoded captions is not one but 2"):
        CaptionStream(items, [*tokens(items)[:4], torch.zeros(1, 3)], 8, 4, 0)
    with pytest.raises(PinxitError, match=r"^load is 7, expected 8 or more"):
        stream(items, load=7)
    with pytest.raises(PinxitError, match=r"^batch is 4, expected a multiple of the number of processes, 3"):
        stream(items, 0, 3)
    with pytest.raises(PinxitError, match=r"^number of photos is 1, expected 2 or more"):
        stream(items[:1], with_wrong=True)
    outside = Captioned(items[0].photo, ("x",), box=(50.0, 50.0, 4.0, 4.0))
    for workers in (0, 1):
        with pytest.raises(PinxitError, match=r"^box of photo '.*0\.png' is 50, 50, 4, 4 .*expected one within 20x12"):
            next(CaptionStream([outside], [torch.zeros(1, 1)], 8, 1, 0, workers=workers).batches(0))
    items[0].photo.write_bytes(b"no picture")
    with pytest.raises(PinxitError, match=r"0\.png' is not a picture"):
        list(islice(stream(items).batches(0), 3))


def test_a_table_of_ones_own_in_batches(items: list[Captioned], tmp_path: Path) -> None:
    lines = [json.dumps({"image": item.photo.name, "captions": list(item.captions)}) for item in items]
    (tmp_path / "captions.jsonl").write_text("\n".join(lines))
    found = find_captioned(tmp_path)
    assert [item.photo for item in found] == [item.photo for item in items]
    assert next(stream(found).batches(0)).photo.shape == (4, 3, 8, 8)


def test_the_sample_of_flickr(pack: Callable[[str], Path]) -> None:
    items = find_captioned(pack("flickr8k_1000"), "val")[:8]
    texts = [torch.zeros(len(item.captions), 4) for item in items]
    batch = next(CaptionStream(items, texts, 64, 8, 0, load=76).batches(0))
    assert batch.photo.shape == (8, 3, 64, 64)
    assert batch.photo.std() > 0.2
