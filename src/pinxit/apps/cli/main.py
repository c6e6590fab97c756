"""`pinxit COMMAND …`: the table of commands, and how mistakes are told. Imports no torch, so that help is quick."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings

from pinxit.errors import PinxitError, expected, unknown_name

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("pinxit.apps.cli.demo", "paint drawn streets and fruits with models that come along"),
    "studio": ("pinxit.apps.cli.studio", "paint in the browser, with every method: opens a page"),
    "paint": ("pinxit.apps.cli.paint", "label maps to pictures, in a style of your choice; paintings to photos"),
    "translate": ("pinxit.apps.cli.translate", "pictures to pictures, of any size: drawings to photos, day to night"),
    "segment": ("pinxit.apps.cli.segment", "photos to label maps, with a model of deeplabv3"),
    "sample": (
        "pinxit.apps.cli.sample",
        "new pictures: of a sentence, of what a model was trained on, or variations of one photo",
    ),
    "interpolate": (
        "pinxit.apps.cli.interpolate",
        "the way from one of a StyleGAN2's pictures to the next, or from sentence to sentence",
    ),
    "project": ("pinxit.apps.cli.project", "the picture of a StyleGAN2's that comes nearest to yours"),
    "sketch": ("pinxit.apps.cli.sketch", "customise a StyleGAN2 by a few sketches of what it is to make"),
    "super-resolve": ("pinxit.apps.cli.super_resolve", "a model's photo, enlarged"),
    "animate": ("pinxit.apps.cli.animate", "a model's photo in motion: .gif, .png, .mp4 or .webm"),
    "harmonize": ("pinxit.apps.cli.harmonize", "a model's photo with something pasted into it, made to belong there"),
    "edit": ("pinxit.apps.cli.edit", "a model's photo with parts moved or copied, made seamless"),
    "reconstruct": ("pinxit.apps.cli.reconstruct", "a model's photo as it gives it back, and how far off that is"),
    "evaluate": ("pinxit.apps.cli.evaluate", "score a model or a folder of pictures: FID, SSIM, mIoU, papers' tables"),
    "train": ("pinxit.apps.cli.train", "train a method on your data, or go on with a run"),
    "rank": ("pinxit.apps.cli.rank", "let people say which pictures are better: a blind study in the browser"),
    "import": ("pinxit.apps.cli.import_", "read the authors' released weights"),
    "data": ("pinxit.apps.cli.data", "look through a data set before training: data check FOLDER"),
    "export": ("pinxit.apps.cli.export", "a model as an ONNX file, for other programs: export MODEL --onnx"),
    "info": ("pinxit.apps.cli.info", "what a model takes, was trained on, and may be used for"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a mistake of the user's ends with one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return
    if arguments[0] == "--version":
        print(version())
        return
    try:
        if arguments[0] not in COMMANDS:
            raise unknown_name("command", arguments[0], COMMANDS)
        with warnings.catch_warnings():
            # torch remarks on the form of other people's .pth files; what is wrong with one comes as an error.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
    except PinxitError as error:
        print(f"pinxit: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # `pinxit info demo | head -1`: the reader has seen enough. What is still buffered must not be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        # A disk that is full or refuses, wherever it happens; anything else is a defect and keeps its traceback.
        if error.errno not in REFUSALS:
            raise
        print(f"pinxit: {refused(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pinxit: stopped", file=sys.stderr)
        sys.exit(130)


REFUSALS = {
    *(errno.ENOSPC, errno.EDQUOT),
    *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG),
}
"""What the operating system answers to a path that cannot be used as it was meant."""


def refused(error: OSError) -> PinxitError:
    """The message about a path that the operating system refuses."""
    where = f"'{error.filename}'" if error.filename else "the output"
    got = f"not usable ({error.strerror})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return expected(where, got, "room on the disk", "free some")
    return expected(where, got, "a path that may be read or written so", "check its kind and rights, or name another")


def version() -> str:
    """The installed version; a source tree that is not installed has none."""
    from importlib import metadata

    try:
        return metadata.version("pinxit")
    except metadata.PackageNotFoundError:
        return "not installed"


def help_text() -> str:
    rows = "\n".join(f"  {name:13} {line}" for name, (_, line) in COMMANDS.items())
    return f"""usage: pinxit COMMAND ...

Turn a condition into a picture with a GAN.

{rows}

pinxit COMMAND --help tells the options of a command."""
