"""The catalogue: what is listed, under which ids, and what broken and hostile files do to it, which is nothing."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from pinxit.apps.studio import catalog as module
from pinxit.apps.studio.catalog import Catalog, Entry
from pinxit.apps.studio.refusals import Refused
from pinxit.data.kinds import Kind
from pinxit.data.labels import Label, LabelSet, numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.spade.config import Network
from pinxit.models.spade.network import Encoder, Generator

ID = re.compile(r"[a-z0-9][a-z0-9._-]*")
SPADE = Network(labels=3, unknown=True, size=(32, 64), width=2, hidden=4, vae=True, z_dim=5)


def spade(folder: Path, encoder: bool = False, labels: LabelSet | None = None, **change: Any) -> Path:
    """A SPADE model that can be opened."""
    torch.manual_seed(0)
    c = dataclasses.replace(SPADE, **change)
    tensors = {f"G.{k}": v for k, v in Generator(c).state_dict().items()}
    if encoder:
        tensors |= {f"E.{k}": v for k, v in Encoder(c).state_dict().items()}
    label_set = (labels or numbered(3, (255,))).to_json()
    return ModelFile("spade", dataclasses.asdict(c), tensors, label_set, {"licence": "own"}).save(folder)


def listed(folder: Path, method: str, config: Any, label_set: Any = None, card: Any = None) -> Path:
    """A model file that is good for being listed alone."""
    return ModelFile(method, config, {"G.x": torch.zeros(1)}, label_set, card or {}).save(folder)


def own(catalog: Catalog) -> dict[str, Entry]:
    return {entry.id: entry for entry in catalog.entries() if not entry.embedded}


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRESH", 0)
    monkeypatch.setattr(module, "SHARE", 0)


def test_the_embedded_models_come_first_and_can_be_opened(tmp_path: Path) -> None:
    catalog = Catalog([], tmp_path / "runs")
    streets, fruits, mixed = catalog.entries()
    assert catalog.problems == {}
    assert (streets.id, streets.name, streets.method, streets.kind) == ("demo", "Streets", "spade", "map")
    assert streets.embedded
    assert streets.size == [192, 256]
    assert streets.style_picture
    assert streets.inputs == {"map": "required", "sketch": "no", "text": "no", "style": "optional", "picture": "no"}
    assert streets.label_set is not None
    assert streets.label_set["labels"][0] == {"id": 0, "name": "Sky", "color": [128, 128, 128], "group": "sky"}
    assert streets.label_set["unknown"] == {"id": 11, "color": [0, 0, 0]}
    assert "CC BY-NC" in streets.card["licence"]
    assert streets.bytes == streets.path.stat().st_size
    assert (fruits.id, fruits.name, fruits.method, fruits.kind) == ("fruits", "Fruits", "pix2pix", "picture")
    assert fruits.inputs["picture"] == "required"
    assert fruits.label_set is None
    assert (mixed.id, mixed.name, mixed.method, mixed.kind) == ("mixed", "Mixed streets", "poegan", "mixed")
    assert mixed.embedded
    assert mixed.size == [72, 96]
    assert mixed.style_picture
    assert [name for name, use in mixed.inputs.items() if use == "optional"] == ["map", "sketch", "text", "style"]
    assert mixed.label_set == streets.label_set
    assert "CC BY-NC" in mixed.card["licence"]
    assert catalog.model("demo").network.labels == 11
    assert catalog.model("fruits").options.depth == 7
    assert catalog.model("mixed").inputs == ("map", "sketch", "text", "style")


def test_an_entry_is_json_without_the_path(tmp_path: Path) -> None:
    for entry in Catalog([], tmp_path).entries():
        told = json.dumps(entry.to_json())
        assert str(entry.path.parent) not in told
        assert json.loads(told) == {
            f.name: getattr(entry, f.name) for f in dataclasses.fields(Entry) if f.name != "path"
        }


def test_listing_imports_no_torch(tmp_path: Path) -> None:
    spade(tmp_path / "streets")
    script = (
        "import sys; from pathlib import Path; from pinxit.apps.studio.catalog import Catalog; "
        f"c = Catalog([Path({str(tmp_path)!r})], Path('runs')); print(len(c.entries()), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.split() == ["4", "False"]


def test_every_method_is_told_as_it_is(tmp_path: Path) -> None:
    spade(tmp_path / "full", encoder=True, instances=True)
    spade(tmp_path / "plain", vae=False, unknown=False)
    grey = Kind(channels=1).as_dict()
    deep = Kind(7, "uint16", 0, 65535).as_dict()
    hd = {"labels": 3, "size": [512, 1024], "features": "instance", "instances": True}
    listed(tmp_path / "hd", "pix2pixhd", hd, numbered(3).to_json())
    listed(tmp_path / "hd-pictures", "pix2pixhd", {"source": "pictures", "input": grey, "output": Kind().as_dict()})
    listed(tmp_path / "p2p", "pix2pix", {"size": [256, 256], "input": Kind().as_dict(), "output": Kind().as_dict()})
    listed(tmp_path / "p2p-deep", "pix2pix", {"input": deep, "output": deep})
    listed(tmp_path / "cycle", "cyclegan", {"directions": ["BtoA"], "a": Kind().as_dict(), "b": grey})
    listed(tmp_path / "photo", "singan", {"sizes": [[25, 30], [33, 40]], "factor": 0.75, "palette_scale": None})
    encoder = {"text_encoder": "built-in", "text_width": 128, "text_digest": "ab" * 32, "text_pictures": True}
    listed(tmp_path / "said", "stackgan", {"size": 128, "stages": 2, **encoder})
    listed(tmp_path / "rough", "stackgan", {"size": 128, "stages": 1, **encoder})
    listed(tmp_path / "int-cls", "ganintcls", encoder)
    listed(tmp_path / "where", "gawwn", encoder)
    listed(tmp_path / "words", "charcnnrnn", {})
    mixed = {"inputs": ["map", "text"], "labels": 3, "size": [128, 256], **encoder}
    listed(tmp_path / "anything", "poegan", mixed, numbered(3).to_json())
    listed(tmp_path / "unmapped", "poegan", {"inputs": ["sketch", "style"], "size": [128, 256]})
    catalog = Catalog([tmp_path], tmp_path / "runs")
    found = own(catalog)
    assert catalog.problems == {}

    def row(id: str) -> tuple:
        e = found[id]
        used = {name: use for name, use in e.inputs.items() if use != "no"}
        return e.method, e.kind, used, e.style_picture, e.instances, e.size

    assert row("full") == ("spade", "map", {"map": "required", "style": "optional"}, True, True, [32, 64])
    assert row("plain") == ("spade", "map", {"map": "required"}, False, False, [32, 64])
    assert row("hd") == ("pix2pixhd", "map", {"map": "required", "style": "optional"}, False, True, [512, 1024])
    assert row("hd-pictures") == ("pix2pixhd", "picture", {"picture": "required"}, False, False, [512, 1024])
    assert row("p2p") == ("pix2pix", "picture", {"picture": "required"}, False, False, [256, 256])
    assert row("p2p-deep")[:2] == ("pix2pix", "other")
    assert row("cycle")[:3] == ("cyclegan", "picture", {"picture": "required"})
    assert row("photo") == ("singan", "photo", {}, False, False, [33, 40])
    said = {"text": "required"}
    assert row("said") == ("stackgan", "sentence", said, False, False, [128, 128])
    assert row("rough") == ("stackgan", "sentence", said, False, False, [64, 64])
    assert row("int-cls") == ("ganintcls", "sentence", said, False, False, [64, 64])
    assert row("where") == ("gawwn", "sentence", said, False, False, [128, 128])
    assert row("words") == ("charcnnrnn", "other", said, False, False, None)
    assert row("anything")[:4] == ("poegan", "mixed", {"map": "optional", "text": "optional"}, False)
    assert found["anything"].label_set is not None
    assert row("unmapped")[:4] == ("poegan", "mixed", {"sketch": "optional", "style": "optional"}, True)
    assert found["unmapped"].label_set is None
    assert found["hd-pictures"].channels == {"input": 1, "output": 3}
    assert found["cycle"].channels == {"A": 3, "B": 1}
    assert found["cycle"].directions == ["BtoA"]
    assert found["photo"].scales == [[25, 30], [33, 40]]
    full, plain = found["full"].label_set, found["plain"].label_set
    assert full is not None
    assert plain is not None
    assert full["unknown"]["id"] == 255
    assert full["ignore"] == [255]
    # A model without a channel for unknown pixels cannot be shown any.
    assert (plain["unknown"], plain["ignore"]) == (None, [])


def test_every_label_has_a_colour_that_is_that_of_the_set(tmp_path: Path) -> None:
    labels = LabelSet(
        "own", (Label(3, "sky", None, "a"), Label(1, "sea", (1, 2, 3), "b"), Label(7, "x", None, "c")), (9,)
    )
    spade(tmp_path / "streets", labels=labels)
    shown = own(Catalog([tmp_path], tmp_path / "runs"))["streets"].label_set
    assert shown is not None
    assert [label["color"] for label in shown["labels"]] == labels.palette[:-1].tolist()
    assert [label["id"] for label in shown["labels"]] == [3, 1, 7]
    assert shown["unknown"] == {"id": 9, "color": labels.palette[-1].tolist()}


def test_ids_are_plain_unique_and_the_same_each_time(tmp_path: Path) -> None:
    places = [
        "one/streets",
        "one/Old Streets (2)",
        "one/deep/er/streets",
        "two/streets",
        "one/demo",
        "one/街",
        "one/通り",
    ]
    places += ["runs/streets", "runs/Fox", "one/a/b/c/d", "one/.hidden", "one/" + "x" * 200]
    for place in places:
        listed(tmp_path / place, "spade", {"labels": 3})
    folders = [tmp_path / "one", tmp_path / "two"]
    first = own(Catalog(folders, tmp_path / "runs"))
    assert [id for id in first if not ID.fullmatch(id)] == []
    plain = {id for id in first if not re.search(r"-[0-9a-f]{8}$", id)}
    assert plain == {"old-streets-2", "deep.er.streets", "runs.streets", "runs.fox"}
    marked = sorted(re.sub(r"-[0-9a-f]{8}$", "", id) for id in first if id not in plain)
    assert marked == ["demo", "model", "model", "streets", "streets", "x" * 80]
    again = own(Catalog(folders, tmp_path / "runs"))
    assert {id: entry.path for id, entry in again.items()} == {id: entry.path for id, entry in first.items()}
    assert first["runs.fox"].name == "Fox"
    assert Catalog(folders, tmp_path / "runs").entry("demo").embedded


def test_a_name_for_people_is_the_cards_else_the_folders(tmp_path: Path) -> None:
    listed(tmp_path / "a", "spade", {"labels": 3}, card={"name": "Alps in winter"})
    listed(tmp_path / "My Model", "spade", {"labels": 3})
    assert {e.name for e in own(Catalog([tmp_path], tmp_path / "runs")).values()} == {"Alps in winter", "My Model"}


def test_a_model_folder_itself_may_be_given_and_one_that_is_given_twice_is_listed_once(tmp_path: Path) -> None:
    listed(tmp_path / "streets", "spade", {"labels": 3})
    listed(tmp_path / "runs" / "fox", "spade", {"labels": 3})
    folders = [tmp_path / "streets", tmp_path, tmp_path / "runs"]
    assert set(own(Catalog(folders, tmp_path / "runs"))) == {"streets", "runs.fox"}
    with pytest.raises(PinxitError, match=r"^--models '.*nowhere' is no folder, expected a folder of models; "):
        Catalog([tmp_path / "nowhere"], tmp_path / "runs")


def test_what_comes_goes_and_changes_is_seen(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    catalog = Catalog([tmp_path], runs)
    assert own(catalog) == {}
    path = listed(runs / "fox", "singan", {"sizes": [[25, 30]], "factor": 0.75})
    assert own(catalog)["runs.fox"].scales == [[25, 30]]
    assert catalog.id_of(runs / "fox") == "runs.fox"
    assert catalog.id_of(runs) is None
    assert catalog.id_of(tmp_path / "nowhere") is None
    listed(runs / "fox", "singan", {"sizes": [[25, 30], [33, 40]], "factor": 0.75})
    assert catalog.entry("runs.fox").scales == [[25, 30], [33, 40]]
    path.unlink()
    with pytest.raises(Refused) as refused:
        catalog.entry("runs.fox")
    assert (refused.value.status, refused.value.code) == (404, "no-such-model")
    assert own(catalog) == {}


def test_a_listing_holds_for_a_moment_and_heads_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed(tmp_path / "a", "spade", {"labels": 3})
    read = []
    plain = module.head_of
    monkeypatch.setattr(module, "head_of", lambda path, size: read.append(path) or plain(path, size))
    catalog = Catalog([tmp_path], tmp_path / "runs")
    for _ in range(5):
        catalog.entries()
    assert len(read) == 4
    monkeypatch.setattr(module, "FRESH", 60)
    catalog.entries()
    listed(tmp_path / "b", "spade", {"labels": 3})
    assert set(own(catalog)) == {"a"}
    assert catalog.id_of(tmp_path / "b") == "b"  # who asks so has just made it
    assert set(own(catalog)) == {"a", "b"}
    assert len(read) == 5


def header(metadata: Any, tensors: Any = None) -> bytes:
    text = json.dumps({"__metadata__": metadata, **(tensors or {})}).encode()
    return len(text).to_bytes(8, "little") + text


def described(**change: Any) -> dict[str, Any]:
    plain = {"format": "1", "method": "spade", "config": '{"labels": 3}', "label_set": "null", "card": "{}"}
    return {**plain, **change}


LABELS = numbered(3).to_json()
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "short": b"\x01\x02",
    "text": b"<html><body>Not found</body></html>",
    "a head larger than the file": (1 << 20).to_bytes(8, "little") + b"{}",
    "a head of 2^64": b"\xff" * 8 + b"{}",
    "a huge head": (64 << 20).to_bytes(8, "little") + b" " * (64 << 20),
    "no JSON": (10).to_bytes(8, "little") + b"{'a': 1}  ",
    "a list": (2).to_bytes(8, "little") + b"[]",
    "not UTF-8": (4).to_bytes(8, "little") + b'{"\xff"',
    "nested without end": (200_000).to_bytes(8, "little") + b"[" * 200_000,
    "a long number": (100_002).to_bytes(8, "little") + b"[" + b"1" * 100_000 + b"]",
    "no metadata": header(None),
    "metadata that is a list": header([1, 2]),
    "another's file": header({"format": "pt"}),
    "a later format": header(described(format="2")),
    "an unknown method": header(described(method="stylegan9")),
    "a method that is no name": header(described(method={"a": 1})),
    "a method that is a path": header(described(method="../../evil")),
    "no card": header({"format": "1", "method": "spade", "config": "{}", "label_set": "null"}),
    "a config that is no JSON": header(described(config="{")),
    "a config that is a list": header(described(config="[1]")),
    "a config nested without end": header(described(config="[" * 100_000)),
    "options of another kind": header(described(config='{"labels": "many"}')),
    "an unknown option": header(described(config='{"labels": 3, "<script>": 1}')),
    "a size that is none": header(described(config='{"labels": 3, "size": [1]}')),
    "a size of words": header(described(config='{"labels": 3, "size": ["a", "b"]}')),
    "an infinite size": header(described(config='{"labels": 3, "size": [Infinity, 1]}')),
    "a huge size": header(described(config='{"labels": 3, "size": [1e9, 1]}')),
    "no labels": header(described(config='{"labels": 0}')),
    "more labels than there are colours": header(described(config='{"labels": 100000}')),
    "a fraction of a label": header(described(config='{"labels": 2.5}')),
    "a label set of another form": header(described(label_set='{"labels": [1, 2, 3]}')),
    "a label set of words": header(described(label_set='"camvid"')),
    "a label set of another size": header(described(config='{"labels": 2}', label_set=json.dumps(LABELS))),
    "labels that are a number": header(described(label_set=json.dumps({**LABELS, "labels": 3}))),
    "ids that do not fit in a picture": header(
        described(
            label_set=json.dumps(
                {**LABELS, "labels": [{**label, "id": 256 + i} for i, label in enumerate(LABELS["labels"])]}
            )
        )
    ),
    "a card that is a list": header(described(card="[1]")),
    "a SinGAN without scales": header(described(method="singan", config="{}")),
    "a SinGAN of no scales": header(described(method="singan", config='{"sizes": [], "factor": 1}')),
    "a SinGAN of odd scales": header(described(method="singan", config='{"sizes": [[1, 2, 3]], "factor": 1}')),
    "a translator of nothing": header(described(method="pix2pix", config='{"input": null, "output": {"channels": 3}}')),
    "directions of one's own": header(described(method="cyclegan", config='{"directions": ["up"]}')),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_broken_or_hostile_file_is_left_out_with_its_reason(tmp_path: Path, what: str) -> None:
    listed(tmp_path / "good", "spade", {"labels": 3})
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.safetensors").write_bytes(HOSTILE[what])
    catalog = Catalog([tmp_path], tmp_path / "runs")
    began = time.monotonic()
    assert set(own(catalog)) == {"good"}
    assert time.monotonic() - began < 5
    assert set(catalog.problems) == {"bad"}
    reason = catalog.problems["bad"]
    assert "\n" not in reason
    assert 10 < len(reason) < 400
    assert str(tmp_path) not in reason
    with pytest.raises(Refused) as refused:
        catalog.model("bad")
    assert refused.value.status == 404


def test_a_file_that_lists_well_and_opens_badly_is_told_so(tmp_path: Path) -> None:
    path = listed(tmp_path / "hollow", "spade", {"labels": 3})
    odd = tmp_path / "odd" / "model.safetensors"
    odd.parent.mkdir()
    odd.write_bytes(header(described(config='{"labels": 3, "hidden": 2.5}')))
    catalog = Catalog([tmp_path], tmp_path / "runs")
    for id in ("hollow", "odd"):
        with pytest.raises(Refused) as refused:
            catalog.model(id)
        assert (refused.value.status, refused.value.code) == (400, "broken-model")
        assert str(tmp_path) not in str(refused.value)
    spade(path.parent)
    assert catalog.model("hollow").network.labels == 3


@pytest.mark.parametrize(
    "id", ["", ".", "..", "../one", "one/../one", "/etc", "one\x00", "one/model.safetensors", "ONE", "%2e%2e", None, 7]
)
def test_an_id_is_never_a_path(tmp_path: Path, id) -> None:
    listed(tmp_path / "one", "spade", {"labels": 3})
    catalog = Catalog([tmp_path], tmp_path / "runs")
    for verb in (catalog.entry, catalog.model):
        with pytest.raises(Refused) as refused:
            verb(id)
        assert (refused.value.status, refused.value.code) == (404, "no-such-model")


def test_links_that_lead_out_are_not_followed_and_those_within_are(tmp_path: Path) -> None:
    outside = listed(tmp_path / "outside" / "secret", "spade", {"labels": 3})
    given = tmp_path / "given"
    listed(given / "store" / "x1", "spade", {"labels": 3})
    (given / "folder-out").symlink_to(outside.parent)
    (given / "file-out").mkdir()
    (given / "file-out" / "model.safetensors").symlink_to(outside)
    (given / "relative").symlink_to("../outside")
    (given / "dangling").symlink_to("nowhere")
    (given / "loop").symlink_to(given)
    (given / "self").symlink_to("self")
    catalog = Catalog([given], tmp_path / "runs")
    assert [entry.path for entry in own(catalog).values()] == [(given / "store" / "x1" / "model.safetensors").resolve()]
    (given / "link").mkdir()
    (given / "link" / "model.safetensors").symlink_to("../store/x2/model.safetensors")
    (given / "store" / "x2").mkdir()
    (given / "store" / "x2" / "model.safetensors").write_bytes(
        (given / "store" / "x1" / "model.safetensors").read_bytes()
    )
    assert len(own(catalog)) == 2
    # The folder that is given may be a link itself.
    (tmp_path / "shortcut").symlink_to(given)
    assert len(own(Catalog([tmp_path / "shortcut"], tmp_path / "runs"))) == 2


def test_pipes_folders_and_what_is_not_readable_do_not_hold_up_the_listing(tmp_path: Path) -> None:
    listed(tmp_path / "good", "spade", {"labels": 3})
    (tmp_path / "folder" / "model.safetensors").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    os.mkfifo(tmp_path / "pipe" / "model.safetensors")
    (tmp_path / "model.txt").touch()
    assert set(own(Catalog([tmp_path], tmp_path / "runs"))) == {"good"}


def test_a_folder_of_too_many_folders_is_not_searched_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FOLDERS", 10)
    listed(tmp_path / "many" / "a", "spade", {"labels": 3})
    for i in range(20):
        (tmp_path / "many" / f"x{i}").mkdir()
    listed(tmp_path / "few" / "b", "spade", {"labels": 3})
    catalog = Catalog([tmp_path / "many", tmp_path / "few"], tmp_path / "runs")
    assert set(own(catalog)) == {"a", "b"}
    assert catalog.problems == {"many": "has more than 10 folders; name some of them alone"}


def test_three_models_are_open_and_the_least_recently_used_is_closed(tmp_path: Path) -> None:
    for name in "abcd":
        spade(tmp_path / name)
    catalog = Catalog([tmp_path], tmp_path / "runs")
    alive = {name: weakref.ref(catalog.model(name)) for name in "abc"}
    assert catalog.model("a") is alive["a"]()
    catalog.model("d")
    gc.collect()
    assert [name for name in "abc" if alive[name]() is None] == ["b"]


def test_a_model_whose_file_changed_is_opened_anew(tmp_path: Path) -> None:
    path = spade(tmp_path / "a")
    catalog = Catalog([tmp_path], tmp_path / "runs")
    model = catalog.model("a")
    assert catalog.model("a") is model
    spade(tmp_path / "a", z_dim=6)
    assert catalog.model("a").network.z_dim == 6
    path.unlink()
    with pytest.raises(Refused) as refused:
        catalog.model("a")
    assert refused.value.status == 404


def test_a_file_that_went_since_the_listing_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spade(tmp_path / "a")
    catalog = Catalog([tmp_path], tmp_path / "runs")
    catalog.entries()
    monkeypatch.setattr(module, "FRESH", 60)
    catalog.entries()
    path.unlink()
    with pytest.raises(Refused) as refused:
        catalog.model("a")
    assert (refused.value.status, refused.value.code) == (404, "no-such-model")


def test_many_threads_open_a_model_once(tmp_path: Path) -> None:
    spade(tmp_path / "a")
    catalog = Catalog([tmp_path], tmp_path / "runs")
    found: list[object] = []

    def work() -> None:
        for _ in range(10):
            assert {"a", "demo", "fruits", "mixed"} == {entry.id for entry in catalog.entries()}
            found.append(catalog.model("a"))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert len({id(model) for model in found}) == 1
