"""Small PoE-GANs with random weights, for a studio."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from pinxit.data.labels import LabelSet, load_label_set
from pinxit.models.poegan.config import MODALITIES, PRESETS
from pinxit.models.poegan.recipe import PoEGANRecipe
from pinxit.text.training import Texts

CAMVID = load_label_set("camvid")


def mixed_model(folder: Path, inputs: tuple[str, ...] = MODALITIES, labels: LabelSet = CAMVID) -> Path:
    """A model that takes `inputs`; -> its folder."""
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    known = {"labels": len(labels.labels), "unknown": bool(labels.ignore)} if "map" in inputs else {}
    network = dataclasses.replace(tiny.network, inputs=inputs, **known)
    texts = Texts(width=network.text_width) if "text" in inputs else None
    file = PoEGANRecipe(network, tiny.training, labels if known else None, texts).model_file()
    # Untrained it paints all but grey, where some conditions would be lost in the rounding.
    tensors = {name: x * 8 if name == "G.out.weight" else x for name, x in file.tensors.items()}
    card = {"name": folder.name.title(), "what": "Paints by anything.", "licence": "own"}
    dataclasses.replace(file, tensors=tensors, card=card).save(folder)
    return folder
