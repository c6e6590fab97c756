from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

import pinxit.text.training as training
from pinxit.data.captions import Captioned
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.recipe import Adam, update
from pinxit.text.matching import TOKENS
from pinxit.text.training import BUILT_IN, PRECOMPUTED, Texts, embeddings_in, others, whole_batch

ITEMS = [Captioned(Path("a.png"), ("a red one", "red")), Captioned(Path("b.png"), ("a blue one",))]
SENTENCES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("pear", "fig", "pear", "nut")]


class Letters:
    """A frozen encoder of another's, that counts letters."""

    name, width, digest = "letters", 3, "abc"

    def encode(self, sentences: Sequence[str]) -> Tensor:
        return torch.tensor([[float(s.count(c)) for c in "abe"] for s in sentences])


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "open_encoder", lambda name: Letters())


def photos(rows: int = 8) -> Tensor:
    return torch.rand(rows, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def file_of(texts: Texts, **config: object) -> ModelFile:
    return ModelFile("method", {**texts.described(), **config}, texts.tensors())


def test_the_built_in_encoder() -> None:
    torch.manual_seed(0)
    texts = Texts(BUILT_IN, 6)
    rows = texts.prepare(ITEMS)
    assert [len(some) for some in rows] == [2, 1]
    assert rows[0].shape[1] == TOKENS
    embeddings = texts.embed(torch.cat(rows))
    assert embeddings.shape == (3, 6)
    assert not embeddings.requires_grad
    assert texts.network is not None
    assert texts.network.training
    torch.testing.assert_close(texts.encode(["a red one", "red", "a blue one"]), embeddings)


def test_a_foreign_encoder(letters: None, tmp_path: Path) -> None:
    texts = Texts("clip:x", 99, cache=tmp_path)
    assert (texts.width, texts.network) == (3, None)
    rows = texts.prepare(ITEMS)
    assert [some.tolist() for some in rows] == [[[1, 0, 2], [0, 0, 1]], [[1, 1, 2]]]
    assert torch.equal(texts.embed(rows[0]), rows[0])
    assert torch.equal(texts.encode(["red"]), rows[0][1:])
    # Its pictures learn by the same step, it does not.
    before = [p.clone() for p in texts.parameters()]
    update(Adam(texts.parameters(), lr=0.01), texts.matching_step(photos(3), torch.cat(rows)))
    assert not any(torch.equal(a, b) for a, b in zip(before, texts.parameters(), strict=True))


def test_the_first_stage_learns_what_belongs_together() -> None:
    torch.manual_seed(0)
    texts = Texts(BUILT_IN, 16)
    rows, optimizer = texts.rows(SENTENCES), Adam(texts.parameters(), lr=0.003)
    colours = torch.tensor([[1.0, -1, -1]] * 4 + [[-1.0, -1, 1]] * 4)
    picture = (0.5 * photos() + 0.5 * colours[:, :, None, None]).clamp(-1, 1)
    losses = []
    for _ in range(30):
        loss = texts.matching_step(picture, rows)
        update(optimizer, loss)
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]  # pictures of a colour cannot be told apart: log(3) remains
    cosines = texts.match(picture, texts.embed(rows))
    assert cosines.shape == (8, 8)
    assert cosines[0, 0] > cosines[0, 4]
    assert cosines[4, 4] > cosines[4, 0]


def test_the_wrong_text_is_the_next_that_differs() -> None:
    rows = torch.tensor([[1, 1], [1, 1], [2, 1], [1, 1]])
    assert others(rows).tolist() == [[2, 1], [2, 1], [1, 1], [2, 1]]
    assert torch.equal(others(rows[:1]), rows[:1])
    assert torch.equal(others(rows[:2]), rows[:2])  # nothing else is there


