"""What a step and the stages do beside the numbers, which tests/parity holds to account."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.data.kinds import Kind
from pinxit.data.labels import numbered
from pinxit.data.pairs import Pair
from pinxit.data.stream import LabelPhotos
from pinxit.errors import PinxitError
from pinxit.modelfile import read
from pinxit.models.pix2pixhd.config import PRESETS, Network, Options, Training
from pinxit.models.pix2pixhd.generate import Model, config_of
from pinxit.models.pix2pixhd.recipe import Pix2PixHDRecipe, build, preprocess_of, resolve
from pinxit.recipe import Recipe
from pinxit.training import checkpoint
from pinxit.training.checkpoint import Position
from pinxit.training.config import Run
from pinxit.training.loop import train

NETWORK = Network(
    labels=3,
    unknown=True,
    instances=True,
    size=(32, 64),
    width=2,
    downsamplings=2,
    blocks=1,
    enhancers=1,
    enhancer_blocks=1,
    features="instance",
    encoder_width=2,
    encoder_downsamplings=2,
    clusters=3,
)
TRAINING = Training(steps=10, decay_from=5, batch=2, d_width=4, perceptual=0, lr=1e-3)


class Distance(nn.Module):
    """In place of VGG-19: one weight, and the plain difference of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0), requires_grad=False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        return (self.weight * (fake - real).abs()).mean()


class Stream:
    def __init__(self, *batches: Any) -> None:
        self.given = batches

    def batches(self, start: int = 0) -> Iterator[Any]:
        while True:
            yield self.given[start % len(self.given)]
            start += 1


def batch(seed: int = 0, height: int = 32, width: int = 64) -> LabelPhotos:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (2, height // 8, width // 8), generator=generator)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return LabelPhotos(labels, torch.rand(2, 3, height, width, generator=generator) * 2 - 1, labels + 100)


def opened(level: int, enhancers: int = 1) -> tuple[Any, LabelPhotos]:
    size = (32 >> (enhancers - level), 64 >> (enhancers - level))
    return Stream(batch(0, *size), batch(1, *size), batch(2, *size)), batch(3, *size)


def made(network: Network = NETWORK, distance: nn.Module | None = None, **training: Any) -> Pix2PixHDRecipe:
    torch.manual_seed(0)
    t = dataclasses.replace(TRAINING, **training)
    recipe = Pix2PixHDRecipe(network, t, numbered(3, (255,)), opened, perceptual=distance)
    return recipe.train()


def test_losses_are_those_that_are_asked_for() -> None:
    every = {"GAN", "feature_matching", "D_fake", "D_real"}
    assert set(made().step(batch(), 0)) == every
    assert set(made(feature_matching=0).step(batch(), 0)) == every - {"feature_matching"}
    assert "perceptual" not in made(distance=Distance(), perceptual=0).step(batch(), 0)
    losses = made(distance=Distance(), perceptual=3).step(batch(), 0)
    assert not any(loss.requires_grad for loss in losses.values())
    twice = made(distance=Distance(), perceptual=6, feature_matching=20).step(batch(), 0)
    for name in ("perceptual", "feature_matching"):
        torch.testing.assert_close(twice[name], 2 * losses[name])
    torch.testing.assert_close(twice["GAN"], losses["GAN"])


@pytest.mark.parametrize("features", ["none", "instance", "label"])
def test_a_step_moves_every_weight_and_leaves_them_trainable(features) -> None:
    recipe = made(dataclasses.replace(NETWORK, features=features))
    before = {k: v.clone() for k, v in recipe.named_parameters()}
    recipe.step(batch(), 0)
    assert [k for k, v in recipe.named_parameters() if torch.equal(v, before[k])] == []
    assert all(p.requires_grad for p in recipe.parameters())


@pytest.mark.parametrize("kind", ["ls", "original", "hinge", "w"])
@pytest.mark.parametrize("pool", [0, 3])
def test_checkpointing_trains_the_same(kind, pool: int) -> None:
    states = []
    for checkpointing in (False, True):
        recipe = made(adversarial=kind, pool=pool, checkpointing=checkpointing, distance=Distance(), perceptual=3)
        losses = [recipe.step(batch(i), i) for i in range(3)]
        states.append((losses, recipe.state_dict()))
    assert states[0][0] == states[1][0]
    assert all(torch.equal(v, states[1][1][k]) for k, v in states[0][1].items())


def test_rates_decay() -> None:
    recipe = made()
    for step, scale in [(0, 1), (5, 1), (8, 0.4), (9, 0.2)]:
        recipe.step(batch(), step)
        for optimizer in recipe.optimizers.values():
            assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * scale)
            assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)


