"""How well pictures fit the label maps they were painted from, as a segmenter sees them: mIoU, accuracy, FCN-score.

A segmenter is given the pictures, and what it finds there is compared with the maps. A number hangs on the segmenter
and on what becomes of void pixels (those whose map says 'unknown') as much as on the pictures, which is why every score
names both. SPADE's released Cityscapes weights have 81.9 of accuracy in the paper, where void pixels count as errors,
and 93.5 where others ignored them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit import modelfile
from pinxit.data.images import read_map
from pinxit.data.labels import LabelSet
from pinxit.errors import expected
from pinxit.evaluation.pictures import Pictures, pairs
from pinxit.evaluation.results import Score
from pinxit.recipe import rank, world_size

METHOD = "deeplabv3"
"""Our own method that segments."""

NOT_EVALUATED: dict[str, tuple[str, ...]] = {
    # Labels that the benchmark's own evaluation script passes over.
    "cityscapes": (
        "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "parking",
        "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan", "trailer", "license plate",
    ),
    # Numbered, but found in no map of COCO-Stuff.
    "coco_stuff": (
        "street sign", "hat", "shoe", "eye glasses", "plate", "mirror", "window", "desk", "door", "blender",
        "hair brush",
    ),
}  # fmt: skip
"""Label set -> its labels that are void in scores, as the data set's own evaluation has it."""

Void = Literal["counted", "ignored"]
VOIDS: tuple[Void, ...] = ("counted", "ignored")

BATCH = 8
"""Pictures of one size that are segmented together, at most."""


class Segmenter(Protocol):
    """What says for each pixel of a picture which class it belongs to."""

    name: str
    """What messages and results call it."""
    classes: tuple[str, ...]
    """Their names, in the order of the ids that `segment` gives."""
    digest: str
    """SHA-256 of the weights."""

    def segment(self, pictures: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] -> int64 [N, H, W], places in `classes`."""
        ...


def segmenter(source: str | Path, device: str | torch.device = "cpu") -> Segmenter:
    """The segmenter in a model folder or file of ours (`pinxit train deeplabv3`), or in the folder of a Hugging Face
    model for semantic segmentation, which needs the extra `segmenters`.

    A Hugging Face model is read from its folder alone: nothing is downloaded, only safetensors are opened, and no code
    in the folder is run.

    Raises:
        PinxitError: there is no such model, it is no segmenter, or it is damaged.
    """
    path = Path(source)
    if path.is_dir() and _is_hugging_face(path):
        return _HuggingFace(path, torch.device(device))
    file = modelfile.read(path)
    if file.method != METHOD:
        want = f"a segmenter ({METHOD}, or a Hugging Face model for semantic segmentation)"
        raise expected(f"model '{path}'", f"of method {file.method!r}", want, f"train one with pinxit train {METHOD}")
    return _Own(path, file, torch.device(device))


class _Own:
    """A DeepLabV3 of ours."""

    def __init__(self, path: Path, file: modelfile.ModelFile, device: torch.device) -> None:
        from pinxit.models.deeplabv3.generate import load

        self.name = path.parent.name if path.is_file() else path.name
        self.model = load(file, device)
        self.classes = self.model.names
        self.digest = digest_of([path if path.is_file() else path / modelfile.NAME])

    def segment(self, pictures: Tensor) -> Tensor:
        return self.model.segment_batch(pictures)


class _HuggingFace:
    """A model of `AutoModelForSemanticSegmentation` with its image processor."""

    def __init__(self, path: Path, device: torch.device) -> None:
        if importlib.util.find_spec("transformers") is None:
            want = 'the extra "segmenters" (pip install "pinxit[segmenters]")'
            raise expected(f"transformers, which segmenter '{path}' needs,", "not installed", want, "install it")
        from transformers import (  # pyright: ignore[reportMissingImports] - an extra
            AutoConfig,
            AutoImageProcessor,
            AutoModelForSemanticSegmentation,
        )
        from transformers.utils import logging  # pyright: ignore[reportMissingImports]

        logging.disable_progress_bar()
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            config = AutoConfig.from_pretrained(path, **local)
            # The weights of a backbone are in the folder, too; those that some configurations name lie elsewhere.
            config.use_pretrained_backbone = False
            self.processor: Any = AutoImageProcessor.from_pretrained(path, **local)
            model, info = AutoModelForSemanticSegmentation.from_pretrained(
                path, config=config, use_safetensors=True, output_loading_info=True, **local
            )
        except (AttributeError, ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            got = f"not to be opened ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
            want = "a whole model for semantic segmentation with safetensors and its image processor"
            raise expected(f"segmenter '{path}'", got, want, "download it again, or choose another") from error
        if missing := sorted(info["missing_keys"]):  # which are drawn at random otherwise, with no more than a warning
            raise expected(f"segmenter '{path}'", f"without weights {missing[0]}", "all weights", "download it again")
        self.name, self.device = path.name, device
        self.model: Any = model.to(device).float().eval().requires_grad_(False)
        # All of a picture is to be looked at, and nothing beside it.
        for name in ("do_center_crop", "do_pad"):
            if getattr(self.processor, name, False):
                setattr(self.processor, name, False)
        names = model.config.id2label
        self.classes = tuple(str(names[id]) for id in range(model.config.num_labels))
        self.digest = digest_of(sorted(path.glob("*.safetensors")))

    @torch.inference_mode()
    def segment(self, pictures: Tensor) -> Tensor:
        arrays = list(pictures.cpu().numpy())
        inputs = self.processor(images=arrays, input_data_format="channels_first", return_tensors="pt")
        scores = self.model(pixel_values=inputs["pixel_values"].to(self.device)).logits
        scores = F.interpolate(scores.float(), size=pictures.shape[2:], mode="bilinear", align_corners=False)
        return scores.argmax(1).cpu()


def digest_of(files: Iterable[Path]) -> str:
    """SHA-256 of the files' contents: of one file its own, of several that of theirs in this order."""
    each = []
    for file in files:
        with file.open("rb") as f:
            each.append(hashlib.file_digest(f, "sha256"))
    return each[0].hexdigest() if len(each) == 1 else hashlib.sha256(b"".join(d.digest() for d in each)).hexdigest()


