"""Whether reading pictures keeps a training step waiting."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks import maps
from benchmarks.measure import Pair, Row, Setting, measured
from pinxit.data.augment import Preprocess
from pinxit.data.folders import pair
from pinxit.data.labels import numbered
from pinxit.data.stream import LabelPhotos, LabelPhotoStream
from pinxit.models.spade.config import PRESETS
from pinxit.models.spade.recipe import SpadeRecipe

LABELS, FILES, SIDE = 12, 12, 640
WORKERS = 2


def loader(setting: Setting) -> list[Row]:
    """How long a training step waits for its pictures, with workers and without."""
    # By the wall clock always: who waits does not work.
    setting = dataclasses.replace(setting, cpu_time=False)
    preset = PRESETS["cpu"]
    c = dataclasses.replace(preset.network, labels=LABELS)
    recipe = SpadeRecipe(c, preset.training, numbered(LABELS))
    recipe.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - not in its types
    waits: dict[int, list[float]] = {0: [], WORKERS: []}
    with tempfile.TemporaryDirectory() as folder:
        streams = {workers: batches(Path(folder), workers, c.size, preset.training.batch) for workers in waits}

        def step(workers: int) -> Callable[[], object]:
            def work() -> object:
                begun = time.perf_counter()
                batch = next(streams[workers])
                waits[workers].append(time.perf_counter() - begun)
                return recipe.step(batch, 0)

            return work

        way = f"{WORKERS} workers"
        pairs = [Pair(step(0), {way: step(WORKERS)})] * (1 if setting.quick else setting.rounds)
        size = "x".join(map(str, c.size))
        case = f"SPADE, preset cpu: a step, {preset.training.batch} pictures of {size} px"
        row = measured("loader", case, pairs, setting, compare=False)[way]
        streams.clear()  # the workers end before their folder does
    shares = [
        statistics.median(w / whole for w, whole in zip(waits[workers][1:], seconds, strict=True))
        for workers, seconds in ((0, row.plain), (WORKERS, row.fast))
    ]
    row.note = f"waits for pictures: {shares[1]:.1%} of a step ({shares[0]:.1%} without workers)"
    return [row]


def batches(folder: Path, workers: int, size: tuple[int, int], batch: int) -> Iterator[LabelPhotos]:
    """Of files written here, nothing of which is kept in memory: as of a data set that does not fit."""
    for part in ("map", "photo"):
        (folder / part).mkdir(exist_ok=True)
    for i in range(FILES):
        map = maps.regions(60, SIDE, LABELS, i).labels[0].numpy()
        Image.fromarray(map.astype(np.uint8)).save(folder / "map" / f"{i}.png")
        photo = np.random.default_rng(i).integers(0, 256, (SIDE // 8, SIDE // 8, 3), np.uint8)
        Image.fromarray(photo).resize((SIDE, SIDE)).save(folder / "photo" / f"{i}.jpg", quality=90)
    items = pair(folder / "map", folder / "photo", None)
    preprocess = Preprocess("fixed", SIDE, size, True)
    stream = LabelPhotoStream(items, numbered(LABELS), preprocess, batch, 0, workers=workers, cache_bytes=0)
    return stream.batches(0)


BENCHMARKS: dict[str, Callable[[Setting], list[Row]]] = {"loader": loader}
