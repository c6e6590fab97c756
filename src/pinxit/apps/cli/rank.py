"""`pinxit rank new|serve|report`: which pictures people prefer."""

from __future__ import annotations

import contextlib
import io
import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected, unknown_name


@dataclass(frozen=True)
class New:
    """Make a blind study: people say which of two pictures is better, or put all methods' pictures in order.

    A method is a folder of pictures, or a model that paints the --inputs. Pictures belong together by their names.
    """

    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[NAME=]FOLDER|MODEL ...")]
    """Two methods or more: folders of pictures with the same names, or models; NAME= is what the report calls one."""
    out: Path
    """New folder for the study."""
    inputs: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(default: nothing)")] = None
    """What is shown above the choices: a folder of maps or pictures, or captions in a .txt, a line for each picture
    (or: name, tab, caption)."""
    design: Literal["pairs", "ranking"] = "pairs"
    """pairs: which of two; ranking: all methods in order."""
    label_set: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: that of the first model)")] = None
    """The --inputs are label maps of this set (a name or a .json file), to be shown in its colours."""
    items: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Take so many of the pictures, drawn by --seed."""
    questions_per_rater: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all)")] = None
    """Questions of each rater, checks and repeats not counted; over the raters all come up equally often."""
    checks: int = 0
    """Attention checks of each rater: a picture beside a broken copy of it."""
    repeats: int = 0
    """Questions that each rater gets twice, the second time mirrored."""
    seconds: Annotated[float | None, tyro.conf.arg(metavar="S", help_behavior_hint="(default: no limit)")] = None
    """How long pictures are seen before they are covered; the choice may take longer."""
    question: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: which looks better, or fits)")] = None
    """What is asked."""
    instructions: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: none)")] = None
    """What is told before the first question, beside how it is done and what is stored."""
    seed: int = 0
    """Decides who is A, B, …, the order of the questions, and the sides."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where models compute."""


@dataclass(frozen=True)
class Serve:
    """Serve the page of a study until Ctrl-C: this page alone, neither the studio's models nor who is who.

    Reached from this machine alone, unless --host says otherwise; then raters need the address with the token that is
    printed.
    """

    study: tyro.conf.Positional[Path]
    """Folder of `pinxit rank new`."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of this machine's."""
    port: int = 8378
    """Port to listen at; 0 for a free one."""
    no_open: bool = False
    """Do not open a browser."""
    token: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: a new one each time, if needed)")] = None
    """What raters have to bring; by default nothing from this machine."""


@dataclass(frozen=True)
class Report:
    """Tell what the answers of a study say: mean ranks, Bradley–Terry scores, wins, agreement, and the raters."""

    study: tyro.conf.Positional[Path]
    """Folder of `pinxit rank new`."""
    out: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(default: print only)")] = None
    """Folder for ranking.md, ranking.csv and ranking.json."""
    may_fail: int = 0
    """Attention checks that a rater may fail before being left out."""
    bootstrap: int = 1000
    """Resamples of raters for the intervals."""
    seed: int = 0
    """Seed of the resamples."""


USAGE = """usage: pinxit rank new|serve|report ...

  new      make a study of folders of pictures, or of models
  serve    let people answer it, in the browser
  report   what the answers say

pinxit rank new --help tells the options; so for the others."""


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] not in STEPS:
        raise unknown_name("rank command", arguments[0], STEPS)
    STEPS[arguments[0]](arguments[1:])


def new(arguments: list[str]) -> None:
    o = tyro.cli(New, args=arguments, prog="pinxit rank new", config=pictures.STYLE)
    from pinxit.data.labels import LabelSet, load_label_set
    from pinxit.evaluation.ranking import make

    methods = named(o.models)
    models = {name: path for name, path in methods.items() if is_model(path)}
    if models and (o.inputs is None or o.inputs.suffix.lower() == ".txt"):
        got, want = (
            o.inputs or "missing",
            f"a folder of maps or pictures, as '{next(iter(models.values()))}' is a model",
        )
        raise expected("--inputs", got, want, "name one")
    labels = load_label_set(o.label_set) if o.label_set else None
    with tempfile.TemporaryDirectory() as painted:
        folders = dict(methods)
        for number, (name, path) in enumerate(models.items()):
            assert o.inputs is not None
            folders[name] = Path(painted) / str(number)
            own = painted_by(path, o.inputs, folders[name], o.device)
            labels = labels or (LabelSet.from_json(own) if own else None)
        study = make(
            o.out,
            folders,
            design=o.design,
            inputs=o.inputs,
            label_set=labels,
            items=o.items,
            checks=o.checks,
            repeats=o.repeats,
            per_rater=o.questions_per_rater,
            question=o.question,
            instructions=o.instructions,
            seconds=o.seconds,
            seed=o.seed,
            sources={name: str(path) for name, path in methods.items()},
        )
    every = len(study.circle)
    print(
        f"study of {study.methods} methods, {pictures.counted(len(study.items), 'item')}: "
        f"{pictures.counted(every, 'question')}, {study.per_rater} for each rater: "
        f"{pictures.counted(-(-every // study.per_rater), 'rater')} for all of them\n"
        f"{o.out.resolve()}\nlet people answer: pinxit rank serve {o.out}"
    )