def test_the_perceptual_distance_moves_with_the_networks_but_is_not_saved_with_them() -> None:
    distance = Distance()
    recipe = made(distance=distance, perceptual=3)
    assert not any("perceptual" in name for name in recipe.state_dict())
    recipe.to(torch.float64)
    assert distance.weight.dtype == torch.float64


def test_a_step_puts_every_tensor_on_the_device_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands in for a GPU: it computes nothing, but refuses what is on another device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no such device
    plain = dataclasses.replace(NETWORK, features="none")
    recipe = made(plain, distance=Distance(), perceptual=3, ema=0.9).to("meta")
    losses = recipe.step(LabelPhotos(*(part.to("meta") for part in batch() if part is not None)), 0)
    assert {loss.device.type for loss in losses.values()} == {"meta"}


SCHEDULE: dict[str, Any] = {
    "coarse_steps": 3,
    "coarse_decay_from": 1,
    "frozen_steps": 2,
    "steps": 4,
    "decay_from": 2,
    "d_scales": 3,
}


def test_stages_go_from_coarse_to_fine() -> None:
    recipe = made(**SCHEDULE)
    seen = []
    for stage in recipe.stages():
        sizes = next(stage.batches(0)).photo.shape[2:]
        before = {k: v.clone() for k, v in recipe.named_parameters()}
        recipe.step(next(stage.batches(0)), 0)
        still = {
            k.split(".")[0] + "." + k.split(".")[1] for k, v in recipe.named_parameters() if torch.equal(v, before[k])
        }
        rates = [[], []]
        for i in range(stage.steps):
            stage.step(next(stage.batches(i)), i)
            for rate, optimizer in zip(rates, recipe.optimizers.values(), strict=True):
                rate.append(optimizer.param_groups[0]["lr"] / 1e-3)
        assert rates[0] == rates[1]
        seen.append((stage.name, stage.steps, tuple(sizes), len(recipe.D.scales), recipe.G.level, still, rates[0]))
        assert all(p.requires_grad for p in recipe.parameters())
    assert seen == [
        ("global", 3, (16, 32), 2, 0, set(), [1, 1, 0.5]),
        ("enhancer1_alone", 2, (32, 64), 3, 1, {"G.model"}, [1, 1]),
        ("enhancer1", 4, (32, 64), 3, 1, set(), [1, 1, 1, 0.5]),
    ]
    assert [(s.name, s.steps) for s in made().stages()] == [("enhancer1", 10)]
    alone = made(dataclasses.replace(NETWORK, enhancers=0))
    alone.open = lambda level: opened(level, 0)
    assert [(s.name, s.steps) for s in alone.stages()] == [("global", 10)]


def test_what_grows_keeps_what_was_learnt() -> None:
    recipe = made(**SCHEDULE)
    stages = recipe.stages()
    stage = next(stages)
    stage.step(next(stage.batches(0)), 0)
    learnt = {k: v.clone() for k, v in recipe.state_dict().items() if k.startswith(("G.model", "E.", "bank.", "D."))}
    next(stages)
    state = recipe.state_dict()
    assert all(torch.equal(state[k], v) for k, v in learnt.items())
    assert {k for k in state if k.startswith("D.")} > {k for k in learnt if k.startswith("D.")}
    assert not recipe.optimizers["G"].state
    trained = {id(p) for group in recipe.optimizers["G"].param_groups for p in group["params"]}
    assert trained == {id(p) for k, p in recipe.named_parameters() if k.startswith(("G.enhancers", "G.head", "E."))}


