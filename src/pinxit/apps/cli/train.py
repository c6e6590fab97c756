"""`pinxit train METHOD`."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import tyro

from pinxit.apps.cli.methods import NAMES, take_method
from pinxit.apps.cli.pictures import STYLE
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
    run, options = parse(rest, method, preset, config)
    train(method, run, options, config)


def train(method: str, run: Run, options: Any, config: Any) -> None:
    """Build the recipe and walk it; under torchrun every process does so on its share of each batch."""
    from rich.console import Console

    from pinxit.recipe import rank
    from pinxit.training.checkpoint import require_startable
    from pinxit.training.distributed import pick_device, processes
    from pinxit.training.loop import train as loop

    device = pick_device(run.device)
    require_startable(run.out, run.resume)  # before the data is looked through, which may take minutes
    console = Console(stderr=True)
    with processes(device):
        build = importlib.import_module(f"{METHODS[method]}.recipe").build
        with console.status("looking through the data") if console.is_terminal and rank() == 0 else nullcontext():
            recipe = build(options, seed=run.seed, workers=run.workers)
        identity = {"method": method, "seed": run.seed, "precision": run.precision, **plain(options)}
        for part, names in config.MAY_CHANGE.items():
            identity[part] = {k: v for k, v in identity[part].items() if k not in names}
        position = loop(recipe, run, device, identity)
        if rank() == 0:
            print(f"{position.step} steps done; the model, log.jsonl and samples are in {run.out}")


def parse(arguments: list[str], method: str, preset: str, config: Any) -> tuple[Run, Any]:
    """Options of the run, then those of the method on top of its preset."""
    command = dataclasses.make_dataclass(
        "Command", [("run", Run), ("options", config.Options, dataclasses.field(default=config.PRESETS[preset]))]
    )
    parsed = tyro.cli(
        command,
        args=arguments,
        prog=f"pinxit train {method} --preset {preset}",
        description=f"Train {method}. Options are those of the preset {preset!r} unless given.",
        config=(tyro.conf.OmitArgPrefixes, *STYLE),
    )
    return parsed.run, parsed.options


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
    rows = "\n".join(f"  {name:11} {config.SUMMARIES[name]}" for name in config.PRESETS)
    return f"presets of {method} (--preset NAME):\n{rows}"


def plain(options: Any) -> dict[str, Any]:
    """Nested dataclasses as JSON values."""

    def value(v: Any) -> Any:
        if isinstance(v, dict):
            return {k: value(x) for k, x in v.items()}
        return v if v is None or isinstance(v, bool | int | float | str | list | tuple) else str(v)

    return value(dataclasses.asdict(options))


def usage() -> str:
    return f"""usage: pinxit train METHOD --preset NAME --data FOLDER --out RUN [options]

METHOD is one of {NAMES}.
pinxit train METHOD --help tells its presets and options."""
