from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.squares import SquareStream, check_squares, find_squares, rows_of, square
from pinxit.errors import PinxitError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in ("b10.png", "b9.png", "kind/c.png", "kind/.hidden.png", ".cache/d.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (12, 20, 3), np.uint8)).save(path)
    (tmp_path / "set" / "notes.txt").write_text("no picture")
    return tmp_path / "set"


def test_finds_pictures_in_folders_too(folder: Path) -> None:
    assert [path.name for path in find_squares(folder)] == ["b9.png", "b10.png", "c.png"]
    with pytest.raises(PinxitError, match=r"^data folder '.*/none' is missing, expected a folder of pictures"):
        find_squares(folder / "none")
    with pytest.raises(PinxitError, match=r"^data folder '.*/empty' is without pictures"):
        (folder / "empty").mkdir()
        find_squares(folder / "empty")
    with pytest.raises(PinxitError, match=r"^--data is missing"):
        find_squares(None)


def test_tells_of_what_cannot_be_read(folder: Path) -> None:
    check_squares(find_squares(folder))
    (folder / "kind" / "c.png").write_bytes(b"no picture")
    with pytest.raises(PinxitError, match=r"c\.png' is not a picture"):
        check_squares(find_squares(folder))


def test_the_square_in_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 200
    assert (np.asarray(square(Image.fromarray(pixels), 10)) == 200).all()
    assert square(Image.fromarray(pixels), 16).size == (16, 16)


def stream(folder: Path, rank: int = 0, world: int = 1, group: int = 1, batch: int = 4) -> SquareStream:
    return SquareStream(find_squares(folder), 8, batch, 3, rank, world, group=group)


def test_batches_are_a_function_of_the_step(folder: Path) -> None:
    first = [batch.photo for batch in islice(stream(folder).batches(0), 6)]
    assert first[0].shape == (4, 3, 8, 8)
    assert -1 <= first[0].min() < first[0].max() <= 1
    assert torch.equal(next(stream(folder).batches(4)).photo, first[4])
    assert not torch.equal(first[0], first[1])


def test_every_picture_is_shown_equally_often(folder: Path) -> None:
    without_flips = SquareStream(find_squares(folder), 8, 4, 3, flip=False)
    shown = torch.cat([batch.photo for batch in islice(without_flips.batches(0), 3)])
    assert sorted(torch.unique(shown, dim=0, return_counts=True)[1].tolist()) == [4, 4, 4]


@pytest.mark.parametrize(("world", "group", "batch"), [(2, 1, 4), (2, 4, 8), (2, 4, 16), (4, 4, 32), (2, 4, 4)])
def test_ranks_share_the_rows(folder: Path, world: int, group: int, batch: int) -> None:
    """All of them, each once; and where groups are formed, whole ones of one process' batch."""
    rows = [rows_of(rank, world, batch, group) for rank in range(world)]
    assert sorted(row for mine in rows for row in mine) == list(range(batch))
    whole = next(stream(folder, batch=batch).batches(2)).photo
    for rank in range(world):
        part = next(stream(folder, rank, world, group, batch).batches(2)).photo
        assert torch.equal(part, whole[rows[rank]])
    if batch % (group * world) == 0 and group > 1:
        groups = batch // group
        for mine in rows:
            share = len(mine) // group
            for j in range(share):
                ours = {mine[j + k * share] for k in range(group)}
                assert ours == {mine[j] + k * groups for k in range(group)}
