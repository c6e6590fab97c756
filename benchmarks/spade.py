"""SPADE, painting: the dense generator against `pinxit.models.spade.fast`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks import maps
from benchmarks.maps import Map
from benchmarks.measure import Pair, Row, Setting, Work, measured, memory
from pinxit.models.spade.config import PRESETS, Network
from pinxit.models.spade.fast import FastGenerator
from pinxit.models.spade.network import Generator
from pinxit.nn.norm import SpectralConv2d

COCO = PRESETS["coco"].network
SKY = 156
"""What strokes are painted in: sky-other of COCO-Stuff."""

Painters = tuple[Generator, dict[str, FastGenerator]]

TARGETS = {
    "real": {"fp32": 4.0, "bf16": 7.0, "fp32, style alone": 5.0},
    "painted": {"fp32": 5.0, "bf16": 9.0, "fp32, style alone": 5.0},
}


def spade_inference(setting: Setting) -> list[Row]:
    """SPADE, painting new maps, other styles of a map, and after a stroke; real maps and painted ones."""
    c = dataclasses.replace(COCO, width=setting.width)
    G = generator(c)
    fast = {"fp32": FastGenerator(G), "bf16": FastGenerator(G, torch.bfloat16)}
    rows = []
    count = min(setting.rounds, setting.most_maps)
    name, real = maps.real(setting.maps, setting.size, c.labels, setting.most_maps)
    painted = [maps.painted(seed, setting.size, c.labels) for seed in range(count)]
    for kind, case, shown in (("real", name, real), ("painted", "painted maps", painted)):
        found = measured("spade_inference", f"{case}, {setting.size} px", pairs(G, fast, shown), setting)
        for way, row in found.items():
            row.target = TARGETS[kind].get(way)
        rows += found.values()
    rows += spade_memory(setting)
    return rows


def pairs(G: Generator, fast: dict[str, FastGenerator], shown: list[Map]) -> Iterator[Pair]:
    """A stroke is painted on each map first, so that all ways paint the same: the map with the stroke."""
    for seed, map in enumerate(shown):
        after = maps.with_stroke(map, min(SKY, G.config.labels - 1), seed)
        ways: dict[str, Work] = {}
        for name, painter in fast.items():
            ways[name] = new_map(painter, after)
            ways[f"{name}, style alone"] = style_alone(painter, after)
            ways[f"{name}, stroke"] = stroke(painter, map, after)
        yield Pair(dense(G, after), ways)


def dense(G: Generator, map: Map) -> Work:
    def work() -> Tensor:
        with torch.inference_mode():
            return G(map.labels, map.instances)

    return work


def new_map(painter: FastGenerator, map: Map) -> Work:
    return lambda: painter(map.labels, map.instances)


def style_alone(painter: FastGenerator, map: Map) -> Work:
    canvas = painter.canvas(map.labels, map.instances)
    assert canvas is not None
    return lambda: painter.paint(canvas)


def stroke(painter: FastGenerator, before: Map, after: Map) -> Work:
    canvas = painter.canvas(before.labels, before.instances)
    assert canvas is not None

    def work() -> Tensor:
        edited = painter.edited(canvas, after.labels, after.instances)
        assert edited is not None
        return painter.paint(edited)

    return work


def spade_growth(setting: Setting) -> list[Row]:
    """SPADE, painting: the cost over size, batch, number of classes and complexity of the map, one at a time."""
    c = dataclasses.replace(COCO, width=setting.width)
    G = generator(c)
    fast = {"fp32": FastGenerator(G), "bf16": FastGenerator(G, torch.bfloat16)}
    small = min(setting.size, setting.most) // 2  # where size is not what grows
    name, shown = maps.real(setting.maps, setting.most, c.labels, 8)
    few = [map_of_size(map, small) for map in shown]
    rows = []

    def point(axis: str, at: float, case: str, painters: Painters, map: Map, rounds: int = 2) -> None:
        G, fast = painters
        pair = Pair(dense(G, map), {name: new_map(painter, map) for name, painter in fast.items()})
        found = measured("spade_growth", case, [pair] * rounds, setting, warm="fast")
        for row in found.values():
            row.axis, row.at = axis, at
        rows.extend(found.values())

    for side in (side for side in (64, 128, 256, 512, 1024) if side <= setting.most):
        map = map_of_size(shown[0], side)
        point("side of the picture", side, f"{name}, {side} px", (G, fast), map, 3 if side < 256 else 1)
    for n in (1, 2, 4, 8):
        batch = maps.batched((few * n)[:n])
        point("pictures in a batch", n, f"{n} of {name}, {small} px", (G, fast), batch)
    noise = small * small
    for n in [n for n in (1, 4, 16, 64, 256, 1024) if n < noise] + [noise]:
        case = f"{'noise' if n == noise else f'regions: {n}'}, {small} px"
        point("regions of the map", n, case, (G, fast), maps.regions(n, small, c.labels))
    for n in (8, 32, 128, 512):
        of_n = generator(Network(labels=n, instances=True, width=setting.width))
        painters = of_n, {"fp32": FastGenerator(of_n), "bf16": FastGenerator(of_n, torch.bfloat16)}
        point("classes", n, f"{n} classes, 64 regions, {small} px", painters, maps.regions(64, small, n))
    return rows


def map_of_size(map: Map, side: int) -> Map:
    step = map.labels.shape[1] // side
    return Map(map.labels[:, ::step, ::step], map.instances[:, ::step, ::step])


def spade_memory(setting: Setting) -> list[Row]:
    rows = []
    folder = None if setting.maps is None else str(setting.maps)
    for side in [setting.size] if setting.quick else [setting.size, 2 * setting.size]:
        calls = {
            way: ["benchmarks.spade", "one_picture", way, side, setting.width, folder]
            for way in ("dense", "fp32", "bf16")
        }
        rows += memory("spade_inference", f"peak memory, {side} px", calls, setting)
    return rows


def one_picture(way: str, side: int, width: int, folder: str | None) -> Work:
    """In a process of its own, for its memory."""
    from pathlib import Path

    G = generator(dataclasses.replace(COCO, width=width))
    map = maps.real(None if folder is None else Path(folder), side, COCO.labels, 1)[1][0]
    if way == "dense":
        return dense(G, map)
    return new_map(FastGenerator(G, torch.float32 if way == "fp32" else torch.bfloat16), map)


def generator(c: Network) -> Generator:
    """With random weights, and statistics and power iterations as of one that was trained."""
    torch.manual_seed(0)
    G = Generator(c)
    for module in G.modules():
        if isinstance(getattr(module, "running_mean", None), Tensor):
            module.running_mean.normal_(0, 0.3)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
            module.running_var.uniform_(0.5, 2)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        if isinstance(module, SpectralConv2d):
            for _ in range(3):
                module.normalized_weight()
    G.eval().requires_grad_(False)
    return G.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {
    "spade_inference": spade_inference,
    "spade_growth": spade_growth,
}
