"""`pinxit COMMAND METHOD …`: the method comes first, as each has options of its own."""

from __future__ import annotations

from pinxit.errors import expected, unknown_name
from pinxit.models import METHODS

NAMES = ", ".join(METHODS)


def take_method(arguments: list[str], command: str) -> tuple[str, list[str]]:
    """The method, and the arguments behind it. Raises `PinxitError` where there is none, or none of ours."""
    method, *rest = arguments
    if method.startswith("-"):
        raise expected("METHOD", "missing", f"one of {NAMES}", f"write it first: pinxit {command} METHOD ...")
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    return method, rest
