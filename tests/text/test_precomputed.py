"""Published embeddings: what Python 2 wrote comes out, and nothing that a pickle asks for is ever done."""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import PinxitError
from pinxit.text.pickles import read_pickle
from pinxit.text.precomputed import EMBEDDINGS, read_precomputed

NAMES = ["001.Black_footed_Albatross/Black_0046_18", "001.Black_footed_Albatross/Black_0009_34", "002.Laysan/Laysan_1"]


def python2(value: Any, protocol: int) -> bytes:
    """As Python 2's cPickle wrote it: texts in its own opcodes, arrays by the names that NumPy had then."""
    out, memo = bytearray(b"\x80\x02" if protocol == 2 else b""), 0

    def text(data: bytes) -> bytes:
        if protocol == 2:
            short = len(data) < 256
            return (b"U" + bytes([len(data)]) if short else b"T" + struct.pack("<i", len(data))) + data
        return b"S" + repr(data)[1:].encode() + b"\n"

    def number(n: int) -> bytes:
        return b"K" + bytes([n]) if protocol == 2 and 0 <= n < 256 else b"I%d\n" % n

    def put() -> bytes:
        nonlocal memo
        memo += 1
        return b"q" + bytes([memo]) if protocol == 2 and memo < 256 else b"p%d\n" % memo

    def write(x: Any) -> None:
        nonlocal out
        if isinstance(x, list):
            out += b"]" + put() + b"("
            for item in x:
                write(item)
            out += b"e"
        elif isinstance(x, np.ndarray):
            out += b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"(cnumpy\nndarray\n" + put()
            out += b"(" + number(0) + b"t" + text(b"b") + b"t" + put() + b"R" + put()
            out += b"(" + number(1) + b"(" + b"".join(number(n) for n in x.shape) + b"t" + put()
            out += b"cnumpy\ndtype\n" + put() + b"(" + text(x.dtype.str[1:].encode()) + number(0) + number(1) + b"t"
            out += b"R" + put() + b"(" + number(3) + text(b"<") + b"NNN" + number(-1) + number(-1) + number(0) + b"t"
            out += put() + b"bI00\n" + text(x.tobytes()) + put() + b"t" + put() + b"b"
        elif isinstance(x, bytes):
            out += text(x) + put()
        else:
            out += number(x)

    write(value)
    return bytes(out + b".")


WRITERS: dict[str, Callable[[Any], bytes]] = {
    "python 2, protocol 0": lambda value: python2(value, 0),
    "python 2, protocol 2": lambda value: python2(value, 2),
} | {
    f"python 3, protocol {protocol}": lambda value, p=protocol: pickle.dumps(value, p)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}


def arrays(width: int = 1024) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.standard_normal((captions, width)).astype(np.float32) for captions in (10, 10, 9)]


def write(folder: Path, embeddings: Any = None, names: Any = None, classes: Any = None, by: str = "") -> Path:
    dumps = WRITERS[by] if by else pickle.dumps
    files = {
        EMBEDDINGS[0]: arrays() if embeddings is None else embeddings,
        "filenames.pickle": [name.encode() for name in NAMES] if names is None else names,
        "class_info.pickle": [1, 1, 2] if classes is None else classes,
    }
    for name, value in files.items():
        (folder / name).write_bytes(dumps(value))
    return folder


def refused(folder: Path, words: str, **kind: Any) -> None:
    with pytest.raises(PinxitError, match=words) as told:
        read_precomputed(folder, **kind)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("by", WRITERS)
def test_reads_the_published_form(by: str, tmp_path: Path) -> None:
    found = read_precomputed(write(tmp_path, by=by))
    assert list(found.rows) == NAMES
    assert found.width == 1024
    for rows, want in zip(found.rows.values(), arrays(), strict=True):
        assert rows.dtype == torch.float32
        assert rows.numpy().tobytes() == want.tobytes()
    assert dict(found.classes) == dict(zip(NAMES, (1, 1, 2), strict=True))


def test_python2_writer_writes_what_pickle_reads() -> None:
    """The writer of these tests against Python's own reader of such files."""
    for protocol in (0, 2):
        got = pickle.loads(python2([arrays(8)[0], b"n\x00\xff'", 70000], protocol), encoding="latin1")
        assert np.array_equal(got[0], arrays(8)[0])
        assert got[1:] == ["n\x00\xff'", 70000]