@pytest.mark.parametrize("features", ["none", "label"])
@pytest.mark.parametrize("cut", [(0, 2), (0, 3), (1, 1), (1, 2), (2, 3)])
def test_cut_anywhere_and_resumed_is_as_uncut(cut: tuple[int, int], features, tmp_path: Path) -> None:
    network = dataclasses.replace(NETWORK, features=features)
    options: dict[str, Any] = {**SCHEDULE, "pool": 3, "ema": 0.9}

    def run(recipe: Recipe, out: Path, **more: Any) -> Position:
        return train(recipe, Run(out, sample_every=2, tensorboard=False, **more), torch.device("cpu"), {})

    assert run(made(network, **options), tmp_path / "whole") == Position(2, 4)
    first = made(network, **options)
    stages = first.stages

    def until_the_cut() -> Iterator[Any]:
        for number, stage in enumerate(stages()):
            yield dataclasses.replace(stage, steps=cut[1]) if number == cut[0] else stage
            if number == cut[0]:
                return

    first.stages = until_the_cut  # type: ignore[method-assign]
    assert run(first, tmp_path / "cut") == Position(*cut)
    assert config_of(read(tmp_path / "cut")).enhancers == (cut[0] > 0)
    Model(read(tmp_path / "cut")).paint(np.zeros((16, 32), np.int64))
    torch.manual_seed(99)
    assert run(made(network, **options), tmp_path / "cut", resume=True) == Position(2, 4)
    states = [checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut")]
    assert states[0]["recipe"].keys() == states[1]["recipe"].keys()
    for part in ("recipe", "rng"):
        flat = [s[part] if part == "recipe" else {"": s[part]} for s in states]
        assert all(torch.equal(v, flat[1][k]) for k, v in flat[0].items())
    assert str(states[0]["optimizers"]) == str(states[1]["optimizers"])
    whole, resumed = read(tmp_path / "whole").tensors, read(tmp_path / "cut").tensors
    assert all(torch.equal(v, resumed[k]) for k, v in whole.items())


def test_a_coarse_model_paints_smaller_pictures() -> None:
    recipe = made(dataclasses.replace(NETWORK, enhancers=2), coarse_steps=1)
    recipe.open = lambda level: opened(level, 2)
    for level, (stage, size) in enumerate(zip(recipe.stages(), [(8, 16), (16, 32), (32, 64)], strict=True)):
        c = config_of(recipe.model_file())
        assert (c.enhancers, c.size, c.width) == (level, size, 2 << (2 - level))
        assert stage.name == ("global", "enhancer1", "enhancer2")[level]
        assert Model(recipe.model_file()).paint(np.zeros(size, np.int64)).size == size[::-1]


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_preview_shows_what_goes_in_the_photo_and_the_paintings_and_changes_nothing(ema: float) -> None:
    recipe = made(ema=ema)
    stage = next(recipe.stages())
    stage.step(batch(), 0)
    before = {k: v.clone() for k, v in recipe.state_dict().items()}
    pictures = recipe.preview()
    assert pictures is not None
    assert pictures.shape == (2, 4, 3, 32, 64)
    assert pictures.abs().max() <= 1
    torch.testing.assert_close(pictures[:, 1], batch(3).photo)
    palette = torch.from_numpy(numbered(3, (255,)).palette) / 127.5 - 1
    torch.testing.assert_close(pictures[:, 0].permute(0, 2, 3, 1), palette[batch(3).labels])
    assert (pictures[:, 2] - pictures[:, 3]).abs().max() > 0
    assert all(torch.equal(v, before[k]) for k, v in recipe.state_dict().items())
    assert all(m.training for part in (recipe.G, recipe.E) if part is not None for m in part.modules())
    plain = made(dataclasses.replace(NETWORK, features="none"))
    next(plain.stages())
    pictures = plain.preview()
    assert pictures is not None
    assert pictures.shape[1] == 3


@pytest.mark.parametrize("channels", [(1, 3), (4, 7)])
def test_pictures_of_any_channels_may_go_in_and_come_out(channels: tuple[int, int]) -> None:
    c = dataclasses.replace(
        NETWORK, source="pictures", labels=0, unknown=False, instances=False, features="none",
        input=Kind(channels[0]), output=Kind(channels[1]),
    )  # fmt: skip
    pair = Pair(torch.rand(2, channels[0], 32, 64) * 2 - 1, torch.rand(2, channels[1], 32, 64) * 2 - 1)
    recipe = Pix2PixHDRecipe(c, TRAINING, None, lambda _: (Stream(pair), pair)).train()  # type: ignore[arg-type]
    stage = next(recipe.stages())
    assert set(stage.step(pair, 0)) == {"GAN", "feature_matching", "D_fake", "D_real"}
    pictures = recipe.preview()
    assert pictures is not None
    assert pictures.shape == (2, 3, 3, 32, 64)
    file = recipe.model_file()
    assert file.label_set is None
    assert config_of(file) == c


def test_labels_size_and_modes_must_fit() -> None:
    four = numbered(4, (255,))
    small = Network(size=(64, 64))
    assert resolve(small, four) == Network(size=(64, 64), labels=4, unknown=True, output=Kind())
    assert resolve(Network(size=(64, 64), labels=4), four).unknown is False
    with pytest.raises(PinxitError, match=r"^label set 'numbered_4' is 4 labels, expected 3; "):
        resolve(Network(labels=3), four)
    with pytest.raises(PinxitError, match=r"^--size is 96 72, expected multiples of 16, twice it or more; "):
        resolve(Network(size=(96, 72)), four)
    with pytest.raises(PinxitError, match=r"^--size is 32 48, expected multiples of 32, twice it or more; "):
        resolve(Network(size=(32, 48), enhancers=1), four)
    for options in PRESETS.values():
        resolve(dataclasses.replace(options.network, labels=0), four)
        for level in range(options.network.enhancers + 1):
            assert preprocess_of(options.network, options.training, level).size == tuple(
                side >> (options.network.enhancers - level) for side in options.network.size
            )
    with pytest.raises(PinxitError, match=r"^--preprocess is none, expected fixed, or a mode that scales, "):
        preprocess_of(NETWORK, dataclasses.replace(TRAINING, preprocess="none", coarse_steps=1), 0)
    with pytest.raises(PinxitError, match=r"^picture size after --preprocess is 36x64 .*, expected multiples of 8; "):
        made().step(batch(0, 40, 64)._replace(photo=torch.zeros(2, 3, 36, 64)), 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"^--data is missing, expected a data set's folder"),
        ({"data": {"a": Path("a")}}, r"^--a or --b is given, expected --maps and --photos; "),
        (
            {"network": {"source": "pictures"}, "data": {"maps": Path("m")}},
            r"^label maps is given with --source pictures",
        ),
        (
            {"network": {"source": "pictures", "instances": True, "features": "none"}},
            r"^--instances is given with --source",
        ),
        (
            {"training": {"checkpointing": True}, "network": {"norm": "batch"}},
            r"^--checkpointing is given, expected none",
        ),
        ({"training": {"perceptual": 1.0}}, r"^--vgg is missing, expected VGG-19 weights; "),
    ],
)
def test_options_that_do_not_go_together(change: dict[str, dict[str, Any]], message: str) -> None:
    options = PRESETS["tiny"]
    if change.get("network", {}).get("source") == "pictures":
        options = dataclasses.replace(options, network=dataclasses.replace(options.network, features="none"))
    for part, values in change.items():
        options = dataclasses.replace(options, **{part: dataclasses.replace(getattr(options, part), **values)})
    with pytest.raises(PinxitError, match=message):
        build(options)


