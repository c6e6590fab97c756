"""Each bad input gets one line that names the thing, its value and the remedy, exit status 2, and touches no file."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from .conftest import TINY, Pinxit, files_in, garden_map, in_a_process, save_model

TRAIN = "train spade --preset tiny --data garden --label-set garden.json --out run --steps 1"
PAINT = "paint model garden/val_label --out painted"
MAP = "garden/val_label/0000.png"


class Code:
    """What a hostile pickle holds: to read it is to make a folder called `executed`."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, ("executed",)


# What is wrong, done to the current folder.


def set_pixels(path: str, *ids: int) -> None:
    wrong = garden_map()
    wrong[40, : len(ids)] = ids
    Image.fromarray(wrong).save(path)


def wrong_ids() -> None:
    set_pixels("garden/train_label/0001.png", 7, 9)
    set_pixels("garden/train_label/0003.png", 7)


def wrong_id_in_the_last_map() -> None:
    set_pixels("garden/val_label/0001.png", 77)


def wrong_color(path: str = "garden/train_label/0001.png") -> None:
    colors = np.tile(np.array([100, 150, 250], np.uint8), (48, 64, 1))
    colors[5:9] = (91, 160, 60)
    Image.fromarray(colors).save(path)


def wrong_color_in_a_map() -> None:
    wrong_color(MAP)


def other_size() -> None:
    Image.new("RGB", (64, 40)).save("garden/train_img/0002.png")


def other_size_of_instances() -> None:
    Image.fromarray(np.zeros((30, 40), np.uint16)).save("instances.png")


def no_photo() -> None:
    Path("garden/train_img/0003.png").unlink()


def no_map() -> None:
    Path("garden/train_label/0003.png").unlink()


def cut(path: str) -> Callable[[], None]:
    def wrong() -> None:
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) // 2])

    return wrong


def empty(path: str) -> Callable[[], None]:
    def wrong() -> None:
        shutil.rmtree(path, ignore_errors=True)
        Path(path).mkdir()

    return wrong


def text_file() -> None:
    Path("notes.txt").write_text("not what you look for", encoding="utf-8")


def a_run_already() -> None:
    Path("run").mkdir()
    Path("run/state.pt").write_bytes(b"of hours of work")


def release(content: object, *, plain_pickle: bool = False) -> Callable[[], None]:
    def wrong() -> None:
        Path("release").mkdir()
        if plain_pickle:
            Path("release/latest_net_G.pth").write_bytes(pickle.dumps(content))
        else:
            torch.save(content, "release/latest_net_G.pth")

    return wrong


def other_network() -> None:
    release(torch.nn.Conv2d(3, 3, 3).state_dict())()


def damaged_release() -> None:
    release({"fc.weight": torch.zeros(4)})()
    cut("release/latest_net_G.pth")()


def foreign_safetensors() -> None:
    save_file({"weight": torch.zeros(3)}, "foreign.safetensors")


def array(name: str, content: np.ndarray) -> Callable[[], None]:
    return lambda: np.save(name, content, allow_pickle=True)


def nothing() -> None:
    pass


