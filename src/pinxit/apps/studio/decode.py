"""Pictures that people send, decoded in a process of their own; what can be wrong with a file stays in there.

Run as a program, this is that process. It imports Pillow and NumPy alone. Messages in either direction are a length, a
header in JSON, another length, and bytes.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import queue
import struct
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps

import pinxit
from pinxit.apps.studio.refusals import Refused

What = Literal["photo", "map", "mask", "sketch"]
"""`photo`: [H, W, 3], upright, over white where it is transparent. `map`: the ids [H, W] or colours [H, W, 3] of the
file. `mask`: [H, W], the alpha channel where there is one that is not opaque all over, else the luminance. `sketch`: as
`photo`, but [H, W, 4] where it is transparent, since lines may be white on nothing."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What browsers show. Others have decoders that are seldom looked at by anyone but attackers."""

MOST_SIDE = 16384
MOST_MEMORY = 1 << 30
"""Bytes of address space that the process may take on above what it starts with."""

_LENGTH = struct.Struct(">Q")


class Decoder:
    """Decodes in processes with limits of time and memory, which are replaced when they die.

    `most_pixels`: height times width; a picture's header is asked before anything is decoded.
    `seconds`: what a picture may take. `at_once`: processes.
    """

    def __init__(self, most_pixels: int = 1 << 24, seconds: float = 10, at_once: int = 2) -> None:
        self.most_pixels, self.seconds = most_pixels, seconds
        self._threads = ThreadPoolExecutor(at_once, "decoder")
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(at_once):
            self._idle.put(None)  # started when one is needed

    async def decode(self, data: bytes, what: What) -> np.ndarray:
        """The picture in the bytes of a file; uint8, or uint16 where the ids of a map are of 16 bits.

        Raises `Refused`: 413 "too-many-pixels", 408 "decode-timeout", 415 "not-a-picture" or "not-a-map".
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, data, what)

    @property
    def pids(self) -> list[int]:
        """The processes that wait for work, for tests."""
        return [worker.process.pid for worker in list(self._idle.queue) if worker is not None]

    def close(self) -> None:
        """End the processes. What is being decoded is refused."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.end()

    def _decode(self, data: bytes, what: What) -> np.ndarray:
        worker = self._idle.get()
        try:
            for _ in range(2):  # a process may have died, or been killed, before it came to this picture
                worker = worker or _Worker(self.most_pixels, self.seconds)
                try:
                    head, body = worker.ask({"what": what}, data, self.seconds)
                    break
                except _Gone as gone:
                    worker.end()
                    worker = None
                    if gone.late:
                        got, want = f"slow: more than {self.seconds:g} s to decode", "a plain one; save it anew"
                        raise Refused(408, "decode-timeout", f"picture is {got}, expected {want}") from None
            else:
                raise _no_picture("one that its decoder breaks down at")
        finally:
            self._idle.put(worker)
        if "code" in head:
            raise Refused(int(head["status"]), str(head["code"]), str(head["message"]))
        return self._admitted(head, body, what)

    def _admitted(self, head: dict[str, Any], body: bytes, what: What) -> np.ndarray:
        """What a process answered, which may be in the hands of the picture's author by now."""
        match head:
            case {"shape": [int(height), int(width), *channels], "dtype": "uint8" | "uint16" as dtype} if (
                channels in ([], [3], *([[4]] if what == "sketch" else []))
                and 0 < height <= MOST_SIDE
                and 0 < width <= MOST_SIDE
                and height * width <= self.most_pixels
                and height * width * (channels[0] if channels else 1) * np.dtype(dtype).itemsize == len(body)
            ):
                return np.frombuffer(body, dtype).reshape(height, width, *channels)
        raise _no_picture("one that its decoder was misled by")


class _Gone(Exception):
    """The process died; `late`: killed, for taking too long."""

    def __init__(self, late: bool) -> None:
        super().__init__()
        self.late = late


