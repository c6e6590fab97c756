"""The model that a scale is retrained of, for paintings: what is taken over, and whether it belongs to the photo."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from pinxit.errors import expected
from pinxit.modelfile import read
from pinxit.models.singan.config import PALETTE, Data, Network
from pinxit.models.singan.generate import Model, load
from pinxit.models.singan.palette import palette_of
from pinxit.models.singan.pyramid import Pyramid

ALIKE = 2.0
"""Levels of 255 that the photo in a model may be off on average: an import has it cut to 8 bits once more."""


class Base(NamedTuple):
    """A model all of which is kept but one scale."""

    model: Model
    scale: int
    """The one that is learnt anew."""
    palette: Tensor
    """[K, 3]: what its input is reduced to."""


def base_of(data: Data, network: Network, pyramid: Pyramid, photo: Tensor) -> Base:
    """The model that --base names, for the photo [1, 3, H, W] at its finest size, whose scales are `pyramid`.

    Raises `PinxitError` for a model that is not of this photo and of these options, or not a whole one; and for a
    scale that it has not.
    """
    assert data.base is not None
    name, file = f"--base '{data.base}'", read(data.base)
    if file.method != "singan":
        raise expected(name, f"of method {file.method}", "singan", "name one made by pinxit train singan of the photo")
    model = load(file)
    if model.palette_scale is not None:
        got = f"a model with scale {model.palette_scale} retrained already"
        raise expected(name, got, "one as first trained", "name the one that it was retrained of")
    for field in ("task", "layers", "kernel", "width", "min_width", "max_width"):
        mine, want = getattr(network, field), getattr(model.network, field)
        if mine != want:
            option = f"--{field.replace('_', '-')}"
            raise expected(option, mine, f"{want}, as {name} has it", f"give {option} {want}")
    if model.sizes != pyramid.sizes:
        mine, theirs = (
            f"{sizes[0][1]}x{sizes[0][0]} to {sizes[-1][1]}x{sizes[-1][0]} ({len(sizes)} in all)"
            for sizes in (pyramid.sizes, model.sizes)
        )
        want = f"{mine}, width x height, those of --data with these options"
        remedy = "let its training end, or give its photo and the --min-size, --max-size, --scale-factor it has"
        raise expected(name, f"of scales {theirs}", want, remedy)
    off = float((photo - model.photo).abs().mean()) * 127.5
    if not off <= ALIKE:
        got = f"of another photo ({off:.0f} of 255 levels off on average)"
        raise expected(name, got, f"one of '{data.data}'", "name the photo that it was trained on")
    if data.base_scale is None or not 1 <= data.base_scale <= model.finest:
        got = "missing" if data.base_scale is None else data.base_scale
        remedy = "choose the one that paintings are to be put in at, 1 or 2 most often"
        raise expected("--base-scale", got, f"1..{model.finest}, the model's", remedy)
    scale = data.base_scale
    real = model.pyramid.levels(photo)[scale]
    return Base(model, scale, palette_of(real, PALETTE if data.palette is None else data.palette))
