"""Pinxit ("painted this"): a condition becomes a picture, with generative adversarial networks.

    import pinxit
    model = pinxit.load("runs/streets")          # a model folder or file
    picture = model.paint(label_map, style=7)    # PIL

`load` is all there is at the top; the verbs of a method are in `pinxit.models.METHOD.generate`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pinxit.errors import PinxitError

__all__ = ["PinxitError", "load"]


def load(path: str | Path, device: str = "cpu") -> Any:
    """The model in a folder or file, ready for its method's verbs.

    Raises `PinxitError` where there is none, or none of this version's.
    """
    # Here, so that `import pinxit` stays quick: both import torch.
    import importlib

    from pinxit import modelfile
    from pinxit.errors import unknown_name
    from pinxit.models import METHODS

    file = modelfile.read(Path(path))
    if file.method not in METHODS:
        raise unknown_name(f"method of model '{path}'", file.method, METHODS)
    return importlib.import_module(f"{METHODS[file.method]}.generate").load(file, device)
