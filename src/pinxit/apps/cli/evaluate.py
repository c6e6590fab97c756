"""`pinxit evaluate PICTURES --real FOLDER`, `pinxit evaluate MODEL --data FOLDER`, `pinxit evaluate --table …`."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pinxit.apps.cli import pictures as cli
from pinxit.apps.cli.scoring import (
    OF_CAPTIONS,
    OF_MAPS,
    OF_ONE_PHOTO,
    OF_PAIRS,
    WITHOUT_REAL,
    Metric,
    Networks,
    Scorer,
    by_default,
)
from pinxit.apps.cli.sentences import PAINTERS, TextEncoder
from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from pinxit.data.labels import LabelSet
    from pinxit.evaluation.held_out import HeldOut, Maps
    from pinxit.evaluation.pictures import Pictures
    from pinxit.evaluation.results import Result, Score
    from pinxit.evaluation.tables import Row

FIGURES = frozenset({"sheet.png", "nearest.png"})
"""What `pinxit sample` writes beside its pictures."""


@dataclass(frozen=True)
class Evaluate:
    """Score pictures, or a model by what it makes of held-out conditions.

    PICTURES is a folder: they are compared with those of --real, and with --segmenter and --maps with the label maps
    that they were painted from. MODEL with --data paints the held-out maps of a data set first (SPADE, pix2pixHD) or
    translates its held-out pictures (pix2pix, CycleGAN), or paints its held-out captions (StackGAN, GAN-INT-CLS), into
    --out; a segmenter (deeplabv3) is held against its maps.

    Without --metrics swd, ssim and psnr are computed, which need no pretrained network, and what the networks that are
    named are for: fid and kid with --inception, lpips with --lpips, miou with --segmenter; of models that paint
    captions r-precision. What a number was measured by is printed below it and is in results.json.
    """

    subject: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PICTURES|MODEL")] = None
    """Folder of pictures, or a model; `demo`, `fruits`: those that come along."""
    real: Path | None = None
    """Folder of real pictures."""
    data: Path | None = None
    """Data set whose held-out conditions a model is to paint."""
    metrics: Annotated[tuple[Metric, ...], tyro.conf.arg(metavar="METRIC ...")] = ()
    """Which to compute; by default those for which all is there."""
    networks: Networks = field(default_factory=Networks)
    maps: Path | None = None
    """Folder of the label maps that PICTURES were painted from, named alike."""
    captions: Path | None = None
    """What PICTURES were painted from, for r-precision: a .txt with a line for each, or name, tab and caption."""
    matcher: Annotated[Path | None, tyro.conf.arg(help_behavior_hint="(default: the MODEL itself)")] = None
    """Model that says how well a picture fits a caption, for r-precision: one of stackgan, ganintcls, gawwn or
    charcnnrnn that learnt to compare both."""
    text_encoder: TextEncoder = None
    label_set: str | None = None
    """Label set of the maps: a name (camvid, coco_stuff ...), a .json file or a number of plain ids; by default the
    model's."""
    split: str | None = None
    """Which split of --data; by default val, else test."""
    pictures: int | None = None
    """So many of the split, evenly spread; by default all. Of captions it may be more than there are photos: 30000
    for the Inception Score of StackGAN's paper."""
    direction: Literal["AtoB", "BtoA"] | None = None
    """For models that translate; by default as the model was trained, AtoB for CycleGAN."""
    outdoor: bool = False
    """Only ADE20K's outdoor scenes."""
    size: Annotated[str | None, tyro.conf.arg(metavar="WxH")] = None
    """Bring all pictures to this size first (bicubic); by default as they are, of a model those it was trained at."""
    table: Literal["spade-table1", "fcn-score", "singan-sifid"] | None = None
    """A table of a paper, with --models among its rows."""
    models: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """The models of --table."""
    seed: int = 0
    """Seed of styles and noise in painting, and of all that metrics draw."""
    out: Path = Path("evaluated")
    """Folder for results.json, results.md and results.csv, and for what a model paints."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def main(arguments: list[str]) -> None:
    """Under torchrun the processes share the work, and the first tells the result."""
    o = tyro.cli(Evaluate, args=arguments, prog="pinxit evaluate", config=(tyro.conf.OmitArgPrefixes, *cli.STYLE))
    require_sensible(o)

    from pinxit.training.distributed import pick_device, processes

    device = pick_device(o.device)
    command = shlex.join(["pinxit", "evaluate", *arguments])
    with processes(device):
        if o.table is not None:
            make_table(o, device, command)
        elif o.data is not None:
            assert o.subject is not None
            tell(score_model(o, o.subject, o.out, device, command), o.out)
        else:
            tell(score_pictures(o, device, command), o.out)


def require_sensible(o: Evaluate) -> None:
    """Raises `PinxitError` for options that do not go together, or a number out of range."""
    if o.table is not None:
        for option, given in (("PICTURES", o.subject), ("--real", o.real), ("--metrics", o.metrics)):
            if given:
                raise expected(option, "given", f"nothing beside --table {o.table}", "leave it out")
        if not o.models:
            raise expected("--models", "missing", f"one model or more for --table {o.table}", "name them")
        if o.table != "singan-sifid" and o.data is None:
            raise expected("--data", "missing", f"a data set for --table {o.table}", "name its folder")
    elif o.models:
        raise expected("--models", "given", "nothing without --table", "name the table, or one MODEL first")
    elif o.subject is None:
        raise expected("PICTURES", "missing", "a folder of pictures, or a model", "name it first")
    elif o.data is not None and o.real is not None:
        raise expected("--data", "given with --real", "one of the two", "--data is for models, --real for pictures")
    for option, given in (("--matcher", o.matcher), ("--text-encoder", o.text_encoder)):
        if given is not None and o.captions is None and o.data is None:
            want = "nothing without --captions, or MODEL with --data"
            raise expected(option, "given", want, "name what the pictures were painted from, or leave it out")
    if o.captions is not None and o.data is not None:
        raise expected("--captions", "given with --data", "one of the two", "--data brings captions of its own")
    if o.pictures is not None and o.pictures < 2:
        raise expected("--pictures", o.pictures, "2 or more", "enlarge it, or leave it out for all")
    if not 0 <= o.seed < 1 << 31:
        raise expected("--seed", o.seed, "0 or more, below 2^31", "correct it")
    if o.out.is_file():
        raise expected(f"--out '{o.out}'", "a file", "a folder", "name another")


def size_of(text: str | None) -> tuple[int, int] | None:
    """`WxH` as (height, width). Raises `PinxitError`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})[xX×](\d{1,5})", text)
    if match is None or min(width_height := (int(match[1]), int(match[2]))) < 1:
        raise expected("--size", repr(text), "width x height in pixels, such as 256x256", "correct it")
    return width_height[1], width_height[0]


