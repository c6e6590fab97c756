"""The objective of PoE-GAN: closed forms, what is shown when, resume, two processes, mistakes."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from pinxit.data.conditions import Conditions
from pinxit.errors import PinxitError
from pinxit.models.poegan.config import MODALITIES, PRESETS, Options
from pinxit.models.poegan.network import Experts
from pinxit.models.poegan.recipe import PoEGANRecipe, among, build, divergences, mean_over, r1_penalty, whole
from pinxit.models.poegan.weights import import_release
from pinxit.text.matching import matching_loss
from pinxit.text.training import Texts

TINY = PRESETS["tiny"]


def set_of(folder: Path, count: int = 6, leave_out: tuple[str, ...] = ()) -> Path:
    """Photos with maps, sketches and captions, but for the last photo, which has no map."""
    random = np.random.default_rng(0)
    labels = [{"id": i, "name": f"label {i}", "color": None, "group": "labels"} for i in range(3)]
    folder.mkdir()
    (folder / "labels.json").write_text(json.dumps({"name": "three", "ignore": [], "labels": labels}))
    for kind in ("photos", "maps", "sketches"):
        if kind not in leave_out:
            (folder / kind).mkdir()
    captions = []
    for i in range(count):
        ids = np.kron(random.integers(0, 3, (4, 4)), np.ones((8, 8), int)).astype(np.uint8)
        photo = 80 * ids[..., None] + random.integers(0, 60, (32, 32, 3))
        Image.fromarray(photo.astype(np.uint8)).save(folder / "photos" / f"{i}.png")
        if "maps" not in leave_out and i < count - 1:
            Image.fromarray(ids).save(folder / "maps" / f"{i}.png")
        if "sketches" not in leave_out:
            page = Image.new("L", (32, 32), 255)
            ImageDraw.Draw(page).line((2, 2 + 4 * i, 30, 16), fill=0, width=2)
            page.save(folder / "sketches" / f"{i}.png")
        captions.append(json.dumps({"image": f"{i}.png", "captions": [f"number {i}", f"label {ids[0, 0]}"]}))
    if "captions" not in leave_out:
        (folder / "captions.jsonl").write_text("\n".join(captions) + "\n", encoding="utf-8")
    return folder


def of(folder: Path, **training: object) -> Options:
    label_set = str(folder / "labels.json")
    return Options(
        dataclasses.replace(TINY.data, data=folder, label_set=label_set, rows=2),
        TINY.network,
        dataclasses.replace(TINY.training, **training),
    )


def made(**training: object) -> PoEGANRecipe:
    torch.manual_seed(0)
    network = dataclasses.replace(TINY.network, inputs=MODALITIES, labels=3)
    texts = Texts("built-in", network.text_width)
    recipe = PoEGANRecipe(network, dataclasses.replace(TINY.training, **training), texts=texts, seed=3)
    return recipe.to(memory_format=torch.channels_last).train()  # pyright: ignore[reportCallIssue]


def batch(recipe: PoEGANRecipe, rows: int = 4, seed: int = 1) -> Conditions:
    generator = torch.Generator().manual_seed(seed)
    assert recipe.texts is not None
    return Conditions(
        torch.rand(rows, 3, 32, 32, generator=generator) * 2 - 1,
        torch.randint(0, 3, (rows, 32, 32), generator=generator),
        (torch.rand(rows, 1, 32, 32, generator=generator) < 0.1).float(),
        recipe.texts.rows([f"sentence {i}" for i in range(rows)]),
        torch.ones(rows, 3, dtype=torch.bool),
    )


def test_every_subset_is_shown_alike_often() -> None:
    recipe = made()
    seen = Counter(
        tuple(row) for step in range(200) for row in recipe.present(torch.ones(8, 3, dtype=torch.bool), step).tolist()
    )
    assert len(seen) == 16
    # 1600 draws, 100 each on average, of deviation 9.7.
    assert 60 < min(seen.values()) <= max(seen.values()) < 140


def test_what_an_item_lacks_is_never_shown() -> None:
    recipe = made(keep=1.0)
    has = torch.tensor([[True, False, True], [False, True, False]])
    assert recipe.present(has, 5).tolist() == [[True, False, True, True], [False, True, False, True]]
    recipe.network = dataclasses.replace(recipe.network, inputs=("map", "text"))
    assert recipe.present(has, 5).tolist() == [[True, False, True, False], [False, False, False, False]]
    assert not made(keep=0.0).present(has, 5).any()


def test_what_is_shown_is_a_function_of_seed_and_step() -> None:
    has = torch.ones(6, 3, dtype=torch.bool)
    assert torch.equal(made().present(has, 7), made().present(has, 7))
    assert not torch.equal(made().present(has, 7), made().present(has, 8))


def test_logistic_losses() -> None:
    scales = [torch.tensor([0.5, -2.0]), torch.tensor([[[1.0, 3.0]], [[0.0, -1.0]]])]
    wanted = sum(torch.log1p(torch.exp(-s)).mean() for s in scales) / 2
    assert mean_over(scales, -1.0).item() == pytest.approx(float(wanted), rel=1e-6)
    # What is made pays where the logit is high.
    assert mean_over([torch.tensor([8.0])], 1.0).item() == pytest.approx(8.0, abs=1e-3)


class Linear(nn.Module):
    """A discriminator of one logit, the product of picture and weights, and of places that are all half of it."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def embedded(self, *inputs: Tensor | None) -> dict[str, list[Tensor]]:
        return {}

    def forward(self, x: Tensor, embedded: object, present: Tensor):
        from pinxit.models.poegan.discriminator import Judged

        logit = (x * self.weights).sum((1, 2, 3))
        return Judged([logit, 0.5 * logit[:, None, None].expand(-1, 2, 3)], logit[:, None])


