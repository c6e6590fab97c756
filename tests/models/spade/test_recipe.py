"""What a step does beside the numbers, which tests/parity holds to account."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.data.labels import numbered
from pinxit.data.stream import LabelPhotos
from pinxit.errors import PinxitError
from pinxit.models.spade.config import PRESETS, Network, Training
from pinxit.models.spade.recipe import SpadeRecipe, build, resolve

NETWORK = Network(labels=3, unknown=True, instances=True, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5)
TRAINING = Training(steps=10, decay_from=5, batch=2, d_width=4, d_layers=3, perceptual=0, lr=1e-3, ema=0.9)


class Distance(nn.Module):
    """In place of VGG-19: one weight, and the plain difference of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 2.0), requires_grad=False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        return (self.weight * (fake - real).abs()).mean()


def made(network: Network = NETWORK, distance: nn.Module | None = None, **training) -> SpadeRecipe:
    torch.manual_seed(0)
    t = dataclasses.replace(TRAINING, **training)
    return SpadeRecipe(network, t, numbered(3, (255,)), perceptual=distance, examples=batch(1)).train()


def batch(seed: int = 0) -> LabelPhotos:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (2, 8, 8), generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return LabelPhotos(labels, torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1, labels)


def test_losses_are_those_that_are_asked_for() -> None:
    assert set(made().step(batch(), 0)) == {"GAN", "feature_matching", "KL", "D_fake", "D_real"}
    assert set(made(dataclasses.replace(NETWORK, vae=False), feature_matching=0).step(batch(), 0)) == {
        "GAN",
        "D_fake",
        "D_real",
    }
    assert "perceptual" not in made(distance=Distance(), perceptual=0).step(batch(), 0)
    losses = made(distance=Distance(), perceptual=3).step(batch(), 0)
    assert not any(loss.requires_grad for loss in losses.values())
    twice = made(distance=Distance(), perceptual=6, kl=0.1, feature_matching=20).step(batch(), 0)
    for name in ("perceptual", "KL", "feature_matching"):
        torch.testing.assert_close(twice[name], 2 * losses[name])
    torch.testing.assert_close(twice["GAN"], losses["GAN"])


def test_a_step_moves_every_weight_and_leaves_them_trainable() -> None:
    recipe = made(adversarial="ls")  # under the hinge the last bias has no gradient
    before = {k: v.clone() for k, v in recipe.named_parameters()}
    recipe.step(batch(), 0)
    still = [k for k, v in recipe.named_parameters() if torch.equal(v, before[k])]
    assert still == []
    assert all(p.requires_grad for k, p in recipe.named_parameters() if not k.startswith("ema."))
    assert all(m.training for part in (recipe.G, recipe.E, recipe.D) if part is not None for m in part.modules())


def test_rates_are_ttur_and_decay() -> None:
    for ttur, g, d in [(True, 0.5e-3, 2e-3), (False, 1e-3, 1e-3)]:
        recipe = made(ttur=ttur)
        for step, scale in [(0, 1), (5, 1), (8, 0.4), (9, 0.2)]:
            recipe.step(batch(), step)
            assert recipe.optimizers["G"].param_groups[0]["lr"] == pytest.approx(g * scale)
            assert recipe.optimizers["D"].param_groups[0]["lr"] == pytest.approx(d * scale)
        assert recipe.optimizers["G"].param_groups[0]["betas"] == ((0.0, 0.9) if ttur else (0.5, 0.999))
    assert made(betas=(0.1, 0.2)).optimizers["D"].param_groups[0]["betas"] == (0.1, 0.2)


def test_noise_is_another_in_each_step_and_draw_but_the_same_in_each_run() -> None:
    def fakes() -> list[Tensor]:
        recipe = made()
        return [recipe.paint(batch(), step, draw)[0] for step, draw in [(0, 0), (0, 1), (1, 0)]]

    first, again = fakes(), fakes()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for i, a in enumerate(first) for b in first[i + 1 :])

    recipe, draws = made(), []
    paint = recipe.paint
    recipe.paint = lambda batch, step, draw, maps: draws.append((step, draw)) or paint(batch, step, draw, maps)  # type: ignore
    for step in (0, 1):
        recipe.step(batch(), step)
    assert draws == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_perceptual_distance_moves_with_the_networks_but_is_not_saved_with_them() -> None:
    distance = Distance()
    recipe = made(distance=distance, perceptual=3)
    assert not any("perceptual" in name for name in recipe.state_dict())
    assert all(p is not distance.weight for p in recipe.parameters())
    recipe.to(torch.float64)
    assert distance.weight.dtype == torch.float64
    recipe.to("meta")
    assert distance.weight.device.type == "meta"


