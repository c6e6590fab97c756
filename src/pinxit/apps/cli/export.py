"""`pinxit export MODEL --onnx`: a model for other programs than this one."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from pinxit.apps.cli import pictures
from pinxit.apps.cli.translate import Direction
from pinxit.errors import expected, unknown_name

OPSETS = (18, 23)
"""The first and the last that the exporter writes."""

NEEDED = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Export:
    """Write a model's generator into an ONNX file, which other programs run: without PyTorch, in a browser, on a phone.

    Batch and size are free, the sides multiples of what the model needs; ids of labels become channels inside. The file
    says in its metadata what goes in and what the model may be used for. It is compared with the model before it is
    kept. See docs/export.md.
    """

    model: tyro.conf.Positional[Path]
    """Model folder or file of SPADE, pix2pix, pix2pixHD or CycleGAN; `demo`, `fruits`: those that come along."""
    onnx: bool = False
    """The format; there is no other yet."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            help="The file; or a folder, if there is one of that name.",
            help_behavior_hint="(default: the model's name with .onnx, here)",
        ),
    ] = None
    opset: int = OPSETS[0]
    """Version of ONNX's operators, 18 to 23; the lower, the more programs read the file."""
    fixed_size: Annotated[
        tuple[int, int] | None,
        tyro.conf.arg(
            metavar="H W",
            help="Height and width to fix, for programs that want it so; the batch stays free.",
            help_behavior_hint="(default: any)",
        ),
    ] = None
    direction: Direction = None


def main(arguments: list[str]) -> None:
    export(tyro.cli(Export, args=arguments, prog="pinxit export", config=pictures.STYLE))


def export(o: Export) -> None:
    """Raises `PinxitError` for what cannot be exported, before anything is written."""
    require_sensible(o)
    out = output_of(o)
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        remedy = 'pip install "pinxit[onnx]"'
        raise expected("the ONNX export", f"without {' and '.join(missing)}", "them installed", remedy)

    from pinxit import modelfile
    from pinxit.apps.cli.export_onnx import graph_of, write

    file = modelfile.read(pictures.found_model(o.model))
    if file.config.get("test_dropout"):
        pictures.note("the model leaves its dropout on, as noise; in the ONNX file it is off")
    graph = graph_of(file, o.direction)
    if o.fixed_size is not None and any(side % graph.multiple or side < graph.smallest for side in o.fixed_size):
        want = f"multiples of {graph.multiple}, {graph.smallest} or more, for this model"
        raise expected("--fixed-size", f"{o.fixed_size[0]} {o.fixed_size[1]}", want, "round it")
    written = write(graph, out, opset=o.opset, size=o.fixed_size)
    sizes = ", ".join(f"{n} of {height}x{width}" for n, height, width in written.compared)
    print(f"exported {written.size / 1e6:.1f} MB: {out.resolve()}")
    print(f"largest difference from the model: {written.difference:.1e}, of values in -1..1 (compared: {sizes})")
    sides = "fixed" if o.fixed_size else f"multiples of {graph.multiple}, {graph.smallest} or more"
    print(f"inputs: {', '.join(graph.inputs)}; height and width: {sides}")


NOT_EXPORTED = {
    "deeplabv3": "pinxit segment",
    "stylegan2": "pinxit sample",
    "photosketch": "pinxit translate",
    "stackgan": "pinxit sample",
    "ganintcls": "pinxit sample",
    "gawwn": "pinxit sample",
    "charcnnrnn": "pinxit train stackgan --text-encoder char-cnn-rnn:MODEL",
    "poegan": "pinxit paint",
}
"""Methods without a graph of ONNX, and what is meant for their models."""


def require_sensible(o: Export) -> None:
    """Raises `PinxitError` for options that fit no model, or not this one."""
    from pinxit.models import METHODS

    if not o.onnx:
        raise expected("the format", "not given", "--onnx", "add it")
    if not OPSETS[0] <= o.opset <= OPSETS[1]:
        raise expected("--opset", o.opset, f"{OPSETS[0]}..{OPSETS[1]}", "choose one, or leave it out")
    method = pictures.method_of(o.model)
    if method is None:
        return  # whoever reads the file tells what is wrong
    if method not in METHODS:
        raise unknown_name(f"method of model '{o.model}'", method, METHODS)
    if method == "singan":
        got = "of SinGAN, a pyramid of generators with noise at each scale"
        raise expected(f"model '{o.model}'", got, "one of a single generator", "use it with pinxit sample")
    if (meant := NOT_EXPORTED.get(method)) is not None:
        want = "one of spade, pix2pix, pix2pixhd or cyclegan"
        raise expected(f"model '{o.model}'", f"of method {method}", want, f"use it with {meant}")
    if o.direction is not None and method != "cyclegan":
        want = f"nothing: model '{o.model}' knows one way, the one it was trained for"
        raise expected("--direction", o.direction, want, "leave it out")


def output_of(o: Export) -> Path:
    """The file to write. Raises `PinxitError` for one of another kind."""
    model = pictures.found_model(o.model).absolute()
    model = model.parent if model.name == "model.safetensors" else model
    name = o.model.name if pictures.found_model(o.model) != o.model else model.name.removesuffix(".safetensors")
    name = f"{name}_{o.direction}.onnx" if o.direction else f"{name}.onnx"
    if o.out is None:
        return Path(name)
    if o.out.is_dir():
        return o.out / name
    if o.out.suffix.lower() != ".onnx":
        raise expected(f"--out '{o.out}'", "no file of ONNX", "a name that ends in .onnx, or a folder", "rename it")
    return o.out
