"""What people do: look through a data set, train on it, and paint with the model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pinxit as package

from .conftest import LABELS, Pinxit, files_in, garden_map, pixels

TRAIN = "train spade --preset tiny --data garden --label-set garden.json --out run"
CHECK = "data check garden --label-set garden.json"
MAP = "garden/val_label/0000.png"


def painted(pinxit: Pinxit, *arguments: object) -> str:
    """Run `pinxit paint` and return what it remarks on stderr."""
    ran = pinxit("paint", *arguments)
    assert ran.status == 0, ran.err
    return ran.err


def test_check_train_look_and_paint(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit(*CHECK.split())
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (
        "4 label maps, 4 photos, 0 instance maps\n"
        "size (height x width): 48x64\n"
        "   id  label       pixels   files\n"
        "    0  sky         48.44%       4\n"
        "    1  lawn        45.70%       4\n"
        "    2  path         4.30%       4\n"
        "       (unknown)    1.56%       4\n"
        "no problems\n"
    )
    assert pinxit(*CHECK.split(), "--split", "val").out.startswith("2 label maps")

    ran = pinxit(*TRAIN.split(), "--steps", 3, "--log-every", 1, "--no-tensorboard")
    assert (ran.status, ran.out) == (0, "3 steps done; the model, log.jsonl and samples are in run\n")
    assert set(files_in(place / "run")) == {
        *("model.safetensors", "config.json", "state.pt", "log.jsonl"),
        str(Path("samples", "spade_000003.png")),
    }
    losses = [json.loads(line) for line in Path("run/log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in losses] == [1, 2, 3]
    assert {"GAN", "feature_matching", "KL", "D_fake", "D_real"} <= losses[0].keys()
    # Two validation examples: map, photo, and the paintings in the photo's style and in a random one.
    assert pixels(Path("run/samples/spade_000003.png")).shape == (2 * 64 + 4, 4 * 64 + 3 * 4, 3)

    ran = pinxit("info", "run")
    assert (ran.status, ran.err) == (0, "")
    rows = dict(line.strip().split("  ", 1) for line in ran.out.splitlines()[1:])
    rows = {name: value.strip() for name, value in rows.items()}
    assert rows["method"] == "spade"
    assert rows["data"] == "garden"
    assert rows["labels (garden)"] == "0 sky, 1 lawn, 2 path"
    assert (rows["labels"], rows["unknown"], rows["size"], rows["z_dim"]) == ("3", "True", "[64, 64]", "8")
    assert pinxit("info", "run/model.safetensors").out.splitlines()[1:] == ran.out.splitlines()[1:]

    ran = pinxit("paint", "run", "garden/val_label", "--out", "paintings", "--style", "seed:7")
    assert ran.status == 0
    assert ran.out == f"painted 2 pictures: {place / 'paintings'}\n"
    assert {name: pixels(Path("paintings") / name).shape for name in files_in(Path("paintings"))} == {
        "0000.png": (48, 64, 3),
        "0001.png": (48, 64, 3),
    }

    ran = pinxit(*TRAIN.split(), "--steps", 4, "--resume")
    assert (ran.status, ran.out) == (0, "4 steps done; the model, log.jsonl and samples are in run\n")


def test_train_on_maps_and_photos_of_ones_own(place: Path, pinxit: Pinxit) -> None:
    """Any two folders, paired by name."""
    folders = ["--maps", "garden/train_label", "--photos", "garden/train_img"]
    ran = pinxit("data", "check", *folders, "--label-set", "garden.json")
    assert (ran.status, ran.out.splitlines()[0]) == (0, "4 label maps, 4 photos, 0 instance maps")
    command = TRAIN.replace("--data garden", "--steps 1 --sample-every 0")
    assert pinxit(*command.split(), *folders).status == 0
    assert Path("run/model.safetensors").is_file()


def test_styles_by_seed(place: Path, pinxit: Pinxit) -> None:
    for folder, style in (("a", "seed:1"), ("b", "1"), ("c", "seed:2")):
        assert painted(pinxit, "model", MAP, "--style", style, "--out", folder) == ""
    painted(pinxit, "model/model.safetensors", MAP, "--out", "default")
    painted(pinxit, "model", MAP, "--style", "seed:0", "--out", "zero")
    picture = {folder: pixels(Path(folder, "0000.png")) for folder in ("a", "b", "c", "default", "zero")}
    assert (picture["a"] == picture["b"]).all()
    assert (picture["default"] == picture["zero"]).all()
    assert (picture["a"] != picture["c"]).any()
    assert all(p.std() > 1 for p in picture.values())
    # The same as from Python.
    model = package.load("model")
    ids = np.where(garden_map() == 255, 3, garden_map()).astype(np.int64)
    assert (np.asarray(model.paint(ids, 1)) == picture["a"]).all()


def test_precision_changes_little(place: Path, pinxit: Pinxit) -> None:
    for precision in ("fp32", "bf16", "auto"):
        painted(pinxit, "model", MAP, "--precision", precision, "--out", precision)
    fp32, bf16 = (pixels(Path(folder, "0000.png")).astype(float) for folder in ("fp32", "bf16"))
    assert 0 < abs(fp32 - bf16).mean() < 0.05 * fp32.std()
    assert files_in(Path("auto")) in (files_in(Path("fp32")), files_in(Path("bf16")))
    painted(pinxit, "model", MAP, "--out", "default")
    assert files_in(Path("default")) == files_in(Path("fp32"))


@pytest.mark.parametrize("quick", [True, False])
def test_bf16_where_the_processor_is_slow_at_it_is_done_and_remarked_on(
    quick: bool, place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinxit.training.distributed.quick_at_bf16", lambda _: quick)
    remarks = [
        painted(pinxit, "model", MAP, "--precision", precision, "--out", precision).count("no quick bf16")
        for precision in ("fp32", "auto", "bf16")
    ]
    assert remarks == [0, 0, 0 if quick else 1]
    assert files_in(Path("auto")) == files_in(Path("bf16" if quick else "fp32"))


def test_the_style_of_a_picture_can_be_kept(place: Path, pinxit: Pinxit) -> None:
    photo = "garden/train_img/0002.png"
    painted(pinxit, "model", MAP, "--style", photo, "--out", "photo", "--save-style", "styles/z.npy")
    assert np.load("styles/z.npy").shape == (8,)
    painted(pinxit, "model", MAP, "--style", "styles/z.npy", "--out", "z")
    painted(pinxit, "model", MAP, "--style", "seed:0", "--out", "seed")
    painted(pinxit, "stylish_without_encoder", MAP, "--style", "styles/z.npy", "--out", "without")
    assert files_in(Path("photo")) == files_in(Path("z")) == files_in(Path("without"))
    assert files_in(Path("photo")) != files_in(Path("seed"))
    with Image.open(photo) as picture:
        assert (package.load("model").style(picture.convert("RGB")) == np.load("styles/z.npy")).all()


def test_frames_lead_from_one_style_to_another(place: Path, pinxit: Pinxit) -> None:
    painted(pinxit, "model", MAP, "--frames", 3, "--style", "seed:1", "garden/val_img/0000.png", "--out", "frames")
    painted(pinxit, "model", MAP, "--style", "seed:1", "garden/val_img/0000.png", "--out", "ends")
    frames, ends = (files_in(Path(folder)) for folder in ("frames", "ends"))
    assert list(frames) == ["0000_000.png", "0000_001.png", "0000_002.png"]
    assert list(ends) == ["0000_000.png", "0000_001.png"]
    assert [frames["0000_000.png"], frames["0000_002.png"]] == list(ends.values())
    assert len(set(frames.values())) == 3


def test_variations_are_the_seeds_from_one_on(place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("paint", "model", "garden/val_label", "--variations", 3, "--style", "seed:4", "--out", "several")
    assert ran.out == f"painted 6 pictures: {place / 'several'}\n"
    several = files_in(Path("several"))
    assert list(several) == [f"{name}_{number:03d}.png" for name in ("0000", "0001") for number in range(3)]
    for number, seed in enumerate((4, 5, 6)):
        painted(pinxit, "model", MAP, "--style", f"seed:{seed}", "--out", f"seed{seed}")
        assert files_in(Path(f"seed{seed}"))["0000.png"] == several[f"0000_{number:03d}.png"]
    assert len(set(several.values())) == 3  # the two maps are alike


def test_a_map_in_colours_is_the_map_of_its_ids(place: Path, pinxit: Pinxit) -> None:
    palette = np.zeros((256, 3), np.uint8)
    for label in LABELS["labels"]:
        palette[label["id"]] = label["color"]
    Image.fromarray(palette[garden_map()]).save("colours.png")
    coloured = Image.fromarray(garden_map(), mode=None)
    coloured.putpalette(palette.tobytes())
    coloured.save("palette.png")
    Image.fromarray(garden_map().astype(np.uint16)).save("deep.png")
    painted(pinxit, "model", MAP, "colours.png", "palette.png", "deep.png")
    assert len(set(files_in(Path("painted")).values())) == 1


def test_folders_and_files_may_be_mixed(place: Path, pinxit: Pinxit) -> None:
    Path("maps").mkdir()
    for name in ("b.png", "a.png", ".hidden.png"):
        Image.fromarray(garden_map()).save(Path("maps", name))
    Path("maps/notes.txt").write_text("no picture", encoding="utf-8")
    ran = pinxit("paint", "model", "maps", MAP, "--out", "painted")
    assert ran.out == f"painted 3 pictures: {place / 'painted'}\n"
    assert list(files_in(Path("painted"))) == ["0000.png", "a.png", "b.png"]


@pytest.mark.parametrize("model", ["model", "plain"])
@pytest.mark.parametrize("size", [(48, 64), (64, 64), (63, 65), (95, 43), (1, 1), (200, 7)])
def test_maps_of_any_size(place: Path, pinxit: Pinxit, size: tuple[int, int], model: str) -> None:
    for name in ("odd", "even"):
        Image.fromarray(np.ones(size, np.uint8)).save(f"{name}.png")
    remark = painted(pinxit, model, "odd.png", "even.png")
    assert pixels(Path("painted/odd.png")).shape == (*size, 3)
    near = all(0.66 < side / 64 < 1.5 for side in size)
    height, width = size
    assert remark == (
        ""
        if near
        else f"note: the map is {height}x{width} and the model was trained at 64x64 (height x width): "
        "the picture may look washed out\n"
    )


def test_instance_maps_draw_boundaries(place: Path, pinxit: Pinxit) -> None:
    Path("instances").mkdir()
    two = np.zeros((48, 64), np.uint16)
    two[:, 32:] = 1000
    for name in ("0000", "0001"):
        Image.fromarray(two).save(f"instances/{name}.png")
        Image.fromarray(garden_map()).save(f"{name}.png")
    painted(pinxit, "bounded", "garden/val_label", "--out", "regions")
    painted(pinxit, "bounded", "garden/val_label", "--instances", "0000.png", "0001.png", "--out", "labels")
    remark = painted(pinxit, "bounded", "garden/val_label", "--instances", "instances", "--out", "halves")
    assert remark == ""
    assert files_in(Path("regions")) == files_in(Path("labels"))
    assert files_in(Path("halves"))["0000.png"] != files_in(Path("regions"))["0000.png"]
    remark = painted(pinxit, "plain", "garden/val_label", "--instances", "instances")
    assert remark == "note: --instances has no effect: model 'plain' was trained without instance maps\n"


def test_painting_again_replaces_the_older_picture(place: Path, pinxit: Pinxit) -> None:
    painted(pinxit, "model", MAP)
    first = files_in(Path("painted"))
    painted(pinxit, "model", MAP, "--style", "seed:1")
    assert list(first) == list(files_in(Path("painted")))
    assert first != files_in(Path("painted"))


CHECKED = [
    ("camvid", "train", "367 label maps, 367 photos, 0 instance maps"),
    ("coco_stuff", "train", "13 label maps, 13 photos, 13 instance maps"),
    ("coco_stuff", "val", "8 label maps, 8 photos, 8 instance maps"),
    ("cityscapes", "train", "8 label maps, 8 photos, 8 instance maps"),
    ("cityscapes", "test", "15 label maps, 0 photos, 15 instance maps"),
    ("ade20k", "val", "3 label maps, 3 photos, 0 instance maps"),
]


@pytest.mark.parametrize(("name", "split", "first"), CHECKED)
def test_the_real_packs_pass_the_check(
    pack: Callable[[str], Path], pinxit: Pinxit, name: str, split: str, first: str
) -> None:
    ran = pinxit("data", "check", pack(name), "--split", split)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith(f"{first}\nsize (height x width): ")
    assert ran.out.endswith("\nno problems\n")


@pytest.mark.parametrize(
    ("name", "options"), [("camvid", ""), ("coco_stuff", "--instances"), ("cityscapes", "--instances")]
)
def test_training_and_painting_on_the_real_packs(
    pack: Callable[[str], Path],
    pinxit: Pinxit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: str,
) -> None:
    folder = pack(name)
    monkeypatch.chdir(tmp_path)
    ran = pinxit("train", "spade", "--preset", "tiny", "--data", folder, *options.split(), "--steps", 2, "--out", "run")
    assert (ran.status, ran.out) == (0, "2 steps done; the model, log.jsonl and samples are in run\n")
    assert Path("run/samples/spade_000002.png").is_file()
    assert re.search(rf"^  data +{name}$", pinxit("info", "run").out, flags=re.MULTILINE)
    label = min((folder / "train_label").iterdir())
    maps = [] if not options else ["--instances", min((folder / "train_inst").iterdir())]
    remark = painted(pinxit, "run", label, *maps)
    assert "trained at 64x64" in remark
    with Image.open(label) as map, Image.open(f"painted/{label.stem}.png") as picture:
        assert picture.size == map.size
