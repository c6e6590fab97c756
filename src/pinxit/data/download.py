"""Files that are fetched once, when asked for, and only if they are what they should be."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from pinxit.errors import expected
from pinxit.modelfile import replacing


def cache_folder() -> Path:
    """Where downloads are kept: PINXIT_CACHE, or `pinxit` in the user's cache folder."""
    if named := os.environ.get("PINXIT_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinxit"


def fetch(url: str, sha256: str, remedy: str) -> Path:
    """The file at `url`, from the cache if it is there; kept only if its SHA-256 is the one given.

    Raises `PinxitError` without network or with another content; `remedy` says what to do then.
    """
    target = cache_folder() / url.rsplit("/", 1)[-1]
    if target.is_file():
        return target
    digest = hashlib.sha256()
    with replacing(target) as temporary, temporary.open("wb") as f:
        for chunk in _received(url, remedy):
            digest.update(chunk)
            f.write(chunk)
        if digest.hexdigest() != sha256:
            raise expected(f"download of {url}", f"of SHA-256 {digest.hexdigest()}", sha256, remedy)
    return target


def _received(url: str, remedy: str) -> Iterator[bytes]:
    """What the server answers. Raises `PinxitError` where the network fails, which is no failure of the disk."""
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            while chunk := reply.read(1 << 20):
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise expected(f"download of {url}", f"not possible ({reason})", "a network connection", remedy) from error
