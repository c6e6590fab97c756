"""A training step: as the networks are written, against what the training loop makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import maps
from benchmarks.measure import Pair, Row, Setting, Work, difference, measured, memory
from benchmarks.translators import LABELS, picture, singan_sizes
from pinxit.data.kinds import Kind
from pinxit.data.labels import numbered
from pinxit.data.pairs import Pair as Pictures
from pinxit.data.stream import LabelPhotos
from pinxit.models.cyclegan import config as cyclegan
from pinxit.models.cyclegan.recipe import CycleGANRecipe
from pinxit.models.pix2pix import config as pix2pix
from pinxit.models.pix2pix.recipe import Pix2PixRecipe
from pinxit.models.pix2pixhd import config as pix2pixhd
from pinxit.models.pix2pixhd.recipe import Pix2PixHDRecipe
from pinxit.models.singan import config as singan
from pinxit.models.singan.pyramid import plan
from pinxit.models.singan.recipe import SinGANRecipe
from pinxit.models.spade import config as spade
from pinxit.models.spade.recipe import SpadeRecipe
from pinxit.nn.quick import QuickConv2d, QuickConvTranspose2d
from pinxit.nn.slim import ReflectionPad2d, SlimConv2d
from pinxit.recipe import Recipe

STEPS = 1 << 20
"""So many that no rate has begun to fall."""
SPADE_BATCH = 2

Step = Callable[[int], dict[str, Tensor]]
"""Performs step i, and gives its losses."""


def spade_training(setting: Setting) -> list[Row]:
    """SPADE, a training step: dense, against equal windows computed once."""
    folder = None if setting.maps is None else str(setting.maps)
    size = size_of(setting)
    arguments = [setting.width, size, folder]
    steps = {way: of_spade(way, *arguments) for way in ("plain", "fp32", "bf16")}
    case = f"a step, {SPADE_BATCH} pictures of {size} px"
    rows = steps_measured("spade_training", case, steps, setting)
    rows[0].target = 2.0
    calls = {way: ["benchmarks.training", "one_spade_step", way, *arguments] for way in steps}
    return rows + memory("spade_training", f"{case}: peak memory", calls, setting)


def other_training(setting: Setting) -> list[Row]:
    """The other methods, a training step: PyTorch's own layers, NCHW and Adam, against the training loop's."""
    rows, size = [], size_of(setting)
    for name in OTHERS:
        steps = {way: of_other(name, way, setting.width, size) for way in ("plain", "fp32", "bf16")}
        found = steps_measured("other_training", f"{name}, a step, {size} px", steps, setting)
        for row in found:
            row.target = {"fp32": 1.5, "bf16": 2.5}[row.way]
        rows += found
    for name in () if setting.quick else OTHERS:
        calls = {
            way: ["benchmarks.training", "one_step", name, way, setting.width, size]
            for way in ("plain", "fp32", "bf16")
        }
        rows += memory("other_training", f"{name}, a step: peak memory", calls, setting)
    return rows


def size_of(setting: Setting) -> int:
    return setting.size // 2 if setting.quick else setting.size


def of_spade(way: str, width: int, size: int, folder: str | None) -> Step:
    c = dataclasses.replace(spade.PRESETS["coco"].network, width=width, size=(size, size))
    t = spade.Training(steps=STEPS, batch=SPADE_BATCH, perceptual=0, d_width=width)
    torch.manual_seed(0)
    recipe = SpadeRecipe(c, t, numbered(c.labels), share=way != "plain")
    shown = maps.real(None if folder is None else Path(folder), size, c.labels, SPADE_BATCH)[1]
    batch = maps.batched((shown * SPADE_BATCH)[:SPADE_BATCH])
    photos = torch.cat([picture(size, size) for _ in range(SPADE_BATCH)])
    # Dense steps are channels last too: so it has been since there is a training loop.
    return performing(recipe, LabelPhotos(batch.labels, photos, batch.instances), way, last=True)


def one_spade_step(way: str, width: int, size: int, folder: str | None) -> Work:
    """As `one_step`."""
    step = of_spade(way, width, size, folder)
    step(0)
    return lambda: step(1)


def steps_measured(benchmark: str, case: str, steps: dict[str, Step], setting: Setting) -> list[Row]:
    """`steps` has "plain" and the fast ways. Losses are compared at the first step, which is not measured: from there
    on the weights differ too."""
    losses = {way: torch.stack(list(step(0).values())) for way, step in steps.items()}
    rounds = min(setting.rounds, 2)  # of seconds to a minute each

    def work(way: str, i: int) -> Work:
        return lambda: steps[way](i)

    fast = [way for way in steps if way != "plain"]
    pairs = [Pair(work("plain", i), {way: work(way, i) for way in fast}) for i in range(1, rounds + 1)]
    found = measured(benchmark, case, pairs, setting, warm="nothing", compare=False)
    for way, row in found.items():
        row.largest, row.mean = difference(losses["plain"], losses[way])
    return list(found.values())


def of_pix2pix(width: int, size: int) -> tuple[Recipe, object]:
    depth = min(8, size.bit_length() - 1)
    c = pix2pix.Network(depth=depth, width=width, size=(size, size), dropout=False, input=Kind(), output=Kind())
    recipe = Pix2PixRecipe(c, pix2pix.Training(steps=STEPS, d_width=width))
    return recipe, Pictures(picture(size, size), picture(size, size))


def of_cyclegan(width: int, size: int) -> tuple[Recipe, object]:
    c = cyclegan.Network(width=width, size=(size, size), a=Kind(), b=Kind())
    recipe = CycleGANRecipe(c, cyclegan.Training(steps=STEPS, decay_from=-1, d_width=width))
    return recipe, Pictures(picture(size, size), picture(size, size))


def of_pix2pixhd(width: int, size: int) -> tuple[Recipe, object]:
    c = pix2pixhd.Network(labels=LABELS, instances=True, width=width, size=(size, size))
    t = pix2pixhd.Training(steps=STEPS, perceptual=0, d_width=width)
    map = maps.regions(64, size, LABELS)
    return Pix2PixHDRecipe(c, t), LabelPhotos(map.labels, picture(size, size), map.instances)


def of_singan(width: int, size: int) -> tuple[Recipe, object]:
    """At the finest scale, all of the picture at once, one update of each network."""
    width, size = singan_sizes(width, size)
    c = singan.Network(max_size=size, width=width, min_width=width, max_width=4 * width)
    t = singan.Training(steps=STEPS, decay_from=STEPS, d_steps=1, g_steps=1, pool=2)
    recipe = SinGANRecipe(c, t, plan(size, size, c), picture(size, size))
    *_, _ = recipe.stages()
    return recipe, next(recipe.batches(0))


OTHERS: dict[str, Callable[[int, int], tuple[Recipe, object]]] = {
    "pix2pix": of_pix2pix,
    "CycleGAN": of_cyclegan,
    "pix2pixHD": of_pix2pixhd,
    "SinGAN": of_singan,
}


def of_other(name: str, way: str, width: int, size: int) -> Step:
    torch.manual_seed(0)
    recipe, batch = OTHERS[name](width, size)
    if way == "plain":
        straighten(recipe)
    return performing(recipe, batch, way, last=way != "plain")


def straighten(recipe: Recipe) -> None:
    """PyTorch's own layers and Adam, where the recipe has quicker ones; the numbers that they hold stay."""
    for module in recipe.modules():
        for quick, own in (
            (SlimConv2d, nn.Conv2d),
            (QuickConv2d, nn.Conv2d),
            (QuickConvTranspose2d, nn.ConvTranspose2d),
            (ReflectionPad2d, nn.ReflectionPad2d),
        ):
            if type(module) is quick:
                module.__class__ = own  # pyright: ignore[reportAttributeAccessIssue] - only forward differs
    for name, optimizer in recipe.optimizers.items():
        recipe.optimizers[name] = torch.optim.Adam(optimizer.param_groups)


def performing(recipe: Recipe, batch: object, way: str, *, last: bool) -> Step:
    """`last`: whether channels are."""
    if last:
        recipe.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    recipe.train()
    perform: Callable[[object, int], dict[str, Tensor]] = getattr(recipe, "step")  # noqa: B009 - each recipe's own

    def step(i: int) -> dict[str, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=way == "bf16"):
            return perform(batch, i)

    return step


def one_step(name: str, way: str, width: int, size: int) -> Work:
    """In a process of its own, for its memory: the second, as the first makes what optimizers keep."""
    step = of_other(name, way, width, size)
    step(0)
    return lambda: step(1)


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {
    "spade_training": spade_training,
    "other_training": other_training,
}
