"""Papers' tables: the published numbers, and rows of one's own beside them."""

from __future__ import annotations

import csv
import io
import json

import pytest

from pinxit.evaluation.tables import FCN_SCORE, FORMS, SINGAN_SIFID, SPADE_TABLE_1, Row, Table

OURS = Row("mine", {"Cityscapes": (50.0, 80.04, None), "CamVid": (10.0, 20.0, 30.0)}, "measured so", here=True)


def published(method: str) -> Row:
    return next(row for row in SPADE_TABLE_1.published if row.method == method)


def test_the_numbers_that_the_issue_and_the_reevaluations_name() -> None:
    """Of COCO-Stuff FID, mIoU and accuracy, as anyone quotes them."""
    for method, fid, miou, accuracy in (
        ("CRN", 70.4, 23.7, 40.4),
        ("pix2pixHD", 111.5, 14.6, 45.8),
        ("SPADE", 22.6, 37.4, 67.9),
    ):
        assert published(method).values["COCO-Stuff"] == (miou, accuracy, fid)
    assert "COCO-Stuff" not in published("SIMS").values
    assert published("SPADE").values["Cityscapes"] == (62.3, 81.9, 71.8)
    assert published("SPADE").values["ADE20K"] == (38.5, 79.9, 33.9)


@pytest.mark.parametrize("name", FORMS)
def test_every_row_has_a_source_and_a_number_for_each_column(name: str) -> None:
    form = FORMS[name]
    assert len(form.places) == len(form.columns)
    assert form.protocol
    for row in form.published:
        assert row.source
        assert not row.here
        for values in row.values.values():
            assert len(values) == len(form.columns)
            assert any(value is not None for value in values)


def test_markdown_has_the_papers_form_with_ones_own_row_last() -> None:
    table = Table(SPADE_TABLE_1, (OURS,))
    lines = table.markdown().splitlines()
    head = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert head[:4] == ["method", "COCO-Stuff mIoU ↑", "COCO-Stuff accu ↑", "COCO-Stuff FID ↓"]
    assert head[-3:] == ["CamVid mIoU ↑", "CamVid accu ↑", "CamVid FID ↓"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[-1] == ["**mine**", *["–"] * 9, "50.0", "80.0", "–", "10.0", "20.0", "30.0"]
    spade = next(row for row in rows if row[0] == "SPADE")
    assert spade[1:4] == ["37.4", "67.9", "22.6"]
    assert "- mine: measured so" in lines
    assert any(line.startswith("- published rows: segmenters: DeepLabV2") for line in lines)


def test_a_terminal_is_shown_what_was_measured() -> None:
    here = Row("mine", {"Cityscapes": (50.0, 80.04, None)}, "measured so", here=True)
    text = Table(SPADE_TABLE_1, (here,)).text()
    assert "Cityscapes" in text
    assert "ADE20K" not in text
    assert "* mine" in text
    assert "  SPADE " in text
    assert max(map(len, text.splitlines())) < 100
    # A data set that the paper does not have is shown first, and the paper's follow.
    blocks = [line.split()[0] for line in Table(SPADE_TABLE_1, (OURS,)).text().splitlines() if "mIoU" in line]
    assert blocks == ["CamVid", "COCO-Stuff", "ADE20K", "ADE20K-outdoor", "Cityscapes"]
    assert "ADE20K" in Table(SPADE_TABLE_1, ()).text()


def test_csv_and_json_say_what_is_published_and_what_is_not() -> None:
    table = Table(SPADE_TABLE_1, (OURS,))
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    mine = [row for row in rows if row["measured"] == "here"]
    assert [(row["data"], row["mIoU ↑"], row["FID ↓"]) for row in mine] == [
        ("Cityscapes", "50.0", ""),
        ("CamVid", "10.0", "30.0"),
    ]
    assert all(row["source"] for row in rows)
    found = json.loads(json.dumps(table.json()))
    assert [row["method"] for row in found["rows"] if row["measured here"]] == ["mine"]


def test_fcn_and_sifid() -> None:
    cyclegan = next(row for row in FCN_SCORE.published if row.method == "CycleGAN")
    assert cyclegan.values == {"labels to photo": (0.52, 0.17, 0.11), "photo to labels": (0.58, 0.22, 0.16)}
    assert [values[0] for values in SINGAN_SIFID.published[0].values.values()] == [0.09, 0.05]
