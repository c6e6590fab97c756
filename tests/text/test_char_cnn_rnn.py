"""The char-CNN-RNN reads sentences as published, and any sentence has a defined result."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.text.char_cnn_rnn import ALPHABET, CharCNNRNN, CharCNNRNNEncoder, Gated, Rectified, characters, load
from pinxit.text.encoder import open_encoder

SMALL = {
    "length": 100,
    "channels": [4, 5],
    "hidden": 6,
    "last_pool": True,
    "recurrence": "rectified",
    "average": True,
    "embedding": 7,
}


def small(**changes: object) -> CharCNNRNN:
    torch.manual_seed(0)
    return CharCNNRNN(**{**SMALL, "channels": (4, 5), **changes})  # type: ignore[arg-type]


def test_the_alphabet_is_the_published_one() -> None:
    assert len(ALPHABET) == 70
    assert ALPHABET.startswith("abcdefghijklmnopqrstuvwxyz0123456789")
    assert {c for c in ALPHABET if ALPHABET.count(c) > 1} == {"-"}
    assert characters(["az 0-"], 6).tolist() == [[1, 26, 70, 27, ALPHABET.rindex("-") + 1, 0]]


def test_any_sentence_has_a_result() -> None:
    rows = characters(["A  Bird\n", "a bird", "a b\N{BIRD}rd", "a b鳥rd", "naïve"], 8)
    assert rows[0].equal(rows[1])
    assert rows[2].tolist() == rows[3].tolist() == [1, 70, 2, 0, 18, 4, 0, 0]
    assert rows[4].tolist()[:5] == [14, 1, 0, 22, 5]
    long = "a red bird " * 1000
    assert characters([long], 201).equal(characters([long[:201]], 201))
    assert characters([], 201).shape == (0, 201)


@pytest.mark.parametrize("sentence", ["赤い鳥", "\N{BIRD}", "é " * 300 + "bird"])
def test_nothing_left_is_told_in_one_line(sentence: str) -> None:
    with pytest.raises(PinxitError, match="without any letter that char-CNN-RNN knows in its first 201") as error:
        characters(["a bird", sentence], 201)
    assert len(str(error.value)) < 200
    with pytest.raises(PinxitError, match="empty"):
        characters([" \n"], 201)


def test_steps_as_published() -> None:
    """The released networks' recurrences have 8 steps, or 18 without the last pooling."""
    for last_pool, steps in ((True, 8), (False, 18)):
        network = CharCNNRNN(channels=(2, 2), hidden=2, last_pool=last_pool, embedding=3)
        with patch.object(network.recurrence, "forward", wraps=network.recurrence.forward) as forward:
            network(characters(["a bird", "two"], 201))
        assert forward.call_args.args[0].shape == (steps, 2, 2)


def test_convolutions_and_recurrence_by_hand() -> None:
    network = small(average=False)
    rows = characters(["a small bird with a red beak", "the other"], 100)
    x = torch.zeros(2, 71, 100).scatter_(1, rows[:, None], 1.0)[:, 1:]
    for i, stride in enumerate((3, 3, 2)):
        x = network.convolutions[i](x)
        x = torch.where(x > 1e-6, x, 0.0)
        x = F.max_pool1d(x, 3, stride)
    state = None
    for t in range(x.shape[2]):
        given = network.recurrence.input(x[:, :, t])
        state = F.relu(given if state is None else given + network.recurrence.state(state))
    assert state is not None
    torch.testing.assert_close(network(rows), network.head(state))


def test_the_gated_recurrence_takes_the_candidate_by_its_update_gate() -> None:
    torch.manual_seed(0)
    gated = Gated(3)
    with torch.no_grad():
        gated.state_update.weight.zero_()
        gated.input_update.weight.zero_()
        gated.state_update.bias.zero_()
        x = torch.randn(2, 1, 3)
        gated.input_update.bias.fill_(100.0)  # all of the candidate
        before = torch.tanh(gated.input(x[0]))
        reset = torch.sigmoid(gated.input_reset(x[1]) + gated.state_reset(before))
        candidate = torch.tanh(gated.input(x[1]) + gated.state(reset * before))
        torch.testing.assert_close(gated(x), torch.stack([before, candidate]))
        gated.input_update.bias.fill_(-100.0)  # nothing of it
        torch.testing.assert_close(gated(x), torch.stack([before, before]))


def test_the_rectified_recurrence_begins_without_a_state() -> None:
    torch.manual_seed(0)
    rectified = Rectified(3)
    x = torch.randn(1, 2, 3)
    torch.testing.assert_close(rectified(x)[0], F.relu(rectified.input(x[0])))


def saved(folder: Path, network: CharCNNRNN, method: str = "charcnnrnn", **config: object) -> Path:
    tensors = {f"T.{k}": v for k, v in network.state_dict().items()}
    ModelFile(method, {**SMALL, **config}, tensors).save(folder)
    return folder


def test_load(tmp_path: Path) -> None:
    encoder = load(saved(tmp_path, small()))
    assert encoder.width == 7
    vectors = encoder.encode(["a bird", "a red bird"])
    assert vectors.shape == (2, 7)
    assert not vectors.requires_grad
    torch.testing.assert_close(vectors[1:], encoder.encode(["a red bird"]))
    assert encoder.encode([]).shape == (0, 7)
    opened = open_encoder(f"char-cnn-rnn:{tmp_path}")
    assert (opened.name, opened.digest) == (f"char-cnn-rnn:{tmp_path}", encoder.digest)


def test_the_digest_tells_encoders_apart() -> None:
    digest = CharCNNRNNEncoder(small()).digest
    assert digest == CharCNNRNNEncoder(small()).digest
    other = small()
    with torch.no_grad():
        other.head.bias[0] += 1e-3
    assert digest != CharCNNRNNEncoder(other).digest
    assert digest != CharCNNRNNEncoder(small(average=False)).digest
    assert digest != CharCNNRNNEncoder(small(length=101)).digest


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"pinxit import charcnnrnn .*net\.t7"):
        load(tmp_path / "net.t7")
    with pytest.raises(PinxitError, match="is a model of spade, expected charcnnrnn"):
        load(saved(tmp_path / "other", small(), "spade"))
    with pytest.raises(PinxitError, match=r"text encoder is not as its configuration \(size mismatch"):
        load(saved(tmp_path / "wrong", small(), hidden=8))
    with pytest.raises(PinxitError, match="the text encoder is damaged"):
        load(saved(tmp_path / "damaged", small(), channels=3))