@pytest.mark.parametrize(
    "form",
    [
        lambda a: np.stack([x[:9] for x in a]),
        lambda a: [list(x) for x in a],
        lambda a: [x.tolist() for x in a],
        lambda a: np.array([*a, None], dtype=object)[:3],
        lambda a: [np.asfortranarray(x) for x in a],
        lambda a: [x.astype(">f8") for x in a],
        lambda a: [np.array(x, dtype=np.float16) for x in a],
    ],
    ids=["one array", "lists of arrays", "lists of numbers", "objects", "Fortran", "big-endian", "half"],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_other_forms_of_the_same(form: Callable[[list[np.ndarray]], Any], protocol: int, tmp_path: Path) -> None:
    want = arrays(6)
    found = read_precomputed(write(tmp_path, form(want), by=f"python 3, protocol {protocol}"))
    for rows, array in zip(found.rows.values(), want, strict=True):
        torch.testing.assert_close(rows, torch.from_numpy(array[: len(rows)]), rtol=1e-3, atol=1e-3)


def test_classes_may_be_numbers_of_numpy_or_missing(tmp_path: Path) -> None:
    write(tmp_path, classes=[np.int64(1), np.int64(1), np.int64(2)])
    assert list(read_precomputed(tmp_path).classes.values()) == [1, 1, 2]
    (tmp_path / "class_info.pickle").unlink()
    assert not read_precomputed(tmp_path).classes


def test_gives_photos_their_own(tmp_path: Path) -> None:
    found = read_precomputed(write(tmp_path))
    root = Path("CUB_200_2011/images")
    got = found.of([root / f"{NAMES[2]}.jpg", root / f"{NAMES[0]}.jpg"])
    assert torch.equal(got[0], found.rows[NAMES[2]])
    assert torch.equal(got[1], found.rows[NAMES[0]])
    with pytest.raises(PinxitError, match=r"photo '.*x.jpg' is without embeddings, expected one of the 3"):
        found.of([root / "001.Black_footed_Albatross/x.jpg"])


def test_says_what_does_not_fit(tmp_path: Path) -> None:
    refused(tmp_path, "without char-CNN-RNN-embeddings.pickle")
    refused(tmp_path / "none", "not there")
    refused(write(tmp_path), r"'001\..*' in .* is of 1024 numbers a caption, expected 256", width=256)
    refused(write(tmp_path, [*arrays(8)[:2], arrays(9)[2]]), "of 9 numbers a caption, expected 8")
    refused(write(tmp_path, arrays(8)[:2]), "filenames.pickle' is of 3 pictures, expected 2")
    refused(write(tmp_path, classes=[1, 2]), "class_info.pickle' is of 2 pictures, expected 3")
    refused(write(tmp_path, names=[b"a", b"a", b"b"]), "with 'a' twice")
    refused(write(tmp_path, names=[1, 2, 3]), "a list with a int, expected names")
    refused(write(tmp_path, classes=[b"a", b"b", b"c"]), "a list with a bytes, expected whole numbers")
    refused(write(tmp_path, []), "is empty")
    refused(write(tmp_path, 3), "is a int, expected a list")
    refused(write(tmp_path, [np.full((2, 3), np.nan, np.float32)] * 3), "not finite")
    refused(write(tmp_path, [[[10**60]]] * 3), "not finite")
    for strange in (np.zeros((2, 3, 4)), np.zeros((0, 4)), np.zeros(()), [b"a"], [[1.0], [1.0, 2.0]], 4):
        refused(write(tmp_path, [strange] * 3), "in another form")
    write(tmp_path)
    (tmp_path / "filenames.pickle").unlink()
    refused(tmp_path, "filenames.pickle' is not there")


class Evil:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.made = function, arguments

    def __reduce__(self) -> Any:
        return self.made


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_crafted_pickle_is_refused_by_name_and_not_run(protocol: int, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    import os

    for function, arguments, name in (
        (os.mkdir, (str(harm),), "(posix|nt).mkdir"),
        (exec, (f"open({str(harm)!r}, 'w')",), "builtins.exec"),
        (np.load, (str(harm),), "numpy.load"),
        (io.BytesIO, (), "_io.BytesIO"),
        (bytearray, (1 << 62,), "builtins.bytearray"),
    ):
        write(tmp_path)
        for file in (EMBEDDINGS[0], "filenames.pickle", "class_info.pickle"):
            kept = (tmp_path / file).read_bytes()
            (tmp_path / file).write_bytes(pickle.dumps([Evil(function, *arguments)] * 3, protocol))
            refused(tmp_path, f"{file}' is asking for {name}, expected numbers, texts and arrays alone; nothing")
            (tmp_path / file).write_bytes(kept)
    assert not harm.exists()


def test_names_of_numpy_are_not_called_with_what_a_file_likes(tmp_path: Path) -> None:
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    dtype = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR"
    state = b"(K\x01(%st" + dtype + b"I00\n%stb"
    crafted = {
        "more shape than bytes": array + state % (b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f", b"U\x04abcd"),
        "a shape that wraps": array + state % (b"\x8a\x08\x01\0\0\0\0\0\0\x40K\x04", b"U\x04abcd"),
        "a negative shape": array + state % (b"J\xff\xff\xff\xff", b"U\x04abcd"),
        "objects by address": array + b"(K\x01(K\x01tcnumpy\ndtype\n(U\x02O8tRI00\nU\x08aaaaaaaatb",
        "no contents": array,
        "the function itself called": b"cnumpy\nndarray\n(K\x05tR",
        "a state for a list": b"](K\x01tb",
        "a memo of enormous number": b"]r\xff\xff\xff\x7fX\xff\xff\xff\xff",
        "a text longer than the file": b"\x8d" + b"\xff" * 7 + b"\x7f",
        "an enormous bytearray": b"\x96" + b"\xff" * 7 + b"\x7f",
        "an unknown opcode": b"}",
        "below a mark": b"K\x01(\x85",
        "no mark": b"t",
        "no end": b"]" * 10,
    }
    for what, data in crafted.items():
        path = tmp_path / "a.pickle"
        path.write_bytes(b"\x80\x02" + data + (b"" if what == "no end" else b"."))
        with pytest.raises(PinxitError, match=r"damaged or no pickle|asking for numpy\.dtype\.O8"):
            print(what, read_pickle(path))


def test_one_array_named_many_times_does_not_fill_the_memory(tmp_path: Path) -> None:
    entry = arrays()[0]
    write(tmp_path, [[entry[0]] * 100_000] * 3)
    refused(tmp_path, "in another form")
    nested: Any = [1.0] * 1000
    for _ in range(5):
        nested = [nested] * 1000
    refused(write(tmp_path, [nested] * 3), "in another form")
    itself: list[Any] = []
    itself.append(itself)
    refused(write(tmp_path, [itself] * 3), "in another form")


FRAGMENTS = (
    *(b"(", b")", b"]", b"l", b"t", b"a", b"e", b"R", b"b", b"N", b"\x85", b"\x86", b"\x87", b"\x93", b"\x94"),
    *(b"K\x01", b"U\x02f4", b"U\x04abcd", b"C\x04abcd", b"X\x06\0\0\0latin1", b"X\x01\0\0\0<", b"S'a'\n"),
    *(b"q\x01", b"h\x01", b"I01\n", b"F1e400\n", b"i\n\n", b"cos\nsystem\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"),
    *(b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy._core.multiarray\nscalar\n", b"c_codecs\nencode\n"),
    b"cnumpy.core.numeric\n_frombuffer\n",
)


def one_line_if_refused(read: Callable[[Path], Any], path: Path) -> None:
    told = ""
    try:
        read(path)
    except PinxitError as error:
        told = str(error)
    assert "\n" not in told


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.pickle"
    path.write_bytes(data + b".")
    one_line_if_refused(read_pickle, path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    by = data.draw(st.sampled_from(list(WRITERS)))
    whole = bytearray(WRITERS[by](arrays(3)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.getbasetemp()
    write(folder)
    (folder / EMBEDDINGS[0]).write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    one_line_if_refused(read_precomputed, folder)
