"""What `pinxit evaluate` and `pinxit train --evaluate-every` share: the metrics, and the networks that they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pinxit.errors import expected

if TYPE_CHECKING:
    import torch

    from pinxit.data.labels import LabelSet
    from pinxit.evaluation.pictures import Pictures
    from pinxit.evaluation.results import Score

Metric = Literal[
    "fid",
    "kid",
    "is",
    "precision-recall",
    "swd",
    "ssim",
    "psnr",
    "coherence",
    "lpips",
    "sifid",
    "miou",
    "fcn-score",
    "label-colors",
    "r-precision",
]

OF_INCEPTION: tuple[Metric, ...] = ("fid", "kid", "is", "precision-recall")
OF_PAIRS: tuple[Metric, ...] = ("ssim", "psnr", "lpips")
OF_SEGMENTER: tuple[Metric, ...] = ("miou", "fcn-score")
OF_MAPS: tuple[Metric, ...] = (*OF_SEGMENTER, "label-colors")
OF_CAPTIONS: tuple[Metric, ...] = ("r-precision",)
WITHOUT_REAL: tuple[Metric, ...] = ("is", *OF_MAPS, *OF_CAPTIONS)
OF_ONE_PHOTO: tuple[Metric, ...] = ("coherence", "sifid")
"""Those that take a single real picture as well as many."""

HIGHER: tuple[Metric, ...] = ("is", "ssim", "psnr", *OF_MAPS, *OF_CAPTIONS)
"""Those of which more is better."""


@dataclass(frozen=True)
class Networks:
    """What metrics need that is not part of Pinxit; nothing is downloaded unless it says so here."""

    inception: str | None = None
    """Weights for fid, kid, is, precision-recall and sifid: pt_inception-2015-12-05-6726825d.pth, or `download` to
    fetch it once (96 MB); for the Inception Score (is) also a classifier of one's own, fine-tuned from it."""
    protocol: Literal["pytorch-fid", "torch-fidelity", "clean"] = "pytorch-fid"
    """How pictures are resized for Inception: as the code of that name does."""
    lpips: str | None = None
    """Linear heads of LPIPS (the authors' alex.pth, vgg.pth or squeeze.pth), or `download` to fetch them and the
    backbone once."""
    lpips_backbone: Path | None = None
    """Weights of the backbone of LPIPS: torchvision's alexnet-owt-7be5be79.pth, or that of --lpips-network."""
    lpips_network: Literal["alex", "vgg", "squeeze"] = "alex"
    """Backbone of LPIPS."""
    segmenter: Path | None = None
    """What says which label a pixel shows: a model of `pinxit train deeplabv3`, or the folder of a Hugging Face model
    for semantic segmentation."""


