"""The measurement of GAN Sketching, on models with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from benchmarks import sketching
from pinxit.models.photosketch import config as photosketch
from pinxit.models.photosketch.recipe import PhotoSketchRecipe
from pinxit.models.stylegan2 import config as stylegan2
from pinxit.models.stylegan2.recipe import StyleGAN2Recipe


def test_it_measures_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    tiny, other = stylegan2.PRESETS["tiny"], photosketch.PRESETS["tiny"]
    StyleGAN2Recipe(tiny.network, tiny.training).model_file().save(tmp_path / "base")
    PhotoSketchRecipe(other.network, other.training).model_file().save(tmp_path / "photosketch")
    (tmp_path / "sketches").mkdir()
    for i in range(3):
        page = Image.new("L", (64, 64), 255)
        ImageDraw.Draw(page).ellipse((8 + 4 * i, 8, 56 - 4 * i, 56), outline=0, width=2)
        page.save(tmp_path / "sketches" / f"{i}.png")
    named = {"--base": "base", "--photosketch": "photosketch", "--sketches": "sketches", "--out": "out"}
    paths = [part for option, name in named.items() for part in (option, str(tmp_path / name))]
    more = "--counts 1 2 --preset tiny --steps 2 --pictures 12".split()  # noqa: SIM905
    monkeypatch.setattr("sys.argv", ["sketching", *paths, *more])
    sketching.main()
    found = json.loads((tmp_path / "out" / "sketching.json").read_text())
    for count in ("1", "2"):
        before, after = found[count]["before"], found[count]["after"]
        assert before.keys() == after.keys() >= {"outlines", "outlines_of_all", "covered", "spread", "colour_mean"}
        assert before["outlines_of_all"] <= before["outlines"] + 1e-6 <= 1
        assert (tmp_path / "out" / f"{count}_sketches" / "before_after.png").is_file()
    assert found["1"]["before"]["spread"] == found["2"]["before"]["spread"]


def test_colours_are_of_what_is_not_white() -> None:
    x = torch.ones(2, 3, 8, 8)
    x[0, :, :4] = torch.tensor([0.5, -0.5, 0.0])[:, None, None]
    x[1, :, :2] = torch.tensor([-1.0, -1.0, -1.0])[:, None, None]
    torch.testing.assert_close(sketching.colours(x), torch.tensor([[0.5, -0.5, 0.0], [-1.0, -1.0, -1.0]]))
    assert sketching.moved(x, x) == 0
    assert sketching.moved(x, x.flip(0)) == pytest.approx(1)