def test_options_out_of_range() -> None:
    for make, message in [
        (lambda: Network(width=0), r"^--width is 0, expected 1 or more; "),
        (lambda: Network(source="pictures", features="label"), r"^--features is label, expected instance or none "),
        (lambda: Training(frozen_steps=3), r"^--frozen-steps is 3, expected 0 without --coarse-steps; "),
        (lambda: Training(betas=(0.5, 1.0)), r"^--betas is 0.5 1.0, expected two numbers from 0 to below 1; "),
        (lambda: Training(ema=1.0), r"^--ema is 1.0, expected a decay below 1; "),
    ]:
        with pytest.raises(PinxitError, match=message):
            make()


def data_set(folder: Path, instances: bool) -> Options:
    """Six maps of three labels, photos that show them, and instances that are their regions; an empty one in none."""
    random = np.random.default_rng(0)
    kinds = ("label", "img", "inst") if instances else ("label", "img")
    for kind in kinds:
        (folder / f"train_{kind}").mkdir(parents=True)
    for i in range(6):
        ids = np.kron(random.integers(0, 3, (4, 8)), np.ones((8, 8), int)).astype(np.uint8)
        photo = (80 * ids[..., None] + random.integers(0, 60, (32, 64, 3))).astype(np.uint8)
        for kind, picture in zip(kinds, (ids, photo, ids.astype(np.uint16) * 1000), strict=False):
            Image.fromarray(picture).save(folder / f"train_{kind}" / f"{i}.png")
    tiny = PRESETS["tiny"]
    network = dataclasses.replace(tiny.network, size=(32, 64))
    return dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, data=folder, label_set="3"), network=network)