def score_pictures(o: Evaluate, device: torch.device, command: str) -> Result:
    """The scores of a folder of pictures."""
    from pinxit.data.labels import load_label_set
    from pinxit.evaluation.pictures import pairs, pictures
    from pinxit.evaluation.results import Result

    assert o.subject is not None
    if cli.method_of(o.subject) is not None:
        raise expected("--data", "missing", f"the data set that model '{o.subject}' is to paint", "name its folder")
    size = size_of(o.size)
    least = 1 if o.metrics and set(o.metrics) <= {*OF_ONE_PHOTO, *OF_PAIRS} else 2
    painted = pictures(o.subject, name="pictures", least=least, size=size)
    if o.captions is not None and (figures := {file.name for file in painted.files} & FIGURES):
        # Beside the pictures of a sentence `pinxit sample` writes sheets, of which there is no caption.
        files = [file for file in painted.files if file.name not in figures]
        painted = pictures(files, name="pictures", least=least, size=size)
    real = None if o.real is None else pictures(o.real, name="real pictures", least=least, size=size)
    maps = None if o.maps is None else pictures(o.maps, name="maps", least=1)
    metrics = o.metrics or by_default(
        o.networks, real=real is not None, paired=real is not None and are_pairs(painted, real), maps=maps is not None
    )
    if o.captions is not None and not o.metrics:
        metrics = (*metrics, *OF_CAPTIONS)
    if not metrics:
        raise expected("--real", "missing", "a folder of real pictures to compare with", "name it")
    for metric in metrics:
        if real is None and metric not in WITHOUT_REAL:
            raise expected("--real", "missing", f"a folder of real pictures for {metric}", "name it")
        if metric in OF_MAPS and (maps is None or o.label_set is None):
            missing = "--maps" if maps is None else "--label-set"
            raise expected(
                missing, "missing", f"the label maps of the pictures, and their set, for {metric}", "name it"
            )
        if metric in OF_PAIRS and real is not None:
            pairs(painted, real)
    labels = None if o.label_set is None else load_label_set(o.label_set)
    scorer = Scorer([metric for metric in metrics if metric not in OF_CAPTIONS], o.networks, device, o.seed)
    if labels is not None:
        scorer.require_classes(labels)
    captions: list[str] = []
    matcher = None
    if set(metrics) & set(OF_CAPTIONS):
        from pinxit.evaluation.retrieval import read_captions

        for option, given in (("--captions", o.captions), ("--matcher", o.matcher)):
            if given is None:
                want = "what the pictures were painted from, and a model that compares both, for r-precision"
                raise expected(option, "missing", want, "name it")
        assert o.captions is not None
        assert o.matcher is not None
        captions = read_captions(o.captions, [file.stem for file in painted.files])
        matcher = matcher_of(o.matcher, o, captions, [(caption,) for caption in captions])
    with working(f"scoring {len(painted)} pictures"):
        scores = scorer.scores(painted, real, maps, labels)
        if matcher is not None:
            photos = real if real is not None and are_pairs(painted, real) else None
            scores += matcher.scores(painted, photos, captions, [(caption,) for caption in captions], o.seed)
    sets = {"pictures": described(painted, str(o.subject))}
    if real is not None:
        sets["real"] = described(real, str(o.real))
    if maps is not None:
        sets["maps"] = described(maps, str(o.maps))
    return Result(str(o.subject), tuple(scores), sets, o.seed, command=command)


