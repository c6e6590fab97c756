"""Options and presets of PoE-GAN. Imports no torch, so that `--help` is quick."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pinxit.data.modes import Mode
from pinxit.errors import at_least, expected

MODALITIES = ("map", "sketch", "text", "style")
"""What a picture may be made by, in the order of `present`."""


@dataclass(frozen=True)
class Network:
    """What the weights' shapes and the computation depend on; stored in the model file."""

    inputs: tuple[str, ...] = ()
    """What the model takes, out of map, sketch, text and style; by default what the data has."""
    labels: int = 0
    """Known labels, without 'unknown'; 0 takes the number from the label set."""
    unknown: bool = False
    """Whether 'unknown' pixels have a label of their own (index `labels`)."""
    size: tuple[int, int] = (256, 256)
    """Height and width in pixels, multiples of 2 to the number of doublings."""
    widths: tuple[int, ...] = (512, 512, 512, 256, 128, 64, 32)
    """Channels of the decoder at each resolution, smallest first; each resolution has twice the side of the one
    before."""
    latents: tuple[int, ...] = (64, 64, 32, 16, 8, 4, 2)
    """Channels of the spatial latent at each resolution."""
    encoder_widths: tuple[int, ...] = (512, 512, 256, 128, 64, 32, 16)
    """Channels of the encoders at each resolution, smallest first."""
    d_widths: tuple[int, ...] = (512, 512, 512, 256, 128, 64, 32)
    """Channels of the discriminator at each resolution, smallest first."""
    d_scales: int = 4
    """Resolutions that the discriminator judges at, the smallest ones, beside the picture as a whole."""
    z_dim: int = 512
    """Numbers in the global latent, and in w."""
    hidden: int = 128
    """Most channels between a latent and what scales and shifts by it."""
    text_width: int = 128
    """Numbers of a sentence's embedding; encoders other than the built-in one have their own."""

    def __post_init__(self) -> None:
        at_least(self, 0, "labels")
        at_least(self, 1, "z_dim", "hidden", "text_width", "d_scales")
        for name in self.inputs:
            if name not in MODALITIES:
                raise expected("--inputs", " ".join(self.inputs), f"some of {' '.join(MODALITIES)}", "correct it")
        if not self.widths:
            raise expected("--widths", "empty", "channels of each resolution", "give some")
        for name in ("widths", "latents", "encoder_widths", "d_widths"):
            given = getattr(self, name)
            if len(given) != len(self.widths) or min(given) < 1:
                got, want = " ".join(map(str, given)), f"{len(self.widths)} numbers of 1 or more, as many as --widths"
                raise expected(f"--{name.replace('_', '-')}", got or "empty", want, "correct it")
        if self.d_scales > len(self.widths):
            raise expected("--d-scales", self.d_scales, f"at most {len(self.widths)}, the resolutions", "lower it")
        if min(self.size) < 1 or any(side % (1 << self.doublings) for side in self.size):
            got, want = " ".join(map(str, self.size)), f"multiples of {1 << self.doublings}"
            raise expected("--size", got, want, "round it, or give --widths of another length")

    @property
    def doublings(self) -> int:
        """From the first feature map to the picture."""
        return len(self.widths) - 1

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each resolution, smallest first."""
        (height, width), last = self.size, self.doublings
        return tuple((height >> (last - k), width >> (last - k)) for k in range(last + 1))


@dataclass(frozen=True)
class Training:
    """The objective and the schedule."""

    steps: int = 800_000
    """Iterations, each one update of the discriminator and one of the generator."""
    batch: int = 64
    """Pictures an iteration, over all processes together."""
    lr: float = 1e-3
    """Learning rate of Adam."""
    d_lr: float | None = None
    """That of the discriminator; by default the same."""
    keep: float = 0.5
    """How often each input of an item is shown to the networks; all subsets are trained that way."""
    r1: float = 1.0
    """Weight of the R1 penalty: what the discriminator pays for slopes at real pictures."""
    r1_every: int = 16
    """Steps between updates by the R1 penalty; 0: none."""
    kl: float = 0.005
    """Weight of the KL divergence of each input's expert from the prior; averaged over resolutions."""
    image_contrast: float = 3.0
    """Weight of the contrastive loss between a picture and the photo whose inputs it was made by; 0: off."""
    text_contrast: float = 0.3
    """Weight of the contrastive loss between pictures and sentences; 0: off."""
    temperature: float = 0.3
    """Of both contrastive losses."""
    ema: float = 0.999
    """How much of the averaged generator, which samples are made with, stays each step."""
    text_steps: int = 20_000
    """Iterations of the built-in text encoder, ahead of the rest."""
    text_batch: int = 64
    """Pairs an iteration of it."""
    text_lr: float = 1e-3
    """Learning rate of it."""
    preprocess: Mode = "resize_and_crop"
    """How a picture becomes `size`."""
    load_size: int = 286
    """Pixels that pictures are first scaled to, where `preprocess` scales."""
    flip: bool = True
    """Whether every other item is mirrored, unless its caption says left or right."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "batch", "text_steps", "text_batch", "load_size")
        at_least(self, 0, "lr", "r1", "r1_every", "kl", "image_contrast", "text_contrast", "text_lr")
        if self.d_lr is not None:
            at_least(self, 0, "d_lr")
        if not 0 < self.temperature < float("inf"):
            raise expected("--temperature", self.temperature, "above 0", "correct it")
        for name in ("keep", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise expected(f"--{name}", getattr(self, name), "from 0 to 1", "correct it")


@dataclass(frozen=True)
class Data:
    """What is trained on: photos, and of each what there is."""

    data: Path | None = None
    """Folder with photos/ and any of maps/, sketches/ and captions.jsonl, in itself or in one for each split; or with
    train_img and any of train_label, train_sketch and train_captions.jsonl."""
    photos: Path | None = None
    """Folder of photos, for one's own data in place of --data, or besides."""
    maps: Path | None = None
    """Folder of label maps."""
    sketches: Path | None = None
    """Folder of sketches."""
    captions: Path | None = None
    """Captions: a .jsonl, or a folder of .txt."""
    split: str = "train"
    """Which split of --data."""
    label_set: str | None = None
    """Label set: a name (camvid, coco_stuff, ...), a .json file or a number of plain ids; by default the data set's."""
    check: bool = True
    """Whether to look through all files before training."""
    text_encoder: str = "built-in"
    """What reads the sentences: built-in is trained here, ahead of the rest; else sentence:NAME_OR_FOLDER,
    clip:NAME_OR_FOLDER, char-cnn-rnn:MODEL or precomputed."""
    text_cache: Path | None = None
    """Folder where embeddings of encoders other than the built-in one are kept; without it they are made anew."""
    vgg: str | None = None
    """VGG-19 weights, whose features the contrastive loss of pictures then compares, as in the paper: a file, or
    `download` to fetch it once. Without it the discriminator's are compared."""
    rows: int = 4
    """Rows of a sample sheet."""


