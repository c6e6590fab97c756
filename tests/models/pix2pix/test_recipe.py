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
from pinxit.models.pix2pix.config import PRESETS, Data, Network, Options, Training
from pinxit.models.pix2pix.recipe import Pix2PixRecipe, build, resolve
from pinxit.nn.dropout import Dropout
from pinxit.training.config import Run
from pinxit.training.loop import train

A, B = Kind(2, "uint16", 0, 65535), Kind(1)
NETWORK = Network(depth=6, width=2, input=A, output=B, test_norm="running", size=(64, 64))
TRAINING = Training(steps=10, decay_from=5, batch=2, d_width=4, d_layers=2, lr=1e-3)


def made(network: Network = NETWORK, **training) -> Pix2PixRecipe:
    torch.manual_seed(0)
    t = dataclasses.replace(TRAINING, **training)
    return Pix2PixRecipe(network, t, examples=batch(1), seed=3).train()


def batch(seed: int = 0) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.rand(2, n, 64, 64, generator=generator) * 2 - 1 for n in (2, 1))
    return Pair(a, b)


@pytest.mark.parametrize("adversarial", ["original", "ls", "hinge", "w"])
@pytest.mark.parametrize("kind", ["patch", "pixel"])
def test_a_step_moves_every_weight_and_leaves_them_trainable(adversarial: str, kind: str) -> None:
    recipe = made(adversarial=adversarial, discriminator=kind)
    before = {k: v.clone() for k, v in recipe.named_parameters()}
    losses = recipe.step(batch(), 0)
    assert set(losses) == {"GAN", "L1", "D_fake", "D_real"} | ({"penalty"} if adversarial == "w" else set())
    assert all(loss.isfinite() and not loss.requires_grad for loss in losses.values())
    still = {k for k, v in recipe.named_parameters() if torch.equal(v, before[k])}
    # Where a loss is linear in the logits, or all are on one side of the hinge, their bias has no gradient.
    assert still <= ({"D.model.8.bias"} if adversarial in ("w", "hinge") and kind == "patch" else set())
    assert all(p.requires_grad for p in recipe.parameters())
    assert all(m.training for m in recipe.modules())


def test_without_a_penalty_wasserstein_is_the_official_wgangp() -> None:
    assert "penalty" not in made(adversarial="w", gradient_penalty=0).step(batch(), 0)
    losses = [made(adversarial="w", gradient_penalty=weight).step(batch(), 0) for weight in (1, 2)]
    torch.testing.assert_close(2 * losses[0]["penalty"], losses[1]["penalty"])
    torch.testing.assert_close(losses[0]["D_real"], losses[1]["D_real"])
    norms = made(dataclasses.replace(NETWORK, norm="instance"), adversarial="w").step(batch(), 0)
    assert norms["penalty"].isfinite()


def test_l1_has_its_weight() -> None:
    twice, once = (made(l1=weight).step(batch(), 0) for weight in (20, 10))
    torch.testing.assert_close(twice["L1"], 2 * once["L1"])
    torch.testing.assert_close(twice["GAN"], once["GAN"])


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("kind", ["unet", "resnet"])
def test_the_layout_in_memory_changes_nothing(norm, kind) -> None:
    """The loop trains channels-last, parity is held without; PyTorch had a wrong gradient for one picture there."""
    one = Pair(*(side[:1] for side in batch()))
    network = dataclasses.replace(NETWORK, norm=norm, generator=kind, blocks=1)
    plain, last = (made(network, init="none") for _ in range(2))
    last.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    for step in range(3):
        losses = [recipe.step(one, step) for recipe in (plain, last)]
        for name, loss in losses[0].items():
            torch.testing.assert_close(losses[1][name], loss, rtol=1e-3, atol=1e-4)


def test_rates_decay() -> None:
    recipe = made()
    for step, scale in [(0, 1), (5, 1), (8, 0.4), (9, 0.2)]:
        recipe.step(batch(), step)
        for optimizer in recipe.optimizers.values():
            assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * scale)


def test_dropout_is_another_in_each_step_but_the_same_in_each_run() -> None:
    def fakes(seed: int) -> list[Tensor]:
        recipe = made()
        recipe.seed = seed
        found = []
        for step in (0, 0, 1):
            torch.rand(step + 1)  # the global generator has no part in it
            with recipe.masks(step):
                found.append(recipe.G(batch().a))
        return found

    assert any(isinstance(m, Dropout) for m in made().G.modules())
    first, again, next_step = fakes(0)
    assert torch.equal(first, again)
    assert not torch.equal(first, next_step)
    assert torch.equal(next_step, fakes(0)[2])
    assert not torch.equal(first, fakes(1)[0])
    plain = made(dataclasses.replace(NETWORK, dropout=False))
    assert not any(isinstance(m, Dropout) for m in plain.G.modules())


