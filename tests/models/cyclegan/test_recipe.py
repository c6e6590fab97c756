"""What a step does beside the numbers, which tests/parity holds to account."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.kinds import Kind
from pinxit.data.pairs import Pair
from pinxit.errors import PinxitError
from pinxit.models.cyclegan.config import PRESETS, Data, Network, Training
from pinxit.models.cyclegan.recipe import CycleGANRecipe, build
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

NETWORK = Network(blocks=1, width=2, a=Kind(2), b=Kind(2), test_norm="picture", size=(32, 32))
TRAINING = Training(steps=10, decay_from=5, batch=2, d_width=4, d_layers=2, lr=1e-3, pool=3)


def made(network: Network = NETWORK, **training) -> CycleGANRecipe:
    torch.manual_seed(0)
    return CycleGANRecipe(network, dataclasses.replace(TRAINING, **training), examples=batch(1), seed=3).train()


def batch(seed: int = 0, channels: tuple[int, int] = (2, 2)) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    return Pair(*(torch.rand(2, n, 32, 32, generator=generator) * 2 - 1 for n in channels))


@pytest.mark.parametrize("adversarial", ["ls", "original", "w", "hinge"])
@pytest.mark.parametrize("kind", ["patch", "pixel"])
def test_a_step_moves_every_weight_and_leaves_them_trainable(adversarial: str, kind: str) -> None:
    recipe = made(adversarial=adversarial, discriminator=kind)
    before = {k: v.clone() for k, v in recipe.named_parameters()}
    losses = recipe.step(batch(), 0)
    assert set(losses) == {"AtoB", "BtoA", "cycle_A", "cycle_B", "identity_A", "identity_B", "D_A", "D_B"}
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    still = {k for k, v in recipe.named_parameters() if torch.equal(v, before[k])}
    # Where a loss is linear in the logits, or all are on one side of the hinge, their bias has no gradient; nor do
    # biases in front of the discriminators' norms, but for rounding.
    assert all(name.startswith(("D_A.", "D_B.")) and name.endswith(".bias") for name in still)
    assert not still or adversarial in ("w", "hinge")
    assert all(p.requires_grad for p in recipe.parameters())
    assert all(m.training for m in recipe.modules())


def test_each_loss_has_its_weight() -> None:
    once, twice = made().step(batch(), 0), made(cycle_a=20, cycle_b=30, identity=0.25).step(batch(), 0)
    torch.testing.assert_close(twice["cycle_A"], 2 * once["cycle_A"])
    torch.testing.assert_close(twice["cycle_B"], 3 * once["cycle_B"])
    torch.testing.assert_close(twice["identity_A"], once["identity_A"])
    torch.testing.assert_close(twice["identity_B"], 1.5 * once["identity_B"])
    torch.testing.assert_close(twice["AtoB"], once["AtoB"])


def test_without_identity_the_sides_may_differ_in_channels() -> None:
    network = dataclasses.replace(NETWORK, b=Kind(5, "uint16", 0, 9))
    recipe = made(network, identity=0)
    losses = recipe.step(batch(channels=(2, 5)), 0)
    assert set(losses) == {"AtoB", "BtoA", "cycle_A", "cycle_B", "D_A", "D_B"}
    recipe.examples = batch(1, (2, 5))
    preview = recipe.preview()
    assert preview is not None
    assert preview.shape == (2, 6, 3, 32, 32)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_layout_in_memory_changes_nothing(norm) -> None:
    """The loop trains channels-last, parity is held without; PyTorch had a wrong gradient for one picture there."""
    one = Pair(*(side[:1] for side in batch()))
    plain, last = (made(dataclasses.replace(NETWORK, norm=norm), init="none") for _ in range(2))
    last.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    for step in range(3):
        losses = [recipe.step(one, step) for recipe in (plain, last)]
        for name, loss in losses[0].items():
            torch.testing.assert_close(losses[1][name], loss, rtol=1e-4, atol=1e-5)


def test_rates_decay() -> None:
    recipe = made()
    for step, scale in [(0, 1), (5, 1), (8, 0.4), (9, 0.2)]:
        recipe.step(batch(), step)
        for optimizer in recipe.optimizers.values():
            assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * scale)


def test_discriminators_are_shown_older_fakes() -> None:
    """With the pool the generators' first steps are the same, and the discriminators' once it is full are not."""

    def weights(pool: int, steps: int) -> dict[str, Tensor]:
        recipe = made(pool=pool)
        for step in range(steps):
            recipe.step(batch(step), step)
        return {k: v.clone() for k, v in recipe.state_dict().items() if not k.startswith("pool")}

    for name, value in weights(3, 1).items():
        assert torch.equal(value, weights(0, 1)[name])
    several = [weights(pool, 6) for pool in (3, 0)]
    assert not torch.equal(several[0]["D_A.model.0.weight"], several[1]["D_A.model.0.weight"])
    assert {k for k in made(pool=3).state_dict() if k.startswith("pool")} == set()


def test_the_pools_survive_a_cut(tmp_path: Path) -> None:
    """Cut amid filling, and after; batches and the pools' draws are functions of the step."""
    folder = sides(tmp_path / "data", 4, 5)
    options = dataclasses.replace(PRESETS["tiny"], data=Data(folder))
    options = dataclasses.replace(options, training=dataclasses.replace(options.training, pool=4, steps=9))

    def run(out: Path, steps: int, resume: bool) -> CycleGANRecipe:
        o = dataclasses.replace(options, training=dataclasses.replace(options.training, steps=steps, decay_from=-1))
        recipe = build(o, seed=1)
        where = Run(tmp_path / out, resume=resume, sample_every=0, tensorboard=False)
        train(recipe, where, torch.device("cpu"), {})
        return recipe

    run(Path("whole"), 9, False)
    for steps in (2, 7, 9):
        run(Path("cut"), steps, steps > 2)
    states = [checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut")]
    pools = [name for name in states[0]["recipe"] if name.startswith("pool_")]
    assert len(pools) == 8
    assert states[0]["recipe"].keys() == states[1]["recipe"].keys()
    assert all(torch.equal(v, states[1]["recipe"][k]) for k, v in states[0]["recipe"].items())


def test_dropout_is_a_function_of_the_step() -> None:
    recipe = made(dataclasses.replace(NETWORK, dropout=True))

    def fake(step: int) -> Tensor:
        with recipe.masks(step):
            return recipe.BtoA(recipe.AtoB(batch().a))

    assert torch.equal(fake(0), fake(0))
    assert not torch.equal(fake(0), fake(1))


@pytest.mark.parametrize("dropout", [False, True])
def test_a_preview_is_there_and_back_of_both_sides_and_changes_nothing(dropout: bool) -> None:
    recipe = made(dataclasses.replace(NETWORK, dropout=dropout, test_dropout=dropout))
    before, random = {k: v.clone() for k, v in recipe.state_dict().items()}, torch.get_rng_state()
    first, again = recipe.preview(), recipe.preview()
    assert first is not None
    assert again is not None
    assert first.shape == (2, 6, 3, 32, 32)
    assert torch.equal(first, again)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in recipe.state_dict().items())
    assert all(m.training for m in recipe.modules())
    torch.testing.assert_close(first[:, 0, :2], batch(1).a)
    torch.testing.assert_close(first[:, 3, :2], batch(1).b)
    assert CycleGANRecipe(NETWORK, TRAINING).preview() is None