def test_a_step_puts_every_tensor_on_the_device_of_its_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`meta` stands in for a GPU: it computes nothing, but refuses what is on another device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # knows no such device
    recipe = made(distance=Distance(), perceptual=3).to("meta")
    losses = recipe.step(LabelPhotos(*(part.to("meta") for part in batch() if part is not None)), 0)
    assert {loss.device.type for loss in losses.values()} == {"meta"}


def test_a_preview_is_map_photo_and_two_styles_and_changes_nothing() -> None:
    recipe = made()
    recipe.step(batch(), 0)
    before, state = {k: v.clone() for k, v in recipe.state_dict().items()}, torch.get_rng_state()
    pictures = recipe.preview()
    assert pictures is not None
    assert pictures.shape == (2, 4, 3, 64, 64)
    assert pictures.min() >= -1
    assert pictures.max() <= 1
    torch.testing.assert_close(pictures[:, 1], batch(1).photo)
    palette = torch.from_numpy(numbered(3, (255,)).palette) / 127.5 - 1
    torch.testing.assert_close(pictures[:, 0].permute(0, 2, 3, 1), palette[batch(1).labels])
    assert (pictures[:, 2] - pictures[:, 3]).abs().max() > 0
    again = recipe.preview()
    assert again is not None
    assert torch.equal(pictures, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in recipe.state_dict().items())
    assert recipe.G.training
    assert recipe.E is not None
    assert recipe.E.training

    plain = made(dataclasses.replace(NETWORK, vae=False), ema=0)
    pictures = plain.preview()
    assert pictures is not None
    assert pictures.shape == (2, 3, 3, 64, 64)
    assert plain.G.training


def test_the_model_file_has_the_moving_average_where_there_is_one() -> None:
    for ema in (0.9, 0.0):
        recipe = made(ema=ema)
        for step in range(3):
            recipe.step(batch(), step)
        painter = recipe.G if recipe.ema is None else recipe.ema.average
        file = recipe.model_file()
        assert {name[:2] for name in file.tensors} == {"G.", "E."}
        weight = file.tensors["G.to_picture.weight"]
        assert torch.equal(weight, painter.state_dict()["to_picture.weight"])
        assert torch.equal(weight, recipe.G.to_picture.weight) == (ema == 0)


def test_labels_and_size_must_fit() -> None:
    four = numbered(4, (255,))
    assert resolve(Network(size=(64, 64)), four) == Network(size=(64, 64), labels=4, unknown=True)
    assert resolve(Network(size=(64, 64), labels=4), four).unknown is False
    with pytest.raises(PinxitError, match=r"^label set 'numbered_4' is 4 labels, expected 3; "):
        resolve(Network(labels=3), four)
    with pytest.raises(PinxitError, match=r"^--size is 96 80, expected multiples of 32; "):
        resolve(Network(size=(96, 80)), four)
    with pytest.raises(PinxitError, match=r"^--size is 96 96, expected multiples of 64; "):
        resolve(Network(size=(96, 96), upsamplings="more"), four)
    for options in PRESETS.values():
        resolve(dataclasses.replace(options.network, labels=0), four)


def test_without_data_it_says_what_is_missing() -> None:
    with pytest.raises(PinxitError, match=r"^--(data|label-set) is missing, expected "):
        build(PRESETS["tiny"])


def test_a_size_that_the_doublings_do_not_divide_is_refused() -> None:
    recipe = SpadeRecipe(Network(labels=3, size=(64, 64), width=2, hidden=4), Training(d_width=2), numbered(3))
    batch = LabelPhotos(torch.zeros(1, 48, 64, dtype=torch.int64), torch.zeros(1, 3, 48, 64))
    with pytest.raises(PinxitError, match=r"^picture size after --preprocess is 48x64 .*, expected multiples of 32; "):
        recipe.step(batch, 0)


def test_pictures_of_several_sizes_train_one_at_a_time(tmp_path: Path) -> None:
    for kind, mode in (("label", "L"), ("img", "RGB")):
        (tmp_path / f"train_{kind}").mkdir()
        for i, size in enumerate([(64, 64), (96, 64), (64, 128)]):
            Image.new(mode, size).save(tmp_path / f"train_{kind}" / f"{i}.png")
    tiny = PRESETS["tiny"]
    options = dataclasses.replace(
        tiny,
        data=dataclasses.replace(tiny.data, data=tmp_path, label_set="2"),
        training=dataclasses.replace(tiny.training, preprocess="none", batch=1),
    )
    recipe = build(options).train()
    stage = next(recipe.stages())
    shapes = [batch.labels.shape for _, batch in zip(range(3), stage.batches(0), strict=False) if stage.step(batch, 0)]
    assert {tuple(s) for s in shapes} == {(1, 64, 64), (1, 64, 96), (1, 128, 64)}
    assert recipe.preview() is not None