def are_pairs(painted: Pictures, real: Pictures) -> bool:
    """Whether each picture has its counterpart, of its size."""
    from pinxit.evaluation.pictures import pairs

    try:
        matched = pairs(painted, real)
    except PinxitError:
        return False
    ours, theirs = painted.sizes(), real.sizes()
    return all(ours[i] == theirs[j] for i, j in matched)


def score_model(
    o: Evaluate, model: Path, out: Path, device: torch.device, command: str, metrics: Sequence[Metric] = ()
) -> Result:
    """Paint the held-out conditions with a model, and score that."""
    from pinxit import modelfile
    from pinxit.apps.cli.sentences import open_model as open_painter
    from pinxit.evaluation.held_out import Maps, Sentences, held_out
    from pinxit.evaluation.results import Result
    from pinxit.evaluation.segmentation import digest_of

    assert o.data is not None
    path = cli.found_model(model)
    file = modelfile.read(path)
    held = held_out(
        file,
        o.data,
        split=o.split,
        label_set=o.label_set,
        size=size_of(o.size),
        direction=o.direction,
        outdoor=o.outdoor,
        most=o.pictures,
    )
    labels: LabelSet | None = held.labels if isinstance(held, Maps) else None
    path_of_weights = path / modelfile.NAME if path.is_dir() else path
    about = {"name": str(model), "method": file.method, "digest": digest_of([path_of_weights]), "card": dict(file.card)}
    if labels is not None:
        about["label_set"] = labels.name
    if file.method == "deeplabv3":
        assert isinstance(held, Maps)
        return score_segmenter(o, model, held, about, out, device, command)
    of_captions = isinstance(held, Sentences)
    metrics = metrics or o.metrics or by_default(o.networks, real=True, paired=held.paired, maps=labels is not None)
    if of_captions and not o.metrics:
        metrics = (*metrics, *OF_CAPTIONS)
    for metric in metrics:
        if metric in OF_CAPTIONS and not of_captions:
            want = f"one that paints captions ({', '.join(PAINTERS)}) for {metric}"
            raise expected(f"model '{model}'", f"of {file.method}", want, "leave that metric out")
        if metric == "label-colors":
            remedy = "translate photos with it, and evaluate their folder with --maps"
            raise expected("--metrics", metric, "one of pictures that a model paints", remedy)
        if metric in OF_MAPS and labels is None:
            want = f"a model that paints label maps for {metric}"
            got = f"one that {'paints captions' if of_captions else 'translates'} ({file.method})"
            raise expected(f"model '{model}'", got, want, "leave that metric out")
        if metric in OF_PAIRS and not held.paired:
            want = f"one whose pictures have counterparts for {metric}"
            raise expected(f"model '{model}'", f"of {file.method}, unpaired", want, "leave that metric out")
    scorer = Scorer([metric for metric in metrics if metric not in OF_CAPTIONS], o.networks, device, o.seed)
    if labels is not None:
        scorer.require_classes(labels)
    captions = [held.caption(i) for i in range(held.count)] if isinstance(held, Sentences) else []
    true = [held.true(i) for i in range(held.count)] if isinstance(held, Sentences) else []
    matcher = matcher_of(o.matcher or model, o, captions, true) if set(metrics) & set(OF_CAPTIONS) else None
    opened = (
        open_painter("evaluate", model, o.device, o.text_encoder) if of_captions else cli.open_model(model, o.device)
    )
    painted, real, maps = painted_in(held, opened, out, o.seed)
    with working(f"scoring {len(painted)} pictures"):
        scores = scorer.scores(painted, real, maps, labels)
        if matcher is not None:
            scores += matcher.scores(painted, real, captions, true, o.seed)
    sets = {
        "pictures": described(painted, f"{model}, painted from {held.split} of {o.data}"),
        "real": described(real, f"{held.split} of {o.data}, resized bicubic"),
    }
    if maps is not None:
        sets["maps"] = described(maps, f"{held.split} of {o.data}, resized to the nearest pixel")
    return Result(str(model), tuple(scores), sets, o.seed, about, command)