def test_a_model_file_brings_the_built_in_encoder() -> None:
    torch.manual_seed(0)
    texts = Texts(BUILT_IN, 6)
    back = Texts.of_model(file_of(texts))
    assert torch.equal(back.encode(["red"]), texts.encode(["red"]))
    assert torch.equal(back.match(photos(2), back.encode(["red"])), texts.match(photos(2), texts.encode(["red"])))
    assert not any(p.requires_grad for p in back.parameters())
    with pytest.raises(PinxitError, match="brings its own"):
        Texts.of_model(file_of(texts), "clip:x")
    whole = file_of(texts)
    tensors = dict(list(whole.tensors.items())[1:])
    with pytest.raises(PinxitError, match="without the whole of its text encoder"):
        Texts.of_model(dataclasses.replace(whole, tensors=tensors))
    with pytest.raises(PinxitError, match="without its text encoder"):
        Texts.of_model(ModelFile("method", {}, {}))


def test_a_model_file_names_a_foreign_encoder(letters: None, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(Texts("clip:x", pictures=False))
    assert Texts.of_model(file).encode(["abe"]).tolist() == [[1, 1, 1]]
    assert not file.tensors
    with pytest.raises(PinxitError, match="compares pictures with texts"):
        Texts.of_model(file).match(photos(1), torch.zeros(1, 3))
    with pytest.raises(PinxitError, match="expected 'clip:x'"):
        Texts.of_model(file, BUILT_IN)
    monkeypatch.setattr(Letters, "digest", "other")
    with pytest.raises(PinxitError, match="the model"):
        Texts.of_model(file)


def test_precomputed_embeddings_want_an_encoder_for_sentences(letters: None) -> None:
    file = file_of(Texts(PRECOMPUTED, 3, pictures=False, opened=False))
    alone = Texts.of_model(file)
    assert torch.equal(alone.embed(torch.ones(2, 3)), torch.ones(2, 3))
    with pytest.raises(PinxitError, match="trained on precomputed embeddings"):
        alone.encode(["red"])
    assert Texts.of_model(file, "clip:x").encode(["abe"]).tolist() == [[1, 1, 1]]
    other = file_of(Texts(PRECOMPUTED, 4, pictures=False, opened=False))
    with pytest.raises(PinxitError, match="of 3 numbers a sentence, expected 4"):
        Texts.of_model(other, "clip:x")
    with pytest.raises(PinxitError, match="--data is missing"):
        Texts(PRECOMPUTED)


def test_where_published_embeddings_are(tmp_path: Path) -> None:
    assert embeddings_in(tmp_path, "train") == tmp_path
    (tmp_path / "train").mkdir()
    assert embeddings_in(tmp_path, "train") == tmp_path / "train"
    assert embeddings_in(None, "train") is None


def test_tokens_cannot_be_averaged(letters: None) -> None:
    with pytest.raises(PinxitError, match="--captions is 4, expected 1 with the encoder 'built-in'"):
        Texts(BUILT_IN, 4).require_averages(4)
    Texts("clip:x").require_averages(4)


RANK = """
import sys
import torch
import torch.distributed as dist
from test_training import half
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meeting", rank=int(sys.argv[2]), world_size=2)
torch.save(half(int(sys.argv[2])), f"{sys.argv[1]}/{sys.argv[2]}.pt")
dist.destroy_process_group()
"""


def half(rank: int | None) -> dict[str, Tensor]:
    """An update of the first stage, of the rows of a rank or of all, and the wrong rows of it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    texts = Texts(BUILT_IN, 6)
    mine = slice(None) if rank is None else slice(4 * rank, 4 * rank + 4)
    rows = texts.rows(SENTENCES)[mine]
    loss = texts.matching_step(photos()[mine], rows)
    update(torch.optim.SGD(texts.parameters(), lr=0.1), loss)
    return {**texts.state_dict(), "loss": loss.detach(), "others": others(rows), "all": whole_batch(rows)}


def test_two_processes_learn_as_one(tmp_path: Path) -> None:
    folder = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])}
    ranks = [
        subprocess.Popen([sys.executable, "-c", RANK, str(tmp_path), str(i)], env=environment, stderr=subprocess.PIPE)
        for i in range(2)
    ]
    for process in ranks:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told.decode()
    one = half(None)
    two = [torch.load(tmp_path / f"{i}.pt", weights_only=True) for i in range(2)]
    assert torch.equal(one["others"], torch.cat([part["others"] for part in two]))
    for part in two:
        assert torch.equal(part["all"], one["all"])
        for name in one.keys() - {"others", "all"}:
            torch.testing.assert_close(part[name], one[name], rtol=1e-4, atol=1e-6)
