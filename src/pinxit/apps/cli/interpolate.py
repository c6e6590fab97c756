"""`pinxit interpolate MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.apps.cli import pictures, singan, stylegan2


@dataclass(frozen=True)
class Interpolate:
    """A film from one of the model's pictures to the next."""

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


def main(arguments: list[str]) -> None:
    print(interpolate(tyro.cli(Interpolate, args=arguments, prog="pinxit interpolate", config=pictures.STYLE)))


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
