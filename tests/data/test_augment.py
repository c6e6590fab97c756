from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.data.augment import Mode, Picture, Preprocess, crop, flip, resize, vary
from pinxit.errors import PinxitError


def picture(height: int, width: int) -> Picture:
    """Map, photo and instances that tell the place each pixel came from."""
    y, x = np.mgrid[:height, :width]
    photo = np.stack([y, x, y * 0], -1).astype(np.uint8)
    return Picture((y * 7 + x).astype(np.uint8), Image.fromarray(photo), (y * 1000 + x).astype(np.int32))


def places(result: Picture) -> list[np.ndarray]:
    """(row, column) of each pixel's origin, as the photo and as the instances tell it."""
    assert result.photo is not None
    assert result.instances is not None
    photo = np.asarray(result.photo).astype(int)
    return [photo[..., 0] * 1000 + photo[..., 1], result.instances]


@pytest.mark.parametrize(
    ("mode", "load", "size", "before", "resized", "after"),
    [
        ("resize_and_crop", 286, (256, 256), (480, 640), (286, 286), (256, 256)),
        ("resize_and_crop", 216, (192, 256), (480, 640), (216, 288), (192, 256)),
        ("crop", 0, (256, 128), (300, 301), (300, 301), (256, 128)),
        ("scale_width", 320, (256, 256), (427, 640), (213, 320), (213, 320)),
        ("scale_width_and_crop", 320, (200, 200), (427, 640), (213, 320), (200, 200)),
        ("scale_shortside", 256, (256, 256), (427, 640), (256, 383), (256, 383)),
        ("scale_shortside", 256, (256, 256), (640, 427), (383, 256), (383, 256)),
        ("scale_shortside_and_crop", 286, (256, 256), (640, 427), (428, 286), (256, 256)),
        ("fixed", 512, (256, 512), (1024, 2048), (256, 512), (256, 512)),
        ("none", 1, (1, 1), (100, 159), (96, 160), (96, 160)),
        ("none", 1, (1, 1), (5, 64), (32, 64), (32, 64)),
    ],
)
def test_sizes(
    mode: Mode,
    load: int,
    size: tuple[int, int],
    before: tuple[int, int],
    resized: tuple[int, int],
    after: tuple[int, int],
) -> None:
    preprocess = Preprocess(mode, max(1, load), size)
    assert preprocess.resized(*before) == resized
    result = vary(resize(picture(*before), preprocess), preprocess, np.random.default_rng(0), "x.png")
    assert result.photo is not None
    assert result.instances is not None
    assert result.map.shape == result.instances.shape == after == (result.photo.height, result.photo.width)
    assert result.map.dtype == np.uint8
    assert result.instances.dtype == np.int32


def test_maps_are_resized_as_pillow_does_nearest_and_photos_bicubic() -> None:
    random = np.random.default_rng(0)
    ids, rgb = random.integers(0, 256, (37, 53), np.uint8), random.integers(0, 256, (37, 53, 3), np.uint8)
    result = resize(Picture(ids, Image.fromarray(rgb), None), Preprocess("fixed", 1, (20, 91)))
    assert (result.map == np.asarray(Image.fromarray(ids).resize((91, 20), Image.Resampling.NEAREST))).all()
    expected = Image.fromarray(rgb).resize((91, 20), Image.Resampling.BICUBIC)
    assert result.photo is not None
    assert result.photo.tobytes() == expected.tobytes()
    large = (random.integers(0, 2**24, (37, 53))).astype(np.int32)
    instances = resize(Picture(ids, None, large), Preprocess("fixed", 1, (20, 91))).instances
    assert instances is not None
    assert set(instances.flat) <= set(large.flat)


def test_what_fits_is_left_as_it_is() -> None:
    before = picture(32, 64)
    assert resize(before, Preprocess("none")) is before
    assert resize(before, Preprocess("crop", 1, (8, 8))) is before


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_crop_and_flip_move_all_parts_together(seed: int, height: int, width: int) -> None:
    preprocess = Preprocess("crop", 1, (height, width))
    result = vary(picture(20, 24), preprocess, np.random.default_rng(seed), "x.png")
    by_photo, by_instances = places(result)
    assert (by_photo == by_instances).all()
    assert ((by_photo // 1000 * 7 + by_photo % 1000) % 256 == result.map).all()
    rows, columns = by_photo // 1000, by_photo % 1000
    assert (np.diff(rows, axis=0) == 1).all()
    steps = np.diff(columns, axis=1)
    assert (steps == 1).all() or (steps == -1).all()


def test_every_place_and_both_flips_come_up() -> None:
    preprocess = Preprocess("crop", 1, (2, 2))
    seen = set()
    for seed in range(200):
        result = vary(picture(3, 4), preprocess, np.random.default_rng(seed), "x.png")
        seen.add(tuple(places(result)[0].flat))
    assert len(seen) == 2 * 3 * 2
    unflipped = Preprocess("crop", 1, (2, 2), flip=False)
    assert all(
        np.diff(places(vary(picture(3, 4), unflipped, np.random.default_rng(seed), "x"))[0])[0, 0] == 1
        for seed in range(20)
    )


def test_flipping_twice_gives_the_picture_back() -> None:
    before = picture(5, 6)
    after = flip(flip(before))
    assert (after.map == before.map).all()
    assert (places(after)[0] == places(before)[0]).all()
    assert crop(before, 1, 2, 3, 4).map.tolist() == before.map[1:4, 2:6].tolist()


def test_without_chance_the_middle_is_taken() -> None:
    preprocess = Preprocess("crop", 1, (2, 2)).still()
    assert not preprocess.flip
    assert places(vary(picture(4, 6), preprocess, None, "x"))[0].tolist() == [[1002, 1003], [2002, 2003]]
    whole = Preprocess("resize_and_crop", 286, (192, 256)).still()
    assert whole.resized(480, 640) == (192, 256)


def test_a_picture_smaller_than_the_crop_is_refused() -> None:
    with pytest.raises(PinxitError, match=r"picture 'x.png' is 10x30 .*, expected at least 20x20"):
        vary(picture(10, 30), Preprocess("crop", 1, (20, 20)), None, "x.png")
    with pytest.raises(PinxitError, match=r"load_size is 200, expected 256 or more"):
        Preprocess("resize_and_crop", 200)
    with pytest.raises(PinxitError, match=r"size or load_size is \(0, 5\), 286"):
        Preprocess("fixed", size=(0, 5))


def test_photo_and_instances_are_optional() -> None:
    preprocess = Preprocess("resize_and_crop", 12, (8, 8))
    result = vary(resize(Picture(np.zeros((9, 9), np.uint8), None, None), preprocess), preprocess, None, "x")
    assert result.map.shape == (8, 8)
    assert result.photo is None
    assert result.instances is None
