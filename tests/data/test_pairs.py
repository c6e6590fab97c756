from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.augment import Preprocess
from pinxit.data.images import to_tensor
from pinxit.data.kinds import Kind
from pinxit.data.pairs import (
    Pair,
    PairReport,
    PairStream,
    Sides,
    check_pairs,
    find_pairs,
    kinds_of,
    pair_pictures,
    resize,
    scan_pairs,
    splits_of_pairs,
)
from pinxit.data.rasters import read_raster, to_unit, write_raster
from pinxit.errors import PinxitError

RGB = Kind()
CROP = Preprocess("resize_and_crop", 12, (8, 8))
WHOLE = Preprocess("fixed", 1, (12, 16), flip=False)


def noise(path: Path, shape: tuple[int, int, int], dtype: str = "uint8", seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    if dtype == "float32":
        write_raster(path, random.normal(0, 3, shape).astype(np.float32))
    else:
        write_raster(path, random.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype))
    return path


@pytest.fixture
def side_by_side(tmp_path: Path) -> Path:
    """Five 12x32 files in `train`."""
    for number in range(5):
        noise(tmp_path / "set" / "train" / f"{number}.png", (12, 32, 3), seed=number)
    return tmp_path / "set"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Five pairs, 12x16: A of 4 channels and 16 bit, B of one float channel."""
    for number in range(5):
        noise(tmp_path / "set" / "trainA" / f"{number}.tif", (12, 16, 4), "uint16", number)
        noise(tmp_path / "set" / "trainB" / f"{number}.npy", (12, 16, 1), "float32", number)
    return tmp_path / "set"


def stream(sides: Sides, preprocess: Preprocess = CROP, batch: int = 2, seed: int = 0, **options: object) -> PairStream:
    return PairStream(sides, preprocess, kinds_of(sides), batch, seed, **options)  # pyright: ignore[reportArgumentType]


def take(stream: PairStream, steps: int, start: int = 0) -> list[Pair]:
    return list(islice(stream.batches(start), steps))


def equal(one: list[Pair], other: list[Pair]) -> bool:
    return all(torch.equal(x.a, y.a) and torch.equal(x.b, y.b) for x, y in zip(one, other, strict=True))


def rows(pictures: list[torch.Tensor]) -> list[bytes]:
    return [row.numpy().tobytes() for batch in pictures for row in batch]


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(PinxitError) as caught:
        attempt()
    assert "\n" not in str(caught.value)
    assert ", expected " in str(caught.value)
    return str(caught.value)


class TestFinding:
    def test_the_layouts(self, tmp_path: Path) -> None:
        for name in ("side/train/2.png", "side/train/10.png", "side/train/.hidden.png", "side/train/README.md"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        for name in ("trainA", "trainB", "testA", "testB"):
            noise(tmp_path / "joint" / name / "1.png", (4, 4, 3))
        for name in ("A/train", "B/train", "A/val", "B/val"):
            noise(tmp_path / "apart" / name / "1.png", (4, 4, 3))
        side = find_pairs(tmp_path / "side")
        assert [path.name for path in side.a] == ["2.png", "10.png"]
        assert (side.b, side.counts) == (None, (2, 2))
        for root, a, b in (("joint", "trainA", "trainB"), ("apart", "A/train", "B/train")):
            sides = find_pairs(tmp_path / root)
            assert sides == Sides([tmp_path / root / a / "1.png"], [tmp_path / root / b / "1.png"])
            assert sides == find_pairs(None, tmp_path / root / a, tmp_path / root / b)
            assert sides == find_pairs(tmp_path / root, paired=False)
        assert splits_of_pairs(tmp_path / "side") == ["train"]
        assert sorted(splits_of_pairs(tmp_path / "joint")) == ["test", "train"]
        assert sorted(splits_of_pairs(tmp_path / "apart")) == ["train", "val"]

    def test_splits_of_other_names(self, side_by_side: Path) -> None:
        (side_by_side / "train").rename(side_by_side / "validation")
        for split in ("val", "validation", "test"):
            assert len(find_pairs(side_by_side, split=split).a) == 5
        line = refusal(lambda: find_pairs(side_by_side))
        assert line.endswith("is 'train', expected one of validation; name one of these")

    def test_label_maps_are_no_sides(self, tmp_path: Path, small_set: Path) -> None:
        assert not splits_of_pairs(small_set)
        noise(tmp_path / "camvid" / "train" / "1.png", (4, 4, 3))
        noise(tmp_path / "camvid" / "trainannot" / "1.png", (4, 4, 1))
        assert not splits_of_pairs(tmp_path / "camvid")

    def test_what_is_not_there(self, tmp_path: Path, folders: Path) -> None:
        assert "nope' is missing" in refusal(lambda: find_pairs(tmp_path / "nope"))
        assert "missing" in refusal(lambda: find_pairs(None))
        assert "missing" in refusal(lambda: find_pairs(None, tmp_path))
        assert "given with" in refusal(lambda: find_pairs(tmp_path, tmp_path, tmp_path))
        assert "one with trainA and trainB" in refusal(lambda: find_pairs(tmp_path))
        for path in (folders / "trainB").iterdir():
            path.unlink()
        line = refusal(lambda: find_pairs(folders))
        assert "side B folder" in line
        assert "is without pictures" in line
        line = refusal(lambda: find_pairs(None, folders / "trainA", folders / "trainC"))
        assert "trainC' is missing" in line

    def test_unequal_counts_and_names(self, folders: Path) -> None:
        (folders / "trainB" / "3.npy").unlink()
        line = refusal(lambda: find_pairs(folders))
        assert line.startswith("sides of 5 and 4 pictures have a picture without counterpart ('")
        assert "3.tif'), expected two of each name" in line
        sides, alone = scan_pairs(folders)
        assert sides.counts == (4, 4)
        assert str(alone) == line
        assert find_pairs(folders, paired=False).counts == (5, 4)
        noise(folders / "trainA" / "1.png", (12, 16, 3))
        assert "name '1' is that of" in refusal(lambda: find_pairs(folders))


class TestPaired:
    def test_a_row_is_the_file_it_came_from(self, folders: Path, side_by_side: Path) -> None:
        sides = find_pairs(folders)
        kinds = kinds_of(sides)
        assert kinds[0] == Kind(4, "uint16", 0, 65535)
        assert (kinds[1].channels, kinds[1].dtype) == (1, "float32")
        assert sides.b is not None
        batch = take(stream(sides, WHOLE, 5), 1)[0]
        assert (batch.a.shape, batch.b.shape) == ((5, 4, 12, 16), (5, 1, 12, 16))
        assert batch.a.dtype == batch.b.dtype == torch.float32
        want = [
            (to_unit(read_raster(p), kinds[0]), to_unit(read_raster(q), kinds[1]))
            for p, q in zip(*vars(sides).values(), strict=True)
        ]
        for a, b in zip(batch.a.numpy(), batch.b.numpy(), strict=True):
            assert sum(bool((a == x).all() and (b == y).all()) for x, y in want) == 1
        assert batch.b.min() == -1
        assert batch.b.max() == 1

    def test_side_by_side_files_are_cut_and_scaled_as_the_official_code_does(self, side_by_side: Path) -> None:
        sides = find_pairs(side_by_side)
        batch = pair_pictures(sides, [0, 3], Preprocess("resize_and_crop", 20, (20, 20)), kinds_of(sides))
        for row, index in enumerate((0, 3)):
            with Image.open(sides.a[index]) as file:
                halves = file.crop((0, 0, 16, 12)), file.crop((16, 0, 32, 12))
            scaled = [half.resize((20, 20), Image.Resampling.BICUBIC) for half in halves]
            assert torch.equal(batch.a[row], to_tensor(scaled[0]))
            assert torch.equal(batch.b[row], to_tensor(scaled[1]))

    def test_both_sides_have_one_crop_and_flip(self, tmp_path: Path) -> None:
        noise(tmp_path / "trainA" / "1.png", (12, 16, 3))
        noise(tmp_path / "trainB" / "1.png", (12, 16, 3))
        sides = find_pairs(tmp_path)
        batches = take(stream(sides, Preprocess("crop", 1, (4, 6)), 1), 60)
        assert len({batch.a.numpy().tobytes() for batch in batches}) > 40
        assert all(torch.equal(batch.a, batch.b) for batch in batches)

    @pytest.mark.parametrize("cache", [0, 3000, 1 << 20])
    @pytest.mark.parametrize("paired", [True, False])
    @pytest.mark.parametrize("data", ["folders", "side_by_side"])
    def test_any_start_goes_on_with_the_same_batches(
        self, request: pytest.FixtureRequest, data: str, paired: bool, cache: int
    ) -> None:
        """With nothing, some pictures or all of them kept in memory."""
        sides = find_pairs(request.getfixturevalue(data), paired=paired)
        whole = take(stream(sides, paired=paired), 12)
        for start in (0, 1, 5, 11):
            assert equal(whole[start:], take(stream(sides, paired=paired, cache_bytes=cache), 12 - start, start))

    @pytest.mark.parametrize("world", [2, 3, 6])
    @pytest.mark.parametrize("paired", [True, False])
    def test_ranks_share_the_batch_of_one(self, folders: Path, world: int, paired: bool) -> None:
        sides = find_pairs(folders)
        whole = take(stream(sides, batch=6, paired=paired), 4, 1)
        parts = [take(stream(sides, batch=6, paired=paired, rank=rank, world=world), 4, 1) for rank in range(world)]
        joined = [Pair(*(torch.cat(side) for side in zip(*step, strict=True))) for step in zip(*parts, strict=True)]
        assert equal(whole, joined)

    @pytest.mark.filterwarnings(
        "ignore:.*fork:DeprecationWarning"
    )  # Python 3.12 and later, of torch's way to start workers
    def test_workers_read_the_same(self, folders: Path) -> None:
        sides = find_pairs(folders)
        assert equal(take(stream(sides), 4, 2), take(stream(sides, workers=1), 4, 2))
        write_raster(folders / "trainA" / "2.tif", np.zeros((5, 5, 4), np.uint16))
        assert "2.npy' is 16x12" in refusal(lambda: take(stream(sides, workers=1), 5))

    def test_every_pair_once_an_epoch_in_a_new_order(self, folders: Path) -> None:
        batches = take(stream(find_pairs(folders), WHOLE, 1), 20)
        together = [a + b for a, b in zip(rows([x.a for x in batches]), rows([x.b for x in batches]), strict=True)]
        epochs = [together[start : start + 5] for start in range(0, 20, 5)]
        assert all(len(set(epoch)) == 5 for epoch in epochs)
        assert len(set(together)) == 5
        assert len({tuple(epoch) for epoch in epochs}) > 1

    def test_the_global_generators_have_no_part(self, folders: Path) -> None:
        sides = find_pairs(folders)
        torch.manual_seed(1)
        state = torch.get_rng_state()
        first = take(stream(sides), 3)
        assert torch.equal(state, torch.get_rng_state())
        torch.manual_seed(2)
        assert equal(first, take(stream(sides), 3))
        assert not equal(first, take(stream(sides, seed=1), 3))


class TestUnpaired:
    def test_each_side_once_an_epoch_of_its_own_length(self, folders: Path) -> None:
        for number in (5, 6):
            noise(folders / "trainA" / f"{number}.tif", (12, 16, 4), "uint16", number)
        sides = find_pairs(folders, paired=False)
        assert sides.counts == (7, 5)
        batches = take(stream(sides, WHOLE, 1, paired=False), 35)
        for pictures, count in ((rows([x.a for x in batches]), 7), (rows([x.b for x in batches]), 5)):
            epochs = [pictures[start : start + count] for start in range(0, 35, count)]
            assert all(len(set(epoch)) == count for epoch in epochs)
            assert len(set(pictures)) == count
        met = set(zip(rows([x.a for x in batches]), rows([x.b for x in batches]), strict=True))
        assert len(met) > 14, "B does not go along with A"

    def test_each_side_has_its_own_order_crop_and_flip(self, tmp_path: Path) -> None:
        for number in range(6):
            noise(tmp_path / "trainA" / f"{number}.png", (12, 16, 3), seed=number)
            noise(tmp_path / "trainB" / f"{number}.png", (12, 16, 3), seed=number)
        whole = take(stream(find_pairs(tmp_path), WHOLE, 1, paired=False), 60)
        assert 1 < sum(torch.equal(batch.a, batch.b) for batch in whole) < 25
        cut = take(stream(find_pairs(tmp_path), Preprocess("crop", 1, (4, 6)), 1, paired=False), 60)
        assert not any(torch.equal(batch.a, batch.b) for batch in cut)

    def test_sides_of_other_sizes(self, tmp_path: Path) -> None:
        noise(tmp_path / "trainA" / "day.png", (12, 16, 3))
        noise(tmp_path / "trainB" / "night.png", (20, 10, 3))
        noise(tmp_path / "trainB" / "noon.png", (11, 10, 3))
        sides = find_pairs(tmp_path, paired=False)
        batch = take(stream(sides, Preprocess("crop", 1, (8, 8)), 2, paired=False), 1)[0]
        assert batch.a.shape == batch.b.shape == (2, 3, 8, 8)
        shown = pair_pictures(sides, [0], Preprocess("none", multiple=4), (RGB, RGB), paired=False)
        assert (shown.a.shape, shown.b.shape) == ((1, 3, 12, 16), (1, 3, 20, 8))

    def test_halves_of_side_by_side_files_can_be_unpaired(self, side_by_side: Path) -> None:
        sides = find_pairs(side_by_side, paired=False)
        preprocess = Preprocess("none", flip=False, multiple=4)
        batches = take(stream(sides, preprocess, 1, paired=False), 10)
        left, right = (
            {to_unit(read_raster(path)[:, half], RGB).tobytes() for path in sides.a}
            for half in (slice(16), slice(16, 32))
        )
        assert set(rows([batch.a for batch in batches])) == left
        assert set(rows([batch.b for batch in batches])) == right


class TestResizing:
    @pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
    def test_eight_bits_as_pillow(self, mode: str, channels: int) -> None:
        array = np.random.default_rng(0).integers(0, 256, (13, 17, channels)).astype(np.uint8)
        result = resize(array, Preprocess("fixed", 1, (20, 9)), "x.png")
        image = Image.fromarray(array.squeeze(), mode) if channels == 3 else Image.fromarray(array[..., 0])
        want = np.asarray(image.resize((9, 20), Image.Resampling.BICUBIC)).reshape(20, 9, channels)
        assert (result == want).all()
        assert result.dtype == np.uint8

    @pytest.mark.parametrize("channels", [1, 2, 4, 7])
    def test_every_channel_by_itself(self, channels: int) -> None:
        """No channel is taken for alpha."""
        array = np.random.default_rng(0).integers(0, 256, (13, 17, channels)).astype(np.uint8)
        result = resize(array, Preprocess("fixed", 1, (20, 9)), "x.png")
        for channel in range(channels):
            alone = resize(array[..., channel : channel + 1], Preprocess("fixed", 1, (20, 9)), "x.png")
            assert (result[..., channel] == alone[..., 0]).all()

    def test_deeper_ones_keep_their_depth(self) -> None:
        ramp = np.tile(np.arange(0, 64000, 1000, dtype=np.uint16)[None, :, None], (8, 1, 2))
        result = resize(ramp, Preprocess("fixed", 1, (8, 128)), "x.tif")
        assert result.dtype == np.uint16
        assert len(np.unique(result)) > 100
        steep = np.zeros((8, 8, 1), np.uint16)
        steep[:, 4:] = 65535
        result = resize(steep, Preprocess("fixed", 1, (16, 16)), "x.tif")
        assert (result.min(), result.max()) == (0, 65535), "no overshoot wraps around"
        floats = resize(steep.astype(np.float32), Preprocess("fixed", 1, (16, 16)), "x.npy")
        assert floats.dtype == np.float32
        assert floats.max() > 65535

    def test_none_rounds_to_the_multiple_and_others_must_meet_it(self) -> None:
        array = np.zeros((50, 71, 3), np.uint8)
        assert resize(array, Preprocess("none", multiple=4), "x").shape == (48, 72, 3)
        assert resize(array, Preprocess("none"), "x").shape == (64, 64, 3)
        assert resize(array, Preprocess("scale_width_and_crop", 64, (32, 32), multiple=4), "x").shape == (45, 64, 3)
        line = refusal(lambda: resize(array, Preprocess("scale_width", 64, multiple=4), "x.png"))
        assert line.startswith(
            "picture 'x.png' is 45x64 (height x width) after preprocess scale_width, expected multiples"
        )


class TestBadInput:
    def test_an_odd_width(self, side_by_side: Path) -> None:
        noise(side_by_side / "train" / "2.png", (12, 31, 3))
        sides = find_pairs(side_by_side)
        line = refusal(lambda: take(stream(sides), 5))
        assert line.startswith("width of '")
        assert "2.png' is 31, expected an even number, A on the left and B on the right" in line

    def test_sizes_of_a_pair(self, folders: Path) -> None:
        noise(folders / "trainB" / "2.npy", (12, 15, 1), "float32")
        sides = find_pairs(folders)
        line = refusal(lambda: take(stream(sides), 5))
        assert "trainB/2.npy' is 15x12, expected 16x12 (width x height) as '" in line
        take(stream(sides, paired=False), 5)

    def test_channels_and_number_types(self, folders: Path) -> None:
        sides = find_pairs(folders)
        kinds = kinds_of(sides)
        assert "is 4-channel uint16, expected 3-channel uint8" in refusal(
            lambda: take(PairStream(sides, CROP, (RGB, kinds[1]), 2, 0), 1)
        )
        noise(folders / "trainB" / "4.npy", (12, 16, 2), "float32")
        line = refusal(lambda: kinds_of(sides))
        assert "4.npy' is 2-channel float32, expected 1-channel float32 as '" in line

    def test_a_float_that_is_no_number(self, folders: Path) -> None:
        array = np.zeros((12, 16, 1), np.float32)
        array[0, 0] = np.nan
        write_raster(folders / "trainB" / "1.npy", array)
        line = refusal(lambda: kinds_of(find_pairs(folders)))
        assert "1.npy' is not a number or infinite in 1 of 192 values" in line

    def test_a_damaged_file(self, folders: Path) -> None:
        path = folders / "trainA" / "1.tif"
        path.write_bytes(path.read_bytes()[:-30])
        sides = find_pairs(folders)
        kinds = (Kind(4, "uint16", 0, 65535), Kind(1, "float32", -9, 9))
        assert "1.tif' is damaged" in refusal(lambda: take(PairStream(sides, CROP, kinds, 2, 0), 5))

    def test_a_crop_larger_than_a_picture(self, folders: Path) -> None:
        line = refusal(lambda: take(stream(find_pairs(folders), Preprocess("crop", 1, (13, 8))), 1))
        assert "is 12x16 (height x width) before the crop, expected at least 13x8" in line

    def test_sizes_within_a_batch(self, side_by_side: Path) -> None:
        noise(side_by_side / "train" / "1.png", (16, 32, 3))
        preprocess = Preprocess("none", multiple=4)
        line = refusal(lambda: take(stream(find_pairs(side_by_side), preprocess, 5), 1))
        assert line.startswith("sizes within a batch is 12x16, 16x16, expected one")

    def test_streams_that_cannot_be(self, folders: Path) -> None:
        sides = find_pairs(folders)
        kinds = kinds_of(sides)
        fewer = Sides(sides.a, (sides.b or [])[:4])
        assert "side B" in refusal(lambda: PairStream(Sides(sides.a, []), CROP, kinds, 2, 0))
        assert "5 on side A and 4 on side B" in refusal(lambda: PairStream(fewer, CROP, kinds, 2, 0))
        assert "batch is 3" in refusal(lambda: PairStream(sides, CROP, kinds, 3, 0, world=2))
        assert "seed is -1" in refusal(lambda: PairStream(sides, CROP, kinds, 2, -1))


class TestKinds:
    def test_of_side_by_side_files(self, side_by_side: Path) -> None:
        sides = find_pairs(side_by_side)
        assert kinds_of(sides) == (RGB, RGB)
        assert kinds_of(sides, range_b=(0, 100)) == (RGB, Kind(high=100))

    def test_ranges_given(self, folders: Path) -> None:
        assert kinds_of(find_pairs(folders), (0, 4095), (-10, 10)) == (
            Kind(4, "uint16", 0, 4095),
            Kind(1, "float32", -10, 10),
        )

    def test_grey_photos_among_rgb(self, side_by_side: Path) -> None:
        noise(side_by_side / "train" / "2.png", (12, 32, 1))
        sides = find_pairs(side_by_side)
        assert kinds_of(sides) == (RGB, RGB)
        grey = pair_pictures(sides, [2], WHOLE, (RGB, RGB))
        assert grey.a.shape == (1, 3, 12, 16)
        assert torch.equal(grey.a[:, 0], grey.a[:, 2])
        assert check_pairs(sides).notes == ["1 of 5 pictures of A and B are grey; they are taken for RGB"]


def the_problem(report: PairReport) -> str:
    assert len(report.problems) == 1, report.problems
    with pytest.raises(PinxitError, match="expected"):
        report.raise_if_bad()
    assert report.table().splitlines()[-1] == "1 problem"
    return report.problems[0]


class TestCheck:
    def test_the_real_samples_are_sound(self, pack: Callable[[str], Path]) -> None:
        report = check_pairs(find_pairs(pack("edges2fruits"), split="val"))
        assert report.table().splitlines() == [
            "55 pictures, A and B side by side",
            "A and B: 3-channel uint8, values 0..255, size (height x width): 128x128",
            "no problems",
        ]
        report = check_pairs(find_pairs(pack("day2night"), split="test", paired=False), paired=False)
        report.raise_if_bad()
        assert report.form == "39 pictures on side A, 40 on side B, unpaired"

    def test_the_table(self, folders: Path) -> None:
        sides = find_pairs(folders)
        lines = check_pairs(sides, kinds_of(sides)).table().splitlines()
        assert lines[0] == "5 pictures on side A, 5 on side B, by name"
        assert lines[1].startswith("A: 4-channel uint16, values ")
        assert lines[1].endswith("size (height x width): 12x16")
        assert lines[2].startswith("B: 1-channel float32, values -")
        assert lines[3:] == ["no problems"]
        seen: list[tuple[int, int]] = []
        check_pairs(sides, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(done, 10) for done in range(1, 11)]

    def test_each_wrong_file_has_a_line(self, folders: Path, side_by_side: Path) -> None:
        for name, shape in (("1.tif", (12, 16, 3)), ("2.tif", (12, 16, 3)), ("3.tif", (10, 16, 4))):
            noise(folders / "trainA" / name, shape, "uint16")
        (folders / "trainB" / "0.npy").write_bytes(b"\x93NUMPY")
        (folders / "trainB" / "4.npy").unlink()
        noise(folders / "trainB" / "5.npy", (12, 16, 1), "float32")
        sides, alone = scan_pairs(folders)
        problems = check_pairs(sides, alone=alone).problems
        wanted = ("2 pictures without counterpart", "0.npy' is damaged", "3.npy' is 16x12, expected 16x10", "3-channel")
        for want in wanted:
            assert sum(want in line for line in problems) == 1, (want, problems)
        assert len(problems) == len(wanted)

    def test_an_odd_width(self, side_by_side: Path) -> None:
        noise(side_by_side / "train" / "1.png", (12, 33, 3))
        assert "1.png' is 33, expected an even number" in the_problem(check_pairs(find_pairs(side_by_side)))

    def test_kinds_and_ranges(self, folders: Path) -> None:
        sides = find_pairs(folders)
        a, b = kinds_of(sides)
        line = the_problem(check_pairs(sides, (RGB, b)))
        assert "0.tif' is 4-channel uint16, expected 3-channel uint8" in line
        assert line.endswith("(4 more such pictures)")
        notes = check_pairs(sides, (a, Kind(1, "float32", -1, 1))).notes
        assert len(notes) == 1
        assert notes[0].endswith("what is beyond -1..1 is clipped")
        for number in range(5):
            write_raster(folders / "trainA" / f"{number}.tif", np.full((12, 16, 4), 40 * number, np.uint16))
        assert check_pairs(sides).notes == ["values of A are 0..160, a small part of 0..65535; give their range"]
        assert not check_pairs(sides, (Kind(4, "uint16", 0, 255), b)).notes

    def test_what_the_preprocess_needs(self, folders: Path) -> None:
        sides = find_pairs(folders)
        report = check_pairs(sides, preprocess=Preprocess("crop", 1, (13, 16)))
        assert len(report.problems) == 2
        assert all("expected at least 13x16" in line for line in report.problems)
        check_pairs(sides, preprocess=Preprocess("crop", 1, (12, 16)), batch=4).raise_if_bad()
        assert "multiples of 32" in check_pairs(sides, preprocess=Preprocess("scale_width", 20)).problems[0]

    def test_sizes_of_a_batch(self, side_by_side: Path) -> None:
        noise(side_by_side / "train" / "1.png", (16, 32, 3))
        preprocess = Preprocess("none", multiple=4)
        line = the_problem(check_pairs(find_pairs(side_by_side), preprocess=preprocess, batch=2))
        assert "expected one (height x width)" in line
        check_pairs(find_pairs(side_by_side), preprocess=preprocess).raise_if_bad()