def evaluated(label_set: LabelSet) -> list[int]:
    """The indices of the labels that scores are of; the others (`NOT_EVALUATED`) are void."""
    passed_over = NOT_EVALUATED.get(label_set.name, ())
    return [index for index, label in enumerate(label_set.labels) if label.name not in passed_over]


def class_table(classes: Sequence[str], label_set: LabelSet) -> tuple[np.ndarray, list[str]]:
    """For each class of a segmenter the index of the label of its name, int64 [classes], and the evaluated labels that
    no class has the name of.

    Names are compared without case, spaces and signs: `Traffic-Light` is `traffic light`. A class that the label set
    does not have is `label_set.unknown`.
    """
    exact = {label.name: index for index, label in enumerate(label_set.labels)}
    plain: dict[str, int] = {}
    for name, index in exact.items():
        plain.setdefault(_plain(name), index)
    table = [exact.get(name, plain.get(_plain(name), label_set.unknown)) for name in classes]
    missing = [label_set.labels[index].name for index in evaluated(label_set) if index not in table]
    return np.array(table, np.int64), missing


def require_classes(segmenter: Segmenter, label_set: LabelSet) -> np.ndarray:
    """The table of `class_table`. Raises `PinxitError` where no class of the segmenter is of a label to be scored."""
    table, missing = class_table(segmenter.classes, label_set)
    if missing:
        named = ", ".join(repr(name) for name in missing[:4])
        got = f"without {named}{f' and {len(missing) - 4} more' if len(missing) > 4 else ''}"
        want = f"a class for each label of {label_set.name!r}"
        raise expected(f"segmenter '{segmenter.name}'", got, want, "choose one that was trained on these labels")
    return table


class Confusion:
    """How many pixels of each label were taken for which: exact, and a sum, so that parts may be counted apart.

    `counts`: int64 [labels + 1, labels + 1]; rows are what the maps say, the last being void; columns what the
    segmenter says, the last being a class that the label set does not have.
    """

    def __init__(self, labels: int) -> None:
        self.counts = torch.zeros(labels + 1, labels + 1, dtype=torch.int64)

    def add(self, truth: Tensor, found: Tensor) -> None:
        """Count maps of one shape, indices 0..labels."""
        side = len(self.counts)
        pairs = truth.flatten().to(torch.int64) * side + found.flatten().to(torch.int64)
        self.counts += torch.bincount(pairs, minlength=side * side).reshape(side, side)

    def gather(self) -> None:
        """Add up what all ranks have counted; each has the sum then."""
        if world_size() > 1:
            total = self.counts.to("cuda" if dist.get_backend() == "nccl" else "cpu")
            dist.all_reduce(total)
            self.counts = total.cpu()


