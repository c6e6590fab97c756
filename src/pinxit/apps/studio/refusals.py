"""How the studio says no."""

from __future__ import annotations

from pinxit.errors import PinxitError


class Refused(PinxitError):
    """A request that is not served.

    `status` is HTTP's, 400..499; `code` is for programs and stays the same between versions; the message, one line, is
    for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code
