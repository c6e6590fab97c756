"""`pinxit paint MODEL MAP…` with a model of pix2pixHD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pinxit.apps.cli import paint_maps, pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from pinxit.models.pix2pixhd.generate import Model


@dataclass(frozen=True)
class Paint:
    """Paint label maps with a model of pix2pixHD. A map needs no photo beside it.

    A model that was trained with features has some styles for each label. Each object gets one of its label's by
    chance, unless --style or --like says which.
    """

    model: tyro.conf.Positional[Path]
    """Model folder or file."""
    maps: paint_maps.Maps
    """Label maps, or folders of them: ids or colours of the model's label set."""
    out: Path = Path("painted")
    """Folder for the pictures, named after their maps."""
    style: Annotated[tuple[str, ...], tyro.conf.arg(metavar="OBJECT=N ...")] = ()
    """Style N, 0 being the most usual, for all objects of a label (car=3), or for one by its id in the instance map
    (26001=3), which goes before its label."""
    like: paint_maps.Files = ()
    """Photos, one for each map in the same order and of its size: each object takes the style of what is at its place
    there."""
    seed: int = 0
    """Seed of the styles that are left to chance."""
    variations: int = 1
    """Pictures of each map, with the styles of so many seeds from --seed on."""
    instances: paint_maps.Files = ()
    """Instance maps, or folders of them, one for each map in the same order; by default each label's region is one
    instance."""
    device: paint_maps.Device = "auto"
    """Where to compute."""


def main(arguments: list[str]) -> None:
    paint(tyro.cli(Paint, args=arguments, prog="pinxit paint", config=pictures.STYLE))


def paint(o: Paint) -> None:
    """Paint all maps, after a look at all that is read: a mistake is told before the first file is written."""
    from pinxit.data.images import read_photo

    files, instance_files = pictures.listed(o.maps), pictures.listed(o.instances) if o.instances else []
    photos = pictures.listed(o.like, "photo") if o.like else []
    paint_maps.require_one_each("--instances", instance_files, files)
    paint_maps.require_one_each("--like", photos, files)
    if not 1 <= o.variations <= paint_maps.MOST_SEEDS:
        raise expected("--variations", o.variations, "1 or more", "correct it, or leave it out")
    if not 0 <= o.seed < paint_maps.MOST_SEEDS:
        raise expected("--seed", o.seed, f"0 or more, below {paint_maps.MOST_SEEDS}", "choose another")
    styles = read_styles(o.style)
    model: Model = pictures.open_model(o.model, o.device)
    require_for(o, model)
    outputs = paint_maps.outputs_in(o.out, files, o.variations)
    written = ((file, output) for file, names in zip(files, outputs, strict=True) for output in names)
    pictures.require_free(o.out, (*files, *instance_files, *photos), written)
    for place, file in enumerate(files):
        instances = instance_files[place] if instance_files else None
        paint_maps.look_at(file, instances, model.label_set, model.config.unknown)
        look_for(styles, file, instances, model)
        if photos:
            require_photo_size(photos[place], file)
    used = model.config.instances or model.config.features == "instance"
    paint_maps.note_unused_instances(instance_files, o.model, used)
    if model.config.features != "none" and not photos and not model.cluster_counts.any():
        pictures.note(f"model '{o.model}' comes without styles, so all objects have the same; --like gives some")

    def one(place: int, number: int, map: np.ndarray, ids: np.ndarray | None) -> Image.Image:
        photo = read_photo(photos[place]) if photos else None
        return model.paint(map, ids, styles=styles, photo=photo, seed=o.seed + number)

    paint_maps.paint_all(files, instance_files, outputs, model.label_set, one, o.out)


def read_styles(texts: Sequence[str]) -> dict[str | int, int]:
    """`car=3` and `26001=3` as a label's name or an id, and a number. Raises `PinxitError`."""
    styles: dict[str | int, int] = {}
    for text in texts:
        thing, _, number = text.rpartition("=")
        if not thing or not number.isdecimal():
            raise expected("--style", repr(text), "a label or an instance's id, = and a number", "write it as car=3")
        styles[int(thing) if thing.isdecimal() else thing] = int(number)
    return styles


def require_for(o: Paint, model: Model) -> None:
    """Raises `PinxitError` for options that the model has no use for."""
    if model.config.source != "labels":
        raise expected(f"model '{o.model}'", "one for pictures", "one for label maps", "use pinxit translate")
    if model.config.features == "none":
        for option, given in (("--style", o.style), ("--like", o.like), ("--variations", o.variations > 1)):
            if given:
                want = f"nothing: model '{o.model}' was trained without features, so that it has no styles"
                raise expected(option, "given", want, "leave it out, or take a model with features")
    if o.like and model.E is None:
        raise expected("--like", "given", f"nothing: model '{o.model}' comes without its encoder", "use --style")
    if o.like and o.variations > 1:
        raise expected("--like", f"given with --variations {o.variations}", "one of the two", "leave one out")


def look_for(styles: dict[str | int, int], file: Path, instances: Path | None, model: Model) -> None:
    """Raises `PinxitError` for a style that does not exist, or an id that no instance of the map has."""
    from pinxit.data.images import read_instances

    ids = read_instances(instances) if instances is not None else None
    for thing, number in styles.items():
        if isinstance(thing, int):
            if ids is None or not (ids == thing).any():
                got = f"given for {thing}" + ("" if ids is not None else ", without --instances")
                raise expected("--style", got, f"a label, or an id in the instance map of '{file}'", "look it up there")
        elif number >= (count := model.styles_of(thing)):
            want = f"0..{count - 1}" if count else "none, as no object of it was in the training data"
            raise expected("--style", f"{thing}={number}", f"{want}", "choose another, or leave it out")


def require_photo_size(photo: Path, file: Path) -> None:
    from pinxit.data.images import read_photo, read_raw_map, require_size

    size = read_photo(photo).size
    require_size(photo, size[::-1], file, read_raw_map(file).shape[:2])
