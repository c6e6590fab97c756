"""`pinxit interpolate MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pinxit.apps.cli import pictures, sentences, singan, stylegan2
from pinxit.errors import expected


@dataclass(frozen=True)
class Interpolate:
    """A film from one of the model's pictures to the next.

    Models of StackGAN, and others that paint sentences, have other options: `pinxit interpolate MODEL --help`.
    """

    model: stylegan2.ModelPath
    out: Path = Path("interpolation.gif")
    """File for the film: .gif; .png, which loses no colours; .mp4 or .webm, which need pip install "pinxit[video]"."""
    seeds: tuple[int, ...] = (0, 1, 2, 3)
    """Seeds of the pictures that it passes."""
    frames: int = 30
    """How many frames from each picture to the next."""
    fps: float = 15.0
    """Frames a second; a .gif or .png has at most 50."""
    loop: bool = True
    """Whether it ends where it began."""
    truncation: stylegan2.Truncation = 0.7
    device: singan.Device = "auto"


@dataclass(frozen=True)
class InterpolateSentences:
    """From one sentence's picture to another's, with the same noise: a strip of pictures, and a film."""

    model: sentences.ModelPath
    start: Annotated[str | None, tyro.conf.arg(name="from", metavar="SENTENCE")] = None
    """The sentence that it begins with."""
    end: Annotated[str | None, tyro.conf.arg(name="to", metavar="SENTENCE")] = None
    """The sentence that it ends with."""
    out: Path = Path("interpolation.png")
    """File for the strip: a row of pictures for each seed, with both sentences."""
    steps: int = 8
    """Pictures in a row of the strip, both ends counted."""
    n: int = 1
    """Rows of the strip; each has a seed of its own, --seed and those that follow."""
    film: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    """File for a film of the first row too: .gif; .png; .mp4 or .webm, which need pip install "pinxit[video]"."""
    frames: int = 30
    """How many frames of the film."""
    fps: float = 15.0
    """Frames a second; a .gif or .png has at most 50."""
    box: sentences.Box = None
    points: sentences.Points = ()
    seed: singan.Seed = 0
    text_encoder: sentences.TextEncoder = None
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    """Between sentences there are other options. MODEL is the first argument that is one."""
    if pictures.method_given(arguments) not in sentences.PAINTERS:
        print(interpolate(tyro.cli(Interpolate, args=arguments, prog="pinxit interpolate", config=pictures.STYLE)))
        return
    # tyro's help leaves out a MODEL that is given
    rest = ["--help"] if {"-h", "--help"} & set(arguments) else arguments
    o = tyro.cli(InterpolateSentences, args=rest, prog="pinxit interpolate", config=pictures.STYLE)
    with singan.told_as_options():
        print(interpolate_sentences(o))


def interpolate(o: Interpolate) -> str:
    from rich.console import Console

    from pinxit.data.video import require_writable, write_animation

    for seed in o.seeds:
        singan.require_seed(seed)
    count = max(1, o.frames) * max(1, len(o.seeds))
    require_writable(o.out, o.fps, count)  # before the work
    model = stylegan2.open_model("interpolate", o.model, o.device)
    with Console(stderr=True).status("painting"):
        frames = list(model.interpolate(o.seeds, o.frames, o.truncation, loop=o.loop))
        write_animation(frames, o.out, o.fps, loop=o.loop)
    return f"interpolated {len(frames)} frames: {o.out.resolve()}"


def interpolate_sentences(o: InterpolateSentences) -> str:
    from PIL import Image
    from rich.console import Console

    from pinxit.apps.cli.figure import figure
    from pinxit.data.images import SUFFIXES
    from pinxit.data.video import require_writable, write_animation
    from pinxit.modelfile import replacing

    ends: list[str] = []
    for option, said in (("--from", o.start), ("--to", o.end)):
        if said is None:
            raise expected(option, "missing", "a sentence at either end", "write it behind the option, in quotes")
        ends.append(sentences.cleaned(said, option))
    singan.require_seed(o.seed)
    for option, got, least in (("--steps", o.steps, 2), ("--n", o.n, 1), ("--frames", o.frames, 2)):
        if got < least:
            raise expected(option, got, f"{least} or more", "enlarge it")
    if o.out.suffix.lower() not in SUFFIXES:
        want = f"a picture ({', '.join(SUFFIXES)})"
        raise expected(f"--out '{o.out}'", f"of kind {o.out.suffix!r}", want, "name it so; --film is for films")
    if o.film is not None:
        require_writable(o.film, o.fps, o.frames)
        if o.film.resolve() == o.out.resolve():
            raise expected("--film", f"'{o.film}', as --out", "another file", "name another")
    model = sentences.open_model("interpolate", o.model, o.device, o.text_encoder)
    place = sentences.place_of(model, o.box, o.points)
    with Console(stderr=True).status("painting"):
        rows = [model.interpolate(ends[0], ends[1], o.steps, o.seed + i, **place) for i in range(o.n)]
        page = figure(rows, above=[ends[0], *[""] * (o.steps - 2), ends[1]])
        with replacing(o.out) as temporary:
            page.save(temporary, format=Image.registered_extensions()[o.out.suffix.lower()], quality=95)
        if o.film is not None:
            write_animation(list(model.interpolate(ends[0], ends[1], o.frames, o.seed, **place)), o.film, o.fps)
    done = f"interpolated {pictures.counted(o.n * o.steps, 'picture')}: {o.out.resolve()}"
    return done if o.film is None else f"{done}\nfilm of {o.frames} frames: {o.film.resolve()}"