def test_direction_swaps_the_sides() -> None:
    network = resolve(dataclasses.replace(NETWORK, input=None, output=None), (A, B), "BtoA", TRAINING)
    assert (network.input, network.output) == (B, A)
    torch.manual_seed(0)
    recipe = Pix2PixRecipe(network, TRAINING, "BtoA", examples=batch(1)).train()
    into, real = recipe.in_and_out(batch())
    assert torch.equal(into, batch().b)
    assert torch.equal(real, batch().a)
    recipe.step(batch(), 0)
    assert json.loads(json.dumps(recipe.model_file().config))["input"] == B.as_dict()


def test_the_finished_models_statistics_hang_on_the_batch() -> None:
    free = dataclasses.replace(NETWORK, test_norm=None)
    for size, expected in ((1, "picture"), (2, "running")):
        t = dataclasses.replace(TRAINING, batch=size)
        assert resolve(free, (A, B), "AtoB", t).test_norm == expected
        assert resolve(dataclasses.replace(free, test_norm="picture"), (A, B), "AtoB", t).test_norm == "picture"


@pytest.mark.parametrize("test_norm", ["picture", "running"])
@pytest.mark.parametrize("test_dropout", [True, False])
def test_a_preview_is_input_output_and_truth_and_changes_nothing(test_norm, test_dropout: bool) -> None:
    recipe = made(dataclasses.replace(NETWORK, test_norm=test_norm, test_dropout=test_dropout))
    recipe.step(batch(), 0)
    before, random = {k: v.clone() for k, v in recipe.state_dict().items()}, torch.get_rng_state()
    first, again = recipe.preview(), recipe.preview()
    assert first is not None
    assert again is not None
    assert first.shape == (2, 3, 3, 64, 64)
    assert torch.equal(first, again)
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in recipe.state_dict().items())
    assert all(m.training for m in recipe.modules())
    torch.testing.assert_close(first[:, 0, :2], batch(1).a)
    torch.testing.assert_close(first[:, 2], batch(1).b.expand(-1, 3, -1, -1))
    assert Pix2PixRecipe(NETWORK, TRAINING).preview() is None


def test_half_precision_is_of_the_file_alone() -> None:
    recipe = made(store="float16")
    file = recipe.model_file()
    for name, value in file.tensors.items():
        assert value.dtype == (torch.float16 if value.dim() == 4 else torch.float32), name
        assert recipe.G.get_parameter(name.removeprefix("G.")).dtype == torch.float32 if "weight" in name else True
    assert {v.dtype for v in made().model_file().tensors.values()} == {torch.float32}


def test_a_step_puts_every_tensor_on_the_device_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands in for a GPU: it computes nothing, but refuses what is on another device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no such device
    recipe = made(adversarial="w").to("meta")
    losses = recipe.step(Pair(*(side.to("meta") for side in batch())), 0)
    assert {loss.device.type for loss in losses.values()} == {"meta"}


