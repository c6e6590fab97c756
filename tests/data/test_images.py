from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pinxit.data import images
from pinxit.data.images import read_instances, read_map, read_photo, remarks, to_image, to_tensor
from pinxit.data.labels import Label, LabelSet, numbered
from pinxit.errors import PinxitError

Write = Callable[..., Path]
RED, BLUE = (255, 0, 0), (0, 0, 255)
TWO = LabelSet("two", (Label(0, "red", RED, "x"), Label(1, "blue", BLUE, "x")), (255,))


def pixels(image: Image.Image) -> list[object]:
    return np.asarray(image).tolist()


def test_grey_16_bit_is_scaled_not_clipped(tmp_path: Path, write: Write) -> None:
    ramp = np.array([[0, 256, 32768, 65535]], np.uint16)
    photo = read_photo(write(tmp_path / "deep.png", ramp))
    assert photo.mode == "RGB"
    assert pixels(photo) == [[[v] * 3 for v in (0, 1, 128, 255)]]
    wide = write(tmp_path / "wide.tif", ramp.astype(np.int32))
    assert pixels(read_photo(wide)) == pixels(photo)


def test_float_grey(tmp_path: Path, write: Write) -> None:
    unit = write(tmp_path / "unit.tif", np.array([[0, 0.5, 1]], np.float32))
    assert pixels(read_photo(unit)) == [[[v] * 3 for v in (0, 128, 255)]]
    byte = write(tmp_path / "byte.tif", np.array([[0, 127.6, 255]], np.float32))
    assert pixels(read_photo(byte)) == [[[v] * 3 for v in (0, 128, 255)]]
    for value in (-1, 256, np.nan):
        with pytest.raises(PinxitError, match=r"photo '.*odd.tif' is of values .*, expected 0..1 or 0..255"):
            read_photo(write(tmp_path / "odd.tif", np.array([[0, value]], np.float32)))
    with pytest.raises(PinxitError, match=r"of values 0..70000, expected 0..65535"):
        read_photo(write(tmp_path / "odd.tif", np.array([[0, 70000]], np.int32)))


def test_grey_palette_and_one_bit(tmp_path: Path) -> None:
    grey = Image.new("L", (2, 1), 7)
    grey.save(tmp_path / "grey.png")
    assert pixels(read_photo(tmp_path / "grey.png")) == [[[7] * 3] * 2]
    Image.new("1", (2, 1), 1).save(tmp_path / "bit.png")
    assert pixels(read_photo(tmp_path / "bit.png")) == [[[255] * 3] * 2]
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([9, 9, 9, *BLUE])
    palette.save(tmp_path / "palette.png")
    assert pixels(read_photo(tmp_path / "palette.png")) == [[list(BLUE)] * 2]
    palette.save(tmp_path / "holes.png", transparency=1)
    assert pixels(read_photo(tmp_path / "holes.png")) == [[[255] * 3] * 2]


def test_transparency_shows_white(tmp_path: Path, write: Write) -> None:
    rgba = np.array([[[*RED, 255], [*RED, 0], [0, 0, 0, 128]]], np.uint8)
    assert pixels(read_photo(write(tmp_path / "a.png", rgba))) == [[list(RED), [255] * 3, [127] * 3]]
    la = np.array([[[0, 255], [0, 0]]], np.uint8)
    assert pixels(read_photo(write(tmp_path / "la.png", la))) == [[[0] * 3, [255] * 3]]


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.tif")
    assert pixels(read_photo(tmp_path / "print.tif"))[0] == [list(RED)] * 8
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    assert np.abs(np.array(read_photo(tmp_path / "print.jpg")).astype(int) - RED).max() < 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied_to_photos_and_maps(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: rotate by 90 degrees clockwise
    lying = Image.new("RGB", (8, 4), RED)
    lying.paste(BLUE, (0, 0, 4, 4))
    lying.save(tmp_path / f"photo.{suffix}", exif=exif, quality=100, subsampling=0)  # the last two are for JPEG
    photo = read_photo(tmp_path / f"photo.{suffix}")
    assert photo.size == (4, 8)
    assert np.asarray(photo)[0, 0].argmax() == 2
    assert np.asarray(photo)[7, 0].argmax() == 0
    if suffix == "png":
        assert read_map(tmp_path / "photo.png", TWO)[:, 0].tolist() == [1] * 4 + [0] * 4


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, BLUE)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert pixels(read_photo(tmp_path / "moving.gif"))[0] == [list(RED)] * 2


