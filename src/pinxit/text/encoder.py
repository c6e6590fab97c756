"""What turns sentences into vectors, behind one small interface; and encoders of others, read from a folder.

Encoders of Hugging Face need the extra `text`. They are read from their folder, or from where `hf download` put them:
nothing is downloaded here, only safetensors are opened, and no code that lies beside them is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.errors import PinxitError, expected, unknown_name

BATCH = 64
"""Sentences that a network is given together, at most."""

_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_POOLINGS = ("cls", "max", "mean")
_ACTIVATIONS = {"Identity": nn.Identity, "Tanh": nn.Tanh}
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model")
# Of what an encoder was saved with and not of what it computes.
_NOT_SETTINGS = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})


class TextEncoder(Protocol):
    """What gives every sentence a vector. It is frozen: the same sentence has the same vector for ever."""

    @property
    def name(self) -> str:
        """What `open_encoder` knows it by, and messages call it; "built-in" for the one that a model brings."""
        ...

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of weights and settings, in hex: equal where the vectors are."""
        ...

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, width] on the CPU, without gradient.

        Raises `PinxitError` for an empty sentence (`clean`).
        """
        ...


def open_encoder(name: str) -> TextEncoder:
    """The encoder of that name.

    - `sentence:NAME_OR_FOLDER`: a model of sentence-transformers (transformer, pooling, dense layers). Without a
      `modules.json` it is a transformer whose tokens' vectors are averaged. Prompts that some of them know are not
      put before the sentences. A NAME without an owner is one of `sentence-transformers`.
    - `clip:NAME_OR_FOLDER`: the text side of a CLIP model, its projection included.
    - `char-cnn-rnn:MODEL`: `pinxit.text.char_cnn_rnn`, of Reed et al. 2016.

    The vectors of the first two are scaled to a root mean square of 1, since some models give unit vectors and others
    do not; cosines are none the wiser. Words beyond what the model can take in are passed over.

    Raises:
        PinxitError: there is no such encoder on this machine, it needs the extra `text` or code of its own, or is
            damaged.
    """
    kind, colon, where = name.partition(":")
    if not colon or not where:
        want = "sentence:NAME_OR_FOLDER, clip:NAME_OR_FOLDER or char-cnn-rnn:MODEL"
        raise expected("the text encoder", repr(name), want, "say of which kind it is and where")
    if kind == "char-cnn-rnn":
        from pinxit.text import char_cnn_rnn

        return char_cnn_rnn.load(Path(where))
    if kind == "sentence":
        return _Sentence(name, _folder(name, where if "/" in where else f"sentence-transformers/{where}", where))
    if kind == "clip":
        return _Clip(name, _folder(name, where, where))
    raise unknown_name("the kind of text encoder", kind, ("sentence", "clip", "char-cnn-rnn"))


def check_same(encoder: TextEncoder, name: str, width: int, digest: str, thing: str) -> None:
    """Raises `PinxitError` unless `encoder` gives the vectors that `thing` was trained with.

    `name`, `width`, `digest`: of the encoder of that training. The name may differ: a folder may have been moved.
    """
    if encoder.width != width:
        got = f"of {encoder.width} numbers a sentence"
    elif encoder.digest != digest:
        got = "another one, or with other settings"
    else:
        return
    want = f"{name!r} of {width} numbers a sentence, which {thing} was trained with"
    raise expected(f"text encoder '{encoder.name}'", got, want, "give that one")


def clean(sentence: str) -> str:
    """The sentence in NFC, its white space and control characters folded to single blanks; no letter is changed.

    Any script and any length is right, emoji are, too; halves of surrogate pairs become U+FFFD.

    Raises `PinxitError` where nothing that can be seen is left.
    """
    whole = sentence.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    blanked = "".join(" " if unicodedata.category(c) == "Cc" else c for c in whole)
    text = " ".join(unicodedata.normalize("NFC", blanked).split())
    if all(unicodedata.category(c) == "Cf" for c in text.replace(" ", "")):
        raise expected("the sentence", "empty", "at least a word", "write what there is to be seen")
    return text


def _folder(name: str, repository: str, where: str) -> Path:
    """The folder that `where` is, or the one where `hf download` put `repository`.

    Raises `PinxitError` where there is neither, or the extra is not installed.
    """
    thing = f"text encoder '{name}'"
    if missing := [part for part in ("transformers", "huggingface_hub") if importlib.util.find_spec(part) is None]:
        want = 'the extra "text" (pip install "pinxit[text]")'
        raise expected(f"{missing[0]}, which {thing} needs,", "not installed", want, "install it")
    folder = Path(where).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise expected(thing, "a file", "a folder with config.json and safetensors", "name the folder that it is in")
    part = r"\w(?:[\w.-]*\w)?"  # of a name, which no path is
    if not re.fullmatch(f"{part}/{part}", repository, re.ASCII):
        raise expected(thing, "not there", "a folder, or a name as OWNER/MODEL", "check the path")
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports] - an extra
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError  # pyright: ignore[reportMissingImports] - an extra

    try:
        return Path(snapshot_download(repository, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, OSError) as error:
        advice = f"fetch it once with 'hf download {repository}', or name a folder"
        raise expected(thing, "not on this machine", "a folder, or a model already downloaded", advice) from error


class _Clip:
    """The text side of CLIP (Radford et al. 2021), with its projection."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        thing = f"text encoder '{name}'"
        settings = _json(folder / "config.json", thing)
        if (kind := settings.get("model_type")) not in ("clip", "clip_text_model"):
            advice = f"try sentence:{name.partition(':')[2]}, or choose another"
            raise expected(thing, f"a model of type {kind!r}", "a CLIP model", advice)
        with _opening(thing):
            from transformers import (  # pyright: ignore[reportMissingImports] - an extra
                CLIPConfig,
                CLIPTextConfig,
                CLIPTextModelWithProjection,
            )

            if kind == "clip":
                whole: Any = CLIPConfig.from_pretrained(folder, **_LOCAL)
                config: Any = whole.text_config
                config.projection_dim = whole.projection_dim  # which some published ones say only of the whole
            else:
                config = CLIPTextConfig.from_pretrained(folder, **_LOCAL)
            self._tokenizer, self._network = _read(folder, CLIPTextModelWithProjection, config=config)
            self._longest = min(self._tokenizer.model_max_length, self._network.config.max_position_embeddings)
            self.width = self._vectors(["a"]).shape[1]
        self.digest = _digest(folder, [folder], {"kind": "clip", **_settings(settings)})

    def encode(self, sentences: Sequence[str]) -> Tensor:
        return _in_batches(self._vectors, sentences, self.width)

    def _vectors(self, sentences: list[str]) -> Tensor:
        given = self._tokenizer(sentences, padding=True, truncation=True, max_length=self._longest, return_tensors="pt")
        return self._network(input_ids=given["input_ids"], attention_mask=given["attention_mask"]).text_embeds


