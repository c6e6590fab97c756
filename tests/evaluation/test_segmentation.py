"""Scores of pictures under a segmenter: against loops over pixels, closed forms, and a segmenter of another library."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.data.labels import Label, LabelSet, label_set_names, load_label_set
from pinxit.errors import PinxitError
from pinxit.evaluation import segmentation as s
from pinxit.evaluation.pictures import Pictures, pictures
from pinxit.evaluation.results import Score
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import PRESETS
from pinxit.models.deeplabv3.network import DeepLabV3

CAMVID = load_label_set("camvid")
THREE = LabelSet(
    "three",
    (Label(7, "Sky", (0, 0, 255), "a"), Label(3, "Road", (90, 90, 90), "a"), Label(9, "Tree", (0, 200, 0), "b")),
    ignore=(200,),
)
BESIDE = 3
"""Of `THREE` the index of 'unknown', and in predictions of a class that it does not have."""


class ByColor:
    """Takes a pixel for the class of exactly its red value."""

    name, digest = "by red", "0" * 64

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.shapes: list[tuple[int, ...]] = []

    def segment(self, pictures: Tensor) -> Tensor:
        self.shapes.append(tuple(pictures.shape))
        return pictures[:, 0].long()


def by_loops(truth: np.ndarray, found: np.ndarray, labels: int, void: str) -> dict[str, Any]:
    """The same numbers as `agreement`, by one pixel after the other. `labels` is void in `truth`, and another class in
    `found`."""
    right, wrong = 0, 0
    of = {label: {"truth": set(), "found": set()} for label in range(labels)}
    for place, (t, f) in enumerate(zip(truth.flat, found.flat, strict=True)):
        if t == labels and void == "ignored":
            continue
        right, wrong = (right + 1, wrong) if t == f and t != labels else (right, wrong + 1)
        if t != labels:
            of[int(t)]["truth"].add(place)
        if f != labels:
            of[int(f)]["found"].add(place)
    iou = [
        len(x["truth"] & x["found"]) / len(x["truth"] | x["found"]) if x["truth"] | x["found"] else None
        for x in of.values()
    ]
    accuracy = [len(x["truth"] & x["found"]) / len(x["truth"]) if x["truth"] else None for x in of.values()]
    weights = [len(x["truth"]) / (right + wrong) for x in of.values()]
    return {
        "pixel_accuracy": right / (right + wrong),
        "class_accuracy": np.mean([a for a in accuracy if a is not None]),
        "mean_iou": np.mean([i for i in iou if i is not None]),
        "weighted_iou": sum(w * i for w, i in zip(weights, iou, strict=True) if i is not None),
        "iou": iou,
        "accuracy": accuracy,
    }


@pytest.mark.parametrize("void", s.VOIDS)
@pytest.mark.parametrize("seed", range(6))
def test_the_numbers_are_those_of_loops_over_pixels(seed: int, void: s.Void) -> None:
    random = np.random.default_rng(seed)
    labels = int(random.integers(2, 7))
    truth, found = random.integers(0, labels + 1, (2, 3, 9, 11))
    if seed % 2:  # a label that nobody has, and one that only the segmenter has
        truth[truth < 2] = labels
        found[found == 1] = labels
    counted = s.Confusion(labels)
    for t, f in zip(truth, found, strict=True):  # picture by picture
        counted.add(torch.from_numpy(t), torch.from_numpy(f))
    expected = by_loops(truth, found, labels, void)
    for name, value in s.agreement(counted.counts, void)._asdict().items():
        assert value == pytest.approx(expected[name], abs=1e-12), name


def test_a_hand_counted_case() -> None:
    # Sky: 6 px, 4 right; Road: 2 px, both right, and 1 sky px and 1 void px taken for it; 2 void px.
    counts = torch.tensor([[4, 1, 0, 1], [0, 2, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]])
    ignored, counted = s.agreement(counts, "ignored"), s.agreement(counts, "counted")
    assert ignored.pixel_accuracy == 6 / 8
    assert counted.pixel_accuracy == 6 / 10
    assert ignored.iou == [4 / 6, 2 / 3, None]
    assert counted.iou == [4 / 7, 2 / 4, None]
    assert ignored.mean_iou == pytest.approx((4 / 6 + 2 / 3) / 2)
    assert counted.mean_iou == pytest.approx((4 / 7 + 2 / 4) / 2)
    assert ignored.class_accuracy == counted.class_accuracy == pytest.approx((4 / 6 + 1) / 2)
    assert ignored.weighted_iou == pytest.approx(6 / 8 * 4 / 6 + 2 / 8 * 2 / 3)
    assert counted.weighted_iou == pytest.approx(6 / 10 * 4 / 7 + 2 / 10 * 2 / 4)


def test_perfect_is_one_and_all_wrong_is_zero() -> None:
    truth = torch.arange(12) % 3
    for found, value in ((truth, 1.0), ((truth + 1) % 3, 0.0)):
        counted = s.Confusion(3)
        counted.add(truth, found)
        assert s.agreement(counted.counts, "ignored")[:4] == (value,) * 4


def test_what_is_void_everywhere_is_refused() -> None:
    with pytest.raises(PinxitError, match="void in every pixel"):
        s.agreement(torch.tensor([[0, 0], [5, 0]]), "counted")


def test_counts_are_exact_beyond_what_floats_hold() -> None:
    counts = torch.tensor([[2**60, 0], [0, 0]]) + torch.tensor([[0, 1], [0, 0]])
    assert s.agreement(counts, "ignored").pixel_accuracy == 2**60 / (2**60 + 1)
    counted = s.Confusion(1)
    counted.counts += 2**60
    counted.add(torch.zeros(3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    assert counted.counts[0, 0] == 2**60 + 3


def test_classes_are_matched_by_name_whatever_their_case_and_signs() -> None:
    table, missing = s.class_table(["TREE", "a dog", "ro-ad", "sky "], THREE)
    assert table.tolist() == [2, BESIDE, 1, 0]
    assert missing == []
    table, missing = s.class_table(["Sign Symbol", "sky"], CAMVID)
    assert table.tolist() == [6, 0]
    assert missing == [label.name for label in CAMVID.labels if label.name not in ("Sky", "SignSymbol")]


@pytest.mark.parametrize("name", label_set_names())
def test_shipped_names_stay_apart_without_case_and_signs(name: str) -> None:
    labels = load_label_set(name)
    upper = [label.name.upper().replace(" ", "_") for label in labels.labels]
    table, missing = s.class_table(upper, labels)
    assert table.tolist() == list(range(len(upper)))
    assert missing == []
    assert set(s.NOT_EVALUATED.get(name, ())) <= {label.name for label in labels.labels}


def test_cityscapes_needs_the_19_classes_of_its_benchmark() -> None:
    cityscapes = load_label_set("cityscapes")
    scored = s.evaluated(cityscapes)
    assert scored == [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    names = [cityscapes.labels[i].name for i in scored]
    assert s.class_table(names, cityscapes)[1] == []
    assert s.class_table(names[1:], cityscapes)[1] == ["road"]


def test_a_segmenter_of_other_classes_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(PinxitError) as refused:
        s.require_classes(ByColor(("wall", "sky", "Tree", "Road")), CAMVID)
    assert str(refused.value) == (
        "segmenter 'by red' is without 'Building', 'Pole', 'Pavement', 'SignSymbol' and 4 more, expected a class for "
        "each label of 'camvid'; choose one that was trained on these labels"
    )


# Pictures, maps and files.


def folders(tmp_path: Path, truth: list[np.ndarray], found: list[np.ndarray]) -> tuple[Pictures, Pictures]:
    """Pictures whose red value is what `ByColor` finds, and maps in the ids of `THREE`."""
    ids = np.array([7, 3, 9, 200], np.uint8)
    for name in ("pictures", "maps"):
        (tmp_path / name).mkdir()
    for i, (t, f) in enumerate(zip(truth, found, strict=True)):
        Image.fromarray(ids[t]).save(tmp_path / "maps" / f"{i}.png")
        colors = np.stack([f, f * 0 + 7, f * 0], -1).astype(np.uint8)
        Image.fromarray(colors).save(tmp_path / "pictures" / f"{i}.png")
    return (
        pictures(tmp_path / "pictures", name="pictures", least=1),
        pictures(tmp_path / "maps", name="maps", least=1),
    )


def values(scores: list[Score]) -> dict[str, float]:
    return {score.name: score.value for score in scores}


def test_scores_of_folders_are_those_of_their_pixels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    shapes = [(6, 8)] * 10 + [(5, 4), (6, 8)]
    truth = [random.integers(0, 4, shape) for shape in shapes]
    found = [random.integers(0, 5, shape) for shape in shapes]
    painted, maps = folders(tmp_path, truth, found)
    # 3 and 4 of the segmenter are classes that the set does not have.
    segmenter = ByColor(("sky", "ROAD", "tree", "dog", "cat"))
    scores = s.segmentation_scores(painted, maps, segmenter, THREE)
    t = np.concatenate([each.ravel() for each in truth])
    f = np.minimum(np.concatenate([each.ravel() for each in found]), BESIDE)
    told = values(scores)
    for void in s.VOIDS:
        expected = by_loops(t, f, 3, void)
        assert told[f"mIoU (void {void})"] == pytest.approx(expected["mean_iou"])
        assert told[f"accuracy (void {void})"] == pytest.approx(expected["pixel_accuracy"])
        assert told[f"fwIoU (void {void})"] == pytest.approx(expected["weighted_iou"])
    assert told["class accuracy"] == pytest.approx(by_loops(t, f, 3, "ignored")["class_accuracy"])
    assert told["accuracy (void counted)"] < told["accuracy (void ignored)"]
    assert len(scores) == len(told) == 7
    for score in scores:
        assert "by red (SHA-256 000000000000, 5 classes, 2 of them not of the set)" in score.protocol
        assert "void" in score.protocol
        assert score.details["weights"] == {"by red": "0" * 64}
    assert scores[0].details["iou"].keys() == {"Sky", "Road", "Tree"}
    assert scores[0].details["void_pixels"] == int((t == BESIDE).sum())
    assert max(shape[0] for shape in segmenter.shapes) == s.BATCH


def test_a_picture_is_segmented_at_the_size_of_its_map(tmp_path: Path) -> None:
    painted, maps = folders(tmp_path, [np.zeros((6, 8), int)], [np.zeros((12, 10), int)])
    segmenter = ByColor(("Sky", "Road", "Tree"))
    scores = s.segmentation_scores(painted, maps, segmenter, THREE)
    assert segmenter.shapes == [(1, 3, 6, 8)]
    assert "(1 of 1 resized to it, bicubic)" in scores[0].protocol
    assert values(scores)["accuracy (void counted)"] == 1


def test_labels_that_are_not_evaluated_are_void(tmp_path: Path) -> None:
    cityscapes = load_label_set("cityscapes")
    car, plate, ego = 26, 34, 1
    for name, ids in (("maps", [car, car, plate, ego]), ("pictures", [car, plate, car, car])):
        (tmp_path / name).mkdir()
        array = np.array([ids], np.uint8)
        Image.fromarray(array if name == "maps" else np.stack([array] * 3, -1)).save(tmp_path / name / "0.png")
    segmenter = ByColor(tuple(label.name for label in cityscapes.labels))
    painted, maps = (pictures(tmp_path / name, name=name, least=1) for name in ("pictures", "maps"))
    scores = s.segmentation_scores(painted, maps, segmenter, cityscapes)
    told = values(scores)
    assert told["accuracy (void ignored)"] == 1 / 2
    assert told["accuracy (void counted)"] == 1 / 4
    assert told["mIoU (void ignored)"] == 1 / 2
    assert told["mIoU (void counted)"] == 1 / 4
    assert "19 of the 35 labels of cityscapes" in scores[0].protocol


def test_the_fcn_score_is_at_256_pixels_without_void(tmp_path: Path) -> None:
    truth = np.array([[0, 1], [2, 3]]).repeat(64, 0).repeat(64, 1)
    found = np.array([[0, 1], [1, 1]]).repeat(256, 0).repeat(256, 1)
    painted, maps = folders(tmp_path, [truth], [found])
    segmenter = ByColor(("Sky", "Road", "Tree"))
    scores = s.fcn_scores(painted, maps, segmenter, THREE)
    assert segmenter.shapes == [(1, 3, 256, 256)]
    assert values(scores) == pytest.approx(
        # But for the row of pixels between two of the picture's fields, where a resize blends them.
        {"per-pixel accuracy": 2 / 3, "per-class accuracy": 2 / 3, "class IoU": (1 + 1 / 2 + 0) / 3},
        abs=0.02,
    )
    for score in scores:
        assert "instead of the authors' FCN-8s" in score.protocol


def test_a_translated_map_is_read_by_its_nearest_colours(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 4, (256, 256))
    painted, maps = folders(tmp_path, [truth], [truth])
    clean = THREE.palette[truth]
    noisy = (clean.astype(int) + random.integers(-20, 21, clean.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(painted.files[0])
    assert set(values(s.palette_scores(painted, maps, THREE)).values()) == {1.0}
    palette = THREE.palette.astype(int)
    slow = [((pixel - palette) ** 2).sum(1).argmin() for pixel in noisy[:4].reshape(-1, 3)]
    np.testing.assert_array_equal(s.nearest_labels(noisy[:4], THREE).ravel(), slow)
    wrong = noisy.copy()
    wrong[:128] = THREE.palette[BESIDE]  # taken for void: an error where the map has a label
    Image.fromarray(wrong).save(painted.files[0])
    labels = truth < BESIDE
    scores = values(s.palette_scores(painted, maps, THREE))
    assert scores["per-pixel accuracy"] == pytest.approx(labels[128:].sum() / labels.sum())


def test_of_labels_of_one_colour_an_evaluated_one_is_meant() -> None:
    cityscapes = load_label_set("cityscapes")
    shared = cityscapes.palette[[26, 34]]
    assert (shared[0] == shared[1]).all()
    assert s.nearest_labels(shared[None], cityscapes).tolist() == [[26, 26]]


def test_bad_sets_are_refused_in_one_line(tmp_path: Path) -> None:
    painted, maps = folders(tmp_path, [np.zeros((4, 4), int)] * 2, [np.zeros((4, 4), int)] * 2)
    segmenter = ByColor(("Sky", "Road", "Tree"))
    with pytest.raises(PinxitError, match="without 'Tree'"):
        s.segmentation_scores(painted, maps, ByColor(("Sky", "Road")), THREE)
    Image.fromarray(np.full((4, 4), 77, np.uint8)).save(maps.files[1])
    with pytest.raises(PinxitError, match=r"1\.png' has value 77"):
        s.segmentation_scores(painted, maps, segmenter, THREE)
    maps.files[1].unlink()
    with pytest.raises(PinxitError, match="without a picture of its name"):
        s.segmentation_scores(painted, Pictures(maps.files[:1], "maps"), segmenter, THREE)


TWO_PROCESSES = """
import sys
from pathlib import Path
import torch.distributed as dist
tests, home, rank = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
sys.path.insert(0, tests)
import test_segmentation as t
from pinxit.evaluation import segmentation as s
from pinxit.evaluation.pictures import pictures
dist.init_process_group("gloo", init_method=f"file://{home / 'meeting'}", rank=rank, world_size=2)
painted, maps = (pictures(home / name, name=name) for name in ("pictures", "maps"))
segmenter = t.ByColor(("Sky", "Road", "Tree", "dog", "cat"))
counted, _ = s.confusion(painted, maps, segmenter, t.THREE)
print(sum(shape[0] for shape in segmenter.shapes), counted.counts.flatten().tolist())
dist.destroy_process_group()
"""


def test_two_processes_count_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    truth, found = ([random.integers(0, most, (7, 6)) for _ in range(5)] for most in (4, 5))
    painted, maps = folders(tmp_path, truth, found)
    alone, _ = s.confusion(painted, maps, ByColor(("Sky", "Road", "Tree", "dog", "cat")), THREE)
    command = [sys.executable, "-c", TWO_PROCESSES, str(Path(__file__).parent), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True, env=environment) for rank in (0, 1)
    ]
    told = [process.communicate(timeout=120)[0].strip() for process in both]
    counts = alone.counts.flatten().tolist()
    assert told == [f"3 {counts}", f"2 {counts}"]


# What a segmenter is opened from.


def test_what_is_no_segmenter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match="is not there"):
        s.segmenter(tmp_path / "none")
    with pytest.raises(PinxitError, match=r"a folder without model\.safetensors"):
        s.segmenter(tmp_path)
    ModelFile("spade", {}, {"G.x": torch.zeros(1)}).save(tmp_path / "spade")
    with pytest.raises(PinxitError, match=r"of method 'spade', expected a segmenter .* pinxit train deeplabv3"):
        s.segmenter(tmp_path / "spade")


def deeplab(folder: Path, labels: LabelSet) -> Path:
    """A tiny DeepLabV3 with random weights."""
    network = dataclasses.replace(PRESETS["tiny"].network, labels=len(labels.labels))
    torch.manual_seed(0)
    tensors = {f"S.{name}": value for name, value in DeepLabV3(network).state_dict().items()}
    ModelFile(s.METHOD, dataclasses.asdict(network), tensors, labels.to_json()).save(folder)
    return folder


def test_a_model_of_ours_scores_pictures(tmp_path: Path) -> None:
    folder = deeplab(tmp_path / "streets", THREE)
    opened = s.segmenter(folder)
    assert (opened.name, opened.classes) == ("streets", ("Sky", "Road", "Tree"))
    assert (
        opened.digest == s.segmenter(folder / "model.safetensors").digest == s.digest_of([folder / "model.safetensors"])
    )
    random = np.random.default_rng(0)
    truth = [random.integers(0, 4, (24, 32)) for _ in range(2)]
    painted, maps = folders(tmp_path, truth, [random.integers(0, 256, (24, 32)) for _ in range(2)])
    found = opened.segment(torch.stack([painted[0], painted[1]])).numpy()
    scores = values(s.segmentation_scores(painted, maps, opened, THREE))
    expected = by_loops(np.stack(truth), found, 3, "ignored")
    assert scores["mIoU (void ignored)"] == pytest.approx(expected["mean_iou"])
    assert scores["accuracy (void ignored)"] == pytest.approx(expected["pixel_accuracy"])
    with pytest.raises(PinxitError, match="segmenter 'streets' is without 'Building'"):
        s.segmentation_scores(painted, maps, opened, CAMVID)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "segformer"}')
    monkeypatch.setattr(s.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PinxitError) as refused:
        s.segmenter(tmp_path)
    assert 'the extra "segmenters" (pip install "pinxit[segmenters]")' in str(refused.value)


@pytest.fixture
def segformer(tmp_path: Path) -> Path:
    """A tiny SegFormer with random weights, as its authors' library saves it."""
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install pinxit[segmenters]")
    names = dict(enumerate(("sky", "road", "tree", "dog")))
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        num_encoder_blocks=4, depths=[1] * 4, sr_ratios=[8, 4, 2, 1], hidden_sizes=[8] * 4, num_attention_heads=[1] * 4,
        decoder_hidden_size=8, num_labels=4, id2label=names, label2id={name: id for id, name in names.items()},
    )  # fmt: skip
    model = transformers.SegformerForSemanticSegmentation(config)
    model.decode_head.classifier.weight.data.mul_(50)  # so that maps are of more than one class
    folder = tmp_path / "segformer"
    model.save_pretrained(folder)
    transformers.SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def test_a_hugging_face_model_segments_at_the_size_of_the_picture(segformer: Path) -> None:
    transformers = pytest.importorskip("transformers")
    opened = s.segmenter(segformer)
    assert opened.classes == ("sky", "road", "tree", "dog")
    assert opened.digest == s.digest_of([segformer / "model.safetensors"])
    photos = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = opened.segment(photos)
    # By hand, where the processor has nothing to resize.
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(segformer).eval()
    mean, deviation = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        scores = model((photos / 255 - mean) / deviation).logits
    assert scores.shape[2:] == (16, 16)
    by_hand = F.interpolate(scores, size=(64, 64), mode="bilinear").argmax(1)
    assert (found == by_hand).float().mean() > 0.999  # a tie may fall either way
    assert len(found.unique()) > 1
    assert opened.segment(photos[:, :, :40, :52]).shape == (2, 40, 52)


