"""What each metric sees and what it misses: real pictures, spoilt more and more in five ways, against themselves.

    python benchmarks/metrics.py PHOTOS --out runs/metrics
    python benchmarks/metrics.py PHOTOS --inception FILE --lpips-weights FILE --lpips-heads FILE

Writes metrics.json and metrics.png. Without `--inception` and `--lpips-weights` those networks have random weights, and
all that is said of their metrics is marked so: it shows that the computation runs and which way it points, not what the
metric sees.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from torch import nn

from pinxit.data.images import read_photo
from pinxit.evaluation import distribution
from pinxit.evaluation.coherence import patch_similarity
from pinxit.evaluation.features import Features, features, prepared
from pinxit.evaluation.inception import Inception, Layer, load_inception
from pinxit.evaluation.lpips import LPIPS, load_lpips, lpips
from pinxit.evaluation.pictures import Pictures, pictures
from pinxit.evaluation.results import Score, finite, number, versions
from pinxit.evaluation.sifid import Stem, sifid
from pinxit.evaluation.similarity import psnr, ssim
from pinxit.evaluation.sliced import sliced_wasserstein
from pinxit.official import fill, read_state

Photos = Sequence[Image.Image]


def blurred(photos: Photos, sigma: float, seed: int) -> Photos:
    return [photo.filter(ImageFilter.GaussianBlur(sigma)) for photo in photos]


def noisy(photos: Photos, deviation: float, seed: int) -> Photos:
    dice, found = np.random.default_rng(seed), []
    for photo in photos:
        pixels = np.asarray(photo) + deviation * dice.standard_normal(np.asarray(photo).shape)
        found.append(Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)))
    return found


def compressed(photos: Photos, quality: float, seed: int) -> Photos:
    found = []
    for photo in photos:
        file = io.BytesIO()
        photo.save(file, "JPEG", quality=int(quality))
        found.append(Image.open(file).convert("RGB"))
    return found


def dropped(photos: Photos, distinct: float, seed: int) -> Photos:
    """As many pictures, of which only some are distinct: the share of `distinct`, and at least one."""
    order = random.Random(seed).sample(range(len(photos)), len(photos))
    kept = order[: max(1, round(distinct * len(photos)))]
    place = {i: i if i in kept else kept[turn % len(kept)] for turn, i in enumerate(order)}
    return [photos[place[i]] for i in range(len(photos))]


def shuffled(photos: Photos, share: float, seed: int) -> Photos:
    """The same pictures under other names: what was painted from one map is taken for what was painted from another."""
    moved = random.Random(seed).sample(range(len(photos)), round(share * len(photos)))
    found = list(photos)
    for i, j in zip(moved, moved[1:] + moved[:1], strict=True):
        found[i] = photos[j]
    return found


class Fault(NamedTuple):
    """A way to spoil pictures, and the strengths that are tried, weak to strong."""

    spoil: Callable[[Photos, float, int], Photos]
    strengths: tuple[float, ...]
    unit: str


FAULTS = {
    "blur": Fault(blurred, (0.5, 1, 2, 4), "deviation in pixels"),
    "noise": Fault(noisy, (5, 10, 20, 40), "deviation, of 255"),
    "JPEG": Fault(compressed, (80, 40, 20, 8), "quality"),
    "mode dropping": Fault(dropped, (0.5, 0.25, 0.1, 0.02), "share distinct"),
    "shuffled pairs": Fault(shuffled, (0.25, 0.5, 0.75, 1), "share moved"),
}


class Networks(NamedTuple):
    inception: Inception
    lpips: LPIPS
    layer: Layer = "2048"
    """Of FID and its kin; a shallow one is for tests."""


def measure(generated: Pictures, real: Pictures, theirs: Features, of: Networks, queries: int = 256) -> list[Score]:
    """All metrics of two sets; `theirs`: the features of the real ones."""
    ours = features(generated, of.inception, layer=of.layer)
    size = generated.one_size()
    # Patches are searched for at half the size, for a quarter of a quarter of the time.
    half = (Pictures(one.files, one.name, size=(size[0] // 2, size[1] // 2)) for one in (generated, real))
    scores = [ssim(generated, real), psnr(generated, real), lpips(generated, real, of.lpips)]
    scores += [*sifid(generated, real, Stem(of.inception)), sliced_wasserstein(generated, real)]
    scores += patch_similarity(*half, queries=queries)
    scores += [distribution.fid(ours, theirs), distribution.kid(ours, theirs, subsets=1, size=len(generated))]
    if of.layer == "2048":
        scores.append(distribution.inception_score(ours, of.inception, splits=1))
    return [*scores, *distribution.precision_recall(ours, theirs)]


def study(photos: Photos, of: Networks, folder: Path, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Metric -> fault -> values, that of the unspoilt pictures first. Pictures are written into `folder`."""
    real = saved(folder / "real", photos)
    theirs = features(real, of.inception, layer=of.layer)
    plain = {score.name: score for score in measure(saved(folder / "unspoilt", photos), real, theirs, of)}
    found = {
        name: {"better": score.better, "protocol": score.protocol, "values": {fault: [score.value] for fault in FAULTS}}
        for name, score in plain.items()
    }
    for fault, (spoil, strengths, _) in FAULTS.items():
        for i, strength in enumerate(strengths):
            begun = time.perf_counter()
            for score in measure(saved(folder / f"{fault} {i}", spoil(photos, strength, 0)), real, theirs, of):
                found[score.name]["values"][fault].append(score.value)
            told(f"{fault} {strength:g}: {time.perf_counter() - begun:.0f} s")
    for metric in found.values():
        spans = {fault: span(values) for fault, values in metric["values"].items()}
        metric["verdicts"] = {
            fault: verdict(values, metric["better"], statistics.median(spans.values()))
            for fault, values in metric["values"].items()
        }
    return found