def test_r1_of_a_linear_discriminator_is_its_squared_weights() -> None:
    weights = torch.randn(3, 4, 4)
    D = Linear(weights)
    present = torch.zeros(2, 4, dtype=torch.bool)
    penalty = r1_penalty(D, torch.randn(2, 3, 4, 4), (None,) * 4, present)  # type: ignore[arg-type]
    # Both scales together: 1.5 times the weights.
    assert penalty.item() == pytest.approx(2.25 * weights.square().sum().item(), rel=1e-5)
    (slope,) = torch.autograd.grad(penalty, D.weights)
    assert torch.allclose(slope, 4.5 * weights, rtol=1e-4)


def test_r1_gives_every_weight_that_judges_a_gradient() -> None:
    recipe = made()
    shown = batch(recipe, 2)
    penalty = r1_penalty(recipe.D, shown.photo, recipe.inputs(shown), torch.ones(2, 4, dtype=torch.bool))
    penalty.backward()
    without = [name for name, p in recipe.D.named_parameters() if p.grad is None]
    assert {name.split(".")[0] for name in without} == {"of_picture", "of_text"}
    assert penalty > 0


def test_the_divergence_of_each_input_is_a_mean_over_latents() -> None:
    """Two channels of mean 2, variance 1: the product with the prior has mean 1 and variance 1/2."""
    there = torch.tensor([[True, False], [True, True]])
    of_global = Experts(torch.full((2, 2, 2), 2.0), torch.zeros(2, 2, 2), there, ("map", "text"))
    of_places = Experts(torch.full((2, 1, 2, 3, 3), 2.0), torch.zeros(2, 1, 2, 3, 3), there[:, :1], ("map",))
    one = 2 * 0.5 * (1 + 0.5 - 1 + math.log(2))
    found = divergences([of_global, of_places], 4)
    assert found["map"].item() == pytest.approx(2 * one / 4)
    assert found["text"].item() == pytest.approx(one / 2 / 4)


def test_contrast_counts_only_what_is_to_be_counted() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(5, 3, generator=generator, requires_grad=True) for _ in range(2))
    counts = torch.tensor([True, False, True, True, False])
    found = among(a, b, counts, 0.3)
    assert found.item() == pytest.approx(matching_loss(a[counts], b[counts], 0.3).item())
    found.backward()
    assert a.grad is not None
    assert (a.grad[~counts] == 0).all()
    assert (a.grad[counts] != 0).any()
    few = among(a, b, torch.tensor([True, False, False, False, False]), 0.3)
    assert few.item() == 0
    few.backward()


