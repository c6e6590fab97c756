from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pinxit.data import regions
from pinxit.data.kinds import DType
from pinxit.data.rasters import open_regions, read_raster, write_raster, write_regions
from pinxit.data.regions import TiffReader
from pinxit.errors import PinxitError

HEIGHT, WIDTH = 1500, 1700
MB = 1 << 20


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth, so that it is compressed quickly."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([y * 31, x * 17, y + x], -1).astype(np.uint16)


FORMS: dict[str, dict[str, object]] = {
    "one run": {},
    "strips": {"rowsperstrip": 16, "compression": "zlib"},
    "tiles": {"tile": (128, 128)},
    "compressed tiles": {"tile": (128, 128), "compression": "zlib", "predictor": True},
    "planes of tiles": {"tile": (128, 128), "compression": "zlib", "planarconfig": "separate"},
    "planes": {"planarconfig": "separate"},
    "big endian": {"byteorder": ">", "bigtiff": True},
}


@pytest.mark.parametrize("form", [*FORMS, ".npy", ".png"])
def test_windows_are_those_of_the_whole_and_take_little(
    tmp_path: Path, picture: np.ndarray, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / (f"x{form}" if form[0] == "." else "x.tif")
    if form in FORMS:
        options: dict[str, object] = {"planarconfig": "contig", **FORMS[form]}
        data = picture if options["planarconfig"] == "contig" else picture.transpose(2, 0, 1)
        tifffile.imwrite(path, data, photometric="rgb", **options)  # pyright: ignore[reportArgumentType]
    else:
        write_raster(path, picture)
    monkeypatch.setattr(regions, "CACHE_BYTES", MB // 2)
    tracemalloc.start()
    with open_regions(path) as reader:
        assert (reader.height, reader.width, reader.channels, reader.dtype) == (HEIGHT, WIDTH, 3, "uint16")
        _, opened = tracemalloc.get_traced_memory()
        for y0, y1, x0, x1 in (
            (0, 100, 0, 100),
            (700, 801, 1650, WIDTH),
            (HEIGHT - 1, HEIGHT, 0, WIDTH),
            (9, 10, 5, 6),
        ):
            assert (reader.read(y0, y1, x0, x1) == picture[y0:y1, x0:x1]).all()
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if form != ".png":
        assert opened < MB, "it was read when it was opened"
        assert peak < 3 * MB, f"{peak / MB:.1f} MB for a window, of {picture.nbytes / MB:.1f} in all"


def test_a_row_of_windows_decodes_each_strip_once(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", picture[:256], photometric="rgb", rowsperstrip=16, compression="zlib")
    decoded: list[object] = []
    reads = TiffReader._segment

    def counted(self: TiffReader, page: tifffile.TiffPage, index: int) -> np.ndarray | None:
        if (page.index, index) not in self.cache:
            decoded.append(index)
        return reads(self, page, index)

    monkeypatch.setattr(TiffReader, "_segment", counted)
    with open_regions(tmp_path / "x.tif") as reader:
        for y in range(0, 256, 64):
            for x in range(0, WIDTH, 100):
                reader.read(y, y + 64, x, x + 100)
    assert decoded == [*range(16)]


def test_rows_and_planes_in_pages(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    array = random.integers(0, 65536, (40, 30, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "rows.tif", array)  # 40 pages of 30x7
    tifffile.imwrite(tmp_path / "planes.tif", array.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "packed.tif", array, compression="zlib")
    for name in ("rows", "planes", "packed"):
        with open_regions(tmp_path / f"{name}.tif") as reader:
            assert (reader.read(3, 20, 5, 29) == array[3:20, 5:29]).all()


@pytest.mark.parametrize("name", ["x.tif", "x.npy", "x.png"])
@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (3, "uint16"), (4, "uint16")])
def test_rows_written_one_after_another(tmp_path: Path, name: str, channels: int, dtype: DType) -> None:
    array = np.random.default_rng(0).integers(0, 256, (50, 31, channels)).astype(dtype)
    (tmp_path / name).write_text("older")
    with write_regions(tmp_path / name, 50, 31, channels, dtype) as writer:
        for start in range(0, 50, 7):
            writer.write_rows(array[start : start + 7, ::-1][:, ::-1])
            assert (tmp_path / name).read_text() == "older"
    assert (read_raster(tmp_path / name) == array).all()
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


def test_writing_takes_no_memory(tmp_path: Path) -> None:
    rows = np.ones((10, 2000, 3), np.uint16)
    tracemalloc.start()
    with write_regions(tmp_path / "x.tif", 1500, 2000, 3, "uint16") as writer:
        for _ in range(150):
            writer.write_rows(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MB
    with open_regions(tmp_path / "x.tif") as reader:
        assert (reader.read(1499, 1500, 0, 2000) == 1).all()


@pytest.mark.parametrize("name", ["x.tif", "x.npy", "x.png"])
def test_what_is_cut_short_leaves_the_older_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("older")
    rows = np.zeros((2, 5, 3), np.uint8)
    with pytest.raises(KeyboardInterrupt), write_regions(tmp_path / name, 4, 5, 3, "uint8") as writer:
        writer.write_rows(rows)
        raise KeyboardInterrupt
    with (
        pytest.raises(ValueError, match="2 of 4 rows were written"),
        write_regions(tmp_path / name, 4, 5, 3, "uint8") as writer,
    ):
        writer.write_rows(rows)
    for wrong in (rows[:, :4], rows.astype(np.uint16), np.zeros((5, 5, 3), np.uint8)):
        with (
            pytest.raises(ValueError, match="for \\(4, 5, 3\\)"),
            write_regions(tmp_path / name, 4, 5, 3, "uint8") as writer,
        ):
            writer.write_rows(wrong)
    assert (tmp_path / name).read_text() == "older"
    assert os.listdir(tmp_path) == [name]  # noqa: PTH208


def test_a_full_disk_is_told_in_a_line(tmp_path: Path, full_disk: Callable[[], None]) -> None:
    full_disk()
    with (
        pytest.raises(PinxitError, match=r"is not saved .*, expected room on the disk"),
        write_regions(tmp_path / "x.tif", 64, 1000, 3, "uint8") as writer,
    ):
        for _ in range(64):
            writer.write_rows(np.zeros((1, 1000, 3), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """After it is called, rows do not reach the disk."""

    def fill() -> None:
        def refuse(self: regions.RegionWriter, rows: np.ndarray) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(regions.RegionWriter, "put", refuse)

    return fill


def test_beyond_four_gigabytes_it_is_a_big_tiff(tmp_path: Path) -> None:
    """Only its header is looked at: the rest of the file is a hole, which takes no room on the disk."""
    seen = b""
    with (
        pytest.raises(KeyboardInterrupt),
        write_regions(tmp_path / "x.tif", 30_000, 30_000, 3, "uint16"),
    ):
        part = next(tmp_path.iterdir())
        with part.open("rb") as file:
            seen = file.read(4)
        raise KeyboardInterrupt
    assert seen == b"II\x2b\x00"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "side"), [("x.png", 9000), ("x.jpg", 9000)])
def test_large_pictures_of_other_formats_are_refused(tmp_path: Path, name: str, side: int) -> None:
    with pytest.raises(PinxitError, match=r"expected \.tif or \.npy"):
        write_regions(tmp_path / name, side, side, 3, "uint8")


class TestDamage:
    def test_a_hole_in_the_middle_is_told_when_it_is_read(self, tmp_path: Path, picture: np.ndarray) -> None:
        path = tmp_path / "x.tif"
        tifffile.imwrite(path, picture[:512, :512], photometric="rgb", tile=(128, 128), compression="zlib")
        with tifffile.TiffFile(path) as tiff:
            place = tiff.pages[0].dataoffsets[5]  # pyright: ignore[reportAttributeAccessIssue]
        content = bytearray(path.read_bytes())
        content[place : place + 40] = bytes(40)
        path.write_bytes(content)
        with open_regions(path) as reader:
            assert (reader.read(0, 100, 0, 512) == picture[:100, :512]).all()
            with pytest.raises(PinxitError, match=r"^picture '.*x\.tif' is damaged \(.*\), expected a whole picture"):
                reader.read(100, 200, 0, 512)

    @pytest.mark.parametrize("form", ["one run", "compressed tiles"])
    def test_a_file_cut_short(self, tmp_path: Path, picture: np.ndarray, form: str) -> None:
        path = tmp_path / "x.tif"
        tifffile.imwrite(path, picture, photometric="rgb", **FORMS[form])  # pyright: ignore[reportArgumentType]
        path.write_bytes(path.read_bytes()[:-5000])
        with (
            pytest.raises(PinxitError, match=r"is damaged .it ends early"),
            open_regions(path) as reader,
        ):
            reader.read(HEIGHT - 9, HEIGHT, WIDTH - 9, WIDTH)

    def test_numbers_that_are_none(self, tmp_path: Path) -> None:
        array = np.zeros((10, 10), np.float32)
        array[5, 5] = np.nan
        tifffile.imwrite(tmp_path / "x.tif", array)
        with open_regions(tmp_path / "x.tif") as reader:
            reader.read(0, 5, 0, 10)
            with pytest.raises(PinxitError, match="1 of 20 values"):
                reader.read(4, 6, 0, 10)

    def test_a_strip_that_would_fill_the_memory(
        self, tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tifffile.imwrite(tmp_path / "x.tif", picture, photometric="rgb", rowsperstrip=HEIGHT, compression="zlib")
        monkeypatch.setattr(regions, "MAX_SEGMENT", MB)
        with (
            pytest.raises(
                PinxitError, match=r"a strip of picture .* is 14 MB, expected at most 1 MB; save it in smaller"
            ),
            open_regions(tmp_path / "x.tif") as reader,
        ):
            reader.read(0, 1, 0, 1)

    def test_a_turned_picture_is_not_read_in_parts(self, tmp_path: Path, picture: np.ndarray) -> None:
        tifffile.imwrite(tmp_path / "x.tif", picture[:9], photometric="rgb", extratags=[(274, "H", 1, 6, True)])
        with pytest.raises(PinxitError, match="orientation 6"):
            open_regions(tmp_path / "x.tif")
        assert read_raster(tmp_path / "x.tif").shape == (WIDTH, 9, 3)

    def test_a_window_outside_is_our_own_mistake(self, tmp_path: Path) -> None:
        write_raster(tmp_path / "x.npy", np.zeros((5, 6, 1), np.uint8))
        with open_regions(tmp_path / "x.npy") as reader, pytest.raises(IndexError):
            reader.read(0, 6, 0, 6)

    @pytest.mark.parametrize("compression", ["lzw", "zstd", "jpeg", "packbits"])
    def test_what_imagecodecs_reads(self, tmp_path: Path, picture: np.ndarray, compression: str) -> None:
        pytest.importorskip("imagecodecs")
        array = (picture[:300, :300] >> 8).astype(np.uint8)
        tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", tile=(64, 64), compression=compression)
        with open_regions(tmp_path / "x.tif") as reader:
            window = reader.read(30, 90, 100, 300)
        assert np.abs(window.astype(int) - array[30:90, 100:300]).max() <= (20 if compression == "jpeg" else 0)
