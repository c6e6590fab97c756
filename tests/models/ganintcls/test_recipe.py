from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.data.captions import CaptionBatch
from pinxit.errors import PinxitError
from pinxit.models.ganintcls.config import PRESETS, Network, Training
from pinxit.models.ganintcls.network import Discriminator, Generator
from pinxit.models.ganintcls.recipe import GANINTCLSRecipe, build
from pinxit.models.ganintcls.weights import import_release
from pinxit.recipe import step_noise
from pinxit.text.training import Texts
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

TINY = PRESETS["tiny"]


def made(**training: Any) -> GANINTCLSRecipe:
    torch.manual_seed(0)
    t = dataclasses.replace(TINY.training, **training)
    return GANINTCLSRecipe(TINY.network, t, Texts("built-in", TINY.network.text_dim), seed=3).train()


def batch(recipe: GANINTCLSRecipe, rows: int = 4) -> CaptionBatch:
    chance = torch.Generator().manual_seed(1)
    photo, wrong = (torch.rand(rows, 3, 64, 64, generator=chance) * 2 - 1 for _ in range(2))
    return CaptionBatch(photo, recipe.texts.rows([f"picture {i}" for i in range(rows)]), wrong=wrong)


def captioned(folder: Path, count: int = 6) -> Path:
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        blocks = np.kron(random.integers(0, 255, (8, 9, 3)), np.ones((9, 9, 1))).astype(np.uint8)
        Image.fromarray(blocks).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"number {i}\npicture {i}\n", encoding="utf-8")
    return folder


def test_the_papers_network() -> None:
    """As wide and deep as the released script's, whose convolutions have biases that it keeps at 0."""
    network = Network()
    G, D = Generator(network), Discriminator(network)
    shapes = [tuple(p.shape) for p in G.layers.parameters() if p.ndim == 4]
    assert shapes[0] == (228, 1024, 4, 4)
    assert shapes[1:4] == [(256, 1024, 1, 1), (256, 256, 3, 3), (1024, 256, 3, 3)]
    assert shapes[4] == (1024, 512, 4, 4)
    assert shapes[-3:] == [(512, 256, 4, 4), (256, 128, 4, 4), (128, 3, 4, 4)]
    assert [tuple(p.shape) for p in D.verdict.parameters() if p.ndim == 4] == [(512, 640, 1, 1), (1, 512, 4, 4)]
    assert G.text.norm is None
    assert D.text.norm is not None
    assert not any(name.endswith("bias") and p.ndim == 4 for name, p in D.named_parameters())
    text = torch.randn(2, 1024)
    picture = G(torch.randn(2, 100), text)
    assert picture.shape == (2, 3, 64, 64)
    assert picture.abs().max() <= 1
    assert D(picture, text).shape == (2,)


def by_hand(recipe: GANINTCLSRecipe, shown: CaptionBatch) -> dict[str, Tensor]:
    """The losses of step 0 by their definition, of the weights as they are."""
    ones, zeros = torch.ones(4), torch.zeros(4)
    text = recipe.texts.embed(shown.text)

    def judged(picture: Tensor | None, words: Tensor, target: Tensor) -> Tensor:
        assert picture is not None
        return F.binary_cross_entropy(recipe.D(picture, words).sigmoid(), target, reduction="none")

    fake = recipe.G(step_noise(3, 0, 0, 4, 4, device="cpu"), text)
    right, wrong = judged(shown.photo, text, ones).mean(), judged(shown.wrong, text, zeros).mean()
    made_up = judged(fake, text, zeros).mean()
    return {"D": right + (wrong + made_up) / 2, "D_right": right, "D_wrong": wrong, "D_made": made_up}


def test_the_discriminators_three_kinds_of_pairs() -> None:
    recipe = made()
    shown = batch(recipe)
    wanted = by_hand(made(), shown)
    losses = recipe.step(shown, 0)
    for name, loss in wanted.items():
        torch.testing.assert_close(losses[name], loss.detach(), rtol=1e-5, atol=1e-6)


def test_the_generators_texts_between() -> None:
    """Its loss is that of 4 texts and 2 between them, over 6; D's rate of 0 leaves D as it is for the comparison."""
    recipe, other = made(lr=0.0), made(lr=0.0)
    shown = batch(recipe)
    losses = recipe.step(shown, 0)
    by_hand(other, shown)  # so that the norms' buffers are alike; in train mode nothing depends on them
    text = other.texts.embed(shown.text)
    between = (text[:2] + text[2:]) / 2
    torch.testing.assert_close(recipe.between(text), between)
    words = torch.cat([text, between])
    z = torch.cat([step_noise(3, 0, 1, 4, 4, device="cpu"), step_noise(3, 0, 2, 2, 4, device="cpu")])
    wanted = F.binary_cross_entropy(other.D(other.G(z, words), words).sigmoid(), torch.ones(6))
    torch.testing.assert_close(losses["G"], wanted.detach(), rtol=1e-5, atol=1e-6)