@pytest.mark.parametrize("features", ["instance", "none"])
def test_instances_come_from_the_data(features, tmp_path: Path) -> None:
    options = data_set(tmp_path, True)
    network = dataclasses.replace(options.network, instances=True, features=features)
    recipe = build(dataclasses.replace(options, network=network)).train()
    stage = next(recipe.stages())
    losses = stage.step(next(stage.batches(0)), 0)
    assert all(loss.isfinite() for loss in losses.values())
    assert recipe.G.inputs == 4 + (3 if features == "instance" else 0)
    assert recipe.preview() is not None
    without = data_set(tmp_path / "other", False)
    with pytest.raises(
        PinxitError, match=r"^the instance map of label map '.*' is missing, expected one for each map; "
    ):
        list(build(dataclasses.replace(without, network=network)).stages())


def test_pictures_come_from_two_sides(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side, channels in (("A", 4), ("B", 3)):
        (tmp_path / f"train{side}").mkdir()
        for i in range(3):
            np.save(tmp_path / f"train{side}" / f"{i}.npy", random.integers(0, 60000, (40, 72, channels), np.uint16))
    tiny = PRESETS["tiny"]
    options = dataclasses.replace(
        tiny,
        data=dataclasses.replace(tiny.data, data=tmp_path),
        network=dataclasses.replace(tiny.network, source="pictures", features="none", size=(32, 64)),
    )
    recipe = build(options).train()
    assert (recipe.network.input, recipe.network.output) == (Kind(4, "uint16", 0, 65535), Kind(3, "uint16", 0, 65535))
    stage = next(recipe.stages())
    assert all(loss.isfinite() for loss in stage.step(next(stage.batches(0)), 0).values())
    pictures = recipe.preview()
    assert pictures is not None
    assert pictures.shape == (3, 3, 3, 16, 32)
    made = Model(recipe.model_file()).translate(np.load(tmp_path / "trainA" / "0.npy"))
    assert (made.dtype, made.shape) == (np.uint16, (40, 72, 3))


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """The losses of all stages, and weights, pool and bank after them.

    The two differ in the order of sums alone. Adam's first steps have the size of the learning rate whatever the
    gradient's is, so where that is 0 but for rounding a weight moves in whatever direction the rounding has; from there
    on the two slowly part.
    """
    data_set(tmp_path / "data", False)
    options = (
        f"-m pinxit train pix2pixhd --preset tiny --data {tmp_path / 'data'} --label-set 3 --size 32 64 "
        "--coarse-steps 2 --frozen-steps 2 --steps 2 --log-every 1 --sample-every 0 --device cpu --out"
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
    assert len(logs[0]) == len(logs[1]) == 6
    for i, (a, b) in enumerate(zip(*logs, strict=True)):
        for name in ("GAN", "feature_matching", "D_fake", "D_real"):
            assert a[name] == pytest.approx(b[name], rel=1e-5 if i == 0 else 2e-2)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    assert torch.equal(one["bank.seen"], two["bank.seen"])
    for name, value in one.items():
        error = (value.float() - two[name].float()).abs().mean()
        assert error < (0.05 if name.startswith("pool.") else 1e-3), name
