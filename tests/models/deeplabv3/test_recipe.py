"""The objective, the schedule, how photos are varied, and that a tiny network learns."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import pinxit
from pinxit.data.folders import find
from pinxit.data.images import read_map, read_photo
from pinxit.data.labels import LabelSet, load_label_set, numbered
from pinxit.data.stream import LabelPhotos
from pinxit.errors import PinxitError
from pinxit.models.deeplabv3.config import PRESETS, Data, Network, Options, Training
from pinxit.models.deeplabv3.recipe import (
    DeepLabV3Recipe,
    build,
    label_weights,
    poly,
    recoloured,
    zoomed,
)
from pinxit.training.config import Run
from pinxit.training.loop import train

TINY = dataclasses.replace(PRESETS["tiny"].network, labels=3)
LABELS = numbered(3, (255,))
UNKNOWN = 3


def recipe(**training: Any) -> DeepLabV3Recipe:
    torch.manual_seed(0)
    return DeepLabV3Recipe(TINY, Training(**{"steps": 100, "batch": 4, **training}), LABELS, seed=5)


def options(blocks: Path, **training: Any) -> Options:
    tiny = PRESETS["tiny"]
    return Options(
        Data(data=blocks, label_set=str(blocks / "labels.json")),
        dataclasses.replace(tiny.network, size=(48, 64)),
        dataclasses.replace(tiny.training, **training),
    )


def test_poly() -> None:
    assert poly(0, 30_000, 0.9) == 1
    assert poly(15_000, 30_000, 0.9) == pytest.approx(0.5**0.9)
    assert poly(29_999, 30_000, 0.9) == pytest.approx((1 / 30_000) ** 0.9)
    assert poly(30_000, 30_000, 0.9) == poly(40_000, 30_000, 0.9) == 0


def test_rates_rise_then_fall() -> None:
    r = recipe(lr=0.1, warm_up=9, scale=(1.0, 1.0))
    batch = LabelPhotos(torch.zeros(2, 32, 32, dtype=torch.int64), torch.zeros(2, 3, 32, 32))
    rates = []
    for step in (0, 9, 50, 99):
        r.step(batch, step)
        rates += {group["lr"] for group in r.optimizers["S"].param_groups}
    assert rates == pytest.approx([0.01, 0.1 * 0.91**0.9, 0.1 * 0.5**0.9, 0.1 * 0.01**0.9])


def test_the_loss_is_the_mean_over_labelled_pixels() -> None:
    random = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 3, 8, 8, generator=random)
    labels = torch.randint(0, 4, (2, 8, 8), generator=random)
    each = -scores.log_softmax(dim=1).permute(0, 2, 3, 1)[labels < UNKNOWN]
    expected = each.gather(1, labels[labels < UNKNOWN][:, None]).mean()
    torch.testing.assert_close(recipe().loss(scores, labels), expected)


def test_labels_count_by_their_weights() -> None:
    r = recipe()
    r.label_weights.copy_(torch.tensor([1.0, 2.0, 4.0]))
    scores = torch.randn(1, 3, 4, 4)
    labels = torch.tensor([0, 1, 2, 3]).repeat(1, 4, 1)
    expected = F.cross_entropy(scores, labels, torch.tensor([1.0, 2.0, 4.0]), ignore_index=3)
    torch.testing.assert_close(r.loss(scores, labels), expected)


def test_unknown_pixels_give_no_gradient() -> None:
    scores = torch.randn(1, 3, 6, 6, requires_grad=True)
    labels = torch.full((1, 6, 6), UNKNOWN)
    labels[:, 2, 3] = 1
    recipe().loss(scores, labels).backward()
    assert scores.grad is not None
    touched = scores.grad.abs().sum(dim=1)[0] > 0
    assert touched.nonzero().tolist() == [[2, 3]]


def test_a_batch_without_a_labelled_pixel_moves_nothing() -> None:
    r = recipe(weight_decay=0.0, scale=(1.0, 1.0))
    before = [p.clone() for p in r.S.parameters()]
    losses = r.step(LabelPhotos(torch.full((2, 32, 32), UNKNOWN), torch.rand(2, 3, 32, 32)), 0)
    assert losses["segmentation"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, r.S.parameters(), strict=True))


def test_norms_and_biases_do_not_decay() -> None:
    decayed, free = recipe(weight_decay=0.1).optimizers["S"].param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {4}
    assert {p.ndim for p in free["params"]} == {1}
    assert len(decayed["params"]) + len(free["params"]) == len(list(recipe().S.parameters()))


def test_zooming_in_shows_a_part() -> None:
    labels = torch.arange(64).reshape(1, 8, 8)
    photo = labels[:, None].float().expand(-1, 3, -1, -1) / 32 - 1
    same = zoomed(photo, labels, 1.0, 0.3, 0.7, unknown=99)
    assert same[0] is photo
    assert same[1] is labels
    _, ids = zoomed(photo, labels, 2.0, 1.0, 0.0, unknown=99)  # the lower left quarter, each pixel four times
    assert torch.equal(ids, labels[:, 4:, :4].repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_zooming_out_leaves_unknown_around() -> None:
    labels = torch.ones(1, 8, 8, dtype=torch.int64)
    photo, ids = zoomed(torch.ones(1, 3, 8, 8), labels, 0.5, 0.0, 1.0, unknown=99)
    # The window's upper edge is 8 pixels above the photo's where `down` is 0, and its right edge is the photo's.
    inside = ids[0] == 1
    assert (ids[0][~inside] == 99).all()
    assert photo[0, 0][inside].mean() > 0.85
    assert photo[0, 0][~inside].mean() < 0.15
    rows, columns = inside.nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 3, 4, 7)


@pytest.mark.parametrize("scale", [0.5, 0.77, 1.3, 2.0])
def test_photo_and_map_stay_together(scale: float) -> None:
    """A photo that shows its map, block by block, still does after zooming, but where a pixel lies half in another
    block; a map that lay one pixel off would miss a quarter of them."""
    blocks = torch.randint(0, 2, (6, 6), generator=torch.Generator().manual_seed(0))
    labels = torch.kron(blocks, torch.ones(8, 8, dtype=torch.int64))[None]
    photo = (labels.float() * 2 - 1)[:, None].expand(-1, 3, -1, -1)
    photo, ids = zoomed(photo, labels, scale, 0.4, 0.6, unknown=UNKNOWN)
    assert photo.shape == (1, 3, 48, 48)
    known = ids < UNKNOWN
    right = (photo[:, 0] > 0).long() == ids
    assert right[known].float().mean() > 0.87


def test_recolouring() -> None:
    photo = torch.rand(1, 3, 8, 8) - 0.5
    torch.testing.assert_close(recoloured(photo, 1, 1, 1), photo)
    grey = recoloured(photo, 1, 1, 0)
    torch.testing.assert_close(grey[:, 0], grey[:, 2])
    torch.testing.assert_close(recoloured(photo, 1, 0, 1).std(), torch.tensor(0.0))
    torch.testing.assert_close(recoloured(photo, 0.5, 1, 1), (photo + 1) / 2 - 1)


def test_what_a_photo_becomes_is_a_function_of_the_step() -> None:
    r = recipe(jitter=0.3)
    batch = LabelPhotos(torch.randint(0, 3, (3, 32, 32)), torch.rand(3, 3, 32, 32))
    once, again, other = r.varied(batch, 7), r.varied(batch, 7), r.varied(batch, 8)
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(once[0], other[0])
    assert once[1].dtype == torch.int64


def test_weights_of_labels(blocks: Path) -> None:
    items, labels = find(blocks, "train"), load_label_set(blocks / "labels.json")
    counts = sum(np.bincount(read_map(i.label, labels).ravel(), minlength=4)[:3] for i in items)
    expected = np.median(counts) / counts
    assert label_weights(items, labels, 1.0).numpy() == pytest.approx(expected)
    assert label_weights(items, labels, 0.5).numpy() == pytest.approx(expected**0.5)
    wider = LabelSet("wider", (*labels.labels, dataclasses.replace(labels.labels[0], id=9, name="none")), (255,))
    assert label_weights(items, wider, 1.0)[3] == 1


def test_it_learns(blocks: Path, tmp_path: Path) -> None:
    r = build(options(blocks, steps=60, batch=4, lr=0.1, warm_up=5, auxiliary=0.4, balance=0.5), seed=1)
    assert r.S.aux_classifier is not None
    train(r, Run(tmp_path / "run", sample_every=60, tensorboard=False), torch.device("cpu"), {})
    model = pinxit.load(tmp_path / "run")
    assert not any("aux_classifier" in name for name in r.model_file().tensors)
    right = total = 0
    for item in find(blocks, "val"):
        assert item.photo is not None
        truth = read_map(item.label, model.label_set)
        known = truth < 3
        right += (model.segment(read_photo(item.photo)) == truth)[known].sum()
        total += known.sum()
    assert right / total > 0.85
    sheet = r.preview()
    assert sheet is not None
    assert sheet.shape == (3, 3, 3, 48, 64)
    assert r.S.training
    truth_of_sheet = sheet[:, 1]
    assert (truth_of_sheet - sheet[:, 2]).abs().mean() < 0.2


def test_the_average_begins_with_the_backbone(blocks: Path, tmp_path: Path) -> None:
    o = options(blocks)
    donor = build(o, seed=9)
    state = {k.removeprefix("S.backbone."): v for k, v in donor.state_dict().items() if k.startswith("S.backbone.")}
    torch.save({**state, "fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}, tmp_path / "resnet.pth")
    r = build(dataclasses.replace(o, data=dataclasses.replace(o.data, backbone_weights=tmp_path / "resnet.pth")))
    assert r.ema is not None
    for S in (r.S, r.ema.average):
        found = {k.removeprefix("backbone."): v for k, v in S.state_dict().items() if k.startswith("backbone.")}
        assert found.keys() == state.keys()
        assert all(torch.equal(found[k], state[k]) for k in state)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(), "--data is missing, expected a data set's folder, or --maps and --photos"),
        (Data(data=Path("x"), maps=Path("y")), "--data is given with --maps or --photos"),
    ],
)
def test_what_to_train_on_is_said_once(data: Data, message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        build(Options(data))


def test_another_number_of_labels_is_refused(blocks: Path) -> None:
    o = options(blocks)
    with pytest.raises(PinxitError, match=r"label set 'blocks' is 3 labels, expected 5; mend --label-set or --labels"):
        build(dataclasses.replace(o, network=Network(labels=5)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"batch": 1}, "--batch is 1, expected 2 or more"),
        ({"scale": (2.0, 0.5)}, "--scale is 2.0 0.5"),
        ({"momentum": 1.0}, "--momentum is 1.0, expected below 1"),
        ({"ema": 1.0}, "--ema is 1.0, expected below 1"),
        ({"lr": -1.0}, "--lr is -1.0, expected 0 or more"),
    ],
)
def test_options_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        Training(**values)


# Each rank takes half of the batch; in the one half there are many unknown pixels, in the other few.
RANK = """
import runpy, sys, torch
import torch.distributed as dist
from pinxit.training.distributed import processes

