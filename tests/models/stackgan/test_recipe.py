"""StackGAN's objective, its stages, and what it begins with."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import pinxit.text.training
from pinxit.data.captions import CaptionBatch, still
from pinxit.errors import PinxitError
from pinxit.modelfile import read
from pinxit.models.stackgan.config import PRESETS, Data, Network, Options, Training
from pinxit.models.stackgan.generate import load
from pinxit.models.stackgan.network import Augmentation, Condition, Discriminator, StageOne, StageTwo, discriminator_of
from pinxit.models.stackgan.recipe import StackGANRecipe, build, cost, discriminator_losses, divergence
from pinxit.models.stackgan.weights import import_release, official_names
from pinxit.recipe import Stage, state_on_cpu
from pinxit.text.training import PRECOMPUTED, Texts
from pinxit.training import checkpoint
from pinxit.training.config import Run
from pinxit.training.loop import train

CPU = torch.device("cpu")
TINY = PRESETS["tiny"]
SMALL = dataclasses.replace(TINY.network, text_dim=5)


def captioned(folder: Path) -> Path:
    """Eight pictures of four colours, each with two captions."""
    folder.mkdir()
    lines = []
    colours = {"red": (200, 30, 30), "green": (30, 180, 40), "blue": (20, 40, 210), "grey": (120, 120, 120)}
    for name, colour in colours.items():
        for j, light in enumerate(("dark", "light")):
            pixels = np.random.default_rng(j).integers(0, 50, (60, 70, 3)) + np.array(colour) * (1 + j) // 2
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{name}{j}.png")
            captions = [f"a {light} {name} wall", f"{name}, {light}"]
            lines.append(json.dumps({"image": f"{name}{j}.png", "captions": captions}))
    (folder / "captions.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return captioned(tmp_path / "data")


def options(data: Path, stage1: Path | None = None, **training: object) -> Options:
    quick = {"text_steps": 3, "stage1_steps": 3, "stage2_steps": 3, **training}
    return dataclasses.replace(
        TINY,
        data=dataclasses.replace(TINY.data, data=data, stage1=stage1),
        training=dataclasses.replace(TINY.training, **quick),  # type: ignore[arg-type]
    )


def run(out: Path, o: Options, **more: object) -> StackGANRecipe:
    recipe = build(o, seed=5)
    train(recipe, Run(out, **{"sample_every": 0, "tensorboard": False, **more}), CPU, {})  # type: ignore[arg-type]
    return recipe


def foreign(network: Network = SMALL, training: Training = TINY.training) -> StackGANRecipe:
    """A recipe whose texts are vectors already."""
    torch.manual_seed(0)
    return StackGANRecipe(network, training, Texts(PRECOMPUTED, network.text_dim, pictures=False, opened=False)).train()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_condition_is_drawn_around_its_mean() -> None:
    torch.manual_seed(0)
    ca = Augmentation(6, 3)
    text, eps = torch.randn(4, 6), torch.randn(4, 3)
    c, mean, log_variance = ca(text, eps)
    both = F.relu(text @ ca.fc.weight.t() + ca.fc.bias)
    torch.testing.assert_close(mean, both[:, :3])
    torch.testing.assert_close(log_variance, both[:, 3:])
    torch.testing.assert_close(c, mean + eps * log_variance.exp().sqrt())
    torch.testing.assert_close(ca(text, torch.zeros(4, 3)).c, mean)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(ca(text, eps).c, c)


def test_the_divergence_is_that_of_gaussians() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(4, 3), torch.randn(4, 3)
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    theirs = torch.distributions.kl_divergence(ours, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(divergence(Condition(mean, mean, log_variance)), theirs)
    assert divergence(Condition(mean, 0 * mean, 0 * mean)) == 0


@pytest.mark.parametrize("alone", [False, True])
def test_wrong_pairs_are_real_pictures_with_the_next_text(alone: bool) -> None:
    torch.manual_seed(0)
    D = Discriminator(64, 4, 3, unconditional=alone).eval()  # eval: a row's judgement is its own
    real, fake, mean = torch.randn(3, 3, 64, 64), torch.randn(3, 3, 64, 64), torch.rand(3, 3)
    with torch.no_grad():
        losses = discriminator_losses(D, real, fake, mean)
        wrong = torch.stack([D.matching(D(real[i : i + 1]), mean[i + 1 : i + 2]) for i in range(2)])
        right, false = D.matching(D(real), mean), D.matching(D(fake), mean)
        parts = {"real": F.softplus(-right).mean(), "wrong": F.softplus(wrong).mean(), "fake": F.softplus(false).mean()}
        torch.testing.assert_close(losses["D_wrong"], parts["wrong"])
        total = parts["real"] + (parts["wrong"] + parts["fake"]) / 2
        if alone:
            on_real, on_fake = D.real(D(real)), D.real(D(fake))
            assert on_real is not None
            assert on_fake is not None
            real_alone, fake_alone = F.softplus(-on_real).mean(), F.softplus(on_fake).mean()
            total = (parts["real"] + real_alone) / 2 + (parts["wrong"] + parts["fake"] + fake_alone) / 3
        torch.testing.assert_close(losses["D"], total)


@pytest.mark.parametrize("size", [128, 256])
def test_sizes(size: int) -> None:
    network = dataclasses.replace(SMALL, size=size)
    G1, G2 = StageOne(network), StageTwo(network)
    text = torch.randn(2, 5)
    rough, condition = G1(text, torch.randn(2, 4), torch.randn(2, 4))
    fine, _ = G2(rough, text, torch.randn(2, 4))
    assert rough.shape == (2, 3, 64, 64)
    assert fine.shape == (2, 3, size, size)
    for stage, picture in ((1, rough), (2, fine)):
        D = discriminator_of(network, stage)
        features = D(picture)
        assert features.shape == (2, 32, 4, 4)
        assert D.matching(features, condition.mean).shape == (2,)
        alone = D.real(features)
        assert (alone is None) == (stage == 1)


def batches(count: int, rows: int = 4, size: int = 64) -> Iterator[CaptionBatch]:
    random = torch.Generator().manual_seed(1)
    for _ in range(count):
        photo = torch.rand(rows, 3, size, size, generator=random) * 2 - 1
        yield CaptionBatch(photo, torch.randn(rows, 5, generator=random))


def test_stage_two_leaves_the_weights_of_stage_one_alone() -> None:
    recipe = foreign()
    before = {name: p.clone() for name, p in recipe.G1.named_parameters()}
    statistics = recipe.G1.norm.running_mean.clone()
    for i, batch in enumerate(batches(2, size=128)):
        recipe.stage2_step(batch, i)
    assert equal(before, dict(recipe.G1.named_parameters()))
    assert not torch.equal(statistics, recipe.G1.norm.running_mean)
    assert all(p.grad is None for p in recipe.G1.parameters())


def test_rates_halve() -> None:
    recipe = foreign(training=dataclasses.replace(TINY.training, lr=0.8, stage1_halve=10, stage2_halve=0))
    assert [recipe.rate(step, 1) for step in (0, 9, 10, 25)] == [0.8, 0.8, 0.4, 0.2]
    assert recipe.rate(10_000, 2) == 0.8


def test_schedules_are_those_of_paper_and_codes() -> None:
    birds, code, coco = (PRESETS[name].training for name in ("birds", "birds_code", "coco"))
    epoch = 8855 // 64
    assert birds.stage1_steps == birds.stage2_steps == code.stage1_steps == 600 * epoch
    assert birds.stage1_halve == birds.stage2_halve == code.stage2_halve == 100 * epoch
    assert code.stage1_halve == 50 * epoch
    assert (coco.stage1_steps, coco.stage1_halve) == (120 * (82_783 // 128), 20 * (82_783 // 128))
    assert (coco.stage2_steps, coco.stage2_halve) == (100 * (82_783 // 40), 20 * (82_783 // 40))
    assert {t.kl for t in (birds, code, coco)} == {2.0}
    assert not PRESETS["birds"].network.unconditional
    assert PRESETS["coco"].network.unconditional


@pytest.mark.parametrize("cut", [("text", 2), ("text", 3), ("stage1", 2), ("stage1", 3), ("stage2", 1)])
def test_a_cut_run_ends_as_an_uncut_one(cut: tuple[str, int], data: Path, tmp_path: Path) -> None:
    """Cut inside each stage, and at both boundaries: after a stage's last step and before the next one's first."""
    run(tmp_path / "whole", options(data))

    first = build(options(data), seed=5)
    stages = first.stages

    def until() -> Iterator[Stage]:
        for stage in stages():
            yield dataclasses.replace(stage, steps=cut[1]) if stage.name == cut[0] else stage
            if stage.name == cut[0]:
                return

    first.stages = until  # type: ignore[method-assign]
    train(first, Run(tmp_path / "cut", sample_every=0, tensorboard=False), CPU, {})
    torch.manual_seed(99)
    run(tmp_path / "cut", options(data), resume=True)
    whole, resumed = (checkpoint.read(tmp_path / name, {}) for name in ("whole", "cut"))
    assert (resumed["stage"], resumed["step"]) == (2, 3)
    assert equal(whole["recipe"], resumed["recipe"])
    assert equal(dict(read(tmp_path / "whole").tensors), dict(read(tmp_path / "cut").tensors))


def test_the_text_encoder_stays_as_its_stage_left_it(data: Path, tmp_path: Path) -> None:
    recipe = run(tmp_path / "text", options(data, stages=1))
    frozen = {n: v for n, v in checkpoint.read(tmp_path / "text", {})["recipe"].items() if n.startswith("texts.")}
    assert len(frozen) > 10
    run(tmp_path / "text", options(data, stages=2), resume=True)
    after = checkpoint.read(tmp_path / "text", {})["recipe"]
    assert equal(frozen, {n: v for n, v in after.items() if n.startswith("texts.")})
    fresh = build(options(data), seed=5).texts.state_dict()
    assert not equal(fresh, recipe.texts.state_dict())


def test_samples_of_stage_one_are_the_average_and_stage_two_begins_from_it(data: Path, tmp_path: Path) -> None:
    one = run(tmp_path / "one", options(data, stages=1))
    assert one.G1_ema is not None
    average = state_on_cpu(one.G1_ema.average.state_dict())
    file = read(tmp_path / "one")
    assert file.config["stages"] == 1
    assert equal(
        {k: v for k, v in file.tensors.items() if k.startswith("G1")}, {f"G1.{k}": v for k, v in average.items()}
    )
    run(tmp_path / "one", options(data), resume=True)
    two = read(tmp_path / "one")
    assert two.config["stages"] == 2
    for name in one.G1.state_dict():
        if "running" not in name:
            assert torch.equal(two.tensors[f"G1.{name}"], average[name])


def test_stage_two_from_another_models_stage_one(data: Path, tmp_path: Path) -> None:
    """Ours, of other widths than asked for here: it is taken as it is, with its text encoder."""
    wide = dataclasses.replace(options(data, stages=1), network=dataclasses.replace(TINY.network, g_width=12, z_dim=6))
    run(tmp_path / "one", wide)
    begun = read(tmp_path / "one")
    o = options(data, tmp_path / "one")
    recipe = build(o, seed=5)
    assert [stage.name for stage in recipe.stages()] == ["stage2"]
    assert (recipe.network.first_width, recipe.network.z_dim, recipe.network.g_width) == (12, 6, 8)
    run(tmp_path / "two", o)
    made = read(tmp_path / "two")
    for name, tensor in begun.tensors.items():
        if "running" not in name:
            assert torch.equal(made.tensors[name], tensor), name
    first, second = (load(tmp_path / name, "cpu") for name in ("one", "two"))
    assert first.size == 64
    assert second.size == 128
    assert torch.equal(first.embed(["a red wall"]), second.embed(["a red wall"]))
    with pytest.raises(PinxitError, match=r"^--stage1 '.*' is not there|^model '.*' is not there"):
        build(options(data, tmp_path / "nowhere"))


class Counting:
    """A foreign encoder that counts letters."""

    width = 6

    def __init__(self, name: str, digest: str = "one") -> None:
        self.name, self.digest = name, digest

    def encode(self, sentences: Sequence[str]) -> Tensor:
        return torch.tensor([[float(sentence.count(c)) for c in "aerlgd"] for sentence in sentences])


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pinxit.text.training, "open_encoder", lambda name: Counting(name))


@pytest.mark.usefixtures("counting")
def test_a_foreign_encoder_is_asked_once_and_not_stored(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    o = options(data)
    o = dataclasses.replace(o, data=dataclasses.replace(o.data, text_encoder="sentence:letters"))
    recipe = run(tmp_path / "run", o)
    assert recipe.network.text_dim == 6
    assert [stage.name for stage in recipe.stages()] == ["text", "stage1", "stage2"]
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
    file = read(tmp_path / "run")
    assert (file.config["text_encoder"], file.config["text_width"]) == ("sentence:letters", 6)
    assert not any("network" in name for name in file.tensors)
    model = load(tmp_path / "run", "cpu")
    pictures = model.sample("a red wall", n=2)
    assert model.match(pictures, ["a red wall", "blue"]).shape == (2, 2)
    elsewhere = load(tmp_path / "run", "cpu", "sentence:elsewhere")
    assert elsewhere.sample("a red wall", n=2)[1].tobytes() == pictures[1].tobytes()
    two = build(dataclasses.replace(o, data=dataclasses.replace(o.data, stage1=tmp_path / "run")), seed=5)
    assert [stage.name for stage in two.stages()] == ["stage2"]
    monkeypatch.setattr(pinxit.text.training, "open_encoder", lambda name: Counting(name, "another"))
    with pytest.raises(PinxitError, match=r"sentence:letters"):
        load(tmp_path / "run", "cpu").sample("a red wall")


@pytest.mark.usefixtures("counting")
def test_a_foreign_encoder_without_matching_has_no_text_stage(data: Path, tmp_path: Path) -> None:
    o = options(data, match=False, stages=1, captions=2)
    o = dataclasses.replace(o, data=dataclasses.replace(o.data, text_encoder="sentence:letters"))
    recipe = run(tmp_path / "run", o)
    assert [stage.name for stage in recipe.stages()] == ["stage1"]
    with pytest.raises(PinxitError, match=r"^the model is without a network that compares"):
        load(tmp_path / "run", "cpu").match([Image.new("RGB", (64, 64))], ["a wall"])


def released(folder: Path, network: Network, stage: int) -> Path:
    """A generator as the authors' code saves it."""
    torch.manual_seed(2)
    G1, G2 = StageOne(network), StageTwo(network)
    first = {theirs: G1.state_dict()[ours] for ours, theirs in official_names(G1).items()}
    state = first
    if stage == 2:
        state = {f"STAGE1_G.{name}": value for name, value in first.items()}
        state |= {theirs: G2.state_dict()[ours] for ours, theirs in official_names(G2).items()}
    folder.mkdir()
    torch.save(state, folder / f"netG_epoch_{stage}.pth")
    return folder


