from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.data.video import BY_PILLOW, KINDS, require_writable, write_animation
from pinxit.errors import PinxitError

COLORS = [(200, 40, 40), (40, 200, 40), (40, 40, 200), (230, 230, 230), (20, 20, 20)]


def flat(size: tuple[int, int] = (32, 24)) -> list[Image.Image]:
    """Frames that differ in colour alone, which no codec may mix up."""
    return [Image.new("RGB", size, color) for color in COLORS]


def photos(number: int, size: tuple[int, int] = (64, 48)) -> list[Image.Image]:
    """Smooth colours that move."""
    y, x = np.mgrid[: size[1], : size[0]]
    waves = [[np.sin(x / (7 + c) + t / 3) + np.cos(y / (9 - c) - t / 4) for c in range(3)] for t in range(number)]
    return [Image.fromarray((127.5 + 60 * np.stack(wave, -1)).astype(np.uint8)) for wave in waves]


def decoded(path: Path) -> list[np.ndarray]:
    """The frames of a file as players show them, RGB."""
    if path.suffix in BY_PILLOW:
        with Image.open(path) as image:
            return [np.asarray(frame_at(image, i)) for i in range(getattr(image, "n_frames", 1))]
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def frame_at(image: Image.Image, i: int) -> Image.Image:
    image.seek(i)
    return image.convert("RGB")


