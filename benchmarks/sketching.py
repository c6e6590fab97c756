"""`python -m benchmarks.sketching --base MODEL --photosketch MODEL --sketches FOLDER …`: what customising does.

A model of StyleGAN2 is customised by 1, 5 and 30 of the sketches (evenly chosen in natural order), on a small budget.
Before and after are measured on pictures of the same z, other z than the best iterate was chosen by:

- outlines: how far their contours are from the nearest of the sketches given, as a share of the side
  (`pinxit.models.sketching.score.line_distances`), and from the nearest of all sketches, those held back included;
- spread: the standard deviation over pictures of a pixel in [-1, 1], averaged over pixels and channels;
- colours: of what is not white, the mean over each picture; how far it is from that of the same z before, as a share
  of how far those of two z are apart: 0 is the very colour, 1 any. And mean and standard deviation of these means.

Sheets of both, their contours beside them, the figures as JSON and as a table go into --out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.sheet import columns, grid
from pinxit.data.sketches import find_sketches, preview, read_sketches
from pinxit.modelfile import read
from pinxit.models.photosketch.generate import load as load_photosketch
from pinxit.models.sketching.config import PRESETS, Data, Options
from pinxit.models.sketching.recipe import build
from pinxit.models.sketching.score import line_distances, measured
from pinxit.models.stylegan2.generate import load
from pinxit.training.config import Run
from pinxit.training.loop import train

SEEDS = 10_000
"""The seed of the first z: another than those of the scores."""


@torch.no_grad()
def pictures(path: Path, count: int, device: torch.device) -> Tensor:
    """[count, 3, size, size] in [-1, 1], on the CPU."""
    model = load(read(path), device)
    w = torch.stack([model.w(SEEDS + i) for i in range(count)])
    return torch.cat([model.G(some).clamp(-1, 1).cpu() for some in w.split(16)])


@torch.no_grad()
def contours(path: Path, x: Tensor, device: torch.device) -> Tensor:
    network = load_photosketch(read(path), device).network
    return torch.cat([network(some.to(device)).cpu() for some in x.split(16)])


def figures(x: Tensor, drawings: Tensor, given: Tensor, every: Tensor) -> dict[str, float | list[float]]:
    found = measured(x, drawings, given)
    return {
        "outlines": found.outlines.item(),
        "outlines_of_all": line_distances(drawings, every).amin(dim=1).mean().item(),
        "covered": found.covered.item(),
        "spread": found.spread.item(),
        "colour_mean": colours(x).mean(dim=0).tolist(),
        "colour_deviation": colours(x).std(dim=0).tolist(),
    }


def colours(x: Tensor) -> Tensor:
    """The mean colour [N, 3] of what is not white in each picture."""
    ink = (x.amin(dim=1, keepdim=True) < 0.6).float()
    return (x * ink).sum(dim=(2, 3)) / ink.sum(dim=(2, 3)).clamp_min(1)


def moved(before: Tensor, after: Tensor) -> float:
    """How far colours are from those of the same z, as a share of how far those of two z are apart."""
    a, b = colours(before), colours(after)
    return ((a - b).norm(dim=1).mean() / (a - a.roll(1, dims=0)).norm(dim=1).mean()).item()


def table(results: dict[str, dict]) -> str:
    lines = [
        "| sketches | steps (best) | minutes | outlines to those given | to all | spread | colours moved |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, r in results.items():
        a, b = r["before"], r["after"]
        lines.append(
            f"| {count} | {r['steps']} ({r['best']}) | {r['minutes']:.1f} | "
            f"{a['outlines']:.4f} → {b['outlines']:.4f} | "
            f"{a['outlines_of_all']:.4f} → {b['outlines_of_all']:.4f} | {a['spread']:.3f} → {b['spread']:.3f} | "
            f"{r['colours_moved']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sketching", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--base", type=Path, required=True, help="model of StyleGAN2")
    parser.add_argument("--photosketch", type=Path, required=True)
    parser.add_argument("--sketches", type=Path, nargs="+", required=True)
    parser.add_argument("--images", type=Path, help="what the base was trained on")
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 5, 30])
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--image", type=float, help="weight of the discriminator of pictures")
    parser.add_argument("--train", default="mapping")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--pictures", type=int, default=256, help="that are measured")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/sketching"))
    o = parser.parse_args()

    device = torch.device(o.device)
    size = read(o.base).config["size"]
    files = find_sketches(o.sketches)
    every = torch.stack([torch.from_numpy(s.lines) for s in read_sketches(files, (size, size))])
    before = pictures(o.base, o.pictures, device)
    drawn_before = contours(o.photosketch, before, device)
    changes = {"steps": o.steps, "train": o.train, "lr": o.lr, "image": o.image}
    training = dataclasses.replace(
        PRESETS[o.preset].training, **{name: value for name, value in changes.items() if value is not None}
    )
    results = {}
    for count in o.counts:
        chosen = [files[int(i)] for i in np.linspace(0, len(files) - 1, count).round()]
        out = o.out / f"{count}_sketches"
        options = Options(Data(base=o.base, photosketch=o.photosketch, sketches=tuple(chosen), data=o.images), training)
        begun = time.perf_counter()
        recipe = build(options, seed=0).to(device)
        train(recipe, Run(out, sample_every=training.score_every, log_every=50, tensorboard=False), device, {})
        minutes = (time.perf_counter() - begun) / 60
        after = pictures(out, o.pictures, device)
        drawn = contours(o.photosketch, after, device)
        given = read_sketches(chosen, (size, size))
        lines = torch.stack([torch.from_numpy(s.lines) for s in given])
        results[str(count)] = {
            "steps": training.steps,
            "best": int(recipe.best_step),
            "minutes": minutes,
            "colours_moved": moved(before, after),
            "before": figures(before, drawn_before, lines, every),
            "after": figures(after, drawn, lines, every),
        }
        preview(given).save(out / "sketches.png")
        rows = [columns(x[:12]).squeeze(1) for x in (before, drawn_before, after, drawn)]
        sheet = grid(torch.stack(rows))
        sheet.resize((2 * sheet.width, 2 * sheet.height), Image.Resampling.NEAREST).save(out / "before_after.png")
        (o.out / "sketching.json").write_text(
            json.dumps({"options": dataclasses.asdict(training), **results}, indent=2)
        )
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