BAD: dict[str, tuple[Callable[[], None], str, tuple[str, ...]]] = {
    # what: (the wrong, the command, what the line must say: name, value, remedy)
    "ids out of range": (
        wrong_ids,
        TRAIN,
        ("2 label maps", "'garden/train_label/0001.png'", "values 7, 9", "0..2 or 255 (unknown)", "--label-set"),
    ),
    "id out of range, painted": (
        wrong_id_in_the_last_map,
        PAINT,
        ("'garden/val_label/0001.png'", "value 77", "0..2 or 255 (unknown)", "--label-set"),
    ),
    "colour not in the set": (
        wrong_color,
        TRAIN,
        ("'garden/train_label/0001.png'", "(91, 160, 60)", "nearest is 'lawn' (90, 160, 60)", "paint with the set's"),
    ),
    "colour not in the set, painted": (
        wrong_color_in_a_map,
        PAINT,
        (f"'{MAP}'", "(91, 160, 60)", "nearest is 'lawn' (90, 160, 60)", "paint with the set's colours"),
    ),
    "sizes that differ": (
        other_size,
        TRAIN,
        ("'garden/train_img/0002.png' is 64x40", "64x48", "'garden/train_label/0002.png'", "resize one of them"),
    ),
    "photo missing": (no_photo, TRAIN, ("'garden/train_label/0003.png' has no photo", "add what is missing")),
    "map missing": (no_map, TRAIN, ("'garden/train_img/0003.png' has no label map", "add what is missing")),
    "truncated photo": (
        cut("garden/train_img/0000.png"),
        TRAIN,
        ("photo 'garden/train_img/0000.png' is damaged", "whole picture", "copy or download it again"),
    ),
    "truncated map": (
        cut("garden/train_label/0000.png"),
        TRAIN,
        ("label map 'garden/train_label/0000.png' is damaged", "copy or download it again"),
    ),
    "truncated map, painted": (cut("garden/val_label/0001.png"), PAINT, ("'garden/val_label/0001.png' is damaged",)),
    "map that is a photo": (
        nothing,
        "paint model garden/val_img/0000.png",
        ("'garden/val_img/0000.png'", "so many colours"),
    ),
    "empty folder of photos": (empty("garden/train_img"), TRAIN, ("'garden/train_img'", "check the path")),
    "empty data folder": (empty("garden"), TRAIN, ("data folder 'garden'", "train_label and train_img", "rename them")),
    "empty folder, checked": (
        empty("garden"),
        "data check garden --label-set garden.json",
        ("data folder 'garden'", "train_label and train_img"),
    ),
    "empty folder of maps": (
        empty("garden/val_label"),
        PAINT,
        ("'garden/val_label' is without pictures", "check the path"),
    ),
    "data folder missing": (
        nothing,
        "data check gardn --label-set garden.json",
        ("data folder 'gardn' is missing", "check the path"),
    ),
    "nothing to check": (nothing, "data check", ("FOLDER is missing", "--maps and --photos")),
    "folder and maps": (
        nothing,
        "data check garden --maps garden/train_label",
        ("FOLDER is given with --maps", "leave one out"),
    ),
    "no such data command": (nothing, "data chekc garden", ("'chekc'", "pinxit data check FOLDER")),
    "split missing": (nothing, f"{TRAIN} --split test", ("'test'", "one of train, val")),
    "label set not named": (
        nothing,
        "data check garden",
        ("--label-set is missing", "name or .json file", "the folder does not tell"),
    ),
    "label set unknown": (
        nothing,
        TRAIN.replace("garden.json", "coco_stuf"),
        ("label set is 'coco_stuf'", "did you mean 'coco_stuff'?"),
    ),
    "label set file missing": (
        nothing,
        TRAIN.replace("garden.json", "gardn.json"),
        ("'gardn.json' is missing", "write one, or choose of"),
    ),
    "label set of other size": (
        nothing,
        f"{TRAIN} --labels 5",
        ("label set 'garden' is 3 labels", "expected 5", "--labels"),
    ),
    "no instance maps": (
        nothing,
        f"{TRAIN} --instances",
        ("instance map", "'garden/train_label/0000.png'", "train without instances"),
    ),
    "preset unknown": (nothing, TRAIN.replace("tiny", "tinny"), ("preset is 'tinny'", "did you mean 'tiny'?")),
    "preset missing": (
        nothing,
        TRAIN.replace("--preset tiny", ""),
        ("--preset is missing", "tiny, cpu, coco, ade20k, cityscapes", "--help"),
    ),
    "preset without a name": (nothing, "train spade --preset", ("--preset is without a name", "cpu, coco")),
    "method unknown": (
        nothing,
        TRAIN.replace("spade", "spada"),
        (
            "method is 'spada'",
            "one of charcnnrnn, cyclegan, deeplabv3, ganintcls, gawwn, photosketch, pix2pix, pix2pixhd, poegan",
            "poegan, singan, sketching, spade, stackgan, stylegan2",
            "did you mean 'spade'?",
        ),
    ),
    "method missing": (nothing, "train --preset tiny", ("METHOD is missing", "spade, singan", "pinxit train METHOD")),
    "out used already": (a_run_already, TRAIN, ("folder 'run' is a run already", "a new folder", "--resume")),
    "resume without a run": (nothing, f"{TRAIN} --resume", ("run 'run' is without state.pt", "leave out --resume")),
    "size that the doublings do not divide": (
        nothing,
        f"{TRAIN} --size 100 64",
        ("--size is 100 64", "multiples of 32", "round it"),
    ),
    "VGG not named": (
        nothing,
        TRAIN.replace("tiny", "cityscapes --labels 3 --unknown --no-instances"),
        ("--vgg is missing", "VGG-19 weights", "`download`", "--no-perceptual"),
    ),
    "VGG missing": (
        nothing,
        f"{TRAIN} --perceptual 10 --vgg vgg.pth",
        ("'vgg.pth' is not there", "vgg19-dcbb9e9d.pth", "--no-perceptual"),
    ),
    "VGG of another network": (
        other_network,
        f"{TRAIN} --perceptual 10 --vgg release/latest_net_G.pth",
        ("'release/latest_net_G.pth' is damaged or of another network", "vgg19-dcbb9e9d.pth", "download it again"),
    ),
    "VGG that holds code": (
        release({"x": Code()}, plain_pickle=True),
        f"{TRAIN} --perceptual 10 --vgg release/latest_net_G.pth",
        ("'release/latest_net_G.pth' is", "vgg19-dcbb9e9d.pth"),
    ),
    "weights that hold code": (
        release({"fc.weight": torch.zeros(4), "x": Code()}),
        "import spade release --preset coco --out imported",
        ("'release/latest_net_G.pth' is asking for", f"{os.name}.mkdir", "tensors alone", "do not trust it"),
    ),
    "plain pickle that holds code": (
        release(Code(), plain_pickle=True),
        "import spade release --preset coco --out imported",
        ("'release/latest_net_G.pth' is asking for", "tensors alone", "do not trust it"),
    ),
    "weights of another network": (
        other_network,
        "import spade release --preset coco --out imported",
        ("'release/latest_net_G.pth' is without fc.weight", "SPADE Generator", "--preset"),
    ),
    "weights that are damaged": (
        damaged_release,
        "import spade release --preset coco --out imported",
        ("'release/latest_net_G.pth' is damaged", "download it again"),
    ),
    "weights that are no .pth": (
        text_file,
        "import spade notes.txt --preset coco --out imported",
        ("'notes.txt' is of another name", "*_net_G.pth"),
    ),
    "release missing": (
        nothing,
        "import spade release --preset coco --out imported",
        ("'release' is not there", "*_net_G.pth", "check the path"),
    ),
    "release empty": (
        empty("release"),
        "import spade release --preset coco --out imported",
        ("'release/latest_net_G.pth' is not there",),
    ),
    "release unknown": (
        other_network,
        "import spade release --preset cooc --out imported",
        ("preset is 'cooc'", "ade20k, cityscapes, coco", "did you mean 'coco'?"),
    ),
    "release not named": (
        other_network,
        "import spade release --out imported",
        ("--preset is missing", "coco, ade20k, cityscapes", "opt.txt"),
    ),
    "import over a model": (
        other_network,
        "import spade release --preset coco --out model",
        ("folder 'model' is a model already", "name another with --out"),
    ),
    "method of import unknown": (
        nothing,
        "import spda release --out imported",
        ("method is 'spda'", "did you mean 'spade'?"),
    ),
    "method of import missing": (nothing, "import --out imported", ("METHOD is missing", "pinxit import METHOD")),
    "model missing": (nothing, f"paint modle {MAP}", ("model 'modle' is not there", "train or import one")),
    "model missing, options of another method": (
        nothing,
        "paint modle --text word",
        ("model 'modle' is not there", "train or import one"),
    ),
    "model folder without a model": (
        nothing,
        f"paint garden {MAP}",
        ("model 'garden' is a folder without model.safetensors", "train or import one"),
    ),
    "model that is no safetensors": (text_file, f"paint notes.txt {MAP}", ("'notes.txt' is unreadable", "copy it")),
    "model that is not Pinxit's": (
        foreign_safetensors,
        f"paint foreign.safetensors {MAP}",
        ("'foreign.safetensors' is of format None", "format 1 of Pinxit", "pinxit import"),
    ),
    "info on no model": (nothing, "info modle", ("model 'modle' is not there", "train or import one")),
    "map missing, painted": (nothing, "paint model maps/0.png", ("'maps/0.png' is not there", "check the path")),
    "no map": (nothing, "paint model", ("the list of maps is empty", "before the options")),
    "unknown pixels for a model without unknown": (
        lambda: save_model(Path("known"), dataclasses.replace(TINY, unknown=False)).touch(),
        f"paint known {MAP}",
        (f"'{MAP}' has value 255", "0..2"),
    ),
    "style that is no file": (
        nothing,
        f"{PAINT} --style sunset.jpg",
        ("--style is 'sunset.jpg'", "a number, a .npy or a picture", "check the path"),
    ),
    "style that is no picture": (text_file, f"{PAINT} --style notes.txt", ("'notes.txt' is not a picture", ".png")),
    "style without a name": (nothing, f"{PAINT} --style", ("--style is without a style", "seed:N")),
    "style picture without encoder": (
        nothing,
        f"paint stylish_without_encoder {MAP} --style garden/val_img/0000.png",
        ("--style is the picture 'garden/val_img/0000.png'", "'stylish_without_encoder'", "without its encoder"),
    ),
    "style for a model without styles": (
        nothing,
        f"paint plain {MAP} --style seed:3",
        ("--style is given", "'plain' hang on the map alone", "leave it out"),
    ),
    "variations of a model without styles": (
        nothing,
        f"paint plain {MAP} --variations 2",
        ("--variations is given", "'plain'", "leave it out"),
    ),
    "z of other width": (
        array("z.npy", np.zeros(3, np.float32)),
        f"{PAINT} --style z.npy",
        ("'z.npy' is float32 of shape (3,)", "8 finite numbers", "--save-style", "'model'"),
    ),
    "z that is not finite": (
        array("z.npy", np.full(8, np.nan, np.float32)),
        f"{PAINT} --style z.npy",
        ("'z.npy'", "not all of it finite", "--save-style"),
    ),
    "z of words": (
        array("z.npy", np.array(["a"] * 8)),
        f"{PAINT} --style z.npy",
        ("'z.npy' is <U1 of shape (8,)", "8 finite numbers"),
    ),
    "z that is empty": (
        lambda: Path("z.npy").touch(),
        f"{PAINT} --style z.npy",
        ("'z.npy' is no plain array", "--save-style"),
    ),
    "seed that is too large": (
        nothing,
        f"{PAINT} --style seed:{10**30}",
        (f"--style is 'seed:{10**30}'", "below", "choose a smaller one"),
    ),
    "z that holds code": (
        array("z.npy", np.array([Code()], dtype=object)),
        f"{PAINT} --style z.npy",
        ("'z.npy'", "--save-style"),
    ),
    "z of another file format": (text_file, f"{PAINT} --save-style z.txt", ("--save-style is 'z.txt'", ".npy")),
    "instance maps of another number": (
        nothing,
        f"paint bounded {MAP} --instances garden/train_label",
        ("--instances is 4 files", "1, one for each map", "add or remove some"),
    ),
    "instance map missing": (nothing, f"paint bounded {MAP} --instances i.png", ("'i.png' is not there",)),
    "instance map of another size": (
        other_size_of_instances,
        f"paint bounded {MAP} --instances instances.png",
        ("'instances.png' is 40x30", "64x48", f"'{MAP}'"),
    ),
    "frames between one style": (nothing, f"{PAINT} --frames 3", ("--style is 1 style", "two with --frames")),
    "one frame": (nothing, f"{PAINT} --frames 1 --style 0 1", ("--frames is 1", "2 or more")),
    "no variation": (nothing, f"{PAINT} --variations 0", ("--variations is 0", "1 or more")),
    "variations of a picture": (
        nothing,
        f"{PAINT} --variations 2 --style garden/val_img/0000.png",
        ("--style is 'garden/val_img/0000.png'", "seed:N with --variations"),
    ),
    "variations of two styles": (nothing, f"{PAINT} --variations 2 --style 0 1", ("--style is 2 styles", "one with")),
    "frames and variations": (
        nothing,
        f"{PAINT} --variations 2 --frames 2 --style 0 1",
        ("--frames is given with --variations 2", "leave one out"),
    ),
    "two maps of one name": (
        nothing,
        "paint model garden/train_label/0000.png garden/val_label/0000.png",
        ("'garden/val_label/0000.png' is that of 'garden/train_label/0000.png'", "an --out each"),
    ),
    "a picture over its map": (
        nothing,
        "paint model garden/val_label --out garden/val_label",
        ("--out 'garden/val_label'", "'0000.png' would be painted over", "name another"),
    ),
    "out is a file": (
        text_file,
        f"paint model {MAP} --out notes.txt",
        ("'notes.txt' is not usable", "name another"),
    ),
    "demo in no style": (nothing, "demo --styles 0", ("--styles is 0", "1 or more")),
    "demo from a negative seed": (nothing, "demo --seed -1", ("--seed is -1", "0 or more")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_and_touches_no_file(place: Path, pinxit: Pinxit, case: str) -> None:
    wrong, command, said = BAD[case]
    wrong()
    earlier_picture("painted/0000.png")
    before = files_in(place)
    ran = pinxit(*command.split())
    assert (ran.status, ran.out) == (2, ""), ran
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", ran.err), ran.err
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert "Traceback" not in ran.err
    assert not Path("executed").exists()
    assert files_in(place) == before


def earlier_picture(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(b"an earlier picture")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("command", [PAINT, TRAIN])
def test_a_device_that_is_not_here(place: Path, pinxit: Pinxit, command: str) -> None:
    ran = pinxit(*command.split(), "--device", "cuda")
    assert ran.status == 2
    assert re.fullmatch(r"pinxit: --device is cuda, expected [^\n]*cpu[^\n]*; leave it out [^\n]+\n", ran.err)


def test_a_resumed_run_must_be_the_same_run(place: Path, pinxit: Pinxit) -> None:
    assert pinxit(*TRAIN.split()).status == 0
    before = files_in(place / "run")
    ran = pinxit(*TRAIN.split(), "--resume", "--width", "8")
    assert ran.status == 2
    assert ran.err.startswith("pinxit: network.width is 8, expected 4 as the run 'run' has it; ")
    ran = pinxit(*TRAIN.split())
    assert ran.status == 2
    assert "'run' is a run already" in ran.err
    assert files_in(place / "run") == before


@pytest.mark.parametrize("case", ["id out of range, painted", "weights that hold code", "preset unknown"])
def test_in_a_process_of_its_own(place: Path, case: str) -> None:
    """Nothing but the one line comes out of a real process either."""
    wrong, command, said = BAD[case]
    wrong()
    before = files_in(place)
    done = in_a_process("-m", "pinxit", *command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"pinxit: [^\n]+\n", done.stderr), done.stderr
    assert [words for words in said if words not in done.stderr] == []
    assert files_in(place) == before


PROBLEMS = {
    "ids": (wrong_ids, "2 label maps ('garden/train_label/0001.png', 'garden/train_label/0003.png') have values 7, 9"),
    "colour": (wrong_color, "colour map 'garden/train_label/0001.png' has colour (91, 160, 60)"),
    "size": (other_size, "size of 'garden/train_img/0002.png' is 64x40"),
    "no photo": (no_photo, "label map 'garden/train_label/0003.png' has no photo"),
    "no map": (no_map, "photo 'garden/train_img/0003.png' has no label map"),
    "damaged": (cut("garden/train_img/0000.png"), "photo 'garden/train_img/0000.png' is damaged"),
}


@pytest.mark.parametrize("where", ["garden", "--maps garden/train_label --photos garden/train_img"])
@pytest.mark.parametrize("case", PROBLEMS)
def test_the_check_lists_what_is_wrong_below_its_table(place: Path, pinxit: Pinxit, case: str, where: str) -> None:
    wrong, said = PROBLEMS[case]
    wrong()
    before = files_in(place)
    ran = pinxit("data", "check", *where.split(), "--label-set", "garden.json")
    assert (ran.status, ran.err) == (2, "")
    assert "size (height x width): 48x64" in ran.out
    (problem,) = re.findall(r"^problem: (.*, expected .*; .*)$", ran.out, flags=re.MULTILINE)
    assert said in problem
    assert files_in(place) == before


def test_all_problems_are_listed_at_once(place: Path, pinxit: Pinxit) -> None:
    for wrong, _ in (PROBLEMS["ids"], PROBLEMS["size"], PROBLEMS["damaged"]):
        wrong()
    ran = pinxit("data", "check", "garden", "--label-set", "garden.json")
    assert ran.status == 2
    assert len(re.findall(r"^problem: ", ran.out, flags=re.MULTILINE)) == 3
    assert ran.out.endswith("3 problems\n")
    ran = pinxit(*TRAIN.split())
    assert ran.status == 2
    assert "2 more: `pinxit data check` lists all" in ran.err