class Agreement(NamedTuple):
    """What a `Confusion` comes to; shares of 1."""

    pixel_accuracy: float
    """Pixels found right."""
    class_accuracy: float
    """The share of a label's pixels found right, mean over the labels that the maps have."""
    mean_iou: float
    """Mean of `iou` over the labels that the maps or the segmenter have."""
    weighted_iou: float
    """Mean of `iou` weighted by the pixels that the maps have of each label (Long et al. 2015, sec. 5)."""
    iou: list[float | None]
    """Pixels of a label found right, over those that are of it or were taken for it; None of a label that is in
    neither."""
    accuracy: list[float | None]
    """The share of each label's pixels found right; None of a label that the maps do not have."""


def agreement(counts: Tensor, void: Void) -> Agreement:
    """The numbers of a `Confusion`'s counts (Long et al. 2015, sec. 5).

    `void`: with "counted" a void pixel is an error wherever pixels are counted: for the accuracy, for the label it was
    taken for, and as a part of the whole that weights are shares of. With "ignored" it is as if it were not there. The
    mean accuracy of classes knows no difference. Void itself is no label, and in no mean.

    Raises:
        PinxitError: nothing is left to count.
    """
    cells = counts.tolist()  # Python's integers: sums of any number of pixels are exact
    labels = len(cells) - 1
    rows = cells if void == "counted" else cells[:labels]
    total = sum(map(sum, rows))
    if not sum(map(sum, cells[:labels])):
        want, remedy = "one of the label set somewhere", "check that the maps belong to it"
        raise expected("label of the maps", "void in every pixel", want, remedy)
    right = [cells[i][i] for i in range(labels)]
    truth = [sum(cells[i]) for i in range(labels)]
    found = [sum(row[i] for row in rows) for i in range(labels)]
    union = [t + f - r for t, f, r in zip(truth, found, right, strict=True)]
    iou = [r / u if u else None for r, u in zip(right, union, strict=True)]
    accuracy = [r / t if t else None for r, t in zip(right, truth, strict=True)]
    weighted = sum(t * each for t, each in zip(truth, iou, strict=True) if each is not None) / total
    return Agreement(sum(right) / total, _mean(accuracy), _mean(iou), weighted, iou, accuracy)


def confusion(
    pictures: Pictures, maps: Pictures, segmenter: Segmenter, label_set: LabelSet, *, side: int | None = None
) -> tuple[Confusion, int]:
    """What the segmenter takes the pixels of all pictures for, and how many pictures were resized for it.

    Pictures and maps of one name belong together. A picture is brought to the size of its map (antialiased bicubic),
    and segmented at that size: classes are never resized. `side`: all is brought to squares of so many pixels instead,
    the maps by nearest neighbour. Each rank of a `torchrun` takes its share.

    Raises:
        PinxitError: a picture is without its map, a map is not of the label set, or the segmenter's classes do not
            match it.
    """
    table = torch.from_numpy(_void_if_passed_over(label_set))
    classes = table[torch.from_numpy(require_classes(segmenter, label_set))]
    counted = Confusion(len(label_set.labels))

    def found(batch: Tensor) -> Tensor:
        return classes[segmenter.segment(batch)]

    resized = _count(counted, pictures, maps, label_set, table, found, side)
    counted.gather()
    return counted, resized