def test_a_step_puts_every_tensor_on_the_device_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands in for a GPU: it computes nothing, but refuses what is on another device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no such device
    recipe = made(dataclasses.replace(NETWORK, dropout=True)).to("meta")
    on_meta = Pair(*(side.to("meta") for side in batch()))
    recipe.step(on_meta, 0)
    recipe.step(on_meta, 1)  # here the pools are filled
    losses = recipe.step(on_meta, 2)
    assert {loss.device.type for loss in losses.values()} == {"meta"}


def sides(folder: Path, a: int, b: int, sizes: tuple[tuple[int, int], ...] = ((40, 40), (40, 40))) -> Path:
    random = np.random.default_rng(0)
    for side, n, (height, width) in zip("AB", (a, b), sizes, strict=True):
        (folder / f"train{side}").mkdir(parents=True)
        for i in range(n):
            pixels = random.integers(0, 255, (height, width, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"train{side}" / f"{side}{i}.png")
    return folder


def test_sides_of_other_sizes_and_counts(tmp_path: Path) -> None:
    folder = sides(tmp_path, 2, 5, ((48, 36), (60, 90)))
    tiny = PRESETS["tiny"]
    for preprocess, shapes in (("resize_and_crop", ((32, 32), (32, 32))), ("none", ((48, 36), (60, 88)))):
        training = dataclasses.replace(tiny.training, preprocess=preprocess)
        recipe = build(dataclasses.replace(tiny, data=Data(folder), training=training)).train()
        stage = next(recipe.stages())
        pair = next(stage.batches(0))
        assert (pair.a.shape[2:], pair.b.shape[2:]) == shapes
        for step in range(5):
            stage.step(pair, step)
        preview = recipe.preview()
        assert preview is not None
        assert preview.shape[:2] == ((2, 6) if preprocess == "resize_and_crop" else (1, 6))


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]
    for side, channels in (("A", 3), ("B", 4)):
        (tmp_path / f"train{side}").mkdir()
        np.save(tmp_path / f"train{side}" / "0.npy", np.zeros((40, 40, channels), np.uint8))
    got = "0.5 with 3 channels of A and 4 of B"
    with pytest.raises(PinxitError, match=f"^--identity is {got}, expected sides of equally many channels; add --iden"):
        build(dataclasses.replace(tiny, data=Data(tmp_path)))
    training = dataclasses.replace(tiny.training, identity=0.0)
    assert build(dataclasses.replace(tiny, data=Data(tmp_path), training=training)).network.b == Kind(4)
    with pytest.raises(PinxitError, match=r"^data folder is missing, expected"):
        build(tiny)
    with pytest.raises(PinxitError, match=r"^--size is 30 32, expected multiples of 4, 8 or more; round it"):
        dataclasses.replace(tiny.network, size=(30, 32))
    with pytest.raises(PinxitError, match=r"^picture size after --preprocess is 32x30 .*, expected multiples of 4"):
        made().step(Pair(torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 30)), 0)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The losses, and weights and pools after them; the pools are full after the second of the steps.

    The two differ in the order of sums alone. Adam's first steps have the size of the learning rate whatever the
    gradient's is, so where that is 0 but for rounding a weight moves in whatever direction the rounding has; from there
    on the two slowly part.
    """
    sides(tmp_path / "data", 4, 5)
    options = (
        f"-m pinxit train cyclegan --preset tiny --data {tmp_path / 'data'} --batch 4 --pool 6 --norm batch --dropout "
        "--init none --steps 5 --log-every 1 --sample-every 0 --device cpu --out"
    ).split()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in ([sys.executable, *options, tmp_path / "one"], [*torchrun, *options, tmp_path / "two"]):
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    logs = [[*map(json.loads, (tmp_path / n / "log.jsonl").read_text().splitlines())] for n in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 5
    for i, (a, b) in enumerate(zip(*logs, strict=True)):
        for name in ("AtoB", "BtoA", "cycle_A", "cycle_B", "identity_A", "D_A", "D_B"):
            assert a[name] == pytest.approx(b[name], rel=1e-4 if i == 0 else 1e-2)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert sum(name.startswith("pool_") for name in one) == 12
    for name, value in one.items():
        assert (value - two[name]).abs().mean() < (0.01 if name.startswith("pool_") else 1e-4), name


def test_the_forecast_is_of_the_right_size_and_proposes_the_small_preset() -> None:
    sides = {"a": Kind(), "b": Kind()}
    recipe = CycleGANRecipe(dataclasses.replace(PRESETS["cpu"].network, **sides), PRESETS["cpu"].training)
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    told = recipe.forecast()
    assert recipe.foretold is told
    assert not told.others
    assert 1 << 27 < told.memory < 1 << 30
    assert 60 < told.seconds < 1e6
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())
    long = dataclasses.replace(PRESETS["cpu"].training, steps=10**6)
    assert "cpu" in CycleGANRecipe(dataclasses.replace(PRESETS["cpu"].network, **sides), long).forecast().others
