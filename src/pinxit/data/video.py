"""Pictures in motion: GIF and animated PNG by Pillow; MP4 and WebM by PyAV, which comes with the extra `video`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image

from pinxit.errors import expected
from pinxit.modelfile import replacing

ENCODERS: dict[str, tuple[Literal["libx264", "libvpx-vp9"], dict[str, str]]] = {
    ".mp4": ("libx264", {"crf": "18"}),
    ".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "cpu-used": "4", "row-mt": "1"}),
}
"""Codec and its options, chosen so that one sees no loss."""

BY_PILLOW = (".png", ".gif")
KINDS = (*BY_PILLOW, *ENCODERS)

LEAST_FPS, MOST_FPS, MOST_FPS_GIF = 0.1, 240, 50
"""Viewers slow a GIF down whose frames last less than 20 ms."""
LONGEST_GIF = 655
"""Seconds: the longest that one frame can last, which all become where they are alike."""
LONGEST_SIDE = 16384
"""Pixels; what all of them can hold."""

BT709 = 1
"""The number of this standard of colours among those of ITU-T H.273, which MP4 and WebM use."""


def write_animation(frames: Sequence[Image.Image], path: Path, fps: float, *, loop: bool = True) -> None:
    """Write pictures of one size as `path`, of the kind that its suffix says; an older file stays whole on failure.

    GIF: the frames share one palette of 256 colours, the others are dithered. Times are multiples of 10 ms there: a
    frame may be shown 5 ms too early or late, which does not add up; and frames that are alike become one, for as long.
    `loop`: whether it starts over and over.

    PNG: the same in the frames' own colours, without any loss; viewers that know no animated PNG show the first frame.
    Where all frames are alike, it is a plain PNG.

    MP4 (H.264) and WebM (VP9) leave the last to the player. H.264 needs even sizes: in both, the last row or column is
    repeated where the size is odd, so that nothing is cut off.

    Raises:
        PinxitError: as `require_writable`; there is no frame, or they differ in size or are too large.
    """
    require_writable(path, fps, len(frames))
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        (width, height), (other_width, other_height) = sorted(sizes)[:2]
        got = f"{width}x{height} and {other_width}x{other_height}"
        raise expected("size of the frames", got, "one", "resize them")
    if max(frames[0].size) > LONGEST_SIDE:
        got = f"{frames[0].width}x{frames[0].height} (width x height)"
        raise expected("size of the frames", got, f"at most {LONGEST_SIDE} px a side", "make them smaller")
    with replacing(path) as temporary, temporary.open("wb") as file:
        if path.suffix.lower() in BY_PILLOW:
            _write_pictures(frames, file, fps, loop, path.suffix.lower())
        else:
            _write_video(frames, file, fps, path)


def require_writable(path: Path, fps: float, frames: int) -> None:
    """That `write_animation` can write so many frames: what there is to ask before they are made.

    Raises:
        PinxitError: the suffix is none of `KINDS`, PyAV is missing, or the kind cannot be so fast, slow or long.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        want = f"a name ending in {', '.join(KINDS[:-1])} or {KINDS[-1]}"
        raise expected(f"animation '{path}'", f"of kind {kind!r}" if kind else "of no kind", want, "name it so")
    if frames < 1:
        raise expected("the number of frames", frames, "1 or more", "add some")
    most = MOST_FPS_GIF if kind in BY_PILLOW else MOST_FPS
    if not LEAST_FPS <= fps <= most:
        raise expected("fps", f"{fps:g}", f"{LEAST_FPS}..{most} for {kind}", "choose another")
    if kind in BY_PILLOW and frames / fps > LONGEST_GIF:
        got = f"{frames / fps:.0f} s long"
        raise expected(f"animation '{path}'", got, f"at most {LONGEST_GIF} s in a {kind}", "name it .mp4 or .webm")
    if kind not in BY_PILLOW:
        try:
            import av  # noqa: F401 - whether it is there
        except ImportError as error:
            got = f"a {kind}, which is written by PyAV, and that is missing"
            remedy = 'name it .gif, or pip install "pinxit[video]"'
            raise expected(f"animation '{path}'", got, "a .gif, or PyAV installed", remedy) from error


def _write_pictures(frames: Sequence[Image.Image], file: BinaryIO, fps: float, loop: bool, kind: str) -> None:
    """Both kinds with the times of a GIF: an animated PNG takes others too, but not of long frames."""
    # Rounded ends, not rounded lengths, so that the errors do not add up.
    ends = [round(100 * i / fps) for i in range(len(frames) + 1)]
    milliseconds = [10 * (end - start) for start, end in pairwise(ends)]
    full = [f.convert("RGB") for f in frames]
    if kind == ".png":
        first, *rest = full
        first.save(file, "PNG", save_all=True, append_images=rest, duration=milliseconds, loop=0 if loop else 1)
        return
    palette = _palette(full)
    few = [f.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in full]
    forever = {"loop": 0} if loop else {}
    few[0].save(file, format="GIF", save_all=True, append_images=few[1:], duration=milliseconds, **forever)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """The 256 main colours of all frames. One palette, as still places would flicker in changing ones."""
    some = [frames[i * len(frames) // 16] for i in range(16)] if len(frames) > 16 else frames
    width, height = (min(side, 128) for side in frames[0].size)
    page = Image.new("RGB", (width, height * len(some)))
    for i, frame in enumerate(some):
        page.paste(frame.convert("RGB").resize((width, height), Image.Resampling.NEAREST), (0, i * height))
    return page.quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)


def _write_video(frames: Sequence[Image.Image], file: BinaryIO, fps: float, path: Path) -> None:
    import av
    from av.error import FFmpegError

    kind = path.suffix.lower()
    codec, options = ENCODERS[kind]
    width, height = (side + side % 2 for side in frames[0].size)
    try:
        # Into an open file: FFmpeg takes what stands before a colon in a name for a protocol.
        with av.open(file, "w", format=kind[1:]) as container:
            stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options=options)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            context = stream.codec_context
            # Players take pictures without a remark for one standard or another, by their size.
            context.colorspace = context.color_primaries = context.color_trc = BT709
            for picture in frames:
                odd = [(0, height - picture.height), (0, width - picture.width), (0, 0)]
                pixels = np.pad(np.asarray(picture.convert("RGB")), odd, mode="edge")
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
            container.mux(stream.encode(None))
    except FFmpegError as error:
        if isinstance(error, OSError):  # of the disk, of which `replacing` tells
            raise
        got, remedy = f"refused by the encoder ({error})", "name it .gif, or change their size"
        raise expected(f"animation '{path}'", got, "frames that it takes", remedy) from error
