from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.photosketch import config as photosketch
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.sketching.config import PRESETS, Data, Training
from pinxit.models.sketching.recipe import Sketched, SketchingRecipe, build
from pinxit.models.stylegan2 import config as stylegan2
from pinxit.models.stylegan2.generate import load
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe

TINY = PRESETS["tiny"]


def models(**training: object) -> tuple[ModelFile, ModelFile]:
    """A StyleGAN2 and a PhotoSketch with random weights."""
    torch.manual_seed(0)
    tiny = stylegan2.PRESETS["tiny"]
    base = StyleGAN2Recipe(tiny.network, dataclasses.replace(tiny.training, **training)).model_file()
    other = photosketch.PRESETS["tiny"]
    return base, PhotoSketchRecipe(other.network, other.training).model_file()


def lines(count: int = 3) -> Tensor:
    """Horizontal lines, lower and lower."""
    pages = torch.ones(count, 1, 32, 32)
    for i in range(count):
        pages[i, :, 8 + 4 * i] = -1
    return pages


def made(base: ModelFile | None = None, **training: object) -> SketchingRecipe:
    one, other = models()
    return SketchingRecipe(base or one, other, dataclasses.replace(TINY.training, **training), lines(), seed=3).train()


def stepped(recipe: SketchingRecipe, steps: int) -> SketchingRecipe:
    batches = recipe.batches()
    for step in range(steps):
        recipe.step(next(batches), step)
    return recipe


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("mapping", lambda name: name.startswith("style.")),
        ("styles", lambda name: name.startswith("style.") or ".modulation." in name),
        ("shift", lambda name: name.endswith(".modulation.bias")),
        ("all", lambda name: "noises." not in name and not name.endswith("kernel")),
    ],
)
@pytest.mark.parametrize("store", ["float32", "float16"])
def test_only_what_should_train_has_changed_bit_for_bit(what: str, changes, store: str) -> None:
    """In the model that is written, which is of StyleGAN2; a shift of w is in the layers that w goes to."""
    base, _ = models(store=store)
    recipe = stepped(made(base, train=what, ema=0.0), 3)
    file = recipe.model_file()
    assert (file.method, dict(file.config)) == ("stylegan2", dict(base.config))
    assert file.tensors.keys() == base.tensors.keys()
    for name, value in base.tensors.items():
        part, _, rest = name.partition(".")
        same = value.dtype == file.tensors[name].dtype and torch.equal(value, file.tensors[name])
        if part == "G":
            assert same != changes(rest), name
    assert load(file).sample(1)[0].size == (32, 32)
    before = recipe.G_before.state_dict()
    assert all(torch.equal(before[name.removeprefix("G.")], value.float()) for name, value in base.tensors.items()
               if name.startswith("G."))  # fmt: skip
    contours = {f"G.{name}": value for name, value in recipe.drawn.contours.named_parameters()}  # pyright: ignore
    assert all(torch.equal(value, models()[1].tensors[name]) for name, value in contours.items())


def test_a_shift_written_makes_the_same_pictures() -> None:
    recipe = stepped(made(train="shift", ema=0.0, lr=0.1, keep="last"), 2)
    assert recipe.names == ["style.3.w_shift"]
    model, z = load(recipe.model_file()), torch.randn(4, 8)
    with torch.no_grad():
        ours, written = recipe.G(recipe.G.mapping(z)), model.G(model.G.mapping(z))
        assert (recipe.G_before(recipe.G_before.mapping(z)) - ours).abs().max() > 1e-2
    torch.testing.assert_close(ours, written, atol=1e-4, rtol=1e-4)


def test_the_best_iterate_is_kept() -> None:
    """Not the last: after its score no weight that is written moves, until there is a better one."""
    recipe = made(score_every=1, lr=0.5, ema=0.0)
    batches, scores, written = recipe.batches(), [], []
    for step in range(6):
        scores.append(recipe.step(next(batches), step)["score"].item())
        written.append(dict(recipe.model_file().tensors))
    best = min(range(6), key=lambda i: scores[i])
    assert recipe.best_step == best + 1
    assert recipe.best_score.item() == pytest.approx(scores[best])
    name = "G.style.1.weight"
    assert all(torch.equal(tensors[name], written[best][name]) for tensors in written[best:])
    assert len(set(scores)) > 1
    last = made(score_every=1, lr=0.5, ema=0.0, keep="last")
    assert torch.equal(stepped(last, 6).model_file().tensors[name], last.G.get_parameter("style.1.weight"))


def test_a_score_is_of_the_average_and_moves_nothing() -> None:
    recipe = stepped(made(score_every=100), 1)
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    assert recipe.measure(recipe.G_ema) == recipe.measure(recipe.G_ema)
    shown = recipe.preview()
    assert shown is not None
    assert shown.shape == (6, 5, 3, 32, 32)
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())


def test_pictures_of_the_original_stand_in() -> None:
    """Where there are none; and with none asked for, nothing is made or judged."""
    recipe = made()
    losses = recipe.step(next(recipe.batches()), 0)
    assert {"D_real_image", "G_image"} <= losses.keys()
    off = made(image=0.0)
    before = {name: value.clone() for name, value in off.D_image.state_dict().items()}
    assert not {"D_real_image", "G_image"} & off.step(next(off.batches()), 0).keys()
    assert all(torch.equal(value, before[name]) for name, value in off.D_image.state_dict().items())
    assert {n: v for n, v in off.model_file().tensors.items() if n.startswith("D.")}.keys()


