"""`pinxit animate MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import singan

if TYPE_CHECKING:
    from pinxit.models.singan.generate import Model


@dataclass(frozen=True)
class Animate:
    """The photo that the model was trained on, set in motion.

    Best with a model made by pinxit train singan --task animation.
    """

    model: singan.ModelPath
    out: Path = Path("animation.gif")
    """File for the animation: .gif; .png, which loses no colours; .mp4 or .webm, which need
    pip install "pinxit[video]"."""
    frames: int = 100
    """How many frames."""
    fps: float = 10.0
    """Frames a second; a .gif or .png has at most 50."""
    start_scale: int = 2
    """What is coarser than this scale stands still: the lower, the more moves."""
    alpha: float = 0.1
    """0 to 1: how strongly the picture is drawn back to the photo."""
    beta: float = 0.9
    """0 to 1: how smooth the motion is."""
    size: singan.Size = None
    loop: bool = False
    """Let the last frame lead to the first, without a jump."""
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    singan.run("animate", Animate, animate, arguments)


def animate(o: Animate, model: Model) -> str:
    from rich.console import Console

    from pinxit.data.video import require_writable, write_animation

    singan.require_seed(o.seed)
    require_writable(o.out, o.fps, max(o.frames, 1))  # before a minute of work; that there are two, `animate` sees to
    with Console(stderr=True).status("painting"):
        frames = model.animate(o.frames, o.start_scale, o.alpha, o.beta, o.size, o.seed, o.loop)
        write_animation(frames, o.out, o.fps)
    return f"animated {o.frames} frames: {o.out.resolve()}"
