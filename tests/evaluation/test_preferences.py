"""The statistics of choices: against textbooks, closed forms, and raters whose preferences are known."""

from __future__ import annotations

import csv
import io
import json
import math
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.errors import PinxitError
from pinxit.evaluation.preferences import (
    bradley_terry,
    fleiss_kappa,
    has_maximum,
    jackknife_error,
    kendalls_w,
    mean_ranks,
    report,
    resampled,
    shares_preferred,
    win_matrix,
)
from pinxit.evaluation.ranking import BROKEN, Intake, Study, make, names_of

BASEBALL = np.array(
    [
        [0, 7, 9, 7, 7, 9, 11],
        [6, 0, 7, 5, 11, 9, 9],
        [4, 6, 0, 7, 7, 8, 12],
        [6, 8, 6, 0, 6, 7, 10],
        [6, 2, 6, 7, 0, 7, 12],
        [4, 4, 5, 6, 6, 0, 6],
        [2, 4, 1, 3, 1, 7, 0],
    ],
    np.float64,
)
"""American League 1987, wins of rows over columns (Agresti 2002, Categorical Data Analysis, table 10.10)."""


def test_bradley_terry_of_agrestis_baseball() -> None:
    scores = bradley_terry(BASEBALL)
    # As published, with Baltimore, the last, at 0.
    published = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0]
    np.testing.assert_allclose(scores - scores[-1], published, atol=6e-5)
    assert abs(scores.mean()) < 1e-12


def test_bradley_terry_of_two_and_at_its_maximum() -> None:
    two = np.array([[0, 30], [10, 0]], np.float64)
    scores = bradley_terry(two)
    assert scores[0] - scores[1] == pytest.approx(math.log(3), abs=1e-9)
    # Where the likelihood is highest the wins are those that are expected.
    scores = bradley_terry(BASEBALL)
    met = BASEBALL + BASEBALL.T
    chance = 1 / (1 + np.exp(scores[None] - scores[:, None]))
    np.testing.assert_allclose((met * chance).sum(1), BASEBALL.sum(1), atol=1e-7)
    # Many at once are as one by one.
    both = bradley_terry(np.stack([BASEBALL, BASEBALL.T]))
    np.testing.assert_allclose(both[0], scores, atol=1e-7)
    np.testing.assert_allclose(both[1], -scores, atol=1e-7)


def test_the_likelihood_has_no_maximum_where_one_never_loses() -> None:
    never = np.array([[0, 3, 3], [0, 0, 2], [0, 1, 0]], np.float64)
    apart = np.array([[0, 3, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1], [0, 0, 2, 0]], np.float64)
    circle = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float64)
    assert has_maximum(np.stack([never, circle, never.T])).tolist() == [False, True, False]
    assert not has_maximum(apart)
    assert has_maximum(BASEBALL)
    np.testing.assert_allclose(bradley_terry(circle), 0, atol=1e-9)
    # With a prior they are finite, and solve the equations of the likelihood with its wins and losses.
    scores = bradley_terry(never, 0.5)
    assert scores[0] > scores[1] > scores[2]
    assert np.isfinite(scores).all()
    large = bradley_terry(BASEBALL * 1e6, 0.5)
    np.testing.assert_allclose(large, bradley_terry(BASEBALL), atol=1e-5)


def test_a_prior_is_wins_and_losses_against_one_more() -> None:
    wins = np.array([[0, 4], [0, 0]], np.float64)
    scores = bradley_terry(wins, 0.5)
    more = np.zeros((3, 3))
    more[:2, :2] = wins
    more[2, :2] = more[:2, 2] = 0.5
    with_phantom = bradley_terry(more)
    assert scores[0] - scores[1] == pytest.approx(with_phantom[0] - with_phantom[1], abs=1e-6)


def test_mean_ranks_of_rankings_are_plain_means_and_of_pairs_expected_ones() -> None:
    random = np.random.default_rng(0)
    rankings = [random.permutation(4).tolist() for _ in range(20)]
    plain = np.mean([np.argsort(ranking) + 1 for ranking in rankings], axis=0)
    np.testing.assert_allclose(mean_ranks(win_matrix(rankings, 4)), plain)
    pairs = win_matrix([(0, 1)] * 3 + [(1, 0)] + [(0, 2)] * 2 + [(2, 0)] * 2 + [(1, 2)] * 5, 3)
    np.testing.assert_allclose(mean_ranks(pairs), [1 + 1 / 4 + 1 / 2, 1 + 3 / 4 + 0, 1 + 1 / 2 + 1])
    np.testing.assert_allclose(shares_preferred(pairs), [5 / 8, 6 / 9, 2 / 9])
    assert np.isnan(mean_ranks(win_matrix([(0, 1)], 3))[2])
    assert np.isnan(shares_preferred(win_matrix([(0, 1)], 3))[2])


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    random = np.random.default_rng(1)
    of_rater = np.stack([win_matrix([random.permutation(3).tolist() for _ in range(5)], 3) for _ in range(8)])
    means = mean_ranks(of_rater)
    np.testing.assert_allclose(jackknife_error(mean_ranks, of_rater), means.std(0, ddof=1) / math.sqrt(8))
    assert np.isnan(jackknife_error(mean_ranks, of_rater[:1])).all()