def score_segmenter(
    o: Evaluate, model: Path, held: Maps, about: dict[str, Any], out: Path, device: torch.device, command: str
) -> Result:
    """How well a segmenter finds the held-out maps in their photos."""
    from pinxit.evaluation.held_out import write_real
    from pinxit.evaluation.pictures import pictures
    from pinxit.evaluation.results import Result
    from pinxit.evaluation.segmentation import segmentation_scores, segmenter

    if set(o.metrics) - {"miou"}:
        want = "a model that paints, or --metrics miou"
        raise expected(f"model '{model}'", "a segmenter", want, "leave the other metrics out")
    with working(f"segmenting {len(held.names())} photos"):
        write_real(held, out)
        together()
        real, maps = (
            pictures([out / folder / f"{name}.png" for name in held.names()], name=thing, least=1)
            for folder, thing in (("real", "real pictures"), ("maps", "maps"))
        )
        scores = segmentation_scores(real, maps, segmenter(cli.found_model(model), device), held.labels)
    sets = {
        "real": described(real, f"{held.split} of {o.data}, resized bicubic"),
        "maps": described(maps, f"{held.split} of {o.data}, resized to the nearest pixel"),
    }
    return Result(str(model), tuple(scores), sets, None, about, command)


def painted_in(held: HeldOut, model: Any, out: Path, seed: int) -> tuple[Pictures, Pictures, Pictures | None]:
    """What the model makes of the conditions, the real pictures and the maps, written below `out`."""
    from pinxit.evaluation.held_out import Maps, Sentences, write_painted, write_real
    from pinxit.evaluation.pictures import pictures
    from pinxit.evaluation.retrieval import write_captions
    from pinxit.recipe import rank

    names = held.names()
    with working(f"painting {len(names)} pictures"):
        write_real(held, out)
        write_painted(held, model, out / "painted", seed)
        if isinstance(held, Sentences) and rank() == 0:
            write_captions(out / "captions.txt", {name: held.caption(i) for i, name in enumerate(names)})
    together()
    # By name: an earlier evaluation may have left others in the folders.
    painted = pictures([out / "painted" / f"{name}.png" for name in names], name="painted pictures")
    real = pictures([out / "real" / f"{name}.png" for name in held.real_names()], name="real pictures")
    if not isinstance(held, Maps):
        return painted, real, None
    return painted, real, pictures([out / "maps" / f"{name}.png" for name in names], name="maps")


