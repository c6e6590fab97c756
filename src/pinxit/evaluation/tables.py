"""Tables in the form of the papers: published numbers, where they are from, and beside them what was measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinxit.evaluation.results import csv_table, markdown_table


@dataclass(frozen=True)
class Row:
    """A method's numbers, by group and column; what it was not measured on it lacks."""

    method: str
    values: Mapping[str, tuple[float | None, ...]]
    """Group -> a number for each of the table's columns."""
    source: str
    """Where the numbers are from: a paper's table, or the protocol they were measured by."""
    here: bool = False
    """Whether they were measured here."""


@dataclass(frozen=True)
class Form:
    """A table of a paper."""

    title: str
    columns: tuple[str, ...]
    """Of each group, as the paper calls them, with the arrow of what is better."""
    places: tuple[int, ...]
    """Decimal places of each column."""
    published: tuple[Row, ...]
    protocol: str
    """How the published numbers were measured, as far as it is known."""

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(group for row in self.published for group in row.values))


# Not found in a public page that this project could read: quoted from memory of the paper, to be looked up there.
_UNCHECKED = "; quoted from memory, look it up before you cite it"
_SPADE = "Park et al. 2019 (SPADE, arXiv 1903.07291), table 1"

_FOR_SPADE = (
    "the rows of COCO-Stuff and Cityscapes, and SPADE's of ADE20K, are checked; the others are" + _UNCHECKED[1:]
)

SPADE_TABLE_1 = Form(
    title="SPADE, table 1: semantic image synthesis",
    columns=("mIoU ↑", "accu ↑", "FID ↓"),
    places=(1, 1, 1),
    published=(
        Row(
            "CRN",
            {
                "COCO-Stuff": (23.7, 40.4, 70.4),
                "ADE20K": (22.4, 68.8, 73.3),
                "ADE20K-outdoor": (16.5, 68.6, 99.0),
                "Cityscapes": (52.4, 77.1, 104.7),
            },
            f"{_SPADE}; {_FOR_SPADE}",
        ),
        Row(
            "SIMS",
            {"ADE20K-outdoor": (13.1, 74.7, 67.7), "Cityscapes": (47.2, 75.5, 49.7)},
            f"{_SPADE}; {_FOR_SPADE}",
        ),
        Row(
            "pix2pixHD",
            {
                "COCO-Stuff": (14.6, 45.8, 111.5),
                "ADE20K": (20.3, 69.2, 81.8),
                "ADE20K-outdoor": (17.4, 71.6, 97.8),
                "Cityscapes": (58.3, 81.4, 95.0),
            },
            f"{_SPADE}; {_FOR_SPADE}",
        ),
        Row(
            "SPADE",
            {
                "COCO-Stuff": (37.4, 67.9, 22.6),
                "ADE20K": (38.5, 79.9, 33.9),
                "ADE20K-outdoor": (30.8, 82.9, 63.3),
                "Cityscapes": (62.3, 81.9, 71.8),
            },
            f"{_SPADE}; {_FOR_SPADE}",
        ),
        Row(
            "SPADE, released weights measured by others",
            {"ADE20K": (42.0, 81.4, None), "Cityscapes": (62.2, 93.5, 63.4)},
            "NVlabs/SPADE issue 100 (Cityscapes) and Seanseattle/SMIS issue 6 (ADE20K), on GitHub: void ignored",
        ),
    ),
    protocol=(
        "segmenters: DeepLabV2 (COCO-Stuff), UperNet101 (ADE20K), DRN-D-105 (Cityscapes); FID by pytorch-fid; pictures "
        "of 256x256, Cityscapes 512x256. The authors released no code for it: what they did with void pixels and what "
        "size the real photos had is not known, and others got other numbers from the same weights"
    ),
)

_PIX2PIX = "Isola et al. 2017 (pix2pix, arXiv 1611.07004), table 1"
_CYCLEGAN = "Zhu et al. 2017 (CycleGAN, arXiv 1703.10593), tables 2 and 3"
_LABELS_TO_PHOTO, _PHOTO_TO_LABELS = "labels to photo", "photo to labels"

FCN_SCORE = Form(
    title="FCN-score on Cityscapes",
    columns=("per-pixel acc. ↑", "per-class acc. ↑", "class IoU ↑"),
    places=(2, 2, 2),
    published=(
        Row("L1", {_LABELS_TO_PHOTO: (0.42, 0.15, 0.11)}, _PIX2PIX),
        Row("GAN", {_LABELS_TO_PHOTO: (0.22, 0.05, 0.01)}, _PIX2PIX),
        Row("cGAN", {_LABELS_TO_PHOTO: (0.57, 0.22, 0.16)}, _PIX2PIX),
        Row("L1 + GAN", {_LABELS_TO_PHOTO: (0.64, 0.20, 0.15)}, _PIX2PIX),
        Row("L1 + cGAN (pix2pix)", {_LABELS_TO_PHOTO: (0.66, 0.23, 0.17)}, _PIX2PIX),
        Row("real photos", {_LABELS_TO_PHOTO: (0.80, 0.26, 0.21)}, _PIX2PIX),
        Row("CoGAN", {_LABELS_TO_PHOTO: (0.40, 0.10, 0.06)}, _CYCLEGAN),
        Row("BiGAN/ALI", {_LABELS_TO_PHOTO: (0.19, 0.06, 0.02)}, _CYCLEGAN),
        Row("SimGAN", {_LABELS_TO_PHOTO: (0.20, 0.10, 0.04)}, _CYCLEGAN),
        Row(
            "CycleGAN",
            {_LABELS_TO_PHOTO: (0.52, 0.17, 0.11), _PHOTO_TO_LABELS: (0.58, 0.22, 0.16)},
            _CYCLEGAN,
        ),
        Row(
            "pix2pix, as CycleGAN's paper has it",
            {_LABELS_TO_PHOTO: (0.71, 0.25, 0.18), _PHOTO_TO_LABELS: (0.85, 0.40, 0.32)},
            _CYCLEGAN,
        ),
    ),
    protocol=(
        "labels to photo: the authors' FCN-8s, trained on 256x256 pictures of Cityscapes; photo to labels: the label "
        "of the nearest colour. With another segmenter numbers rank models that were scored alike, and compare with "
        "none of the published ones"
    ),
)

