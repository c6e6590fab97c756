"""`pinxit train … --evaluate-every N --keep-best SCORE`: how a run is scored on held-out pictures while it trains."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pinxit.apps.cli.scoring import HIGHER, OF_MAPS, OF_PAIRS, Networks, Scorer
from pinxit.errors import expected
from pinxit.models import METHODS

if TYPE_CHECKING:
    import torch

    from pinxit.evaluation.held_out import HeldOut
    from pinxit.evaluation.results import Score
    from pinxit.modelfile import ModelFile
    from pinxit.training.best import Evaluation
    from pinxit.training.config import Run

KINDS = ("spade", "pix2pixhd", "pix2pix", "cyclegan", "deeplabv3")
"""Methods whose models make something of held-out conditions."""


@dataclass(frozen=True)
class Best:
    """How the run is scored on held-out pictures: a fixed part of a split that it does not train on. The model that
    scored best is kept as best.safetensors beside the last."""

    evaluate_every: int = 0
    """Steps between two scores; 0: none."""
    keep_best: Literal["swd", "ssim", "psnr", "coherence", "lpips", "fid", "kid", "miou"] | None = None
    """Score that chooses the best model; by default swd, which needs no pretrained network, of a segmenter miou."""
    evaluate_on: Path | None = None
    """Data set with the held-out pictures; by default --data."""
    evaluate_split: str | None = None
    """Its split; by default val, else test."""
    evaluate_pictures: int = 64
    """So many of it, evenly spread."""
    networks: Networks = field(default_factory=Networks)


def evaluation_of(o: Best, method: str, file: ModelFile, options: Any, run: Run, device: torch.device) -> Evaluation:
    """What the loop is to do. `file`: a model of the run as it begins; `options`: those of the method.

    Raises `PinxitError` for options that do not go together, and whatever is missing to score.
    """
    if o.evaluate_every == 0:
        want = "steps between scores, as other options of scores are given"
        raise expected("--evaluate-every", "missing", want, "add it, or leave them out")
    for name, least in (("evaluate_every", 1), ("evaluate_pictures", 2)):
        if getattr(o, name) < least:
            raise expected(f"--{name.replace('_', '-')}", getattr(o, name), f"{least} or more", "correct it")
    if method not in KINDS:
        got = f"given for {method}, whose models paint no held-out conditions"
        raise expected("--evaluate-every", got, f"one of {', '.join(KINDS)}", "leave it out")
    data = options.data
    metric = o.keep_best or ("miou" if method == "deeplabv3" else "swd")
    folder = o.evaluate_on or data.data
    if folder is None:
        want = "a data set with a held-out split"
        raise expected("--evaluate-on", "missing, and so is --data", want, "name one")

    from pinxit.apps.cli.evaluate import together
    from pinxit.evaluation.held_out import Maps, held_out, write_real
    from pinxit.evaluation.pictures import pictures
    from pinxit.training.best import Evaluation

    held = held_out(
        file,
        folder,
        split=o.evaluate_split,
        # Not the model's: one that is trained from coarse to fine begins smaller.
        size=options.network.size,
        direction=getattr(data, "direction", None),
        outdoor=getattr(data, "outdoor", False),
        most=o.evaluate_pictures,
    )
    if folder == data.data and held.split == data.split:
        want = "a split that is not trained on"
        raise expected("--evaluate-split", repr(held.split), want, "name another, or another --split")
    if method == "deeplabv3" and metric != "miou":
        raise expected("--keep-best", metric, "miou for a segmenter", "leave it out")
    if metric in OF_PAIRS and not held.paired:
        raise expected(
            "--keep-best", metric, f"swd, fid or kid for {method}, whose pictures are unpaired", "choose one"
        )
    if metric in OF_MAPS and not isinstance(held, Maps):
        raise expected("--keep-best", metric, "a score of pictures, as there are no label maps", "choose another")
    scorer = None
    if method != "deeplabv3":
        scorer = Scorer([metric], o.networks, device, run.seed)
        if isinstance(held, Maps):
            scorer.require_classes(held.labels)
    place = run.out / "held_out"
    write_real(held, place)
    together()
    real = pictures([place / "real" / f"{name}.png" for name in held.real_names()], name="real pictures")
    names = {"swd": "SWD", "ssim": "SSIM", "psnr": "PSNR", "coherence": "Coherence", "lpips": "LPIPS"}
    names |= {"fid": "FID", "kid": "KID", "miou": "mIoU (void ignored)"}
    name = names[metric]
    return Evaluation(
        every=o.evaluate_every,
        name=name,
        better="higher" if metric in HIGHER else "lower",
        protocol=protocol_of(o, held, real.digest, metric, run.seed),
        score=lambda file: next(s for s in scores(file, held, scorer, place, run.seed, device) if s.name == name).value,
    )


def scores(
    file: ModelFile, held: HeldOut, scorer: Scorer | None, place: Path, seed: int, device: torch.device
) -> list[Score]:
    """What a model scores on the held-out conditions; `scorer` None: it is a segmenter, which scores itself."""
    from pinxit.apps.cli.evaluate import together
    from pinxit.evaluation.held_out import Maps, write_painted
    from pinxit.evaluation.pictures import pictures
    from pinxit.evaluation.segmentation import segmentation_scores

    model = importlib.import_module(f"{METHODS[file.method]}.generate").load(file, device)
    names = held.names()
    real = pictures([place / "real" / f"{name}.png" for name in held.real_names()], name="real pictures")
    maps = labels = None
    if isinstance(held, Maps):
        labels = held.labels
        maps = pictures([place / "maps" / f"{name}.png" for name in names], name="maps")
    if scorer is None:
        assert maps is not None
        assert labels is not None
        return segmentation_scores(real, maps, InTraining(model), labels)
    write_painted(held, model, place / "painted", seed)
    together()
    painted = pictures([place / "painted" / f"{name}.png" for name in names], name="painted pictures")
    found = scorer.scores(painted, real, maps, labels)
    together()  # nobody paints the next ones while others still read these
    return found


def protocol_of(o: Best, held: HeldOut, digest: str, metric: str, seed: int) -> str:
    """All that scores of one run must have in common."""
    height, width = held.size
    networks = {
        "fid": ("inception", "protocol"),
        "kid": ("inception", "protocol"),
        "lpips": ("lpips", "lpips_backbone", "lpips_network"),
        "miou": ("segmenter",),
    }.get(metric, ())
    used = "".join(f", {name} {value}" for name in networks if (value := getattr(o.networks, name)) is not None)
    of = f"{len(held.names())} pictures of {held.split} at {width}x{height}, the real ones of SHA-256 {digest[:16]}"
    return f"{of}, seed {seed}{used}"


class InTraining:
    """A model of deeplabv3 as a segmenter (`pinxit.evaluation.segmentation.Segmenter`)."""

    name, digest = "the model in training", "none yet"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes = tuple(label.name for label in model.label_set.labels)

    def segment(self, pictures: torch.Tensor) -> torch.Tensor:
        import numpy as np
        import torch
        from PIL import Image

        maps = [self.model.segment(Image.fromarray(x.permute(1, 2, 0).cpu().numpy())) for x in pictures]
        return torch.from_numpy(np.stack([np.asarray(map) for map in maps]).astype(np.int64))
