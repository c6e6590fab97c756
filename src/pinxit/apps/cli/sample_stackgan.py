"""`pinxit sample MODEL SENTENCE`, of StackGAN and the others that paint sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from pinxit.apps.cli import figure, pictures, sentences, singan
from pinxit.errors import expected

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from pinxit.evaluation.neighbours import Neighbour

IN_ROW, ON_SHEET = 8, 64
"""Pictures of a sentence in a row of the sheet, and most rows."""
NEAREST = 3
"""Training pictures beside each sample, by each measure."""
AT_ONCE = 256
"""Training pictures that are compared together."""


@dataclass(frozen=True)
class Sample:
    """Pictures of a sentence: "a small yellow bird with black wings". A seed has the same noise for every sentence, so
    that they compare."""

    model: sentences.ModelPath
    sentence: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SENTENCE")] = ()
    """What is to be seen, in quotes. "a {red,yellow,green} pepper" stands for three sentences, side by side."""
    sentences: Path | None = None
    """Text file with a sentence a line, in SENTENCE's place: a row of pictures for each."""
    out: Path = Path("samples")
    """Folder for the pictures, named after the model, and for a sheet of them, sheet.png; or a file for one picture."""
    n: int = 8
    """How many pictures of each sentence; each has a seed of its own, --seed and those that follow."""
    edits: Annotated[tuple[str, ...], tyro.conf.arg(metavar="OLD->NEW ...")] = ()
    """Words to replace, each "red->yellow" for one more sentence, with the same noise, side by side."""
    stage: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: the last)")] = None
    """Which stage's pictures, 1 or 2."""
    stages: bool = False
    """Both stages' pictures of the same noise, Stage-I's above Stage-II's."""
    nearest: Annotated[Path | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: no)")] = None
    """Captioned data set: beside each picture those of its photos that come nearest, to see whether the model repeats
    what it was trained on."""
    split: str = "train"
    """Split of --nearest."""
    box: sentences.Box = None
    points: sentences.Points = ()
    seed: singan.Seed = 0
    text_encoder: sentences.TextEncoder = None
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    with singan.told_as_options():
        print(sample(tyro.cli(Sample, args=arguments, prog="pinxit sample", config=pictures.STYLE)))


def sample(o: Sample) -> str:
    """Write the pictures one by one, then the sheet."""
    singan.require_seed(o.seed)
    if o.n < 1:
        raise expected("--n", o.n, "1 or more", "enlarge it, or leave it out")
    if o.stages and o.stage is not None:
        raise expected("--stages", "given with --stage", "one of the two", "--stage is for one stage alone")
    if o.stages and o.nearest is not None:
        raise expected("--stages", "given with --nearest", "one of the two", "sample twice")
    said = sentences.asked(o.sentence, o.sentences, o.edits)
    name = singan.name_of(o.model)
    several = f"{name}_{{:0{len(str(len(said) - 1))}d}}" if len(said) > 1 else name
    kinds = ("_stage1", "_stage2") if o.stages else ("",)
    names = [f"{several.format(s)}_{i:03d}{kind}" for s in range(len(said)) for i in range(o.n) for kind in kinds]
    outputs = singan.outputs_in(o.out, names)
    model = sentences.open_model("sample", o.model, o.device, o.text_encoder)
    if o.stages and not hasattr(model, "stages"):
        got = f"of {model.file.method}, which has one stage"
        raise expected(f"model '{o.model}'", got, "one of stackgan for --stages", "leave it out")
    check = None if o.nearest is None else Check(o.nearest, o.split, model)
    shown: list[list[list[Image.Image]]] = [[] for _ in said]  # by sentence and seed: one picture, or both stages'
    if o.stage is not None and not hasattr(model, "stages"):
        raise expected("--stage", o.stage, f"nothing for a model of {model.file.method}, which has one", "leave it out")
    more = sentences.place_of(model, o.box, o.points) | ({} if o.stage is None else {"stage": o.stage})

    def made() -> Iterator[Image.Image]:
        for s, sentence in enumerate(said):
            for i in range(o.n):
                if o.stages:
                    some = list(model.stages(sentence, 1, o.seed + i)[0])
                else:
                    some = model.sample(sentence, 1, o.seed + i, **more)
                if check is not None:
                    check.add(sentence, some[0])
                if i < ON_SHEET and s < ON_SHEET:
                    shown[s].append(some)
                yield from some

    done = singan.write(made(), outputs, o.out)
    if len(outputs) == 1 and outputs[0] == o.out:
        return f"sampled {done}" + ("" if check is None else f"\n{check.told()}")
    if check is not None:
        save(check.figure(), o.out / "nearest.png")
        check.save(o.out / "nearest.json", [str(output.relative_to(o.out)) for output in outputs])
        done += f"\n{check.told()}"
    if len(outputs) > 1:
        save(side_by_side(said, shown) if beside_each_other(o, said) else in_rows(said, shown), o.out / "sheet.png")
    return f"sampled {done}"


def beside_each_other(o: Sample, said: Sequence[str]) -> bool:
    """Whether sentences that differ in a few words are the columns, and seeds the rows."""
    return o.sentences is None and len(said) > 1


