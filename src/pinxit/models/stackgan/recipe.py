"""The objective of StackGAN and one training iteration of each stage (Zhang et al. 2017, sec. 3)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pinxit.data.captions import CaptionBatch, Captioned, CaptionStream, find_captioned, still
from pinxit.data.download import cache_folder
from pinxit.data.squares import check_squares
from pinxit.errors import expected
from pinxit.modelfile import ModelFile, read
from pinxit.models.stackgan.config import FIRST, PRESETS, Data, Network, Options, Training
from pinxit.models.stackgan.network import Condition, Discriminator, StageOne, StageTwo, discriminator_of
from pinxit.nn.counting import counted, speed
from pinxit.nn.ema import EMA
from pinxit.nn.init import initialize
from pinxit.nn.losses import fake_loss, real_loss
from pinxit.recipe import (
    Adam,
    Forecast,
    Recipe,
    Stage,
    frozen,
    linear_decay,
    rank,
    set_rate,
    state_on_cpu,
    step_noise,
    update,
    world_size,
)
from pinxit.text.training import BUILT_IN, CACHE, DESCRIBED, PRECOMPUTED, Texts, embeddings_in, whole_batch
from pinxit.translator import filled, options_of

LOAD = 76 / 64
"""Pixels of a photo's short side ahead of the random crop, for one that is cropped to."""
AT_ONCE = 8
"""Pictures of a sheet that are made together."""
EXAMPLE = 200
"""Characters at most of a caption that the card gives as an example of what can be asked for."""


@dataclasses.dataclass(frozen=True)
class Streams:
    """Where each stage's batches come from."""

    text: CaptionStream
    stage1: CaptionStream
    stage2: CaptionStream


@dataclasses.dataclass(frozen=True)
class Sheet:
    """What the sample sheet shows: photos, a caption of each, and how many pictures of that."""

    items: Sequence[Captioned]
    rows: Tensor
    """Of the first caption of each item, as `Texts` has them."""
    columns: int
    boxes: bool = True