def off(found: np.ndarray, picture: Image.Image) -> float:
    """Mean absolute error in levels."""
    return float(np.abs(found.astype(float) - np.asarray(picture, float)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_arrives_in_its_colours(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"colours{kind}"
    write_animation(flat(), path, 10)
    frames = decoded(path)
    assert len(frames) == len(COLORS)
    assert max(off(found, picture) for found, picture in zip(frames, flat(), strict=True)) < 3
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", KINDS)
def test_photos_are_seen_without_loss(tmp_path: Path, kind: str) -> None:
    pictures = photos(20)
    write_animation(pictures, tmp_path / f"moving{kind}", 25)
    frames = decoded(tmp_path / f"moving{kind}")
    assert max(off(found, picture) for found, picture in zip(frames, pictures, strict=True)) < 6


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
@pytest.mark.parametrize("size", [(33, 24), (32, 25), (33, 25), (9, 8), (1, 1)])
def test_odd_sizes_grow_by_a_row_or_column(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    path = tmp_path / f"odd{kind.upper()}"
    write_animation(flat(size), path, 10)
    width, height = size
    for found, color in zip(decoded(path), COLORS, strict=True):
        assert found.shape == (height + height % 2, width + width % 2, 3)
        assert np.abs(found.astype(int) - color).max() < 12


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
@pytest.mark.parametrize("fps", [0.1, 10, 12.5, 29.97, 240])
def test_videos_have_the_rate_and_the_names_of_their_codecs(tmp_path: Path, kind: str, fps: float) -> None:
    av = pytest.importorskip("av")
    write_animation(flat(), tmp_path / f"a:b{kind}", fps)
    with (tmp_path / f"a:b{kind}").open("rb") as file, av.open(file) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.pix_fmt) == ({".mp4": "h264", ".webm": "vp9"}[kind], "yuv420p")
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert np.diff(times) == pytest.approx(1 / fps, abs=1.1e-3)  # WebM counts in milliseconds


@pytest.mark.parametrize("kind", [".mp4", ".webm"])
def test_videos_say_that_their_colours_are_those_of_bt_709(tmp_path: Path, kind: str) -> None:
    av = pytest.importorskip("av")
    write_animation(flat(), tmp_path / f"a{kind}", 10)
    with av.open(str(tmp_path / f"a{kind}")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        luma = bytes(next(container.decode(video=0)).planes[0])[0]
    red, green, blue = COLORS[0]
    assert luma == pytest.approx(16 + 219 / 255 * (0.2126 * red + 0.7152 * green + 0.0722 * blue), abs=1.5)


@pytest.mark.parametrize("fps", [0.5, 7, 10, 24, 30, 33.3, 49, 50])
@pytest.mark.parametrize("kind", BY_PILLOW)
def test_rounded_times_of_a_gif_do_not_add_up(tmp_path: Path, kind: str, fps: float) -> None:
    pictures = photos(31, (12, 8))
    write_animation(pictures, tmp_path / f"a{kind}", fps)
    with Image.open(tmp_path / f"a{kind}") as image:
        lengths = []
        for i in range(image.n_frames):  # pyright: ignore[reportAttributeAccessIssue]
            image.seek(i)
            lengths.append(image.info["duration"])
    assert len(lengths) == len(pictures)
    assert np.cumsum(lengths) == pytest.approx(1000 * np.arange(1, 32) / fps, abs=5.01)
    assert min(lengths) >= 20


def test_a_gif_starts_over_unless_it_is_not_to(tmp_path: Path) -> None:
    for loop in (True, False):
        write_animation(flat(), tmp_path / "a.gif", 10, loop=loop)
        with Image.open(tmp_path / "a.gif") as image:
            assert image.info.get("loop") == (0 if loop else None)
        write_animation(flat(), tmp_path / "a.png", 10, loop=loop)
        with Image.open(tmp_path / "a.png") as image:
            assert image.info["loop"] == (0 if loop else 1)


def test_a_png_loses_nothing(tmp_path: Path) -> None:
    pictures = photos(12)
    write_animation([*pictures, pictures[-1]], tmp_path / "a.png", 10)
    frames = decoded(tmp_path / "a.png")
    assert all(np.array_equal(found, np.asarray(picture)) for found, picture in zip(frames, pictures, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_frame_and_many_alike(tmp_path: Path, kind: str) -> None:
    """Pillow makes one of frames that are alike, and adds up their times."""
    path = tmp_path / f"still{kind}"
    write_animation(flat()[:1], path, 10)
    assert len(decoded(path)) == 1
    write_animation(flat()[:1] * 655, path, 1)
    if kind in BY_PILLOW:
        with Image.open(path) as image:
            assert image.info.get("duration") == {".gif": 655_000, ".png": None}[kind]
    else:
        assert len(decoded(path)) == 655


def test_pictures_of_any_mode(tmp_path: Path) -> None:
    for kind in KINDS:
        write_animation([f.convert(mode) for f in flat() for mode in ("L", "P", "RGBA")], tmp_path / f"a{kind}", 10)
        assert len(decoded(tmp_path / f"a{kind}")) == 15


BAD: dict[str, tuple[list[Image.Image], str, float, str]] = {
    "no suffix": (flat(), "walk", 10, r"animation '.*walk' is of no kind, expected a name ending in .png, .gif, .mp4"),
    "another suffix": (flat(), "walk.avi", 10, r"'.*walk.avi' is of kind '.avi', .*; name it so"),
    "no frame": ([], "walk.gif", 10, "the number of frames is 0, expected 1 or more"),
    "sizes": (
        [*flat(), *flat((24, 24))],
        "walk.mp4",
        10,
        "size of the frames is 24x24 and 32x24, expected one; resize",
    ),
    "too large": (flat((16385, 1))[:1], "walk.gif", 10, r"size of the frames is 16385x1 \(width x height\), expected"),
    "fps 0": (flat(), "walk.mp4", 0, "fps is 0, expected 0.1..240 for .mp4"),
    "fps below 0": (flat(), "walk.gif", -3, "fps is -3, expected 0.1..50 for .gif"),
    "fps no number": (flat(), "walk.webm", float("nan"), "fps is nan, expected"),
    "fps without end": (flat(), "walk.webm", float("inf"), "fps is inf, expected"),
    "fps of a png": (flat(), "walk.png", 60, "fps is 60, expected 0.1..50 for .png; choose another"),
    "fps of a gif": (flat(), "walk.gif", 60, "fps is 60, expected 0.1..50 for .gif; choose another"),
    "long gif": (flat()[:1] * 700, "walk.gif", 1, r"is 700 s long, expected at most 655 s .*; name it .mp4 or .webm"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_told_and_an_older_file_stays(tmp_path: Path, case: str) -> None:
    frames, name, fps, said = BAD[case]
    (tmp_path / name).write_bytes(b"older")
    with pytest.raises(PinxitError, match=said) as error:
        write_animation(frames, tmp_path / name, fps)
    assert "\n" not in str(error.value)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"older"]


def test_without_the_extra_only_gif_and_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    for kind in BY_PILLOW:
        write_animation(flat(), tmp_path / f"a{kind}", 10)
    for kind in (".mp4", ".webm"):
        with pytest.raises(PinxitError, match=rf'a\{kind}\' is .*; name it .gif, or pip install "pinxit\[video\]"'):
            require_writable(tmp_path / f"a{kind}", 10, 5)


def test_an_encoder_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = pytest.importorskip("av.error")

    def refuse(*arguments: object, **options: object) -> None:
        raise error.ExternalError(1, "no")

    monkeypatch.setattr("av.VideoFrame.from_ndarray", refuse)
    (tmp_path / "a.mp4").write_bytes(b"older")
    with pytest.raises(PinxitError, match=r"a.mp4' is refused by the encoder \(.*no.*\), expected .*; name it .gif"):
        write_animation(flat(), tmp_path / "a.mp4", 10)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"older"]
