"""Encoders of others: read from a folder alone, and no code of theirs is run. Tiny random models stand for them."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from pinxit.errors import PinxitError
from pinxit.text.encoder import check_same, clean, open_encoder

WORDS = ["red", "green", "bird", "with", "wings", "a", "small", "##s", "on", "."]


@pytest.fixture(scope="module")
def transformers() -> Any:
    reason = 'needs transformers and huggingface_hub: pip install "pinxit[text]"'
    pytest.importorskip("huggingface_hub", reason=reason)
    return pytest.importorskip("transformers", reason=reason)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whoever connects fails the test; the cache of downloads is an empty one."""

    def connect(*_: object) -> None:
        pytest.fail("a connection to the network was tried")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    if "huggingface_hub" in sys.modules:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def put(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def sentence(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As sentence-transformers saves a model: a small BERT, its mean over the words, a dense layer."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("sentence")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=24,
    )
    transformers.BertModel(config).save_pretrained(folder)
    parts = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    listed = [{"path": path, "type": f"sentence_transformers.models.{name}"} for path, name in parts.items()]
    put(folder / "modules.json", listed)
    put(folder / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
    pooling = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    put(folder / "1_Pooling/config.json", pooling)
    put(folder / "2_Dense/config.json", {"activation_function": "torch.nn.modules.activation.Tanh"})
    dense = {"linear.weight": torch.randn(6, 16), "linear.bias": torch.randn(6)}
    save_file(dense, folder / "2_Dense/model.safetensors")
    return folder


@pytest.fixture(scope="module")
def clip(transformers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a whole CLIP is published, picture side included."""
    folder = tmp_path_factory.mktemp("clip")
    letters = [*"abcdefghijklmnopqrstuvwxyz.", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz.")]
    vocabulary = {word: i for i, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    put(folder / "vocab.json", vocabulary)
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    end = vocabulary["<|endoftext|>"]
    text = {"vocab_size": len(vocabulary), "max_position_embeddings": 20, "bos_token_id": end - 1, "eos_token_id": end}
    config = transformers.CLIPConfig(
        text_config=size | text,
        vision_config=size | {"image_size": 16, "patch_size": 8},
        projection_dim=10,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder


def refused(name: str, words: str) -> None:
    with pytest.raises(PinxitError, match=words) as told:
        open_encoder(name)
    assert "\n" not in str(told.value)


def test_sentence_encoder_computes_what_the_model_does(transformers: Any, sentence: Path) -> None:
    encoder = open_encoder(f"sentence:{sentence}")
    assert (encoder.name, encoder.width) == (f"sentence:{sentence}", 6)
    sentences = ["a red bird", "a small green bird with wings.", "birds"]
    rows = encoder.encode(sentences)
    assert (rows.dtype, rows.shape, rows.requires_grad) == (torch.float32, (3, 6), False)
    torch.testing.assert_close(rows.square().mean(1), torch.ones(3))
    model = transformers.BertModel.from_pretrained(sentence).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(sentence)
    from safetensors.torch import load_file

    dense = load_file(sentence / "2_Dense/model.safetensors")
    for row, text in zip(rows, sentences, strict=True):  # each alone, without padding
        with torch.no_grad():
            x = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        want = (dense["linear.weight"] @ x + dense["linear.bias"]).tanh()
        torch.testing.assert_close(F.normalize(row, dim=0), F.normalize(want, dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["cls", "max"])
def test_poolings(transformers: Any, sentence: Path, tmp_path: Path, mode: str) -> None:
    folder = shutil.copytree(sentence, tmp_path / "model")
    put(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2])
    put(folder / "1_Pooling/config.json", {f"pooling_mode_{mode}_tokens".replace("cls_tokens", "cls_token"): True})
    rows = open_encoder(f"sentence:{folder}").encode(["a red bird", "bird"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        x = transformers.BertModel.from_pretrained(folder).eval()(**tokenizer("bird", return_tensors="pt"))
    want = x.last_hidden_state[0, 0] if mode == "cls" else x.last_hidden_state[0].amax(0)
    torch.testing.assert_close(F.normalize(rows[1], dim=0), F.normalize(want, dim=0), rtol=1e-4, atol=1e-5)
    put(folder / "1_Pooling/config.json", {"pooling_mode": mode})  # as later versions write it
    assert torch.equal(open_encoder(f"sentence:{folder}").encode(["a red bird", "bird"]), rows)


def test_clip_encoder_computes_what_the_model_does(transformers: Any, clip: Path) -> None:
    encoder = open_encoder(f"clip:{clip}")
    sentences = ["a red bird", "a b c d"]
    rows = encoder.encode(sentences)
    assert rows.shape == (2, 10) == (2, encoder.width)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    for row, text in zip(rows, sentences, strict=True):
        with torch.no_grad():
            state = model.text_model(**tokenizer(text, return_tensors="pt")).pooler_output
            want = model.text_projection(state)[0]
        torch.testing.assert_close(F.normalize(row, dim=0), F.normalize(want, dim=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["sentence", "clip"])
def test_any_sentence_has_a_defined_vector(kind: str, request: pytest.FixtureRequest) -> None:
    encoder = open_encoder(f"{kind}:{request.getfixturevalue(kind)}")
    sentences = ["bird " * 2000, "🐦🏽‍🚀", "赤い鳥が飛んでいる", "\ud83d", "!", "a\0b", "birds" * 300]
    rows = encoder.encode(sentences)
    assert rows.isfinite().all()
    torch.testing.assert_close(rows, torch.cat([encoder.encode([s]) for s in sentences]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.encode(["a\tred   bird\n"]), encoder.encode(["a red bird"]))
    assert encoder.encode([]).shape == (0, encoder.width)
    with pytest.raises(PinxitError, match="the sentence is empty"):
        encoder.encode(["a", "  "])


def test_digest_is_of_what_is_computed(sentence: Path, tmp_path: Path) -> None:
    first = open_encoder(f"sentence:{sentence}")
    folder = shutil.copytree(sentence, tmp_path / "model")
    (folder / "README.md").write_text("moved")
    config = json.loads((folder / "config.json").read_text())
    put(folder / "config.json", config | {"transformers_version": "9.9"})
    moved = open_encoder(f"sentence:{folder}")
    assert moved.digest == first.digest
    check_same(moved, first.name, first.width, first.digest, "the model")
    from safetensors.torch import save_file

    put(folder / "sentence_bert_config.json", {"max_seq_length": 8})
    other = open_encoder(f"sentence:{folder}")
    assert other.digest != first.digest
    with pytest.raises(PinxitError, match=r"another one, or with other settings, expected 'sentence:.*' of 6 numbers"):
        check_same(other, first.name, first.width, first.digest, "the model")
    save_file({"linear.weight": torch.randn(7, 16)}, folder / "2_Dense/model.safetensors")
    with pytest.raises(PinxitError, match=r"is of 7 numbers a sentence, expected .* of 6 .*the model was trained with"):
        check_same(open_encoder(f"sentence:{folder}"), first.name, first.width, first.digest, "the model")


def test_a_name_is_not_downloaded(transformers: Any) -> None:
    refused("sentence:all-nothing", "not on this machine, .*'hf download sentence-transformers/all-nothing'")
    refused("clip:nobody/nothing", "not on this machine, .*fetch it once with 'hf download nobody/nothing'")


def test_a_name_is_found_where_hf_download_puts_it(sentence: Path, tmp_path: Path) -> None:
    home = tmp_path / "hub/models--owner--birds"
    (home / "refs").mkdir(parents=True)
    commit = "0" * 40
    (home / "refs/main").write_text(commit)
    shutil.copytree(sentence, home / "snapshots" / commit)
    found = open_encoder("sentence:owner/birds")
    assert found.name == "sentence:owner/birds"
    assert found.digest == open_encoder(f"sentence:{sentence}").digest


def test_says_what_is_no_encoder(transformers: Any, sentence: Path, clip: Path, tmp_path: Path) -> None:
    refused("all-MiniLM", "the text encoder is 'all-MiniLM', expected sentence:")
    refused("clip:", "the text encoder is 'clip:', expected")
    refused("clib:x", "'clib', expected one of .* did you mean 'clip'")
    refused(f"sentence:{tmp_path}/none", "not there, expected a folder, or a name as OWNER/MODEL")
    refused("sentence:../none", "not there")
    refused(f"sentence:{tmp_path}", "without a readable config.json")
    refused(f"sentence:{sentence}/config.json", "is a file, expected a folder")
    refused(f"clip:{sentence}", "a model of type 'bert', expected a CLIP model; try sentence:")


CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"not to be opened \("),
    "cut weights": (lambda f: (f / "model.safetensors").write_bytes(b"12345"), r"not to be opened \("),
    "other module": (lambda f: put(f / "modules.json", [{"path": "", "type": "evil.Run"}]), "with 'Run' as part 1"),
    "module elsewhere": (
        lambda f: put(f / "modules.json", [{"path": "../x", "type": "a.Transformer"}]),
        r"in '\.\./x'",
    ),
    "odd modules": (lambda f: put(f / "modules.json", [3]), "with 'None' as part 1"),
    "no list": (lambda f: put(f / "modules.json", {}), "modules.json that holds a dict, expected a list"),
    "pooling": (lambda f: put(f / "1_Pooling/config.json", {"pooling_mode_lasttoken": True}), "pooling_mode_lasttoken"),
    "no pooling": (lambda f: put(f / "1_Pooling/config.json", {}), "with the pooling unnamed"),
    "activation": (lambda f: put(f / "2_Dense/config.json", {"activation_function": "os.system"}), "'system'"),
    "no dense": (lambda f: (f / "2_Dense/model.safetensors").unlink(), r"not to be opened \("),
    "decoder": (lambda f: put(f / "config.json", {"model_type": "t5", "is_encoder_decoder": True}), "with a decoder"),
    "other type": (lambda f: put(f / "config.json", {"model_type": "nothing"}), r"not to be opened \("),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "without a readable config.json"),
}


@pytest.mark.parametrize("case", CASES)
def test_says_what_is_wrong_with_a_folder(case: str, transformers: Any, sentence: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentence, tmp_path / "model")
    spoil, words = CASES[case]
    spoil(folder)
    refused(f"sentence:{folder}", words)


def test_missing_weights_are_not_drawn_at_random(transformers: Any, sentence: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(sentence, tmp_path / "model")
    state = load_file(folder / "model.safetensors")
    name = next(key for key in state if key.endswith("layer.1.output.dense.weight"))
    save_file({k: v for k, v in state.items() if k != name}, folder / "model.safetensors", {"format": "pt"})
    refused(f"sentence:{folder}", "no weights encoder.layer.1.output.dense.weight")


def test_pickled_weights_are_not_opened(transformers: Any, sentence: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentence, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.ones(1)}, folder / "pytorch_model.bin")
    refused(f"sentence:{folder}", "not to be opened .*safetensors")


@pytest.mark.parametrize("known", [True, False], ids=["a known type", "a type of its own"])
def test_code_in_the_folder_is_not_run(known: bool, transformers: Any, sentence: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sentence, tmp_path / "model")
    harm = tmp_path / "harm"
    (folder / "own.py").write_text(
        f"open({str(harm)!r}, 'w')\nfrom transformers import *\nclass Own(BertModel): pass\n"
    )
    config = json.loads((folder / "config.json").read_text())
    named = {"AutoModel": "own.Own", "AutoConfig": "own.Own", "AutoTokenizer": ["own.Own", "own.Own"]}
    put(folder / "config.json", config | {"auto_map": named} | ({} if known else {"model_type": "own"}))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    put(folder / "tokenizer_config.json", tokenizer | {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}})
    if known:
        open_encoder(f"sentence:{folder}").encode(["a bird"])
    else:
        refused(f"sentence:{folder}", r"not to be opened \(")
    assert not harm.exists()


def test_a_broken_torchvision_is_told_of(clip: Path, tmp_path: Path) -> None:
    """transformers imports one that it finds, and one beside another build of torch fails; none is needed."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text("raise ImportError('this is torchvision')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from pinxit.errors import PinxitError
from pinxit.text.encoder import open_encoder
try:
    open_encoder({f"clip:{clip}"!r})
except PinxitError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "(ImportError: this is torchvision), expected packages that transformers can import" in done.stdout
    assert done.stdout.count("\n") == 1


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(f"clip:{tmp_path}", r"transformers, which text encoder 'clip:.*' needs, is not installed, .*pinxit\[text\]")


def test_clean() -> None:
    assert clean("  A small\tbird \n with  wings\u3000and\u00a0tail\r\n") == "A small bird with wings and tail"
    assert clean("e\u0301") == "é"
    assert clean("\ud83d\udc26 \ud83d") == "🐦 \ufffd"
    assert clean("a\0b") == "a b"
    assert clean("👩‍🚀") == "👩‍🚀"
    assert len(clean("x" * 10_000)) == 10_000
    for nothing in ("", "  \n", "\0", "\u200b \u200d", "\ufeff"):
        with pytest.raises(PinxitError, match="the sentence is empty, expected at least a word"):
            clean(nothing)