def segmentation_scores(pictures: Pictures, maps: Pictures, segmenter: Segmenter, label_set: LabelSet) -> list[Score]:
    """mIoU, accuracies and frequency-weighted IoU of pictures against the maps they were painted from, as in SPADE's
    Table 1 (Park et al. 2019), with void pixels counted and with void pixels ignored.

    The maps are files of ids or of the label set's colours. See `confusion` and `agreement` for what is done.

    Raises:
        PinxitError: as `confusion` and `agreement`.
    """
    counted, resized = confusion(pictures, maps, segmenter, label_set)
    extra = sum(index == label_set.unknown for index in class_table(segmenter.classes, label_set)[0].tolist())
    sizes = f"at the size of its map ({resized} of {len(pictures)} resized to it, bicubic)"
    how = (
        f"segmented by {segmenter.name} (SHA-256 {segmenter.digest[:12]}, {len(segmenter.classes)} classes, "
        f"{extra} of them not of the set) {sizes}; one confusion matrix of all pictures over {_labels(label_set)}"
    )
    weights = {"weights": {segmenter.name: segmenter.digest}}
    absent = "a label in neither maps nor predictions is left out of the mean"
    void_pixels = int(counted.counts[-1].sum())
    scores = []
    for void in VOIDS:
        numbers = agreement(counted.counts, void)
        told = f"{how}; void pixels {'count as errors' if void == 'counted' else 'are left out'}"
        by_label = {**weights, "iou": _by_label(label_set, numbers.iou), "void_pixels": void_pixels}
        scores += [
            Score(f"mIoU (void {void})", numbers.mean_iou, "higher", f"{told}; {absent}", None, by_label),
            Score(f"accuracy (void {void})", numbers.pixel_accuracy, "higher", told, None, weights),
            Score(f"fwIoU (void {void})", numbers.weighted_iou, "higher", told, None, weights),
        ]
    numbers = agreement(counted.counts, "ignored")
    told = f"{how}; void pixels are of no class; a label that the maps do not have is left out of the mean"
    by_label = {**weights, "accuracy": _by_label(label_set, numbers.accuracy)}
    scores.append(Score("class accuracy", numbers.class_accuracy, "higher", told, None, by_label))
    return scores


def fcn_scores(
    pictures: Pictures, maps: Pictures, segmenter: Segmenter, label_set: LabelSet, *, side: int = 256
) -> list[Score]:
    """The FCN-score of pictures painted from labels (Isola et al. 2017, sec. 4.1), with a segmenter of one's own in
    the place of the authors' FCN-8s.

    Departures from the published numbers, which are therefore not comparable, and only rank models that were scored
    alike: the segmenter; pictures and maps of `side` x `side` pixels, where the authors enlarge pictures of 256x256 to
    the maps' 2048x1024 for a network that was trained on such enlargements; and labels in neither maps nor predictions
    are left out of the means, where the authors' code has them as 0.

    Raises:
        PinxitError: as `confusion` and `agreement`.
    """
    counted, _ = confusion(pictures, maps, segmenter, label_set, side=side)
    how = (
        f"FCN-score with {segmenter.name} (SHA-256 {segmenter.digest[:12]}) instead of the authors' FCN-8s, at "
        f"{side}x{side} instead of enlarged to the maps' size (pictures bicubic, maps nearest)"
    )
    return _three(counted, label_set, how, {"weights": {segmenter.name: segmenter.digest}})


def palette_scores(pictures: Pictures, maps: Pictures, label_set: LabelSet, *, side: int = 256) -> list[Score]:
    """The three numbers of the FCN-score for label maps that were translated from photos (Zhu et al. 2017, sec. 5.1):
    each pixel is of the label whose colour is nearest (Euclidean, RGB). Needs no segmenter.

    `pictures`: the translations, in the label set's colours, more or less. Of labels that share a colour an evaluated
    one is meant, and of these the first. Departures as in `fcn_scores`, the segmenter aside.

    Raises:
        PinxitError: as `confusion` and `agreement`.
    """
    table = torch.from_numpy(_void_if_passed_over(label_set))
    counted = Confusion(len(label_set.labels))

    def found(batch: Tensor) -> Tensor:
        near = [nearest_labels(picture.permute(1, 2, 0).numpy(), label_set) for picture in batch]
        return table[torch.from_numpy(np.stack(near))]

    _count(counted, pictures, maps, label_set, table, found, side)
    counted.gather()
    how = (
        f"each pixel of the label nearest in colour (Euclidean, RGB), at {side}x{side} (pictures bicubic, maps nearest)"
    )
    return _three(counted, label_set, how, {})