class _Sentence:
    """A model of sentence-transformers (Reimers & Gurevych 2019): a transformer, pooling, perhaps dense layers."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        thing = f"text encoder '{name}'"
        home, self._pooling, dense, parts = _modules(folder, thing)
        settings = _json(home / "config.json", thing)
        if settings.get("is_encoder_decoder"):
            raise expected(thing, "an encoder with a decoder", "an encoder alone", "choose another")
        own = home / "sentence_bert_config.json"
        limits = _json(own, thing) if own.is_file() else {}
        self._lower = limits.get("do_lower_case") is True
        with _opening(thing):
            from transformers import AutoModel  # pyright: ignore[reportMissingImports] - an extra

            self._tokenizer, self._network = _read(home, AutoModel)
            self._dense = nn.Sequential(*(_dense(part, thing) for part in dense)).eval().requires_grad_(False)
            # Two places are set aside by RoBERTa and its like; a tokenizer that knows no limit names an enormous one.
            longest = [self._tokenizer.model_max_length, getattr(self._network.config, "max_position_embeddings", 1e9)]
            if longest[0] > 1e6:
                longest[1] -= 2
            if isinstance(limits.get("max_seq_length"), int):
                longest.append(limits["max_seq_length"])
            self._longest = int(min(512, *longest))
            self.width = self._vectors(["a"]).shape[1]
        described = {"kind": "sentence", "pooling": self._pooling, "lower": self._lower, "longest": self._longest}
        self.digest = _digest(folder, [home, *dense], described | _settings(settings) | {"modules": parts})

    def encode(self, sentences: Sequence[str]) -> Tensor:
        return _in_batches(self._vectors, sentences, self.width)

    def _vectors(self, sentences: list[str]) -> Tensor:
        given = self._tokenizer(
            [s.lower() for s in sentences] if self._lower else sentences,
            padding=True,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        )
        mask = given["attention_mask"]
        x = self._network(input_ids=given["input_ids"], attention_mask=mask).last_hidden_state
        there = mask[..., None].bool()
        if self._pooling == "cls":
            x = x[:, 0]
        elif self._pooling == "max":
            x = x.masked_fill(~there, -torch.inf).amax(1)
        else:
            x = x.masked_fill(~there, 0).sum(1) / there.sum(1).clamp(min=1)
        return self._dense(x)


def _in_batches(vectors: Any, sentences: Sequence[str], width: int) -> Tensor:
    texts = [clean(sentence) for sentence in sentences]
    rows = torch.empty(len(texts), width)
    # Those of one length together: short ones then need no padding to the length of the longest of all.
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    with torch.no_grad():
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            rows[places] = vectors([texts[i] for i in places]).float()
    return unit_mean_square(rows)


def unit_mean_square(x: Tensor) -> Tensor:
    """Rows [..., W] scaled to a root mean square of 1; zeros stay zeros."""
    return F.normalize(x, dim=-1) * x.shape[-1] ** 0.5


@contextmanager
def _opening(thing: str) -> Iterator[None]:
    """What transformers says of a folder that it cannot read, in one line; else it is silent."""
    from transformers.utils import logging  # pyright: ignore[reportMissingImports] - an extra

    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with torch.no_grad():
            yield
    except PinxitError:
        raise
    except Exception as error:  # files of others, read by a library that has no error of its own
        got = f"not to be opened ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
        want, advice = "a whole model with safetensors and its tokenizer, and without code of its own", "choose another"
        if isinstance(error, ImportError):  # of transformers itself, which imports what it finds, torchvision as well
            want, advice = "packages that transformers can import", "mend or remove the one that is named"
        raise expected(thing, got, want, advice) from error
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _read(folder: Path, model: Any, **options: Any) -> tuple[Any, Any]:
    from transformers import AutoTokenizer  # pyright: ignore[reportMissingImports] - an extra

    tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    options |= {"use_safetensors": True, "output_loading_info": True}
    network, info = model.from_pretrained(folder, **options, **_LOCAL)
    # Missing ones are drawn at random with no more than a warning. The pooler of BERT is one that nothing here reads.
    if missing := sorted(key for key in info["missing_keys"] if not key.startswith("pooler.")):
        raise ValueError(f"no weights {missing[0]}")
    return tokenizer, network.float().eval().requires_grad_(False)


def _modules(folder: Path, thing: str) -> tuple[Path, str, list[Path], list[str]]:
    """Of a sentence-transformers model: the transformer's folder, the pooling, dense layers, names of all parts."""
    listed = folder / "modules.json"
    if not listed.is_file():
        return folder, "mean", [], []
    steps = _json(listed, thing, list)
    home, pooling, dense, parts = folder, "mean", [], []
    for step in steps:
        step = step if isinstance(step, dict) else {}
        part = str(step.get("type")).rpartition(".")[2]
        path = step.get("path", "")
        if not isinstance(path, str) or not re.fullmatch(r"\w*", path, re.ASCII):
            raise expected(f"a part of {thing}", f"in {str(path)[:80]!r}", "a folder in its own", "do not trust it")
        known = {0: ("Transformer",), 1: ("Pooling",)}.get(len(parts), ("Dense", "Normalize"))
        if part not in known:
            want = "a transformer, pooling, dense layers and no other parts"
            raise expected(thing, f"with {part[:80]!r} as part {len(parts) + 1}", want, "choose another")
        parts.append(part)
        if part == "Transformer":
            home = folder / path
        elif part == "Pooling":
            pooling = _pooling(folder / path, thing)
        elif part == "Dense":
            dense.append(folder / path)
    return home, pooling, dense, parts


