from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pinxit.models.sketching.score import Measured, line_distances, measured


def drawing(*rows: int, side: int = 32, ink: float = 2.0) -> Tensor:
    """[1, 1, side, side]: horizontal lines on paper."""
    page = torch.ones(1, 1, side, side)
    page[:, :, list(rows)] -= ink
    return page


def test_the_distance_of_lines() -> None:
    """Of two lines, how far they are apart; of one and a pair of which it is one, the mean of both ways."""
    found = line_distances(torch.cat([drawing(4), drawing(4, 12)]), torch.cat([drawing(4), drawing(8)]))
    torch.testing.assert_close(found, torch.tensor([[0, 4 / 32], [(0 + 4 / 32) / 2, 4 / 32]]))
    torch.testing.assert_close(
        line_distances(drawing(4), drawing(4, 12)), line_distances(drawing(4, 12), drawing(4)).t()
    )


def test_faint_lines_count_as_dark_ones_do_and_no_lines_are_a_side_away() -> None:
    torch.testing.assert_close(line_distances(drawing(4, ink=0.5), drawing(8)), torch.tensor([[4 / 32]]))
    blank = torch.ones(1, 1, 32, 32)
    assert line_distances(blank, drawing(8)).item() == line_distances(drawing(8), blank).item() == 1


def test_thin_lines_survive_where_drawings_are_large() -> None:
    found = line_distances(drawing(40, side=256), drawing(10, side=64))
    assert found.item() == pytest.approx(0, abs=1e-6)


def test_a_score_is_worse_where_pictures_are_more_alike() -> None:
    a, b = torch.full((2, 3, 32, 32), -0.5), torch.full((2, 3, 32, 32), 0.5)
    drawings, sketches = torch.cat([drawing(4)] * 4), drawing(8)
    before = measured(torch.cat([a, b]), drawings, sketches)
    alike = measured(torch.cat([a, b]) / 4, drawings, sketches)
    more = measured(torch.cat([a, b]) * 2, drawings, sketches)
    assert before.spread == 0.5
    assert before.outlines == before.covered == 4 / 32
    assert before.score(before) == more.score(before) == 4 / 32
    assert alike.score(before) == pytest.approx(4 * 4 / 32)
    assert isinstance(before, Measured)
