"""Vectors on disk: the same as without, for this encoder and these sentences alone, whatever became of the file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.text.cache import encoded

SENTENCES = ["a red bird", "a green bird", "a  red bird ", "birds"]


class Lengths:
    """An encoder that counts how often it is asked."""

    name = "lengths"
    width = 3

    def __init__(self, digest: str = "a") -> None:
        self.digest = digest
        self.asked: list[list[str]] = []

    def encode(self, sentences: Sequence[str]) -> Tensor:
        self.asked.append(list(sentences))
        return torch.tensor([[len(s), ord(s[0]), ord(s[-1])] for s in sentences], dtype=torch.float32).reshape(-1, 3)


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_each_sentence_is_encoded_once_and_then_read(tmp_path: Path) -> None:
    encoder, folder = Lengths(), tmp_path / "new/cache"
    want = Lengths().encode([SENTENCES[0], SENTENCES[1], SENTENCES[0], SENTENCES[3]])
    for _ in range(2):
        rows = encoded(encoder, SENTENCES, folder)
        assert rows.dtype == torch.float32
        assert torch.equal(rows, want)
    assert torch.equal(encoded(encoder, SENTENCES[::-1], folder), want.flip(0))
    assert encoder.asked == [sorted({"a red bird", "a green bird", "birds"})]
    assert len(files(folder)) == 1
    assert torch.equal(encoded(encoder, SENTENCES, None), want)
    assert len(encoder.asked) == 2
    assert encoded(encoder, [], folder).shape == (0, 3)


def test_another_encoder_or_other_sentences_are_other_files(tmp_path: Path) -> None:
    first, other = Lengths("a"), Lengths("b")
    encoded(first, SENTENCES, tmp_path)
    encoded(other, SENTENCES, tmp_path)
    encoded(first, SENTENCES[:2], tmp_path)
    encoded(first, ["a red", "bird a green bird", "birds"], tmp_path)
    assert (len(first.asked), len(other.asked), len(files(tmp_path))) == (3, 1, 4)


@pytest.mark.parametrize(
    "spoilt", ["cut", "empty", "another file", "other rows", "fewer rows", "a changed bit", "another type"]
)
def test_a_spoilt_file_is_written_anew(spoilt: str, tmp_path: Path) -> None:
    encoder = Lengths()
    want = encoded(encoder, SENTENCES, tmp_path)
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    if spoilt == "another file":
        encoded(Lengths("b"), SENTENCES, tmp_path)
        next(p for p in files(tmp_path) if p != path).replace(path)
    elif spoilt == "a changed bit":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif spoilt in ("cut", "empty"):
        path.write_bytes(whole[: len(whole) // 2 if spoilt == "cut" else 0])
    else:
        rows = {
            "other rows": torch.zeros(3, 3),
            "fewer rows": torch.zeros(2, 3),
            "another type": torch.zeros(3, 3).half(),
        }
        save_file({"rows": rows[spoilt]}, path)
    assert torch.equal(encoded(encoder, SENTENCES, tmp_path), want)
    assert len(encoder.asked) == 2
    assert torch.equal(encoded(encoder, SENTENCES, tmp_path), want)
    assert len(encoder.asked) == 2


def test_an_interrupted_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(self: Path, data: bytes) -> int:
        with self.open("wb") as f:
            f.write(data[:10])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", cut)
        with pytest.raises(KeyboardInterrupt):
            encoded(Lengths(), SENTENCES, tmp_path)
    assert not files(tmp_path)
    assert encoded(Lengths(), SENTENCES, tmp_path).shape == (4, 3)


def test_an_empty_sentence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match="the sentence is empty"):
        encoded(Lengths(), ["a", " "], tmp_path)
    assert not files(tmp_path)


def test_processes_at_the_same_time(tmp_path: Path) -> None:
    code = f"""
import torch
from pathlib import Path
from pinxit.text.cache import encoded
class Ones:
    name, width, digest = "ones", 512, "d"
    def encode(self, sentences):
        return torch.arange(len(sentences) * 512.0).reshape(-1, 512)
sentences = [f"bird {{i:04}}" for i in range(2000)]
for _ in range(20):
    rows = encoded(Ones(), sentences, Path({str(tmp_path)!r}))
    assert torch.equal(rows, Ones().encode(sentences))
    for path in Path({str(tmp_path)!r}).glob("text-*"):
        path.unlink(missing_ok=True)
"""
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, told = process.communicate()
        assert process.returncode == 0, told
    assert not files(tmp_path)