def test_the_image_contrast_wants_the_features_of_the_own_photo() -> None:
    recipe = made()
    shown = batch(recipe, 4)
    present = torch.ones(4, 4, dtype=torch.bool)
    with torch.no_grad():
        embedded = recipe.D.embedded(*recipe.inputs(shown), present)
        judged = recipe.D(shown.photo, embedded, present)
        own = recipe.image_contrast(shown.photo, shown.photo, judged, judged.features, present)
        other = recipe.image_contrast(shown.photo, shown.photo, judged, judged.features.roll(1, 0), present)
    assert own < other
    assert recipe.image_contrast(shown.photo, shown.photo, judged, judged.features, present & False) == 0


def test_a_step_trains_both_networks_and_logs_what_it_did() -> None:
    recipe = made(r1_every=2)
    before = copy.deepcopy(recipe.state_dict())
    losses = [recipe.step(batch(recipe, seed=i), i) for i in range(3)]
    assert all(math.isfinite(x.item()) for some in losses for x in some.values())
    assert {"D", "G", "KL", "KL_map", "KL_style", "G_image", "G_text", "D_text", "r1"} <= set(losses[0])
    assert losses[0]["r1"] == losses[1]["r1"] != losses[2]["r1"]
    after = recipe.state_dict()
    moved = {name.split(".")[0] for name, x in after.items() if not torch.equal(x, before[name])}
    assert moved == {"G", "D", "average", "last_r1"}  # the texts are fixed
    still = [name for name in after if name.startswith(("G.", "D.")) and torch.equal(after[name], before[name])]
    assert not still


def test_the_discriminator_may_have_a_rate_of_its_own() -> None:
    for d_lr, wanted in ((None, 1e-3), (0.01, 0.01)):
        optimizers = made(lr=1e-3, d_lr=d_lr).optimizers
        assert [optimizers[name].param_groups[0]["lr"] for name in ("G", "D")] == [1e-3, wanted]


def test_bf16_is_near_fp32() -> None:
    plain, rounded = made(), made()
    shown = batch(plain)
    wanted = plain.step(shown, 0)
    with torch.autocast("cpu", torch.bfloat16):
        found = rounded.step(shown, 0)
    for name, x in wanted.items():
        assert found[name].item() == pytest.approx(x.item(), rel=0.05, abs=0.02), name


def test_losses_can_be_left_out() -> None:
    losses = made(image_contrast=0, text_contrast=0, r1_every=0).step(batch(made()), 0)
    assert not {"G_image", "G_text", "D_text"} & set(losses)
    assert losses["r1"] == 0


def test_whole_is_the_mean_of_means() -> None:
    from pinxit.models.poegan.discriminator import Judged

    logits = [torch.tensor([1.0, 3.0]), torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]])]
    assert whole(Judged(logits, torch.zeros(2, 1))).tolist() == [1.5, 1.5]


def test_inputs_are_what_the_data_has(tmp_path: Path) -> None:
    recipe = build(of(set_of(tmp_path / "all")), seed=1)
    assert recipe.network.inputs == MODALITIES
    assert (recipe.network.labels, recipe.network.unknown) == (3, False)
    assert [stage.name for stage in recipe.stages()] == ["text", "poegan"]
    sheet = recipe.preview()
    assert sheet is not None
    assert sheet.shape == (2, 9, 3, 32, 32)
    few = build(of(set_of(tmp_path / "few", leave_out=("maps", "captions"))), seed=1)
    assert few.network.inputs == ("sketch", "style")
    assert [stage.name for stage in few.stages()] == ["poegan"]
    losses = few.step(next(few.stream.batches()), 0)  # type: ignore[union-attr]
    assert "G_text" not in losses
    assert few.preview() is not None
    assert "text_encoder" not in few.model_file().config


