"""`pinxit demo`: the first picture after the install."""

from __future__ import annotations

import dataclasses
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit import modelfile
from pinxit.apps.cli import pictures
from pinxit.data.kinds import Kind
from pinxit.data.labels import load_label_set
from pinxit.data.layouts import load_layouts
from pinxit.data.outlines import OUTLINES
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pix.config import PRESETS as PIX2PIX_PRESETS
from pinxit.models.pix2pix.network import generator
from pinxit.models.spade.config import PRESETS
from pinxit.recipe import state_on_cpu

from .conftest import Pinxit, Ran, files_in, garden_map, in_a_process, pixels, save_model

SCENES = len(load_layouts())


@pytest.fixture
def fruits(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small random pix2pix in place of the embedded one."""
    kind = Kind(3, "uint8", 0, 255)
    network = dataclasses.replace(PIX2PIX_PRESETS["tiny"].network, input=kind, output=kind, test_norm="picture")
    torch.manual_seed(0)
    tensors = {f"G.{k}": v for k, v in state_on_cpu(generator(network).state_dict()).items()}
    folder = place / "stand-in-fruits"
    ModelFile("pix2pix", dataclasses.asdict(network), tensors, card={"licence": "none"}).save(folder)
    monkeypatch.setitem(pictures.EMBEDDED, "fruits", str(folder))
    return folder


@pytest.fixture
def stand_in(place: Path, fruits: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small random SPADE in place of the embedded one, beside the pix2pix."""
    network = dataclasses.replace(PRESETS["tiny"].network, labels=11, unknown=True, size=(96, 128))
    folder = place / "stand-in"
    save_model(folder, network, load_label_set("camvid"))
    monkeypatch.setitem(pictures.EMBEDDED, "demo", str(folder))
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


def fruit_cells(sheet: np.ndarray, side: int, gap: int = 6) -> list[list[np.ndarray]]:
    """The outlines and, below them, what was painted."""
    line = (sheet.shape[0] - gap - 2 * (side + gap)) // 3
    assert sheet.shape[1] == gap + len(OUTLINES) * (side + gap)
    tops, lefts = [2 * line, 3 * line + gap + side], [gap + i * (side + gap) for i in range(len(OUTLINES))]
    return [[sheet[y : y + side, x : x + side] for x in lefts] for y in tops]


def test_a_sheet_of_every_scene_in_several_styles(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    before = files_in(place)
    ran = pinxit("demo")
    folder = place / "pinxit-demo"
    path = folder / "demo.png"
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"painted {SCENES} street scenes in 4 styles: {path}",
        f"painted {len(OUTLINES)} fruits from outlines: {folder / 'demo_fruits.png'}",
        f"outlines to change, and to paint with `pinxit translate fruits FILE`: {folder / 'outlines'}",
    ]
    assert {Path(file) for file in files_in(place).keys() - before.keys()} == {
        Path("pinxit-demo/demo.png"),
        Path("pinxit-demo/demo_fruits.png"),
        *(Path(f"pinxit-demo/outlines/{outline.name}.png") for outline in OUTLINES),
    }
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


def test_fruits_are_the_translations_of_the_outlines_beside_them(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    assert pinxit("demo", "--styles", 1).status == 0
    ran = pinxit("translate", "fruits", "pinxit-demo/outlines")
    assert (ran.status, ran.err) == (0, "")
    outlines, painted = fruit_cells(pixels(Path("pinxit-demo/demo_fruits.png")), 64)
    for outline, drawn, picture in zip(OUTLINES, outlines, painted, strict=True):
        assert (drawn == pixels(Path(f"pinxit-demo/outlines/{outline.name}.png"))).all()
        assert (picture == pixels(Path(f"translated/{outline.name}.png"))).all()
    assert len({picture.tobytes() for picture in painted}) == len(OUTLINES)


def test_what_lies_at_the_path_comes_before_the_embedded_model(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    assert pinxit("info", "fruits").out.startswith(f"{place / 'stand-in-fruits'}\n  method")
    shutil.copytree("model", "fruits")
    assert pinxit("info", "fruits").out.startswith("fruits\n  method")
    Path("demo").mkdir()
    ran = pinxit("info", "demo")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "model 'demo' is a folder without model.safetensors" in ran.err


def test_outlines_are_not_painted_as_label_maps(fruits: Path, place: Path, pinxit: Pinxit) -> None:
    OUTLINES[0].draw(64).save("pear.png")
    ran = pinxit("paint", "fruits", "pear.png")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert "model 'fruits' is of method pix2pix, expected one that paints label maps; use pinxit translate" in ran.err


def test_demo_is_also_the_name_of_the_model(stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    ran = pinxit("info", "demo")
    assert ran.status == 0
    assert ran.out.startswith(f"{stand_in}\n  method")
    Image.fromarray(np.where(garden_map() == 255, 11, garden_map()).astype(np.uint8)).save("map.png")
    assert pinxit("paint", "demo", "map.png").status == 0
    assert files_in(Path("painted")).keys() == {"map.png"}


@pytest.mark.parametrize("name", ["demo", "fruits"])
def test_without_an_embedded_model_it_says_so(name: str, stand_in: Path, place: Path, pinxit: Pinxit) -> None:
    gone = pictures.embedded_model(name)
    shutil.rmtree(gone)
    ran = pinxit("demo")
    assert ran.status == 2
    assert ran.err.startswith(f"pinxit: model '{gone}' is not there, expected ")
    assert not Path("pinxit-demo").exists()


def test_it_does_without_the_mixed_streets(
    stand_in: Path, place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pictures.EMBEDDED, "mixed", str(place / "gone"))
    assert pinxit("demo", "--styles", 1).status == 0
    ran = pinxit("paint", "mixed")
    assert (ran.status, ran.err.count("\n")) == (2, 1)
    assert f"model '{place / 'gone'}' is not there" in ran.err


EMBEDDED = [pictures.embedded_model(name) for name in ("demo", "fruits", "mixed")]
ROOT = Path(__file__).parents[3]


def card_of(ran: Ran) -> dict[str, str]:
    assert ran.status == 0
    rows = (line.strip().split(maxsplit=1) for line in ran.out.splitlines()[1:])
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_the_embedded_models_are_small() -> None:
    """12 MB for streets, the drawn scenes included; 8 MB for fruits; 7 MB for mixed. Half precision."""
    streets, fruits, mixed = (sum(len(content) for content in files_in(folder).values()) for folder in EMBEDDED)
    scenes = (EMBEDDED[0].parent / "layouts.json").stat().st_size
    assert streets + scenes <= 12_000_000
    assert fruits <= 8_000_000
    assert mixed <= 7_000_000
    for folder in EMBEDDED:
        assert {t.dtype for t in modelfile.read(folder).tensors.values() if t.is_floating_point()} == {torch.float16}


def test_the_embedded_fruits_tell_where_they_are_from(pinxit: Pinxit) -> None:
    rows = card_of(pinxit("info", "fruits"))
    assert rows["method"] == "pix2pix"
    for word in ("edges2fruits", "Fruits-360", "Horea94/fruit_shapes"):
        assert word in rows["data"]
    for words in ("Apache-2.0", "MIT (Fruits-360", "states no licence"):
        assert words in rows["licence"]
    assert int(rows["steps"]) > 0
    assert rows["how"].startswith("preset cpu")
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    assert all(f"src/pinxit/embedded/{folder.name}" in notice for folder in EMBEDDED)


def test_the_embedded_streets_tell_where_they_are_from(pinxit: Pinxit) -> None:
    rows = card_of(pinxit("info", "demo"))
    assert "CamVid" in rows["data"]
    assert "CC BY-NC 4.0" in rows["licence"]
    assert int(rows["steps"]) > 0
    assert rows["how"].startswith("preset cpu")
    assert rows["vae"] == "True"


def test_the_embedded_mixed_streets_tell_where_they_are_from(pinxit: Pinxit) -> None:
    rows = card_of(pinxit("info", "mixed"))
    assert rows["method"] == "poegan"
    assert "CamVid" in rows["data"]
    assert rows["licence"] == card_of(pinxit("info", "demo"))["licence"]
    assert rows["steps"] in rows["command"]
    assert rows["how"].startswith("preset cpu")
    for words in ("0.49, 0.17, 0.24", "0.73, 0.16, 0.12", "23.1 apart by nothing, 7.6 by all four"):
        assert words in rows["measured"]
    assert rows["text_encoder"] == "built-in"


@pytest.mark.slow
def test_the_embedded_models_paint_within_a_minute_and_in_styles_that_differ(tmp_path: Path) -> None:
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
    for outline, picture in zip(*fruit_cells(pixels(tmp_path / "demo_fruits.png"), 128), strict=True):
        # A coloured fruit in the middle, on white as far as it leaves room.
        assert picture[48:80, 48:80].mean() < 230
        beyond = corners(outline)
        assert not beyond.any() or picture[beyond].mean() > 200


def means_by_color(picture: np.ndarray, map: np.ndarray) -> list[float]:
    """The mean grey of the picture under each colour of the map that covers enough of it."""
    codes = map.astype(int) @ np.array([65536, 256, 1])
    return [picture[codes == code].mean() for code in np.unique(codes) if (codes == code).mean() > 0.02]


def corners(outline: np.ndarray, margin: int = 12) -> np.ndarray:
    """Where the squares in the corners of a frame are free of lines."""
    free = np.zeros(outline.shape[:2], bool)
    for rows in (slice(0, margin), slice(-margin, None)):
        for columns in (slice(0, margin), slice(-margin, None)):
            free[rows, columns] = outline[rows, columns].min() > 200
    return free