def test_resamples_have_as_many_raters_and_hang_on_the_seed() -> None:
    of_rater = np.eye(3)[:, None, :] * np.ones((3, 3, 1))
    draws = resampled(of_rater, 50, 3)
    assert (draws.sum((1, 2)) == 9).all()
    np.testing.assert_array_equal(draws, resampled(of_rater, 50, 3))
    assert (draws != resampled(of_rater, 50, 4)).any()


def test_kendalls_w_of_siegels_executives_and_its_bounds() -> None:
    # Three executives rank six applicants (Siegel 1956, Nonparametric Statistics, table 9.5): W = .16
    ranks = np.array([[1, 6, 3, 2, 5, 4], [1, 5, 6, 4, 2, 3], [6, 3, 2, 5, 4, 1]], np.float64)
    assert kendalls_w(ranks) == pytest.approx(25.5 / 157.5)
    assert kendalls_w(np.array([[1, 2, 3]] * 5, np.float64)) == 1
    assert kendalls_w(np.array([[1, 2, 3], [3, 2, 1]], np.float64)) == 0
    # W = (1 + (n - 1) r) / n, r being the mean of Spearman's coefficients.
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in combinations(ranks, 2)])
    assert kendalls_w(ranks) == pytest.approx((1 + 2 * r) / 3)


