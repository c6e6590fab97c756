"""`python -m benchmarks.conditions --model MODEL --data FOLDER …`: whether each input of a PoE-GAN matters.

The model paints by a validation set. Of each input, alone and beside all others, it is measured how well the pictures
agree with it where it is given, where it is absent, and where another item's is given in its place: maps by the mIoU of
a segmenter, sketches by the distance of edges, texts by R-precision among 10 with the model's own matching networks,
styles by the distance of colours (`pinxit.evaluation.conditions`). And how far pictures of one and the same inputs are
apart, from seed to seed, for every subset of them. The photos themselves are measured too: no picture need be better.

The figures as JSON and as tables, and a sheet of all subsets for some items, go into --out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from rich.progress import Progress

from pinxit.apps.cli.paint_poegan import sheet
from pinxit.data.conditions import find_conditions
from pinxit.evaluation.conditions import Row, agreements, by_number, diversity, given_of, paintings
from pinxit.evaluation.segmentation import segmenter
from pinxit.modelfile import read
from pinxit.models.poegan.generate import load

T = TypeVar("T")


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| input | measure | | given | absent | another's | photos |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        better = "higher is better" if row.better == "higher" else "lower is better"
        beside = "beside the others" if row.beside else "alone"
        numbers = " | ".join(f"{x:.4f}" for x in (row.present, row.absent, row.shuffled, row.photos))
        lines.append(f"| {row.part}, {beside} | {row.measure} | {better} | {numbers} |")
    return "\n".join(lines)


def diversity_table(found: Mapping[tuple[str, ...], float]) -> str:
    lines = ["| given | diversity |", "|---|---|"]
    lines += [f"| {' + '.join(subset) or 'nothing'} | {value:.2f} |" for subset, value in found.items()]
    lines += ["", "| how many are given | mean diversity |", "|---|---|"]
    lines += [f"| {number} | {value:.2f} |" for number, value in enumerate(by_number(found))]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conditions", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model of poegan")
    parser.add_argument("--data", type=Path, required=True, help="what pinxit data conditions wrote")
    parser.add_argument("--split", default="val")
    parser.add_argument("--segmenter", type=Path, help="of the model's labels; without it maps are not measured")
    parser.add_argument("--items", type=int, help="so many, evenly chosen; all by default")
    parser.add_argument("--diverse", type=int, default=8, help="items that diversity is measured on; 0: none")
    parser.add_argument("--seeds", type=int, default=4, help="pictures of each of these")
    parser.add_argument("--sheets", type=int, default=3, help="items that a sheet is made of")
    parser.add_argument("--text-encoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("runs/conditions"))
    o = parser.parse_args()

    model = load(read(o.model), o.device, o.text_encoder)
    judge = None if o.segmenter is None else segmenter(o.segmenter, o.device)
    items = [
        item
        for item in find_conditions(o.data, o.split)
        if all(has or part not in model.inputs for part, has in zip(("map", "sketch", "text"), item.has, strict=True))
    ]
    given = given_of(model, evenly(items, o.items or len(items)))
    diverse, shown = evenly(given, o.diverse), evenly(given, o.sheets)

    begun = time.perf_counter()
    o.out.mkdir(parents=True, exist_ok=True)
    with Progress(transient=True) as progress:
        task = progress.add_task("painting", total=paintings(model, len(given), maps=judge is not None))
        rows = agreements(model, given, judge, seed=o.seed, progress=lambda: progress.advance(task))
        task = progress.add_task("diversity", total=len(diverse) * len(model.subsets))
        found = {}
        if diverse:
            found = diversity(model, diverse, count=o.seeds, seed=o.seed, progress=lambda: progress.advance(task))
    tables = table(rows) + ("\n\n" + diversity_table(found) if found else "")
    for number, item in enumerate(shown):
        text = item.captions[0] if "text" in model.inputs else None
        sheet(model, item.canvas, 4, o.seed, text).save(o.out / f"subsets_{number}.png")
    about = {
        "model": str(o.model),
        "card": dict(model.card),
        "data": f"{o.data}, {o.split}",
        "items": len(given),
        "seed": o.seed,
        "segmenter": None if judge is None else {"name": judge.name, "sha256": judge.digest},
        "seconds": time.perf_counter() - begun,
        "rows": [asdict(row) for row in rows],
        "diversity": {
            "items": len(diverse),
            "seeds": o.seeds,
            "subsets": {" + ".join(subset) or "nothing": value for subset, value in found.items()},
        },
    }
    (o.out / "conditions.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    (o.out / "conditions.md").write_text(tables + "\n", encoding="utf-8")
    print(f"{len(given)} items, {time.perf_counter() - begun:.0f} s\n\n{tables}")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """So many of them, evenly chosen; all where there are not so many."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


if __name__ == "__main__":
    main()