def build(options: Options, *, seed: int = 0, workers: int = 0) -> StackGANRecipe:
    """The recipe that `options` describe, on this rank's share of the data, which is checked first.

    Raises `PinxitError` for whatever is wrong with the data, the options, or the model that it begins with.
    """
    data, network, t = options.data, options.network, options.training
    items = find_captioned(data.data, data.split)
    assert data.data is not None
    if data.check and rank() == 0:
        check_squares([item.photo for item in items])
    # Every rank draws the same initial weights; from here on ranks differ in their share of each batch alone. Not drawn
    # by the seed itself, by which samples and sheets draw their z: the first weights would be those very z.
    torch.manual_seed(seed + (1 << 41))
    begun = None if data.stage1 is None else begun_with(data.stage1)
    if begun is None:
        learns = t.match or data.text_encoder == BUILT_IN
        folder = embeddings_in(data.data, data.split)
        texts = Texts(data.text_encoder, network.text_dim, folder, cache_folder() / CACHE, pictures=learns)
        network = dataclasses.replace(network, text_dim=texts.width)
    else:
        texts, first = texts_of(begun, data), network_of(begun)
        network = dataclasses.replace(
            network,
            z_dim=first.z_dim,
            text_dim=first.text_dim,
            stage1_width=first.first_width,
            stage1_condition=first.first_condition,
        )
    rows = texts.prepare(items)

    def stream(size: int, batch: int) -> CaptionStream:
        return CaptionStream(
            items,
            rows,
            size,
            batch,
            seed,
            rank(),
            world_size(),
            workers,
            load=round(size * LOAD),
            flip=t.flip,
            crop_boxes=data.boxes,
            mean_of=1 if texts.network is not None else t.captions,
        )

    streams = Streams(stream(FIRST, t.text_batch), stream(FIRST, t.stage1_batch), stream(network.size, t.stage2_batch))
    count = min(max(0, data.rows), len(items))
    shown = [i * len(items) // count for i in range(count)]
    sheet = None
    if shown and data.columns > 0:
        first_rows = torch.stack([rows[i][0] for i in shown])
        sheet = Sheet([items[i] for i in shown], first_rows, data.columns, data.boxes)
    captions = sum(len(item.captions) for item in items)
    examples = [first for i in shown if len(first := items[i].captions[0]) <= EXAMPLE]
    card = {
        "data": f"{data.data.resolve().name}, {len(items)} photos, {captions} captions",
        "source": "trained with pinxit train stackgan",
        "steps": f"{t.stage1_steps} and {t.stage2_steps}" if t.stages == 2 else str(t.stage1_steps),
        "sentences": "\n".join(dict.fromkeys(examples)),
    }
    if data.stage1 is not None:
        card["stage1"] = f"of {data.stage1.resolve().name}"
    return StackGANRecipe(network, t, texts, streams, seed=seed, sheet=sheet, begun=begun, card=card)


def begun_with(path: Path) -> ModelFile:
    """The model whose Stage-I a training begins with. Raises `PinxitError` for another method's."""
    file = read(path)
    if file.method != "stackgan":
        raise expected(f"--stage1 '{path}'", f"of method {file.method}", "stackgan", "name another model")
    return file


def texts_of(begun: ModelFile, data: Data) -> Texts:
    """The text encoder of the model that is begun with, or the embeddings named for one that was imported.

    Raises `PinxitError`.
    """
    thing, width = f"--stage1 '{data.stage1}'", network_of(begun).text_dim
    if data.text_encoder == PRECOMPUTED:
        texts = Texts(PRECOMPUTED, width, embeddings_in(data.data, data.split), pictures=False)
        if texts.width != width:
            got, want = texts.width, f"{width}, as {thing} wants"
            raise expected(
                "the width of the precomputed embeddings", got, want, "name others, or train Stage-I on these"
            )
        return texts
    texts = Texts.of_model(begun, None if data.text_encoder == BUILT_IN else data.text_encoder)
    if texts.network is None and texts.encoder is None:
        got = f"{data.text_encoder}, and {thing} of precomputed embeddings"
        raise expected("--text-encoder", got, f"{PRECOMPUTED}, or an encoder of {width} numbers", "name it")
    texts.cache = cache_folder() / CACHE
    return texts


def network_of(file: ModelFile) -> Network:
    """The options in a model file. Raises `PinxitError` for one this version does not know."""
    beside = {"stages", *DESCRIBED}
    known = {f.name for f in dataclasses.fields(Network)}
    options = options_of(file, known | beside, ())
    return Network(**{name: value for name, value in options.items() if name in known})


class StackGANRecipe(Recipe):
    """StackGAN in training.

    `texts` makes vectors of captions; `G1`, `D1` and `G2`, `D2` are the stages'; `G1_ema` and `G2_ema` averages of the
    generators over their last steps, where there are any. `reached` is the stage that the model file goes as far as.

    Args:
        begun: a model whose Stage-I, text encoder included, is taken as it is.
    """

    bf16 = True

    def __init__(
        self,
        network: Network,
        training: Training,
        texts: Texts,
        streams: Streams | None = None,
        *,
        seed: int = 0,
        sheet: Sheet | None = None,
        begun: ModelFile | None = None,
        card: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        t = self.training_options = training
        self.network, self.streams, self.seed, self.sheet, self.card = network, streams, seed, sheet, card or {}
        self.begun, self.reached = begun is not None, 1
        self.texts = texts
        self.G1, self.D1 = StageOne(network), discriminator_of(network, 1)
        self.G2, self.D2 = StageTwo(network), discriminator_of(network, 2)
        for part in (self.G1, self.D1, self.G2, self.D2):
            initialize(part, "normal")
        if begun is not None:
            filled(self.G1, "G1", begun, torch.device("cpu"))
        self.G1_ema = EMA(self.G1, t.ema) if t.ema else None
        self.G2_ema = EMA(self.G2, t.ema) if t.ema else None
        self.optimizers = {
            name: Adam(getattr(self, name).parameters(), lr=t.lr, betas=(0.5, 0.999))
            for name in ("G1", "D1", "G2", "D2")
        }
        if texts.pictures is not None and begun is None:
            self.optimizers["text"] = Adam(texts.parameters(), lr=t.text_lr)
        self._photos: dict[int, Tensor] = {}

    def stages(self) -> Iterator[Stage]:
        assert self.streams is not None
        t = self.training_options
        if "text" in self.optimizers:
            yield Stage("text", t.text_steps, self.streams.text.batches, self.text_step)
        if not self.begun:
            yield Stage("stage1", t.stage1_steps, self.streams.stage1.batches, self.stage1_step)
        if t.stages == 2:
            if self.G1_ema is not None:
                # What Stage-II begins from is what samples of Stage-I were made with.
                self.G1.load_state_dict(self.G1_ema.average.state_dict())
            self.reached = 2
            yield Stage("stage2", t.stage2_steps, self.streams.stage2.batches, self.stage2_step)

    def text_step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """Captions and photos learn which belong together; of a foreign encoder, the photos alone."""
        t = self.training_options
        set_rate(self.optimizers["text"], t.text_lr * linear_decay(step, t.text_steps // 2, t.text_steps))
        loss = self.texts.matching_step(batch.photo, batch.text)
        update(self.optimizers["text"], loss)
        return {"match": loss.detach()}

    def stage1_step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """D first, then G, on one and the same fake."""
        text, rows = self.texts.embed(batch.text), len(batch.photo)
        fake, condition = self.G1(text, self.draw(step, 0, rows), self.draw(step, 1, rows))
        losses = self.improve("1", self.D1, batch.photo, fake, condition, self.rate(step, 1))
        if self.G1_ema is not None:
            self.G1_ema.update(self.G1, step)
        return losses

    def stage2_step(self, batch: CaptionBatch, step: int) -> dict[str, Tensor]:
        """The same on what Stage-II makes of Stage-I's pictures; of the latter only batch norm's statistics move."""
        text, rows = self.texts.embed(batch.text), len(batch.photo)
        with torch.no_grad():
            rough, _ = self.G1(text, self.draw(step, 2, rows), self.draw(step, 3, rows))
        fake, condition = self.G2(rough, text, self.draw(step, 4, rows))
        losses = self.improve("2", self.D2, batch.photo, fake, condition, self.rate(step, 2))
        if self.G2_ema is not None:
            self.G2_ema.update(self.G2, step)
        return losses

    def improve(
        self, stage: str, D: Discriminator, real: Tensor, fake: Tensor, condition: Condition, rate: float
    ) -> dict[str, Tensor]:
        """One update of a stage's discriminator and one of its generator."""
        mean = condition.mean.detach()
        for part in "DG":
            set_rate(self.optimizers[part + stage], rate)
        losses = discriminator_losses(D, real, fake.detach(), mean)
        update(self.optimizers[f"D{stage}"], losses["D"])
        with frozen(D):
            features = D(fake)
            losses["G"] = real_loss(D.matching(features, mean), "original")
            alone = D.real(features)
            if alone is not None:
                losses["G"] = losses["G"] + real_loss(alone, "original")
            losses["kl"] = divergence(condition)
            update(self.optimizers[f"G{stage}"], losses["G"] + self.training_options.kl * losses["kl"])
        return {name: loss.detach() for name, loss in losses.items()}

    def draw(self, step: int, number: int, rows: int) -> Tensor:
        """The noise of a step by its number: z and eps of Stage-I, in Stage-I and then in Stage-II; eps of Stage-II."""
        n = self.network
        width = (n.z_dim, n.first_condition, n.z_dim, n.first_condition, n.condition_dim)[number]
        return step_noise(self.seed, step, number, rows, width, device=self.G1.fc.weight.device)

    def rate(self, step: int, stage: int) -> float:
        """The learning rate, halved again and again."""
        t = self.training_options
        every = t.stage1_halve if stage == 1 else t.stage2_halve
        return t.lr * 0.5 ** (step // every) if every else t.lr

    def generators(self) -> tuple[StageOne, StageTwo | None]:
        """Those that samples are made with."""
        if self.reached == 1:
            return self.G1 if self.G1_ema is None or self.begun else self.G1_ema.average, None  # pyright: ignore
        return self.G1, self.G2 if self.G2_ema is None else self.G2_ema.average  # pyright: ignore

    @torch.no_grad()
    def preview(self) -> Tensor | None:
        """A row for each caption: its photo, then pictures of always the same noise, which all captions share."""
        if self.sheet is None:
            return None
        sheet, n = self.sheet, self.network
        G1, G2 = self.generators()
        device = self.G1.fc.weight.device
        drawing = torch.Generator().manual_seed(self.seed)
        noise = [
            torch.randn(sheet.columns, width, generator=drawing).to(device)
            for width in (n.z_dim, n.first_condition, n.condition_dim)
        ]
        modes = [(part, part.training) for part in (G1, G2) if part is not None]
        for part, _ in modes:
            part.eval()
        pictures = []
        for text in self.texts.embed(sheet.rows.to(device)):
            for z, eps1, eps2 in zip(*(x.split(AT_ONCE) for x in noise), strict=True):
                texts = text.expand(len(z), -1)
                made = G1(texts, z, eps1)[0]
                pictures.append(made if G2 is None else G2(made, texts, eps2)[0])
        for part, mode in modes:
            part.train(mode)
        size = FIRST if G2 is None else n.size
        if size not in self._photos:
            self._photos[size] = torch.stack([still(i, size, crop_boxes=sheet.boxes) for i in sheet.items])
        made = torch.cat(pictures).float().cpu().view(len(sheet.items), sheet.columns, 3, size, size)
        return torch.cat([self._photos[size][:, None], made], dim=1)

    def forecast(self) -> Forecast:
        device = self.G1.fc.weight.device
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - as the loop has it
        rate = speed(self.D1.encode, torch.zeros(16, 3, FIRST, FIRST, device=device))
        seconds, memory = cost(self.network, self.training_options, rate, first=not self.begun)
        small = PRESETS["cpu"]
        others = {"cpu": cost(small.network, small.training, rate, first=not self.begun)}
        self.foretold = Forecast(seconds, memory, others if others["cpu"][0] < seconds else {})
        return self.foretold

    def model_file(self) -> ModelFile:
        """Generators as far as training has come, and what reads sentences and compares them with pictures."""
        G1, G2 = self.generators()
        tensors = {}
        parts = {"G1": G1, "G2": G2}
        for part, network in parts.items():
            for name, value in {} if network is None else state_on_cpu(network.state_dict()).items():
                half = self.training_options.store == "float16" and value.dim() == 4
                tensors[f"{part}.{name}"] = value.half() if half else value
        tensors |= self.texts.tensors()
        config = {**dataclasses.asdict(self.network), "stages": self.reached, **self.texts.described()}
        return ModelFile("stackgan", config, tensors, card=self.card)


def discriminator_losses(D: Discriminator, real: Tensor, fake: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """What a discriminator pays (eq. 3 and 5, with the wrong pairs that sec. 3.4 names).

    `mean` [N, C]: the condition of each picture. Real and fake pass it one after the other, each with statistics of
    their own. A wrong pair is a real picture with the next one's text, of all processes' pictures: one less than there
    are. All is summed up in `D`; `D_real` and `D_fake` are means of the judgements with text and alone.
    """
    on_real, on_fake = D(real), D(fake)
    losses = {"D_real": real_loss(D.matching(on_real, mean), "original")}
    losses["D_wrong"] = fake_loss(D.matching(whole_batch(on_real)[:-1], whole_batch(mean)[1:]), "original")
    losses["D_fake"] = fake_loss(D.matching(on_fake, mean), "original")
    alone, alone_fake = D.real(on_real), D.real(on_fake)
    if alone is None or alone_fake is None:
        return {"D": losses["D_real"] + (losses["D_wrong"] + losses["D_fake"]) / 2, **losses}
    alone_real, alone_fake = real_loss(alone, "original"), fake_loss(alone_fake, "original")
    total = (losses["D_real"] + alone_real) / 2 + (losses["D_fake"] + losses["D_wrong"] + alone_fake) / 3
    losses["D_real"] = (losses["D_real"] + alone_real) / 2
    losses["D_fake"] = (losses["D_fake"] + alone_fake) / 2
    return {"D": total, **losses}


def divergence(condition: Condition) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) (eq. 2), averaged over batch and numbers, as the official code."""
    mean, log_variance = condition.mean, condition.log_variance
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()


def cost(network: Network, t: Training, rate: float, *, first: bool = True) -> tuple[float, float]:
    """Seconds of a training at `rate` operations a second, and bytes of activations, weights, gradients and moments.

    `first`: whether Stage-I is trained too. The text stage is not counted.
    """
    seconds, most, weights = 0.0, 0, 0
    for stage in (1, 2)[: t.stages]:
        rows = max(1, (t.stage1_batch if stage == 1 else t.stage2_batch) // world_size())
        size = FIRST if stage == 1 else network.size
        with torch.device("meta"):
            G1, D = StageOne(network), discriminator_of(network, stage)
            text, z = torch.empty(rows, network.text_dim), torch.empty(rows, network.z_dim)
            eps = torch.empty(rows, network.first_condition)
            of_g, held = counted(G1, text, z, eps)
            before = 0.0
            if stage == 2:
                before, G2 = of_g, StageTwo(network)
                rough, eps = torch.empty(rows, 3, FIRST, FIRST), torch.empty(rows, network.condition_dim)
                of_g, held = counted(G2, rough, text, eps)
                weights += sum(p.numel() for p in G2.parameters())
            of_d, held_by_d = counted(D, torch.empty(rows, 3, size, size))
        weights += sum(p.numel() for part in (G1, D) for p in part.parameters())
        # A backward pass takes two forward ones. D judges real and fake with a backward to its weights, and the fake
        # once more with one to the picture.
        if stage == 2 or first:
            steps = t.stage1_steps if stage == 1 else t.stage2_steps
            seconds += steps * (before + 3 * of_g + 8 * of_d) / rate
            most = max(most, held + 2 * held_by_d)
    return seconds, float(most + 16 * weights)
