"""Blind studies: what is in their folder, how balanced their questions are, and what is kept of answers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError
from pinxit.evaluation import ranking
from pinxit.evaluation.ranking import BROKEN, Intake, Question, Study, make, names_of, read, read_answers, read_raters

Make = Callable[..., Study]


@pytest.fixture
def new(tmp_path: Path) -> Make:
    """`new(methods=3, items=4, …)`: a study of small pictures of one colour each."""

    def made(methods: int = 3, pictures: int = 4, **options: Any) -> Study:
        folders = {}
        for m in range(methods):
            folder = folders[f"secret{m}"] = tmp_path / f"secret{m}"
            folder.mkdir(exist_ok=True)
            for i in range(pictures):
                Image.new("RGB", (16, 12), (40 * m + 20, 10 * i, 99)).save(folder / f"{i:03d}.png")
        return make(tmp_path / "study", folders, **options)

    return made


def pair(question: Question) -> tuple[int, ...]:
    return tuple(sorted(question.shown))


@pytest.mark.parametrize(("methods", "pictures", "per_rater"), [(2, 5, 3), (3, 4, 6), (4, 7, 10), (5, 3, 30)])
def test_pairs_are_balanced_over_questions_sides_and_raters(
    new: Make, methods: int, pictures: int, per_rater: int
) -> None:
    study = new(methods, pictures, per_rater=per_rater, seed=5)
    every = list(combinations(range(methods), 2))
    circle = study.circle
    assert sorted((q.item, *pair(q)) for q in circle) == sorted((i, *p) for i in range(pictures) for p in every)
    asked: Counter[tuple[int, tuple[int, ...]]] = Counter()
    left: Counter[tuple[int, ...]] = Counter()
    for number in range(2 * len(circle)):  # so many that all questions have come up equally often, from both sides
        sheet = study.sheet(number)
        of_pair = Counter(map(pair, sheet))
        assert len(sheet) == per_rater
        assert max(of_pair[p] for p in every) - min(of_pair[p] for p in every) <= 1
        assert len({(q.item, pair(q)) for q in sheet}) == per_rater, "no question twice"
        asked.update((q.item, pair(q)) for q in sheet)
        left.update((q.item, *q.shown) for q in sheet)
        assert max(asked.values()) - (min(asked.values()) if len(asked) == len(circle) else 0) <= 1
    assert set(asked.values()) == {2 * per_rater}
    assert set(left.values()) == {per_rater}
    assert len(left) == 2 * len(circle)


def test_within_a_sheet_sides_of_each_pair_are_balanced(new: Make) -> None:
    study = new(3, 8)
    sides = Counter(q.shown for q in study.sheet(0))
    assert {sides[p] for p in sides} == {4}
    assert len(sides) == 6


def test_rankings_put_each_method_at_each_place_equally_often(new: Make) -> None:
    study = new(4, 8, design="ranking")
    places = Counter((method, place) for q in study.sheet(0) for place, method in enumerate(q.shown))
    assert len(places) == 16
    assert set(places.values()) == {2}
    assert study.sheet(0) != study.sheet(1)
    assert {q.item for q in study.sheet(1)} == set(range(8))


def test_the_seed_decides_and_raters_have_orders_of_their_own(new: Make, tmp_path: Path) -> None:
    study = new(3, 6, seed=1)
    sheets = [study.sheet(0), study.sheet(1), study.sheet(2)]
    assert read(study.folder).sheet(1) == sheets[1]
    assert sheets[0] != sheets[2]
    assert sorted(map(repr, sheets[0])) == sorted(map(repr, sheets[2]))  # two laps on the sides are the same
    # Held to what it was when the format was made: a rater who comes back must find the same questions.
    first = Study(tmp_path, "0" * 16, "pairs", 3, 7, 3, 0, (ranking.Item(("a", "b", "c")),) * 2, ())
    assert [(q.item, q.shown) for q in first.sheet(0)] == [(1, (1, 0)), (0, (1, 2)), (1, (0, 2))]


def test_checks_and_repeats(new: Make) -> None:
    study = new(3, 5, checks=3, repeats=4, per_rater=6)
    for number in range(6):
        sheet = study.sheet(number)
        kinds = Counter(q.kind for q in sheet)
        assert kinds == {"question": 6, "check": 3, "repeat": 4}
        for place, question in enumerate(sheet):
            if question.kind == "repeat":
                mirrored = Question("question", question.item, question.shown[::-1])
                assert mirrored in sheet[:place]
            assert (BROKEN in question.shown) == (question.kind == "check")
    sides = Counter(q.shown.index(BROKEN) for n in range(2) for q in study.sheet(n) if q.kind == "check")
    assert sides[0] == sides[1] == 3


def test_a_broken_copy_is_seen_at_once_even_of_one_colour(new: Make) -> None:
    study = new(2, 2, checks=2)
    for check in study.checks:
        paths = study.picture(study.items[check.item].pictures[check.method]), study.picture(check.broken)
        good, broken = (np.asarray(Image.open(path), np.float64) for path in paths if path)
        assert good.std() < 60
        assert np.abs(np.diff(broken[..., 0], axis=1)).mean() > 20 > np.abs(np.diff(good[..., 0], axis=1)).mean()


def test_the_folder_keeps_names_in_the_key_alone(new: Make, tmp_path: Path) -> None:
    new(2, 1)
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "made by secret0")
    Image.new("RGB", (16, 12), "red").save(tmp_path / "secret0" / "000.png", pnginfo=told)
    study = make(tmp_path / "two", {"secret0": tmp_path / "secret0", "secret1": tmp_path / "secret1"}, checks=1)
    for path in study.folder.rglob("*"):
        assert path.is_dir() or (b"secret" in path.read_bytes()) == (path.name == "key.json"), path
        assert "secret" not in path.name
    assert sorted(names_of(study)) == ["secret0", "secret1"]
    red = names_of(study).index("secret0")
    picture = study.picture(study.items[0].pictures[red])
    assert picture is not None
    assert Image.open(picture).getpixel((0, 0)) == (255, 0, 0)
    orders = {tuple(names_of(new_one(tmp_path, seed))) for seed in range(8)}
    assert len(orders) == 2, "who is A hangs on the seed"


def new_one(tmp_path: Path, seed: int) -> Study:
    folders = {name: tmp_path / name for name in ("secret0", "secret1")}
    return make(tmp_path / f"seed{seed}", folders, seed=seed)


def test_inputs_are_shown_as_pictures_maps_or_captions(new: Make, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    for i in range(4):
        Image.fromarray(np.array([[0, 1]], np.uint8)).save(maps / f"{i:03d}.png")
    labels = LabelSet.from_json(
        {"name": "two", "labels": [{"id": n, "name": f"l{n}", "color": [9, 8, 200 + n]} for n in range(2)]}
    )
    study = new(inputs=maps, label_set=labels)
    id = study.items[0].condition
    assert id is not None
    path = study.picture(id)
    assert path is not None
    assert np.asarray(Image.open(path)).tolist() == [[[9, 8, 200], [9, 8, 201]]]

    (tmp_path / "captions.txt").write_text("one\ntwo\n\nthree\nfour\n", encoding="utf-8")
    by_order = make(tmp_path / "b", folders_of(tmp_path), inputs=tmp_path / "captions.txt")
    assert [item.caption for item in by_order.items] == ["one", "two", "three", "four"]
    (tmp_path / "named.txt").write_text("003\td\n002\tc\n001\tb\n000\ta\n", encoding="utf-8")
    by_name = make(tmp_path / "c", folders_of(tmp_path), inputs=tmp_path / "named.txt", items=2)
    assert len(by_name.items) == 2
    names = json.loads((tmp_path / "c" / "key.json").read_text(encoding="utf-8"))["items"]
    assert [item.caption for item in by_name.items] == ["abcd"[int(name)] for name in names]


def folders_of(tmp_path: Path) -> dict[str, Path]:
    return {name: tmp_path / name for name in ("secret0", "secret1", "secret2")}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"checks": 5}, "--checks is 5, expected 0..4"),
        ({"checks": -1}, "--checks is -1, expected 0 or more"),
        ({"repeats": 13}, "--repeats is 13, expected 0..12"),
        ({"per_rater": 13}, "--questions-per-rater is 13, expected 1..12"),
        ({"per_rater": 0}, "--questions-per-rater is 0, expected 1..12"),
        ({"items": 5}, "--items is 5, expected 1..4"),
        ({"seconds": 0.0}, "--seconds is 0, expected more than 0"),
        ({"seed": -1}, "--seed is -1"),
        ({"methods": 1}, "number of methods is 1, expected 2..9"),
        ({"pictures": 0}, "without pictures, expected one or more"),
        ({"inputs": Path("missing")}, "--inputs 'missing' is missing"),
        ({"inputs": Path("missing.txt")}, "--inputs 'missing.txt' is not readable"),
    ],
)
def test_a_study_that_cannot_be(new: Make, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(PinxitError) as caught:
        new(**options)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "study").exists()
    assert not list(tmp_path.glob(".study*"))


def test_folders_of_different_names_and_what_is_there_already(new: Make, tmp_path: Path) -> None:
    study = new()
    with pytest.raises(PinxitError, match="is there already, expected a new folder"):
        new()
    assert read(study.folder) == study
    (tmp_path / "secret1" / "002.png").rename(tmp_path / "secret1" / "other.png")
    with pytest.raises(PinxitError, match=r"secret1' is without '002' of '.*secret0', expected pictures of the same"):
        make(tmp_path / "b", folders_of(tmp_path))
    (tmp_path / "secret1" / "other.png").rename(tmp_path / "secret1" / "002.png")
    (tmp_path / "few.txt").write_text("one\n", encoding="utf-8")
    with pytest.raises(PinxitError, match="is 1 captions, expected 4"):
        make(tmp_path / "b", folders_of(tmp_path), inputs=tmp_path / "few.txt")
    (tmp_path / "secret2" / "001.png").write_bytes(b"no picture")
    with pytest.raises(PinxitError, match=r"001\.png"):
        make(tmp_path / "b", folders_of(tmp_path))
    assert not list(tmp_path.glob(".b*"))
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c.update(items=[], checks=[]), "is empty, expected one question or more"),
        (lambda c: c.update(format=2), "of another form"),
        (lambda c: c.pop("seed"), "of another form"),
        (lambda c: c["items"][0].update(pictures=["../../etc/passwd"] * 3), "of another form"),
        (lambda c: c["items"][0].update(pictures=[]), "of another form"),
    ],
)
def test_a_study_json_that_is_none(new: Make, change: Callable[[Any], Any], told: str) -> None:
    path = new().folder / "study.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(PinxitError, match=told):
        read(path.parent)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(PinxitError, match="damaged"):
        read(path.parent)
    path.unlink()
    with pytest.raises(PinxitError, match=r"without study\.json"):
        read(path.parent)


def test_answers_are_kept_and_the_last_of_a_question_counts(new: Make) -> None:
    study = new(3, 2, checks=1)
    intake = Intake(study)
    first, second = intake.join(), intake.join()
    assert first in intake
    assert "nobody" not in intake
    sheet = intake.sheet(first)
    assert intake.sheet(second) == study.sheet(1)
    for place in range(len(sheet)):
        intake.add(first, place, [0, 1], 1.23456)
    intake.add(first, 2, [1, 0], 9)
    again = Intake(read(study.folder))
    assert read_raters(study) == {first: 0, second: 1}
    assert again.given(first) == intake.given(first) == {p: [1, 0] if p == 2 else [0, 1] for p in range(len(sheet))}
    assert again.given(second) == {}
    assert again.sheet(again.join()) == study.sheet(2)
    answers = read_answers(study)
    assert len(answers) == len(sheet)
    for answer in answers:
        question = sheet[answer.place]
        assert (answer.kind, answer.item, answer.shown) == (question.kind, question.item, question.shown)
        assert answer.ranking == (question.shown[::-1] if answer.place == 2 else question.shown)
    assert {answer.seconds for answer in answers} == {1.235, 9}
    lines = (study.folder / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(sheet) + 1, "nothing is ever removed"


@pytest.mark.parametrize(("place", "order"), [(99, [0, 1]), (-1, [0, 1]), (0, [0, 0]), (0, [0]), (0, [0, 1, 2])])
def test_answers_to_nothing_are_refused(new: Make, place: int, order: list[int]) -> None:
    intake = Intake(new())
    rater = intake.join()
    with pytest.raises(PinxitError, match="load the page anew"):
        intake.add(rater, place, order, 1)
    assert not (intake.study.folder / "answers.jsonl").exists()


def test_one_rater_cannot_fill_the_disk(new: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    intake = Intake(new(2, 1))
    rater = intake.join()
    for _ in range(ranking.MOST_LINES):
        intake.add(rater, 0, [0, 1], 1)
    with pytest.raises(PinxitError, match="number of answers is 20"):
        intake.add(rater, 0, [0, 1], 1)
    monkeypatch.setattr(ranking, "MOST_RATERS", 2)
    intake.join()
    with pytest.raises(PinxitError, match="number of raters is 2"):
        intake.join()


GOOD = {"rater": "r", "place": 0, "kind": "question", "item": 0, "shown": ["A", "B"], "ranking": ["B", "A"]}
GOOD |= {"seconds": 1.0, "at": "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"rater": "r", "pla',
        "\xff",
        *(
            json.dumps({**GOOD, **change})
            for change in (
                *({"item": 99}, {"item": -1}, {"kind": "guess"}, {"ranking": ["A", "C"]}, {"shown": ["A", "Z"]}),
                *({"shown": ["A", "A"], "ranking": ["A", "A"]}, {"seconds": "soon"}, {"seconds": float("nan")}),
                {"kind": "check"},
            )
        ),
        json.dumps({name: value for name, value in GOOD.items() if name != "place"}),
    ],
)
def test_a_broken_line_is_told_by_its_number(new: Make, line: str) -> None:
    study = new()
    path = study.folder / "answers.jsonl"
    path.write_bytes(f"{json.dumps(GOOD)}\n\n".encode() + line.encode("latin-1") + b"\n")
    for read_them in (read_answers, Intake):
        with pytest.raises(PinxitError, match=r"line 3 of '.*answers.jsonl' is"):
            read_them(study)
    path.write_text(json.dumps(GOOD) + "\n", encoding="utf-8")
    assert [answer.ranking for answer in read_answers(study)] == [(1, 0)]