def nearest_labels(picture: np.ndarray, label_set: LabelSet) -> np.ndarray:
    """uint8 [H, W, 3] -> int64 [H, W]: the index of the label, or of 'unknown' where the set has it, whose colour is
    nearest."""
    first = evaluated(label_set)
    order = np.array([*first, *sorted(set(range(label_set.channels)) - set(first))])
    palette = label_set.palette[order].astype(np.int32)
    colors, places = np.unique(picture.reshape(-1, 3), axis=0, return_inverse=True)
    near = np.empty(len(colors), np.int64)
    for start in range(0, len(colors), 4096):  # so that a large picture of many colours stays small in memory
        part = colors[start : start + 4096].astype(np.int32)
        near[start : start + 4096] = ((part[:, None] - palette) ** 2).sum(2).argmin(1)
    return order[near][places.reshape(-1)].reshape(picture.shape[:2])


def _three(counted: Confusion, label_set: LabelSet, how: str, details: dict[str, Any]) -> list[Score]:
    """Accuracy by pixel and by class, and IoU, under the names of the papers."""
    numbers = agreement(counted.counts, "ignored")
    how += f"; one confusion matrix of all pictures over {_labels(label_set)}; void pixels are left out"
    mean = "; means over the labels that occur"
    by_accuracy = {**details, "accuracy": _by_label(label_set, numbers.accuracy)}
    by_iou = {**details, "iou": _by_label(label_set, numbers.iou)}
    return [
        Score("per-pixel accuracy", numbers.pixel_accuracy, "higher", how, None, details),
        Score("per-class accuracy", numbers.class_accuracy, "higher", how + mean, None, by_accuracy),
        Score("class IoU", numbers.mean_iou, "higher", how + mean, None, by_iou),
    ]


def _count(
    counted: Confusion,
    pictures: Pictures,
    maps: Pictures,
    label_set: LabelSet,
    table: Tensor,
    found: Callable[[Tensor], Tensor],
    side: int | None,
) -> int:
    """Count this rank's share of the pictures; -> how many of all were of another size than they were looked at."""
    matched = pairs(pictures, maps)
    has, wants = pictures.sizes(), Pictures(maps.files, maps.name).sizes()
    resized = sum(has[i] != ((side, side) if side else wants[j]) for i, j in matched)

    def item(i: int, j: int) -> tuple[Tensor, Tensor]:
        index = read_map(maps.files[j], label_set)
        if side and index.shape != (side, side):
            index = np.array(Image.fromarray(index.astype(np.int32)).resize((side, side), Image.Resampling.NEAREST))
        truth = table[torch.from_numpy(index).long()]
        return _resized(pictures[i], truth), truth

    for batch in _of_one_size(item(i, j) for i, j in matched[rank() :: world_size()]):
        labels = torch.stack([each for _, each in batch])
        counted.add(labels, found(torch.stack([picture for picture, _ in batch])))
    return resized


def _of_one_size(items: Iterable[tuple[Tensor, Tensor]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Pictures and their maps, neighbours of one size together."""
    batch: list[tuple[Tensor, Tensor]] = []
    for item in items:
        if batch and (len(batch) == BATCH or item[1].shape != batch[0][1].shape):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _resized(picture: Tensor, like: Tensor) -> Tensor:
    height, width = like.shape
    if picture.shape[1:] == like.shape:
        return picture
    image = Image.fromarray(picture.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _void_if_passed_over(label_set: LabelSet) -> np.ndarray:
    """Index -> index, int64 [labels + 1], with labels that are not evaluated as void."""
    table = np.full(len(label_set.labels) + 1, label_set.unknown, np.int64)
    table[evaluated(label_set)] = evaluated(label_set)
    return table


def _labels(label_set: LabelSet) -> str:
    scored, there = len(evaluated(label_set)), len(label_set.labels)
    return f"{f'all {there}' if scored == there else f'{scored} of the {there}'} labels of {label_set.name}"


def _by_label(label_set: LabelSet, values: Sequence[float | None]) -> dict[str, float]:
    """Those that there are, by the names of their labels."""
    named = zip(label_set.labels, values, strict=True)
    return {label.name: value for label, value in named if value is not None}


def _mean(values: Sequence[float | None]) -> float:
    there = [value for value in values if value is not None]
    return sum(there) / len(there)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _is_hugging_face(folder: Path) -> bool:
    """Whether a folder's config.json is of a model of transformers; ours has a method in its place."""
    try:
        return "model_type" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