def matcher_of(path: Path, o: Evaluate, captions: list[str], true: list[tuple[str, ...]]) -> Matcher | None:
    """What R-precision is computed with; None, and a note, where that is not possible and was not asked for.

    Raises `PinxitError`, before any picture is painted.
    """
    from PIL import Image

    from pinxit.evaluation.retrieval import require_enough

    try:
        matcher = Matcher(path, o)
        require_enough(captions, true)
        matcher.model.match([Image.new("RGB", (64, 64))], captions[:1])
    except PinxitError as error:
        if set(o.metrics) & set(OF_CAPTIONS) or o.matcher is not None:
            raise
        cli.note(f"no r-precision: {error}")
        return None
    return matcher


class Matcher:
    """A model that says how well a picture fits a caption, and R-precision by it with all that it is to be held
    against."""

    def __init__(self, path: Path, o: Evaluate) -> None:
        """Raises `PinxitError` where it is no model that compares pictures and sentences."""
        from pinxit import modelfile
        from pinxit.apps.cli.sentences import open_model
        from pinxit.evaluation.segmentation import digest_of

        method = cli.method_of(path)
        if method in PAINTERS:
            self.model = open_model("evaluate", path, o.device, o.text_encoder)
        else:
            self.model = cli.open_model(path, o.device)
        if not hasattr(self.model, "match"):
            want = f"one that compares pictures and sentences ({', '.join(PAINTERS)}, charcnnrnn)"
            raise expected(f"--matcher '{path}'", f"of method {method}", want, "train one, and name it")
        self.digest = digest_of([path / modelfile.NAME if path.is_dir() else path])
        by = "the scores" if method == "charcnnrnn" else "the cosine"
        self.name = f"the picture, by {by} of the networks of model '{path}' ({method})"

    def scores(
        self, painted: Pictures, real: Pictures | None, captions: list[str], true: list[tuple[str, ...]], seed: int
    ) -> list[Score]:
        """R-precision of what was painted; of the real photos; of what was painted, each held to be painted from
        another one's caption; and of chance."""
        from pinxit.evaluation.retrieval import candidates, chance, r_precision, shuffled, similarities

        def score(name: str, which: str, of: Pictures, said: Sequence[str], own: Sequence[Sequence[str]]) -> Score:
            offered = candidates(said, own, seed=seed)
            similar = similarities(lambda some, to: self.model.match(images(of, some), to), offered)
            counted = f"{len(of)} {which} pictures"
            return r_precision(similar, name=name, pictures=counted, networks=self.name, weights=self.digest, seed=seed)

        found = [score("R-precision", "painted", painted, captions, true)]
        if real is not None:
            # Of several pictures of one photo the first one's caption. There may be too few photos where pictures do.
            count = len(real)
            try:
                found.append(score("R-precision of real photos", "real", real, captions[:count], true[:count]))
            except PinxitError as error:
                cli.note(f"no r-precision of real photos: {error}")
        given = shuffled(captions, seed=seed)
        said, own = [captions[i] for i in given], [true[i] for i in given]
        found.append(score("R-precision, captions shuffled", "painted", painted, said, own))
        return [*found, chance()]


def images(of: Pictures, which: Sequence[int]) -> list[Image.Image]:
    from PIL import Image

    return [Image.fromarray(of[i].permute(1, 2, 0).numpy()) for i in which]


def described(of: Pictures, name: str) -> dict[str, Any]:
    """What the result file says of a set."""
    sizes = Counter(f"{width}x{height}" for height, width in of.sizes())
    return {"name": name, "count": len(of), "sizes": dict(sizes), "digest": of.digest}