DEEP = " has more than 8 bits a channel; they are scaled to 8"
ALPHA = " has an alpha channel; it is shown over white"
CMYK = " is CMYK, as for print; it is converted to RGB without its colour profile"
TURNED = " is stored turned or mirrored, as its EXIF says; it is turned upright"


def deep_rgb(path: Path, kind: int, channels: int) -> None:
    """A 16-bit PNG in colours, which Pillow does not write."""
    header = struct.pack(">IIBBBBB", 2, 1, 16, kind, 0, 0, 0)
    data = zlib.compress(b"\0" + b"\xff\x80" * 2 * channels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def test_remarks_on_photos_of_an_unusual_kind(tmp_path: Path, write: Write) -> None:
    rgb = Image.new("RGB", (4, 2), RED)
    for name in ("a.png", "a.jpg", "a.gif", "a.tif", "a.webp"):
        rgb.save(tmp_path / name)
        assert remarks(tmp_path / name) == []
    for mode in ("1", "L", "P"):
        rgb.convert(mode).save(tmp_path / "a.png")
        assert remarks(tmp_path / "a.png") == []

    def told(name: str) -> list[str]:
        read_photo(tmp_path / name)
        assert all(text.startswith(f"'{tmp_path / name}' ") for text in remarks(tmp_path / name))
        return [text.removeprefix(f"'{tmp_path / name}'") for text in remarks(tmp_path / name)]

    for name, pixels in (("16.png", np.uint16), ("16.tif", np.uint16), ("32.tif", np.int32), ("f.tif", np.float32)):
        write(tmp_path / name, np.array([[0, 200]], pixels))
        assert told(name) == [DEEP]
    deep_rgb(tmp_path / "rgb16.png", 2, 3)
    assert told("rgb16.png") == [DEEP]
    deep_rgb(tmp_path / "rgba16.png", 6, 4)
    assert told("rgba16.png") == [DEEP, ALPHA]
    for mode in ("RGBA", "LA"):
        rgb.convert(mode).save(tmp_path / "alpha.png")
        assert told("alpha.png") == [ALPHA]
    rgb.convert("P").save(tmp_path / "holes.png", transparency=1)
    assert told("holes.png") == [ALPHA]
    for name in ("print.tif", "print.jpg"):
        rgb.convert("CMYK").save(tmp_path / name)
        assert told(name) == [CMYK]
    exif = Image.Exif()
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        for name in ("turned.jpg", "turned.png"):
            rgb.save(tmp_path / name, exif=exif)
            assert told(name) == ([] if orientation == 1 else [TURNED])


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_remark_on_an_animation(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in (RED, BLUE, (0, 255, 0))]
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:])
    (told,) = remarks(tmp_path / f"moving.{suffix}")
    assert told == f"'{tmp_path / f'moving.{suffix}'}' has 3 frames; the first is taken"


def test_remarks_on_whatever_can_be_read(tmp_path: Path) -> None:
    """The frames behind the first may be damaged in any way."""
    random = np.random.default_rng(0)
    frames = [Image.fromarray(random.integers(0, 256, (20, 20, 3), np.uint8)) for _ in range(3)]
    for suffix in ("gif", "png"):
        frames[0].save(tmp_path / f"whole.{suffix}", save_all=True, append_images=frames[1:])
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        for length in range(20, len(content), 97):
            (tmp_path / f"cut.{suffix}").write_bytes(content[:length])
            try:
                read_photo(tmp_path / f"cut.{suffix}")
            except PinxitError:
                continue
            assert len(remarks(tmp_path / f"cut.{suffix}")) <= 1


