"""Photos in, maps out: sizes, batches, and what a model file must be."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import pinxit
from pinxit.data.labels import numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.deeplabv3.config import Network
from pinxit.models.deeplabv3.generate import Segmenter, highest, load
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.recipe import state_on_cpu

TINY = Network(labels=3, size=(32, 48), depth=18, width=4, output_stride=8, rates=(1, 2), pyramid=8)


def file_of(network: Network = TINY, **changes: Any) -> ModelFile:
    torch.manual_seed(0)
    S = DeepLabV3(network)
    pictures = batch_of(*(photo(*network.size, seed) for seed in range(8))) / 127.5 - 1
    with torch.no_grad():  # drawn as they are, the scores of one label would lie above the others' everywhere
        for _ in range(20):
            S.train()(pictures)
        last = S.classifier[4]
        assert isinstance(last, torch.nn.Conv2d)
        assert last.bias is not None
        last.bias.sub_(S.eval()(pictures)[0].mean(dim=(0, 2, 3)))
    tensors = {f"S.{k}": v for k, v in state_on_cpu(S.state_dict()).items()}
    labels = numbered(network.labels, (255,)).to_json()
    return dataclasses.replace(ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels), **changes)


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    """Soft spots of many colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def batch_of(*photos: Image.Image) -> torch.Tensor:
    return torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in photos])


def test_what_was_saved_segments_alike(tmp_path: Path) -> None:
    file = file_of(card={"licence": "none"})
    file.save(tmp_path)
    model = pinxit.load(tmp_path)
    assert isinstance(model, Segmenter)
    assert model.network == TINY
    assert model.names == ("label 0", "label 1", "label 2")
    assert model.palette.shape == (4, 3)
    assert model.card == {"licence": "none"}
    ids = model.segment(photo(40, 60))
    assert len(np.unique(ids)) == 3
    assert np.array_equal(ids, load(file).segment(photo(40, 60)))


def test_at_the_trained_size_the_map_is_the_highest_score() -> None:
    model = load(file_of())
    pictures = batch_of(photo(32, 48), photo(32, 48, 1))
    with torch.no_grad():
        scores, _ = model.S(pictures.float() / 127.5 - 1)
        scores = F.interpolate(scores, size=(32, 48), mode="bilinear", align_corners=False)
    assert torch.equal(model.segment_batch(pictures), scores.argmax(dim=1))


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (33, 47), (32, 48), (200, 150)])
def test_a_map_is_as_large_as_its_photo(size: tuple[int, int]) -> None:
    ids = load(file_of()).segment(photo(*size))
    assert ids.shape == size
    assert ids.dtype == np.int64
    assert 0 <= ids.min() <= ids.max() < 3


def test_photos_are_seen_at_the_trained_scale() -> None:
    model = load(file_of())
    assert model.computed_size(32, 48) == (32, 48)
    assert model.computed_size(64, 96) == (32, 48)
    assert model.computed_size(96, 64) == (48, 32)
    assert model.computed_size(33, 100) == (24, 72)
    assert model.computed_size(1, 1) == (40, 40)
    assert model.computed_size(1, 1 << 26)[1] < 1 << 20  # a hostile photo must not fill the memory
    # Of the same scene in two sizes the maps agree, but at edges.
    small, large = model.segment(photo(32, 48)), model.segment(photo(64, 96))
    assert (np.kron(small, np.ones((2, 2), int)) == large).mean() > 0.9


def test_alone_as_in_a_batch() -> None:
    model = load(file_of())
    photos = [photo(40, 52, seed) for seed in range(3)]
    together = model.segment_batch(batch_of(*photos))
    assert together.shape == (3, 40, 52)
    assert together.dtype == torch.int64
    for ids, one in zip(together.numpy(), photos, strict=True):
        assert (ids == model.segment(one)).mean() > 0.999  # ties of rounding


def test_grey_and_transparent_pictures_are_photos_too() -> None:
    model = load(file_of())
    grey = photo(20, 20).convert("L")
    assert np.array_equal(model.segment(grey), model.segment(grey.convert("RGB")))


def test_bf16_agrees_but_at_edges() -> None:
    file = file_of()
    exact, quick = (load(file, precision=p).segment(photo(64, 96)) for p in ("fp32", "bf16"))
    assert (exact == quick).mean() > 0.9


def test_enlarging_one_label_at_a_time_changes_nothing() -> None:
    scores = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    at_once = F.interpolate(scores, size=(13, 29), mode="bilinear", align_corners=False).argmax(dim=1)
    assert torch.equal(highest(scores, 13, 29), at_once)
    assert torch.equal(highest(torch.zeros(1, 3, 2, 2), 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("photos", "got"),
    [
        (torch.zeros(1, 3, 8, 8), r"photos is float32 of shape \[1, 3, 8, 8\]"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"uint8 of shape \[3, 8, 8\]"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.uint8), r"uint8 of shape \[1, 4, 8, 8\]"),
        (torch.zeros(1, 3, 0, 8, dtype=torch.uint8), r"expected uint8 \[N, 3, H, W\]; convert them"),
    ],
)
def test_tensors_of_another_form_are_refused(photos: torch.Tensor, got: str) -> None:
    with pytest.raises(PinxitError, match=got):
        load(file_of()).segment_batch(photos)


def test_a_file_that_does_not_hold_together_is_refused() -> None:
    good = file_of()
    with pytest.raises(PinxitError, match="configuration is with 'wings', expected options of this version"):
        load(dataclasses.replace(good, config={**good.config, "wings": 2}))
    with pytest.raises(PinxitError, match="the model's label set is 4 labels, expected 3 as its network"):
        load(dataclasses.replace(good, label_set=numbered(4).to_json()))
    with pytest.raises(PinxitError, match="the model's S is not as its configuration"):
        load(dataclasses.replace(good, config={**good.config, "pyramid": 9}))
    without = {k: v for k, v in good.tensors.items() if k != "S.classifier.4.bias"}
    with pytest.raises(PinxitError, match="the model's S is not as its configuration"):
        load(dataclasses.replace(good, tensors=without))


def test_without_a_label_set_labels_are_numbers(tmp_path: Path) -> None:
    file_of(label_set=None).save(tmp_path)
    assert load(read(tmp_path)).names == ("label 0", "label 1", "label 2")
