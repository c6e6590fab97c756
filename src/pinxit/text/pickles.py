"""Pickles of numbers, texts and NumPy arrays, as Python 2 or 3 wrote them, read without an unpickler.

The opcodes of such files are carried out here, one by one (their meanings: Python's pickletools); a name of a class or
function is only compared with those that NumPy puts around an array. What is not known here is not done.
"""

from __future__ import annotations

import codecs
import math
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pinxit.errors import expected

_MODULES = r"numpy\.(?:core|_core)\."
_KNOWN = {
    _MODULES + r"multiarray\._reconstruct": "reconstruct",
    _MODULES + r"multiarray\.scalar": "scalar",
    _MODULES + r"numeric\._frombuffer": "frombuffer",
    r"numpy\.ndarray": "ndarray",
    r"numpy\.dtype": "dtype",
    r"_codecs\.encode": "encode",
}
_KINDS = re.compile(r"[<>=|]?([biuf][1248]|O8)")


def read_pickle(path: Path, kind: str = "pickle") -> Any:
    """What the pickle holds: lists, tuples, numbers, None, `str`, `bytes` (also for Python 2's texts), arrays.

    Arrays of numbers are read-only; those of objects, with one axis, come as lists. The same object may be met many
    times, and a list within itself. `kind`: what messages call the file.

    Raises `PinxitError` where there is no such file, where it is damaged, or holds or asks for anything else.
    """
    thing = f"{kind} '{path}'"
    if not path.is_file():
        raise expected(thing, "not there", "a pickle of arrays and lists", "check the path")
    try:
        with path.open("rb") as f, warnings.catch_warnings():
            # Backslashes that mean nothing: of a damaged file, and what is around them tells.
            warnings.filterwarnings("ignore", "invalid .*escape")
            return _Reader(f, path.stat().st_size).read()
    except _Refused as refused:
        name = re.sub(r"[^\w.]", "?", str(refused)[:100])
        want = "numbers, texts and arrays alone"
        raise expected(thing, f"asking for {name}", want, "nothing of it was run, do not trust it") from None
    except OSError as error:
        raise expected(thing, f"unreadable ({error.strerror or error})", "a pickle", "check its rights") from error
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError, struct.error) as error:
        raise expected(thing, "damaged or no pickle of arrays and lists", "a whole one", "download it again") from error


class _Refused(Exception):
    """The name of what a file may not have."""


class _Name(NamedTuple):
    known: str
    """One of the values of `_KNOWN`."""


class _DType:
    def __init__(self, code: object) -> None:
        match = _KINDS.fullmatch(_text(code))
        if match is None:
            raise _Refused(f"numpy.dtype.{_text(code)}")
        self.code, self.order = match[1], "="

    def numpy(self) -> np.dtype:
        if self.code == "O8":
            raise ValueError("objects have no bytes")
        return np.dtype(self.order + self.code)


class _Array:
    """Made by one opcode and filled by a later one."""

    value: np.ndarray | list[Any] | None = None


class _Reader:
    """The unpickler's machine: a stack, marks on it, and a memo."""

    def __init__(self, f: BinaryIO, size: int) -> None:
        self.f, self.size = f, size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.encoded = 0

    def read(self) -> Any:
        while (code := self.take(1)) != b".":
            if code not in _DO:
                raise ValueError(f"opcode {code!r}")
            _DO[code](self)
        return _plain(self.pop())

    def take(self, count: int) -> bytes:
        # Asked for more than there is, Python would first make room for it.
        data = self.f.read(count) if 0 <= count <= self.size else b""
        if len(data) != count:
            raise ValueError("cut off")
        return data

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> bytes:
        line = self.f.readline()
        if not line.endswith(b"\n"):
            raise ValueError("cut off")
        return line[:-1]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ValueError("nothing on the stack")
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = [_plain(item) for item in self.stack[start:]]
        del self.stack[start:]
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        return tuple(_plain(self.pop()) for _ in range(count))[::-1]

    def extend(self, items: list[Any]) -> None:
        into = self.pop()
        if type(into) is not list:
            raise ValueError("no list")
        into += items
        self.push(into)

    def name(self, module: object, name: object) -> None:
        full = f"{_text(module)}.{_text(name)}".replace("__builtin__.", "builtins.", 1)
        for pattern, known in _KNOWN.items():
            if re.fullmatch(pattern, full):
                return self.push(_Name(known))
        raise _Refused(full)

    def reduce(self) -> None:
        arguments, called = self.pop(), self.pop()
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of no function")
        match called.known, arguments:
            case "reconstruct", (_Name("ndarray"), _, _):
                self.push(_Array())
            case "dtype", (code, *_):
                self.push(_DType(code))
            case "scalar", (_DType() as dtype, bytes() as data):
                self.push(np.frombuffer(data, dtype.numpy(), 1)[0].item())
            case "frombuffer", (bytes() as data, _DType() as dtype, tuple() as shape, order):
                self.push(_array(data, dtype, shape, order == "F"))
            case "encode", (str() as text, "latin1" | "latin-1"):
                self.encoded += len(text)
                if self.encoded > self.size:
                    raise ValueError("one text encoded again and again")
                self.push(text.encode("latin-1"))
            case _:
                raise ValueError(f"a call of {called.known} with others than its arguments")

    def build(self) -> None:
        state, target = self.pop(), self.pop()
        match target, state:
            case _Array(), (*_, tuple() as shape, _DType() as dtype, fortran, bytes() | list() as data):
                target.value = _array(data, dtype, shape, bool(fortran))
            case _DType(), (_, order, *_) if _text(order) in ("<", ">", "=", "|"):
                target.order = _text(order)
            case _:
                raise ValueError("a state of nothing known")
        self.push(target)