@pytest.mark.parametrize("keep", [10, 40, 200])
def test_a_truncated_png_is_told(tmp_path: Path, write: Write, keep: int) -> None:
    path = write(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:keep])
    for read in (read_photo, read_instances, lambda path: read_map(path, TWO)):
        with pytest.raises(PinxitError, match=r" '.*cut.png' is (damaged|not a picture).*, expected .*; ") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_truncated_jpeg_and_damaged_bytes_are_told(tmp_path: Path, write: Write) -> None:
    path = write(tmp_path / "cut.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(PinxitError, match="damaged"):
        read_photo(path)
    path = write(tmp_path / "bad.png", np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(PinxitError, match="damaged"):
        read_photo(path)


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "note.png").write_text("hello")
    with pytest.raises(PinxitError, match=r"photo '.*note.png' is not a picture"):
        read_photo(tmp_path / "note.png")
    with pytest.raises(PinxitError, match=r"label map '.*gone.png' is missing"):
        read_map(tmp_path / "gone.png", TWO)
    with pytest.raises(PinxitError, match="unreadable"):
        read_photo(tmp_path)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("side", [8200, 12000, 30000])
def test_a_header_that_promises_too_much_is_refused(tmp_path: Path, side: int) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(PinxitError, match=f"at most {images.MAX_PIXELS:,} pixels"):
        read_photo(tmp_path / "bomb.png")


def test_maps_of_ids(tmp_path: Path, write: Write) -> None:
    many = numbered(1001)
    assert read_map(write(tmp_path / "8.png", np.array([[0, 255]], np.uint8)), many).tolist() == [[0, 255]]
    assert read_map(write(tmp_path / "16.png", np.array([[0, 1000]], np.uint16)), many).tolist() == [[0, 1000]]
    assert read_map(write(tmp_path / "32.tif", np.array([[0, 1000]], np.int32)), many).tolist() == [[0, 1000]]
    assert read_map(write(tmp_path / "la.png", np.array([[[1, 255], [0, 9]]], np.uint8)), many).tolist() == [[1, 0]]
    bits = Image.fromarray(np.array([[False, True]]))
    bits.save(tmp_path / "1.png")
    assert read_map(tmp_path / "1.png", TWO).tolist() == [[0, 1]]
    index = Image.new("P", (2, 1), 1)
    index.putpalette([*BLUE, *RED])
    index.save(tmp_path / "p.png")
    assert read_map(tmp_path / "p.png", TWO).tolist() == [[1, 1]]


def test_maps_of_colours(tmp_path: Path, write: Write) -> None:
    rgb = np.array([[RED, BLUE, (0, 0, 0)]], np.uint8)
    found = read_map(write(tmp_path / "rgb.png", rgb), TWO)
    assert found.dtype == np.int64
    assert found.tolist() == [[0, 1, 2]]
    rgba = np.dstack([rgb, np.array([[255, 255, 0]], np.uint8)])
    rgba[0, 2, :3] = 99
    assert read_map(write(tmp_path / "rgba.png", rgba), TWO).tolist() == [[0, 1, 2]]


def test_wrong_maps_name_their_file(tmp_path: Path, write: Write) -> None:
    with pytest.raises(PinxitError, match=r"label map '.*id.png' has value 7, expected 0..1 or 255 \(unknown\)"):
        read_map(write(tmp_path / "id.png", np.array([[0, 7]], np.uint8)), TWO)
    with pytest.raises(PinxitError, match=r"colour map '.*rgb.png' has colour \(1, 2, 3\)"):
        read_map(write(tmp_path / "rgb.png", np.array([[(1, 2, 3)]], np.uint8)), TWO)
    with pytest.raises(PinxitError, match=r"label map '.*blur.jpg' is a JPEG"):
        read_map(write(tmp_path / "blur.jpg", np.zeros((8, 8), np.uint8)), TWO)
    with pytest.raises(PinxitError, match=r"label map '.*f.tif' is of mode F"):
        read_map(write(tmp_path / "f.tif", np.zeros((8, 8), np.float32)), TWO)


def test_instances(tmp_path: Path, write: Write) -> None:
    deep = read_instances(write(tmp_path / "16.png", np.array([[0, 26001]], np.uint16)))
    assert deep.dtype == np.int64
    assert deep.tolist() == [[0, 26001]]
    assert read_instances(write(tmp_path / "8.png", np.array([[3]], np.uint8))).tolist() == [[3]]
    panoptic = np.array([[(1, 2, 3)]], np.uint8)
    assert read_instances(write(tmp_path / "rgb.png", panoptic)).tolist() == [[1 + 2 * 256 + 3 * 65536]]
    with pytest.raises(PinxitError, match=r"instance map '.*la.png' is of mode LA"):
        read_instances(write(tmp_path / "la.png", np.zeros((2, 2, 2), np.uint8)))
    with pytest.raises(PinxitError, match=r"instance map '.*x.jpg' is a JPEG"):
        read_instances(write(tmp_path / "x.jpg", np.zeros((8, 8), np.uint8)))


def test_every_byte_survives_the_tensor() -> None:
    photo = Image.fromarray(np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3))
    tensor = to_tensor(photo)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert pixels(to_image(tensor)) == pixels(photo)
    bytes_ = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(tensor[0].flatten(), bytes_.float().div(255).sub(0.5).div(0.5))


@given(st.floats(-2, 2))
def test_to_image_rounds_to_the_nearest(value: float) -> None:
    shown = np.asarray(to_image(torch.full((3, 1, 1), value)))[0, 0, 0]
    assert abs(float(shown) - min(255.0, max(0.0, (value + 1) * 127.5))) <= 0.5 + 1e-4