class Scorer:
    """Metrics with their networks, loaded: what is missing is told before a picture is painted."""

    def __init__(self, metrics: Sequence[Metric], networks: Networks, device: torch.device, seed: int) -> None:
        """Raises `PinxitError` where a metric's network is not named, missing or damaged."""
        self.metrics: tuple[Metric, ...] = tuple(metrics)
        self.networks, self.device, self.seed = networks, device, seed
        self.inception = self.stem = self.lpips = self.segmenter = None
        n = networks
        if any(metric in OF_INCEPTION for metric in metrics):
            from pinxit.evaluation.inception import load_inception

            self.inception = load_inception(self._file_of_inception(metrics)).to(device)
        if "sifid" in metrics:
            from pinxit.evaluation.sifid import load_stem

            self.stem = load_stem(self._file_of_inception(metrics)).to(device)
        if "lpips" in metrics:
            from pinxit.evaluation.lpips import download, load_lpips

            if n.lpips is None:
                raise _missing("--lpips", "lpips", "the linear heads of LPIPS (alex.pth)")
            if n.lpips == "download":
                backbone, heads = download(n.lpips_network)
            elif n.lpips_backbone is None:
                raise expected("--lpips-backbone", "missing", "the backbone's weights beside --lpips FILE", "name them")
            else:
                backbone, heads = n.lpips_backbone, Path(n.lpips)
            self.lpips = load_lpips(n.lpips_network, backbone, heads).to(device)
        if any(metric in OF_SEGMENTER for metric in metrics):
            from pinxit.evaluation.segmentation import segmenter

            if n.segmenter is None:
                want = "a segmenter for miou and fcn-score"
                raise expected("--segmenter", "missing", want, "name a model, or leave these metrics out")
            self.segmenter = segmenter(n.segmenter, device)

    def require_classes(self, labels: LabelSet) -> None:
        """Raises `PinxitError` where the segmenter does not know the labels."""
        if self.segmenter is not None:
            from pinxit.evaluation.segmentation import require_classes

            require_classes(self.segmenter, labels)

    def scores(
        self, painted: Pictures, real: Pictures | None, maps: Pictures | None = None, labels: LabelSet | None = None
    ) -> list[Score]:
        """All metrics, those of Inception first. Every rank calls this, and gets the same.

        Raises `PinxitError` where the pictures are not what a metric takes.
        """
        found: list[Score] = []
        if self.inception is not None:
            from pinxit.evaluation.distribution import scores

            names: dict[str, Any] = {"is": "inception_score", "precision-recall": "precision_recall"}
            asked = [names.get(metric, metric) for metric in self.metrics if metric in OF_INCEPTION]
            found += scores(painted, real or painted, self.inception, self.networks.protocol, asked, seed=self.seed)
        for metric in self.metrics:
            if metric in OF_INCEPTION:
                continue
            if metric in OF_MAPS:
                assert maps is not None
                assert labels is not None
                found += self._of_maps(metric, painted, maps, labels)
            else:
                assert real is not None
                found += self._one(metric, painted, real)
        return found

    def _one(self, metric: Metric, painted: Pictures, real: Pictures) -> list[Score]:
        match metric:
            case "swd":
                from pinxit.evaluation.sliced import sliced_wasserstein

                return [sliced_wasserstein(painted, real, seed=self.seed, device=self.device)]
            case "coherence":
                from pinxit.evaluation.coherence import patch_similarity

                return patch_similarity(painted, real, seed=self.seed, device=self.device)
            case "ssim":
                from pinxit.evaluation.similarity import ssim

                return [ssim(painted, real)]
            case "psnr":
                from pinxit.evaluation.similarity import psnr

                return [psnr(painted, real)]
            case "lpips":
                from pinxit.evaluation.lpips import lpips

                assert self.lpips is not None
                return [lpips(painted, real, self.lpips)]
            case "sifid":
                from pinxit.evaluation.sifid import sifid

                assert self.stem is not None
                return sifid(painted, real, self.stem)
        raise AssertionError(metric)

    def _of_maps(self, metric: Metric, painted: Pictures, maps: Pictures, labels: LabelSet) -> list[Score]:
        from pinxit.evaluation.segmentation import fcn_scores, palette_scores, segmentation_scores

        if metric == "label-colors":
            return palette_scores(painted, maps, labels)
        assert self.segmenter is not None
        score = segmentation_scores if metric == "miou" else fcn_scores
        return score(painted, maps, self.segmenter, labels)

    def _file_of_inception(self, metrics: Sequence[Metric]) -> Path | None:
        """None: that which is downloaded."""
        if self.networks.inception is None:
            needing = [metric for metric in metrics if metric in (*OF_INCEPTION, "sifid")]
            raise _missing(
                "--inception", " and ".join(needing), "Inception weights (pt_inception-2015-12-05-6726825d.pth)"
            )
        return None if self.networks.inception == "download" else Path(self.networks.inception)


def by_default(networks: Networks, *, real: bool, paired: bool, maps: bool) -> tuple[Metric, ...]:
    """The metrics that can be computed with what there is: those that need no network, and those whose network is
    named."""
    there: dict[Metric, bool] = {
        "fid": networks.inception is not None and real,
        "kid": networks.inception is not None and real,
        "is": networks.inception is not None and not real,
        "miou": networks.segmenter is not None and maps,
        "lpips": networks.lpips is not None and real and paired,
        "swd": real,
        "ssim": real and paired,
        "psnr": real and paired,
    }
    return tuple(metric for metric, can in there.items() if can)


def _missing(option: str, metric: str, want: str) -> Exception:
    return expected(option, "missing", f"{want} for {metric}", f"name the file, or give {option} download")
