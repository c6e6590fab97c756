"""The models that the studio can open: those that come along, those in folders given at start, those trained here.

Listing reads the head of each file alone, without torch.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import stat
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

from pinxit.apps.cli.pictures import EMBEDDED, FIRST_STYLES, embedded_model
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.sentences import MOST_CHARACTERS
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet, numbered
from pinxit.errors import PinxitError, expected
from pinxit.models import METHODS

NAME, FORMAT = "model.safetensors", "1"
"""As `pinxit.modelfile`, which brings torch."""
DEEP, MOST_FOLDERS = 3, 5000
"""How far below a given folder models are looked for, and in how many folders of it."""
MOST_HEADER = 8 << 20
"""Bytes of a file's head; a large model of ours has some 100 kB."""
MOST_LABELS, MOST_ID = 1000, 255
"""Labels of a set, and the highest id of one: the page's maps are pictures of 8 bits."""
MOST_TEXT = 4000
"""Characters of an entry of a card."""
MOST_SENTENCES = 12
"""Of a card, to begin with."""
LONGEST_ID = 80
MOST_OPEN = 3
FRESH, SHARE = 0.2, 20
"""Seconds that a listing is taken for true, and how many times longer than the look through the folders took."""

EMBEDDED_NAMES = {"demo": "Streets", "fruits": "Fruits", "mixed": "Mixed streets"}
USES = ("map", "sketch", "text", "style", "picture")
Use = Literal["required", "optional", "no"]


@dataclass(frozen=True)
class Entry:
    """What people and pages want to know of a model before it is opened."""

    id: str
    name: str
    """For people: of its card, or of its folder."""
    method: str
    kind: Literal["map", "mixed", "picture", "sentence", "photo", "generator", "segmenter", "other"]
    """What it is painted with: a label map; any of its inputs, or none (mixed); a picture; a sentence; nothing but the
    photo it learnt; generator: nothing, it makes pictures of chance; segmenter: it paints nothing, and finds the map of
    a photo; other: files the page has no form for, as 16-bit pictures of seven channels."""
    path: Path
    """Of the file; no request names it, and no answer does."""
    embedded: bool
    bytes: int
    inputs: dict[str, Use]
    """Of map, sketch, text, style, picture: what it takes."""
    card: dict[str, str] = field(default_factory=dict)
    size: list[int] | None = None
    """Height and width it was trained at."""
    label_set: dict[str, Any] | None = None
    """As `LabelSet.to_json`, each label with a colour; "unknown" is {"id", "color"}, or None where the model knows no
    unknown pixels."""
    first_style: int = 0
    """The seed to begin with."""
    style_picture: bool = False
    """Whether a picture may be a style."""
    instances: bool = False
    """Whether it paints better with a map of instances."""
    directions: list[str] = field(default_factory=list)
    """Of a model that translates both ways."""
    channels: dict[str, int] | None = None
    """Of the pictures that go in and come out, "input" and "output", or of either side, "A" and "B"."""
    scales: list[list[int]] | None = None
    """Height and width of each scale of one photo's model, coarse to fine."""
    stages: list[list[int]] | None = None
    """Height and width of each stage's pictures, of a model that can be asked for either's."""
    box: bool = False
    """Whether a sentence's picture may be told its place."""
    sentences: list[str] = field(default_factory=list)
    """To begin with: lines of its card."""

    def to_json(self) -> dict[str, Any]:
        """All but the path."""
        return {name: value for name, value in asdict(self).items() if name != "path"}


@dataclass(frozen=True)
class Found:
    """A model file as it lies there."""

    wanted: str
    """The id that it has unless another wants the same."""
    name: str
    path: Path
    embedded: bool
    stamp: tuple[int, ...]
    """Changes when the file does."""


