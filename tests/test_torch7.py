"""Files of Lua Torch 7 are read as what they hold, or refused with one line; nothing in them is executed."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinxit.errors import PinxitError
from pinxit.torch7 import Object, Table, load

KINDS = {np.dtype(np.float32): "Float", np.dtype(np.float64): "Double", np.dtype(np.int64): "Long"}


class Writer:
    """Writes objects in the form of torch7's File.lua: dicts as tables, lists as tables from 1, arrays as tensors
    (views of one array share its storage), `Object`s as objects of classes; what comes twice, by its number."""

    def __init__(self) -> None:
        self.out, self.numbers, self.held = bytearray(), {}, []

    def write(self, value: Any) -> Writer:
        if value is None:
            self.int(0)
        elif isinstance(value, bool):
            self.int(5, int(value))
        elif isinstance(value, int | float):
            self.int(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str):
            self.int(2)
            self.string(value)
        elif isinstance(value, dict | list):
            if self.begun(3, value):
                pairs = value.items() if isinstance(value, dict) else enumerate(value, 1)
                self.int(len(value))
                for key, held in pairs:
                    self.write(key)
                    self.write(held)
        elif isinstance(value, np.ndarray):
            self.tensor(value)
        elif isinstance(value, Object):
            if self.begun(4, value):
                self.named(value.class_name)
                self.write(value.fields)
        elif isinstance(value, Held):
            self.write(value.held)
        else:
            raise TypeError(type(value))
        return self

    def tensor(self, value: np.ndarray) -> None:
        if not self.begun(4, value):
            return
        base = value
        while isinstance(base.base, np.ndarray):
            base = base.base
        self.named(f"torch.{KINDS[value.dtype]}Tensor")
        self.int(value.ndim)
        offset = (value.ctypes.data - base.ctypes.data) // value.itemsize
        self.out += struct.pack(f"<{2 * value.ndim}q", *value.shape, *(s // value.itemsize for s in value.strides))
        self.out += struct.pack("<q", offset + 1)
        if self.begun(4, base, "storage"):
            self.named(f"torch.{KINDS[value.dtype]}Storage")
            self.out += struct.pack("<q", base.size) + base.tobytes()

    def begun(self, kind: int, value: Any, what: str = "") -> bool:
        """Write kind and number; whether what it holds is to follow."""
        self.int(kind)
        self.held.append(value)  # or another object might have its place in memory, and so its number
        known = self.numbers.get((id(value), what))
        number = self.numbers.setdefault((id(value), what), len(self.numbers) + 1)
        self.int(number)
        return known is None

    def named(self, name: str) -> None:
        self.string("V 1")
        self.string(name)

    def string(self, text: str) -> None:
        self.int(len(text))
        self.out += text.encode("latin-1")

    def int(self, *values: int) -> None:
        self.out += struct.pack(f"<{len(values)}i", *values)


class Held:
    """A key of a table that is a table itself, which no dict is of a dict."""

    def __init__(self, held: Any) -> None:
        self.held = held


def lua(name: str, **fields: Any) -> Object:
    made = Object(name)
    made.fields = fields
    return made


def written(path: Path, value: Any) -> Path:
    path.write_bytes(Writer().write(value).out)
    return path


def test_values_of_every_kind(tmp_path: Path) -> None:
    shared = np.arange(12, dtype=np.float32)
    linear = lua("nn.Linear", weight=shared[:6].reshape(2, 3), bias=shared[6:8], train=False)
    value = {
        "number": 1.5,
        "whole": 3,
        "none": None,
        "yes": True,
        "text": "gr\xfcn\0",
        "list": ["a", "b", 4],
        "linear": linear,
        "again": linear,
        "turned": shared.reshape(3, 4).T,
        "nothing": np.zeros((0,), np.float64),
        "longs": np.array([-1, 2**40]),
    }
    read = load(written(tmp_path / "it.t7", value))
    assert (read.get("number"), read.get("whole"), read.get("none"), read.get("yes")) == (1.5, 3, None, True)
    assert read.get("text") == "gr\xfcn\0"
    assert read.get("list").values() == ["a", "b", 4]
    assert read.get("linear") is read.get("again")
    assert read.get("linear").class_name == "nn.Linear"
    np.testing.assert_array_equal(read.get("linear").get("weight"), shared[:6].reshape(2, 3))
    assert np.shares_memory(read.get("linear").get("weight"), read.get("turned"))
    np.testing.assert_array_equal(read.get("turned"), shared.reshape(3, 4).T)
    assert read.get("nothing").size == 0
    assert read.get("longs").tolist() == [-1, 2**40]


def test_tensors_of_a_gpu(tmp_path: Path) -> None:
    """As a network that was saved from one has them."""
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    data = bytes(Writer().write([weight, weight[1]]).out)
    for kind in (b"Tensor", b"Storage"):
        name = b"torch.Float" + kind
        data = data.replace(
            struct.pack("<i", len(name)) + name, struct.pack("<i", len(name) - 1) + b"torch.Cuda" + kind
        )
    assert b"Float" not in data
    (tmp_path / "it.t7").write_bytes(data)
    for got, want in zip(load(tmp_path / "it.t7").values(), (weight, weight[1]), strict=True):
        np.testing.assert_array_equal(got, want)


def test_what_holds_itself_and_tables_as_keys(tmp_path: Path) -> None:
    node: dict[Any, Any] = {}
    node["me"] = node
    node[Held(node)] = 1
    read = load(written(tmp_path / "it.t7", node))
    assert read.get("me") is read
    assert read.get(read) == 1
    assert repr(read) == "<table of 2>"


def test_nested_deeper_than_any_stack(tmp_path: Path) -> None:
    depth = 50_000
    level = struct.Struct("<iiiiid")  # a table of one, whose key is the number 1
    out = b"".join(level.pack(3, i, 1, 1, 0, 0.0)[:12] + struct.pack("<id", 1, 1.0) for i in range(1, depth + 1))
    (tmp_path / "deep.t7").write_bytes(out + struct.pack("<i", 0))
    read, met = load(tmp_path / "deep.t7"), 0
    while isinstance(read, Table):
        read, met = read.get(1), met + 1
    assert met == depth


def test_functions_are_not_run(tmp_path: Path) -> None:
    w = Writer()
    w.int(8, 99)
    w.string("\x1bLJ os.execute")
    w.write([{"name": "x", "value": 1}])
    (tmp_path / "it.t7").write_bytes(w.out)
    read = load(tmp_path / "it.t7")
    assert (read.class_name, read.get("x")) == ("function", None)


def tensor_of(shape: list[int], strides: list[int], offset: int, storage: bytes, size: int | None = None) -> bytes:
    w = Writer()
    w.int(4, 1)
    w.named("torch.FloatTensor")
    w.int(len(shape))
    w.out += struct.pack(f"<{len(shape) + len(strides) + 1}q", *shape, *strides, offset)
    w.int(4, 2)
    w.named("torch.FloatStorage")
    w.out += struct.pack("<q", len(storage) // 4 if size is None else size) + storage
    return bytes(w.out)


BAD = {
    "empty": (b"", "ends too early"),
    "ascii": (b"4\n1\n3\nV 1\n", "of Torch's ASCII form, expected the binary one"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\0", "an object of kind"),
    "more follows": (struct.pack("<ii", 5, 1) + b"more", "4 bytes after its end"),
    "a string without end": (struct.pack("<ii", 2, 2**31 - 1), "no room"),
    "a negative string": (struct.pack("<ii", 2, -1), "no room"),
    "a table without end": (struct.pack("<iii", 3, 1, 2**31 - 1), "no room"),
    "a nil key": (struct.pack("<iiiiii", 3, 1, 1, 0, 0, 0), "key is nil"),
    "a storage without end": (tensor_of([1], [1], 1, b"1234", 2**62), "ends too early"),
    "a negative storage": (tensor_of([1], [1], 1, b"1234", -1), "a storage of -1"),
    "beyond its storage": (tensor_of([2, 2], [2, 1], 1, b"1234" * 3), "larger than its storage"),
    "from outside of it": (tensor_of([1], [1], 9, b"1234"), "larger than its storage"),
    "from before it": (tensor_of([1], [1], 0, b"1234"), "negative"),
    "backwards": (tensor_of([2], [-1], 2, b"1234" * 2), "negative"),
    "a bomb": (tensor_of([2**40], [0], 1, b"1234"), "larger than its storage"),
    "a bomb of nothing": (tensor_of([2**62, 2**62, 0], [1, 1, 1], 1, b"1234"), "damaged"),
    "of many dimensions": (tensor_of([1] * 33, [1] * 33, 1, b"1234"), "33 dimensions"),
    "in itself": (
        struct.pack("<ii", 4, 1)
        + b"\x03\0\0\0V 1\x11\0\0\0torch.FloatTensor"
        + struct.pack("<iqqqii", 1, 1, 1, 1, 4, 1),
        "a tensor in itself",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_one_line(name: str, tmp_path: Path) -> None:
    data, told = BAD[name]
    (tmp_path / "bad.t7").write_bytes(data)
    with pytest.raises(PinxitError) as error:
        load(tmp_path / "bad.t7")
    assert told in str(error.value)
    assert "bad.t7" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"is not there, expected a \.t7 file"):
        load(tmp_path / "none.t7")


def test_any_damage_is_read_or_refused(tmp_path: Path) -> None:
    """Bytes changed, cut out and doubled at random: whatever comes of it, it is no other error, and no memory."""
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    layer = lua("nn.Linear", weight=weight, bias=weight[0], train=True)
    good = bytes(Writer().write({"protos": {"enc_doc": layer}, "list": [layer, 1.5, None, "text", True]}).out)
    chance, path, refused, lines = random.Random(0), tmp_path / "it.t7", 0, set()
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at : at + 4] = struct.pack("<i", chance.choice((-1, 0, 1, 2, 3, 4, 8, 2**31 - 1)))
                case 2:
                    del data[at : at + chance.randint(1, 20)]
                case _:
                    data[at:at] = data[at : at + chance.randint(1, 20)]
        path.write_bytes(data)
        try:
            load(path)
        except PinxitError as error:
            refused += 1
            lines.add(str(error).count("\n"))
    assert refused > 700
    assert lines == {0}
