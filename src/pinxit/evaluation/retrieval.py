"""R-precision: whether a picture's caption is found again among others (Xu et al. 2018, "AttnGAN", sec. 4).

Pictures painted from sentences may be beautiful and have nothing to do with them; neither FID nor Inception Score
sees that. Here the picture itself is asked: of its own caption and nine others, which lies nearest to it, by the cosine
of what a picture network makes of the one and a text network of the other? By chance it is the right one in a tenth of
all cases. (Xu et al. choose among a hundred: their numbers are lower, and compare with none of 10.)

The two networks are those of a model that learnt which caption belongs to which photo (`pinxit.text.matching`), so that
scores compare where one and the same pair of networks judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinxit.errors import expected
from pinxit.evaluation.results import Score
from pinxit.modelfile import replacing

CANDIDATES, SPLITS = 10, 10
"""Captions to choose from, the right one among them, and parts that the spread is taken over."""

Match = Callable[[Sequence[int], Sequence[str]], Tensor]
"""Numbers of P pictures and S sentences -> the cosines of their features [P, S]."""

_AT_ONCE = 64
"""Pictures that are compared with their sentences together."""


def candidates(
    right: Sequence[str], own: Sequence[Sequence[str]] | None = None, *, count: int = CANDIDATES, seed: int = 0
) -> list[list[str]]:
    """For each picture its caption, then `count - 1` different ones of other pictures.

    `right`: the caption of each picture; `own`: all that are true of it, none of which is drawn as a wrong one. The
    draw of picture i is a function of the captions, `seed` and i.

    Raises:
        PinxitError: a picture has too few captions of others.
    """
    own = [[caption] for caption in right] if own is None else own
    pool = sorted(set(right))
    place = {caption: i for i, caption in enumerate(pool)}
    chosen: list[list[str]] = []
    for i, (caption, true) in enumerate(zip(right, own, strict=True)):
        barred = {place[one] for one in {caption, *true} if one in place}
        if len(pool) - len(barred) < count - 1:
            got = f"{len(pool) - len(barred)} beside those of picture {i + 1}, {caption[:60]!r}"
            want = f"{count - 1} wrong ones or more, for {count} to choose from"
            raise expected("the number of different captions", got, want, "take more pictures")
        # Few are barred: a few more than are needed hold enough that are not.
        drawn = np.random.default_rng([seed, i]).choice(
            len(pool), min(len(pool), count - 1 + len(barred)), replace=False
        )
        wrong = [pool[j] for j in drawn.tolist() if j not in barred]
        chosen.append([caption, *wrong[: count - 1]])
    return chosen


def require_enough(right: Sequence[str], own: Sequence[Sequence[str]]) -> None:
    """Raises `PinxitError` where R-precision cannot be computed of so many pictures or captions."""
    _require_count(len(right), SPLITS)
    candidates(right, own)


def shuffled(captions: Sequence[str], *, seed: int = 0) -> list[int]:
    """The caption that each picture gets, by number, so that none keeps its own text.

    Where one text is that of more than half of the pictures, some cannot but keep it.
    """
    order = np.random.default_rng(seed).permutation(len(captions)).tolist()
    # Equal texts side by side, and everything moved on by the length of the longest run: none meets its like.
    first = {captions[i]: place for place, i in reversed([*enumerate(order)])}
    order.sort(key=lambda i: first[captions[i]])
    by = max(Counter(captions).values(), default=0)
    given = [0] * len(captions)
    for place, i in enumerate(order):
        given[i] = order[(place + by) % len(order)]
    return given


def similarities(match: Match, choices: Sequence[Sequence[str]]) -> Tensor:
    """The cosines [N, K] of N pictures with the K captions that each is offered; `match` says those of many at once."""
    rows = []
    for start in range(0, len(choices), _AT_ONCE):
        some = choices[start : start + _AT_ONCE]
        sentences = list(dict.fromkeys(sentence for row in some for sentence in row))
        place = {sentence: j for j, sentence in enumerate(sentences)}
        found = match(range(start, start + len(some)), sentences).cpu().double()
        rows.append(found.gather(1, torch.tensor([[place[sentence] for sentence in row] for row in some])))
    return torch.cat(rows)


def hits(similar: Tensor) -> Tensor:
    """Cosines [N, K] with the right caption first -> [N]: 1 where it is the highest, 0 where another is.

    Of several that are the highest each counts as chosen alike: a network that sees no difference scores chance.
    """
    highest = similar.max(dim=1).values
    return (similar[:, 0] == highest).double() / (similar == highest[:, None]).sum(dim=1)


def r_precision(
    similar: Tensor,
    *,
    name: str = "R-precision",
    pictures: str,
    networks: str,
    weights: str | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Score:
    """The share of pictures whose own caption is nearest, over `splits` parts after a shuffle; 1 at best.

    `similar`: cosines [N, K] with the right caption first, N at least `splits`. `pictures`, `networks`: what the
    protocol calls them, as "200 pictures of 64x64" and "the networks of stackgan"; `weights`: SHA-256 of the networks'
    file.

    Raises:
        PinxitError: there are fewer pictures than parts, or a cosine is not a number.
    """
    count, offered = similar.shape
    _require_count(count, splits)
    if not similar.isfinite().all():
        raise expected("the cosine of a picture and a caption", "not finite", "-1..1", "use another model to judge")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    found = hits(similar)[order]
    parts = [float(found[i * count // splits : (i + 1) * count // splits].mean()) for i in range(splits)]
    details: dict[str, Any] = {"chance": 1 / offered, "splits": parts}
    if weights is not None:
        details["weights"] = {"matching": weights}
    text = (
        f"R-precision: the right caption nearest of {offered} to {networks}; mean of {splits} splits after a shuffle, "
        f"wrong captions drawn from the other pictures' (seed {seed}); {pictures}"
    )
    return Score(name, float(np.mean(parts)), "higher", text, float(np.std(parts)), details)


def read_captions(file: Path, names: Sequence[str]) -> list[str]:
    """The caption of each picture, of a text file in UTF-8: a line for each in the order of their names; or name, tab
    and caption, as `pinxit rank` takes it too, where a name may have its suffix.

    Raises:
        PinxitError: the file cannot be read, or a picture has no caption.
    """
    thing = f"captions '{file}'"
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise expected(thing, f"unreadable ({error})", "a text file in UTF-8, a line each", "check it") from error
    if lines and all("\t" in line for line in lines):
        pairs = (line.split("\t", 1) for line in lines)
        given = {PurePath(name).stem if name not in names else name: caption.strip() for name, caption in pairs}
        if missing := [name for name in names if name not in given]:
            more = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise expected(thing, f"without '{missing[0]}'{more}", "a caption of each picture", "add it")
        return [given[name] for name in names]
    if len(lines) != len(names):
        want = f"{len(names)}, one for each picture"
        raise expected(thing, f"{len(lines)} lines", want, "or write name, tab and caption")
    return lines


def write_captions(file: Path, captions: Mapping[str, str]) -> None:
    """Captions by the names of their pictures, as `read_captions` and `pinxit rank` take them."""
    with replacing(file) as temporary:
        temporary.write_text("".join(f"{name}\t{caption}\n" for name, caption in captions.items()), encoding="utf-8")


def chance(offered: int = CANDIDATES) -> Score:
    """What whoever sees nothing scores."""
    text = f"chance: one caption of {offered}, whichever the picture is"
    return Score("R-precision by chance", 1 / offered, "higher", text)


def _require_count(count: int, splits: int) -> None:
    if count < splits:
        want = f"at least {splits} for R-precision, one for each of {splits} splits"
        raise expected("number of pictures", count, want, "add more")
