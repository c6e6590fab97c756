"""Scores, and the file they are kept in: a number is worth nothing without the protocol that it was measured by."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pinxit.errors import expected
from pinxit.modelfile import replacing

FORMAT = "evaluation 1"
NAME = "results"


@dataclass(frozen=True)
class Score:
    """One number that a metric gave."""

    name: str
    """As papers have it: "FID", "LPIPS", "mIoU"."""
    value: float
    better: Literal["higher", "lower"]
    protocol: str
    """One sentence with all that moves the number: network, resize, layer, splits, how many pictures of what size."""
    spread: float | None = None
    """One standard deviation over splits, subsets or pictures, where the metric has them."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values. `weights`: name of a network -> SHA-256 of its weights; the rest is the metric's own (values by
    class, by level, by picture)."""

    def text(self) -> str:
        """The value as tables have it, four digits and the spread behind it."""
        return number(self.value) if self.spread is None else f"{number(self.value)} ± {number(self.spread)}"

    def beats(self, other: float) -> bool:
        """Whether this score is strictly better than the value `other`."""
        return self.value > other if self.better == "higher" else self.value < other


@dataclass(frozen=True)
class Result:
    """What was scored, against what, and how: all that it takes to measure it again."""

    subject: str
    """Name of the model or folder that the scores are of."""
    scores: tuple[Score, ...]
    sets: Mapping[str, Mapping[str, Any]]
    """Role ("pictures", "real", "maps") -> `name`, `count`, `sizes` ("256x256" -> how many) and `digest` (SHA-256)."""
    seed: int | None = None
    """None where nothing is drawn."""
    model: Mapping[str, Any] | None = None
    """Of the model that painted the pictures, if one did: `name`, `method`, `digest`, `card`."""
    command: str | None = None

    def json(self) -> dict[str, Any]:
        """As `results.json` has it. The weights of all scores are gathered at the top; numbers that are not finite are
        strings, since JSON has none."""
        weights: dict[str, str] = {}
        for score in self.scores:
            weights |= score.details.get("weights", {})
        return {
            "format": FORMAT,
            "subject": self.subject,
            "scores": [finite(asdict(score)) for score in self.scores],
            "sets": finite(dict(self.sets)),
            "weights": weights,
            "seed": self.seed,
            "model": self.model,
            "command": self.command,
            "versions": versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    def markdown(self) -> str:
        """A table of the scores, and below it what they were measured by and on."""
        protocols = list(dict.fromkeys(score.protocol for score in self.scores))
        rows = [(s.name, s.text(), s.better, f"[{protocols.index(s.protocol) + 1}]") for s in self.scores]
        lines = [f"# {self.subject}", "", *markdown_table(("score", "value", "better", "protocol"), rows), ""]
        lines += [f"- [{i}] {protocol}" for i, protocol in enumerate(protocols, 1)]
        for role, of in self.sets.items():
            sizes = ", ".join(of["sizes"])
            lines.append(f"- {role}: {of['count']} of {sizes}: {of['name']}; SHA-256 {of['digest'][:16]}")
        described = self.json()
        lines += [f"- weights of {name}: SHA-256 {digest}" for name, digest in described["weights"].items()]
        if self.model is not None:
            lines.append(f"- model: {self.model['method']}, SHA-256 {self.model['digest']}")
        if self.seed is not None:
            lines.append(f"- seed: {self.seed}")
        lines.append("- " + ", ".join(f"{name} {version}" for name, version in described["versions"].items()))
        lines.append(f"- date: {described['date']}")
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """One row for each score, at full precision."""
        rows = [(s.name, s.value, "" if s.spread is None else s.spread, s.better, s.protocol) for s in self.scores]
        return csv_table(("score", "value", "spread", "better", "protocol"), rows)

    def save(self, folder: Path) -> list[Path]:
        """Write `results.json`, `results.md` and `results.csv` into `folder`; -> their paths.

        Raises `PinxitError` where the disk refuses.
        """
        return save_forms(folder, NAME, self.json(), self.markdown(), self.csv())


def read(file: Path) -> dict[str, Any]:
    """A `results.json`, or that of a folder. Raises `PinxitError` where there is none, or none of ours."""
    file = file / f"{NAME}.json" if file.is_dir() else file
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise expected(f"results '{file}'", f"unreadable ({error})", "a results.json", "mend the path") from error
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        got = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise expected(f"results '{file}'", f"of format {got!r}", repr(FORMAT), "evaluate anew")
    return value


def save_forms(folder: Path, name: str, described: Mapping[str, Any], markdown: str, table: str) -> list[Path]:
    """The same thing in three forms, `name`.json, .md and .csv in `folder`."""
    texts = {
        "json": json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "md": markdown,
        "csv": table,
    }
    files = []
    for suffix, text in texts.items():
        files.append(folder / f"{name}.{suffix}")
        with replacing(files[-1]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    return files


def number(value: float) -> str:
    """Four significant digits, and no exponent between a millionth and a million."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    places = 3 - math.floor(math.log10(abs(value)))
    return f"{value:.3e}" if places > 9 or places < -2 else f"{value:.{max(places, 0)}f}"


def finite(value: Any) -> Any:
    """JSON values, with numbers that are not finite as the strings "inf", "-inf" and "nan"."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table, its columns padded so that it reads as plain text too."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]]


def csv_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values with lines ended by a line feed alone."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def versions() -> dict[str, str]:
    """Of what computes the scores."""
    from importlib import metadata

    import numpy
    import torch

    try:
        own = metadata.version("pinxit")
    except metadata.PackageNotFoundError:
        own = "not installed"
    return {"pinxit": own, "torch": torch.__version__, "numpy": numpy.__version__, "python": platform.python_version()}
