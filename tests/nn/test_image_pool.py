"""Which pictures the pool hands on, and that it survives being saved."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from pinxit.nn.image_pool import ImagePool


def numbered(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2).clone()


def ask(pool: ImagePool, *values: float, seed: int = 0) -> list[float]:
    return pool.query(numbered(*values), torch.Generator().manual_seed(seed))[:, 0, 0, 0].tolist()


def test_while_it_fills_pictures_pass() -> None:
    pool = ImagePool(3)
    assert ask(pool, 1, 2) == [1, 2]
    assert ask(pool, 3) == [3]
    assert len(list(pool.buffers())) == 3


def test_then_half_of_them_are_exchanged_for_older_ones() -> None:
    pool, passed, seen = ImagePool(5), 0, set()
    for i in range(405):
        (shown,) = ask(pool, i, seed=i)
        passed += shown == i
        if i >= 5:
            assert shown not in seen, "a picture that was handed on is no longer there"
            seen.add(shown)
    assert 0.4 < (passed - 5) / 400 < 0.6
    assert len(list(pool.buffers())) == 5


def test_within_a_batch_a_picture_may_be_exchanged_for_one_just_kept() -> None:
    shown = [tuple(ask(copy.deepcopy(filled()), 1, 2, 3, seed=seed)) for seed in range(50)]
    assert any(1 in s[1:] or 2 in s[2:] for s in shown)


def filled() -> ImagePool:
    pool = ImagePool(1)
    ask(pool, 0)
    return pool


def test_size_0_hands_on_everything_without_gradients() -> None:
    pool = ImagePool(0)
    pictures = numbered(1, 2).requires_grad_()
    shown = pool.query(pictures, torch.Generator())
    assert torch.equal(shown, pictures)
    assert not shown.requires_grad
    assert not ImagePool(2).query(pictures, torch.Generator()).requires_grad


def test_what_is_kept_is_a_copy() -> None:
    pool, pictures = ImagePool(2), numbered(1)
    pool.query(pictures, torch.Generator())
    pictures.fill_(9)
    assert next(pool.buffers()).unique().tolist() == [1]


@pytest.mark.parametrize("kept", [0, 2, 4])
def test_it_goes_on_from_its_state(kept: int) -> None:
    pool = ImagePool(4)
    for i in range(kept):
        ask(pool, i)
    other = ImagePool(4)
    ask(other, 77)  # what it held before is gone
    other.load_state_dict(pool.state_dict())
    assert len(list(other.buffers())) == kept
    for i in range(20):
        assert ask(pool, 100 + i, seed=i) == ask(other, 100 + i, seed=i)
    assert all(torch.equal(a, b) for a, b in zip(pool.buffers(), other.buffers(), strict=True))


def test_within_a_module_its_state_has_a_prefix() -> None:
    both = torch.nn.ModuleDict({"a": ImagePool(2), "b": ImagePool(2)})
    ask(both["a"], 1)  # pyright: ignore[reportArgumentType]
    other = torch.nn.ModuleDict({"a": ImagePool(2), "b": ImagePool(2)})
    other.load_state_dict(both.state_dict())
    assert {name: v.unique().item() for name, v in other.state_dict().items()} == {"a.0": 1.0}


def test_pictures_may_be_of_several_sizes() -> None:
    pool = ImagePool(1)
    pool.query(torch.zeros(1, 3, 4, 6), torch.Generator())
    shapes = {tuple(pool.query(torch.zeros(1, 3, 4 + i, 6), torch.Generator().manual_seed(i)).shape) for i in range(8)}
    assert len(shapes) > 3
    other = ImagePool(1)
    other.load_state_dict(pool.state_dict())
    assert next(other.buffers()).shape == next(pool.buffers()).shape


def test_ranks_do_together_what_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ImagePool(3)
    expected = [ask(whole, 4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3, seed=i) for i in range(8)]
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    for rank in (0, 1):
        pool = ImagePool(3)
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        for i, shown in enumerate(expected):
            batches = [numbered(4 * i, 4 * i + 1), numbered(4 * i + 2, 4 * i + 3)]

            def gather(parts: list[Tensor], mine: Tensor, batches=batches, rank=rank) -> None:
                assert torch.equal(mine, batches[rank])
                for part, batch in zip(parts, batches, strict=True):
                    part.copy_(batch)

            monkeypatch.setattr(dist, "all_gather", gather)
            got = pool.query(batches[rank], torch.Generator().manual_seed(i))[:, 0, 0, 0].tolist()
            assert got == shown[2 * rank : 2 * rank + 2]
        assert all(torch.equal(a, b) for a, b in zip(pool.buffers(), whole.buffers(), strict=True))