_FROM_N, _FROM_NEXT = "from the coarsest scale (N)", "from the next (N-1)"

SINGAN_SIFID = Form(
    title="SinGAN, table 1: SIFID of samples of one photo",
    columns=("64 channels ↓", "192 channels ↓"),
    places=(3, 3),
    published=(
        Row(
            "SinGAN, mean over 50 photos of Places",
            {_FROM_N: (0.09, None), _FROM_NEXT: (0.05, None)},
            "Rott Shaham et al. 2019 (SinGAN), table 1; users got both again (github.com/tamarott/SinGAN issue 87)",
        ),
    ),
    protocol=(
        "the paper says features before the second pooling (192 channels), the authors' code takes those before the "
        "first (64) unless told otherwise (github.com/tamarott/SinGAN issue 155); torchvision's Inception v3. SIFID "
        "hangs on the photo: compare models of one photo, or means over the same photos"
    ),
)

FORMS: dict[str, Form] = {"spade-table1": SPADE_TABLE_1, "fcn-score": FCN_SCORE, "singan-sifid": SINGAN_SIFID}

DATASETS = {"coco_stuff": "COCO-Stuff", "ade20k": "ADE20K", "cityscapes": "Cityscapes", "camvid": "CamVid"}
"""Label set -> what the papers call its data set."""


@dataclass(frozen=True)
class Table:
    """A paper's form, filled: published rows first, then those measured here."""

    form: Form
    measured: tuple[Row, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        return (*self.form.published, *self.measured)

    @property
    def groups(self) -> tuple[str, ...]:
        """Those of the paper, then others that were measured here."""
        return tuple(dict.fromkeys([*self.form.groups, *(group for row in self.measured for group in row.values)]))

    def text(self) -> str:
        """For a terminal: a block for each group that was measured here; for all where one of them is none of the
        paper's, so that the paper's numbers are seen at all."""
        there = [group for group in self.groups if any(group in row.values for row in self.measured)]
        if not set(there) <= set(self.form.groups):
            there = [*(group for group in there if group not in self.form.groups), *self.form.groups]
        width = max(len(row.method) for row in self.rows) + 2
        lines = [self.form.title]
        for group in there or self.groups:
            head = "".join(f"{column:>18}" if len(column) > 8 else f"{column:>9}" for column in self.form.columns)
            lines += ["", f"{group:{width + 2}}{head}"]
            for row in self.rows:
                if group in row.values:
                    cells = "".join(
                        f"{cell:>18}" if len(column) > 8 else f"{cell:>9}"
                        for cell, column in zip(self._cells(row, group), self.form.columns, strict=True)
                    )
                    lines.append(f"{'* ' if row.here else '  '}{row.method:{width}}{cells}")
        return "\n".join([*lines, "", "* measured here; all others as published (sources: table.md)", ""])

    def markdown(self) -> str:
        """The table in the paper's form, all groups beside each other, with sources and protocols below."""
        head = ["method", *(f"{group} {column}" for group in self.groups for column in self.form.columns)]
        rows = [
            [f"**{row.method}**" if row.here else row.method, *(c for g in self.groups for c in self._cells(row, g))]
            for row in self.rows
        ]
        sources: dict[str, list[str]] = {}
        for row in self.rows:
            sources.setdefault(row.source, []).append(row.method)
        notes = [f"- {', '.join(methods)}: {source}" for source, methods in sources.items()]
        published = f"- published rows: {self.form.protocol}"
        return "\n".join([f"# {self.form.title}", "", *markdown_table(head, rows), "", published, *notes, ""])

    def csv(self) -> str:
        """A line for each method and group."""
        rows = [
            (
                row.method,
                group,
                *("" if v is None else v for v in values),
                "here" if row.here else "published",
                row.source,
            )
            for row in self.rows
            for group, values in row.values.items()
        ]
        return csv_table(("method", "data", *self.form.columns, "measured", "source"), rows)

    def json(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "title": self.form.title,
            "columns": list(self.form.columns),
            "protocol of published rows": self.form.protocol,
            "rows": [
                {"method": r.method, "values": dict(r.values), "source": r.source, "measured here": r.here}
                for r in self.rows
            ],
        }

    def _cells(self, row: Row, group: str) -> Sequence[str]:
        values = row.values.get(group, (None,) * len(self.form.columns))
        return [
            "–" if value is None else f"{value:.{places}f}"
            for value, places in zip(values, self.form.places, strict=True)
        ]
