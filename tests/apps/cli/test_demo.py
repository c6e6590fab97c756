"""`pinxit demo`: the first picture after the install."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.cli import pictures
from pinxit.data.labels import load_label_set
from pinxit.data.layouts import load_layouts
from pinxit.models.spade.config import PRESETS

from .conftest import Pinxit, files_in, garden_map, in_a_process, pixels, save_model

SCENES = len(load_layouts())


@pytest.fixture
def stand_in(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small random model in place of the embedded one."""
    network = dataclasses.replace(PRESETS["tiny"].network, labels=11, unknown=True, size=(96, 128))
    folder = place / "stand-in"
    save_model(folder, network, load_label_set("camvid"))
    monkeypatch.setattr(pictures, "EMBEDDED", str(folder))
    return folder


def cells(sheet: np.ndarray, columns: int, height: int, width: int, gap: int = 6) -> list[list[np.ndarray]]:
    """The pictures on a contact sheet: a line of titles, then each row below its own title."""
    line = (sheet.shape[0] - gap - SCENES * (height + gap)) // (SCENES + 1)
    assert sheet.shape[1] == gap + columns * (width + gap)
    corners = [
        [(2 * line + row * (height + line + gap), gap + column * (width + gap)) for column in range(columns)]
        for row in range(SCENES)
    ]
    return [[sheet[y : y + height, x : x + width] for y, x in row] for row in corners]


def test_one_sheet_of_every_scene_in_several_styles(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    before = files_in(place)
    ran = pinxit("demo")
    path = place / "pinxit-demo" / "demo.png"
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"painted {SCENES} street scenes in 4 styles: {path}\n"
    assert files_in(place).keys() - before.keys() == {str(path.relative_to(place))}
    sheet = cells(pixels(path), 5, 96, 128)
    palette = {tuple(color) for color in load_label_set("camvid").palette.tolist()}
    for map, *painted in sheet:
        assert {tuple(color) for color in map.reshape(-1, 3).tolist()} <= palette
        assert all(picture.std() > 1 for picture in painted)
        assert len({picture.tobytes() for picture in painted}) == 4
    assert len({row[0].tobytes() for row in sheet}) == SCENES


def test_styles_seed_and_folder_are_ones_own(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    assert pinxit("demo", "--out", "a/b", "--styles", 1, "--seed", 2).status == 0
    assert pinxit("demo", "--out", "c", "--styles", 3, "--seed", 0).status == 0
    one, three = (cells(pixels(Path(f"{folder}/demo.png")), n, 96, 128) for folder, n in (("a/b", 2), ("c", 4)))
    assert all((a[1] == b[3]).all() for a, b in zip(one, three, strict=True))


def test_demo_is_also_the_name_of_the_model(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("info", "demo")
    assert ran.status == 0
    assert ran.out.startswith(f"{stand_in}\n  method")
    Image.fromarray(np.where(garden_map() == 255, 11, garden_map()).astype(np.uint8)).save("map.png")
    assert pinxit("paint", "demo", "map.png").status == 0
    assert files_in(Path("painted")).keys() == {"map.png"}


def test_without_the_embedded_model_it_says_so(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    shutil.rmtree(stand_in)
    ran = pinxit("demo")
    assert ran.status == 2
    assert ran.err.startswith(f"pinxit: model '{stand_in}' is not there, expected ")
    assert not Path("pinxit-demo").exists()


EMBEDDED = pictures.embedded_model()
needs_embedded = pytest.mark.skipif(not EMBEDDED.is_dir(), reason=f"no embedded model yet: {EMBEDDED.name} is missing")


@needs_embedded
def test_the_embedded_model_is_small_and_tells_where_it_is_from(pinxit: Pinxit) -> None:
    """12 MB for all that comes along: the model and the drawn scenes."""
    assert sum(len(content) for content in files_in(EMBEDDED.parent).values()) <= 12_000_000
    ran = pinxit("info", "demo")
    assert ran.status == 0
    rows = dict(line.strip().split(maxsplit=1) for line in ran.out.splitlines()[1:])
    assert "CamVid" in rows["data"]
    assert "CC BY-NC 4.0" in rows["licence"]
    assert int(rows["steps"]) > 0
    assert rows["how"].startswith("preset cpu")
    assert rows["vae"] == "True"


@needs_embedded
@pytest.mark.slow
def test_the_embedded_model_paints_within_a_minute_and_in_styles_that_differ(tmp_path: Path) -> None:
    """As after the install: in a process of its own, without network, whatever the cores are busy with."""
    begun = time.monotonic()
    done = in_a_process("-m", "pinxit", "demo", "--out", tmp_path, OMP_NUM_THREADS="2", http_proxy="http://127.0.0.1:9")
    assert time.monotonic() - begun < 60
    assert (done.returncode, done.stderr) == (0, "")
    height, width = PRESETS["cpu"].network.size
    for map, *painted in cells(pixels(tmp_path / "demo.png"), 5, height, width):
        for picture in painted:
            assert picture.reshape(-1, 3).std(axis=0).min() > 10  # of 255
            # It follows the map: labels differ by more than noise.
            assert np.ptp(means_by_color(picture, map)) > 20
        apart = [np.abs(a.astype(int) - b.astype(int)).mean() for i, a in enumerate(painted) for b in painted[i + 1 :]]
        assert min(apart) > 1


def means_by_color(picture: np.ndarray, map: np.ndarray) -> list[float]:
    """The mean grey of the picture under each colour of the map that covers enough of it."""
    codes = map.astype(int) @ np.array([65536, 256, 1])
    return [picture[codes == code].mean() for code in np.unique(codes) if (codes == code).mean() > 0.02]
