"""Files that `torch.save` of Lua Torch 7 wrote (`.t7`): tables, tensors and objects of classes, with nothing executed.

The form is a fact read from torch7's File.lua and generic/Tensor.c, Storage.c: the binary one, little-endian, with
longs of 8 bytes. Every object begins with its kind, an int; what may be met again has a number, by which it is then
meant. A file is read without recursion, as graphs of modules are nested deeper than Python's stack; memory is bounded
by the file's size, and every size and place in it is held against what there is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from pinxit.errors import PinxitError, expected

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN, _FUNCTION, _LEGACY_FUNCTION, _RECURSIVE_FUNCTION = range(9)
_DTYPES = {
    "Byte": np.uint8,
    "Char": np.int8,
    "Short": np.int16,
    "Int": np.int32,
    "Long": np.int64,
    "Half": np.float16,
    "Float": np.float32,
    "Double": np.float64,
}
_STORAGES = {f"torch.{cuda}{kind}Storage": d for kind, d in _DTYPES.items() for cuda in ("", "Cuda")}
_STORAGES["torch.CudaStorage"] = np.float32
_TENSORS = {name.replace("Storage", "Tensor"): dtype for name, dtype in _STORAGES.items()}
_MOST_DIMENSIONS = 32
_UNREAD = object()
"""Stands for a tensor or storage that refers to itself, which none does."""


class Table:
    """A Lua table. Keys that are whole numbers are `int`; other tables may be keys too, by identity."""

    def __init__(self) -> None:
        self.entries: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """What stands there, or None."""
        return self.entries.get(key)

    def values(self) -> list[Any]:
        """What stands at 1, 2, 3, … up to the first that is missing, as Lua's `ipairs`."""
        found: list[Any] = []
        while len(found) + 1 in self.entries:
            found.append(self.entries[len(found) + 1])
        return found

    def __repr__(self) -> str:
        return f"<table of {len(self.entries)}>"  # its entries may hold it


class Object:
    """An object of a Lua class: its name and its fields, without behaviour. A function is one of class `function`."""

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name
        self.fields: Any = None

    def get(self, key: Any) -> Any:
        """The field of that name, or None."""
        return self.fields.get(key) if isinstance(self.fields, Table) else None

    def __repr__(self) -> str:
        return f"<inert {self.class_name}>"


def load(path: Path, kind: str = "Torch 7 file") -> Any:
    """What the file at `path` holds: None, bool, int, float, str, `Table`, `Object`, or an array for each tensor.

    Strings are read as Latin-1, one character a byte. Arrays are views of the file's contents, tensors of CUDA too;
    those that shared a storage share it. Half floats are float16. `kind`: what messages call the file. What stands
    where is for the caller to check, type by type.

    Raises `PinxitError` where there is no such file, where it is damaged, of the ASCII form or of another system.
    """
    thing = f"{kind} '{path}'"
    if not path.is_file():
        raise expected(thing, "not there", "a .t7 file", "check the path")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise expected(thing, f"unreadable ({error.strerror or error})", "a .t7 file", "check its rights") from error
    if data[:2] in (b"3\n", b"4\n"):
        advice = "save it in Torch by torch.save(name, object)"
        raise expected(thing, "of Torch's ASCII form", "the binary one", advice)
    try:
        return _Reader(data).whole()
    except _Bad as bad:
        raise _damaged(thing, str(bad)) from None
    except (struct.error, ValueError, OverflowError, MemoryError) as error:
        raise _damaged(thing, str(error)) from error


def _damaged(thing: str, why: str) -> PinxitError:
    advice = "download it again"
    return expected(thing, f"damaged or nothing that Torch 7 wrote ({why})", "a whole .t7 file", advice)


class _Bad(Exception):
    """Why a file cannot be what it claims to be."""


