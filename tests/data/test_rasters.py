from __future__ import annotations

import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pinxit.data import rasters
from pinxit.data.images import to_array, to_image, to_tensor
from pinxit.data.kinds import DType, Kind
from pinxit.data.rasters import (
    Info,
    from_unit,
    kind_of,
    raster_info,
    read_as,
    read_raster,
    require_kind,
    to_unit,
    write_raster,
)
from pinxit.errors import PinxitError


def pixels(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Values all over the range of the type; floats beyond -1..1 too."""
    random = np.random.default_rng(seed)
    if dtype == "float32":
        return random.normal(0, 100, shape).astype(np.float32)
    return random.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def same(path: Path, array: np.ndarray) -> None:
    """That the file holds the array, as its header tells."""
    result = read_raster(path)
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    assert (result == array).all()
    assert raster_info(path) == (*array.shape, str(array.dtype))


def refusal(path: Path) -> str:
    with pytest.raises(PinxitError) as caught:
        read_raster(path)
    message = str(caught.value)
    assert "\n" not in message
    assert f"'{path}'" in message
    assert ", expected " in message
    return message


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_round_trips_of_any_kind(tmp_path: Path, channels: int, dtype: str, suffix: str) -> None:
    array = pixels((9, 11, channels), dtype)
    path = tmp_path / f"x{suffix}"
    write_raster(path, array)
    same(path, array)
    if suffix == ".tif":  # as other programs see it
        assert (tifffile.imread(path).reshape(array.shape) == array).all()
    else:
        assert (np.load(path) == array).all()
    write_raster(path, array[:4])  # over the older file
    same(path, array[:4])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels"),
    [
        *((".png", dtype, channels) for dtype in ("uint8", "uint16") for channels in (1, 2, 3, 4)),
        *((".webp", "uint8", channels) for channels in (3, 4)),
        *((".bmp", "uint8", channels) for channels in (1, 3)),
    ],
)
def test_round_trips_of_pictures(tmp_path: Path, suffix: str, dtype: str, channels: int) -> None:
    array = pixels((9, 11, channels), dtype)
    write_raster(tmp_path / f"x{suffix}", array)
    same(tmp_path / f"x{suffix}", array)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_keeps_channels_and_nearly_the_values(tmp_path: Path, channels: int) -> None:
    array = np.broadcast_to(np.arange(0, 160, 10, dtype=np.uint8)[:, None, None], (16, 16, channels))
    write_raster(tmp_path / "x.jpg", array)
    result = read_raster(tmp_path / "x.jpg")
    assert result.shape == array.shape
    assert np.abs(result.astype(int) - array).max() < 12


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        ("x.png", (4, 5, 7), "uint16"),
        ("x.png", (4, 5, 1), "float32"),
        ("x.jpg", (4, 5, 3), "uint16"),
        ("x.jpg", (4, 5, 4), "uint8"),
        ("x.webp", (4, 5, 1), "uint8"),
        ("x.gif", (4, 5, 3), "uint8"),
        ("x", (4, 5, 3), "uint8"),
        ("x.tif", (4, 5, 3), "float64"),
        ("x.tif", (4, 5), "uint8"),
        ("x.npy", (4, 0, 3), "uint8"),
    ],
)
def test_what_a_format_does_not_hold_is_not_written(
    tmp_path: Path, name: str, shape: tuple[int, ...], dtype: str
) -> None:
    with pytest.raises(PinxitError, match=r"^[^\n]* is [^\n]*, expected [^\n]*; [^\n]*$"):
        write_raster(tmp_path / name, np.zeros(shape, dtype))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["L", "LA", "RGB", "RGBA"])
def test_a_deep_png_of_another_program(tmp_path: Path, kind: str) -> None:
    codecs = pytest.importorskip("imagecodecs")
    array = pixels((13, 17, {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}[kind]), "uint16")
    # Smooth rows, for which encoders choose other filters than for noise.
    array[6:] = (np.arange(17)[:, None] * 300).astype(np.uint16)
    (tmp_path / "x.png").write_bytes(codecs.png_encode(array.squeeze(), 9))
    same(tmp_path / "x.png", array)
    write_raster(tmp_path / "ours.png", array)
    assert (codecs.png_decode((tmp_path / "ours.png").read_bytes()).reshape(array.shape) == array).all()


@pytest.mark.parametrize("color", [2, 4, 6])
def test_an_interlaced_deep_png(tmp_path: Path, color: int) -> None:
    """Seven pictures in one (PNG specification, Adam7), rows unfiltered; put together here, for want of an encoder."""
    array = pixels((13, 17, {2: 3, 4: 2, 6: 4}[color]), "uint16")
    passes = ((0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1))
    rows = (row for y, down, x, right in passes for row in array[y::down, x::right] if row.size)
    data = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows))
    content = b"\x89PNG\r\n\x1a\n"
    for kind, body in (
        (b"IHDR", struct.pack(">IIBBBBB", 17, 13, 16, color, 0, 0, 1)),
        (b"IDAT", data[:50]),
        (b"IDAT", data[50:]),
        (b"IEND", b""),
    ):
        content += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "x.png").write_bytes(content)
    same(tmp_path / "x.png", array)


class TestWhatFilesHold:
    def test_photos_are_upright(self, tmp_path: Path) -> None:
        photo = Image.fromarray(pixels((8, 12, 3), "uint8"))
        upright = {}
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[ExifTags.Base.Orientation] = orientation
            photo.save(tmp_path / "x.png", exif=exif)
            upright[orientation] = read_raster(tmp_path / "x.png")
            assert raster_info(tmp_path / "x.png")[:3] == upright[orientation].shape
            tifffile.imwrite(tmp_path / "x.tif", np.asarray(photo), extratags=[(274, "H", 1, orientation, True)])
            assert (read_raster(tmp_path / "x.tif") == upright[orientation]).all()
            assert raster_info(tmp_path / "x.tif")[:3] == upright[orientation].shape
        assert upright[6].shape == (12, 8, 3)

    def test_palettes_become_rgb(self, tmp_path: Path) -> None:
        palette = Image.new("P", (2, 1))
        palette.putpalette([255, 0, 0, 0, 0, 255])
        palette.putdata([0, 1])
        palette.save(tmp_path / "x.png")
        same(tmp_path / "x.png", np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8))
        palette.save(tmp_path / "y.png", transparency=1)
        same(tmp_path / "y.png", np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8))
        colors = np.zeros((3, 256), np.uint16)
        colors[:, 1] = 65535, 256, 0
        tifffile.imwrite(tmp_path / "x.tif", np.array([[1, 0]], np.uint8), photometric="palette", colormap=colors)
        same(tmp_path / "x.tif", np.array([[[255, 1, 0], [0, 0, 0]]], np.uint8))

    def test_one_bit_and_white_as_zero(self, tmp_path: Path) -> None:
        bits = np.array([[0, 1, 1], [1, 0, 0]], bool)
        want = bits[..., None] * np.uint8(255)
        Image.fromarray(bits).save(tmp_path / "x.png")
        same(tmp_path / "x.png", want)
        np.save(tmp_path / "x.npy", bits)
        same(tmp_path / "x.npy", want)
        tifffile.imwrite(tmp_path / "x.tif", bits, photometric="minisblack")
        same(tmp_path / "x.tif", want)
        tifffile.imwrite(tmp_path / "x.tif", bits, photometric="miniswhite")
        same(tmp_path / "x.tif", 255 - want)
        tifffile.imwrite(tmp_path / "x.tif", np.array([[1, 65535]], np.uint16), photometric="miniswhite")
        same(tmp_path / "x.tif", np.array([[[65534], [0]]], np.uint16))

    def test_cmyk_becomes_rgb(self, tmp_path: Path) -> None:
        Image.new("CMYK", (3, 2)).save(tmp_path / "x.jpg")
        same(tmp_path / "x.jpg", np.full((2, 3, 3), 255, np.uint8))

    @pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "int64", ">u2"])
    def test_other_integers_become_uint16_where_they_fit(self, tmp_path: Path, dtype: str) -> None:
        array = np.array([[0, 1, 100]], dtype)
        np.save(tmp_path / "x.npy", array)
        same(tmp_path / "x.npy", array.astype(np.uint16)[..., None])
        if dtype != ">u2":
            np.save(tmp_path / "x.npy", array - np.array(2, dtype))
            if array.dtype.kind == "i":
                assert f"{dtype} with values -2..98, expected values 0..65535" in refusal(tmp_path / "x.npy")

    @pytest.mark.parametrize("dtype", ["float16", "float64", ">f4"])
    def test_other_floats_become_float32(self, tmp_path: Path, dtype: str) -> None:
        np.save(tmp_path / "x.npy", np.array([[0.1, -3]], dtype))
        same(tmp_path / "x.npy", np.array([[0.1, -3]], dtype).astype(np.float32)[..., None])

    def test_arrays_of_columns_first(self, tmp_path: Path) -> None:
        array = pixels((5, 6, 3), "uint16")
        np.save(tmp_path / "x.npy", np.asfortranarray(array))
        same(tmp_path / "x.npy", array)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"planarconfig": "contig"},
        {"planarconfig": "contig", "byteorder": ">"},
        {"planarconfig": "contig", "tile": (16, 16)},
        {"planarconfig": "separate", "rowsperstrip": 5},
        {"planarconfig": "separate", "tile": (16, 32), "compression": "zlib", "predictor": True},
        {"planarconfig": "contig", "bigtiff": True, "compression": "zlib", "rowsperstrip": 7},
    ],
)
def test_tiffs_as_others_write_them(tmp_path: Path, channels: int, options: dict[str, object]) -> None:
    """With no word on which axis is the channels', tifffile writes [H, W, 7] as H pages; or [7, H, W] as 7."""
    array = pixels((37, 53, channels), "uint16")
    data = array if channels > 1 else array[..., 0]
    path = tmp_path / "x.tif"
    if options and channels > 1:
        options = {"photometric": "minisblack", **options}
        data = data if options["planarconfig"] == "contig" else data.transpose(2, 0, 1)
    elif options:
        options = {name: value for name, value in options.items() if name != "planarconfig"}
    tifffile.imwrite(path, data, **options)  # pyright: ignore[reportArgumentType]
    same(path, array)
    if not options and channels > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tifffile's, that it will do otherwise some day
            tifffile.imwrite(path, data.transpose(2, 0, 1))
        same(path, array)
        tifffile.imwrite(path, data.transpose(2, 0, 1), photometric="minisblack", metadata=None)
        same(path, array)


def test_only_the_first_level_of_a_pyramid_is_the_picture(tmp_path: Path) -> None:
    array = pixels((32, 48, 3), "uint8")
    with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
        tiff.write(array, photometric="rgb")
        tiff.write(array[::2, ::2], photometric="rgb", subfiletype=1)
        tiff.write(array[::4, ::4], photometric="rgb")
    same(tmp_path / "x.tif", array)
    with tifffile.TiffWriter(tmp_path / "x.tif") as tiff:
        tiff.write(array, photometric="rgb")
        tiff.write(array, photometric="rgb")
    assert "2 pages of colours, expected one picture" in refusal(tmp_path / "x.tif")


class TestRefusals:
    @pytest.mark.parametrize("suffix", [".tif", ".npy"])
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_what_is_no_number(self, tmp_path: Path, suffix: str, value: float) -> None:
        array = np.zeros((10, 10, 2), np.float32)
        array[3, 4] = value
        write_raster(tmp_path / f"x{suffix}", array)
        assert "not a number or infinite in 2 of 200 values" in refusal(tmp_path / f"x{suffix}")

    def test_float64_beyond_float32(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([[1e300]]))
        assert "infinite" in refusal(tmp_path / "x.npy")

    @pytest.mark.parametrize("suffix", [".tif", ".npy", ".png"])
    def test_missing_empty_and_foreign_files(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"x{suffix}"
        assert "is missing" in refusal(path)
        path.write_bytes(b"")
        refusal(path)
        path.write_text("a letter, not a picture at all")
        refusal(path)
        path.unlink()
        path.mkdir()
        assert "unreadable" in refusal(path)

    @pytest.mark.parametrize(
        "array", [np.zeros(5), np.zeros((2, 3, 4, 5)), np.zeros((0, 4)), np.zeros((2, 2), complex), np.array([["a"]])]
    )
    def test_arrays_that_are_no_pictures(self, tmp_path: Path, array: np.ndarray) -> None:
        np.save(tmp_path / "x.npy", array)
        refusal(tmp_path / "x.npy")

    def test_nothing_is_unpickled(self, tmp_path: Path) -> None:
        np.save(tmp_path / "x.npy", np.array([[print]], object), allow_pickle=True)
        assert "number type object" in refusal(tmp_path / "x.npy")

    def test_too_large_ones_are_not_decoded(self, tmp_path: Path) -> None:
        for name in ("x.tif", "x.npy"):
            with rasters.write_regions(tmp_path / name, 9000, 9000, 1, "uint8") as writer:
                writer.write_rows(np.zeros((9000, 9000, 1), np.uint8))
            assert "9000x9000 pixels, expected at most" in refusal(tmp_path / name)
            assert raster_info(tmp_path / name) == (9000, 9000, 1, "uint8")

    def test_a_lost_decoder_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tifffile.imwrite(tmp_path / "x.tif", np.zeros((8, 8), np.uint8), compression="zlib")

        def lacking(*_: object, **__: object) -> None:
            raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

        monkeypatch.setattr(tifffile.TiffPage, "decode", lacking)
        message = refusal(tmp_path / "x.tif")
        assert "COMPRESSION.LZW" in message
        assert message.endswith("run `pip install 'pinxit[tiff]'`")


def small_files(folder: Path) -> list[Path]:
    """A small file of each form."""
    paths: list[Path] = []
    for name, shape, options in (
        ("run", (9, 11, 7), {"planarconfig": "contig", "photometric": "minisblack"}),
        ("tiles", (33, 35, 3), {"tile": (16, 16), "compression": "zlib", "predictor": True}),
        ("strips", (7, 20, 21), {"rowsperstrip": 4, "compression": "zlib", "bigtiff": True}),
        ("rows", (20, 21, 7), {}),
    ):
        tifffile.imwrite(folder / f"{name}.tif", pixels(shape, "uint16"), **options)  # pyright: ignore[reportArgumentType]
        paths.append(folder / f"{name}.tif")
    for name, dtype, channels in (
        ("a.npy", "float32", 4),
        ("a.png", "uint16", 3),
        ("b.png", "uint8", 3),
        ("a.webp", "uint8", 3),
    ):
        write_raster(folder / name, pixels((5, 6, channels), dtype))
        paths.append(folder / name)
    return paths


def test_damaged_files_have_a_line_and_no_traceback(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Cut short anywhere, and with bits turned, most of them in the headers."""
    random = np.random.default_rng(0)
    messages: list[str] = []
    for source in small_files(tmp_path):
        content = source.read_bytes()
        path = source.with_stem("damaged")
        for attempt in range(150):
            damaged = bytearray(content)
            if attempt < 30:
                del damaged[random.integers(len(damaged)) :]
            for _ in range(random.integers(1, 5) if attempt >= 30 else 0):
                span = len(damaged) if random.random() < 0.4 else min(len(damaged), 300)
                place = int(random.integers(span))
                if source.suffix == ".tif" and random.random() < 0.3:  # where BigTIFFs and stacks have their headers
                    place = len(damaged) - 1 - place
                damaged[place] ^= 1 << int(random.integers(8))
            path.write_bytes(damaged)
            for attempt_to in (read_raster, raster_info):
                try:
                    attempt_to(path)
                except PinxitError as error:
                    messages.append(str(error).replace(str(path), "PATH"))
    assert len(messages) > 400
    assert all(re.fullmatch("[^\n]*'PATH'[^\n]* is [^\n]*, expected [^\n]*; [^\n]*", line) for line in messages)
    assert not recwarn.list


class TestUnits:
    def test_eight_bits_are_those_of_images(self) -> None:
        array = pixels((16, 17, 3), "uint8")
        unit = to_unit(array, Kind())
        assert (unit == to_array(Image.fromarray(array))).all()
        assert unit.flags.c_contiguous
        x = np.random.default_rng(0).normal(0, 0.7, (3, 40, 50)).astype(np.float32)
        import torch

        assert (from_unit(x, Kind()) == np.asarray(to_image(torch.from_numpy(x)))).all()
        assert (to_tensor(Image.fromarray(array)).numpy() == unit).all()

    @pytest.mark.parametrize("dtype", ["uint8", "uint16"])
    def test_every_integer_comes_back(self, dtype: DType) -> None:
        kind = Kind(1, dtype, 0, np.iinfo(dtype).max)
        array = np.arange(np.iinfo(dtype).max + 1).astype(dtype)[None, :, None]
        unit = to_unit(array, kind)
        assert (unit.dtype, unit.min(), unit.max()) == (np.float32, -1, 1)
        assert (from_unit(unit, kind) == array).all()

    @given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.sampled_from(["uint16", "float32"]))
    def test_any_range(self, low: float, span: float, dtype: DType) -> None:
        kind = Kind(2, dtype, low, low + span)
        inside = np.linspace(low, low + span, 20).reshape(2, 5, 2)
        array = inside.astype(dtype) if dtype == "float32" else np.clip(inside, 0, 65535).astype(dtype)
        unit = to_unit(array, kind)
        assert (np.abs(unit) <= 1).all()
        if dtype == "float32":
            back = from_unit(unit, kind)
            assert np.abs(back - array).max() <= span * 1e-6 + np.abs(array).max() * 2e-7

    def test_values_beyond_the_range_are_clipped(self) -> None:
        kind = Kind(1, "uint16", 100, 4095)
        assert to_unit(np.array([[[0], [100], [4095], [65535]]], np.uint16), kind).tolist() == [[[-1, -1, 1, 1]]]
        assert from_unit(np.array([[[-3, -1, 1, 3]]], np.float32), kind).ravel().tolist() == [100, 100, 4095, 4095]
        assert from_unit(np.array([[[-3, 3]]], np.float32), Kind()).ravel().tolist() == [0, 255]
        assert from_unit(np.array([[[-3, 3]]], np.float32), Kind(1, "float32", -2, 5)).ravel().tolist() == [-2, 5]

    def test_a_model_out_of_its_mind(self) -> None:
        with pytest.raises(PinxitError, match="not a number"):
            from_unit(np.full((1, 2, 2), np.nan, np.float32), Kind())


class TestKinds:
    def test_as_json_and_back(self) -> None:
        kind = Kind(7, "float32", -1.5, 3)
        assert Kind.from_dict(kind.as_dict()) == kind
        assert Kind.from_dict({"channels": 3, "dtype": "uint8", "low": 0, "high": 255}) == Kind()
        for wrong in ({}, {**kind.as_dict(), "dtype": "int64"}, {**kind.as_dict(), "channels": "7"}):
            with pytest.raises(PinxitError, match="expected"):
                Kind.from_dict(wrong)

    @pytest.mark.parametrize("wrong", [(0,), (3, "int8"), (3, "uint8", 5, 5), (3, "float32", 0, np.inf)])
    def test_kinds_that_cannot_be(self, wrong: tuple[int]) -> None:
        with pytest.raises(PinxitError, match="expected"):
            Kind(*wrong)

    def test_of_files(self, tmp_path: Path) -> None:
        def written(name: str, array: np.ndarray) -> Path:
            write_raster(tmp_path / name, array)
            return tmp_path / name

        deep = [written(f"{n}.tif", pixels((4, 5, 4), "uint16", n)) for n in range(3)]
        assert kind_of(deep) == Kind(4, "uint16", 0, 65535)
        assert kind_of(deep, (0, 4095)) == Kind(4, "uint16", 0, 4095)
        floats = [written(f"{n}.npy", np.array([[[n], [n / 4]]], np.float32)) for n in range(3)]
        assert kind_of(floats) == Kind(1, "float32", 0, 2)
        assert kind_of(floats, (-1, 1)) == Kind(1, "float32", -1, 1)
        with pytest.raises(
            PinxitError, match=r"'.*0.npy' is 1-channel float32, expected 4-channel uint16 as '.*0.tif'"
        ):
            kind_of([*deep, *floats])
        with pytest.raises(PinxitError, match="all over"):
            kind_of([written("flat.npy", np.ones((3, 3, 1), np.float32))])
        with pytest.raises(PinxitError, match="empty"):
            kind_of([])

    def test_grey_among_rgb(self, tmp_path: Path) -> None:
        grey, color = tmp_path / "grey.png", tmp_path / "color.png"
        write_raster(grey, pixels((4, 5, 1), "uint8"))
        write_raster(color, pixels((4, 5, 3), "uint8"))
        assert kind_of([grey, color]) == kind_of([color, grey]) == Kind()
        assert (read_as(grey, Kind(), grey_as_rgb=True) == read_raster(grey)).all()
        assert read_as(grey, Kind(), grey_as_rgb=True).shape == (4, 5, 3)
        with pytest.raises(PinxitError, match=r"'.*grey.png' is 1-channel uint8, expected 3-channel uint8; convert it"):
            read_as(grey, Kind())
        with pytest.raises(PinxitError, match="is 3-channel uint8, expected 1-channel uint8"):
            read_as(color, Kind(1), grey_as_rgb=True)
        require_kind(grey, Info(9, 9, 1, "uint8"), Kind(1))
