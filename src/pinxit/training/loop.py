"""One loop for every method: it walks a recipe's stages and owns time, disk and screen."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import Tensor

from pinxit.data.sheet import grid
from pinxit.data.stream import ahead
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import replacing
from pinxit.recipe import Forecast, Recipe, rank, world_size
from pinxit.training import checkpoint
from pinxit.training.best import Best, Evaluation
from pinxit.training.checkpoint import Position
from pinxit.training.config import Run
from pinxit.training.distributed import mean_over_ranks
from pinxit.training.log import Log


def train(
    recipe: Recipe,
    run: Run,
    device: torch.device,
    identity: Mapping[str, Any],
    evaluation: Evaluation | None = None,
) -> Position:
    """Train `recipe` to its end, or to the next step's end after Ctrl-C; -> how far it came.

    `identity`: JSON values that must be equal for a run to be resumed: method, data and options.
    `evaluation`: how the model is scored on the way; the best one is kept beside the last.

    Raises `PinxitError` where `run.out` holds another run, a loss is not finite, or the disk is full.
    """
    checkpoint.require_startable(run.out, run.resume)
    state = checkpoint.read(run.out, identity) if run.resume else None
    done = Position(state["stage"], state["step"]) if state else Position()
    best = Best(run.out, evaluation, done) if evaluation is not None else None
    run.out.mkdir(parents=True, exist_ok=True)
    first = rank() == 0
    if first:
        for cut in run.out.rglob(".*.part"):  # what a killed run was writing
            cut.unlink()

    before = peak_memory(device)
    with Log(run.out, quiet=not first, tensorboard=run.tensorboard) as log, _asked_to_stop() as stopping:

        def keep(position: Position) -> None:
            if first:
                # The model first: a run cut between the two writes it again; after the state of the last step it
                # would never be written.
                recipe.model_file().save(run.out)
                checkpoint.save(run.out, recipe, position, identity)

        for number, stage in enumerate(recipe.stages()):
            if number < done.stage:
                continue
            # Here, since the stage may have grown. Channels last: what convolutions want, on CPUs and GPUs alike.
            recipe.to(device).to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue] - untyped
            if number == done.stage and state is not None:
                checkpoint.restore(state, recipe)
            start = done.step if number == done.stage else 0
            if run.compile:
                compile_networks(recipe, device)
            log.begin(stage.name, stage.steps, start, number)
            # Workers read ahead by themselves.
            depth = 0 if run.workers else 2
            with closing(ahead(iter(stage.batches(start)), stage.steps - start, depth)) as batches:
                for i in range(start, stage.steps):
                    with log.loading():
                        batch = next(batches)
                    # Weights stay fp32; autocast computes convolutions in bf16; `update` leaves it for the backward.
                    with torch.autocast(device.type, torch.bfloat16, enabled=run.precision == "bf16"):
                        losses = stage.step(to_device(batch, device), i)
                    step = i + 1
                    stop = stopping.is_set()
                    last = step == stage.steps or stop
                    log.step(step)
                    keeping = step % run.checkpoint_every == 0 or last
                    scoring = best is not None and (step % best.evaluation.every == 0 or step == stage.steps)
                    if step % run.log_every == 0 or keeping or scoring:
                        # Before a checkpoint too, so that none is ever written of weights that are lost.
                        log.losses(step, finite(losses, step, run))
                    if run.sample_every and first and (step % run.sample_every == 0 or last):
                        save_samples(recipe, run, f"{stage.name}_{step:06d}")
                    # Before the checkpoint: a run that goes on from there will not score this step again.
                    if best is not None and scoring:
                        best.look(recipe, stage.name, step, log)
                    if keeping:
                        keep(Position(number, step))
                    if stop:
                        log.say(f"stopped after step {step} of {stage.name}; go on with --resume")
                        return Position(number, step)
            done = Position(number, stage.steps)
        if before is not None:
            log.say(memory_text(before, peak_memory(device) or before, recipe.foretold))
        return done


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that this process has held: of the GPU's memory where it computes there, else of this machine's.

    None where the operating system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def memory_text(before: int, peak: int, foretold: Forecast | None) -> str:
    """What a training held beyond what there was before it, beside what it was foretold."""
    text = f"memory: {peak / 2**30:.2f} GiB at most, {(peak - before) / 2**30:.2f} of it for the training"
    return text if foretold is None else f"{text}; foretold {foretold.memory / 2**30:.2f}"


def to_device(batch: Any, device: torch.device) -> Any:
    """A tuple or NamedTuple of tensors (or None) -> the same on `device`."""
    if device.type == "cpu":
        return batch
    moved = (part.to(device, non_blocking=True) if isinstance(part, Tensor) else part for part in batch)
    return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)


def finite(losses: Mapping[str, Tensor], step: int, run: Run) -> dict[str, float]:
    """The losses as numbers, averaged over ranks. Raises `PinxitError` where one is not finite."""
    values = mean_over_ranks(torch.stack([loss.float() for loss in losses.values()])).tolist()
    for name, value in zip(losses, values, strict=True):
        if not math.isfinite(value):
            raise PinxitError(
                f"loss {name} is {value} at step {step}, expected a finite number; "
                f"lower --lr or use --precision fp32, and --resume from the last checkpoint in '{run.out}'"
            )
    return dict(zip(losses, values, strict=True))


def save_samples(recipe: Recipe, run: Run, name: str) -> None:
    pictures = recipe.preview()
    if pictures is not None:
        with replacing(run.out / "samples" / f"{name}.png") as temporary:
            grid(pictures.float().cpu()).save(temporary, format="PNG")


def compile_networks(recipe: Recipe, device: torch.device) -> None:
    """Compile each network in place; names of weights stay what they are.

    Raises `PinxitError` on a CPU without a C++ compiler, which torch.compile needs there.
    """
    compilers = (os.environ.get("CXX"), "g++", "clang++", "cl")
    if device.type == "cpu" and not any(shutil.which(c) for c in compilers if c):
        raise expected("--compile", "given", "a C++ compiler on this machine's CPU", "leave it out, or install g++")
    for network in recipe.children():
        network.compile()


@contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a run ends between two steps and keeps what it has.

    One process only: several would each stop at another step, and wait for the others for ever.
    """
    event = threading.Event()
    if world_size() > 1 or threading.current_thread() is not threading.main_thread():
        yield event
        return
    handlers = {s: signal.signal(s, lambda *_: event.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for s, handler in handlers.items():
            signal.signal(s, handler)