def test_fleiss_kappa_of_fourteen_raters() -> None:
    # Ten subjects, fourteen raters, five categories: the worked example of many textbooks, kappa = 0.210.
    counts = np.array(
        [
            [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
        ],
        np.float64,
    )  # fmt: skip
    assert fleiss_kappa(counts) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa(np.array([[3.0, 0], [0, 3]])) == 1
    assert fleiss_kappa(np.array([[1.0, 1], [1, 1]])) == -1
    assert math.isnan(fleiss_kappa(np.array([[1.0, 0], [0, 1]])))
    assert fleiss_kappa(np.array([[3.0, 0], [0, 3], [1, 0]])) == 1, "one rating says nothing about agreement"


def study_of(tmp_path: Path, methods: int, pictures: int, **options: object) -> Study:
    folders = {}
    for m in range(methods):
        folder = folders[f"m{m}"] = tmp_path / f"m{m}"
        folder.mkdir()
        for i in range(pictures):
            Image.new("RGB", (4, 4), (m, i, 0)).save(folder / f"{i:03d}.png")
    return make(tmp_path / "study", folders, **options)  # pyright: ignore[reportArgumentType]


def answer_all(study: Study, strengths: dict[str, float], raters: int, seed: int, careless: int = 0) -> None:
    """Raters who choose as Bradley, Terry, Plackett and Luce have it, but for the last `careless` ones."""
    random, intake, names = np.random.default_rng(seed), Intake(study), names_of(study)
    for number in range(raters):
        rater = intake.join()
        for place, question in enumerate(intake.sheet(rater)):
            shown = [-math.inf if method == BROKEN else strengths[names[method]] for method in question.shown]
            if number >= raters - careless:
                shown = [-strength for strength in shown]
            # The order of these sums is Plackett and Luce's.
            order = np.argsort(-(np.array(shown) + random.gumbel(size=len(shown))))
            intake.add(rater, place, order.tolist(), 1 + random.random())


STRENGTHS = {"m0": 0.8, "m1": 0.3, "m2": -0.2, "m3": -0.9}
"""Of mean 0."""


@pytest.mark.parametrize("design", ["pairs", "ranking"])
def test_known_strengths_are_found_again(tmp_path: Path, design: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    study = study_of(tmp_path, 4, 10, design=design, checks=1, seed=2)
    answer_all(study, STRENGTHS, 25, seed=3, careless=2)
    made = report(study, bootstrap=400)
    assert [row.left_out for row in made.raters] == [False] * 23 + [True] * 2
    assert made.kept.raters == 23
    assert made.everyone.raters == 25
    assert [s.method for s in made.kept.standings] == list(STRENGTHS)
    for standing in made.kept.standings:
        low, high = standing.score_interval
        assert low <= standing.score <= high
        assert low <= STRENGTHS[standing.method] <= high, standing
        assert high - low < 0.8
        assert standing.share_interval[0] <= standing.share_preferred <= standing.share_interval[1]
    assert sum(s.mean_rank for s in made.kept.standings) == pytest.approx(10)
    assert ("kendalls_w" in made.kept.agreement) == (design == "ranking")
    assert 0.05 < made.kept.agreement["kappa"] < 0.5
    assert report(study, bootstrap=400).kept == made.kept, "the seed decides"


def test_intervals_hold_what_is_true_about_as_often_as_they_say() -> None:
    """95 % intervals of the differences to be found, from 60 studies of 12 raters."""
    random, truth = np.random.default_rng(5), np.array([0.5, 0.0, -0.5])
    held = 0
    for trial in range(60):
        of_rater = np.zeros((12, 3, 3))
        for rater in range(12):
            for i, j in permutations(range(3), 2):
                first = random.binomial(5, 1 / (1 + math.exp(truth[j] - truth[i])))
                of_rater[rater, i, j] += first
                of_rater[rater, j, i] += 5 - first
        low, high = np.quantile(bradley_terry(resampled(of_rater, 200, trial), tolerance=1e-6), [0.025, 0.975], axis=0)
        held += ((low <= truth) & (truth <= high)).sum()
    assert 0.85 < held / 180 <= 0.99


def test_who_never_loses_is_told_and_not_bounded(tmp_path: Path) -> None:
    study = study_of(tmp_path, 3, 4)
    names, intake = names_of(study), Intake(study)
    best = names.index("m1")
    random = np.random.default_rng(0)
    for _ in range(4):
        rater = intake.join()
        for place, question in enumerate(intake.sheet(rater)):
            if best in question.shown:
                order = [question.shown.index(best), 1 - question.shown.index(best)]
            else:
                order = random.permutation(2).tolist()
            intake.add(rater, place, order, 1)
    made = report(study, bootstrap=100)
    first = made.kept.standings[0]
    assert (first.method, first.mean_rank, first.share_preferred) == ("m1", 1, 1)
    assert math.isfinite(first.score)
    assert 0 < first.score_interval[0] <= first.score < first.score_interval[1] == math.inf
    assert any("m1 never loses" in note for note in made.kept.notes)
    read = json.loads(made.to_json())
    assert read["kept"]["standings"][0]["score_interval"] == [first.score_interval[0], None]
    assert "∞" in made.to_markdown()


def test_the_report_as_markdown_csv_and_json(tmp_path: Path) -> None:
    study = study_of(tmp_path, 3, 3, design="ranking", checks=1, repeats=1)
    answer_all(study, {"m0": 9, "m1": 0, "m2": -9}, 3, seed=0, careless=1)
    made = report(study, bootstrap=100, seed=1)
    rows = list(csv.DictReader(io.StringIO(made.to_csv())))
    assert [(row["raters"], row["method"]) for row in rows[:3]] == [("kept", "m0"), ("kept", "m1"), ("kept", "m2")]
    assert [float(row["mean_rank"]) for row in rows[:3]] == [1, 2, 3]
    assert len(rows) == 6
    text = made.to_markdown()
    assert "| m0 | 1.00 ± 0.00 |" in text
    assert "| left out |" in text
    assert "With the 1 left out" in text
    assert "3 raters began, 3 answered, 1 left out for failing more than 0 checks" in text
    assert "Kendall's W of an item's rankings is 1.00" in text
    content = json.loads(made.to_json())
    assert content["kept"]["wins"] == [[0, 6, 6], [0, 0, 6], [0, 0, 0]]
    assert content["raters"][0]["repeats_agreed"] == 1
    lenient = report(study, may_fail=1, bootstrap=100)
    assert lenient.kept == lenient.everyone
    assert "left out for failing more than 1" in lenient.protocol


def test_reports_of_nothing(tmp_path: Path) -> None:
    study = study_of(tmp_path, 2, 2, checks=1)
    with pytest.raises(PinxitError, match=r"answers of study '.*' is none, expected one or more"):
        report(study)
    answer_all(study, {"m0": 5, "m1": -5}, 1, seed=0, careless=1)
    with pytest.raises(PinxitError, match="raters who passed the attention checks is none of 1"):
        report(study)
    alone = report(study, may_fail=1)
    assert any("One rater" in note for note in alone.kept.notes)
    assert math.isnan(alone.kept.standings[0].score_interval[0])
    json.loads(alone.to_json())
    for option in ({"bootstrap": 9}, {"may_fail": -1}, {"seed": -1}):
        with pytest.raises(PinxitError, match="or more"):
            report(study, **option)
    (study.folder / "key.json").unlink()
    with pytest.raises(PinxitError, match=r"key\.json' is missing or damaged"):
        report(study)
