"""Files that pickle whole networks: their tensors come out, and whatever else is in them is never run."""

from __future__ import annotations

import argparse
import ast
import builtins
import inspect
import io
import os
import pickle
import struct
import subprocess
import sys
import types
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.serialization import add_safe_globals, get_safe_globals, safe_globals

from pinxit.errors import PinxitError
from pinxit.unpickle import NN_CLASSES, Inert, load, state_dict

SINGAN = ("SinGAN.models.ConvBlock", "SinGAN.models.GeneratorConcatSkip2CleanAdd")
CLASSES = (*NN_CLASSES, *SINGAN, "argparse.Namespace")
FORMS = ("zip", "legacy")


class ConvBlock(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(channels, 4, 3, bias=channels == 4))
        self.add_module("norm", nn.BatchNorm2d(4))
        self.add_module("LeakyRelu", nn.LeakyReLU(0.2))


class GeneratorConcatSkip2CleanAdd(nn.Module):
    """Built like SinGAN's, and smaller; with all that a state dict passes over."""

    def __init__(self) -> None:
        super().__init__()
        self.head = ConvBlock(3)
        self.body = nn.Sequential(ConvBlock(4))
        self.tail = nn.Sequential(nn.Conv2d(4, 3, 3), nn.Tanh())
        self.absent = None
        self.register_module("nothing", None)
        self.register_buffer("passing", torch.ones(2), persistent=False)
        self.register_buffer("none", None)


@contextmanager
def their_code(*members: type) -> Iterator[None]:
    """For the time of saving, `members` are those of a module `SinGAN.models` that can be imported."""
    module = types.ModuleType("SinGAN.models")
    module.__file__ = __file__
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "SinGAN", types.ModuleType("SinGAN"))
        patch.setitem(sys.modules, "SinGAN.models", module)
        for member in members:
            patch.setattr(member, "__module__", "SinGAN.models")
            patch.setattr(module, member.__name__, member, raising=False)
        yield