@dataclass(frozen=True)
class Options:
    """All of a training of PoE-GAN."""

    data: Data = field(default_factory=Data)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)


@dataclass(frozen=True)
class Release:
    """What `pinxit import poegan` may be told; nothing, as there are no weights to import."""


MAY_CHANGE: dict[str, tuple[str, ...]] = {"data": ("check", "vgg", "rows"), "training": ("steps",)}
"""Options that a resumed run may be given anew: they do not change what is being learnt from what."""

SUMMARIES: dict[str, str] = {
    "tiny": "32 px, a few thousand weights: to try the machinery",
    "cpu": "72x96, to be trained on one core of a laptop",
    "256": "the paper's at 256 px",
    "1024": "the paper's at 1024 px",
}

PRESETS: dict[str, Options] = {
    "tiny": Options(
        network=Network(
            size=(32, 32),
            widths=(8, 8, 4),
            latents=(4, 2, 2),
            encoder_widths=(8, 8, 4),
            d_widths=(8, 8, 4),
            d_scales=2,
            z_dim=8,
            hidden=4,
            text_width=8,
        ),
        training=Training(steps=20, batch=2, ema=0.9, text_steps=4, text_batch=2, preprocess="fixed", load_size=32),
    ),
    "cpu": Options(
        network=Network(
            size=(72, 96),
            widths=(96, 64, 32, 16),
            latents=(16, 8, 4, 2),
            encoder_widths=(96, 64, 32, 16),
            d_widths=(128, 64, 32, 16),
            d_scales=3,
            z_dim=64,
            hidden=32,
        ),
        training=Training(
            steps=8000,
            batch=8,
            lr=5e-4,
            d_lr=2e-3,
            r1=0.3,
            ema=0.998,
            image_contrast=1.0,
            text_contrast=0.5,
            text_steps=1500,
            text_batch=32,
            load_size=80,
        ),
    ),
    "256": Options(),
    "1024": Options(
        network=Network(
            size=(1024, 1024),
            widths=(512, 512, 512, 512, 256, 128, 64, 32, 16),
            latents=(64, 64, 64, 32, 16, 8, 4, 2, 1),
            encoder_widths=(512, 512, 512, 256, 128, 64, 32, 16, 8),
            d_widths=(512, 512, 512, 512, 256, 128, 64, 32, 16),
            d_scales=6,
        ),
        training=Training(batch=32, load_size=1144),
    ),
}