_Reading = Generator["_Reading", Any, Any]
"""The reading of one object: it yields the readings of objects within, is sent what they read, and returns its own."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.known: dict[int, Any] = {}

    def whole(self) -> Any:
        """The one object that a file holds."""
        stack, value = [self.object()], None
        while stack:
            try:
                stack.append(stack[-1].send(value))
                value = None
            except StopIteration as done:
                stack.pop()
                value = done.value
        if self.at != len(self.data):
            raise _Bad(f"{len(self.data) - self.at} bytes after its end")
        return value

    def object(self) -> _Reading:
        kind = self.read_int()
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            (number,) = struct.unpack("<d", self.take(8))
            return int(number) if number.is_integer() else number
        if kind == _BOOLEAN:
            return self.read_int() == 1
        if kind == _STRING:
            return self.read_string()
        if kind == _FUNCTION:  # the oldest form: it has no number
            return (yield self.function(Object("function")))
        if kind not in (_TABLE, _TORCH, _LEGACY_FUNCTION, _RECURSIVE_FUNCTION):
            raise _Bad(f"an object of kind {kind}")
        number = self.read_int()
        if number in self.known:
            if self.known[number] is _UNREAD:
                raise _Bad("a tensor in itself")
            return self.known[number]
        if kind == _TABLE:
            table = self.known[number] = Table()
            return (yield self.table(table))
        if kind != _TORCH:
            function = self.known[number] = Object("function")
            return (yield self.function(function))
        name = self.read_string()
        if name.startswith("V "):  # a version, which files before its invention lack
            name = self.read_string()
        if name in _STORAGES or name in _TENSORS:
            self.known[number] = _UNREAD
            read = self.tensor(np.dtype(_TENSORS[name])) if name in _TENSORS else self.storage(_STORAGES[name])
            self.known[number] = array = yield read
            return array
        thing = self.known[number] = Object(name)
        thing.fields = yield self.object()
        return thing

    def table(self, table: Table) -> _Reading:
        for _ in range(self.read_count(8)):
            key = yield self.object()
            value = yield self.object()
            if key is None or isinstance(key, np.ndarray):
                raise _Bad("a table whose key is nil or a tensor")
            table.entries[key] = value
        return table

    def function(self, function: Object) -> _Reading:
        self.read_string()  # its bytecode, which nobody runs
        yield self.object()
        return function

    def storage(self, dtype: Any) -> _Reading:
        dtype = np.dtype(dtype).newbyteorder("<")
        size = self.read_long()
        if size < 0:
            raise _Bad(f"a storage of {size}")
        return np.frombuffer(self.take(size * dtype.itemsize), dtype)
        yield  # a reading, though of nothing within

    def tensor(self, dtype: np.dtype) -> _Reading:
        dimensions = self.read_int()
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise _Bad(f"a tensor of {dimensions} dimensions")
        shape = [self.read_long() for _ in range(dimensions)]
        strides = [self.read_long() for _ in range(dimensions)]
        offset = self.read_long() - 1
        storage = yield self.object()
        if storage is None or not dimensions:
            return np.empty(0, dtype)
        if not isinstance(storage, np.ndarray) or storage.ndim != 1 or storage.dtype != dtype:
            raise _Bad("a tensor without a storage of its type")
        if min(shape) < 0 or min(strides) < 0 or offset < 0:
            raise _Bad("a tensor of negative size")
        elements = math.prod(shape)
        last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        # The first alone would not do: with strides of 0 a few bytes make a tensor without end.
        if elements > storage.size or (elements and last >= storage.size):
            raise _Bad("a tensor larger than its storage")
        if not elements:
            return np.empty(shape, dtype)
        steps = [stride * dtype.itemsize for stride in strides]
        return np.ndarray(shape, dtype, storage, offset * dtype.itemsize, steps)

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise _Bad("it ends too early")
        self.at += count
        return memoryview(self.data)[self.at - count : self.at]

    def read_int(self) -> int:
        return struct.unpack("<i", self.take(4))[0]

    def read_long(self) -> int:
        return struct.unpack("<q", self.take(8))[0]

    def read_count(self, least: int) -> int:
        """How many things follow, each of `least` bytes or more."""
        count = self.read_int()
        if not 0 <= count <= (len(self.data) - self.at) // least:
            raise _Bad(f"{count} things where there is no room for them")
        return count

    def read_string(self) -> str:
        return str(self.take(self.read_count(1)), "latin-1")