def saved(form: str, value: object, protocol: int = 2) -> bytes:
    f = io.BytesIO()
    with their_code(ConvBlock, GeneratorConcatSkip2CleanAdd):
        torch.save(value, f, pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
    return f.getvalue()


def container(form: str, pickled: bytes, storages: dict[str, bytes] | None = None, element: int = 4) -> bytes:
    """What torch.save puts around a pickle, for one that it would not write."""
    storages = storages or {}
    f = io.BytesIO()
    if form == "zip":
        with zipfile.ZipFile(f, "w") as archive:
            for name, data in {"data.pkl": pickled, "version": b"3\n", "byteorder": b"little"}.items():
                archive.writestr(f"made/{name}", data)
            for key, data in storages.items():
                archive.writestr(f"made/data/{key}", data)
        return f.getvalue()
    for value in (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {"little_endian": True}):
        pickle.dump(value, f, protocol=2)
    f.write(pickled)
    pickle.dump(sorted(storages), f, protocol=2)
    for _, data in sorted(storages.items()):
        f.write(struct.pack("<q", len(data) // element) + data)
    return f.getvalue()


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def named(name: str) -> bytes:
    """The opcode that asks for a class or function."""
    module, _, qualname = name.rpartition(".")
    return f"c{module}\n{qualname}\n".encode()


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def tensor(form: str, claimed: int, size: int, key: str = "0") -> bytes:
    """Opcodes of a float tensor of `size` elements in a storage said to have `claimed`."""
    pid = b"(" + text("storage") + named("torch.FloatStorage") + text(key) + text("cpu") + number(claimed)
    pid += (b"N" if form == "legacy" else b"") + b"tQ"
    rest = number(0) + number(size) + b"\x85" + number(1) + b"\x85\x89" + named("collections.OrderedDict") + b")R"
    return named("torch._utils._rebuild_tensor_v2") + b"(" + pid + rest + b"tR"


def program(*opcodes: bytes) -> bytes:
    return b"\x80\x02" + b"".join(opcodes) + b"."


def at(folder: Path, data: bytes) -> Path:
    path = folder / "Gs.pth"
    path.write_bytes(data)
    return path


def refuses(path: Path, words: str) -> str:
    """`load` says so in one line."""
    before = get_safe_globals()
    with pytest.raises(PinxitError, match=words) as told:
        load(path, CLASSES)
    assert "\n" not in str(told.value)
    assert set(get_safe_globals()) == set(before)
    return str(told.value)


def same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert list(got) == list(want)
    assert all(torch.equal(got[k], want[k]) and got[k].dtype == want[k].dtype for k in want)
    assert not any(t.requires_grad for t in got.values())


def test_the_authors_files(request: pytest.FixtureRequest) -> None:
    """Gs.pth pickles all scales' networks; beside it each scale's own folder has a plain state dict of the same."""
    root = Path(str(request.config.getoption("--goldens"))) / "singan"
    files = sorted(root.rglob("Gs.pth"))
    if not files:
        pytest.skip(f"no Gs.pth under {root}: give --goldens DIR")
    for file in files:
        networks = load(file, [*NN_CLASSES, *SINGAN])
        assert [G.class_name for G in networks] == [SINGAN[1]] * len(networks)
        for scale, G in enumerate(networks):
            same(state_dict(G), torch.load(file.parent / str(scale) / "netG.pth", weights_only=True))
        for name in ("Zs", "reals", "NoiseAmp"):
            got = load(file.with_name(f"{name}.pth"), ())
            want = torch.load(file.with_name(f"{name}.pth"), weights_only=True)
            assert len(got) == len(networks)
            assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_networks(tmp_path: Path, form: str) -> None:
    networks = [GeneratorConcatSkip2CleanAdd() for _ in range(2)]
    data = saved(form, networks)
    assert (b"class ConvBlock(nn.Sequential)" in data) == (form == "legacy")  # the source texts
    read = load(at(tmp_path, data), CLASSES)
    for inert, network in zip(read, networks, strict=True):
        same(state_dict(inert), network.state_dict())
        assert "passing" not in state_dict(inert)
    head = vars(read[0])["_modules"]["head"]
    conv = vars(head)["_modules"]["conv"]
    assert (repr(head), conv.class_name) == (f"<inert {SINGAN[0]}>", "torch.nn.modules.conv.Conv2d")
    assert vars(conv)["kernel_size"] == (3, 3)
    assert type(conv) is type(vars(vars(read[1])["_modules"]["tail"])["_modules"]["0"])


@pytest.mark.parametrize("form", FORMS)
def test_options_beside_tensors(tmp_path: Path, form: str) -> None:
    value = {
        "args": argparse.Namespace(size=256, mixing=0.9, name="ä"),
        "g_ema": OrderedDict(w=torch.arange(6.0).reshape(2, 3).T, n=torch.tensor(7), half=torch.ones(2).half()),
        "rest": [None, True, -5, 2**40, 0.5, (1, 2, 3, 4), {"a", "b"}, torch.Size([1, 2])],
    }
    got = load(at(tmp_path, saved(form, value)), ["argparse.Namespace"])
    assert isinstance(got["args"], Inert)
    assert vars(got["args"]) == {"size": 256, "mixing": 0.9, "name": "ä"}
    same(got["g_ema"], value["g_ema"])
    assert got["rest"] == value["rest"]


@pytest.mark.parametrize("form", FORMS)
def test_views_of_one_storage(tmp_path: Path, form: str) -> None:
    whole = torch.arange(10.0)
    a, b = load(at(tmp_path, saved(form, [whole[2:5], whole])), ())
    assert a.tolist() == [2, 3, 4]
    b[2] = -1
    assert a[0] == -1


@pytest.mark.parametrize("form", FORMS)
def test_from_a_gpu(tmp_path: Path, form: str) -> None:
    data = saved("zip", [torch.arange(3.0)])
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickled = archive.read("archive/data.pkl")
    if form == "legacy":
        data = saved("legacy", [torch.arange(3.0)])
        assert text("cpu") in data
        data = data.replace(text("cpu"), text("cuda:0"))
    else:
        data = container(
            "zip", pickled.replace(text("cpu"), text("cuda:0")), {"0": torch.arange(3.0).numpy().tobytes()}
        )
    (got,) = load(at(tmp_path, data), ())
    assert (got.tolist(), got.device.type) == ([0, 1, 2], "cpu")


@pytest.mark.parametrize("form", FORMS)
def test_a_module_of_old_torch(tmp_path: Path, form: str) -> None:
    """Before torch 1.3 each module held a backend, pickled as the call of a function."""
    backend = named("torch.nn.backends.thnn._get_thnn_function_backend") + b")R"
    parts = b"".join(text(k) + b"}" for k in ("_parameters", "_buffers", "_modules"))
    tanh = named("torch.nn.modules.activation.Tanh") + b")\x81}(" + text("_backend") + backend + parts + b"ub"
    got = load(at(tmp_path, container(form, program(tanh))), NN_CLASSES)
    assert state_dict(got) == {}


@pytest.mark.parametrize("form", FORMS)
def test_protocol_3(tmp_path: Path, form: str) -> None:
    """Not torch.save's own, told by torch in a warning that would fail here."""
    assert load(at(tmp_path, saved(form, [torch.ones(1), "x"], protocol=3)), ()) == [1, "x"]


# What must not be run


class Calls:
    """Pickled as the call of a function."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


EVIL = (
    "os.system",
    "posix.system",
    "builtins.eval",
    "builtins.exec",
    "__builtin__.eval",
    "builtins.getattr",
    "builtins.__import__",
    "builtins.bytearray",
    "subprocess.Popen",
    "torch.load",
    "torch.hub.load",
    "functools.partial",
    "operator.attrgetter",
    "pathlib.Path",
    "SinGAN.models.WGAN",
    "torch._utils._rebuild_wrapper_subclass",
    "torch._tensor._rebuild_from_type_v2",
    "pinxit.unpickle._class_of",
    "pinxit.unpickle._stub",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", EVIL)
def test_refused_by_name(tmp_path: Path, form: str, name: str) -> None:
    call = named(name) + text("x") + b"\x85R"
    for pickled in (
        program(call),
        program(b"]K\x01aG" + struct.pack(">d", 0.5) + b"a" + call + b"a"),  # in a list of numbers, as NoiseAmp.pth
        program(named(SINGAN[0]) + b")\x81}" + text("_modules") + call + b"sb"),  # as an attribute
        program(named(name)),
        program(named("argparse.Namespace") + b"(" + named(name) + b"t\x81"),
        b"\x80\x02(" + text("x") + f"i{name.rpartition('.')[0]}\n{name.rpartition('.')[2]}\n.".encode(),  # INST
        b"\x80\x04" + b"".join(map(text, name.rsplit(".", 1))) + b"\x93.",  # STACK_GLOBAL
    ):
        told = refuses(at(tmp_path, container(form, pickled)), "do not trust it")
        assert f"is asking for {name}, expected tensors and networks alone; nothing of it was run" in told


def test_refused_before_the_contents(tmp_path: Path) -> None:
    """Every one of the older container's pickles is looked at, and those that torch.save never wrote."""
    evil = program(named("os.system") + text("x") + b"\x85R")
    good = container("legacy", program(b"N"))
    for data in (evil, evil + good, good.replace(program(b"N"), program(b"N") + evil)):
        refuses(at(tmp_path, data), "asking for os.system")
    magic = pickle.dumps(torch.serialization.MAGIC_NUMBER, 2)
    refuses(at(tmp_path, good.replace(magic, magic + evil)), "asking for os.system")


def test_chain_of_getattr(tmp_path: Path) -> None:
    """`getattr(Inert, "__class__")`, `__subclasses__` and so on would lead anywhere."""
    for form in FORMS:
        data = saved(form, Calls(getattr, Calls(getattr, "", "__class__"), "__mro__"))
        refuses(at(tmp_path, data), r"asking for (builtins|__builtin__)\.getattr")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_side_effects(tmp_path: Path, form: str, protocol: int) -> None:
    """The same objects do it when pickle loads them."""
    made = tmp_path / "made"
    for evil in (
        Calls(os.system, f"echo > '{made}'"),
        Calls(exec, f"open({str(made)!r}, 'w').close()"),
        Calls(open, str(made), "w"),
        Calls(subprocess.check_call, [sys.executable, "-S", "-c", f"open({str(made)!r}, 'w')"]),
    ):
        for value in (evil, [1, 0.5, evil], {"a": evil}):
            told = refuses(at(tmp_path, saved(form, value, protocol)), "is asking for")
            assert evil.call[0].__name__ in told
            assert not made.exists()
    result = pickle.loads(pickle.dumps(Calls(open, str(made), "w"), protocol))
    result.close()
    assert made.exists()


@pytest.mark.parametrize("form", FORMS)
def test_real_class_that_others_allowed(tmp_path: Path, form: str) -> None:
    path = at(tmp_path, saved(form, nn.Tanh()))
    before = set(get_safe_globals())
    with safe_globals([nn.Tanh]):
        assert isinstance(load(path, NN_CLASSES), Inert)
        assert set(get_safe_globals()) == {*before, nn.Tanh}
        refuses(at(tmp_path, saved(form, nn.Sigmoid())), "asking for torch.nn.modules.activation.Sigmoid")
    assert set(get_safe_globals()) == before


def test_what_is_allowed_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch registers classes of its own as it imports its parts, which may happen while it loads."""

    def import_more(*args: object, **kwargs: object) -> None:
        add_safe_globals([nn.Tanh])

    before = set(get_safe_globals())
    monkeypatch.setattr(torch, "load", import_more)
    try:
        load(at(tmp_path, saved("zip", [])), NN_CLASSES)
        assert set(get_safe_globals()) == {*before, nn.Tanh}
    finally:
        with safe_globals([nn.Tanh]):  # takes it off the list as it ends
            pass
    assert set(get_safe_globals()) == before


def test_inert(tmp_path: Path) -> None:
    real = nn.Tanh
    inert = load(at(tmp_path, saved("zip", nn.Tanh())), NN_CLASSES)
    assert nn.Tanh is real is nn.modules.activation.Tanh
    assert type(inert) is not real
    assert not isinstance(inert, nn.Module)
    assert not callable(inert)
    assert not any(hasattr(type(inert), name) for name in ("__setstate__", "__getattr__", "__del__", "forward"))
    assert type(inert).__init__ is object.__init__
    assert type(inert).__new__ is object.__new__
    with pytest.raises(TypeError):
        type(inert)("an argument")  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("form", FORMS)
def test_state_that_would_change_the_stand_in(tmp_path: Path, form: str) -> None:
    make = named(SINGAN[0]) + b")\x81"
    for key in ("__class__", "class_name"):
        for value in (named("argparse.Namespace"), text("x"), named("collections.OrderedDict")):
            slots = make + b"N}" + text(key) + value + b"s\x86b"  # pickle sets these with setattr
            path = at(tmp_path, container(form, program(slots)))
            if (key, value) == ("__class__", named("argparse.Namespace")):
                assert isinstance(load(path, CLASSES), Inert)
            else:
                refuses(path, "damaged")
            got = load(at(tmp_path, container(form, program(make + b"}" + text(key) + value + b"sb"))), CLASSES)
            assert type(got).__mro__[1] is Inert
            assert got.class_name == SINGAN[0]


def test_a_state_cannot_name_a_setstate(tmp_path: Path) -> None:
    """It becomes an attribute of the one object, where unpicklers find it: no more than a call of what is allowed."""
    make = named(SINGAN[0]) + b")\x81}" + text("__setstate__") + named("argparse.Namespace") + b"sb}b"
    refuses(at(tmp_path, container("zip", program(make))), "damaged")


# Damaged files


@pytest.mark.parametrize("form", FORMS)
def test_cut_short(tmp_path: Path, form: str) -> None:
    data = saved(form, GeneratorConcatSkip2CleanAdd())
    for length in [*range(0, 40, 7), *range(40, len(data) - 1, len(data) // 40), len(data) - 1]:
        refuses(at(tmp_path, data[:length]), "damaged")


def test_no_such_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(tmp_path / "Gs.pth", "is not there, expected a .pth file")
    refuses(tmp_path, "is not there")
    path = at(tmp_path, saved("zip", []))

    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    refuses(path, r"unreadable \(Permission denied\)")


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"<html>404</html>", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b".", b"\x80\x02.", bytes(1000)],
    ids=repr,
)
def test_something_else(tmp_path: Path, data: bytes) -> None:
    refuses(at(tmp_path, data[:1000]), "damaged")


def test_changed_contents_of_a_zip(tmp_path: Path) -> None:
    """torch itself does not look at the check sums."""
    data = saved("zip", torch.full((50,), 1.5))
    place = data.index(struct.pack("<f", 1.5) * 50) + 20
    refuses(at(tmp_path, data[:place] + b"?" + data[place + 1 :]), "damaged")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("claimed", [2**60, 2**34, 2**200, 5, 3, 0, -1])
def test_a_wrong_size(tmp_path: Path, form: str, claimed: int) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    four = {"0": torch.arange(4.0).numpy().tobytes()}
    refuses(at(tmp_path, container(form, program(tensor(form, claimed, claimed)), four)), "damaged")
    if claimed > 4 or form == "zip":  # in the older form a tensor may stretch its storage to what the contents need
        refuses(at(tmp_path, container(form, program(tensor(form, claimed, 4)), four)), "damaged")
    if claimed > 4:
        refuses(at(tmp_path, container(form, program(tensor(form, 4, claimed)), four)), "damaged")
    assert load(at(tmp_path, container(form, program(tensor(form, 4, 4)), four)), ()).tolist() == [0, 1, 2, 3]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize("form", FORMS)
def test_tensors_without_contents(tmp_path: Path, form: str) -> None:
    refuses(at(tmp_path, container(form, program(tensor(form, 4, 4)))), "damaged")


def test_a_list_of_keys_that_is_not_what_it_looks_like(tmp_path: Path) -> None:
    """Left beside it, "0" would be a key to who reads the opcodes, and none to torch."""
    data = container("legacy", program(tensor("legacy", 4, 4)), {"0": bytes(16)})
    keys = pickle.dumps(["0"], 2)
    assert data.count(keys) == 1
    refuses(at(tmp_path, data.replace(keys, program(text("0") + b"]"))[:-24]), "damaged")


def test_a_view_of_a_storage_that_moves(tmp_path: Path) -> None:
    """torch 2.13 reads the first tensor from memory that is given back when the second one stretches the storage."""
    contents = {"0": torch.ones(2**18).numpy().tobytes()}
    whole = tensor("legacy", 1000, 2**18)
    view = tensor("legacy", 1000, 1000).replace(b"NtQ", b"(" + text("v") + number(0) + number(1000) + b"ttQ")
    assert len(view) > len(tensor("legacy", 1000, 1000))
    refuses(at(tmp_path, container("legacy", program(b"](" + view + whole + b"e"), contents)), "damaged")


def test_a_small_file_that_is_large_inside(tmp_path: Path) -> None:
    f = io.BytesIO()
    with zipfile.ZipFile(f, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("made/data.pkl", program(tensor("zip", 2**22, 2**22)))
        archive.writestr("made/data/0", bytes(2**24))
    refuses(at(tmp_path, f.getvalue()), "damaged")


@pytest.mark.parametrize("form", FORMS)
def test_nested_without_end(tmp_path: Path, form: str) -> None:
    """As keys they would overflow the stack, and take 2^60 steps; in torch's message so would the last."""
    deep = program(b"}(" + b")" + b"\x85" * 300_000 + b"K\x01u")
    doubled = b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(60))
    wide = program(b"}(" + b")" + doubled + b"K\x01u")
    lists = b"]" + b"".join(b"q" + bytes([i]) + b"](h" + bytes([i]) + b"h" + bytes([i]) + b"e" for i in range(60))
    for pickled in (deep, wide, program(lists + b")R"), program(lists + b")\x81")):
        refuses(at(tmp_path, container(form, pickled)), "damaged")


@pytest.mark.parametrize("form", FORMS)
def test_persistent_ids_out_of_place(tmp_path: Path, form: str) -> None:
    """Those of the older container are rewritten, so that each must be what torch.save writes, where it writes it."""
    pid = b"(" + text("module") + named(SINGAN[0]) + text("file") + text("source") + b"t"
    for opcodes in (
        pid + b"q\x00K\x01h\x00Q",
        pid + b"q\x00Qh\x00Q",
        pid.replace(named(SINGAN[0]), named(SINGAN[0]) + b")\x81") + b"Q",
        pid.replace(text("module"), text("storage")) + b"Q",
        b"K\x01Q",
        b")Q",
        b"(tQ",
        b"Q",
        b"(" + text("module") + text("x") * 3 + b"tQ",
        b"(" + text("module") + named("os.path") + text("x") * 2 + b"tQ",
    ):
        refuses(at(tmp_path, container(form, program(opcodes))), r"damaged|os\.path")


# State dicts


def module(**changes: object) -> Inert:
    inert = Inert()
    vars(inert).update({"_parameters": {}, "_buffers": {}, "_modules": {}} | changes)
    return inert


@pytest.mark.parametrize(
    ("inert", "words"),
    [
        (Inert(), "the network is a pinxit.unpickle.Inert, expected a module made of modules and tensors"),
        ({}, "the network is a dict"),
        (nn.Tanh(), "the network is a Tanh"),
        (None, "is a NoneType"),
        (module(_modules=None), "expected a module"),
        (module(_parameters=[]), "expected a module"),
        (module(_parameters={"w": 1.0}), "w in the network is a float"),
        (module(_buffers={"w": Inert()}), "w in the network is a pinxit"),
        (module(_buffers={1: torch.ones(1)}), "expected a module"),
        (module(_modules={"a": module(_modules={"b": 3})}), "a.b in the network is a int"),
        (module(_modules={"a": torch.ones(1)}), "a in the network is a Tensor"),
        (module(_modules={"a.b": module()}), "expected a module"),
        (module(_non_persistent_buffers_set=0), "expected a module"),
    ],
)
def test_no_module(inert: Any, words: str) -> None:
    with pytest.raises(PinxitError, match=words):
        state_dict(inert)


def test_nested_modules() -> None:
    def nested(levels: int, part: Inert) -> Inert:
        for _ in range(levels):
            part = module(_modules={"m": part})
        return part

    assert list(state_dict(nested(50, module(_buffers={"w": torch.ones(1)})))) == ["m." * 50 + "w"]
    cycle = module()
    vars(cycle)["_modules"]["m"] = cycle
    twice = module(_buffers={"w": torch.ones(1)})
    for _ in range(40):
        twice = module(_modules={"a": twice, "b": twice})
    for endless in (nested(51, module()), cycle, twice):
        with pytest.raises(PinxitError, match="nested without end"):
            state_dict(endless)


def test_shared_modules_and_parameters() -> None:
    """As in nn.Module.state_dict, what is shared stands under each of its names; what is None, under none."""
    shared = nn.Linear(2, 2, bias=False)
    network = nn.Sequential(shared, nn.Sequential(shared))
    inert = module(_parameters={"weight": shared.weight, "bias": None})
    inert = module(_modules={"0": inert, "1": module(_modules={"0": inert, "1": None})})
    same(state_dict(inert), network.state_dict())


# Any file


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is called of the things that a pickle must not call; none of it is carried out."""
    calls: list[str] = []

    def record(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            caller = inspect.currentframe()
            caller = caller.f_back if caller else None
            if caller and caller.f_globals.get("__name__", "").startswith("importlib"):
                return original(*args, **kwargs)  # an import of Python's own
            calls.append(name)
            return None

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "harmful", types.ModuleType("harmful"))
        patch.setattr(sys.modules["harmful"], "f", None, raising=False)
        for owner, name in (
            *((m, "system") for m in (os, sys.modules[os.system.__module__])),
            (os, "popen"),
            (subprocess, "Popen"),
            (builtins, "eval"),
            (builtins, "exec"),
            (torch.hub, "load"),
            (sys.modules["harmful"], "f"),
        ):
            patch.setattr(owner, name, record(f"{owner.__name__}.{name}", getattr(owner, name)))
        yield calls


HARMFUL = ("os.system", "posix.system", "os.popen", "subprocess.Popen", "builtins.eval", "builtins.exec", "harmful.f")


def test_the_watch_sees(tmp_path: Path) -> None:
    for name in HARMFUL:
        with watched() as calls:
            pickle.loads(program(named(name) + text("1") + b"\x85R"))
        assert calls


def survives(folder: Path, data: bytes) -> None:
    path, told = at(folder, data), ""
    with watched() as calls, warnings.catch_warnings():
        # Remarks of torch on things that no network needs are for whoever has such a file.
        warnings.simplefilter("ignore")
        try:
            load(path, CLASSES)
        except PinxitError as error:
            told = str(error)
    assert "\n" not in told
    assert calls == []


@pytest.fixture(scope="module")
def valid() -> dict[str, bytes]:
    network = GeneratorConcatSkip2CleanAdd()
    return {form: saved(form, [network.head, {"a": (torch.ones(2), 0.5)}]) for form in FORMS}


def inner(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The pickle of a zip container, and the contents of its tensors."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        storages = {n.rsplit("/", 1)[1]: archive.read(n) for n in archive.namelist() if "/data/" in n}
        return archive.read("archive/data.pkl"), storages


names = st.sampled_from((*HARMFUL, *EVIL, *CLASSES, "collections.OrderedDict", "builtins.set", "torch.Size")) | (
    st.sampled_from(("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.FloatStorage"))
)
small = st.integers(0, 3).map(lambda i: bytes([i]))
scalars = st.one_of(
    st.sampled_from([b"N", b"\x88", b"\x89", b")", b"]", b"}", b"\x8f", b"h\x00", b"h\x01"]),
    st.sampled_from(["storage", "module", "0", "cpu", "_modules", "__class__", "__setstate__", "echo"]).map(text),
    st.sampled_from([0, 1, -1, 4, 2**20, 2**31, 2**60]).map(number),
    st.floats().map(lambda x: b"G" + struct.pack(">d", x)),
    names.map(named),
    st.sampled_from([tensor("zip", 4, 4), tensor("legacy", 4, 4), tensor("legacy", 2**60, 1), tensor("zip", 4, 2**60)]),
)
operations = st.one_of(
    st.sampled_from([b"R", b"\x81", b"b", b"Q", b"s", b"a", b"t", b"\x85", b"\x86", b"\x87", b"(", b"u", b"e", b"."]),
    st.sampled_from([b"0", b"2", b"o", b"l", b"d", b"\x90", b"\x93", b"\x94", b"\x91", b"\x92", b"1", b"\x80\x04"]),
    small.map(lambda i: b"q" + i),
    st.binary(max_size=4),
    scalars,
)


def compound(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Values made of values, as a pickler would write them."""
    many = st.lists(values, max_size=3).map(b"".join)
    pairs = st.lists(st.tuples(values, values).map(b"".join), max_size=2).map(b"".join)
    pid = st.sampled_from(["storage", "module"]).map(text)
    return st.one_of(
        st.builds(lambda v, i: v + b"q" + i, values, small),
        many.map(lambda v: b"(" + v + b"t"),
        many.map(lambda v: b"](" + v + b"e"),
        pairs.map(lambda v: b"}(" + v + b"u"),
        st.builds(lambda n, v: named(n) + b"(" + v + b"tR", names, many),
        st.builds(lambda n, v: named(n) + b"(" + v + b"t\x81", names, many),
        st.builds(lambda n, v: named(n) + b")\x81}(" + v + b"ub", names, pairs),
        st.builds(lambda a, b: a + b + b"b", values, values),
        st.builds(lambda k, n, v: b"(" + k + named(n) + v + b"tQ", pid, names, many),
    )


programs = st.one_of(
    st.recursive(scalars, compound, max_leaves=8),
    st.lists(operations, max_size=12).map(b"".join),
).map(program)
# (Where, as a part of the whole; how many bytes to take away; what to put there.)
changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 4), st.one_of(operations, scalars)), min_size=1, max_size=4
)
some = settings(max_examples=150, deadline=None)


