"""`pinxit rank`: studies of folders and of models, their reports, and what is wrong told in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.kinds import Kind
from pinxit.evaluation.ranking import Intake, Study, names_of, read
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.network import Generator

from .conftest import LABELS, Pinxit, files_in, pixels
from .test_help import imported_by


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ours/, theirs/ and third/ with pictures of the same names, in the current folder."""
    for m, name in enumerate(("ours", "theirs", "third")):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8), (60 * m, 40 * i, 0)).save(tmp_path / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(study: Study, best: str, raters: int = 3) -> None:
    """By raters who prefer a method, and the one shown first of others."""
    intake, names = Intake(study), names_of(study)
    for _ in range(raters):
        rater = intake.join()
        for place, question in enumerate(intake.sheet(rater)):
            order = sorted(range(len(question.shown)), key=lambda i: names[question.shown[i]] != best)
            intake.add(rater, place, order, 2.5)


def test_a_study_of_folders_and_its_report(pinxit: Pinxit, folders: Path) -> None:
    ran = pinxit("rank", "new", "--models", "ours", "theirs", "C=third", "--out", "study", "--questions-per-rater", 4)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "study of 3 methods, 3 items: 9 questions, 4 for each rater: 3 raters for all of them",
        str(folders / "study"),
        "let people answer: pinxit rank serve study",
    ]
    study = read(folders / "study")
    assert sorted(names_of(study)) == ["C", "ours", "theirs"]
    answered(study, "theirs")
    before = files_in(folders / "study")
    ran = pinxit("rank", "report", "study")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("# Ranking\n\nBlind forced choices between two, without time limit: 3 methods, 3 items")
    assert ran.out.index("| theirs |") < ran.out.index("| ours |")
    again = pinxit("rank", "report", "study", "--out", "told")
    assert again.out == ran.out + f"\nreport: {folders / 'told'}\n"
    assert sorted(files_in(folders / "told")) == ["ranking.csv", "ranking.json", "ranking.md"]
    assert (folders / "told/ranking.md").read_text(encoding="utf-8") == ran.out
    assert json.loads((folders / "told/ranking.json").read_text(encoding="utf-8"))["kept"]["raters"] == 3
    assert files_in(folders / "study") == before, "a report changes nothing"


def test_models_paint_the_maps_that_stand_above(pinxit: Pinxit, place: Path) -> None:
    network = Network(
        labels=3, unknown=True, output=Kind(), size=(48, 64), width=3, downsamplings=2, blocks=1, features="none"
    )
    for name, c in {
        "hd": network,
        "hd_pictures": dataclasses.replace(network, source="pictures", labels=0, unknown=False, input=Kind()),
    }.items():
        torch.manual_seed(0)
        tensors = {f"G.{k}": v for k, v in Generator(c).state_dict().items()}
        labels = LABELS if c.source == "labels" else None
        ModelFile("pix2pixhd", dataclasses.asdict(c), tensors, labels).save(place / name)
    maps = "garden/val_label"
    models = ("model", "hd", "real=garden/val_img", "hd_pictures")
    ran = pinxit("rank", "new", "--models", *models, "--inputs", maps, "--out", "study", "--device", "cpu")
    assert ran.status == 0, ran.err
    assert ran.out.startswith("study of 4 methods, 2 items: 12 questions")
    study = read(place / "study")
    names = names_of(study)
    assert sorted(names) == ["hd", "hd_pictures", "model", "real"]

    def stored(id: str | None) -> np.ndarray:
        path = study.picture(id or "")
        assert path is not None
        return pixels(path)

    assert pinxit("paint", "model", maps, "--out", "painted", "--device", "cpu").status == 0
    np.testing.assert_array_equal(
        stored(study.items[1].pictures[names.index("model")]), pixels(place / "painted/0001.png")
    )
    np.testing.assert_array_equal(
        stored(study.items[0].pictures[names.index("real")]), pixels(place / "garden/val_img/0000.png")
    )
    assert stored(study.items[0].condition)[47, 0].tolist() == [90, 160, 60], "the map is shown in its colours"


BAD = {
    "new --models ours --out study": "--models is 1 method, expected two or more",
    "new --models ours ours --out study": "write NAME=PATH",
    "new --models ours missing --out study": "folder 'missing' is missing, expected a folder of pictures",
    "new --models ours empty --out study": "folder 'empty' is without pictures",
    "new --models ours other --out study": "folder 'other' is without '2' of 'ours', expected pictures of the same",
    "new --models ours demo --out study": "--inputs is missing, expected a folder of maps or pictures, as 'demo' is",
    "new --models ours theirs --out ours": "--out 'ours' is there already",
    "new --models ours theirs --out study --checks 9": "--checks is 9, expected 0..3",
    "new --models ours theirs --out study --inputs other": "--inputs 'other' is without '2'",
    "new --models ours theirs --out study --label-set nonesuch": "nonesuch",
    "report ours": "study 'ours' is without study.json",
    "serve ours": "study 'ours' is without study.json",
    "report made": "answers of study 'made' is none, expected one or more; let people answer",
    "report broken": "line 1 of 'broken/answers.jsonl' is no JSON",
    "serve broken": "line 1 of 'broken/answers.jsonl' is no JSON",
    "serve made --port 99999": "--port is 99999",
    "serve made --token short": "--token is too short",
    "report made --bootstrap 3": "--bootstrap is 3, expected 100 or more",
    "repot made": "did you mean 'report'?",
}


@pytest.mark.parametrize("command", BAD)
def test_what_is_wrong_is_told_in_one_line(pinxit: Pinxit, folders: Path, command: str) -> None:
    (folders / "empty").mkdir()
    (folders / "other").mkdir()
    for i in range(2):
        Image.new("RGB", (8, 8)).save(folders / "other" / f"{i}.png")
    for name in ("made", "broken"):
        assert pinxit("rank", "new", "--models", "ours", "theirs", "--out", name).status == 0
    (folders / "broken/answers.jsonl").write_text('{"rater": "x", "pl\n', encoding="utf-8")
    before = files_in(folders)
    ran = pinxit("rank", *command.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("pinxit: ")
    assert ran.err.count("\n") == 1
    assert BAD[command] in ran.err
    assert files_in(folders) == before
    assert not (folders / "study").exists()


def test_help_waits_for_no_torch_and_a_report_neither(folders: Path, pinxit: Pinxit) -> None:
    assert imported_by("rank", "new", "--help").isdisjoint({"torch", "numpy", "safetensors"})
    assert pinxit("rank").out == pinxit("rank", "--help").out
    assert pinxit("rank", "new", "--models", "ours", "theirs", "--out", "study").status == 0
    answered(read(folders / "study"), "ours")
    assert "torch" not in imported_by("rank", "report", str(folders / "study"))


def test_help_names_the_options(pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    for step, options in {
        "new": "--models --out --inputs --design --label-set --items --questions-per-rater --checks --repeats "
        "--seconds --question --instructions --seed --device",
        "serve": "STUDY --host --port --no-open --token",
        "report": "STUDY --out --may-fail --bootstrap --seed",
    }.items():
        ran = pinxit("rank", step, "--help")
        assert not [option for option in options.split() if option not in ran.out], ran.out