def named(texts: tuple[str, ...]) -> dict[str, Path]:
    """Methods by name. Raises `PinxitError` where there are too few, or two of one name."""
    if len(texts) < 2:
        raise expected("--models", pictures.counted(len(texts), "method"), "two or more", "name another")
    methods: dict[str, Path] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        path = Path(rest) if equals and not Path(text).exists() else Path(text)
        name = name if path != Path(text) else path.resolve().name if path.exists() else path.name
        if not name:
            raise expected("--models", repr(text), "NAME=PATH, or a path", "name the method")
        if name in methods:
            want = "a name of its own for each method"
            raise expected(f"name of '{path}'", f"that of '{methods[name]}', {name}", want, "write NAME=PATH")
        methods[name] = path
    return methods


def is_model(path: Path) -> bool:
    return pictures.method_of(path) is not None


def painted_by(
    model: Path, inputs: Path, out: Path, device: Literal["auto", "cpu", "cuda", "mps"]
) -> Mapping[str, Any] | None:
    """Let a model make its pictures of the inputs, as its command does; -> its label set, if it paints maps."""
    from pinxit import modelfile

    method = pictures.method_of(model)
    with contextlib.redirect_stdout(io.StringIO()):  # where the pictures are: they will not stay there
        if method == "singan":
            want = "one that makes pictures of maps or pictures"
            raise expected(f"model '{model}'", "of method singan", want, "name a folder of its pictures instead")
        file = modelfile.read(pictures.found_model(model))
        if method == "spade":
            from pinxit.apps.cli.paint_spade import Paint, paint

            paint(Paint(model, (inputs,), out, device=device))
        elif method == "pix2pixhd" and file.config.get("source") == "labels":
            from pinxit.apps.cli import paint_pix2pixhd

            paint_pix2pixhd.paint(paint_pix2pixhd.Paint(model, (inputs,), out, device=device))
        else:
            from pinxit.apps.cli.translate import Translate, translate

            translate(Translate(model, (inputs,), out, device=device))
            return None
    return file.label_set


def serve(arguments: list[str]) -> None:
    """All that can be wrong at the start is told before anything is served."""
    o = tyro.cli(Serve, args=arguments, prog="pinxit rank serve", config=pictures.STYLE)
    from pinxit.apps.cli import studio

    own = studio.Studio(host=o.host, port=o.port, token=o.token, no_open=o.no_open)
    studio.require_sensible(own)
    try:
        import fastapi  # noqa: F401 - whether it is there
        import uvicorn
    except ImportError as error:
        remedy = 'pip install "pinxit[studio]"'
        raise expected(
            "the page's web server", f"not installed ({error.name})", "fastapi and uvicorn", remedy
        ) from error
    from pinxit.apps.studio.guard import is_loopback
    from pinxit.apps.studio.ranking import create_app
    from pinxit.evaluation.ranking import Intake, read

    intake = Intake(read(o.study))
    token = o.token or (None if is_loopback(o.host) else secrets.token_urlsafe(24))
    with closing(studio.listening(o.host, o.port)) as listener:
        config = uvicorn.Config(
            create_app(intake, host=o.host, token=token),
            http="h11",
            ws="none",
            log_level="warning",
            access_log=False,  # it would have the token
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=3,
        )
        studio.tell(own, listener.getsockname()[1], token)
        uvicorn.Server(config).run(sockets=[listener])


def report(arguments: list[str]) -> None:
    o = tyro.cli(Report, args=arguments, prog="pinxit rank report", config=pictures.STYLE)
    from pinxit.evaluation import preferences
    from pinxit.evaluation.ranking import read

    made = preferences.report(read(o.study), may_fail=o.may_fail, bootstrap=o.bootstrap, seed=o.seed)
    print(made.to_markdown(), end="")
    if o.out is not None:
        from pinxit.modelfile import replacing  # brings torch

        for ending, text in (("md", made.to_markdown()), ("csv", made.to_csv()), ("json", made.to_json())):
            with replacing(o.out / f"ranking.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")
        print(f"\nreport: {o.out.resolve()}")


STEPS: dict[str, Callable[[list[str]], None]] = {"new": new, "serve": serve, "report": report}
