"""The commands of StyleGAN2, from a training to pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.apps.cli.main import main
from pinxit.modelfile import ModelFile
from pinxit.models.stylegan2.config import PRESETS
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe


def run(command: str) -> None:
    main(list(command.split()))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    StyleGAN2Recipe(PRESETS["tiny"].network, PRESETS["tiny"].training).model_file().save(Path("model"))
    return tmp_path


def test_samples(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("sample model --n 3 --seed 4 --truncation 0.5 --out a --device cpu")
    assert capsys.readouterr().out == f"sampled 3 pictures: {place / 'a'}\n"
    assert sorted(path.name for path in Path("a").iterdir()) == [
        *(f"model_{i:03d}.png" for i in range(3)),
        "sheet.png",
    ]
    run("sample model --n 1 --seed 5 --truncation 0.5 --out one.png --device cpu")
    one, same = (np.asarray(Image.open(path)).astype(int) for path in ("one.png", "a/model_001.png"))
    assert abs(one - same).max() <= 1


def test_films_and_projections(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("interpolate model --seeds 0 1 --frames 3 --out film.gif --device cpu")
    with Image.open("film.gif") as film:
        assert getattr(film, "n_frames", 1) == 6
    run("sample model --n 1 --out one.png --device cpu")
    capsys.readouterr()
    run("project model one.png --steps 3 --out found.png --device cpu")
    assert capsys.readouterr().out.startswith("projected, at a distance of ")
    assert np.load("found.npy", allow_pickle=False).shape == (8,)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sample model --n 0", "--n is 0, expected 1 or more"),
        ("sample model --truncation 9 --out b", "truncation is 9.0, expected -2..2"),
        ("interpolate other", "model 'other' is of method spade, expected stylegan2, which has `interpolate`"),
        ("interpolate model --out film.doc", "animation 'film.doc' is of kind '.doc'"),
        ("project model none.png", "photo 'none.png' is missing"),
    ],
)
def test_mistakes(place: Path, capsys: pytest.CaptureFixture[str], command: str, told: str) -> None:
    ModelFile("spade", {}, {}).save(Path("other"))
    with pytest.raises(SystemExit) as exit:
        run(command)
    assert exit.value.code == 2
    assert told in capsys.readouterr().err