def test_bf16_trains(tmp_path: Path) -> None:
    recipe = made(adversarial="w")
    with torch.autocast("cpu", torch.bfloat16):
        losses = recipe.step(batch(), 0)
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (32, 64)])
def test_sizes_that_the_halvings_do_not_divide_are_refused(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^--size is \d+ \d+, expected multiples of 64, 64 or more; round it, or"):
        build(Options(Data(tmp_path), dataclasses.replace(NETWORK, size=size), TRAINING))
    with pytest.raises(PinxitError, match=r"^picture size after --preprocess is 64x96 .*, expected multiples of 64"):
        made().step(Pair(torch.zeros(1, 2, 64, 96), torch.zeros(1, 1, 64, 96)), 0)


def pairs(folder: Path, split: str, n: int, size: tuple[int, int] = (40, 48)) -> Path:
    random = np.random.default_rng(0)
    (folder / split).mkdir(parents=True)
    for i in range(n):
        blocks = np.kron(random.integers(0, 255, (size[0] // 4, size[1] // 2, 3)), np.ones((4, 4, 1)))
        Image.fromarray(blocks.astype(np.uint8)).save(folder / split / f"{split}{i}.png")
    return folder


def test_previews_are_of_the_held_out_split_where_there_is_one(tmp_path: Path) -> None:
    folder = pairs(tmp_path, "train", 5)
    tiny = PRESETS["tiny"]
    options = dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder, rows=3))
    before = build(options).examples
    assert before is not None
    assert len(before.a) == 3
    pairs(tmp_path, "val", 2)
    held_out = build(options).examples
    assert held_out is not None
    assert len(held_out.a) == 2
    assert build(dataclasses.replace(options, data=dataclasses.replace(options.data, rows=0))).examples is None
    # Sizes of their own: one row.
    as_is = dataclasses.replace(tiny.training, preprocess="none", batch=1)
    examples = build(dataclasses.replace(options, training=as_is)).examples
    assert examples is not None
    assert examples.a.shape == (1, 3, 32, 32) or examples.a.shape[0] == 1


def test_both_sides_may_be_folders_of_other_kinds(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side in "ab":
        (tmp_path / side).mkdir()
    for i in range(3):
        np.save(tmp_path / "a" / f"{i}.npy", random.normal(size=(40, 40, 4)).astype(np.float32))
        Image.fromarray(random.integers(0, 65535, (40, 40)).astype(np.uint16)).save(tmp_path / "b" / f"{i}.png")
    tiny = PRESETS["tiny"]
    data = dataclasses.replace(tiny.data, a=tmp_path / "a", b=tmp_path / "b", direction="BtoA", range_a=(-3.0, 3.0))
    recipe = build(dataclasses.replace(tiny, data=data)).train()
    assert recipe.network.input == Kind(1, "uint16", 0, 65535)
    assert recipe.network.output == Kind(4, "float32", -3, 3)
    stage = next(recipe.stages())
    assert all(loss.isfinite() for loss in stage.step(next(stage.batches(0)), 0).values())
    preview = recipe.preview()
    assert preview is not None
    assert preview.shape[:3] == (3, 3, 3)


def test_what_is_wrong_with_the_data_is_told_before_training(tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]
    (tmp_path / "train").mkdir()
    Image.new("RGB", (81, 40)).save(tmp_path / "train" / "odd.png")
    with pytest.raises(PinxitError, match=r"odd.png.* 81, expected an even number"):
        build(dataclasses.replace(tiny, data=Data(tmp_path)))
    with pytest.raises(PinxitError, match=r"^data folder is missing, expected"):
        build(tiny)


def test_rows_and_statistics_may_change_when_a_run_is_resumed(tmp_path: Path) -> None:
    tiny = PRESETS["tiny"]
    options = dataclasses.replace(tiny, data=Data(pairs(tmp_path / "data", "train", 4)))
    train(build(options), Run(tmp_path / "run", sample_every=0, tensorboard=False), torch.device("cpu"), {})
    other = dataclasses.replace(
        options,
        network=dataclasses.replace(options.network, test_norm="picture", test_dropout=True),
        training=dataclasses.replace(options.training, steps=22, store="float16"),
    )
    run = Run(tmp_path / "run", resume=True, sample_every=0, tensorboard=False)
    recipe = build(other)
    train(recipe, run, torch.device("cpu"), {})
    assert recipe.model_file().config["test_norm"] == "picture"


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The losses, and the weights after them: batch norm, dropout and the penalty's points are those of the batch.

    The two differ in the order of sums alone. Adam's first steps have the size of the learning rate whatever the
    gradient's is, so where that is 0 but for rounding a weight moves in whatever direction the rounding has; from there
    on the two slowly part.
    """
    pairs(tmp_path / "data", "train", 6, (64, 64))
    options = (
        f"-m pinxit train pix2pix --preset tiny --data {tmp_path / 'data'} --depth 6 --batch 4 --adversarial w "
        "--init none --steps 4 --log-every 1 --sample-every 0 --device cpu --out"
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
    assert len(logs[0]) == len(logs[1]) == 4
    for i, (a, b) in enumerate(zip(*logs, strict=True)):
        for name in ("GAN", "L1", "D_fake", "D_real", "penalty"):
            assert a[name] == pytest.approx(b[name], rel=1e-4 if i == 0 else 1e-2, abs=1e-4)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value - two[name]).abs().mean() < 1e-4, name


def test_the_forecast_is_of_the_right_size_and_proposes_the_small_preset() -> None:
    kinds = {"input": Kind(), "output": Kind()}
    recipe = Pix2PixRecipe(dataclasses.replace(PRESETS["cpu"].network, **kinds), PRESETS["cpu"].training)
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    told = recipe.forecast()
    assert recipe.foretold is told
    assert not told.others
    assert 1 << 26 < told.memory < 1 << 29  # 12 million weights and moments, and activations of four pictures
    assert 60 < told.seconds < 1e6
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())
    large = dataclasses.replace(PRESETS["facades"].training, steps=10**6)
    assert "cpu" in Pix2PixRecipe(dataclasses.replace(PRESETS["cpu"].network, **kinds), large).forecast().others
