"""`pinxit train METHOD`."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import os
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import tyro

from pinxit.apps.cli.best import Best, evaluation_of
from pinxit.apps.cli.methods import NAMES, take_method
from pinxit.apps.cli.pictures import STYLE, listed, note, remark_slow_bf16
from pinxit.apps.memory import keep_freed_memory
from pinxit.errors import expected, unknown_name
from pinxit.models import METHODS
from pinxit.training.config import Run


def main(arguments: list[str]) -> None:
    """METHOD comes first; --preset says what the other options start from."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    method, rest = take_method(arguments, "train")
    config = importlib.import_module(f"{METHODS[method]}.config")
    preset, rest = take_preset(rest, config.PRESETS)
    if preset not in config.PRESETS:
        raise unknown_name("preset", preset, config.PRESETS)
    if any(a in ("-h", "--help") for a in rest):
        print(preset_table(method, config), end="\n\n")
    run, best, options = parse(rest, method, preset, config)
    folder = options.data.data
    if getattr(config, "ONE_EACH", False) and folder is not None and folder.is_dir():
        train_each(method, run, best, options, config)
    else:
        train(method, run, best, options, config)


def train_each(method: str, run: Run, best: Best, options: Any, config: Any) -> None:
    """A model for each picture in the folder --data, in a folder of its name under --out.

    Under torchrun the processes share the pictures out, and each trains alone. --resume goes on with what was begun and
    begins the others. All pictures are looked at before the first is learnt.
    """
    from pinxit.training.checkpoint import NAME, require_startable

    photos = listed([options.data.data])
    outs = [run.out / photo.stem for photo in photos]
    for photo, out, other in zip(photos, outs, photos[1:], strict=False):
        if photo.stem == other.stem:
            raise expected(f"name of '{other}'", f"that of '{photo}'", "one photo of each name", f"rename it: '{out}'")
    jobs = []
    build = importlib.import_module(f"{METHODS[method]}.recipe").build
    for photo, out in zip(photos, outs, strict=True):
        one = dataclasses.replace(run, out=out, resume=run.resume and (out / NAME).is_file())
        require_startable(one.out, one.resume)
        jobs.append((one, dataclasses.replace(options, data=dataclasses.replace(options.data, data=photo))))
        build(jobs[-1][1], seed=run.seed)
    rank, world = (int(os.environ.get(name, default)) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    for one, job in jobs[rank::world]:
        print(f"{job.data.data} -> {one.out}", flush=True)
        train(method, one, best, job, config, alone=True)


def train(method: str, run: Run, best: Best, options: Any, config: Any, *, alone: bool = False) -> None:
    """Build the recipe and walk it; under torchrun every process does so on its share of each batch, but
    for those that train `alone`."""
    from rich.console import Console

    from pinxit.data.images import remarks
    from pinxit.recipe import rank
    from pinxit.training.checkpoint import precision_of_run, require_startable
    from pinxit.training.distributed import pick_device, precision_on, processes
    from pinxit.training.loop import train as loop

    keep_freed_memory()
    for option in ("base", "stage1"):
        kept = getattr(options.data, option, None)
        if kept is not None and run.out.resolve() in (kept.resolve(), kept.resolve().parent):
            raise expected("--out", f"the folder of --{option} '{kept}'", "another, as it is kept", "name a new one")
    device = pick_device(run.device)
    require_startable(run.out, run.resume)  # before the data is looked through, which may take minutes
    console = Console(stderr=True)
    with nullcontext() if alone else processes(device):
        build = importlib.import_module(f"{METHODS[method]}.recipe").build
        with console.status("looking through the data") if console.is_terminal and rank() == 0 else nullcontext():
            recipe = build(options, seed=run.seed, workers=run.workers)
        identity = {"method": method, "seed": run.seed, **plain(options)}
        if getattr(config, "ONE_EACH", False):
            # Another photo of the same name must not be taken for the one that was begun with.
            identity["SHA-256 of the photo"] = hashlib.sha256(options.data.data.read_bytes()).hexdigest()[:16]
            if rank() == 0:
                for remark in remarks(options.data.data):
                    note(remark)
        if (texts := getattr(recipe, "texts", None)) is not None and texts.digest:
            # What was learnt of one encoder's vectors means nothing for another's, though they be as wide.
            identity["SHA-256 of the text encoder"] = texts.digest[:16]
        if rank() == 0 and not run.resume:
            remark_slow_bf16(run.precision, device)
        # A run that goes on elsewhere stays what it was begun as.
        asked = precision_of_run(run.out) if run.resume and run.precision == "auto" else run.precision
        run = dataclasses.replace(run, precision=precision_on(device, asked, made_for=recipe.bf16))
        identity["precision"] = run.precision
        for part, names in config.MAY_CHANGE.items():
            identity[part] = {k: v for k, v in identity[part].items() if k not in names}
        evaluation = None
        if best != Best():
            evaluation = evaluation_of(best, method, recipe.model_file(), options, run, device)
        if rank() == 0:
            foretell(recipe.to(device), console)
        position = loop(recipe, run, device, identity, evaluation)
        if rank() == 0:
            also = "" if evaluation is None else ", best.safetensors"
            print(f"{position.step} steps done; the model{also}, log.jsonl and samples are in {run.out}")


def foretell(recipe: Any, console: Any) -> None:
    """Say how long it will take and how much memory, and, where that does not fit, which preset would."""
    forecast = recipe.forecast()
    if forecast is None:
        return
    need = f"about {clock(forecast.seconds)} and {forecast.memory / 2**30:.1f} GiB of memory"
    console.print(f"this will take {need} on this machine", highlight=False, soft_wrap=True)
    if forecast.seconds > LONG or forecast.memory > 0.7 * memory_here():
        for preset, (seconds, memory) in forecast.others.items():
            text = f"note: --preset {preset} takes about {clock(seconds)} and {memory / 2**30:.1f} GiB"
            console.print(text, highlight=False, soft_wrap=True)


LONG = 3600
"""Seconds from which on a shorter preset is proposed."""


def clock(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


def memory_here() -> float:
    """Bytes of this machine; where the operating system does not say, no limit."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


def parse(arguments: list[str], method: str, preset: str, config: Any) -> tuple[Run, Best, Any]:
    """Options of the run, of its scores, then those of the method on top of its preset."""
    command = dataclasses.make_dataclass(
        "Command",
        [
            ("run", Run),
            ("options", config.Options, dataclasses.field(default=config.PRESETS[preset])),
            ("best", Best, dataclasses.field(default=Best())),
        ],
    )
    parsed = tyro.cli(
        command,
        args=arguments,
        prog=f"pinxit train {method} --preset {preset}",
        description=f"Train {method}. Options are those of the preset {preset!r} unless given.",
        config=(tyro.conf.OmitArgPrefixes, *STYLE),
    )
    return parsed.run, parsed.best, parsed.options


def take_preset(arguments: list[str], names: Iterable[str]) -> tuple[str, list[str]]:
    """--preset NAME is read first, since all other defaults hang on it."""
    for i, argument in enumerate(arguments):
        if argument.startswith("--preset="):
            return argument.removeprefix("--preset="), arguments[:i] + arguments[i + 1 :]
        if argument == "--preset":
            if i + 1 == len(arguments):
                raise expected("--preset", "without a name", f"one of {', '.join(names)}", "add the name")
            return arguments[i + 1], arguments[:i] + arguments[i + 2 :]
    if any(a in ("-h", "--help") for a in arguments):
        return "cpu", arguments
    raise expected("--preset", "missing", f"one of {', '.join(names)}", "choose one: --help tells what they are")


def preset_table(method: str, config: Any) -> str:
    width = max(map(len, config.PRESETS))
    rows = "\n".join(f"  {name:{width}}  {config.SUMMARIES[name]}" for name in config.PRESETS)
    return f"presets of {method} (--preset NAME):\n{rows}"


def plain(options: Any) -> dict[str, Any]:
    """Nested dataclasses as JSON values."""

    def value(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: value(x) for k, x in v.items()}
        if isinstance(v, list | tuple):
            return [value(x) for x in v]
        return v if v is None or isinstance(v, bool | int | float | str) else str(v)

    return value(dataclasses.asdict(options))


def usage() -> str:
    return f"""usage: pinxit train METHOD --preset NAME --data FOLDER --out RUN [options]

METHOD is one of {NAMES}.
pinxit train METHOD --help tells its presets and options."""
