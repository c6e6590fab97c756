"""Pictures from people: what comes of each kind of file, and of those that are wrong."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.studio import decode
from pinxit.apps.studio.decode import Decoder, What
from pinxit.apps.studio.refusals import Refused

Decode = Callable[[bytes, What], np.ndarray]


def file_of(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(most_pixels=1 << 20, seconds=10, at_once=1)
    yield decoder
    decoder.close()


@pytest.fixture
def decoded(decoder: Decoder) -> Decode:
    return lambda data, what: asyncio.run(decoder.decode(data, what))


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_a_lossless_photo_is_kept_to_the_pixel(decoded: Decode, kind: str) -> None:
    photo = random(20, 30, 3)
    np.testing.assert_array_equal(decoded(file_of(Image.fromarray(photo), kind, lossless=True), "photo"), photo)


def test_a_jpeg_and_a_gif_are_photos(decoded: Decode) -> None:
    photo = Image.new("RGB", (9, 5), (10, 200, 30))
    for kind in ("JPEG", "GIF"):
        assert np.abs(decoded(file_of(photo, kind), "photo").astype(int) - np.asarray(photo)).max() < 4


def test_a_photo_is_turned_upright(decoded: Decode) -> None:
    image = Image.fromarray(random(20, 30, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    assert decoded(file_of(image, "JPEG", exif=exif), "photo").shape == (30, 20, 3)


def test_transparency_shows_white(decoded: Decode) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    assert decoded(file_of(image), "photo").tolist() == [[[255, 0, 0], [255, 255, 255]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert decoded(file_of(palette, transparency=0), "photo").tolist() == [[[255, 255, 255]] * 2]


def test_photos_of_16_bits_are_scaled(decoded: Decode) -> None:
    deep = np.array([[0, 257, 65535]], np.uint16)
    assert decoded(file_of(Image.fromarray(deep)), "photo")[..., 0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_map_keeps_its_ids(decoded: Decode, dtype: type) -> None:
    ids = np.arange(12).reshape(3, 4).astype(dtype) * (1 if dtype is np.uint8 else 5000)
    back = decoded(file_of(Image.fromarray(ids)), "map")
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, ids)


def test_a_map_of_a_palette_gives_indices_and_of_colours_these(decoded: Decode) -> None:
    palette = Image.fromarray(random(3, 4) % 5).convert("P")
    palette.putpalette([*random(15).tolist()])
    np.testing.assert_array_equal(decoded(file_of(palette), "map"), np.asarray(palette))
    colors = random(3, 4, 4)
    colors[..., 3] = 255
    colors[0, 0, 3] = 0
    want = colors[..., :3].copy()
    want[0, 0] = 0
    np.testing.assert_array_equal(decoded(file_of(Image.fromarray(colors)), "map"), want)


def test_a_map_that_is_a_jpeg_is_refused(decoded: Decode) -> None:
    with pytest.raises(Refused, match="JPEG, which blurs ids") as refusal:
        decoded(file_of(Image.new("L", (8, 8)), "JPEG"), "map")
    assert (refusal.value.status, refusal.value.code) == (415, "not-a-map")


def test_a_mask_is_the_alpha_channel_or_how_bright_it_is(decoded: Decode) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 60))
    assert decoded(file_of(image), "mask").tolist() == [[255, 60]]
    grey = np.array([[0, 200]], np.uint8)
    assert decoded(file_of(Image.fromarray(grey)), "mask").tolist() == [[0, 200]]
    assert decoded(file_of(Image.fromarray(grey).convert("RGBA")), "mask").tolist() == [[0, 200]]


@pytest.mark.parametrize("size", [(50_000, 50_000), (50_000, 1), (1, 50_000), (1100, 1000), (1 << 31 - 1, 1)])
def test_what_is_too_large_is_refused_by_its_header(decoded: Decode, size: tuple[int, int]) -> None:
    began = time.monotonic()
    with pytest.raises(Refused, match="at most 1,048,576 pixels") as refusal:
        decoded(claiming(*size), "photo")
    assert (refusal.value.status, refusal.value.code) == (413, "too-many-pixels")
    assert time.monotonic() - began < 5


PNG_FILE = file_of(Image.fromarray(random(60, 60, 3)))
WRONG = {
    "empty": b"",
    "text": b"GIF this is not",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "half": PNG_FILE[: len(PNG_FILE) // 2],
    "head alone": PNG_FILE[:40],
    "damaged": PNG_FILE[:200] + bytes(50) + PNG_FILE[250:],
    "claims more than it has": claiming(1000, 1000),
    "tiff": file_of(Image.new("L", (4, 4)), "TIFF"),
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "bmp of a negative size": file_of(Image.new("L", (4, 4)), "BMP")[:18] + b"\xff" * 8 + bytes(40),
    "half a jpeg": file_of(Image.fromarray(random(60, 60, 3)), "JPEG")[:900],
    "half a webp": file_of(Image.fromarray(random(60, 60, 3)), "WEBP")[:300],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_picture_is_refused(decoded: Decode, name: str) -> None:
    with pytest.raises(Refused) as refusal:
        decoded(WRONG[name], "photo")
    assert 400 <= refusal.value.status < 500
    assert refusal.value.code in ("not-a-picture", "too-many-pixels")


def test_of_a_polyglot_only_the_pixels_are_left(decoded: Decode) -> None:
    photo = random(9, 7, 3)
    data = file_of(Image.fromarray(photo)) + b"<script>alert(1)</script>PK\x03\x04" + bytes(1000)
    np.testing.assert_array_equal(decoded(data, "photo"), photo)


def test_a_dead_process_is_replaced(decoder: Decoder, decoded: Decode) -> None:
    decoded(PNG_FILE, "photo")
    for _ in range(3):
        (pid,) = decoder.pids
        os.kill(pid, signal.SIGKILL)
        assert decoded(PNG_FILE, "photo").shape == (60, 60, 3)
        assert decoder.pids != [pid]


def test_a_process_that_hangs_is_refused_and_replaced(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(decoder.decode(PNG_FILE, "photo"))
    (pid,) = decoder.pids
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "seconds", 0.5)
    with pytest.raises(Refused, match=r"more than 0\.5 s") as refusal:
        asyncio.run(decoder.decode(PNG_FILE, "photo"))
    assert (refusal.value.status, refusal.value.code) == (408, "decode-timeout")
    monkeypatch.setattr(decoder, "seconds", 10)
    assert asyncio.run(decoder.decode(PNG_FILE, "photo")).shape == (60, 60, 3)


class Liar:
    """A process that a picture has taken over."""

    def __init__(self, head: dict[str, Any], body: bytes) -> None:
        self.answer = head, body

    def ask(self, *asked: object) -> tuple[dict[str, Any], bytes]:
        return self.answer

    def end(self) -> None: ...


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({}, b""),
        ({"shape": [4, 4], "dtype": "object"}, bytes(128)),
        ({"shape": [4, 4], "dtype": "uint8"}, bytes(15)),
        ({"shape": [4, -4], "dtype": "uint8"}, bytes(16)),
        ({"shape": [4, 4, 4], "dtype": "uint8"}, bytes(64)),
        ({"shape": [2000, 2000], "dtype": "uint8"}, bytes(4_000_000)),
        ({"shape": "4", "dtype": "uint8"}, b"4"),
    ],
)
def test_what_a_process_answers_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, head: dict[str, Any], body: bytes
) -> None:
    monkeypatch.setattr(decode, "_Worker", lambda *_: Liar(head, body))
    decoder = Decoder(most_pixels=1 << 20, at_once=1)
    try:
        with pytest.raises(Refused, match="misled"):
            asyncio.run(decoder.decode(PNG_FILE, "photo"))
    finally:
        decoder.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_process_has_limits_and_no_torch(decoder: Decoder, decoded: Decode) -> None:
    decoded(PNG_FILE, "photo")
    (pid,) = decoder.pids
    with open(f"/proc/{pid}/limits", encoding="ascii") as file:  # noqa: PTH123 - a path of the system
        limits = {line[:26].strip(): line[26:].split()[0] for line in file}
    assert int(limits["Max address space"]) < 4 << 30
    assert int(limits["Max cpu time"]) < 60
    assert limits["Max file size"] == "0"
    code = "import sys, pinxit.apps.studio.decode; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_it_ends_with_who_started_it() -> None:
    """A server that was killed leaves no process behind."""
    code = """
import asyncio, io, os
from PIL import Image
from pinxit.apps.studio.decode import Decoder
file = io.BytesIO()
Image.new("L", (4, 4)).save(file, "PNG")
decoder = Decoder(at_once=1)
asyncio.run(decoder.decode(file.getvalue(), "photo"))
print(decoder.pids[0], flush=True)
os._exit(1)
"""
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        # In a container nobody may collect it.
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
            if file.read().split()[2] == "Z":
                return
        time.sleep(0.1)
    pytest.fail("the decoder goes on")
