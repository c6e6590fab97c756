"""Foreign `.pth` files that pickle whole networks: their tensors and attributes, with nothing of them executed.

torch's own weights-only unpickler reads them; here it gets an inert stand-in for each class, and no file that asks for
more. It cannot be told of a class by the older container (torch < 1.6), which is therefore put in other words first.
The two forms are facts read from files that torch.save writes and from torch/serialization.py, torch 2.13.
"""

from __future__ import annotations

import functools
import io
import pickle
import pickletools
import re
import threading
import warnings
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor
from torch.serialization import add_safe_globals, clear_safe_globals, get_safe_globals, safe_globals

from pinxit.errors import PinxitError, expected

NN_CLASSES = (
    "torch.nn.modules.activation.LeakyReLU",
    "torch.nn.modules.activation.Tanh",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    # Every module of torch < 1.3 holds one; a function there, but to us one more thing without behaviour.
    "torch.nn.backends.thnn._get_thnn_function_backend",
)
"""The classes of torch.nn that SinGAN's networks consist of (read from its Gs.pth)."""

_STORAGES = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")
# Far less than torch allows: a bytearray of its own, say, takes as much memory as a file of 60 bytes asks for.
_TENSORS = frozenset(
    {"collections.OrderedDict", "__builtin__.set", "builtins.set", "torch.Size"}
    | {f"torch._utils._rebuild_{kind}" for kind in ("tensor", "tensor_v2", "parameter")}
    | {f"torch.{kind}Storage" for kind in _STORAGES}
)
_MAX_DEPTH = 50
_MAX_ENTRIES = 100_000
_MAX_TUPLES = 1000
_alone = threading.Lock()


class Inert:
    """Stands for an object of a foreign class: its attributes (`vars(it)`) and the class' name, no behaviour."""

    @property
    def class_name(self) -> str:
        """`module.Class`, as the file has it."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def __repr__(self) -> str:
        return f"<inert {self.class_name}>"


def load(path: Path, classes: Iterable[str], kind: str = "checkpoint") -> Any:
    """What `torch.save` wrote, in its zip or its older form: tensors on the CPU, containers, numbers, `Inert` objects.

    `classes`: full names of the classes that may occur beside tensors, each read as an `Inert`. What stands where is
    for the caller to check, type by type. `kind`: what messages call the file.

    Raises `PinxitError` where there is no such file, where it is damaged, or asks for any other class or function.
    """
    stubs = {name: _stub(name) for name in classes}
    thing = f"{kind} '{path}'"
    if not path.is_file():
        raise expected(thing, "not there", "a .pth file", "check the folder's name")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise expected(thing, f"unreadable ({error.strerror or error})", "a .pth file", "check its rights") from error
    allowed = _TENSORS | stubs.keys()
    try:
        if data.startswith(b"PK\x03\x04"):  # as torch tells the two apart
            _check_zip(data, allowed)
        else:
            data = _without_source_texts(data, allowed)
        with _allowing([*((stub, name) for name, stub in stubs.items()), (_class_of, f"{__name__}._class_of")]):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True, mmap=False)
    except _Refused as refused:
        name = re.sub(r"[^\w.]", "?", str(refused)[:100])
        advice = "nothing of it was run, do not trust it"
        want = "tensors and networks alone" if stubs else "tensors alone"
        raise expected(thing, f"asking for {name}", want, advice) from None
    except Exception as error:  # a damaged file makes zipfile, pickletools and torch raise anything
        advice = "download it again"
        raise expected(thing, "damaged or nothing that torch.save wrote", "a whole .pth file", advice) from error


def state_dict(module: Inert) -> dict[str, Tensor]:
    """What `nn.Module.state_dict` gives for the module that `module` stands for: dotted names, tensors of any shape.

    Raises `PinxitError` for what is no module, or holds others than modules and tensors, or is nested without end.
    """
    state: dict[str, Tensor] = {}
    pending: list[tuple[str, object]] = [("", module)]
    entries = 0
    while pending:
        prefix, part = pending.pop()
        parameters, buffers, modules = (_named(part, key, prefix) for key in ("_parameters", "_buffers", "_modules"))
        transient = vars(part).get("_non_persistent_buffers_set", set())  # not there before torch 1.6
        if not isinstance(transient, set):
            raise _no_module(prefix, part)
        for name, tensor in [*parameters.items(), *((k, v) for k, v in buffers.items() if k not in transient)]:
            if not isinstance(tensor, Tensor | None):
                raise _no_module(prefix + name, tensor)
            if tensor is not None:
                state[prefix + name] = tensor.detach()
        entries += len(parameters) + len(buffers) + len(modules)
        # The second is for modules that hold the same ones twice, level by level: few objects, names without number.
        if prefix.count(".") > _MAX_DEPTH or entries > _MAX_ENTRIES:
            raise expected("the network", "nested without end", f"at most {_MAX_DEPTH} levels", "do not trust the file")
        children = [(f"{prefix}{name}.", child) for name, child in modules.items() if child is not None]
        pending += reversed(children)  # the order of nn.Module: a child with all below it before the next one
    return state


def _named(part: object, key: str, prefix: str) -> dict[str, Any]:
    held = vars(part).get(key) if isinstance(part, Inert) else None
    # A dot in a name would let two tensors have the same dotted one.
    if not isinstance(held, dict) or not all(isinstance(name, str) and "." not in name for name in held):
        raise _no_module(prefix, part)
    return held


def _no_module(name: str, got: object) -> PinxitError:
    thing = f"{name.rstrip('.')} in the network" if name else "the network"
    kind = got.class_name if isinstance(got, Inert) else type(got).__name__
    return expected(thing, f"a {kind}", "a module made of modules and tensors", "check that this is the right file")


@functools.cache
def _stub(name: str) -> type[Inert]:
    module, _, qualname = name.rpartition(".")
    return type(qualname, (Inert,), {"__module__": module, "__qualname__": qualname})


@contextmanager
def _allowing(named: list[Any]) -> Iterator[None]:
    """torch's list of what may occur, which is one for the process, holds these alone and then what it held before.

    Whoever had put the real class there would else get it made, for the names are the same.
    """
    with _alone, warnings.catch_warnings():
        # Told of a file of another protocol, which may be read all the same.
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        others = get_safe_globals()
        clear_safe_globals()
        try:
            with safe_globals(named):
                yield
        finally:
            add_safe_globals(others)


class _Refused(Exception):
    """The name of what a file may not have."""


class _Seen(NamedTuple):
    """What an opcode leaves on the unpickler's stack, as far as it matters here."""

    op: str
    arg: object
    items: Sequence[_Seen]
    """Of a tuple."""
    tuples: int
    """In it, with itself, as often as they are met on a walk through it."""
    start: int
    """Where in the file its opcode is, or the mark that opens it."""


