"""The page's modules that need no page: run by node, with files that Pillow wrote."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TESTS = Path(__file__).parent / "js"
SIZES = [(1, 1), (5, 3), (37, 23), (256, 128)]


def _pattern(width: int, height: int) -> np.ndarray:
    """The ids of `pattern` in png.test.mjs, uint8 [height, width]."""
    i = np.arange(width * height)
    return ((i * i + 7 * i) % 256).astype(np.uint8).reshape(height, width)


def _filtered(ids: np.ndarray, kind: int) -> bytes:
    """The PNG file of `ids` with one of the five filters on every row, by the standard's formulas."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = ids.shape
    around = np.pad(ids.astype(int), ((1, 0), (1, 0)))
    left, up, corner = around[1:, :-1], around[:-1, 1:], around[:-1, :-1]
    far = np.abs(np.stack([up - corner, left - corner, left + up - 2 * corner]))
    nearest = np.choose(far.argmin(0), [left, up, corner])  # argmin takes the first of equals, as the standard does
    guess = [np.zeros_like(left), left, up, (left + up) // 2, nearest][kind]
    rows = np.pad(((ids - guess) % 256).astype(np.uint8), ((0, 0), (1, 0)), constant_values=kind)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")


def _write(folder: Path) -> None:
    for width, height in SIZES:
        ids = _pattern(width, height)
        picture = Image.fromarray(ids)
        picture.save(folder / f"plain-{width}x{height}.png")
        picture.save(folder / f"optimized-{width}x{height}.png", optimize=True)
        for kind in range(5):
            path = folder / f"filter{kind}-{width}x{height}.png"
            path.write_bytes(_filtered(ids, kind))
            with Image.open(path) as read:  # that it is a PNG with these ids, another reader says
                assert np.array_equal(np.asarray(read), ids)
    grey = Image.fromarray(_pattern(8, 8))
    grey.convert("RGB").save(folder / "rgb.png")
    grey.convert("RGBA").save(folder / "rgba.png")
    grey.convert("P").save(folder / "palette.png")
    grey.convert("1").save(folder / "bits.png")
    grey.convert("RGB").save(folder / "photo.jpg")
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(folder / "deep.png")


def _node() -> str:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major, minor = map(int, re.findall(r"\d+", version)[:2])
    # Since these, a .js file that says `import` is a module without a package.json that says so.
    if (major, minor) < (20, 19) or (21, 0) <= (major, minor) < (22, 7):
        pytest.skip(f"node is {version.strip()}, and these tests need 20.19 or 22.7")
    return node


def test_modules_in_node(tmp_path: Path) -> None:
    node = _node()
    files = sorted(map(str, TESTS.glob("*.test.mjs")))
    assert files
    _write(tmp_path)
    ran = subprocess.run(
        [node, "--test", "--test-reporter=tap", *files],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        env={**os.environ, "PINXIT_PNG_FOLDER": str(tmp_path)},
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    counts = dict(re.findall(r"^# (pass|fail|skipped) (\d+)$", ran.stdout, re.MULTILINE))
    assert int(counts["pass"]) > 50
    assert counts["skipped"] == "0", "the files were there, so that nothing should have been skipped"
    for width, height in SIZES:
        with Image.open(tmp_path / f"ours-{width}x{height}.png") as ours:
            assert ours.mode == "L"
            assert np.array_equal(np.asarray(ours), _pattern(width, height))
