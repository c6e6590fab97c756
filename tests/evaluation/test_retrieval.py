"""R-precision: chance and perfection, who is offered what, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation.retrieval import candidates, chance, hits, r_precision, shuffled, similarities

CAPTIONS = [f"a {colour} {kind}" for colour in ("red", "green", "blue", "white", "pale") for kind in "abcdefgh"]


def test_the_right_caption_comes_first_and_no_wrong_one_is_true() -> None:
    right = [*CAPTIONS, *CAPTIONS[:20]]  # several pictures have one caption
    own = [[caption, CAPTIONS[(i + 1) % len(CAPTIONS)]] for i, caption in enumerate(right)]
    offered: list[list[str]] = []
    for seed in range(5):
        offered = candidates(right, own, seed=seed)
        for caption, true, row in zip(right, own, offered, strict=True):
            assert row[0] == caption
            assert len(set(row)) == len(row) == 10
            assert not set(row[1:]) & {caption, *true}
    assert candidates(right, own, seed=4) == offered != candidates(right, own, seed=3)
    wrong = {caption for row in offered for caption in row[1:]}
    assert wrong == set(CAPTIONS)


def test_too_few_captions_are_told() -> None:
    with pytest.raises(
        PinxitError, match=r"the number of different captions is 8 beside those of picture 1, 'a red a'"
    ):
        candidates(CAPTIONS[:9])
    assert len(candidates(CAPTIONS[:10])) == 10
    with pytest.raises(PinxitError, match="is 8 beside"):
        candidates(CAPTIONS[:10], [[CAPTIONS[0], CAPTIONS[1]]] + [[caption] for caption in CAPTIONS[1:10]])


def test_a_shuffle_gives_each_picture_another_text() -> None:
    captions = [*CAPTIONS, *["a red a"] * 10]
    given = shuffled(captions, seed=1)
    assert sorted(given) == list(range(len(captions)))
    assert all(captions[i] != captions[j] for i, j in enumerate(given))
    assert given != shuffled(captions, seed=2)
    assert sorted(shuffled(["same"] * 3)) == [0, 1, 2]
    assert shuffled([]) == []


def features(sentences: Sequence[str], width: int = 64) -> Tensor:
    rows = [torch.randn(width, generator=torch.Generator().manual_seed(sum(s.encode()) + len(s))) for s in sentences]
    return torch.nn.functional.normalize(torch.stack(rows), dim=1)


def test_perfection_chance_and_what_lies_between() -> None:
    random = np.random.default_rng(0)
    names = [f"caption {i:04d}" for i in range(900)]
    table = torch.nn.functional.normalize(torch.randn(900, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    place = {name: i for i, name in enumerate(names)}
    offered = candidates(names)

    def score(share: float) -> float:
        """Pictures of which so many show their caption, and the others something else."""
        shown = [i if random.random() < share else int(random.integers(900)) for i in range(900)]
        similar = similarities(
            lambda some, said: table[[shown[i] for i in some]] @ table[[place[s] for s in said]].T, offered
        )
        return r_precision(similar, pictures="900 pictures", networks="a table").value

    assert score(1.0) == 1
    assert abs(score(0.0) - 0.1) < 0.03  # standard error 0.01
    assert abs(score(0.5) - 0.55) < 0.05


def test_cosines_are_those_of_the_captions_offered() -> None:
    offered = candidates([*CAPTIONS, *CAPTIONS, *CAPTIONS], seed=3)
    pictures = torch.randn(len(offered), 64, generator=torch.Generator().manual_seed(1))
    found = similarities(lambda some, said: pictures[list(some)] @ features(said).T, offered)
    plain = torch.stack([features(row) @ picture for row, picture in zip(offered, pictures, strict=True)])
    torch.testing.assert_close(found, plain.double(), rtol=1e-5, atol=1e-5)


def test_ties_count_as_chance() -> None:
    assert hits(torch.zeros(3, 10)).tolist() == pytest.approx([0.1] * 3)
    assert hits(torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [2.0, 1.0, 0.0]])).tolist() == [0.5, 0.0, 1.0]
    assert r_precision(torch.zeros(20, 10), pictures="p", networks="n").value == pytest.approx(chance().value)


def test_a_score_says_how_it_was_measured() -> None:
    similar = torch.rand(25, 10, generator=torch.Generator().manual_seed(0))
    score = r_precision(similar, pictures="25 pictures of 8x8", networks="model m", weights="ab" * 32, seed=5)
    assert (score.name, score.better) == ("R-precision", "higher")
    assert score.details["weights"] == {"matching": "ab" * 32}
    assert len(score.details["splits"]) == 10
    assert score.value == pytest.approx(np.mean(score.details["splits"]))
    assert score.spread == pytest.approx(np.std(score.details["splits"]))
    for words in ("nearest of 10", "model m", "10 splits", "seed 5", "25 pictures of 8x8"):
        assert words in score.protocol
    assert chance(4).value == 0.25


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(PinxitError, match="number of pictures is 9, expected at least 10"):
        r_precision(torch.zeros(9, 10), pictures="p", networks="n")
    with pytest.raises(PinxitError, match="not finite"):
        r_precision(torch.full((10, 10), float("nan")), pictures="p", networks="n")
