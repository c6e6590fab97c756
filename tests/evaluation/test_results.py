"""Scores and the files that they are kept in."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest

from pinxit.errors import PinxitError
from pinxit.evaluation.results import FORMAT, Result, Score, finite, markdown_table, number, read

FID = Score("FID", 57.25, "lower", "one | protocol", details={"weights": {"Inception": "ab" * 32}})
KID = Score("KID", 0.0123456, "lower", "another", 0.001)
SETS = {
    "pictures": {"name": "painted", "count": 3, "sizes": {"64x48": 2, "32x32": 1}, "digest": "cd" * 32},
    "real": {"name": "photos", "count": 3, "sizes": {"64x48": 3}, "digest": "ef" * 32},
}
RESULT = Result(
    "demo", (FID, KID), SETS, 7, {"name": "demo", "method": "spade", "digest": "12" * 32}, "pinxit evaluate"
)


def test_a_result_file_holds_all_that_it_takes_to_measure_again(tmp_path: Path) -> None:
    files = RESULT.save(tmp_path / "out")
    assert [file.name for file in files] == ["results.json", "results.md", "results.csv"]
    found = read(tmp_path / "out")
    assert found == read(tmp_path / "out" / "results.json")
    assert found["format"] == FORMAT
    assert found["subject"] == "demo"
    assert [(s["name"], s["value"], s["spread"], s["better"], s["protocol"]) for s in found["scores"]] == [
        ("FID", 57.25, None, "lower", "one | protocol"),
        ("KID", 0.0123456, 0.001, "lower", "another"),
    ]
    assert found["sets"] == SETS
    assert found["weights"] == {"Inception": "ab" * 32}
    assert (found["seed"], found["command"], found["model"]["digest"]) == (7, "pinxit evaluate", "12" * 32)
    assert {"pinxit", "torch", "numpy", "python"} == set(found["versions"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["date"])


def test_markdown_and_csv_say_the_same() -> None:
    text = RESULT.markdown()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[2:] == [["FID", "57.25", "lower", "[1]"], ["KID", "0.01235 ± 0.001000", "lower", "[2]"]]
    for said in ("[1] one | protocol", "3 of 64x48, 32x32: painted", "ab" * 32, "seed: 7", "torch"):
        assert said in text
    rows = list(csv.reader(io.StringIO(RESULT.csv())))
    assert rows == [
        ["score", "value", "spread", "better", "protocol"],
        ["FID", "57.25", "", "lower", "one | protocol"],
        ["KID", "0.0123456", "0.001", "lower", "another"],
    ]


def test_numbers_that_json_lacks_are_strings(tmp_path: Path) -> None:
    values = {"a": float("inf"), "b": [float("-inf"), 1.5], "c": float("nan"), "d": None}
    assert finite(values) == {"a": "inf", "b": ["-inf", 1.5], "c": "nan", "d": None}
    Result("x", (Score("PSNR", float("inf"), "higher", "equal"),), {}).save(tmp_path)
    assert json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["scores"][0]["value"] == "inf"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (57.2549, "57.25"),
        (999.96, "1000.0"),
        (0.00123456, "0.001235"),
        (123456.0, "123456"),
        (1234567.0, "1.235e+06"),
        (12345.6, "12346"),
        (-3.14159, "-3.142"),
        (1e-9, "1.000e-09"),
        (float("inf"), "inf"),
    ],
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_which_is_better() -> None:
    assert [FID.beats(other) for other in (58, 57.25, 56)] == [True, False, False]
    assert Score("SSIM", 0.5, "higher", "").beats(0.4)


def test_a_table_escapes_what_would_break_it() -> None:
    lines = markdown_table(("a", "b"), [("x|y", 1), ("z", 22)])
    assert lines == ["| a    | b  |", "|------|----|", "| x\\|y | 1  |", "| z    | 22 |"]


@pytest.mark.parametrize("content", ["", "[1]", '{"format": "something else"}'])
def test_what_is_no_result_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content, encoding="utf-8")
    with pytest.raises(PinxitError, match=r"^results '.*' is .*, expected .*; .*$"):
        read(tmp_path)
    with pytest.raises(PinxitError, match="unreadable"):
        read(tmp_path / "none")
