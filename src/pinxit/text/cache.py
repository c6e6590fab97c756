"""Vectors of sentences, kept on disk: a frozen encoder need not be asked the same thing twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pinxit.modelfile import replacing
from pinxit.text.encoder import TextEncoder, clean


def encoded(encoder: TextEncoder, sentences: Sequence[str], folder: Path | None) -> Tensor:
    """float32 [N, encoder.width], from a file in `folder` where these sentences were encoded by this encoder before.

    `folder`: where the files are (made if it is not there); None: nothing is kept. There is a file for each set of
    sentences, whatever their order. A file that is damaged, or not what its name says, is written anew; processes that
    write the same one at a time each write all of it, and the last stays.

    Raises `PinxitError` for an empty sentence, or where the disk refuses.
    """
    texts = [clean(sentence) for sentence in sentences]
    different = sorted(set(texts))
    if folder is None:
        rows = encoder.encode(different)
    else:
        digest = hashlib.sha256(encoder.digest.encode())
        for text in different:
            digest.update(b"\0" + text.encode())  # there is no zero in what is clean
        name = digest.hexdigest()
        path = folder / f"text-{name[:32]}.safetensors"
        rows = _read(path, name, (len(different), encoder.width))
        if rows is None:
            rows = encoder.encode(different)
            described = {"key": name, "rows": _sha256(rows), "encoder": encoder.name}
            with replacing(path) as temporary:
                temporary.write_bytes(save({"rows": rows}, metadata=described))
    place = {text: i for i, text in enumerate(different)}
    return rows[torch.tensor([place[text] for text in texts], dtype=torch.int64)]


def _read(path: Path, key: str, shape: tuple[int, int]) -> Tensor | None:
    try:
        with safe_open(path, framework="pt") as f:
            described = f.metadata() or {}
            rows = f.get_tensor("rows")
    except (OSError, SafetensorError):
        return None
    whole = rows.dtype == torch.float32 and rows.shape == shape
    return rows if whole and described.get("key") == key and described.get("rows") == _sha256(rows) else None


def _sha256(rows: Tensor) -> str:
    return hashlib.sha256(rows.contiguous().numpy().data).hexdigest()