@pytest.mark.parametrize("kind", ["original", "hinge", "ls", "w"])
def test_adversarial_losses_weights_and_changes(kind: str) -> None:
    recipe = made(adversarial=kind, weight=2.0, drawn=("down", "contour", "up"), given=("down", "up"))
    losses = recipe.step(Sketched(lines(4)[:4], torch.zeros(4, 3, 32, 32)), 0)
    assert all(loss.isfinite() for loss in losses.values())
    assert losses["G_weight"] == 0
    assert recipe.step(Sketched(lines(4), None), 1)["G_weight"] > 0


def test_the_discriminators_begin_as_the_originals() -> None:
    base, other = models()
    recipe = made(base)
    for D in (recipe.D_sketch, recipe.D_image):
        assert all(torch.equal(value, base.tensors[f"D.{name}"]) for name, value in D.state_dict().items())
    bare = dataclasses.replace(base, tensors={n: v for n, v in base.tensors.items() if not n.startswith("D.")})
    with pytest.raises(
        PinxitError, match=r"^the model that is customised is without its discriminator, expected with it"
    ):
        SketchingRecipe(bare, other, TINY.training, lines())
    made(bare, sketch_discriminator="fresh").step(Sketched(lines(4), None), 0)


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    base, other = models()
    base.save(tmp_path / "base")
    other.save(tmp_path / "photosketch")
    page = Image.new("L", (64, 64), 255)
    page.save(tmp_path / "blank.png")
    ImageDraw.Draw(page).ellipse((8, 8, 56, 56), outline=0, width=2)
    page.save(tmp_path / "circle.png")
    right = Data(base=tmp_path / "base", photosketch=tmp_path / "photosketch", sketches=(tmp_path / "circle.png",))

    def refused(told: str, *, training: Training = TINY.training, **data: object) -> None:
        with pytest.raises(PinxitError, match=told):
            build(dataclasses.replace(TINY, data=dataclasses.replace(right, **data), training=training))

    refused(r"^--base is missing, expected a model of stylegan2", base=None)
    refused(r"^--base '.*photosketch' is of method photosketch, expected stylegan2", base=tmp_path / "photosketch")
    refused(r"^--photosketch '.*base' is of method stylegan2, expected photosketch", photosketch=tmp_path / "base")
    refused(r"^the number of --sketches is 0, expected 1 or more", sketches=())
    refused(r"^sketch '.*blank.png' is blank", sketches=(tmp_path / "blank.png",))
    refused(r"^--batch is 6, expected a multiple of 4", training=dataclasses.replace(TINY.training, batch=6))
    with pytest.raises(PinxitError, match=r"^--drawn is nothing, expected contour once, and as many up as down"):
        Training(drawn=())
    with pytest.raises(PinxitError, match=r"^--given is up, expected no contour, and as many up as down"):
        Training(given=("up",))
    with pytest.raises(PinxitError, match=r"^--drawn is 3 times down, expected what leaves 8 of 32 pixels"):
        made(drawn=("down", "down", "down", "contour", "up", "up", "up"))
    with pytest.raises(PinxitError, match=r"^the sketches' size is 16x16, expected 32x32"):
        SketchingRecipe(base, other, TINY.training, lines()[:, :, ::2, ::2])
    # A discriminator of another size than the generator.
    torch.manual_seed(0)
    small = stylegan2.Network(size=16, channels=(8, 8, 6), style_dim=8, mapping_layers=2)
    tensors = StyleGAN2Recipe(small, stylegan2.PRESETS["tiny"].training).model_file().tensors
    mixed = {**base.tensors, **{n: v for n, v in tensors.items() if n.startswith("D.")}}
    mixed = {n: v for n, v in mixed.items() if not n.startswith("D.") or n in tensors}
    with pytest.raises(PinxitError, match=r"^the model's D is not as its configuration"):
        SketchingRecipe(dataclasses.replace(base, tensors=mixed), other, TINY.training, lines())


def test_a_run_of_other_sketches_is_not_resumed() -> None:
    state = made().state_dict()
    base, other = models()
    again = SketchingRecipe(base, other, TINY.training, lines(2), seed=3)
    with pytest.raises(PinxitError, match=r"^--resume is with other sketches or other models, expected those"):
        again.load_state_dict(state)


def test_the_forecast_changes_nothing() -> None:
    recipe = made()
    before = {name: value.clone() for name, value in recipe.state_dict().items()}
    assert recipe.forecast().seconds > 0
    assert all(torch.equal(value, before[name]) for name, value in recipe.state_dict().items())


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    """Losses, penalties and scores, and weights; PhotoSketch's batch norms have the whole batch's statistics."""
    base, other = models()
    base.save(tmp_path / "base")
    other.save(tmp_path / "photosketch")
    (tmp_path / "sketches").mkdir()
    for i, page in enumerate(lines(5)):
        Image.fromarray(((page[0] + 1) * 127.5).byte().numpy()).save(tmp_path / "sketches" / f"{i}.png")
    options = (
        f"-m pinxit train sketching --preset tiny --base {tmp_path / 'base'} --photosketch {tmp_path / 'photosketch'} "
        f"--sketches {tmp_path / 'sketches'} --batch 8 --steps 4 --log-every 1 --sample-every 0 --device cpu "
        "--no-tensorboard --out"
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
        names = a.keys() - {"stage", "stage_number", "step", "steps_per_second", "loading"}
        assert {"r1_sketch", "r1_image", "score", "D_real_image"} <= names
        for name in names:
            assert a[name] == pytest.approx(b[name], rel=1e-3 if i == 0 else 3e-2, abs=1e-4), (i, name)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    for name, value in one.items():
        assert (value.float() - two[name].float()).abs().mean() < 3e-3, name
    assert read(tmp_path / "two").method == "stylegan2"