def _array(data: bytes | list[Any], dtype: _DType, shape: tuple[Any, ...], fortran: bool) -> np.ndarray | list[Any]:
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError("a shape of others than a few numbers")
    if isinstance(data, list):
        if dtype.code != "O8" or shape != (len(data),):
            raise ValueError("objects in another form than a list")
        return data
    # Python's own product: NumPy's would wrap around.
    if len(data) != math.prod(shape) * dtype.numpy().itemsize:
        raise ValueError("another number of bytes than the shape has")
    return np.frombuffer(data, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    """What may be in a container: an array itself instead of what it was put together in."""
    if isinstance(value, _Array):
        if value.value is None:
            raise ValueError("an array without contents")
        return value.value
    return value


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _quoted(line: bytes) -> bytes:
    """Of a Python 2 text as `repr` gave it."""
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("a text without quotes")
    return codecs.escape_decode(line[1:-1])[0]  # pyright: ignore[reportAttributeAccessIssue] - as pickle does


def _integer(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}.get(line, int(line.rstrip(b"L")))


_Do = Callable[[_Reader], Any]
# For the numbers and texts of a fixed form: opcode -> how the value is read.
_VALUES: dict[bytes, _Do] = {
    b"N": lambda r: None,
    b"\x88": lambda r: True,
    b"\x89": lambda r: False,
    b"I": lambda r: _integer(r.line()),
    b"L": lambda r: _integer(r.line()),
    b"J": lambda r: r.number("<i"),
    b"K": lambda r: r.number("<B"),
    b"M": lambda r: r.number("<H"),
    b"\x8a": lambda r: int.from_bytes(r.take(r.number("<B")), "little", signed=True),
    b"\x8b": lambda r: int.from_bytes(r.take(r.number("<i")), "little", signed=True),
    b"F": lambda r: float(r.line()),
    b"G": lambda r: r.number(">d"),
    b"S": lambda r: _quoted(r.line()),
    b"T": lambda r: r.take(r.number("<i")),
    b"U": lambda r: r.take(r.number("<B")),
    b"B": lambda r: r.take(r.number("<I")),
    b"C": lambda r: r.take(r.number("<B")),
    b"\x8e": lambda r: r.take(r.number("<Q")),
    b"\x96": lambda r: r.take(r.number("<Q")),
    b"V": lambda r: r.line().decode("raw-unicode-escape"),
    b"X": lambda r: r.take(r.number("<I")).decode("utf-8", "surrogatepass"),
    b"\x8c": lambda r: r.take(r.number("<B")).decode("utf-8", "surrogatepass"),
    b"\x8d": lambda r: r.take(r.number("<Q")).decode("utf-8", "surrogatepass"),
    b"]": lambda r: [],
    b")": lambda r: (),
    b"l": lambda r: r.since_mark(),
    b"t": lambda r: tuple(r.since_mark()),
    b"\x85": lambda r: r.last(1),
    b"\x86": lambda r: r.last(2),
    b"\x87": lambda r: r.last(3),
    b"g": lambda r: r.memo[int(r.line())],
    b"h": lambda r: r.memo[r.number("<B")],
    b"j": lambda r: r.memo[r.number("<I")],
}
_DO: dict[bytes, _Do] = {code: lambda r, value=value: r.push(value(r)) for code, value in _VALUES.items()} | {
    b"\x80": lambda r: r.take(1),  # the protocol, and the length of a frame
    b"\x95": lambda r: r.take(8),
    b"(": lambda r: r.marks.append(len(r.stack)),
    b"a": lambda r: r.extend([_plain(r.pop())]),
    b"e": lambda r: r.extend(r.since_mark()),
    b"p": lambda r: r.memo.__setitem__(int(r.line()), r.stack[-1]),
    b"q": lambda r: r.memo.__setitem__(r.number("<B"), r.stack[-1]),
    b"r": lambda r: r.memo.__setitem__(r.number("<I"), r.stack[-1]),
    b"\x94": lambda r: r.memo.__setitem__(len(r.memo), r.stack[-1]),
    b"c": lambda r: r.name(r.line(), r.line()),
    b"i": lambda r: r.name(r.line(), r.line()),  # which makes an object: only its name is of interest
    b"\x93": lambda r: r.name(*r.last(2)),
    b"R": _Reader.reduce,
    b"b": _Reader.build,
}
