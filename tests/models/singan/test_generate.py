"""SinGAN's verbs from Python: what they refuse, and what a mask and a walk are to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.models.singan.config import PRESETS
from pinxit.models.singan.generate import EDIT_GROWTH, MOST_SEED, Model, feathered, open_walk
from pinxit.models.singan.pyramid import cut, plan, resize
from pinxit.models.singan.recipe import SinGANRecipe


def model(scales: int | None = None) -> Model:
    """One that has learnt nothing, of so many of its scales."""
    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    pyramid = plan(32, 40, tiny.network)
    recipe = SinGANRecipe(tiny.network, tiny.training, pyramid, torch.rand(1, 3, 32, 40) * 2 - 1)
    for number, _ in enumerate(recipe.stages(), 1):
        if number == scales:
            break
    return Model(recipe.model_file())


@pytest.mark.parametrize("value", [1, 2, 127, 255])
def test_a_mask_is_all_but_black(value: int) -> None:
    """1 of 255 is 0.99 in floats, and no less white than 255."""
    masks = []
    for level in (value, 255):
        mask = torch.zeros(1, 3, 60, 80)
        mask[..., 20:30, 20:40] = level
        masks.append(feathered(((mask / 255) - 0.5) / 0.5, EDIT_GROWTH))
    assert torch.equal(*masks)
    assert (masks[0].min(), masks[0].max()) == (0, 1)


@pytest.mark.parametrize("seed", [-1, MOST_SEED + 1, 10**30])
def test_a_seed_that_there_is_not_is_refused(seed: int) -> None:
    m, picture, mask = model(), Image.new("RGB", (40, 32)), Image.new("L", (40, 32), 255)
    verbs = [
        lambda: m.noise(seed),
        lambda: m.sample(seed=seed),
        lambda: m.super_resolve(2, seed=seed),
        lambda: m.animate(2, seed=seed),
        lambda: m.paint(picture, 1, seed=seed),
        lambda: m.edit(picture, mask, 1, seed=seed),
        lambda: m.harmonize(picture, mask, 1, seed=seed),
    ]
    for verb in verbs:
        with pytest.raises(PinxitError, match=rf"^seed is {seed}, expected 0\.\.{MOST_SEED}; choose another$"):
            verb()


def test_samples_have_a_seed_each_up_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model()
    assert len(m.sample(2, seed=MOST_SEED - 1)) == 2
    monkeypatch.setattr(m, "vary", lambda *_: pytest.fail("painted before all was looked at"))
    with pytest.raises(PinxitError, match=f"^seed is {MOST_SEED + 1}, "):
        m.sample(2, seed=MOST_SEED)


def test_a_model_of_one_scale_takes_no_picture() -> None:
    m, picture, mask = model(1), Image.new("RGB", (40, 32)), Image.new("L", (40, 32), 255)
    for verb in (
        lambda: m.paint(picture, 1),
        lambda: m.edit(picture, mask, 1),
        lambda: m.harmonize(picture, mask, 0),
    ):
        with pytest.raises(PinxitError, match=r"^the model is of one scale, expected two or more; let its training go"):
            verb()
    with pytest.raises(PinxitError, match=r"^start scale is 1, expected 0\.\.0, the model's"):
        m.sample(start_scale=1)


def test_frames_are_refused_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    m = model()
    made: list[int] = []

    def walked(noise: object, frames: int, *rest: object) -> Iterator[torch.Tensor]:
        made.append(frames)
        return iter(())

    monkeypatch.setattr(m, "walked", walked)
    for loop, most in ((False, (2 << 30) // (8 * 32 * 40)), (True, (2 << 30) // (32 * 32 * 40))):
        m.animate(most, loop=loop)
        with pytest.raises(PinxitError, match=f"^frames is {most + 1} of 32x40 .*, expected at most {most} of this"):
            m.animate(most + 1, loop=loop)
        assert made.pop() == most
        assert not made


def test_a_walk_keeps_frames_in_8_bits_between_the_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """And hands the finest out one by one; `resize` makes the same of them."""
    picture = torch.rand(1, 3, 20, 30) * 2.2 - 1.1
    assert torch.equal(resize(cut(picture), 1.3), resize(picture, 1.3))

    m, below, painted = model(), [], []
    lifted, paint = m.lifted, m.painted
    monkeypatch.setattr(m, "lifted", lambda x, *rest: below.append(x) or lifted(x, *rest))
    monkeypatch.setattr(m, "painted", lambda scale, *rest: painted.append(scale) or paint(scale, *rest))
    walk = m.walked(m.noise(0), 3, 1, 0.1, 0.9, open_walk)
    next(walk)
    assert painted == [scale for scale in range(m.finest) for _ in range(3)] + [m.finest]
    assert {x.dtype for x in below if x is not None} == {torch.uint8}
    assert len(list(walk)) == 2