def test_without_int_and_cls_it_is_a_plain_gan() -> None:
    recipe = made(interpolated=0.0, mismatched=0.0)
    shown = batch(recipe)
    losses = recipe.step(shown, 0)
    torch.testing.assert_close(losses["D"], losses["D_right"] + losses["D_made"])
    torch.testing.assert_close(recipe.between(torch.ones(4, 2)), torch.ones(2, 2))


def test_the_rate_halves() -> None:
    recipe = made()
    rates = []
    for step in (9, 10, 20):
        recipe.step(batch(recipe), step)
        rates.append([recipe.optimizers[name].param_groups[0]["lr"] for name in ("G", "D")])
    assert rates == [[2e-4, 2e-4], [1e-4, 1e-4], [5e-5, 5e-5]]
    assert recipe.optimizers["G"].param_groups[0]["betas"] == (0.5, 0.999)


def test_the_encoder_rests_after_its_stage() -> None:
    recipe = made()
    before = {name: p.clone() for name, p in recipe.texts.state_dict().items()}
    recipe.step(batch(recipe), 0)
    assert all(torch.equal(p, before[name]) for name, p in recipe.texts.state_dict().items())
    recipe.text_step(batch(recipe), 0)
    assert not all(torch.equal(p, before[name]) for name, p in recipe.texts.state_dict().items())


def test_a_cut_at_the_border_of_the_stages_changes_nothing(tmp_path: Path) -> None:
    """Cut amid the text stage, at its end, and amid the other, against a run in one go."""
    folder = captioned(tmp_path / "data")
    t = dataclasses.replace(TINY.training, text_steps=3, steps=4)
    options = dataclasses.replace(TINY, data=dataclasses.replace(TINY.data, data=folder), training=t)
    quiet = {"sample_every": 0, "tensorboard": False}
    train(build(options, seed=5), Run(tmp_path / "whole", **quiet), torch.device("cpu"), {})
    for ends in ((2, 0), (3, 0), (3, 2), (3, 4)):
        torch.manual_seed(99)
        recipe = build(options, seed=5)
        stages = recipe.stages

        def cut(stages: Any = stages, ends: tuple[int, int] = ends) -> Any:
            for stage, end in zip(stages(), ends, strict=True):
                yield dataclasses.replace(stage, steps=end)
                if end < stage.steps:
                    return

        recipe.stages = cut
        resume = (tmp_path / "cut").exists()
        train(recipe, Run(tmp_path / "cut", **quiet, resume=resume), torch.device("cpu"), {})
    whole, pieces = (checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut"))
    assert whole["stage"] == pieces["stage"] == 1
    assert whole["recipe"].keys() == pieces["recipe"].keys()
    for name, value in whole["recipe"].items():
        assert torch.equal(value, pieces["recipe"][name]), name


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    data = dataclasses.replace(TINY.data, data=captioned(tmp_path / "data"))
    whole = dataclasses.replace(TINY, data=data)
    with pytest.raises(PinxitError, match=r"^--data is missing"):
        build(TINY)
    with pytest.raises(PinxitError, match=r"^--batch is 5, expected a multiple of 2; round it"):
        build(dataclasses.replace(whole, training=dataclasses.replace(TINY.training, batch=5)))
    with pytest.raises(PinxitError, match=r"^--captions is 4, expected 1 with the encoder 'built-in'"):
        build(dataclasses.replace(whole, training=dataclasses.replace(TINY.training, captions=4)))
    with pytest.raises(PinxitError, match=r"^--mismatched is 2, expected from 0 to 1"):
        Training(mismatched=2)
    with pytest.raises(PinxitError, match=r"^--load is 32, expected 64 or more"):
        Training(load=32)
    with pytest.raises(PinxitError, match=r"^the release is 'net_G\.t7', expected nothing"):
        import_release(Path("net_G.t7"))


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    options = (
        f"-m pinxit train ganintcls --preset tiny --data {captioned(tmp_path / 'data')} --text-steps 2 --batch 8 "
        "--text-batch 8 --steps 3 --log-every 1 --sample-every 0 --device cpu --no-tensorboard --out"
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
        for name in ("text",) if i < 2 else ("D", "D_right", "D_wrong", "D_made", "G"):
            assert a[name] == pytest.approx(b[name], rel=1e-4 if i in (0, 2) else 1e-2, abs=1e-4), (i, name)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        # Attention's softmax does not see its bias, whose gradient is rounding, and Adam makes whole steps of that.
        if name != "texts.network.attention.bias":
            assert (value.float() - two[name].float()).abs().mean() < 1e-3, name