def saved(folder: Path, photos: Photos) -> Pictures:
    folder.mkdir(parents=True)
    for i, photo in enumerate(photos):
        photo.save(folder / f"{i:04}.png", compress_level=1)
    return pictures(folder, name=f"{folder.name} pictures")


def span(values: Sequence[float]) -> float:
    """How far finite values lie apart."""
    some = [value for value in values if math.isfinite(value)]
    return max(some) - min(some) if some else 0.0


BLIND = 0.05
"""Of the median of the changes that the faults make to a metric: what changes less counts as not seen."""


def verdict(values: Sequence[float], better: str, usual: float) -> str:
    """`sees` (worse with each step), `unsteady` (worse at the end, but not with each step), `blind`, `rewards`.

    `usual`: the median change that the faults make.
    """
    if span(values) <= max(BLIND * usual, 1e-9) and all(map(math.isfinite, values)):
        return "blind"
    sign = 1 if better == "lower" else -1
    worse = [sign * value for value in values]
    slack = 0.005 * usual
    if all(b >= a - slack for a, b in pairwise(worse)) and worse[-1] > worse[0]:
        return "sees"
    return "unsteady" if worse[-1] > worse[0] + slack else "rewards"


CELL, LEFT, TOP, GAP = (148, 78), 150, 108, 10
COLORS = {"sees": (0, 105, 180), "unsteady": (210, 120, 0), "blind": (120, 120, 120), "rewards": (190, 0, 40)}


