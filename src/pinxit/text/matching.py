"""The built-in text encoder: it learns from (picture, caption) pairs alone, and needs no vocabulary and no download.

A text network and a picture network learn which caption belongs to which photo by a symmetric contrastive loss, as in
CLIP (Radford et al. 2021). Words are hashed, whole and by their runs of three characters (as in fastText, Bojanowski et
al. 2017), so that any script and any spelling has a place in one table of fixed size.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
import zlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.text.encoder import BATCH, clean, unit_mean_square

TOKENS = 32
"""Places in a row of `tokens`: the first is the start's, and words beyond the last are passed over."""
PIECES = 8
"""Numbers for a word: one for the whole, the others for its first runs of three characters."""
BUCKETS = 1 << 14
"""What the numbers are below; 0 stands for nothing, 1 for the start."""
PICTURE = 64
"""Side of the pictures that `PictureNetwork` looks at."""

# Scripts that put no blanks between words: each of their characters is a word. (First, last) code points.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x31FF),  # radicals, kana, bopomofo
    (0x3400, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


def tokens(sentences: Sequence[str]) -> Tensor:
    """int64 [N, TOKENS, PIECES]: hashes of words and of character runs in them, in the order of the sentence.

    Case and punctuation are passed over; emoji and other symbols are words, and so is each character of a script that
    puts no blanks between words. Of a longer sentence the first TOKENS - 1 words count. A sentence of punctuation alone
    has a start and no more.

    Raises `PinxitError` for an empty sentence.
    """
    rows = torch.zeros(len(sentences), TOKENS, PIECES, dtype=torch.int64)
    for row, sentence in zip(rows, sentences, strict=True):
        pieces = [(1,), *(_pieces(word) for word in _words(clean(sentence)))][:TOKENS]
        padded = [(*some, *(0,) * (PIECES - len(some))) for some in pieces]
        row[: len(padded)] = torch.tensor(padded)
    return rows


def _words(text: str) -> list[str]:
    # Hashing all of a book for its first line would take long. Full-width letters and ligatures are letters, too.
    text = unicodedata.normalize("NFKC", text[: 1000 * TOKENS].casefold())
    words: list[str] = []
    unfinished = touching = False  # whether letters, and whether marks as accents, belong to the last word
    for c in text:
        category = unicodedata.category(c)
        if category[0] == "M" and touching:
            words[-1] += c
        elif category[0] in "LN":
            unspaced = c >= "\u0e00" and any(first <= ord(c) <= last for first, last in _UNSPACED)
            if unfinished and not unspaced:
                words[-1] += c
            else:
                words.append(c)
            unfinished, touching = not unspaced, True
        elif category[0] == "S":
            words.append(c)
            unfinished = touching = False
        elif category not in ("Cf", "Pc") and c not in "'’":  # which are passed over within a word
            unfinished = touching = False
    return words


@functools.lru_cache(maxsize=1 << 16)
def _pieces(word: str) -> tuple[int, ...]:
    framed = f"<{word}>"
    runs = [framed[i : i + 3] for i in range(min(len(framed) - 2, PIECES - 1))] if len(word) > 1 else []
    # The word has its own mark: 'red' as a word is not 'red' in 'hundred'.
    return tuple(2 + zlib.crc32(piece.encode()) % (BUCKETS - 2) for piece in (f"={word}", *runs))


class TextNetwork(nn.Module):
    """Tokens to a vector: words as sums of their pieces, two convolutions over neighbouring words, attention pooling.

    `width`: numbers of the vector, and of a word.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.words = nn.EmbeddingBag(BUCKETS, width, mode="sum", padding_idx=0)
        # Small beside what the convolutions give, so that steps of Adam soon make words what they should be.
        nn.init.normal_(self.words.weight, std=0.1)
        with torch.no_grad():
            self.words.weight[0] = 0
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.convolutions = nn.ModuleList([nn.Conv1d(width, width, 3, padding=1) for _ in range(2)])
        self.attention = nn.Linear(width, 1)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [N, TOKENS, PIECES] -> float32 [N, width], of root mean square 1."""
        there = (tokens[..., 0] > 0)[..., None]
        x = self.words(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            # Places without a word are nothing to their neighbours.
            x = x + convolution((norm(x) * there).mT).mT.relu()
        share = self.attention(x).masked_fill(~there, -torch.inf).softmax(1)
        return unit_mean_square(self.out((share * x).sum(1)).float())


class PictureNetwork(nn.Module):
    """Photos to vectors like those of the captions: four convolutions, whose result is averaged over the picture."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 24), (24, 48), (48, 96), (96, 192)):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(8, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(192, width)

    def forward(self, photo: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1], resized to 64 x 64 inside -> float32 [N, width], of root mean square 1."""
        if photo.shape[-2:] != (PICTURE, PICTURE):
            photo = F.interpolate(photo, (PICTURE, PICTURE), mode="bilinear", antialias=True, align_corners=False)
        return unit_mean_square(self.out(self.layers(photo).mean((2, 3))).float())


def matching_loss(
    text: Tensor, picture: Tensor, temperature: float | Tensor = 0.1, same: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021, fig. 3): row i of `text` belongs to row i of `picture`.

    text, picture: [N, W]; their cosines over `temperature` are the logits. same: bool [N, N], the pairs (text i,
    picture j) that are not wrong either, as those of equal captions (`same_rows`); they are left out of the sum.
    A batch of one, or of nothing but equals, has a loss of 0.
    """
    logits = F.normalize(text.float(), dim=1) @ F.normalize(picture.float(), dim=1).T / temperature
    if same is not None:
        own = torch.eye(len(text), dtype=torch.bool, device=text.device)
        logits = logits.masked_fill(same & ~own, -torch.inf)
    answers = torch.arange(len(text), device=text.device)
    return (F.cross_entropy(logits, answers) + F.cross_entropy(logits.T, answers)) / 2


def same_rows(rows: Tensor) -> Tensor:
    """bool [N, N]: which captions of a batch, tokens or vectors [N, ...], are equal; the `same` of `matching_loss`."""
    flat = rows.flatten(1)
    return (flat[:, None] == flat[None]).all(-1)


class BuiltIn:
    """A `TextEncoder` around a `TextNetwork`, as it is at that moment: train it no further."""

    name = "built-in"

    def __init__(self, network: TextNetwork) -> None:
        self.network = network
        self.width = network.width

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the weights and of how tokens are made."""
        digest = hashlib.sha256(f"built-in {TOKENS} {PIECES} {BUCKETS}".encode())
        for name, tensor in sorted(self.network.state_dict().items()):
            digest.update(f"\0{name}\0{tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """float32 [N, width] on the CPU. Raises `PinxitError` for an empty sentence."""
        device = self.network.out.weight.device
        rows = torch.empty(len(sentences), self.width)
        with torch.no_grad():
            for start in range(0, len(sentences), BATCH):
                batch = tokens(sentences[start : start + BATCH]).to(device)
                rows[start : start + BATCH] = self.network(batch).cpu()
        return rows
