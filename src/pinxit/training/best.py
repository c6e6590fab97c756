"""`best.safetensors`: the model that scored best on held-out pictures so far, as the last one often is not the best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from pinxit import modelfile
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.recipe import Recipe, rank
from pinxit.training.checkpoint import Position
from pinxit.training.log import Log, records

NAME = "best.safetensors"


@dataclass(frozen=True)
class Evaluation:
    """How a run is scored while it trains."""

    every: int
    """Steps between two scores; the last step of a stage is always scored."""
    name: str
    """Of the score, such as `SWD`."""
    better: Literal["higher", "lower"]
    protocol: str
    """All that scores of one run must have in common to be compared: data, number and size of pictures, seed."""
    score: Callable[[ModelFile], float]
    """The score of a model. Every rank calls it, and all get the same value."""


class Best:
    """The best score of a run, read again from its log where it goes on.

    A run that was cut after its best model was written, and goes on from an earlier checkpoint, has forgotten that
    score as it has forgotten the steps. It meets the model again at its step, and ends with the same file as one that
    was never cut.
    """

    def __init__(self, folder: Path, evaluation: Evaluation, done: Position) -> None:
        """Raises `PinxitError` where the best model of a run that goes on was chosen by another score."""
        self.folder, self.evaluation = folder, evaluation
        self.value: float | None = None
        if done == Position() or not (folder / NAME).is_file():
            return
        card = modelfile.read(folder / NAME).card
        was = (card.get("score", "").rpartition(" ")[0], card.get("scored by", ""))
        now = (evaluation.name, evaluation.protocol)
        if was != now:
            got, want = (f"chosen by {name} ({how})" for name, how in (was, now))
            remedy = f"resume with what it was, or move '{folder / NAME}' elsewhere"
            raise expected(f"the best model of run '{folder}'", got, want, remedy)
        for record in records(folder / "log.jsonl", (done.stage, done.step)):
            if record.get("best"):
                self.value = record["score"][evaluation.name]

    def look(self, recipe: Recipe, stage: str, step: int, log: Log) -> None:
        """Score the model as it is, log that, and keep it where none was better."""
        file = recipe.model_file()
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        # What is drawn to paint must not change what the next step draws.
        with log.pausing(), torch.random.fork_rng(devices):
            value = self.evaluation.score(file)
        best = math.isfinite(value) and (
            self.value is None or (value > self.value if self.evaluation.better == "higher" else value < self.value)
        )
        log.score(step, self.evaluation.name, value, best)
        if not best:
            return
        self.value = value
        if rank() == 0:
            card = {
                **file.card,
                "steps": f"{step} of {stage}",
                "score": f"{self.evaluation.name} {value!r}",
                "scored by": self.evaluation.protocol,
            }
            dataclasses.replace(file, card=card).save_as(self.folder / NAME)
