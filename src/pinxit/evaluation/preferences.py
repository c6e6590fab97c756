"""What people's choices say about methods: mean ranks, Bradley–Terry scores, agreement, and the report of a study."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pinxit.errors import expected
from pinxit.evaluation.ranking import BROKEN, Answer, Design, Study, names_of, now, read_answers, read_raters

Floats = NDArray[np.float64]


# Statistics, in float64


def win_matrix(rankings: Iterable[Sequence[int]], methods: int) -> Floats:
    """[methods, methods]: how often the row's method stood before the column's. A ranking counts as all its pairs."""
    wins = np.zeros((methods, methods))
    for ranking in rankings:
        for better, worse in combinations(ranking, 2):
            wins[better, worse] += 1
    return wins


def mean_ranks(wins: Floats) -> Floats:
    """wins [..., m, m] -> [..., m]: the place, 1 being the best, that each method has on average.

    1 + the sum over the others of how often they stand before it. Of full rankings that is the plain mean of ranks; of
    pairs, the rank to be expected if all methods were compared. NaN where a method never met one of the others.
    """
    met = wins + wins.swapaxes(-1, -2)
    off = ~np.eye(wins.shape[-1], dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        lost = np.where(off, wins.swapaxes(-1, -2) / met, 0.0)
    return 1 + lost.sum(-1)


def shares_preferred(wins: Floats) -> Floats:
    """wins [..., m, m] -> [..., m]: the share of its comparisons that each method won; NaN where it has none."""
    won, met = wins.sum(-1), wins.sum(-1) + wins.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / met


def has_maximum(wins: Floats) -> NDArray[np.bool_]:
    """wins [..., m, m] -> [...]: whether the Bradley–Terry likelihood has a finite maximum (Ford 1957).

    So it is if in each split of the methods in two groups some of either has won against some of the other: the graph
    of wins is strongly connected.
    """
    m = wins.shape[-1]
    reached = (wins > 0) | np.eye(m, dtype=bool)
    for _ in range(max(1, math.ceil(math.log2(m)))):
        reached = np.einsum("...ij,...jk->...ik", reached.astype(np.float64), reached.astype(np.float64)) > 0
    return np.asarray(reached.all((-1, -2)))


def bradley_terry(wins: Floats, prior: float | Floats = 0.0, *, tolerance: float = 1e-10, most: int = 20_000) -> Floats:
    """wins [..., m, m] -> scores [..., m], logarithms of strengths, of mean 0: P(i before j) = 1 / (1 + e^(sj - si)).

    Maximum likelihood by the MM algorithm (Hunter 2004, eq. 3). `prior` [...]: so many wins and as many losses of each
    method against one more of strength 1, which keep all scores finite. Without it `has_maximum(wins)` must hold.
    """
    m = wins.shape[-1]
    prior = np.broadcast_to(np.asarray(prior, np.float64), wins.shape[:-2])[..., None]
    won, met = wins.sum(-1) + prior, wins + wins.swapaxes(-1, -2)
    met = np.where(np.eye(m, dtype=bool), 0.0, met)
    scores = np.zeros(wins.shape[:-1])
    for _ in range(most):
        strength = np.exp(scores)
        held = (met / (strength[..., :, None] + strength[..., None, :])).sum(-1) + 2 * prior / (strength + 1)
        new = np.log(won / held)
        new -= np.where(prior > 0, 0.0, new.mean(-1, keepdims=True))  # a prior holds the mean by itself
        change = np.abs(new - scores).max(initial=0.0)
        scores = new
        if change < tolerance:
            break
    return scores - scores.mean(-1, keepdims=True)


def kendalls_w(ranks: Floats) -> float:
    """ranks [raters, objects], without ties -> 1 where all raters agree, near 0 by chance (Kendall & Babington Smith
    1939)."""
    raters, objects = ranks.shape
    spread = ((ranks.sum(0) - ranks.sum(0).mean()) ** 2).sum()
    return float(12 * spread / (raters**2 * (objects**3 - objects)))


def fleiss_kappa(counts: Floats) -> float:
    """counts [subjects, categories] of ratings -> 1 where all agree, 0 as by chance (Fleiss 1971).

    Subjects may have different numbers of ratings; those with fewer than two say nothing and are left out. NaN where
    there are none, or all ratings are of one category.
    """
    n = counts.sum(1)
    counts, n = counts[n >= 2], n[n >= 2]
    if not len(n):
        return math.nan
    agreed = ((counts * (counts - 1)).sum(1) / (n * (n - 1))).mean()
    by_chance = ((counts.sum(0) / n.sum()) ** 2).sum()
    return float((agreed - by_chance) / (1 - by_chance)) if by_chance < 1 else math.nan


def resampled(of_rater: Floats, times: int, seed: int) -> Floats:
    """Win matrices of `times` draws of as many raters with replacement: [raters, m, m] -> [times, m, m]."""
    raters = len(of_rater)
    draws = np.random.default_rng(seed).multinomial(raters, np.full(raters, 1 / raters), size=times)
    return np.einsum("br,rij->bij", draws.astype(np.float64), of_rater)


def jackknife_error(statistic: Callable[[Floats], Floats], of_rater: Floats) -> Floats:
    """Standard error of `statistic(win matrix)` over raters; of a mean over raters it is their deviation / √raters."""
    n = len(of_rater)
    if n < 2:
        return np.full(of_rater.shape[-1], math.nan)
    without = statistic(of_rater.sum(0) - of_rater)
    return np.sqrt((n - 1) / n * ((without - without.mean(0)) ** 2).sum(0))


# The report

PRIOR = 0.5
"""Wins and losses of each method that are added where the likelihood has no finite maximum."""


@dataclass(frozen=True)
class Standing:
    """What the answers say about one method. NaN: they do not say."""

    method: str
    comparisons: int
    mean_rank: float
    mean_rank_error: float
    """Standard error over raters (jackknife)."""
    score: float
    """Bradley–Terry: logarithm of the strength, mean 0."""
    score_interval: tuple[float, float]
    """95 %, bootstrap over raters; infinite where nothing bounds it."""
    share_preferred: float
    share_interval: tuple[float, float]


@dataclass(frozen=True)
class Outcome:
    """Of one set of raters."""

    raters: int
    answers: int
    standings: list[Standing]
    """The best mean rank first."""
    methods: list[str]
    wins: list[list[int]]
    """Row before column, in the order of `methods`."""
    agreement: dict[str, float]
    first_shown_preferred: float
    """Share of answers whose best was the one shown first; of chance, 1 / number shown."""
    notes: list[str]


@dataclass(frozen=True)
class RaterRow:
    rater: str
    answered: int
    of: int
    median_seconds: float
    checks: int
    failed: int
    repeats_agreed: float
    """Of the pairs in questions that were asked again, the share in the same order."""
    left_out: bool


@dataclass(frozen=True)
class Report:
    design: Design
    items: int
    protocol: str
    kept: Outcome
    """Without the raters who failed attention checks."""
    everyone: Outcome
    raters: list[RaterRow]
    settings: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """JSON; what is not known or not finite is null."""
        return json.dumps(_finite(asdict(self)), indent=1, ensure_ascii=False) + "\n"

    def to_csv(self) -> str:
        """A line for each method, of the raters kept and of all."""
        file = io.StringIO()
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["raters", "method", "comparisons", "mean_rank", "mean_rank_error", "score", "score_low", "score_high",
             "share_preferred", "share_low", "share_high"]
        )  # fmt: skip
        for which, outcome in (("kept", self.kept), ("all", self.everyone)):
            for s in outcome.standings:
                numbers = [
                    s.mean_rank, s.mean_rank_error, s.score, *s.score_interval, s.share_preferred, *s.share_interval
                ]  # fmt: skip
                table.writerow([which, s.method, s.comparisons, *(f"{number:.6g}" for number in numbers)])
        return file.getvalue()

    def to_markdown(self) -> str:
        left_out = [row for row in self.raters if row.left_out]
        parts = ["# Ranking", self.protocol, _outcome_markdown(self.kept)]
        if left_out:
            parts += [f"## With the {len(left_out)} left out", _outcome_markdown(self.everyone)]
        rows = [
            [row.rater[:8], f"{row.answered} of {row.of}", _number(row.median_seconds, 1),
             f"{row.checks - row.failed} of {row.checks}", _percent(row.repeats_agreed),
             "left out" if row.left_out else ""]
            for row in self.raters
        ]  # fmt: skip
        head = ["rater", "answered", "median s", "checks passed", "same when asked again", ""]
        return "\n\n".join([*parts, "## Raters", _table(head, rows)]) + "\n"


def report(study: Study, *, may_fail: int = 0, bootstrap: int = 1000, seed: int = 0) -> Report:
    """What the answers of a study say.

    `may_fail`: attention checks that a rater may fail before all of his answers are left out. `bootstrap`, `seed`: how
    many resamples of raters the intervals are from, and which.

    Raises:
        PinxitError: there are no answers, all raters failed, or a file of the study is damaged.
    """
    for option, number, least in (("--may-fail", may_fail, 0), ("--bootstrap", bootstrap, 100), ("--seed", seed, 0)):
        if number < least:
            raise expected(option, number, f"{least} or more", "enlarge it")
    names, answers, sheets = names_of(study), read_answers(study), read_raters(study)
    if not any(answer.kind == "question" for answer in answers):
        want = "one or more"
        raise expected(
            f"answers of study '{study.folder}'", "none", want, f"let people answer: pinxit rank serve {study.folder}"
        )
    raters = [_rater_row(study, rater, answers, may_fail) for rater in dict.fromkeys(a.rater for a in answers)]
    out = {row.rater for row in raters if row.left_out}
    kept = [answer for answer in answers if answer.rater not in out]
    if not any(answer.kind == "question" for answer in kept):
        want = "one who passed or more"
        raise expected(
            "raters who passed the attention checks", f"none of {len(raters)}", want, "raise --may-fail, or ask others"
        )
    pairs = study.design == "pairs"
    what = "forced choices between two" if pairs else f"rankings of {study.methods}"
    seen = "without time limit" if study.seconds is None else f"seen for {study.seconds:g} s"
    some = f"; one rater answers {study.per_rater} questions"
    checks = f", {len(study.checks)} attention checks, {study.repeats} repeats" if study.checks or study.repeats else ""
    protocol = (
        f"Blind {what}, {seen}: {study.methods} methods, {len(study.items)} items{some}{checks}. "
        f"{len(sheets)} raters began, {len(raters)} answered, {len(out)} left out for failing "
        f"more than {may_fail} checks. ± standard error over raters (jackknife); [95 % intervals] "
        f"from {bootstrap} resamples of raters, seed {seed}. "
        "Score: Bradley–Terry, natural logarithm of the strength, mean 0."
    )  # fmt: skip
    settings = {
        "study": study.id, "study_seed": study.seed, "may_fail": may_fail, "bootstrap": bootstrap, "seed": seed,
        "created": now(), "numpy": np.__version__, "raters_begun": len(sheets),
    }  # fmt: skip
    of_kept, of_all = (_outcome(study, names, chosen, bootstrap, seed) for chosen in (kept, answers))
    return Report(study.design, len(study.items), protocol, of_kept, of_all, raters, settings)


def _rater_row(study: Study, rater: str, answers: Sequence[Answer], may_fail: int) -> RaterRow:
    own = [answer for answer in answers if answer.rater == rater]
    checks = [answer for answer in own if answer.kind == "check"]
    failed = sum(answer.ranking[0] == BROKEN for answer in checks)
    first = {(a.item, frozenset(a.shown)): a.ranking for a in own if a.kind == "question"}
    same = [
        (a.ranking.index(i) < a.ranking.index(j)) == (earlier.index(i) < earlier.index(j))
        for a in own
        if a.kind == "repeat" and (earlier := first.get((a.item, frozenset(a.shown))))
        for i, j in combinations(a.shown, 2)
    ]
    return RaterRow(
        rater,
        len(own),
        study.per_rater + len(study.checks) + study.repeats,
        float(np.median([answer.seconds for answer in own])),
        len(checks),
        failed,
        float(np.mean(same)) if same else math.nan,
        failed > may_fail,
    )


def _outcome(study: Study, names: list[str], answers: Sequence[Answer], bootstrap: int, seed: int) -> Outcome:
    asked = [answer for answer in answers if answer.kind == "question"]
    raters = list(dict.fromkeys(answer.rater for answer in asked))
    m = study.methods
    of_rater = np.stack([win_matrix((a.ranking for a in asked if a.rater == rater), m) for rater in raters])
    wins = of_rater.sum(0)
    notes: list[str] = []
    finite = bool(has_maximum(wins))
    scores = bradley_terry(wins, 0.0 if finite else PRIOR)
    if len(raters) < 2:
        notes.append("One rater: there are no intervals and no agreement.")
        nothing = np.full((2, m), math.nan)
        intervals, shares = nothing, nothing
    else:
        draws = resampled(of_rater, bootstrap, seed)
        unbounded = ~has_maximum(draws)
        sampled = bradley_terry(draws, np.where(unbounded, PRIOR, 0.0), tolerance=1e-6)
        # Where one lost nothing, nothing bounds it from above, and the prior's score stays a bound from below.
        never_loses = (draws.sum(-2) == 0) & (draws.sum(-1) > 0)
        never_wins = (draws.sum(-1) == 0) & (draws.sum(-2) > 0)
        low = np.quantile(np.where(never_wins, -math.inf, sampled), 0.025, axis=0, method="nearest")
        high = np.quantile(np.where(never_loses, math.inf, sampled), 0.975, axis=0, method="nearest")
        intervals = np.stack([low, high])
        with warnings.catch_warnings():  # of methods that nobody was asked about
            warnings.simplefilter("ignore", RuntimeWarning)
            shares = np.nanquantile(shares_preferred(draws), [0.025, 0.975], axis=0)
        if unbounded.any():
            share = _percent(float(unbounded.mean()))
            notes.append(
                f"In {share} of the resamples the scores have no finite maximum of the likelihood; there {PRIOR:g} "
                "wins and losses of each method are added, and what never loses (or wins) has no bound above (below)."
            )
    if not finite:
        alone = [
            *(f"{names[i]} never loses" for i in range(m) if wins[:, i].sum() == 0 < wins[i].sum()),
            *(f"{names[i]} never wins" for i in range(m) if wins[i].sum() == 0 < wins[:, i].sum()),
        ]
        why = "; ".join(alone) or "some methods never lose against the others, or never met them"
        notes.append(
            f"The scores have no finite maximum of the likelihood ({why}): those shown are with {PRIOR:g} wins and "
            "losses of each method added, and how far apart they are is not known."
        )
    if np.isnan(mean_ranks(wins)).any():
        notes.append("Some methods have not met yet; where the mean rank is missing, more answers are needed.")
    places, errors, preferred = mean_ranks(wins), jackknife_error(mean_ranks, of_rater), shares_preferred(wins)
    met = wins.sum(0) + wins.sum(1)
    standings = [
        Standing(
            names[i], int(met[i]), float(places[i]), float(errors[i]), float(scores[i]),
            (float(intervals[0, i]), float(intervals[1, i])), float(preferred[i]),
            (float(shares[0, i]), float(shares[1, i])),
        )
        for i in range(m)
    ]  # fmt: skip
    order = sorted(range(m), key=lambda i: (math.isnan(places[i]), places[i], -scores[i]))
    return Outcome(
        len(raters),
        len(asked),
        [standings[i] for i in order],
        [names[i] for i in order],
        wins[np.ix_(order, order)].astype(int).tolist(),
        _agreement(study, asked),
        float(np.mean([answer.ranking[0] == answer.shown[0] for answer in asked])),
        notes,
    )


def _agreement(study: Study, asked: Sequence[Answer]) -> dict[str, float]:
    """How far raters agree.

    `agreeing`: of two raters of the same two pictures, how often they agree. `kappa`: the same beyond chance; which of
    the two is named first means nothing, so that both namings are counted and chance is one half. `kendalls_w`: of full
    rankings, the mean over items.
    """
    counts = {}
    for answer in asked:
        for i, j in combinations(sorted(answer.shown), 2):
            row = counts.setdefault((answer.item, i, j), [0, 0])
            row[answer.ranking.index(i) > answer.ranking.index(j)] += 1
    table = np.array(list(counts.values()), np.float64)
    kappa = fleiss_kappa(np.concatenate([table, table[:, ::-1]]))
    found = {"agreeing": (1 + kappa) / 2, "kappa": kappa}
    if study.design == "ranking":
        of_item: dict[int, list[tuple[int, ...]]] = {}
        for answer in asked:
            of_item.setdefault(answer.item, []).append(answer.ranking)
        of_items = [
            kendalls_w(np.argsort(rankings).astype(np.float64) + 1) for rankings in of_item.values() if rankings[1:]
        ]
        found["kendalls_w"] = float(np.mean(of_items)) if of_items else math.nan
    return found


def _outcome_markdown(outcome: Outcome) -> str:
    rows = [
        [
            s.method,
            f"{_number(s.mean_rank)} ± {_number(s.mean_rank_error)}",
            _number(s.score) + _interval(s.score_interval),
            _percent(s.share_preferred) + _interval(s.share_interval, _percent),
            str(s.comparisons),
        ]
        for s in outcome.standings
    ]
    wins = [[name, *map(str, row)] for name, row in zip(outcome.methods, outcome.wins, strict=True)]
    a = outcome.agreement
    kappa = f"Fleiss' kappa {_number(a['kappa'])}"
    agreement = f"Raters agree on {_percent(a['agreeing'])} of the pairs that two have seen ({kappa})"
    if "kendalls_w" in a:
        agreement += f"; Kendall's W of an item's rankings is {_number(a['kendalls_w'])} on average"
    first = f"The picture shown first was preferred in {_percent(outcome.first_shown_preferred)} of the questions."
    return "\n\n".join(
        [
            f"{outcome.answers} answers of {outcome.raters} raters.",
            _table(["method", "mean rank", "score", "preferred", "comparisons"], rows),
            "Row before column:",
            _table(["", *outcome.methods], wins),
            f"{agreement}. {first}",
            *outcome.notes,
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: float, digits: int = 2) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.{digits}f}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"


def _interval(bounds: tuple[float, float], shown: Callable[[float], str] = _number) -> str:
    return "" if any(math.isnan(bound) for bound in bounds) else f" [{shown(bounds[0])}, {shown(bounds[1])}]"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