def together() -> None:
    """Wait until all ranks are here, where there are several."""
    from pinxit.recipe import world_size

    if world_size() > 1:
        import torch.distributed as dist

        dist.barrier()


def working(text: str) -> Any:
    """A sign of life on a terminal, by the first rank."""
    from rich.console import Console

    from pinxit.recipe import rank

    console = Console(stderr=True)
    return console.status(text) if console.is_terminal and rank() == 0 else nullcontext()


def tell(result: Result, out: Path) -> None:
    """Write the result and print it, by the first rank."""
    from pinxit.recipe import rank

    if rank() != 0:
        return
    result.save(out)
    print("\n".join([result.subject, *(f"  {role}: {text}" for role, text in sets_text(result)), ""]))
    print("\n".join(scores_text(result.scores)))
    print(f"\nresults.json, results.md and results.csv are in {out.resolve()}")


def sets_text(result: Result) -> list[tuple[str, str]]:
    return [(role, f"{of['count']} of {', '.join(of['sizes'])} ({of['name']})") for role, of in result.sets.items()]


def scores_text(scores: Sequence[Score]) -> list[str]:
    """The scores, and below them what each was measured by; those that share a protocol share a note."""
    protocols = list(dict.fromkeys(score.protocol for score in scores))
    width = max(len(score.name) for score in scores)
    values = max(len(score.text()) for score in scores)
    lines = [
        f"{score.name:{width}}  {score.text():>{values}}  {score.better} is better"
        f"  [{protocols.index(score.protocol) + 1}]"
        for score in scores
    ]
    lines.append("")
    for number, protocol in enumerate(protocols, 1):
        lines += textwrap.wrap(f"[{number}] {protocol}", 100, subsequent_indent=" " * 4, break_long_words=False)
    remarks = dict.fromkeys(str(score.details["remark"]) for score in scores if "remark" in score.details)
    for remark in remarks:
        lines += textwrap.wrap(f"note: {remark}", 100, subsequent_indent=" " * 6)
    return lines


def make_table(o: Evaluate, device: torch.device, command: str) -> None:
    """A paper's table with rows of one's own, in out/table.json, .md and .csv; each model's results lie in a folder of
    its name."""
    from pinxit.evaluation.results import save_forms, versions
    from pinxit.evaluation.tables import FORMS, Table
    from pinxit.recipe import rank

    assert o.table is not None
    outs = [o.out / name_of(model) for model in o.models]
    for i, model in enumerate(o.models):
        if outs[i] in outs[:i]:
            other = o.models[outs.index(outs[i])]
            raise expected(f"name of '{model}'", f"that of '{other}'", "models of different names", "rename a folder")
    rows: list[Row] = []
    results: list[Result] = []
    for model, out in zip(o.models, outs, strict=True):
        made, result = ROWS[o.table](o, model, out, device, command)
        rows += made
        results += result
    if rank() != 0:
        return
    for out, result in zip(outs, results, strict=True):
        result.save(out)
    table = Table(FORMS[o.table], tuple(rows))
    described = {
        "format": "table 1",
        **table.json(),
        "results": [result.json() for result in results],
        "command": command,
        "versions": versions(),
    }
    save_forms(o.out, "table", described, table.markdown(), table.csv())
    print(table.text())
    for row in rows:
        print("\n".join(textwrap.wrap(f"{row.method}: {row.source}", 100, subsequent_indent="  ")))
    print(f"\ntable.json, table.md and table.csv are in {o.out.resolve()}")


def name_of(model: Path) -> str:
    """What a row is called: the folder's name, or that of the file or its folder."""
    return model.parent.name or model.stem if model.name == "model.safetensors" else model.stem or model.name