def test_a_processor_that_crops_shows_all_of_the_picture(segformer: Path) -> None:
    file = segformer / "preprocessor_config.json"
    plain = s.segmenter(segformer)
    file.write_text(json.dumps({**json.loads(file.read_text()), "do_center_crop": True, "crop_size": 32}))
    photo = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert (s.segmenter(segformer).segment(photo) == plain.segment(photo)).all()


def test_a_hugging_face_model_scores_pictures(segformer: Path, tmp_path: Path) -> None:
    painted, maps = folders(tmp_path, [np.ones((32, 48), int)], [np.zeros((32, 48), int)])
    scores = s.segmentation_scores(painted, maps, s.segmenter(segformer), THREE)
    found = s.segmenter(segformer).segment(painted[0][None])
    assert values(scores)["accuracy (void counted)"] == pytest.approx(float((found == 1).float().mean()))
    with pytest.raises(PinxitError, match="segmenter 'segformer' is without 'Building', 'Pole'"):
        s.segmentation_scores(painted, maps, s.segmenter(segformer), CAMVID)


def test_damaged_hugging_face_models_are_refused_in_one_line(segformer: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = segformer / "model.safetensors"
    whole = weights.read_bytes()
    tensors = load_file(weights)
    tensors.pop("decode_head.classifier.weight")
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(PinxitError, match=r"without weights decode_head\.classifier\.weight"):
        s.segmenter(segformer)
    weights.unlink()
    torch.save({"decode_head.classifier.weight": torch.zeros(1)}, segformer / "pytorch_model.bin")
    with pytest.raises(PinxitError, match="not to be opened"):  # a pickle is not even looked at
        s.segmenter(segformer)
    weights.write_bytes(whole)
    config = json.loads((segformer / "config.json").read_text())
    code = {"AutoConfig": "evil.Config", "AutoModelForSemanticSegmentation": "evil.Model"}
    evil = {**config, "model_type": "own", "auto_map": code}
    (segformer / "config.json").write_text(json.dumps(evil))
    (segformer / "evil.py").write_text(f"open({str(segformer / 'ran')!r}, 'w')")
    with pytest.raises(PinxitError, match="not to be opened") as refused:
        s.segmenter(segformer)
    assert "\n" not in str(refused.value)
    assert not (segformer / "ran").exists()
