"""A scale retrained for paintings: its palette, what is kept of the base, cut runs, and models that do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.singan.config import PRESETS, Data, Network, Options
from pinxit.models.singan.generate import load
from pinxit.models.singan.palette import palette_of, reduced
from pinxit.models.singan.pyramid import resize
from pinxit.models.singan.recipe import Draws, SinGANRecipe, View, build
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

CPU = torch.device("cpu")
SCALE = 2
WINDOWS = {"crop": 16, "crops": 2, "batch": 2, "pool": 3, "d_steps": 1, "g_steps": 1, "penalty_every": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photo.png, another.png, large.png, and model/, a few steps of training of the first."""
    home = tmp_path_factory.mktemp("home")
    random = np.random.default_rng(0)
    for name, (height, width) in (("photo", (32, 40)), ("another", (32, 40)), ("large", (40, 40))):
        blocks = random.integers(0, 255, (height // 4, width // 4, 3))
        Image.fromarray(np.kron(blocks, np.ones((4, 4, 1))).astype(np.uint8)).save(home / f"{name}.png")
    run(home / "model", build(options(home / "photo.png", steps=2)))
    return home


def options(photo: Path, steps: int = 3, network: dict[str, Any] | None = None, **data: Any) -> Options:
    """Tiny, with learning rates that show after so few steps."""
    tiny = PRESETS["tiny"]
    training = dataclasses.replace(tiny.training, steps=steps, lr=0.01)
    return Options(Data(photo, **data), dataclasses.replace(tiny.network, **(network or {})), training)


def again(home: Path, training: dict[str, Any] | None = None, **data: Any) -> SinGANRecipe:
    o = options(home / "photo.png", **{"base": home / "model", "base_scale": SCALE, **data})
    return build(dataclasses.replace(o, training=dataclasses.replace(o.training, **(training or {}))), seed=4)


def run(out: Path, recipe: SinGANRecipe, resume: bool = False) -> None:
    train(recipe, Run(out, resume=resume, checkpoint_every=1, sample_every=1, tensorboard=False), CPU, {})


def ready(recipe: SinGANRecipe) -> SinGANRecipe:
    """As it is after the first step."""
    stage = next(recipe.stages())
    recipe.train()
    stage.step(next(stage.batches(0)), 0)
    return recipe


def colors_in(x: Tensor) -> set[tuple[float, ...]]:
    return {tuple(color) for color in x.movedim(1, -1).reshape(-1, 3).tolist()}


def test_a_palette_is_the_means_of_the_colors_nearest_to_each() -> None:
    photo = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.2
    photo[..., :4, :] += 0.7
    photo[:, 0, 8:] -= 0.9
    palette = palette_of(photo, 3)
    assert torch.equal(palette, palette_of(photo.clone(), 3))
    means = torch.stack([part.mean((0, 2, 3)) for part in (photo[..., 8:, :], photo[..., 4:8, :], photo[..., :4, :])])
    assert torch.allclose(palette, means, atol=1e-6)
    flat = reduced(photo, palette)
    assert flat.shape == photo.shape
    assert colors_in(flat) == {tuple(color) for color in palette.tolist()}
    assert torch.equal(flat[0, :, 10, 3], palette[0])


def test_a_palette_has_no_more_colors_than_the_photo() -> None:
    photo = torch.zeros(1, 3, 4, 4)
    photo[..., 2:] = 1
    assert palette_of(photo, 5).shape == (2, 3)
    assert palette_of(photo[..., :2], 5).shape == (1, 3)


@pytest.mark.parametrize("training", [{}, WINDOWS], ids=["whole", "windows"])
def test_the_scale_sees_nothing_but_the_palette(home: Path, training: dict[str, Any]) -> None:
    r = ready(again(home, training, palette=4))
    assert r.palette is not None
    assert r.palette.shape == (4, 3)
    colors, m = {tuple(color) for color in r.palette.tolist()}, r.network.margin
    whole = View(*r.pyramid.sizes[SCALE], ((0, 0),))
    for seen in (r.rec, r.previous(Draws(0), whole)):
        assert seen.shape[2:] == (whole.height + 2 * m, whole.width + 2 * m)
        assert colors_in(seen[..., m:-m, m:-m]) <= colors
        assert not seen[..., :m].any()  # as where paintings are put in
    assert torch.equal(r.palette, palette_of(r.real, 4))
    # The noise is as strong as in the base: what is missing before colours are.
    assert r.amplitudes.tolist() == pytest.approx(load(read(home / "model")).amplitudes, rel=1e-5)


def test_all_but_the_scale_is_kept(home: Path, tmp_path: Path) -> None:
    before = read(home / "model")
    run(tmp_path / "run", again(home))
    after = read(tmp_path / "run")
    assert after.config == {**before.config, "palette_scale": SCALE}
    assert after.tensors.keys() == {*before.tensors, "palette"}
    changed = {name for name, value in before.tensors.items() if not torch.equal(value, after.tensors[name])}
    assert {name for name in changed if name != "amplitudes"} == {
        name for name in before.tensors if name.startswith(f"G.{SCALE}.")
    }
    assert after.tensors["palette"].shape == (5, 3)
    assert "scale 2 for paintings; before: trained with pinxit train singan" in after.card["source"]
    assert min(path.name for path in (tmp_path / "run" / "samples").iterdir()) == "scale2_29x23_000001.png"


def test_it_is_learnt_from_nothing(home: Path) -> None:
    """Not from the scale below, nor from what the base had there: as in the authors' code."""
    r, base = again(home), load(read(home / "model"))
    next(r.stages())
    for other in (base.Gs[SCALE - 1], base.Gs[SCALE]):
        assert not torch.equal(next(r.G.parameters()), next(other.parameters()))


@pytest.mark.parametrize("training", [{}, WINDOWS], ids=["whole", "windows"])
def test_cut_anywhere_and_resumed_is_bit_equal(home: Path, training: dict[str, Any], tmp_path: Path) -> None:
    run(tmp_path / "whole", again(home, training))
    end = checkpoint.read(tmp_path / "whole", {})
    for step in (1, 2, 3):
        out, cut = tmp_path / str(step), again(home, training)
        stages = cut.stages
        cut.stages = lambda n=step, s=stages: (dataclasses.replace(x, steps=n) for x in s())  # type: ignore[method-assign]
        run(out, cut)
        torch.manual_seed(99)
        run(out, again(home, training), resume=True)
        found = checkpoint.read(out, {})
        assert (found["stage"], found["step"]) == (0, 3)
        assert found["recipe"].keys() == end["recipe"].keys()
        for name, value in end["recipe"].items():
            assert torch.equal(found["recipe"][name], value), f"cut at {step}: {name}"
        for name, value in read(tmp_path / "whole").tensors.items():
            assert torch.equal(read(out).tensors[name], value), name


def test_a_painting_is_reduced_to_the_palette_at_that_scale_alone(home: Path) -> None:
    file = ready(again(home)).model_file()
    model = load(file)
    plain = load(read(home / "model"))
    seen: dict[int, Tensor] = {}
    painted = model.painted

    def spy(scale: int, z: Tensor, previous: Tensor) -> Tensor:
        m = model.network.margin
        seen[scale] = previous[..., m:-m, m:-m]
        return painted(scale, z, previous)

    model.painted = spy  # type: ignore[method-assign]
    painting = torch.rand(1, 3, *model.sizes[-1], generator=torch.Generator().manual_seed(1)) * 2 - 1
    palette = {tuple(color) for color in model.palette.tolist()}
    model.injected(model.noise(0), painting, SCALE)
    assert sorted(seen) == list(range(SCALE, len(model.sizes)))
    assert colors_in(seen[SCALE]) <= palette
    assert not colors_in(seen[SCALE + 1]) <= palette
    # Straight to its size; the other way, by the size below, is a blurred picture.
    straight = resize(painting, model.pyramid.factor ** (model.finest - SCALE))
    height, width = model.sizes[SCALE]
    assert torch.equal(seen[SCALE], reduced(straight[..., :height, :width], model.palette))
    # Put in below, it comes to that scale by the one in between, as in training; above, it is as it ever was.
    model.injected(model.noise(0), painting, SCALE - 1)
    assert colors_in(seen[SCALE]) <= palette
    assert not colors_in(seen[SCALE - 1]) <= palette
    over = (model.injected(model.noise(0), painting, SCALE + 1), plain.injected(plain.noise(0), painting, SCALE + 1))
    assert torch.equal(*over)


def test_the_model_gives_back_the_photo_as_the_training_did(home: Path) -> None:
    r = ready(again(home)).eval()
    model = load(r.model_file())
    with torch.no_grad():
        want = r.reconstruct(View(*r.pyramid.sizes[SCALE], ((0, 0),)))
    assert torch.allclose(model.reconstructions(SCALE + 1)[-1], want, atol=1e-5)


def test_an_imported_model_is_a_base(home: Path, tmp_path: Path) -> None:
    """Its photo is cut to 8 bits once more, and it does not tell all options."""
    file, network = read(home / "model"), PRESETS["tiny"].network
    pyramid = {name: file.config[name] for name in ("sizes", "factor")}
    told = Network(min_size=17, max_size=40, width=network.width, min_width=network.min_width)
    tensors = {**file.tensors, "photo": file.tensors["real"].clone()}
    config = {**dataclasses.asdict(told), **pyramid}
    ModelFile("singan", config, tensors, None, {"source": "elsewhere"}).save(tmp_path)
    r = again(home, base=tmp_path)
    assert (r.network, r.pyramid.factor) == (told, file.config["factor"])
    assert ready(r).model_file().card["source"].endswith("; before: elsewhere")


BAD: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    # what: (photo, data options, network options, what is told)
    "no scale": ("photo", {}, {}, r"--base-scale is missing, expected 1\.\.4, the model's; choose the one that"),
    "coarsest scale": ("photo", {"base_scale": 0}, {}, r"--base-scale is 0, expected 1\.\.4"),
    "scale beyond": ("photo", {"base_scale": 5}, {}, r"--base-scale is 5, expected 1\.\.4"),
    "another photo": ("another", {"base_scale": 2}, {}, r"another photo \(\d+ of 255 levels off .*'.*another.png'"),
    "another size": ("large", {"base_scale": 2}, {}, r"scales 20x16 to 40x32 \(5 .*, expected 16x16 to 40x40 \(6 "),
    "another width": ("photo", {"base_scale": 2}, {"width": 8}, "--width is 8, expected 4, .*; give --width 4"),
    "another depth": ("photo", {"base_scale": 2}, {"layers": 4}, "--layers is 4, expected 5"),
    "another task": ("photo", {"base_scale": 2}, {"task": "animation"}, "--task is animation, expected synthesis"),
    "other scales": ("photo", {"base_scale": 2}, {"scale_factor": 0.6}, "with these options; let its training end"),
    "no such model": ("photo", {"base_scale": 2, "base": Path("gone")}, {}, "model 'gone' is not there"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_base_that_does_not_fit_is_refused(home: Path, case: str) -> None:
    photo, data, network, told = BAD[case]
    with pytest.raises(PinxitError, match=told):
        build(options(home / f"{photo}.png", network=network, **{"base": home / "model", **data}))


def test_a_base_of_another_kind_is_refused(home: Path, tmp_path: Path) -> None:
    ModelFile("spade", {}, {}).save(tmp_path / "spade")
    with pytest.raises(PinxitError, match="is of method spade, expected singan"):
        again(home, base=tmp_path / "spade")
    ready(again(home)).model_file().save(tmp_path / "twice")
    with pytest.raises(PinxitError, match="is a model with scale 2 retrained already, expected one as first trained"):
        again(home, base=tmp_path / "twice", base_scale=1)
    young = ready(build(options(home / "photo.png")))
    young.model_file().save(tmp_path / "young")
    with pytest.raises(PinxitError, match=r"is of scales 20x16 to 20x16 \(1 in all\), .*; let its training end"):
        again(home, base=tmp_path / "young")


def test_a_model_without_its_palette_is_refused(home: Path) -> None:
    file = ready(again(home)).model_file()
    for tensors in (
        {k: v for k, v in file.tensors.items() if k != "palette"},
        {**file.tensors, "palette": torch.ones(3)},
    ):
        with pytest.raises(PinxitError, match="the model is without its palette"):
            load(dataclasses.replace(file, tensors=tensors))


def test_options_without_a_base_are_refused() -> None:
    for bad in (lambda: Data(Path("photo.png"), base_scale=1), lambda: Data(Path("photo.png"), palette=5)):
        with pytest.raises(PinxitError, match="without --base, expected a model; add --base MODEL"):
            bad()
    for colors in (1, 65):
        with pytest.raises(PinxitError, match=rf"--palette is {colors}, expected 2\.\.64 colours"):
            Data(Path("photo.png"), Path("model"), 1, colors)


def test_the_forecast_is_of_one_scale(home: Path) -> None:
    whole, one = (build(options(home / "photo.png")), again(home))
    assert list(one.scales) == [SCALE]
    assert one.forecast().memory <= whole.forecast().memory