def plot(found: dict[str, Any], untrained: Sequence[str], title: str) -> Image.Image:
    """A row for each metric, a column for each fault; one scale along a row, up is worse."""
    size = (LEFT + len(FAULTS) * (CELL[0] + GAP), TOP + len(found) * (CELL[1] + GAP) + GAP)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    large, small, tiny = (ImageFont.load_default(points) for points in (15, 12, 10))
    draw.text((GAP, 8), title, fill="black", font=large)
    draw.text(
        (GAP, 30),
        "Up is worse; one scale along a row. Yellow: RANDOM network weights, which show the pipeline, not the metric.",
        fill="black",
        font=small,
    )
    x = GAP
    for name, meaning in (
        ("sees", "sees: worse with each step"),
        ("unsteady", "sees, not with each step"),
        ("blind", f"blind: < {BLIND:.0%} of the row's median change"),
        ("rewards", "rewards: ends better than it began"),
    ):
        draw.line((x, 56, x + 16, 56), fill=COLORS[name], width=3)
        draw.text((x + 21, 49), meaning, fill=COLORS[name], font=small)
        x += 31 + int(draw.textlength(meaning, font=small))
    for column, (fault, (_, strengths, unit)) in enumerate(FAULTS.items()):
        left = LEFT + column * (CELL[0] + GAP)
        draw.text((left, 72), fault, fill="black", font=large)
        draw.text((left, 91), f"{', '.join(f'{s:g}' for s in strengths)}: {unit}", fill="black", font=tiny)
    for row, (name, metric) in enumerate(found.items()):
        top = TOP + row * (CELL[1] + GAP)
        if name in untrained:
            draw.rectangle((0, top - GAP // 2, size[0], top + CELL[1] + GAP // 2 - 1), fill=(255, 246, 205))
        draw.text((GAP, top + 22), name, fill="black", font=large)
        if name in untrained:
            draw.text((GAP, top + 42), "random weights", fill=(150, 90, 0), font=tiny)
        sign = 1 if metric["better"] == "lower" else -1
        every = [sign * v for values in metric["values"].values() for v in values if math.isfinite(v)]
        low, high = min(every), max(every)
        if len(every) < sum(map(len, metric["values"].values())):
            low -= 0.15 * (high - low)  # room for what is infinitely good
        for column, (fault, values) in enumerate(metric["values"].items()):
            left = LEFT + column * (CELL[0] + GAP)
            cell(draw, (left, top), [sign * v for v in values], (low, high), COLORS[metric["verdicts"][fault]])
            draw.text((left + 4, top + 2), number(round(values[0], 9) + 0.0), fill=(90, 90, 90), font=tiny)
            draw.text(
                (left + CELL[0] - 3, top + 2),
                number(round(values[-1], 9) + 0.0),
                fill=(90, 90, 90),
                font=tiny,
                anchor="ra",
            )
    return picture


def cell(
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    values: Sequence[float],
    scale: tuple[float, float],
    color: tuple[int, int, int],
) -> None:
    left, top = corner
    draw.rectangle((left, top, left + CELL[0], top + CELL[1]), fill="white", outline=(190, 190, 190))
    low, high = scale
    points = []
    for i, value in enumerate(values):
        part = 0.0 if not math.isfinite(value) else (value - low) / max(high - low, 1e-12)
        points.append((left + 10 + i * (CELL[0] - 20) / (len(values) - 1), top + CELL[1] - 8 - part * (CELL[1] - 26)))
    draw.line(points, fill=color, width=2)
    for x, y in points:
        draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=color)


def random_networks(photos: Photos, layer: Layer = "2048") -> Networks:
    """Networks that no one has trained, the same every time. Weights keep the scale of what passes through (He et al.
    2015), and batch norm has the statistics of photos, half of them noisy: as they come, deep features would all but
    vanish, and with those of clean photos alone they would explode at the first noise."""
    torch.manual_seed(0)
    inception, distance = Inception(), LPIPS("alex")
    for module in [*inception.modules(), *distance.features.modules()]:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for head in distance.heads.parameters():
        nn.init.constant_(head, 1 / head.shape[1])
    norms = [module for module in inception.modules() if hasattr(module, "running_mean")]
    for norm in norms:
        norm.momentum = 1.0  # pyright: ignore[reportAttributeAccessIssue,reportArgumentType]
        norm.train()
    tensors = [
        torch.from_numpy(np.array(photo).transpose(2, 0, 1)) for photo in (*photos[:4], *noisy(photos[4:8], 20, 0))
    ]
    with torch.no_grad():
        inception(torch.stack([prepared(x, "pytorch-fid") for x in tensors]), layer)
    inception.eval()
    return Networks(inception, distance, layer)


def read(folder: Path, most: int, size: tuple[int, int]) -> Photos:
    """Up to `most` photos, evenly from all in the folder, cut to the proportions of `size` (width, height)."""
    files = pictures(folder, name="photos").files
    chosen = [files[i * len(files) // min(most, len(files))] for i in range(min(most, len(files)))]
    return [ImageOps.fit(read_photo(file), size, Image.Resampling.LANCZOS) for file in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--most", type=int, default=100, help="how many photos")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 192), metavar=("W", "H"))
    parser.add_argument("--inception", type=Path, help="pt_inception-2015-12-05-6726825d.pth")
    parser.add_argument("--lpips-weights", type=Path, help="alexnet-owt-7be5be79.pth")
    parser.add_argument("--lpips-heads", type=Path, help="alex.pth of version 0.1; may go with a random backbone")
    parser.add_argument("--out", type=Path, default=Path("runs/metrics"))
    o = parser.parse_args()

    photos = read(o.photos, o.most, tuple(o.size))
    networks = random_networks(photos)
    untrained = []
    if o.inception:
        networks = networks._replace(inception=load_inception(o.inception))
    else:
        untrained += ["SIFID (64)", "SIFID (192)", "FID", "KID", "Inception Score", "Precision", "Recall"]
    if o.lpips_weights and o.lpips_heads:
        networks = networks._replace(lpips=load_lpips("alex", o.lpips_weights, o.lpips_heads))
    else:
        untrained.append("LPIPS")
        if o.lpips_heads:
            heads = networks.lpips.heads
            names = {f"{i}.weight": f"lin{i}.model.1.weight" for i in range(len(heads))}
            fill(heads, read_state(o.lpips_heads), names, f"heads '{o.lpips_heads}'", "the heads of LPIPS 'alex'")
    with tempfile.TemporaryDirectory() as folder:
        found = study(photos, networks, Path(folder), lambda line: print(line, flush=True))
    o.out.mkdir(parents=True, exist_ok=True)
    about = {"photos": len(photos), "size": list(o.size), "folder": o.photos.name, "random_weights": untrained}
    faults = {name: {"strengths": fault.strengths, "unit": fault.unit} for name, fault in FAULTS.items()}
    written = finite({**about, "versions": versions(), "faults": faults, "metrics": found})
    (o.out / "metrics.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    title = f"What metrics see: {len(photos)} photos of {o.size[0]}x{o.size[1]}, spoilt, against themselves"
    plot(found, untrained, title).save(o.out / "metrics.png", optimize=True)
    print(table(found))


def table(found: dict[str, Any]) -> str:
    """Verdicts in Markdown."""
    lines = ["| metric | " + " | ".join(FAULTS) + " |", "|---" * (len(FAULTS) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(metric["verdicts"].values()) + " |" for name, metric in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