def _scan(f: BinaryIO, allowed: Collection[str]) -> tuple[list[tuple[_Seen, int]], list[str]]:
    """Walk through the pickle at `f` without making anything of it.

    Gives each persistent id with the position of its opcode, and all texts. Raises `_Refused` for a name not
    `allowed`, and `ValueError` for what torch would not survive: tuples in tuples, used as a key, overflow the
    stack or take for ever, and so does telling that a list of lists cannot be called.
    """
    stack: list[_Seen] = []
    marks: list[int] = []
    memo: dict[object, _Seen] = {}
    persistent: list[tuple[_Seen, int]] = []
    texts: list[str] = []
    last = ""
    for op, arg, position in pickletools.genops(f):
        start = position or 0
        count = len(op.stack_before)
        if pickletools.markobject in op.stack_before:
            count = len(stack) - marks.pop() + op.stack_before.index(pickletools.markobject)
        if count > len(stack):
            raise ValueError("nothing on the stack")
        used = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        name = None
        if op.name in ("GLOBAL", "INST"):
            name = str(arg).replace(" ", ".", 1)
        elif op.name == "STACK_GLOBAL":  # of protocol 4, which torch's unpickler cannot read: for the message alone
            name = ".".join(str(item.arg) for item in used)
        elif op.name in ("REDUCE", "NEWOBJ") and used[0].op not in ("GLOBAL", "BINPERSID"):
            raise ValueError("a call of no function")
        elif op.name == "BINPERSID":
            if last != "TUPLE":
                raise ValueError("a persistent id that is not made where it is used")
            persistent.append((used[0], start))
        elif op.name == "MARK":
            marks.append(len(stack))
        elif op.name == "TUPLE":
            start = used.pop(0).start
        if name is not None and name not in allowed:
            raise _Refused(name)
        if op.name.endswith("PUT"):
            memo[arg] = stack[-1]
            continue
        if op.name == "MEMOIZE":  # of protocol 4, as STACK_GLOBAL
            memo[len(memo)] = used[0]
            stack += used
            continue
        last = op.name
        if op.name.endswith("GET"):
            stack.append(memo[arg])
        else:
            is_tuple = op.name.startswith("TUPLE")
            tuples = 1 + sum(item.tuples for item in used) if is_tuple else 0
            if tuples > _MAX_TUPLES:
                raise ValueError("tuples in tuples without end")
            stack += [_Seen(op.name, arg, used if is_tuple else (), tuples, start)] * len(op.stack_after)
            if isinstance(arg, str):
                texts.append(arg)
    return persistent, texts


def _check_zip(data: bytes, allowed: Collection[str]) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        # torch.save does not compress; whoever does can fill the memory with a small file.
        if sum(record.file_size for record in archive.infolist()) > len(data) or archive.testzip() is not None:
            raise zipfile.BadZipFile
        for name in archive.namelist():
            if name.endswith("data.pkl"):
                _scan(io.BytesIO(archive.read(name)), allowed)


def _without_source_texts(data: bytes, allowed: Collection[str]) -> bytes:
    """The older container as torch's unpickler can read it.

    A class of modules stands in it as a persistent object `("module", class, file, source text)`, which the
    weights-only unpickler refuses whatever the class. Its opcodes become those of `_class_of("module", class, ...)`.

    Raises `ValueError` for what torch.save never writes, and torch reads into memory that is not its own: tensors
    without contents, and storages that are views (the last item is then not None), whose base may be moved.
    """
    f = io.BytesIO(data)
    for _ in range(3):  # a magic number, the version, sizes of types
        _scan(f, allowed)
    persistent, _ = _scan(f, allowed)
    end = f.tell()
    _, stored = _scan(f, allowed)  # a list of keys; the contents of the tensors follow
    edits: dict[int, bytes] = {}
    for pid, position in persistent:
        kind, what, key, *rest = pid.items
        if kind.arg == "module" and what.op == "GLOBAL":
            edits[pid.start] = f"c{__name__}\n_class_of\n(".encode()
            edits[position] = b"R"
        elif key.arg not in stored or len(rest) != 3 or rest[-1].op != "NONE":
            raise ValueError(f"no contents of its own in {key.arg}")
    out, done = bytearray(), 0
    for position in sorted(edits):  # each in place of one byte
        out += data[done:position] + edits[position]
        done = position + 1
    # The keys are written anew for torch to find the very ones that were looked for.
    return bytes(out + data[done:end] + pickle.dumps(stored, protocol=2) + data[f.tell() :])


def _class_of(kind: object, named: object, *texts: object) -> object:
    return named
