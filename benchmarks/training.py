"""A training step: as the networks are written, against what the training loop makes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import maps
from benchmarks.measure import Done, Row, Setting, difference, stepping
from benchmarks.translators import LABELS, picture, singan_sizes
from pinxit.apps.memory import keep_freed_memory
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
from pinxit.nn.twice import BatchNorm2d
from pinxit.recipe import Recipe

STEPS = 1 << 20
"""So many that no rate has begun to fall."""
SPADE_BATCH = 2
WAYS = ("plain", "fp32", "bf16")

Step = Callable[[int], dict[str, Tensor]]
"""Performs step i, and gives its losses."""


def spade_training(setting: Setting) -> list[Row]:
    """SPADE, a training step: dense, against equal windows computed once."""
    folder = None if setting.maps is None else str(setting.maps)
    size = size_of(setting)
    case = f"a step, {SPADE_BATCH} pictures of {size} px"
    times, peaks = steps_measured("spade_training", case, ["SPADE", setting.width, size, folder], setting)
    times[0].target = 2.0
    return times + peaks


def other_training(setting: Setting) -> list[Row]:
    """The other methods, a training step: PyTorch's own layers, NCHW and Adam, against the training loop's."""
    rows, held, size = [], [], size_of(setting)
    for name in OTHERS:
        case = f"{name}, a step, {size} px"
        times, peaks = steps_measured("other_training", case, [name, setting.width, size], setting)
        for row in times:
            row.target = {"fp32": 1.5, "bf16": 2.5}[row.way]
        rows += times
        held += peaks
    return rows + held


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


def step_of(way: str, name: str, width: int, size: int, folder: str | None = None) -> Step:
    """For a process of its own: fast ways hold its memory as `pinxit train` does, the plain one as PyTorch comes."""
    if way != "plain":
        keep_freed_memory()
    return of_spade(way, width, size, folder) if name == "SPADE" else of_other(name, way, width, size)


def steps_measured(benchmark: str, case: str, arguments: list[Any], setting: Setting) -> tuple[list[Row], list[Row]]:
    """Each way in a process of its own, as a training is, in turn: plain, fp32, bf16, plain, ... -> times, and peaks of
    memory. `arguments` are those of `step_of` from the name on.

    Losses are compared at the first step, which is not measured: from there on the weights differ too.
    """
    with ExitStack() as processes:
        steps: dict[str, Callable[[int], Done]] = {}
        losses: dict[str, Tensor] = {}
        for way in WAYS:
            call = ["benchmarks.training", "step_of", way, *arguments]
            steps[way] = processes.enter_context(stepping(call, setting))
            losses[way] = torch.tensor(list(steps[way](0).losses.values()))
        done = {way: [step(1)] for way, step in steps.items()}
        rounds = 4 if done["plain"][0].seconds < 2 else min(setting.rounds, 2)  # of up to a minute each
        for i in range(2, rounds + 1):
            for way, step in steps.items():
                done[way].append(step(i))
    seconds = {way: [step.seconds for step in found] for way, found in done.items()}
    held = {way: [found[-1].peak] for way, found in done.items()}
    times, peaks = [], []
    for way in WAYS[1:]:
        largest, mean = difference(losses["plain"], losses[way])
        times.append(Row(benchmark, case, way, seconds["plain"], seconds[way], largest=largest, mean=mean))
        peaks.append(Row(benchmark, f"{case}: peak memory", way, held["plain"], held[way], "GiB"))
    return times, peaks


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
            (BatchNorm2d, nn.BatchNorm2d),
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


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {
    "spade_training": spade_training,
    "other_training": other_training,
}