def _pooling(folder: Path, thing: str) -> str:
    found = _json(folder / "config.json", thing)
    old = {"cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens", "mean": "pooling_mode_mean_tokens"}
    chosen = [key for key, value in found.items() if key.startswith("pooling_mode_") and value is True]
    if isinstance(new := found.get("pooling_mode"), str):
        chosen = [old.get(new, new)]
    for name in _POOLINGS:
        if chosen == [old[name]]:
            return name
    got = f"with the pooling {', '.join(chosen)[:120] or 'unnamed'}"
    raise expected(thing, got, f"one of {', '.join(_POOLINGS)}", "choose another")


def _dense(folder: Path, thing: str) -> nn.Sequential:
    from safetensors.torch import load_file

    named = _json(folder / "config.json", thing).get("activation_function", "torch.nn.modules.activation.Tanh")
    kind = str(named).rpartition(".")[2]
    if kind not in _ACTIVATIONS:
        raise expected(thing, f"with a layer of activation {kind[:80]!r}", "Identity or Tanh", "choose another")
    state = load_file(folder / "model.safetensors")
    weight = state["linear.weight"]
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias="linear.bias" in state)
    linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in state.items()})
    return nn.Sequential(linear, _ACTIVATIONS[kind]())


def _json(path: Path, thing: str, kind: type = dict) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        got = f"without a readable {path.name} ({type(error).__name__})"
        raise expected(thing, got, "the folder of a whole model", "download it again, or check the path") from error
    if not isinstance(value, kind):
        got = f"with a {path.name} that holds a {type(value).__name__}"
        raise expected(thing, got, f"a {kind.__name__} there", "download it again")
    return value


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    return {"config": {key: value for key, value in config.items() if key not in _NOT_SETTINGS}}


def _digest(folder: Path, parts: Sequence[Path], settings: dict[str, Any]) -> str:
    """SHA-256 of what is computed with: `settings`, and the weights and vocabularies in `parts` of `folder`."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in parts:
        for path in sorted(p for p in part.iterdir() if p.suffix == ".safetensors" or p.name in _TOKENIZERS):
            digest.update(f"\0{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            with path.open("rb") as f:
                while chunk := f.read(1 << 20):
                    digest.update(chunk)
    return digest.hexdigest()
