"""What makes `fast` fast, an idea at a time: each row has all ideas of the rows above it and one more.

    python benchmarks/singan_ideas.py PHOTO ... --size 96 --steps 100 --out ideas.jsonl
    python benchmarks/singan_ideas.py PHOTO ... --size 250 --iteration

Each training is a process of its own with one thread; its time is what the processor worked for it, so that other
work may go on beside it. Time and memory are ratios to the first row of the same photo; the table has
the means over the photos. With --iteration nothing is trained: what one iteration at the finest scale takes, of photos
on which a whole training as the paper's would take days.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from pinxit.data.images import to_tensor
from pinxit.evaluation.patches import rmse, scores
from pinxit.models.singan.config import Data, Network, Options, Training
from pinxit.models.singan.generate import load
from pinxit.models.singan.recipe import build

SAMPLES = 8

# Windows of 48 pixels, as in the preset, would not come to bear on photos this small.
IDEAS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as the paper", {}),
    ("one update of each network, not three", {"d_steps": 1, "g_steps": 1}),
    ("gradient penalty at every 4th", {"penalty_every": 4}),
    ("inputs from a pool of 32", {"pool": 32}),
    ("bf16", {"bf16": True}),
    ("64 channels at most", {"max_width": 64}),
    ("4 windows of 32 px; settled batch norm", {"crop": 32, "crops": 4}),
    ("4 times the steps where they are cheap", {"coarse_steps": 4}),
)


def options(ideas: int, photo: Path, size: int, steps: int) -> Options:
    """The first `ideas` rows together, on `photo`."""
    chosen: dict[str, Any] = {}
    for _, change in IDEAS[:ideas]:
        chosen |= change
    width = chosen.pop("max_width", 128)
    if "coarse_steps" in chosen:
        chosen["coarse_steps"] *= steps
    training = Training(steps=steps, decay_from=steps * 8 // 10, **chosen)
    return Options(Data(photo), Network(max_size=size, max_width=width), training)


def measured(o: Options) -> dict[str, float]:
    """One training, and what its samples are worth. Seconds of one core, and peak bytes above those before it."""
    torch.set_num_threads(1)
    recipe = build(o, seed=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    for stage in recipe.stages():
        recipe.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - untyped
        for i, batch in zip(range(stage.steps), stage.batches(0), strict=False):
            with torch.autocast("cpu", torch.bfloat16, enabled=o.training.bf16):
                stage.step(batch, i)
    seconds = time.process_time() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    model = load(recipe.model_file())
    samples = torch.stack([to_tensor(picture) for picture in model.sample(SAMPLES)])
    photo = model.photo[0]
    worth = {**scores(samples, photo), "reconstruction": rmse(to_tensor(model.reconstruct()), photo)}
    return {"time": seconds, "memory": memory, **worth}


def iteration(o: Options) -> dict[str, float]:
    """One iteration at the finest scale, of new networks: seconds of one core, and peak bytes above those before it."""
    torch.set_num_threads(1)
    recipe = build(o, seed=0)
    *_, stage = recipe.stages()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recipe.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - untyped
    batches, times = stage.batches(0), []
    with torch.autocast("cpu", torch.bfloat16, enabled=o.training.bf16):
        recipe.prepare()
        for i in range(1 + o.training.penalty_every):
            begun = time.process_time()
            stage.step(next(batches), i)
            times.append(time.process_time() - begun)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"time": sum(times[1:]) / (len(times) - 1), "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("ideas.jsonl"))
    parser.add_argument("--iteration", action="store_true", help="one iteration at the finest scale, no training")
    parser.add_argument("--one", type=int, help="measure this row alone and print it; used by the others")
    o = parser.parse_args()
    if o.one is not None:
        measure = iteration if o.iteration else measured
        print(json.dumps(measure(options(o.one, o.photos[0], o.size, o.steps))))
        return
    rows: dict[str, list[dict[str, float]]] = {name: [] for name, _ in IDEAS}
    for photo in o.photos:
        for ideas, (name, _) in enumerate(IDEAS, 1):
            command = [__file__, str(photo), "--size", str(o.size), "--steps", str(o.steps), "--one", str(ideas)]
            command += ["--iteration"] * o.iteration
            told = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True).stdout
            rows[name].append(json.loads(told))
            with o.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"photo": photo.name, "ideas": name, **rows[name][-1]}) + "\n")
    print(table(rows))


def table(rows: dict[str, list[dict[str, float]]]) -> str:
    """Means over the photos; time and memory as ratios to the first row."""
    first = next(iter(rows.values()))
    names = list(first[0])
    lines = ["| idea | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for idea, found in rows.items():
        values = []
        for name in names:
            of = [
                r[name] / f[name] if name in ("time", "memory") else r[name] for r, f in zip(found, first, strict=True)
            ]
            values.append(f"{sum(of) / len(of):.3g}")
        lines.append(f"| {idea} | " + " | ".join(values) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