def test_the_model_file_has_the_average_and_the_texts(tmp_path: Path) -> None:
    recipe = build(of(set_of(tmp_path / "data")), seed=1)
    recipe.step(next(recipe.stream.batches()), 0)  # type: ignore[union-attr]
    file = recipe.model_file()
    assert torch.equal(file.tensors["G.constant"], recipe.average.average.constant)  # type: ignore[arg-type]
    assert any(name.startswith("texts.") for name in file.tensors)
    assert not any(name.startswith("D.") for name in file.tensors)
    assert file.config["inputs"] == MODALITIES
    assert file.config["text_encoder"] == "built-in"
    assert file.label_set is not None


def test_mistakes_are_told_before_training(tmp_path: Path) -> None:
    folder = set_of(tmp_path / "data", leave_out=("sketches",))
    with pytest.raises(PinxitError, match=r"^the data's sketch is missing of every photo"):
        build(dataclasses.replace(of(folder), network=dataclasses.replace(TINY.network, inputs=("map", "sketch"))))
    with pytest.raises(PinxitError, match=r"^label set 'three' is 3 labels, expected 7"):
        build(dataclasses.replace(of(folder), network=dataclasses.replace(TINY.network, labels=7)))
    with pytest.raises(PinxitError, match=r"^--size is 30 32, expected multiples of 4"):
        dataclasses.replace(TINY.network, size=(30, 32))
    with pytest.raises(PinxitError, match=r"^--latents is 1 2, expected 3 numbers"):
        dataclasses.replace(TINY.network, latents=(1, 2))
    with pytest.raises(PinxitError, match=r"^--inputs is map smell, expected some of map sketch text style"):
        dataclasses.replace(TINY.network, inputs=("map", "smell"))
    with pytest.raises(PinxitError, match=r"^--keep is 2"):
        dataclasses.replace(TINY.training, keep=2)
    with pytest.raises(PinxitError, match="its authors released no weights"):
        import_release(Path("poegan.pth"))


COMMON = (
    "--steps 3 --text-steps 2 --batch 4 --text-batch 4 --log-every 1 --sample-every 0 --no-tensorboard "
    "--device cpu --precision fp32"
)


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    folder = set_of(tmp_path / "data")
    options = f"-m pinxit train poegan --preset tiny --data {folder} --label-set {folder}/labels.json {COMMON} --out"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command, name in (([sys.executable], "one"), (torchrun, "two")):
        done = subprocess.run(
            [*command, *options.split(), str(tmp_path / name)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
    logs = [[*map(json.loads, (tmp_path / n / "log.jsonl").read_text().splitlines())] for n in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 5
    for i, (a, b) in enumerate(zip(*logs, strict=True)):
        for name in ("text",) if i < 2 else ("D", "G", "KL", "G_image", "G_text", "D_text", "r1"):
            assert a[name] == pytest.approx(b[name], rel=1e-3, abs=1e-4), (i, name)
    one, two = (torch.load(tmp_path / name / "state.pt", weights_only=True)["recipe"] for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert (value.float() - two[name].float()).abs().mean() < 1e-3, name


def test_resume_across_the_stages_is_bit_equal(tmp_path: Path) -> None:
    """Cut within the second stage, and within the first."""
    from pinxit.training.config import Run
    from pinxit.training.loop import train

    folder = set_of(tmp_path / "data")
    options = of(folder, steps=3, text_steps=2)
    run = Run(tmp_path / "whole", sample_every=0, tensorboard=False, checkpoint_every=1)
    whole_run = build(options, seed=2)
    train(whole_run, run, torch.device("cpu"), {})
    state = whole_run.state_dict()
    for cut in (("text", 1), ("poegan", 2)):
        run = Run(tmp_path / cut[0], sample_every=0, tensorboard=False, checkpoint_every=1)
        first = build(options, seed=2)
        stages = first.stages

        def until(stages=stages, cut=cut):
            for stage in stages():
                steps = cut[1] if stage.name == cut[0] else stage.steps
                yield dataclasses.replace(stage, steps=steps)
                if stage.name == cut[0]:
                    return

        first.stages = until  # type: ignore[method-assign]
        train(first, run, torch.device("cpu"), {})
        torch.manual_seed(99)
        second = build(options, seed=2)
        train(second, dataclasses.replace(run, resume=True), torch.device("cpu"), {})
        for name, value in second.state_dict().items():
            assert torch.equal(value, state[name]), (cut, name)