@pytest.mark.parametrize("stage", [1, 2])
def test_releases(stage: int, tmp_path: Path) -> None:
    folder = released(tmp_path / "release", SMALL, stage)
    file = import_release(folder)
    file.save(tmp_path / "model")
    model = load(tmp_path / "model")
    assert model.last == stage
    assert model.options.text_dim == 5
    with pytest.raises(PinxitError, match=r"^the model is trained on precomputed embeddings"):
        model.sample("a wall")
    with pytest.raises(PinxitError, match=r"files, expected a netG_epoch_N\.pth"):
        import_release([folder, folder])
    with pytest.raises(PinxitError, match=r"without netG_epoch_N\.pth"):
        import_release(tmp_path)
    state = torch.load(folder / f"netG_epoch_{stage}.pth", weights_only=True)
    state["more"] = torch.zeros(1)
    torch.save(state, tmp_path / "more.pth")
    with pytest.raises(PinxitError, match=r"with more"):
        import_release(tmp_path / "more.pth")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(PinxitError, match=r"without 'ca_net\.fc\.weight'"):
        import_release(tmp_path / "other.pth")


def test_a_release_wants_the_embeddings_it_was_trained_on(data: Path, tmp_path: Path) -> None:
    import_release(released(tmp_path / "release", SMALL, 1)).save(tmp_path / "model")
    with pytest.raises(PinxitError, match=r"^--text-encoder is built-in, and --stage1"):
        build(options(data, tmp_path / "model"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Network(size=64), "^--size is 64, expected 128 or 256"),
        (lambda: Network(g_width=6), "^--g-width is 6, expected a multiple of 4"),
        (lambda: Network(stage1_width=2), "^--stage1-width is 2"),
        (lambda: Training(ema=1.0), r"^--ema is 1\.0"),
        (lambda: Training(stage1_batch=1), "^--stage1-batch is 1, expected 2 or more"),
        (lambda: build(Options(data=Data())), "^--data is missing"),
    ],
)
def test_bad_options(change: Callable[[], object], message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        change()


def test_a_sheet_has_photos_first_and_one_noise_for_all_captions(data: Path, tmp_path: Path) -> None:
    recipe = build(options(data), seed=5)
    assert recipe.sheet is not None
    for stage, size in zip(recipe.stages(), (64, 64, 128), strict=True):
        recipe.train()
        before = {name: value.clone() for name, value in recipe.state_dict().items()}
        sheet = recipe.preview()
        assert sheet is not None, stage.name
        assert sheet.shape == (2, 3, 3, size, size)
        torch.testing.assert_close(sheet[1, 0], still(recipe.sheet.items[1], size))
        assert not torch.equal(sheet[0, 1], sheet[0, 2])
        again = recipe.preview()
        assert again is not None
        assert torch.equal(sheet, again)
        assert equal(before, recipe.state_dict())
        assert recipe.G1.training
    assert build(dataclasses.replace(options(data), data=Data(data=data, rows=0))).preview() is None


def test_a_forecast_counts_what_is_trained(data: Path, tmp_path: Path) -> None:
    t = TINY.training
    both, first = (cost(TINY.network, dataclasses.replace(t, stages=n), 1e9) for n in (2, 1))  # type: ignore[arg-type]
    second = cost(TINY.network, t, 1e9, first=False)
    assert both[0] == pytest.approx(first[0] + second[0])
    assert second[0] > first[0] > 0
    twice = cost(TINY.network, dataclasses.replace(t, stages=1, stage1_steps=2 * t.stage1_steps), 1e9)
    assert twice[0] == pytest.approx(2 * first[0])
    forecast = build(options(data)).forecast()
    assert forecast.seconds > 0
    assert forecast.memory > 0


def test_precomputed_embeddings(data: Path, tmp_path: Path) -> None:
    """Published pickles beside the photos; a model of them is given an encoder of the same width when it samples."""
    photos = sorted(path.stem for path in data.glob("*.png"))
    random = np.random.default_rng(0)
    rows = [random.standard_normal((3, 6)).astype(np.float32) for _ in photos]
    (data / "char-CNN-RNN-embeddings.pickle").write_bytes(pickle.dumps(rows, protocol=2))
    (data / "filenames.pickle").write_bytes(pickle.dumps(photos, protocol=2))
    o = options(data, stages=1, captions=2)
    o = dataclasses.replace(o, data=dataclasses.replace(o.data, text_encoder="precomputed"))
    recipe = run(tmp_path / "run", o)
    assert recipe.network.text_dim == 6
    batch = next(recipe.streams.stage1.batches(0)) if recipe.streams is not None else None
    assert batch is not None
    assert batch.text.shape == (4, 6)
    with pytest.raises(PinxitError, match=r"precomputed embeddings"):
        load(tmp_path / "run", "cpu").sample("a wall")
    import_release(released(tmp_path / "narrow", SMALL, 1)).save(tmp_path / "narrow")
    with pytest.raises(PinxitError, match=r"^the width of the precomputed embeddings is 6, expected 5"):
        build(dataclasses.replace(o, data=dataclasses.replace(o.data, stage1=tmp_path / "narrow")))
    wide = dataclasses.replace(SMALL, text_dim=6)
    import_release(released(tmp_path / "wide", wide, 1)).save(tmp_path / "wide")
    two = build(dataclasses.replace(o, data=dataclasses.replace(o.data, stage1=tmp_path / "wide")))
    assert two.network.text_dim == 6
    (data / "char-CNN-RNN-embeddings.pickle").write_bytes(b"cos\nsystem\n(S'touch crafted'\ntR.")
    with pytest.raises(PinxitError, match=r"char-CNN-RNN-embeddings"):
        build(o)
