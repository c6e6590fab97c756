"""`pinxit evaluate` and the scores of a run in training: what is told, what is written, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.modelfile import ModelFile, read
from pinxit.models.deeplabv3.config import PRESETS
from pinxit.models.deeplabv3.network import DeepLabV3
from pinxit.recipe import state_on_cpu

from .conftest import LABELS, Pinxit, files_in, in_a_process

FOLDER = "garden/val_img"
TRAIN = "train spade --preset tiny --data garden --label-set garden.json --out run --no-tensorboard --log-every 1"
MODEL = "evaluate model --data garden"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is fetched in tests, and nothing in the user's cache is found."""

    def refused(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refused)
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))


def spoiled(name: str, level: int) -> None:
    """The photos of `FOLDER` with noise."""
    random = np.random.default_rng(0)
    Path(name).mkdir()
    for file in sorted(Path(FOLDER).iterdir()):
        pixels = np.asarray(Image.open(file)).astype(int) + random.integers(-level, level + 1, (48, 64, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(Path(name) / file.name)


def segmenter(folder: str, names: list[str]) -> Path:
    """A random model of deeplabv3 that knows labels of these names."""
    torch.manual_seed(0)
    network = dataclasses.replace(PRESETS["tiny"].network, labels=len(names))
    tensors = {f"S.{k}": v for k, v in state_on_cpu(DeepLabV3(network).state_dict()).items()}
    tensors = {name: tensor for name, tensor in tensors.items() if ".aux_classifier." not in name}
    labels = {**LABELS, "labels": [{"id": i, "name": name, "color": None} for i, name in enumerate(names)]}
    return ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels).save(Path(folder)).parent


def values(folder: str) -> dict[str, float]:
    found = json.loads((Path(folder) / "results.json").read_text(encoding="utf-8"))
    return {score["name"]: score["value"] for score in found["scores"]}


def test_a_folder_against_real_pictures(place: Path, pinxit: Pinxit) -> None:
    for level in (8, 60):
        spoiled(f"noise_{level}", level)
        ran = pinxit("evaluate", f"noise_{level}", "--real", FOLDER, "--out", f"out_{level}")
        assert (ran.status, ran.err) == (0, "")
    for line in (
        r"noise_60\n  pictures: 2 of 64x48 \(noise_60\)\n  real: 2 of 64x48 \(garden/val_img\)\n",
        r"\nSWD +[\d.]+  lower is better  \[1\]\nSSIM +0\.\d+ ± [\d.]+  higher is better  \[2\]\nPSNR +",
        r"\n\[2\] Wang et al\. 2004",
        r"results\.json, results\.md and results\.csv are in .*out_60\n$",
    ):
        assert re.search(line, ran.out), ran.out
    assert set(files_in(place / "out_60")) == {"results.json", "results.md", "results.csv"}
    little, much = values("out_8"), values("out_60")
    assert set(much) == {"SWD", "SSIM", "PSNR"}
    assert much["SSIM"] < little["SSIM"]
    assert much["PSNR"] < little["PSNR"]
    result = json.loads(Path("out_60/results.json").read_text(encoding="utf-8"))
    assert result["command"] == "pinxit evaluate noise_60 --real garden/val_img --out out_60"
    assert result["sets"]["real"]["count"] == 2
    assert len(result["sets"]["real"]["digest"]) == 64
    assert result["seed"] == 0


def test_pictures_of_other_names_are_no_pairs(place: Path, pinxit: Pinxit) -> None:
    shutil.copytree(FOLDER, "others")
    for file in list(Path("others").iterdir()):
        file.rename(file.with_name(f"other_{file.name}"))
    assert pinxit("evaluate", "others", "--real", FOLDER).status == 0
    assert set(values("evaluated")) == {"SWD"}
    ran = pinxit("evaluate", "others", "--real", FOLDER, "--metrics", "ssim")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "without a picture of its name" in ran.err


def test_sizes_can_be_made_one(place: Path, pinxit: Pinxit) -> None:
    Image.new("RGB", (40, 40)).save("garden/train_img/0001.png")
    ran = pinxit("evaluate", "garden/train_img", "--real", FOLDER, "--metrics", "swd", "--size", "32x24")
    assert (ran.status, ran.err) == (0, "")
    assert "4 of 32x24" in ran.out


def test_a_model_paints_what_is_held_out(place: Path, pinxit: Pinxit) -> None:
    known = segmenter("segmenter", ["sky", "lawn", "path"])
    ran = pinxit(*MODEL.split(), "--segmenter", known, "--seed", 3, "--out", "out")
    assert (ran.status, ran.err) == (0, "")
    assert "  pictures: 2 of 64x64 (model, painted from val of garden)\n" in ran.out
    names = ["0000.png", "0001.png"]
    for folder in ("painted", "real", "maps"):
        assert sorted(path.name for path in Path("out", folder).iterdir()) == names
    assert set(np.unique(np.asarray(Image.open("out/maps/0000.png")))) == {0, 1, 2, 255}
    found = values("out")
    assert {"SWD", "SSIM", "PSNR", "mIoU (void counted)", "mIoU (void ignored)", "accuracy (void counted)"} <= set(
        found
    )
    assert found["accuracy (void counted)"] <= found["accuracy (void ignored)"]
    result = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert set(result["weights"]) == {"segmenter"}
    assert result["model"]["method"] == "spade"
    assert len(result["model"]["digest"]) == 64

    assert pinxit(*MODEL.split(), "--seed", 3, "--out", "again").status == 0
    assert files_in(Path("again/painted")) == files_in(Path("out/painted"))
    assert pinxit(*MODEL.split(), "--seed", 4, "--pictures", 2, "--out", "other").status == 0
    assert files_in(Path("other/painted")) != files_in(Path("out/painted"))


def test_a_table_of_a_paper(place: Path, pinxit: Pinxit) -> None:
    known = segmenter("segmenter", ["sky", "lawn", "path"])
    options = ["--table", "spade-table1", "--data", "garden", "--models", "model", "plain", "--segmenter", known]
    ran = pinxit("evaluate", *options, "--out", "out")
    assert (ran.status, ran.err) == (0, "")
    assert re.search(r"\ngarden +mIoU ↑ +accu ↑ +FID ↓\n\* model, void counted +[\d.]+ +[\d.]+ +–\n", ran.out), ran.out
    assert {path.name for path in Path("out").iterdir()} == {"table.json", "table.md", "table.csv", "model", "plain"}
    assert Path("out/model/results.json").is_file()
    with Path("out/table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows if row["measured"] == "here"] == [
        f"{model}, void {void}" for model in ("model", "plain") for void in ("counted", "ignored")
    ]
    assert any(row["method"] == "SPADE" and row["data"] == "COCO-Stuff" and row["FID ↓"] == "22.6" for row in rows)
    table = json.loads(Path("out/table.json").read_text(encoding="utf-8"))
    assert [result["subject"] for result in table["results"]] == ["model", "plain"]

    ran = pinxit("evaluate", "--table", "fcn-score", *options[2:], "--out", "fcn")
    assert (ran.status, ran.err) == (0, "")
    assert re.search(
        r"labels to photo +per-pixel acc.*\n(.*\n)+  CycleGAN +0\.52 +0\.17 +0\.11\n(.*\n)+\* plain ", ran.out
    )


def test_maps_painted_from_photos_by_their_colors(place: Path, pinxit: Pinxit) -> None:
    colored = {**LABELS, "labels": [{"id": i, "name": n, "color": [90 * i, 30, 200]} for i, n in enumerate("abc")]}
    Path("colored.json").write_text(json.dumps(colored), encoding="utf-8")
    for folder, shift in (("same", 0), ("moved", 1)):
        Path(folder).mkdir()
        for file in sorted(Path("garden/val_label").iterdir()):
            ids = np.asarray(Image.open(file)).astype(int)
            ids = (np.where(ids < 3, ids, 0) + shift) % 3
            pixels = np.stack([90 * ids + 5, np.full_like(ids, 30), np.full_like(ids, 200)], 2).astype(np.uint8)
            Image.fromarray(pixels).save(Path(folder) / file.name)
        maps = ["--maps", "garden/val_label", "--label-set", "colored.json", "--metrics", "label-colors"]
        ran = pinxit("evaluate", folder, *maps, "--out", f"out_{folder}")
        assert (ran.status, ran.err) == (0, "")
    # Pictures are enlarged to 256 x 256, which mixes colours along edges.
    same, moved = values("out_same"), values("out_moved")
    assert set(same) == {"per-pixel accuracy", "per-class accuracy", "class IoU"}
    assert min(same.values()) > 0.99
    assert max(moved.values()) < 0.01
    ran = pinxit(*MODEL.split(), "--metrics", "label-colors")
    assert (ran.status, ran.err.count("\n")) == (2, 1)


BAD = [
    ("evaluate", "PICTURES is missing"),
    (f"evaluate none --real {FOLDER}", "folder 'none' of pictures is missing"),
    (f"evaluate {FOLDER}", "--real is missing"),
    (f"evaluate {FOLDER} --real one", "number of real pictures in 'one' is 1, expected at least 2"),
    (f"evaluate one --real {FOLDER}", "number of pictures in 'one' is 1, expected at least 2"),
    (f"evaluate mixed --real {FOLDER}", "size of the pictures in pictures is"),
    (f"evaluate {FOLDER} --real garden/train_img --metrics fid", "--inception is missing"),
    (f"evaluate {FOLDER} --real garden/train_img --inception none.pth", "Inception weights 'none.pth' is not there"),
    (f"evaluate {FOLDER} --real garden/train_img --inception download", "not possible (no route to host)"),
    (f"evaluate {FOLDER} --real {FOLDER} --lpips download", "not possible (no route to host)"),
    (f"evaluate {FOLDER} --real {FOLDER} --lpips heads.pth", "--lpips-backbone is missing"),
    (f"evaluate {FOLDER} --real {FOLDER} --metrics miou", "--maps is missing"),
    (f"evaluate {FOLDER} --maps garden/val_label --metrics miou", "--label-set is missing"),
    (f"evaluate {FOLDER} --real {FOLDER} --size 0x9", "--size is '0x9'"),
    (f"evaluate {FOLDER} --real {FOLDER} --size big", "--size is 'big'"),
    (f"evaluate {FOLDER} --real {FOLDER} --data garden", "--data is given with --real"),
    ("evaluate model", "--data is missing"),
    (f"{MODEL} --segmenter strangers", "segmenter 'strangers' is without 'sky', 'lawn', expected a class"),
    (f"{MODEL} --segmenter model", "of method 'spade', expected a segmenter"),
    (f"{MODEL} --split winter", "split of data folder 'garden' is 'winter'"),
    (f"{MODEL} --metrics fid", "--inception is missing"),
    (f"{MODEL} --pictures 1", "--pictures is 1"),
    (
        "evaluate strangers --data garden --metrics swd",
        "model 'strangers' is a segmenter, expected a model that paints",
    ),
    ("evaluate --models model", "--models is given"),
    ("evaluate --table spade-table1 --models model", "--data is missing"),
    ("evaluate --table spade-table1 --data garden", "--models is missing"),
    ("evaluate --table spade-table1 --data garden --models model", "--segmenter and --inception is missing"),
    ("evaluate --table singan-sifid --models model --inception none.pth", "of method spade, expected one of singan"),
    ("evaluate --table fcn-score --data garden --models model model", "name of 'model' is that of 'model'"),
    (f"{TRAIN} --keep-best swd", "--evaluate-every is missing"),
    (f"{TRAIN} --evaluate-every 2 --keep-best fid", "--inception is missing"),
    (f"{TRAIN} --evaluate-every 2 --evaluate-pictures 1", "--evaluate-pictures is 1"),
    (f"{TRAIN} --evaluate-every 2 --evaluate-split train", "--evaluate-split is 'train'"),
    (f"{TRAIN} --evaluate-every 2 --keep-best miou --segmenter strangers", "segmenter 'strangers' is without 'sky'"),
    (
        "train singan --preset tiny --data one/0000.png --out run --evaluate-every 2",
        "--evaluate-every is given for singan",
    ),
]


@pytest.mark.parametrize(("command", "message"), BAD, ids=[command[:70] for command, _ in BAD])
def test_bad_input_is_told_in_one_line(command: str, message: str, place: Path, pinxit: Pinxit) -> None:
    for folder in ("one", "mixed"):
        Path(folder).mkdir()
        shutil.copy(f"{FOLDER}/0000.png", f"{folder}/0000.png")
    Image.new("RGB", (32, 32)).save("mixed/0001.png")
    segmenter("strangers", ["cat", "dog", "path"])
    before = files_in(place)
    ran = pinxit(*command.split())
    assert ran.status == 2, ran.out
    assert ran.err.count("\n") == 1, ran.err
    assert ran.err.startswith("pinxit: ")
    assert message in ran.err
    assert re.search(r", expected .+; .+", ran.err), ran.err
    assert files_in(place) == before


def test_two_processes_score_as_one(place: Path) -> None:
    segmenter("segmenter", ["sky", "lawn", "path"])
    command = [*MODEL.split(), "--segmenter", "segmenter", "--seed", "1", "--out"]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pinxit"]
    outputs = {}
    for name, how in (("out_1", ["-m", "pinxit"]), ("out_2", two)):
        done = in_a_process(*how, *command, name)
        assert done.returncode == 0, done.stderr
        outputs[name] = done.stdout.replace(name, "")
    assert outputs["out_1"] == outputs["out_2"]
    assert values("out_1") == values("out_2")
    assert files_in(place / "out_1" / "painted") == files_in(place / "out_2" / "painted")


def test_a_run_keeps_the_model_that_scored_best(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit(*TRAIN.split(), *["--steps", "4", "--evaluate-every", "1"])
    assert (ran.status, ran.out) == (
        0,
        "4 steps done; the model, best.safetensors, log.jsonl and samples are in run\n",
    )
    lines = [json.loads(line) for line in Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = {line["step"]: line["score"]["SWD"] for line in lines if "score" in line}
    assert list(found) == [1, 2, 3, 4]
    card = read(Path("run/best.safetensors")).card
    step = min(found, key=lambda step: found[step])
    assert card["steps"] == f"{step} of spade"
    assert card["score"] == f"SWD {found[step]!r}"
    assert re.fullmatch(r"2 pictures of val at 64x64, the real ones of SHA-256 [0-9a-f]{16}, seed 0", card["scored by"])
    assert sorted(path.name for path in Path("run/held_out/painted").iterdir()) == ["0000.png", "0001.png"]
    # What is scored is what the command scores.
    ran = pinxit("evaluate", "run/best.safetensors", "--data", "garden", "--metrics", "swd")
    assert values("evaluated")["SWD"] == found[step]
    # Extended, and scored on other pictures, no two scores would be comparable.
    more = [*TRAIN.split(), *["--steps", "6", "--resume", "--evaluate-every", "1"]]
    shutil.copytree("garden", "elsewhere")
    Image.new("RGB", (64, 48)).save("elsewhere/val_img/0001.png")
    ran = pinxit(*more, "--evaluate-on", "elsewhere")
    assert ran.status == 2
    assert re.search(r"the best model of run 'run' is chosen by SWD \(2 pictures .*\), expected chosen by SWD", ran.err)
    assert pinxit(*more).status == 0


def test_two_processes_keep_the_same_best_model(place: Path) -> None:
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "pinxit"]
    options = [*TRAIN.split(), *["--steps", "2", "--evaluate-every", "1", "--batch", "2"]]
    done = in_a_process(*two, *options)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [line["score"]["SWD"] for line in lines if "score" in line]
    assert len(found) == 2
    assert read(Path("run/best.safetensors")).card["score"] == f"SWD {min(found)!r}"


def test_a_segmenter_in_training_scores_itself(place: Path, pinxit: Pinxit) -> None:
    command = TRAIN.replace("spade", "deeplabv3")
    ran = pinxit(*command.split(), *["--steps", "2", "--evaluate-every", "1"])
    assert ran.status == 0, ran.err
    name, _, value = read(Path("run/best.safetensors")).card["score"].rpartition(" ")
    assert name == "mIoU (void ignored)"
    assert pinxit("evaluate", "run/best.safetensors", "--data", "garden").status == 0
    assert values("evaluated")[name] == float(value)