class Catalog:
    """The models that come along, then those in `folders` (up to three folders deep), then those in `runs`.

    Nothing outside of these is ever opened: a link that leads out is not followed. A file that is no model of Pinxit's
    is left out, and `problems` says why. May be used from several threads.

    An id is made of the path below the given folder, so that it stays the same between starts; models that would share
    one have each a mark of their whole path in it. Those in `runs` begin with "runs.".

    Raises `PinxitError` where one of `folders` is no folder.
    """

    def __init__(self, folders: Sequence[Path], runs: Path, device: str = "cpu") -> None:
        for folder in folders:
            if not folder.is_dir():
                raise expected(f"--models '{folder}'", "no folder", "a folder of models", "check the path")
        self.folders, self.runs, self.device = [folder.resolve() for folder in folders], runs, device
        self.problems: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}
        self._heads: dict[Path, tuple[Found, Entry | str]] = {}
        self._fresh_until = 0.0
        self._open: OrderedDict[str, tuple[Path, tuple[int, ...], Any]] = OrderedDict()
        self._listing, self._opening = threading.Lock(), threading.Lock()

    def entries(self) -> list[Entry]:
        """All models, as they are now."""
        with self._listing:
            return list(self._fresh().values())

    def entry(self, id: str) -> Entry:
        """One model. Raises `Refused` (404) where there is none of this id."""
        with self._listing:
            known = self._fresh().get(id)
        if known is None:
            raise Refused(404, "no-such-model", "there is no model of this id (any more); look at the list of models")
        return known

    def id_of(self, path: Path) -> str | None:
        """The id of the model in a folder, or None where there is none."""
        file = path.resolve() / NAME
        with self._listing:
            self._fresh_until = 0.0  # who asks has most likely just made it
            return next((entry.id for entry in self._fresh().values() if entry.path == file), None)

    def model(self, id: str) -> Any:
        """The model, opened, on the catalogue's device. It stays open for the next time, as do two others; one whose
        file has changed is opened anew.

        Raises `Refused`: 404 where there is none of this id, 400 where its file is damaged or not what it says.
        """
        entry = self.entry(id)
        with self._opening:
            stamp = stamp_of(entry.path)
            if stamp is None:
                raise Refused(404, "no-such-model", "the model's file is gone; look at the list of models")
            if (known := self._open.get(id)) is not None and known[:2] == (entry.path, stamp):
                self._open.move_to_end(id)
                return known[2]
            # The old ones go first, so that there are never four in memory.
            self._open.pop(id, None)
            while len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)
            model = opened(entry, self.device)
            self._open[id] = entry.path, stamp, model
            return model

    def _fresh(self) -> dict[str, Entry]:
        began = time.monotonic()
        if began < self._fresh_until:
            return self._entries
        self.problems = problems = {}
        found = list(self._found())
        wanted = Counter(one.wanted for one in found)
        entries: dict[str, Entry] = {}
        heads: dict[Path, tuple[Found, Entry | str]] = {}
        for one in found:
            known = self._heads.get(one.path)
            entry = known[1] if known is not None and known[0] == one else described(one)
            heads[one.path] = one, entry
            alone = one.embedded or (wanted[one.wanted] == 1 and one.wanted not in EMBEDDED)
            id = one.wanted if alone else f"{one.wanted}-{mark(one.path)}"
            if isinstance(entry, str):
                problems[id] = entry
            elif id not in entries:
                entries[id] = replace(entry, id=id)
        self._entries, self._heads = entries, heads
        now = time.monotonic()
        self._fresh_until = now + max(FRESH, SHARE * (now - began))
        return entries

    def _found(self) -> list[Found]:
        """Each model file once: the embedded ones, those in the folders, the runs."""
        embedded = []
        for id in EMBEDDED:
            path = (embedded_model(id) / NAME).resolve()
            if (stamp := stamp_of(path)) is not None:
                embedded.append(Found(id, EMBEDDED_NAMES.get(id, id), path, True, stamp))
        runs = self.runs.resolve()
        roots = [*self.folders, runs]
        of_runs = list(self._within(runs, roots, ("runs",)))
        # What is found twice is a run first of all, though the folder of runs be among the given ones too.
        seen = {found.path for found in of_runs}
        others = []
        for root in self.folders:
            for found in self._within(root, roots, ()):
                if found.path not in seen:
                    seen.add(found.path)
                    others.append(found)
        return [*embedded, *others, *of_runs]

    def _within(self, root: Path, roots: Sequence[Path], prefix: tuple[str, ...]) -> Iterator[Found]:
        """The model files in a folder and `DEEP` folders below it; only what lies in one of `roots`."""
        folders, seen = deque([(root, 0)]), {root}
        while folders:
            folder, deep = folders.popleft()
            file = inside(folder / NAME, roots)
            if file is not None and (stamp := stamp_of(file)) is not None:
                parts = (*prefix, *folder.relative_to(root).parts) or (root.name,)
                yield Found(slug(".".join(parts), file), folder.name or "model", file, False, stamp)
            for path in sorted(subfolders(folder)) if deep < DEEP else ():
                if len(seen) >= MOST_FOLDERS:
                    text = f"has more than {MOST_FOLDERS} folders; name some of them alone"
                    self.problems[slug(root.name, root)] = text
                    break
                real = inside(path, roots)
                if real is not None and real not in seen:
                    seen.add(real)
                    folders.append((path, deep + 1))


