"""`pinxit demo`: the first picture after the install."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.apps.cli.pictures import STYLE


@dataclass(frozen=True)
class Demo:
    """Paint the street scenes drawn for this project with the embedded model, each in several styles.

    Needs no data and no network.
    """

    out: Path = Path("pinxit-demo")
    """Folder for the contact sheet, demo.png."""
    styles: int = 4
    """Styles of each scene."""
    seed: int = 19  # from here on the embedded model's styles go from sun over haze to dusk
    """Seed of the first style; the others follow."""


def main(arguments: list[str]) -> None:
    demo(tyro.cli(Demo, args=arguments, prog="pinxit demo", config=STYLE))


def demo(o: Demo) -> Path:
    """Write the sheet; -> its path."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    from pinxit.apps.cli.pictures import embedded_model, open_model
    from pinxit.data.layouts import load_layouts
    from pinxit.data.sheet import titled
    from pinxit.errors import expected
    from pinxit.modelfile import replacing

    if o.styles < 1:
        raise expected("--styles", o.styles, "1 or more", "enlarge it")
    if o.seed < 0:
        raise expected("--seed", o.seed, "0 or more", "choose another")
    model = open_model(embedded_model())
    labels, layouts = model.label_set, load_layouts()
    rows = []
    console = Console(stderr=True)
    for layout in track(layouts, "painting", console=console, transient=True, disable=not console.is_terminal):
        map = layout.draw([label.name for label in labels.labels], model.network.size)
        rows.append([Image.fromarray(labels.colorize(map)), *model.variations(map, o.styles, o.seed)])
    columns = ["label map", *(f"style {o.seed + i}" for i in range(o.styles))]
    sheet = titled(rows, columns, [layout.title["en"] for layout in layouts])
    path = o.out / "demo.png"
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")
    print(f"painted {len(rows)} street scenes in {o.styles} styles: {path.resolve()}")
    return path
