"""Coherence and completeness of sets, against a search written out, and what each has to tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import patches
from pinxit.evaluation.coherence import Nearest, patch_similarity
from pinxit.evaluation.pictures import Pictures, pictures


def painting(seed: int, height: int = 24, width: int = 28) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    whole = torch.zeros(3, height, width)
    for cell, strength in ((12, 0.5), (4, 0.3), (1, 0.1)):
        grid = torch.randn(1, 3, height // cell + 2, width // cell + 2, generator=random)
        whole += strength * F.interpolate(grid, (height, width), mode="bilinear")[0]
    return ((whole.clamp(-1, 1) + 1) * 127.5).byte()


def saved(folder: Path, *batch: Tensor) -> Pictures:
    folder.mkdir()
    for i, x in enumerate(batch):
        Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{i:03}.png")
    return pictures(folder, name=f"{folder.name} pictures", least=1)


def all_patches(picture: Tensor) -> Tensor:
    """uint8 [3, H, W] -> [K, 147] in -1..1."""
    return F.unfold(picture[None].float() / 127.5 - 1, 7)[0].T


def test_the_nearest_is_found_over_pictures() -> None:
    others = [painting(1), painting(2, 20, 30)]
    queries = all_patches(painting(0))[::7].reshape(-1, 3, 7, 7)
    search = Nearest(queries)
    for picture in others:
        search.look(picture[None].float() / 127.5 - 1)
    every = torch.cat([all_patches(picture) for picture in others])
    differences = (queries.flatten(1)[:, None] - every).square().mean(-1)
    assert search.difference() == pytest.approx(float(differences.min(1).values.mean()), rel=1e-4)
    search.look(painting(0)[None].float() / 127.5 - 1)
    assert search.difference() == 0


def test_all_patches_of_small_sets_give_the_full_search(tmp_path: Path) -> None:
    """With so many queries that hardly a patch is left out, the scores are those of all patches."""
    fakes, reals = [painting(i, 12, 13) for i in range(2)], [painting(10 + i, 12, 13) for i in range(3)]
    fake, real = saved(tmp_path / "fake", *fakes), saved(tmp_path / "real", *reals)
    coherence, completeness = patch_similarity(fake, real, levels=1, queries=20_000)
    a, b = (torch.cat([all_patches(x) for x in some]) for some in (fakes, reals))
    differences = (a[:, None] - b).square().mean(-1)
    assert coherence.value == pytest.approx(float(differences.min(1).values.mean()), rel=0.03)
    assert completeness.value == pytest.approx(float(differences.min(0).values.mean()), rel=0.03)
    assert (coherence.name, completeness.name) == ("Coherence", "Completeness")
    assert "2 pictures against 3; mean over 1 scales; seed 0" in coherence.protocol


def test_equal_sets_score_0_and_order_does_not_matter(tmp_path: Path) -> None:
    batch = [painting(i) for i in range(4)]
    fake, real = saved(tmp_path / "fake", *batch), saved(tmp_path / "real", *reversed(batch))
    for score in patch_similarity(fake, real):
        assert score.value == 0
        assert [*score.details["scales"]] == ["1/1", "1/2"]  # 24 x 28 has no third scale that holds a patch


def test_leaving_out_is_seen_by_completeness_alone_and_inventing_by_coherence_alone(tmp_path: Path) -> None:
    batch = [painting(i) for i in range(6)]
    real = saved(tmp_path / "real", *batch)
    coherence, completeness = patch_similarity(saved(tmp_path / "few", *batch[:2]), real)
    assert coherence.value == 0
    assert completeness.value > 0.005
    strange = [torch.randint(0, 256, (3, 24, 28), dtype=torch.uint8) for _ in range(2)]
    coherence, completeness = patch_similarity(saved(tmp_path / "more", *batch, *strange), real)
    assert coherence.value > 0.005
    assert completeness.value == 0


def test_of_one_photo_it_is_the_mean_over_samples(tmp_path: Path) -> None:
    photo, samples = painting(0, 30, 34), [painting(1, 30, 34), painting(2, 28, 40)]
    found = patch_similarity(
        saved(tmp_path / "fake", *samples), saved(tmp_path / "real", photo), levels=2, queries=200, seed=4
    )
    unit = [x[None].float() / 127.5 - 1 for x in (*samples, photo)]
    want = [patches.coherence_completeness(x, unit[-1], levels=2, queries=200, seed=4) for x in unit[:-1]]
    for i, score in enumerate(found):
        scales = [[each[i][level] for each in want] for level in range(2)]
        assert [*score.details["scales"].values()] == pytest.approx([sum(values) / 2 for values in scales])
        assert "2 pictures, each with the one real photo" in score.protocol


def test_more_pictures_than_queries(tmp_path: Path) -> None:
    batch = [painting(i) for i in range(5)]
    fake, real = saved(tmp_path / "fake", *batch), saved(tmp_path / "real", *batch)
    assert [score.value for score in patch_similarity(fake, real, queries=3)] == [0, 0]


def test_small_pictures_and_numbers_below_1_are_refused(tmp_path: Path) -> None:
    real = saved(tmp_path / "real", painting(0), painting(1))
    small = saved(tmp_path / "small", painting(0), painting(1, 6, 28))
    with pytest.raises(PinxitError, match=r"^size of '001.png' in small pictures is 28x6, expected at least 7x7; "):
        patch_similarity(small, real)
    with pytest.raises(PinxitError, match=r"^levels is 0, expected at least 1; "):
        patch_similarity(real, real, levels=0)
    with pytest.raises(PinxitError, match=r"^queries is 0, expected at least 1; "):
        patch_similarity(real, real, queries=0)