def changed(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for part, gone, put in edits:
        place = int(part * len(data))
        data = data[:place] + put + data[place + gone :]
    return data


@pytest.mark.parametrize("form", FORMS)
def test_any_change_to_a_file(tmp_path: Path, valid: dict[str, bytes], form: str) -> None:
    @some
    @given(changes)
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        survives(tmp_path, changed(valid[form], edits))

    check()


def test_any_change_to_a_pickle(tmp_path: Path, valid: dict[str, bytes]) -> None:
    """With check sums that agree, so that it is read."""
    pickled, storages = inner(valid["zip"])

    @some
    @given(changes)
    def check(edits: list[tuple[float, int, bytes]]) -> None:
        survives(tmp_path, container("zip", changed(pickled, edits), storages))

    check()


@pytest.mark.parametrize("form", FORMS)
def test_any_program(tmp_path: Path, form: str) -> None:
    @some
    @given(programs)
    def check(pickled: bytes) -> None:
        # The older form is refused where contents belong to no tensor.
        contents = {"0": bytes(16)} if form == "zip" or text("0") in pickled else {}
        survives(tmp_path, container(form, pickled, contents))

    check()


def test_any_bytes(tmp_path: Path) -> None:
    @some
    @given(st.binary(max_size=200))
    def check(data: bytes) -> None:
        survives(tmp_path, data)

    check()


def test_no_unpickler_but_torchs() -> None:
    """Nor one of its unsafe forms: the sources call torch.load only with weights_only=True, and never pickle."""
    tree = ast.parse(inspect.getsource(sys.modules[load.__module__]))
    loads = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("load")]
    assert [ast.unparse(k.value) for node in loads for k in node.keywords if k.arg == "weights_only"] == ["True"]
    assert len(loads) == 1