class _Worker:
    """One process, of which one thread at a time asks something."""

    def __init__(self, most_pixels: int, seconds: float) -> None:
        # The Pinxit that runs here, wherever the current folder is; and threads of OpenBLAS would each want memory.
        sources = os.pathsep.join(filter(None, [str(Path(pinxit.__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": sources, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "pinxit.apps.studio.decode", str(most_pixels), str(seconds)]
        # A session of its own: Ctrl-C is for the server, which ends this process when it has answered.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        try:
            self.ask({}, b"", 60)  # a process that cannot start is our defect, and no picture's
        except _Gone:
            self.end()
            raise RuntimeError(f"the decoder does not start: {' '.join(command)}") from None

    def ask(self, head: dict[str, Any], body: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Raises `_Gone`; `end` is to be called then."""
        late = threading.Event()

        def kill() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            _write(self.process.stdin, head, body)
            return _read(self.process.stdout)
        except (OSError, EOFError, ValueError) as error:
            raise _Gone(late.is_set()) from error
        finally:
            timer.cancel()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was not sent cannot be flushed
                pipe.close()


def array_of(data: bytes, what: What, most_pixels: int) -> np.ndarray:
    """As `Decoder.decode`, here and now."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > most_pixels or max(image.size) > MOST_SIDE:
            raise _too_large(f"{image.width}x{image.height} pixels (width x height)", most_pixels)
        if what == "map" and image.format == "JPEG":
            message = "label map is a JPEG, which blurs ids, expected a PNG; make it anew without lossy compression"
            raise Refused(415, "not-a-map", message)
        upright = ImageOps.exif_transpose(image)
        match what:
            case "photo":
                array = np.asarray(_over_white(upright).convert("RGB"))
            case "mask":
                array = _mask(upright)
            case "sketch":
                alpha = upright.has_transparency_data
                array = np.asarray(upright.convert("RGBA") if alpha else _over_white(upright).convert("RGB"))
            case "map":
                array = _map(upright)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("larger", most_pixels) from error
    except MemoryError as error:
        raise _too_large("larger than the memory for it", most_pixels) from error
    except Refused:
        raise
    except Exception as error:  # decoders of files that are wrong on purpose raise anything
        raise _no_picture("not a picture, or damaged") from error
    return np.ascontiguousarray(array)


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(np.round(_ids(image) * (255 / 65535)).astype(np.uint8))
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _mask(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
        if alpha.min() < 255:
            return alpha
    return np.asarray(_over_white(image).convert("L"))


def _map(image: Image.Image) -> np.ndarray:
    """As `pinxit.data.images.read_raw_map`, which would bring torch."""
    match image.mode:
        case "1":
            return np.array(image, np.uint8)
        case "L" | "P" | "RGB":
            return np.array(image)
        case "LA" | "PA":
            return np.array(image)[..., 0]
        case "RGBA":
            pixels = np.array(image)
            pixels[pixels[..., 3] == 0] = 0
            return pixels[..., :3]
        case mode if mode.startswith("I"):
            return _ids(image)
    message = f"label map is of mode {image.mode}, expected one channel of ids, or RGB colours; convert it"
    raise Refused(415, "not-a-map", message)


def _ids(image: Image.Image) -> np.ndarray:
    """One channel of 16 bits or more, as uint16."""
    values = np.array(image)
    low, high = values.min(), values.max()
    if low < 0 or high > 65535:
        message = f"picture is of values {low}..{high}, expected 0..65535; scale them"
        raise Refused(415, "not-a-picture", message)
    return values.astype(np.uint16)


def _no_picture(got: str) -> Refused:
    return Refused(415, "not-a-picture", f"file is {got}, expected one of {', '.join(FORMATS)}; convert or replace it")


def _too_large(got: str, most_pixels: int) -> Refused:
    want = f"at most {most_pixels:,} pixels and {MOST_SIDE:,} a side"
    return Refused(413, "too-many-pixels", f"picture is {got}, expected {want}; make it smaller")


def _write(pipe: BinaryIO | Any, head: dict[str, Any], body: bytes | memoryview) -> None:
    text = json.dumps(head).encode()
    pipe.write(_LENGTH.pack(len(text)) + text + _LENGTH.pack(len(body)))
    pipe.write(body)
    pipe.flush()


def _read(pipe: BinaryIO | Any) -> tuple[dict[str, Any], bytes]:
    """Raises EOFError where the other side has gone, ValueError where it talks nonsense."""

    def part(most: int) -> bytes:
        (length,) = _LENGTH.unpack(exactly(_LENGTH.size))
        if length > most:
            raise ValueError(f"a part of {length} bytes")
        return exactly(length)

    def exactly(length: int) -> bytes:
        data = pipe.read(length)
        if len(data) < length:
            raise EOFError
        return data

    head = json.loads(part(1 << 16))
    if not isinstance(head, dict):
        raise ValueError("a header of another form")
    return head, part(MOST_MEMORY)


def _limit(seconds: float) -> None:
    """Limits for what comes next, where the system has such."""
    try:
        import resource
    except ImportError:  # Windows; the asking side's clock is all there is
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _confine() -> None:
    """Limits for good: memory, no files written, no core dumps."""
    try:
        import resource
    except ImportError:
        return
    taken = 0
    statm = Path("/proc/self/statm")
    if statm.is_file():
        taken = int(statm.read_text().split()[0]) * resource.getpagesize()
    for name, most in (("RLIMIT_AS", taken + MOST_MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (OSError, ValueError, AttributeError):  # macOS refuses some
            continue


def main(most_pixels: int, seconds: float) -> None:
    """Answer until the asking side closes its pipe, or dies."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what a decoder prints is no answer
    Image.MAX_IMAGE_PIXELS = most_pixels
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.init()  # plugins are found now, not when files may no longer be read
    _confine()
    while True:
        try:
            head, data = _read(asked)
        except EOFError:
            return
        if not head:
            _write(answers, {}, b"")
            continue
        _limit(seconds)
        try:
            array = array_of(data, head["what"], most_pixels)
        except Refused as refused:
            _write(answers, {"status": refused.status, "code": refused.code, "message": str(refused)}, b"")
        else:
            _write(answers, {"shape": array.shape, "dtype": str(array.dtype)}, array.data.cast("B"))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