test = runpy.run_path(sys.argv[1])
with processes(torch.device("cpu")):
    weights, loss = test["two_steps"](dist.get_rank(), 2)
    torch.save([weights, loss], f"{sys.argv[2]}/{dist.get_rank()}.pt")
"""


def two_steps(rank: int, world: int) -> tuple[torch.Tensor, torch.Tensor]:
    r = recipe(lr=0.05, jitter=0.2)
    torch.manual_seed(3)
    labels, photo = torch.randint(0, 3, (4, 48, 48)), torch.rand(4, 3, 48, 48) * 2 - 1
    labels[:2, 8:] = UNKNOWN
    rows = slice(rank * 4 // world, (rank + 1) * 4 // world)
    losses = [r.step(LabelPhotos(labels[rows], photo[rows]), step)["segmentation"] for step in (0, 1)]
    return torch.cat([p.detach().flatten() for p in r.S.parameters()]), torch.stack(losses)


def test_two_processes_are_one(tmp_path: Path) -> None:
    (tmp_path / "rank.py").write_text(RANK)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "rank.py"), __file__, str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (weights, first), (same, second) = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(weights, same)
    alone, loss = two_steps(0, 1)
    torch.testing.assert_close((first + second) / 2, loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weights, alone, rtol=1e-3, atol=1e-4)
