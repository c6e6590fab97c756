"""`pinxit demo`: the first picture after the install."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

from pinxit.apps.cli.pictures import FIRST_STYLES, STYLE

if TYPE_CHECKING:
    from PIL import Image

T = TypeVar("T")
Track = Callable[[Iterable[T]], Iterable[T]]


@dataclass(frozen=True)
class Demo:
    """Paint what was drawn for this project with two models that come along: street scenes from label maps, each in
    several styles (SPADE), and fruits from outlines (pix2pix).

    Needs no data and no network.
    """

    out: Path = Path("pinxit-demo")
    """Folder for the contact sheets, demo.png and demo_fruits.png, and the outlines."""
    styles: int = 4
    """Styles of each scene."""
    seed: int = FIRST_STYLES["demo"]
    """Seed of the first style; the others follow."""


def main(arguments: list[str]) -> None:
    demo(tyro.cli(Demo, args=arguments, prog="pinxit demo", config=STYLE))


def demo(o: Demo) -> None:
    """Write the sheets and the outlines."""
    from rich.console import Console
    from rich.progress import track

    from pinxit.apps.cli.pictures import embedded_model, open_model
    from pinxit.errors import expected

    if o.styles < 1:
        raise expected("--styles", o.styles, "1 or more", "enlarge it")
    if o.seed < 0:
        raise expected("--seed", o.seed, "0 or more", "choose another")
    streets, fruits = (open_model(embedded_model(name)) for name in ("demo", "fruits"))
    console = Console(stderr=True)

    def shown(things: Iterable[T]) -> Iterable[T]:
        return track(things, "painting", console=console, transient=True, disable=not console.is_terminal)

    paint_streets(o, streets, shown)
    paint_fruits(o, fruits, shown)


def paint_streets(o: Demo, model: Any, shown: Track[Any]) -> None:
    """A row for each scene: the label map, and what is painted from it."""
    from PIL import Image

    from pinxit.data.layouts import load_layouts
    from pinxit.data.sheet import titled

    labels, layouts = model.label_set, load_layouts()
    rows = []
    for layout in shown(layouts):
        map = layout.draw([label.name for label in labels.labels], model.network.size)
        rows.append([Image.fromarray(labels.colorize(map)), *model.variations(map, o.styles, o.seed)])
    columns = ["label map", *(f"style {o.seed + i}" for i in range(o.styles))]
    path = o.out / "demo.png"
    save(titled(rows, columns, [layout.title["en"] for layout in layouts]), path)
    print(f"painted {len(rows)} street scenes in {o.styles} styles: {path.resolve()}")


def paint_fruits(o: Demo, model: Any, shown: Track[Any]) -> None:
    """A column for each fruit: the outline, and below it what is painted from it. The outlines are files too."""
    from pinxit.data.outlines import OUTLINES
    from pinxit.data.sheet import titled

    drawn = [outline.draw(model.options.size[0]) for outline in OUTLINES]
    painted = [model.translate(picture) for picture in shown(drawn)]
    names = [outline.name for outline in OUTLINES]
    path, folder = o.out / "demo_fruits.png", o.out / "outlines"
    for name, picture in zip(names, drawn, strict=True):
        save(picture, folder / f"{name}.png")
    save(titled([drawn, painted], names, ["outlines", "painted"]), path)
    print(f"painted {len(names)} fruits from outlines: {path.resolve()}")
    print(f"outlines to change, and to paint with `pinxit translate fruits FILE`: {folder.resolve()}")


def save(picture: Image.Image, path: Path) -> None:
    from pinxit.modelfile import replacing

    with replacing(path) as temporary:
        picture.save(temporary, format="PNG")
