"""What a person is told when an input is wrong: one line that names the thing, its value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PinxitError(Exception):
    """A mistake in what was given to Pinxit, worded for the person who gave it.

    The command line prints the message alone and exits with status 2; anything else that is raised is a defect of ours.
    No `ValueError`, which argument parsers and readers of files take for their own and wrap.
    """


def expected(thing: str, got: object, want: object, remedy: str) -> PinxitError:
    """`<thing> is <got>, expected <want>; <remedy>`: the wording of every message about a wrong value."""
    return PinxitError(f"{thing} is {got}, expected {want}; {remedy}")


def at_least(options: object, lowest: float, *names: str) -> None:
    """Raises `PinxitError` for the first of the options `names` that is below `lowest`, or not a number."""
    for name in names:
        value = getattr(options, name)
        if not lowest <= value < float("inf"):
            raise expected(f"--{name.replace('_', '-')}", value, f"{lowest} or more", "correct it")


def unknown_name(thing: str, got: str, names: Iterable[str]) -> PinxitError:
    """As `expected`, for a name out of a list; the remedy is the nearest name, or how to see them all."""
    names = sorted(names)
    near = difflib.get_close_matches(got, names, n=1, cutoff=0.5)
    return expected(
        thing, repr(got), "one of " + ", ".join(names), f"did you mean {near[0]!r}?" if near else "choose one"
    )
