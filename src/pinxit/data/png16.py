"""PNGs of 16 bits with more than one channel, which Pillow would cut down to 8 bits without a word."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from pinxit.data.images import MAX_PIXELS, too_large


def channels_of(path: str | Path) -> int:
    """Channels of a PNG of 16 bits with more than one channel, which Pillow would cut down to 8; 0 for other files."""
    with Path(path).open("rb") as file:
        head = file.read(29)
    if len(head) < 29 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[24] != 16:
        return 0
    return {2: 3, 4: 2, 6: 4}.get(head[25], 0)


def read(path: str | Path, name: str) -> np.ndarray:
    """A 16-bit PNG of 2, 3 or 4 channels as uint16.

    Pillow has no mode for it, but its decoder, given the bare data, gives the high bytes and the low ones in turn.
    """
    content = io.BytesIO(Path(path).read_bytes())
    content.seek(8)
    head, data = b"", []
    while len(start := content.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        chunk, check = content.read(length), content.read(4)
        if check != struct.pack(">I", zlib.crc32(kind + chunk)):
            raise ValueError(f"check sum of its {kind.decode('latin1')!r}")
        if kind == b"IHDR":
            head = chunk
        elif kind == b"IDAT":
            data.append(chunk)
        elif kind == b"IEND":
            break
    else:
        raise ValueError("it ends early")
    width, height, _, color, _, _, interlaced = struct.unpack(">IIBBBBB", head)
    if width * height > MAX_PIXELS:
        raise too_large(name, f"{width}x{height} pixels")
    stream, size = b"".join(data), (width, height)
    if color == 4:  # two channels of two bytes look to the decoder like four of one
        pairs = np.asarray(Image.frombytes("RGBA", size, stream, "zip", "RGBA", interlaced)).astype(np.uint16)
        return pairs[..., ::2] << 8 | pairs[..., 1::2]
    mode = "RGB" if color == 2 else "RGBA"
    high, low = (
        np.asarray(Image.frombytes(mode, size, stream, "zip", f"{mode};16{order}", interlaced)) for order in "BL"
    )
    return high.astype(np.uint16) << 8 | low


def encode(array: np.ndarray) -> bytes:
    """A 16-bit PNG of [H, W, C] with 2, 3 or 4 channels; each row is stored as its difference from the one above."""
    height, width, channels = array.shape
    rows = np.ascontiguousarray(array.astype(">u2")).reshape(height, -1).view(np.uint8)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = 2  # "up"
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]  # modulo 256, as it should be
    head = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(filtered.data, 6)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
