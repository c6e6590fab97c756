"""`pinxit sketch MODEL`: a friendly front of `pinxit train sketching`."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from pinxit.apps.cli import pictures, stylegan2
from pinxit.apps.cli.best import Best
from pinxit.apps.cli.train import take_preset, train
from pinxit.errors import expected, unknown_name
from pinxit.models.sketching import config
from pinxit.training.config import Run

PREVIEW = "sketches.png"
"""Name of the sheet of what the network sees, in the run's folder."""


@dataclass(frozen=True)
class Sketch:
    """What is customised, and by what."""

    model: stylegan2.ModelPath
    sketches: tuple[Path, ...] = ()
    """Sketches, one or more, and folders of them: scans, photos of paper, transparent PNGs, SVGs."""
    photosketch: Path | None = None
    """Model of PhotoSketch, which draws the contours of generated pictures: trained on drawings like yours is best."""
    images: Path | None = None
    """Folder of the pictures that the model was trained on, which its pictures are to stay like. Without it, pictures
    sampled from the model stand in for them."""
    kind: Literal["hand", "contours"] = "hand"
    """Whether the sketches are drawn by hand, then they are moved and lightened at random in training, or contours that
    PhotoSketch itself made, then they are not. --augment says it more finely."""
    pad: bool = True
    """Whether a sketch of another aspect is set on white paper; else it is refused."""
    rows: int = 6
    """Pictures on a sample sheet, always of the same seeds: each before and after."""


def main(arguments: list[str]) -> None:
    """--preset says what the options of training start from."""
    wanted, rest = take_preset(arguments, config.PRESETS) if has_preset(arguments) else ("cpu", arguments)
    if wanted not in config.PRESETS:
        raise unknown_name("preset", wanted, config.PRESETS)
    preset = config.PRESETS[wanted].training
    command = dataclasses.make_dataclass(
        "Command", [("what", Sketch), ("run", Run), ("training", config.Training, field(default=preset))]
    )
    told = "\n".join(f"  --preset {name:9} {config.SUMMARIES[name]}" for name in config.PRESETS)
    parsed = tyro.cli(
        command,
        args=rest,
        prog="pinxit sketch",
        description="Customise a model of StyleGAN2 by sketches: its pictures get their outlines, and stay what they "
        f"are otherwise. The model is kept as it is; RUN has the customised one.\n\n{told}\n\n"
        f"Options of training are those of the preset {wanted!r} unless given.",
        config=(tyro.conf.OmitArgPrefixes, *pictures.STYLE),
    )
    asked = any(argument == "--augment" or argument.startswith("--augment=") for argument in rest)
    sketch(parsed.what, parsed.run, parsed.training, augment_as_kind=not asked)


def has_preset(arguments: list[str]) -> bool:
    return any(argument == "--preset" or argument.startswith("--preset=") for argument in arguments)


def sketch(o: Sketch, run: Run, training: config.Training, *, augment_as_kind: bool) -> None:
    """Look at everything, write the preview, then train."""
    if augment_as_kind:
        training = dataclasses.replace(training, augment=config.HAND if o.kind == "hand" else ())
    if o.photosketch is None:
        raise expected("--photosketch", "missing", "a model of PhotoSketch", "train or import one, and name it")
    method = pictures.method_of(o.model)
    if method not in (None, "stylegan2"):
        raise expected(f"model '{o.model}'", f"of method {method}", "stylegan2", "train or import one")
    data = config.Data(
        base=o.model, sketches=o.sketches, photosketch=o.photosketch, data=o.images, pad=o.pad, rows=o.rows
    )
    if int(os.environ.get("RANK", "0")) == 0:
        preview(data, run)
    with told_as_notes():
        train("sketching", run, Best(), config.Options(data, training), config)


def preview(data: config.Data, run: Run) -> None:
    """What the network will see, as a picture in the run's folder, before the training begins."""
    from pinxit.data.sketches import preview as sheet
    from pinxit.modelfile import replacing
    from pinxit.models.sketching.recipe import opened, sketches_of
    from pinxit.models.stylegan2.generate import network_of
    from pinxit.training.checkpoint import require_startable

    require_startable(run.out, run.resume)
    base, _ = opened(data)
    sketches = sketches_of(data, network_of(base).size)
    with replacing(run.out / PREVIEW) as temporary:
        sheet(sketches).save(temporary, format="PNG")
    print(f"what the network sees of the sketches ({len(sketches)}): {(run.out / PREVIEW).resolve()}", flush=True)


@contextmanager
def told_as_notes() -> Iterator[None]:
    """What is remarked on sketches is told as notes, at once."""
    shown = warnings.showwarning

    def tell(message: Warning | str, category: type[Warning], *rest: object) -> None:
        if category is UserWarning and str(message).startswith("sketch '"):
            pictures.note(str(message))
        else:
            shown(message, category, *rest)  # pyright: ignore[reportArgumentType] - handed on as it came

    with warnings.catch_warnings():
        warnings.filterwarnings("always", message="sketch '")
        warnings.showwarning = tell
        yield
