"""The built-in encoder: any text has tokens, words and their order count, and it learns what belongs together."""

from __future__ import annotations

import copy
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.text.encoder import clean
from pinxit.text.matching import (
    BUCKETS,
    PIECES,
    TOKENS,
    BuiltIn,
    PictureNetwork,
    TextNetwork,
    matching_loss,
    same_rows,
    tokens,
)

COLOURS = {
    "red": (0.9, 0.1, 0.1), "green": (0.1, 0.7, 0.2), "blue": (0.1, 0.2, 0.9), "yellow": (0.95, 0.9, 0.1),
    "white": (0.95, 0.95, 0.95), "purple": (0.6, 0.1, 0.7),
}  # fmt: skip
SHAPES = ("disc", "square", "ring", "cross")


def picture(colour: str, shape: str, ground: str, draw: torch.Generator) -> Tensor:
    """[3, 64, 64] in [-1, 1]: a shape somewhere on a ground, with some noise."""
    size = 12 + 8 * torch.rand((), generator=draw)
    x, y = 22 + 20 * torch.rand(2, generator=draw)
    rows, columns = torch.arange(64.0)[:, None] - y, torch.arange(64.0)[None] - x
    radius, farthest = (rows**2 + columns**2).sqrt(), torch.maximum(rows.abs(), columns.abs())
    inside = {
        "disc": radius < size,
        "square": farthest < size * 0.85,
        "ring": (radius < size) & (radius > size * 0.6),
        "cross": (farthest < size) & (torch.minimum(rows.abs(), columns.abs()) < size * 0.3),
    }[shape]
    both = torch.tensor(COLOURS[colour])[:, None, None], torch.tensor(COLOURS[ground])[:, None, None]
    noise = 0.1 * torch.randn(3, 64, 64, generator=draw)
    return (torch.where(inside, *both) * 2 - 1 + noise).clamp(-1, 1)


def pairs(count: int, seed: int) -> tuple[Tensor, list[str]]:
    draw = torch.Generator().manual_seed(seed)

    def choice(names: tuple[str, ...]) -> str:
        return names[int(torch.randint(len(names), (), generator=draw))]

    pictures, sentences = [], []
    for _ in range(count):
        colour, ground, shape = choice(tuple(COLOURS)), choice(tuple(COLOURS)), choice(SHAPES)
        if colour == ground:
            ground = "blue" if colour != "blue" else "white"
        pictures.append(picture(colour, shape, ground, draw))
        form = choice(("A {c} {s} on {g} ground.", "there is a {c} {s}, and the ground is {g}", "{s} of {c} upon {g}"))
        sentences.append(form.format(c=colour, s=shape, g=ground))
    return torch.stack(pictures), sentences


def test_learns_which_caption_belongs_to_which_picture() -> None:
    """Among 10 captions, each of another meaning: 10 % is chance. The grounds are colours, too, so order must count."""
    torch.manual_seed(0)
    text, photo = TextNetwork(), PictureNetwork()
    seen, captions = pairs(768, seed=1)
    rows = tokens(captions)
    held, sentences = pairs(200, seed=3)
    meanings = [meaning(sentence) for sentence in sentences]
    draw = torch.Generator().manual_seed(2)

    def right() -> float:
        with torch.no_grad():
            cosines = photo(held) @ BuiltIn(text).encode(sentences).T
        found = 0
        for i in range(len(held)):
            order = torch.randperm(len(held), generator=draw).tolist()
            others = [j for j in order if meanings[j] != meanings[i]][:9]
            found += int(cosines[i, [i, *others]].argmax() == 0)
        return found / len(held)

    assert right() < 0.25
    optimizer = torch.optim.Adam([*text.parameters(), *photo.parameters()], lr=1e-3, betas=(0.9, 0.99), fused=True)
    for _ in range(100):
        chosen = torch.randint(len(rows), (32,), generator=draw)
        loss = matching_loss(text(rows[chosen]), photo(seen[chosen]), same=same_rows(rows[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert right() > 0.7


def meaning(sentence: str) -> tuple[str, str, str]:
    """Colour, shape, ground, whatever the form."""
    plain = sentence.lower().replace(".", "").replace(",", "").split()
    colours = [w for w in plain if w in COLOURS]
    return colours[0], next(w for w in plain if w in SHAPES), colours[1]


def test_tokens_are_the_same_everywhere() -> None:
    """Models are shared: these numbers are for ever."""
    rows = tokens(["A red bird's wing.", "a"])
    assert rows.shape == (2, TOKENS, PIECES)
    assert rows.dtype == torch.int64
    words = [[1, 0, 0], [6069, 0, 0], [11059, 8845, 13017], [13325, 8725, 14338], [2080, 9301, 502], [0, 0, 0]]
    assert rows[0, :6, :3].tolist() == words
    assert (rows[1, 1, 0], rows[1, 1, 1]) == (rows[0, 1, 0], 0)
    code = "from pinxit.text.matching import tokens; print(tokens(['A red bird\\u2019s wing.']).tolist())"
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.strip() == str(rows[:1].tolist()), done.stderr


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A red, small BIRD!", "a  red small bird"),
        ("caf\u00e9", "cafe\u0301"),
        ("the bird's wing", "the bird’s wing"),
        ("STRASSE", "straße"),
        ("x " * 5000, "x " * 40),
        ("!?", "..."),
        ("❤\ufe0f bird", "❤ bird"),
        ("ﾄﾘ \uff32\uff45\uff44", "トリ red"),
    ],
)
def test_what_makes_no_difference(one: str, other: str) -> None:
    assert torch.equal(tokens([one]), tokens([other]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a red bird", "a bird red"),
        ("a red bird", "a red birds"),
        ("赤い鳥", "青い鳥"),
        ("赤い鳥", "鳥い赤"),
        ("🐦", "🐟"),
        ("птица", "птицы"),
        ("लाल पक्षी", "लाल पक्ष"),
        ("3 birds", "4 birds"),
        ("a!", "!"),
    ],
)
def test_what_makes_a_difference(one: str, other: str) -> None:
    both = tokens([one, other])
    assert not torch.equal(both[0], both[1])
    torch.manual_seed(0)
    vectors = BuiltIn(TextNetwork(16)).encode([one, other])
    assert (vectors[0] - vectors[1]).norm() > 1e-2


def test_scripts_without_blanks_have_words_too() -> None:
    count = (tokens(["赤い鳥が飛ぶ", "สีแดง", "red", "लाल पक्षी", "りんごapple"])[..., 0] > 0).sum(1) - 1
    assert count.tolist() == [6, 4, 1, 2, 4]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=80))