def spade_rows(
    o: Evaluate, model: Path, out: Path, device: torch.device, command: str
) -> tuple[list[Row], list[Result]]:
    """Two rows, with void pixels counted and ignored, as published numbers are of both kinds."""
    from pinxit.evaluation.tables import DATASETS, Row

    metrics: list[Metric] = []
    if o.networks.segmenter is not None:
        metrics.append("miou")
    if o.networks.inception is not None:
        metrics.append("fid")
    if not metrics:
        want = "one of the two, or both, for the columns of this table"
        raise expected("--segmenter and --inception", "missing", want, "name them")
    result = score_model(o, model, out, device, command, metrics)
    group = group_of(result, DATASETS, outdoor=o.outdoor)
    found = {score.name: score for score in result.scores}
    fid = found.get("FID")
    rows = []
    for void in ("counted", "ignored"):
        miou, accuracy = (found.get(f"{name} (void {void})") for name in ("mIoU", "accuracy"))
        values = (miou and 100 * miou.value, accuracy and 100 * accuracy.value, fid and fid.value)
        how = "; ".join(score.protocol for score in (miou, fid) if score is not None)
        rows.append(Row(f"{name_of(model)}, void {void}" if miou else name_of(model), {group: values}, how, here=True))
        if miou is None:
            break
    return rows, [result]


def group_of(result: Result, names: dict[str, str], *, outdoor: bool) -> str:
    """The table's name for the data set, by the label set of the model that painted."""
    assert result.model is not None
    label_set = result.model["label_set"]
    group = names.get(label_set, label_set)
    return f"{group}-outdoor" if outdoor else str(group)


def fcn_rows(o: Evaluate, model: Path, out: Path, device: torch.device, command: str) -> tuple[list[Row], list[Result]]:
    """Labels to photo, by a segmenter of one's own in the place of FCN-8s."""
    from pinxit.evaluation.tables import Row

    result = score_model(o, model, out, device, command, ["fcn-score"])
    values = tuple(score.value for score in result.scores)
    return [Row(name_of(model), {"labels to photo": values}, result.scores[0].protocol, here=True)], [result]


def sifid_rows(
    o: Evaluate, model: Path, out: Path, device: torch.device, command: str
) -> tuple[list[Row], list[Result]]:
    """Samples of a SinGAN from its coarsest scale, and from the next, against its photo."""
    from pinxit.data.images import to_image
    from pinxit.evaluation.pictures import pictures
    from pinxit.evaluation.results import Result
    from pinxit.evaluation.segmentation import digest_of
    from pinxit.evaluation.tables import Row
    from pinxit.modelfile import NAME, replacing
    from pinxit.recipe import rank, world_size

    method = cli.method_of(model)
    if method not in (None, "singan"):
        raise expected(f"model '{model}'", f"of method {method}", "one of singan", "leave it out")
    scorer = Scorer(["sifid"], o.networks, device, o.seed)
    singan = cli.open_model(model, o.device)
    number = o.pictures or 50
    values: dict[str, tuple[float, ...]] = {}
    scores: list[Score] = []
    sets: dict[str, Any] = {}
    for scale, group in ((0, "from the coarsest scale (N)"), (1, "from the next (N-1)")):
        if scale > singan.finest:
            break
        files = [out / f"scale_{scale}" / f"{i:03d}.png" for i in range(number)]
        with working(f"sampling {number} pictures"):
            for i in range(rank(), number, world_size()):
                with replacing(files[i]) as temporary:
                    singan.sample(1, scale, seed=o.seed + i)[0].save(temporary, format="PNG")
        if rank() == 0:
            with replacing(out / "real" / "photo.png") as temporary:
                to_image(singan.photo[0]).save(temporary, format="PNG")
        together()
        samples = pictures(files, name="samples")
        real = pictures([out / "real" / "photo.png"], name="real photo", least=1)
        found = scorer.scores(samples, real)
        values[group] = tuple(score.value for score in found)
        scores += found
        sets |= {f"pictures {group}": described(samples, str(model)), "real": described(real, f"photo of {model}")}
    path = cli.found_model(model)
    weights = [path / NAME if path.is_dir() else path]
    about = {"name": str(model), "method": "singan", "digest": digest_of(weights), "card": dict(singan.card)}
    result = Result(str(model), tuple(scores), sets, o.seed, about, command)
    return [Row(name_of(model), values, scores[0].protocol, here=True)], [result]


ROWS = {"spade-table1": spade_rows, "fcn-score": fcn_rows, "singan-sifid": sifid_rows}