def in_rows(said: Sequence[str], shown: Sequence[Sequence[Sequence[Image.Image]]]) -> Image.Image:
    """The figure of samples: a row for each sentence, or more where there are many pictures, Stage-I above Stage-II."""
    rows: list[list[Image.Image]] = []
    beside: list[str] = []
    for sentence, of_sentence in zip(said, shown, strict=True):
        for start in range(0, len(of_sentence), IN_ROW):
            some = of_sentence[start : start + IN_ROW]
            for stage in range(len(some[0])):
                rows.append([pictures_of_seed[stage] for pictures_of_seed in some])
                what = sentence if start == 0 else ""
                beside.append(what if len(some[0]) == 1 else f"Stage-{'I' * (stage + 1)}: {what}".rstrip(": "))
    largest = max((picture for row in rows for picture in row), key=lambda picture: picture.width)
    rows[0] = [picture.resize(largest.size) for picture in rows[0]]  # which the whole figure's size goes by
    return figure.figure(rows[:ON_SHEET], beside[:ON_SHEET])


def side_by_side(said: Sequence[str], shown: Sequence[Sequence[Sequence[Image.Image]]]) -> Image.Image:
    """The figure of word edits: a column for each sentence, a row for each seed."""
    rows = [[of_sentence[i][stage] for of_sentence in shown] for i in range(len(shown[0])) for stage in stages(shown)]
    rows[0] = [picture.resize(rows[-1][0].size) for picture in rows[0]]
    return figure.figure(rows[:ON_SHEET], above=said)


def stages(shown: Sequence[Sequence[Sequence[Image.Image]]]) -> range:
    return range(len(shown[0][0]))


def save(page: Image.Image, file: Path) -> None:
    from pinxit.modelfile import replacing

    with replacing(file) as temporary:
        page.save(temporary, format="PNG")


class Check:
    """The paper's check that a model repeats no training picture: the nearest ones beside each sample.

    By pixels (both brought to 64 x 64), and, where the model has a picture network, by the angle between what that one
    sees; the paper goes by Stage-II's discriminator, which model files do not have.
    """

    def __init__(self, data: Path, split: str, model: Any) -> None:
        """Raises `PinxitError` where `data` is no captioned set."""
        from pinxit.data.captions import find_captioned
        from pinxit.evaluation.neighbours import by_angle, by_pixels

        self.items = find_captioned(data, split)
        self.data = data
        self.measures = {"pixels": by_pixels}
        if (network := model.texts.pictures) is not None:
            home = next(network.parameters()).device
            self.measures = {"picture network": by_angle(lambda some: network(some.to(home)).cpu())} | self.measures
        self.samples: list[Image.Image] = []
        self.said: list[str] = []
        self._found: dict[str, list[list[Neighbour]]] | None = None

    def add(self, sentence: str, picture: Image.Image) -> None:
        self.said.append(sentence)
        self.samples.append(picture)

    def found(self) -> dict[str, list[list[Neighbour]]]:
        """By measure and sample."""
        if self._found is None:
            import torch
            from rich.console import Console

            from pinxit.data.images import to_tensor
            from pinxit.evaluation.neighbours import SIDE, nearest

            ours = torch.stack([to_tensor(picture.convert("RGB").resize((SIDE, SIDE))) for picture in self.samples])
            with Console(stderr=True).status(f"comparing with {len(self.items)} photos"):
                self._found = nearest(ours, self.batches(SIDE), self.measures, NEAREST)
        return self._found

    def batches(self, side: int) -> Iterator[torch.Tensor]:
        import torch

        from pinxit.data.captions import still

        for start in range(0, len(self.items), AT_ONCE):
            yield torch.stack([still(item, side) for item in self.items[start : start + AT_ONCE]])

    def figure(self) -> Image.Image:
        """A row for each sample: itself, then the nearest by each measure."""
        from pinxit.data.captions import still
        from pinxit.data.images import to_image

        size = max(self.samples[0].size)
        rows = [
            [
                sample,
                *(to_image(still(self.items[near.number], size)) for of in self.found().values() for near in of[i]),
            ]
            for i, sample in enumerate(self.samples[:ON_SHEET])
        ]
        number = {measure: len(of[0]) for measure, of in self.found().items()}
        above = ["sample", *(f"nearest by {measure}, {k + 1}" for measure in number for k in range(number[measure]))]
        return figure.figure(rows, self.said[:ON_SHEET], above)

    def told(self) -> str:
        """How near the nearest are, on average."""
        means = {measure: sum(row[0].distance for row in rows) / len(rows) for measure, rows in self.found().items()}
        told = ", ".join(f"by {measure} {mean:.3f}" for measure, mean in means.items())
        return f"mean distance to the nearest of {len(self.items)} photos (0 same, 2 opposite): {told}"

    def save(self, file: Path, names: Sequence[str]) -> None:
        """For each sample the files of the nearest, and how far they are."""
        from pinxit.modelfile import replacing

        described = [
            {
                "picture": name,
                "sentence": sentence,
                **{
                    f"nearest by {measure}": [
                        {"photo": str(self.items[near.number].photo.resolve()), "distance": near.distance}
                        for near in rows[i]
                    ]
                    for measure, rows in self.found().items()
                },
            }
            for i, (name, sentence) in enumerate(zip(names, self.said, strict=True))
        ]
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