def test_any_text_has_tokens_or_is_empty(text: str) -> None:
    try:
        clean(text)
    except PinxitError:
        with pytest.raises(PinxitError, match="the sentence is empty"):
            tokens([text])
        return
    rows = tokens([text])
    assert rows.shape == (1, TOKENS, PIECES)
    assert 0 <= rows.min() <= rows.max() < BUCKETS
    there = rows[0, :, 0] > 0
    assert there[0]
    assert not (there[1:] & ~there[:-1]).any()  # no hole among words
    assert BuiltIn(TextNetwork(8)).encode([text]).isfinite().all()


def test_networks_give_the_same_alone_as_in_a_batch() -> None:
    torch.manual_seed(0)
    text, photo = TextNetwork(24), PictureNetwork(24)
    sentences = ["a", "a red bird with long wings " * 4, "🐦"]
    rows = text(tokens(sentences))
    assert (rows.shape, rows.dtype) == ((3, 24), torch.float32)
    torch.testing.assert_close(rows, torch.cat([text(tokens([s])) for s in sentences]))
    torch.testing.assert_close(rows.square().mean(1), torch.ones(3))
    pictures = torch.rand(3, 3, 64, 64) * 2 - 1
    got = photo(pictures)
    torch.testing.assert_close(got, torch.cat([photo(p[None]) for p in pictures]))
    torch.testing.assert_close(got.square().mean(1), torch.ones(3))
    larger = torch.nn.functional.interpolate(pictures, scale_factor=2, mode="nearest")
    assert photo(larger).shape == photo(torch.rand(3, 3, 40, 70)).shape == (3, 24)
    # The same picture at twice the size is nearer than any other one.
    nearest = torch.nn.functional.cosine_similarity(photo(larger)[:, None], got[None], dim=2).argmax(1)
    assert nearest.tolist() == [0, 1, 2]


def test_a_place_without_word_says_nothing() -> None:
    """Neither the padding's weight nor what its neighbours are."""
    torch.manual_seed(0)
    text, rows = TextNetwork(16), tokens(["a red bird"])
    want = text(rows)
    assert not text.words.weight[0].any()
    longer = torch.cat([rows, torch.zeros(1, 5, PIECES, dtype=torch.int64)], 1)
    torch.testing.assert_close(text(longer), want)
    text(rows).sum().backward()
    assert text.words.weight.grad is not None
    assert not text.words.weight.grad[0].any()


def test_loss_against_the_formula() -> None:
    torch.manual_seed(0)
    text, photo = torch.randn(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    cosines = [[float(torch.cosine_similarity(t, p, 0)) / 0.3 for p in photo] for t in text]
    rows = [-c[i] + math.log(sum(map(math.exp, c))) for i, c in enumerate(cosines)]
    columns = [-c[i] + math.log(sum(map(math.exp, c))) for i, c in enumerate(map(list, zip(*cosines, strict=True)))]
    want = (sum(rows) + sum(columns)) / 8
    assert matching_loss(text, photo, 0.3).item() == pytest.approx(want, rel=1e-5)
    assert matching_loss(text[:1], photo[:1]) == 0


def test_equal_captions_are_not_held_against_each_other() -> None:
    torch.manual_seed(0)
    rows = tokens(["a bird", "a fish", "A bird."])
    same = same_rows(rows)
    assert same.tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    text, photo = torch.randn(3, 4), torch.randn(3, 4, requires_grad=True)
    text[2] = text[0]
    loss = matching_loss(text, photo, same=same)
    # Without the pairs (0, 2) and (2, 0) each of the two competes with the fish alone.
    pairs_of = [matching_loss(text[[i, 1]], photo[[i, 1]], same=None) for i in (0, 2)]
    assert loss < matching_loss(text, photo)
    assert loss.isfinite()
    loss.backward()
    assert photo.grad is not None
    assert photo.grad.isfinite().all()
    assert all(pair.isfinite() for pair in pairs_of)
    assert matching_loss(text[[0, 2]], photo[[0, 2]], same=same[[0, 2]][:, [0, 2]]) == 0


def test_built_in_is_known_by_its_weights() -> None:
    torch.manual_seed(0)
    network = TextNetwork(8)
    encoder = BuiltIn(network)
    assert (encoder.name, encoder.width) == ("built-in", 8)
    assert encoder.digest == BuiltIn(copy.deepcopy(network)).digest
    rows = encoder.encode(["a bird"] * 100)
    assert (rows.shape, rows.dtype, rows.requires_grad) == ((100, 8), torch.float32, False)
    assert encoder.encode([]).shape == (0, 8)
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.out.bias[0] += 1e-6
    assert BuiltIn(other).digest != encoder.digest
    with pytest.raises(PinxitError, match="the sentence is empty"):
        encoder.encode(["a", ""])