def subfolders(folder: Path) -> list[Path]:
    """Those in a folder that are not hidden; none where it went, or is not ours to read."""
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.name[0] != "." and is_folder(entry)]
    except OSError:
        return []


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def inside(path: Path, roots: Sequence[Path]) -> Path | None:
    """Where a path leads to, if that is in one of the folders `roots`."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):  # it is not there, or a link to itself
        return None
    return real if any(real.is_relative_to(root) for root in roots) else None


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """What changes when a file does; None where there is none, or something else than a file, as a pipe, of which
    nobody knows when it ends."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def slug(text: str, path: Path) -> str:
    """An id made of names of folders; of `path`, where these have no letter an id may have, or are too long for one."""
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("._-")
    if not plain:
        return f"model-{mark(path)}"
    return plain if len(plain) <= LONGEST_ID else f"{plain[:LONGEST_ID]}-{mark(path)}"


def mark(path: Path) -> str:
    return blake2b(str(path).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def opened(entry: Entry, device: str) -> Any:
    """The model itself. Raises `Refused` (400) for whatever keeps it from being opened."""
    import pinxit  # brings torch, which the listing must not wait for
    from pinxit.training.distributed import pick_device

    try:
        return pinxit.load(entry.path, str(pick_device(device)))
    except PinxitError as error:
        # The file's path stays here: a page is told the id.
        raise Refused(400, "broken-model", str(error).replace(str(entry.path), entry.id)) from error
    except (AssertionError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        # What a configuration that was made up does to a network's constructor.
        text = f"model {entry.id!r} cannot be opened ({type(error).__name__}), expected a whole model; copy it again"
        raise Refused(400, "broken-model", text) from error


def described(found: Found) -> Entry | str:
    """What the head of a model file says, or why it is no model that can be listed."""
    try:
        head = head_of(found.path, found.stamp[1])
        stated = head.get("__metadata__")
        if not isinstance(stated, dict) or stated.get("format") != FORMAT:
            return "is no model file of Pinxit's; use pinxit import for the authors' weights"
        method = stated["method"]
        if method not in METHODS:
            return f"is of method {str(method)[:40]!r}, which this version does not know; update Pinxit"
        if method not in OF_METHOD:
            return f"is of method {method!r}, which the studio has no page for; use the command line"
        config, label_set, card = (json.loads(stated[key]) for key in ("config", "label_set", "card"))
        told = OF_METHOD[method](Config(method, config), label_set, any(name.startswith("E.") for name in head))
        card = {str(name): str(text)[:MOST_TEXT] for name, text in card.items()}
        sentences = [line.strip() for line in card.get("sentences", "").splitlines()]
        return Entry(
            id=found.wanted,
            # A customised model has the card of what it was made of.
            name=found.name if "customised" in card else card.get("name") or found.name,
            method=method,
            path=found.path,
            embedded=found.embedded,
            first_style=FIRST_STYLES.get(found.wanted, 0) if found.embedded else 0,
            bytes=found.stamp[1],
            card=card,
            sentences=[line for line in sentences if 0 < len(line) <= MOST_CHARACTERS][:MOST_SENTENCES],
            **told,
        )
    except PinxitError as error:
        return f"cannot be used: {error}"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        return f"is damaged in its head ({type(error).__name__}); copy it again"


def head_of(path: Path, size: int) -> dict[str, Any]:
    """The JSON that a safetensors file begins with. Raises `ValueError` where it is none, `OSError`."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MOST_HEADER, size - 8):
            raise ValueError(f"a head of {length} bytes")
        head = json.loads(file.read(length))
    if not isinstance(head, dict):
        raise ValueError("no object")
    return head


class Config:
    """A network's options as a model file has them, with the defaults of its method. Raises `PinxitError` for an option
    that this version does not know, or one that cannot be."""

    def __init__(self, method: str, values: Mapping[str, Any]) -> None:
        network = importlib.import_module(f"{METHODS[method]}.config").Network  # imports no torch
        known = {f.name for f in fields(network)}
        self.values = values
        if extra := sorted(set(values) - known - BESIDE.get(method, set())):
            got = f"with {extra[0][:40]!r}"
            raise expected("the model's configuration", got, "options of this version", "update Pinxit")
        own = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items() if name in known}
        self.network = network(**own)

    def size(self) -> list[int]:
        return side_lengths(self.network.size)

    def kind(self, name: str) -> Kind:
        return Kind.from_dict(self.values.get(name) or {})


TEXT = {"text_encoder", "text_width", "text_digest", "text_pictures"}
"""What tells of a text encoder: `pinxit.text.training.DESCRIBED`, which brings torch."""

BESIDE = {
    "singan": {"sizes", "factor", "palette_scale"},
    "stackgan": {"stages", *TEXT},
    "ganintcls": TEXT,
    "gawwn": TEXT,
    "poegan": TEXT,
}
"""What the configuration of a method's files has beside its network's options."""


def side_lengths(size: Sequence[Any]) -> list[int]:
    """Height and width. Raises `PinxitError` for others than picture sides."""
    height, width = (int(side) for side in size)
    if not (0 < height <= 1 << 16 and 0 < width <= 1 << 16):
        raise expected("the model's size", f"{height} {width}", "height and width in pixels", "copy it again")
    return [height, width]


def inputs(**used: Use) -> dict[str, Use]:
    return {**dict.fromkeys(USES, "no"), **used}


def of_spade(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    c = config.network
    return {
        "kind": "map",
        "inputs": inputs(map="required", style="optional" if c.vae else "no"),
        "size": config.size(),
        "label_set": shown_labels(label_set, c.labels, c.unknown),
        "style_picture": bool(c.vae) and encoder,
        "instances": bool(c.instances),
    }


def of_pix2pixhd(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    c = config.network
    if c.source == "pictures":
        return of_pictures(config, label_set, encoder)
    styles = c.features != "none"
    return {
        "kind": "map",
        "inputs": inputs(map="required", style="optional" if styles else "no"),
        "size": config.size(),
        "label_set": shown_labels(label_set, c.labels, c.unknown),
        "style_picture": styles and encoder,
        "instances": bool(c.instances),
    }


def of_pictures(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    sides = {"input": config.kind("input"), "output": config.kind("output")}
    return {**translating(sides), "size": config.size()}


def of_cyclegan(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    directions = [str(direction) for direction in config.network.directions]
    if not directions or not {"AtoB", "BtoA"}.issuperset(directions):
        raise expected("the model's directions", directions, "AtoB, BtoA or both", "copy it again")
    sides = {"A": config.kind("a"), "B": config.kind("b")}
    return {**translating(sides), "size": config.size(), "directions": directions}


def of_photosketch(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    return {**translating({"input": Kind(), "output": Kind(1)}), "size": config.size()}


def of_stylegan2(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    side = config.network.size
    return {"kind": "generator", "inputs": inputs(), "size": side_lengths([side, side])}


def of_stackgan(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    last = config.values.get("stages")
    if last not in (1, 2):
        raise expected("the model's stages", last, "1 or 2", "copy it again")
    stages = [side_lengths([side, side]) for side in (64, config.network.size)[:last]]
    return {"kind": "sentence", "inputs": inputs(text="required"), "size": stages[-1], "stages": stages}


def of_ganintcls(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    return {"kind": "sentence", "inputs": inputs(text="required"), "size": [64, 64]}


def of_gawwn(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    box = config.network.where == "box"  # there is no form for points
    return {"kind": "sentence" if box else "other", "inputs": inputs(text="required"), "size": [128, 128], "box": box}


def of_charcnnrnn(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    return {"kind": "other", "inputs": inputs(text="required")}


def of_poegan(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    c = config.network
    some: dict[str, Use] = {name: "optional" for name in USES if name in c.inputs}
    return {
        "kind": "mixed",
        "inputs": inputs(**some),
        "size": config.size(),
        "label_set": shown_labels(label_set, c.labels, c.unknown) if "map" in some else None,
        "style_picture": "style" in some,
    }


def translating(sides: dict[str, Kind]) -> dict[str, Any]:
    # The kinds that a page can send and show; pinxit translate takes all.
    common = all(side.dtype == "uint8" and side.channels in (1, 3, 4) for side in sides.values())
    return {
        "kind": "picture" if common else "other",
        "inputs": inputs(picture="required"),
        "channels": {name: side.channels for name, side in sides.items()},
    }


def of_singan(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    scales = [side_lengths(size) for size in config.values["sizes"]]
    return {"kind": "photo", "inputs": inputs(), "size": scales[-1], "scales": scales}


def of_deeplabv3(config: Config, label_set: Any, encoder: bool) -> dict[str, Any]:
    return {
        "kind": "segmenter",
        "inputs": inputs(picture="required"),
        "size": config.size(),
        "label_set": shown_labels(label_set, config.network.labels, unknown=False),
    }


OF_METHOD = {
    "spade": of_spade,
    "stylegan2": of_stylegan2,
    "photosketch": of_photosketch,
    "pix2pix": of_pictures,
    "pix2pixhd": of_pix2pixhd,
    "cyclegan": of_cyclegan,
    "singan": of_singan,
    "deeplabv3": of_deeplabv3,
    "stackgan": of_stackgan,
    "ganintcls": of_ganintcls,
    "gawwn": of_gawwn,
    "charcnnrnn": of_charcnnrnn,
    "poegan": of_poegan,
}


def shown_labels(content: Any, labels: int, unknown: bool) -> dict[str, Any]:
    """A label set as the page wants it, from what the file has, if anything. Raises `PinxitError`."""
    if not isinstance(labels, int) or not 0 < labels <= MOST_LABELS:
        raise expected("the model's labels", labels, f"1..{MOST_LABELS}", "copy it again")
    # Before it is read: colours are made up for labels without one, of which there are only so many.
    if isinstance(content, dict) and len(content.get("labels", ())) != labels:
        got = f"of {len(content.get('labels', ()))} labels"
        raise expected("the model's label set", got, f"{labels}, as its network", "copy it again")
    known = LabelSet.from_json(content, "of the model") if content else numbered(labels)
    ignored = list(known.ignore) if unknown else []
    if (highest := max(*(label.id for label in known.labels), *ignored[:1], 0)) > MOST_ID:
        raise expected("an id of the model's label set", highest, f"0..{MOST_ID}", "use pinxit paint")
    shown = known.to_json()
    for label, color in zip(shown["labels"], known.palette.tolist(), strict=False):
        label["color"] = color
    shown["ignore"] = ignored
    shown["unknown"] = {"id": ignored[0], "color": known.palette[-1].tolist()} if ignored else None
    return shown
