"""`pinxit COMMAND …`: the table of commands, and how mistakes are told. Imports no torch, so that help is quick."""

from __future__ import annotations

import errno
import importlib
import sys

from pinxit.errors import PinxitError, unknown_name

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("pinxit.apps.cli.demo", "paint street scenes with the embedded model: one contact sheet"),
    "paint": ("pinxit.apps.cli.paint", "label maps to pictures, in a style of your choice"),
    "train": ("pinxit.apps.cli.train", "train a method on your data, or go on with a run"),
    "import": ("pinxit.apps.cli.import_", "read the authors' released weights"),
    "data": ("pinxit.apps.cli.data", "look through a data set before training: data check FOLDER"),
    "info": ("pinxit.apps.cli.info", "what a model takes, was trained on, and may be used for"),
}


def main(arguments: list[str] | None = None) -> None:
    """Run one command; a mistake of the user's ends with one line on stderr and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("pinxit"))
        return
    try:
        if arguments[0] not in COMMANDS:
            raise unknown_name("command", arguments[0], COMMANDS)
        importlib.import_module(COMMANDS[arguments[0]][0]).main(arguments[1:])
    except PinxitError as error:
        print(f"pinxit: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        # A disk that is full or refuses, wherever it happens; anything else is a defect and keeps its traceback.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EEXIST):
            raise
        where = f"'{error.filename}'" if error.filename else "the output"
        print(f"pinxit: {where} is not writable ({error.strerror}), expected room and leave to write", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pinxit: stopped", file=sys.stderr)
        sys.exit(130)


def help_text() -> str:
    rows = "\n".join(f"  {name:8} {line}" for name, (_, line) in COMMANDS.items())
    return f"""usage: pinxit COMMAND ...

Turn a condition into a picture with a GAN.

{rows}

pinxit COMMAND --help tells the options of a command."""
