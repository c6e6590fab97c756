"""The commands of models that paint sentences, from a tiny model of random weights to the paper's figures."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.cli.main import main
from pinxit.apps.cli.sentences import variants
from pinxit.errors import PinxitError
from pinxit.modelfile import read

from .conftest import Pinxit, files_in, pixels

COLOURS = {"red": (200, 40, 30), "green": (40, 160, 50), "yellow": (230, 210, 60), "blue": (50, 70, 200)}
KINDS = ("pepper", "bird", "flower")
SENTENCE = "a red bird on the left"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of one stage and of two, and a captioned set of plain pictures. Nobody writes here."""
    home = tmp_path_factory.mktemp("sentences")
    random = np.random.default_rng(0)
    for split, number in (("train", 24), ("val", 12)):
        (home / "plain" / split).mkdir(parents=True)
        lines = []
        for i in range(number):
            colour, kind = list(COLOURS)[i % 4], KINDS[i % 3]
            noise = random.integers(-20, 20, (40, 50, 3))
            picture = (np.array(COLOURS[colour]) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(home / "plain" / split / f"{i:02d}.png")
            lines.append(json.dumps({"image": f"{i:02d}.png", "captions": [f"a {colour} {kind}", f"{kind}, {colour}"]}))
        (home / "plain" / f"{split}_captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    steps = "--text-steps 2 --stage1-steps 2 --stage2-steps 2 --no-tensorboard --device cpu --no-check"
    for name, stages in (("birds", 2), ("rough", 1)):
        said = f"train stackgan --preset tiny --data {home / 'plain'} --out {home / name} --stages {stages} {steps}"
        main(said.split())
        # As it begins, it paints all in one grey. So weights are made large, and what is said and drawn shows.
        file = read(home / name)
        tensors = {
            key: value * 2 / (value.std() * value[0].numel() ** 0.5) if key[0] == "G" and value.ndim > 1 else value
            for key, value in file.tensors.items()
        }
        dataclasses.replace(file, tensors=tensors).save(home / name)
    return home


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("birds", "rough", "plain"):
        (tmp_path / name).symlink_to(models / name)
    return tmp_path


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_samples_of_a_sentence(here: Path, pinxit: Pinxit) -> None:
    ran = pinxit("sample", "birds", SENTENCE, "--n", 3, "--seed", 4, "--out", "a", "--device", "cpu")
    assert (ran.status, ran.out, ran.err) == (0, f"sampled 3 pictures: {here / 'a'}\n", "")
    assert names("a") == ["birds_000.png", "birds_001.png", "birds_002.png", "sheet.png"]
    assert pixels(Path("a/birds_000.png")).shape == (128, 128, 3)
    assert pinxit("sample", "birds", SENTENCE, "--n", 1, "--seed", 5, "--out", "one.png").status == 0
    assert abs(pixels(Path("one.png")).astype(int) - pixels(Path("a/birds_001.png"))).max() <= 1
    assert pinxit("sample", "birds", SENTENCE, "--n", 1, "--stage", 1, "--out", "rough.png").status == 0
    assert pixels(Path("rough.png")).shape == (64, 64, 3)


def test_sentences_of_a_file_make_a_row_each(here: Path, pinxit: Pinxit) -> None:
    Path("said.txt").write_text("a red bird\n\n黄色い鳥 🐦\n" + "very " * 2000 + "long\n", encoding="utf-8")
    ran = pinxit("sample", "birds", "--sentences", "said.txt", "--n", 2, "--out", "a")
    assert (ran.status, ran.err) == (0, "")
    assert names("a") == [*(f"birds_{s}_{i:03d}.png" for s in range(3) for i in range(2)), "sheet.png"]
    with Image.open("a/sheet.png") as sheet:
        assert sheet.height == 3 * 128 + 2 * 4
        assert sheet.width > 2 * 128 + 100


def test_stages_stand_above_each_other(here: Path, pinxit: Pinxit) -> None:
    assert pinxit("sample", "birds", SENTENCE, "--n", 2, "--stages", "--out", "a").status == 0
    assert names("a") == [*(f"birds_{i:03d}_stage{k}.png" for i in range(2) for k in (1, 2)), "sheet.png"]
    assert pixels(Path("a/birds_000_stage1.png")).shape == (64, 64, 3)
    assert pinxit("sample", "birds", SENTENCE, "--n", 1, "--stage", 1, "--out", "one.png").status == 0
    assert (pixels(Path("one.png")) == pixels(Path("a/birds_000_stage1.png"))).all()
    with Image.open("a/sheet.png") as sheet:
        assert sheet.height == 2 * 128 + 4


@pytest.mark.parametrize(
    "said",
    [
        ["a {red,yellow,green} pepper"],
        ["a red pepper", "--edits", "red->yellow", "red -> green"],
    ],
)
def test_words_are_changed_and_the_noise_is_not(here: Path, pinxit: Pinxit, said: list[str]) -> None:
    assert pinxit("sample", "birds", *said, "--n", 2, "--out", "a").status == 0
    assert pinxit("sample", "birds", "a yellow pepper", "--n", 2, "--out", "b").status == 0
    for i in range(2):
        assert (pixels(Path(f"a/birds_1_{i:03d}.png")) == pixels(Path(f"b/birds_{i:03d}.png"))).all()
    assert (pixels(Path("a/birds_0_000.png")) != pixels(Path("a/birds_1_000.png"))).any()
    with Image.open("a/sheet.png") as sheet:
        assert sheet.width == 3 * 128 + 2 * 4
        assert sheet.height > 2 * 128 + 10


def test_edits_are_of_words() -> None:
    assert variants("a {red,blue} bird with {black,white} wings") == [
        f"a {a} bird with {b} wings" for a in ("red", "blue") for b in ("black", "white")
    ]
    assert variants("a feathered red bird", ["red->blue"]) == ["a feathered red bird", "a feathered blue bird"]
    assert variants("赤い鳥", ["赤い->青い"]) == ["赤い鳥", "青い鳥"]
    assert variants("a {red} bird") == ["a {red} bird"]
    with pytest.raises(PinxitError, match="--edits is 'tin->gold'"):
        variants("a painting", ["tin->gold"])


def test_nearest_training_pictures(here: Path, pinxit: Pinxit) -> None:
    ran = pinxit("sample", "birds", SENTENCE, "--n", 2, "--nearest", "plain", "--out", "a")
    assert (ran.status, ran.err) == (0, "")
    assert re.search(r"nearest of 24 photos \(.*\): by picture network \d\.\d{3}, by pixels \d\.\d{3}\n$", ran.out)
    found = json.loads(Path("a/nearest.json").read_text(encoding="utf-8"))
    assert [one["picture"] for one in found] == ["birds_000.png", "birds_001.png"]
    nearest = found[0]["nearest by pixels"]
    assert len(nearest) == 3
    assert nearest[0]["distance"] <= nearest[1]["distance"]
    assert Path(nearest[0]["photo"]).is_file()
    with Image.open("a/nearest.png") as page:
        assert page.width == 160 + 7 * 128 + 6 * 4
        assert page.height > 2 * 128


def test_from_one_sentence_to_another(here: Path, pinxit: Pinxit) -> None:
    ends = ["--from", "a red bird", "--to", "a blue flower", "--seed", 3]
    ran = pinxit("interpolate", "birds", *ends, "--steps", 3, "--n", 2, "--film", "way.gif", "--frames", 4)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (f"interpolated 6 pictures: {here / 'interpolation.png'}\nfilm of 4 frames: {here / 'way.gif'}\n")
    with Image.open("interpolation.png") as strip, Image.open("way.gif") as film:
        assert strip.width == 3 * 128 + 2 * 4
        assert getattr(film, "n_frames", 1) == 4
        last = np.asarray(strip.convert("RGB"))[-128 * 2 - 4 : -128 - 4, -128:]
    assert pinxit("sample", "birds", "a blue flower", "--n", 1, "--seed", 3, "--out", "end.png").status == 0
    assert abs(pixels(Path("end.png")).astype(int) - last).max() <= 2


def test_right_captions_are_looked_for(here: Path, pinxit: Pinxit) -> None:
    """Of a model of random weights: the table is whole, and its figures are those of chance."""
    ran = pinxit("evaluate", "birds", "--data", "plain", "--pictures", 24, "--seed", 1, "--out", "out")
    assert (ran.status, ran.err) == (0, "")
    lines = (
        r"\nR-precision +[\d.]+ ± [\d.]+  higher is better",
        r"\nR-precision of real photos ",
        r"\nR-precision, captions shuffled ",
        r"\nR-precision by chance +0\.1000 ",
        r"\nSWD ",
    )
    for line in lines:
        assert re.search(line, ran.out), ran.out
    assert len(names("out/painted")) == 24
    assert len(names("out/real")) == 12
    result = json.loads(Path("out/results.json").read_text(encoding="utf-8"))
    assert set(result["weights"]) == {"matching"}
    assert len(Path("out/captions.txt").read_text(encoding="utf-8").splitlines()) == 24

    again = ["evaluate", "out/painted", "--captions", "out/captions.txt", "--matcher", "birds", "--seed", 1]
    assert pinxit(*again, "--out", "folder").status == 0
    values = {
        folder: {s["name"]: s["value"] for s in json.loads(Path(folder, "results.json").read_text())["scores"]}
        for folder in ("out", "folder")
    }
    assert set(values["folder"]) == {"R-precision", "R-precision, captions shuffled", "R-precision by chance"}


def test_other_methods_paint_sentences_too(here: Path, pinxit: Pinxit) -> None:
    train = (
        "train ganintcls --preset tiny --data plain --out intcls --text-steps 2 --steps 2 --no-tensorboard --no-check"
    )
    assert pinxit(*train.split(), "--device", "cpu").status == 0
    assert pinxit("sample", "intcls", "a {red,blue} bird", "--n", 2, "--nearest", "plain", "--out", "a").status == 0
    assert len(names("a")) == 4 + 3  # and sheet.png, nearest.png, nearest.json
    ran = pinxit(
        "interpolate", "intcls", "--from", "a red bird", "--to", "a blue one", "--steps", 3, "--out", "way.png"
    )
    assert (ran.status, ran.err) == (0, "")
    for option, told in (("--stages", "which has one stage"), ("--stage=1", "--stage is 1, expected nothing")):
        ran = pinxit("sample", "intcls", "a bird", option)
        assert ran.status == 2
        assert told in ran.err
    ran = pinxit("evaluate", "intcls", "--data", "plain", "--matcher", "birds", "--out", "out")
    assert (ran.status, ran.err) == (0, "")
    assert "networks of model 'birds' (stackgan)" in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("where", "here_or_there"),
    [
        ("box", ["--box=0,0,0.4,0.4", "--box=0.6,0.6,0.4,0.4"]),
        ("points", ["--points=beak=0.2,0.2", "--points=beak=0.8,0.8"]),
    ],
)
def test_gawwn_is_told_where(here: Path, pinxit: Pinxit, where: str, here_or_there: list[str]) -> None:
    save_gawwn(where)
    for out, place in zip(("a.png", "b.png"), here_or_there, strict=True):
        option, _, value = place.partition("=")
        given = value.split(",") if where == "box" else [value]
        ran = pinxit("sample", "where", "a bird", option, *given, "--n", 1, "--out", out, "--device", "cpu")
        assert (ran.status, ran.err) == (0, "")
    assert (pixels(Path("a.png")) != pixels(Path("b.png"))).any()
    given = here_or_there[0].partition("=")[2]
    ends = [
        "--from",
        "a bird",
        "--to",
        "a dog",
        "--steps",
        2,
        f"--{where}",
        *(given.split(",") if where == "box" else [given]),
    ]
    assert pinxit("interpolate", "where", *ends, "--out", "way.png").status == 0
    ran = pinxit("evaluate", "where", "--data", "plain", "--out", "out")
    assert ran.status == 2
    assert "evaluate their folder with --captions and --matcher" in ran.err


def save_gawwn(where: str) -> None:
    """A tiny model of random weights, in the folder `where`."""
    import torch

    from pinxit.models.gawwn.config import PRESETS
    from pinxit.models.gawwn.recipe import GAWWNRecipe
    from pinxit.text.training import Texts

    torch.manual_seed(0)
    tiny = PRESETS["tiny"]
    network = dataclasses.replace(tiny.network, where=where)
    recipe = GAWWNRecipe(network, tiny.training, Texts("built-in", network.text_dim))
    for weights in recipe.G.parameters():  # that begin small, and make pictures that are nearly all alike
        weights.data.mul_(3)
    recipe.model_file().save(Path("where"))


def test_sheets_have_no_caption(here: Path, pinxit: Pinxit) -> None:
    sentences = [f"a {colour} {kind}" for colour in COLOURS for kind in KINDS]
    Path("said.txt").write_text("\n".join(sentences), encoding="utf-8")
    assert pinxit("sample", "rough", "--sentences", "said.txt", "--n", 1, "--out", "a", "--device", "cpu").status == 0
    assert Path("a/sheet.png").is_file()
    ran = pinxit("evaluate", "a", "--captions", "said.txt", "--matcher", "rough", "--out", "out", "--device", "cpu")
    assert (ran.status, ran.err) == (0, "")
    assert "12 painted pictures" in " ".join(ran.out.split())


BAD = {
    "sample birds": "SENTENCE is missing, expected what is to be seen; write it behind MODEL",
    "sample birds a red bird": "SENTENCE is 3 arguments, 'a' the first, expected one; put it in quotes",
    "sample birds | ": "SENTENCE: the sentence is empty, expected",
    "sample birds |a bird| --stage 3": "--stage is 3, expected 1 or 2",
    "sample rough |a bird| --stage 2": "--stage is 2, expected 1",
    "sample rough |a bird| --stages": "is of Stage-I alone, expected one with Stage-II",
    "sample birds |a bird| --stages --stage 1": "--stages is given with --stage",
    "sample birds |a bird| --n 0": "--n is 0, expected 1 or more",
    "sample birds |a bird| --edits red": "--edits is 'red', expected what is replaced, and by what",
    "sample birds |a bird| --edits red->blue": "--edits is 'red->blue', expected a change to words of 'a bird'",
    "sample birds |a {a,b,c,d}{a,b,c,d}{a,b,c,d}{a,b,c,d}|": "SENTENCE is a pattern of 256",
    "sample birds --sentences none.txt": "--sentences 'none.txt' is not there",
    "sample birds |a bird| --sentences blank.txt": "SENTENCE is given with --sentences",
    "sample birds --sentences blank.txt": "--sentences 'blank.txt' is empty",
    "sample birds |a bird| --nearest nowhere": "data folder 'nowhere' is missing",
    "sample birds |a bird| --text-encoder clip:x": "--text-encoder is 'clip:x', expected none",
    "sample birds |a bird| --box 0 0 1 1": "--box is given for a model of stackgan",
    "interpolate birds --from |a bird|": "--to is missing, expected a sentence at either end",
    "interpolate birds --from |a bird| --to | ": "--to: the sentence is empty",
    "interpolate birds --from a --to b --steps 1": "--steps is 1, expected 2 or more",
    "interpolate birds --from a --to b --out film.gif.doc": "--out 'film.gif.doc' is of kind '.doc'",
    "evaluate birds --data plain --pictures 9 --metrics r-precision": "number of pictures is 9, expected at least 10",
    "evaluate plain/val --captions blank.txt": "--matcher is missing",
    "evaluate plain/val --matcher birds": "--matcher is given, expected nothing without --captions",
    "evaluate plain/val --captions blank.txt --matcher birds": "captions 'blank.txt' is 0 lines, expected 12",
    "evaluate birds --data plain --metrics miou": "is one that paints captions (stackgan), expected a model",
}


@pytest.mark.parametrize("command", BAD)
def test_mistakes_are_one_line(here: Path, pinxit: Pinxit, command: str) -> None:
    Path("blank.txt").write_text("\n  \n", encoding="utf-8")
    before = files_in(here)
    # Between bars is one argument.
    parts = [[part] if i % 2 else part.split() for i, part in enumerate(command.split("|"))]
    ran = pinxit(*(word for part in parts for word in part))
    assert (ran.status, ran.out) == (2, ""), ran
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", ran.err), ran.err
    assert BAD[command] in ran.err
    assert files_in(here) == before
