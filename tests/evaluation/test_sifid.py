"""SIFID on random weights, against the Fréchet distance written out with eigenvalues."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation.inception import SHA256, Inception
from pinxit.evaluation.pictures import Pictures, pictures
from pinxit.evaluation.sifid import LEAST, Stem, load_stem, pixel_features, sifid

# Convolutions before the second pooling, as both published files name them: inputs, outputs, side, stride, padding.
CONVOLUTIONS = {
    "Conv2d_1a_3x3": (3, 32, 3, 2, 0),
    "Conv2d_2a_3x3": (32, 32, 3, 1, 0),
    "Conv2d_2b_3x3": (32, 64, 3, 1, 1),
    "Conv2d_3b_1x1": (64, 80, 1, 1, 0),
    "Conv2d_4a_3x3": (80, 192, 3, 1, 0),
}


def state_of(seed: int = 0) -> dict[str, Tensor]:
    """The beginning of a published file, and a name of a layer further on."""
    random = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {"Mixed_5b.branch1x1.conv.weight": torch.zeros(2), "fc.bias": torch.zeros(3)}
    for name, (inputs, outputs, side, _, _) in CONVOLUTIONS.items():
        strength = (2 / (inputs * side**2)) ** 0.5
        state[f"{name}.conv.weight"] = strength * torch.randn(outputs, inputs, side, side, generator=random)
        state[f"{name}.bn.weight"] = 0.5 + torch.rand(outputs, generator=random)
        state[f"{name}.bn.bias"] = 0.2 * torch.randn(outputs, generator=random)
        state[f"{name}.bn.running_mean"] = 0.2 * torch.randn(outputs, generator=random)
        state[f"{name}.bn.running_var"] = 0.5 + torch.rand(outputs, generator=random)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)
    return state


def plain_maps(state: dict[str, Tensor], x: Tensor) -> dict[int, Tensor]:
    found = {}
    for name, (_, outputs, _, stride, padding) in CONVOLUTIONS.items():
        if name == "Conv2d_3b_1x1":
            x = F.max_pool2d(x, 3, 2)
        x = F.conv2d(x, state[f"{name}.conv.weight"], None, stride, padding)
        mean, variance, gain, bias = (
            state[f"{name}.bn.{leaf}"][:, None, None] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        x = ((x - mean) / (variance + 0.001).sqrt() * gain + bias).clamp(min=0)
        found[outputs] = x
    return {64: found[64], 192: found[192]}


def plain_frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Of rows [N, C] and [M, C], by the root of a symmetric product."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    middle = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(min=0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * middle)


def picture(seed: int, height: int = 64, width: int = 72) -> Tensor:
    """Coarse and fine noise, uint8 [3, H, W]."""
    random = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(torch.rand(1, 3, 5, 6, generator=random), (height, width), mode="bilinear")[0]
    return ((0.8 * coarse + 0.2 * torch.rand(3, height, width, generator=random)) * 255).byte()


def saved(folder: Path, *batch: Tensor) -> Pictures:
    folder.mkdir()
    for i, x in enumerate(batch):
        Image.fromarray(x.permute(1, 2, 0).contiguous().numpy()).save(folder / f"{i}.png")
    return pictures(folder, name=f"{folder.name} pictures", least=1)


@pytest.fixture
def stem(tmp_path: Path) -> Stem:
    torch.save(state_of(), tmp_path / "inception.pth")
    return load_stem(tmp_path / "inception.pth")


def test_both_layers_equal_a_plain_reference(stem: Stem) -> None:
    x = picture(0)
    maps = plain_maps(state_of(), 2 * (x[None] / 255) - 1)
    for layer, rows in pixel_features(x, stem).items():
        assert rows.shape[1] == layer
        torch.testing.assert_close(rows, maps[layer][0].flatten(1).T, rtol=1e-4, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in stem.parameters())


def test_the_score_is_the_mean_distance_of_pairs(stem: Stem, tmp_path: Path) -> None:
    fakes, reals = [picture(0), picture(1)], [picture(2), picture(3, 80, 66)]
    found = sifid(saved(tmp_path / "fake", *fakes), saved(tmp_path / "real", *reals), stem)
    for score, layer in zip(found, (64, 192), strict=True):
        rows = [
            [plain_maps(state_of(), 2 * (x[None] / 255) - 1)[layer][0].flatten(1).T.double().numpy() for x in pair]
            for pair in zip(fakes, reals, strict=True)
        ]
        want = [plain_frechet(*pair) for pair in rows]
        assert score.value == pytest.approx(np.mean(want), rel=1e-3)
        assert score.spread == pytest.approx(np.std(want, ddof=1), rel=1e-2)
        assert (score.name, score.better) == (f"SIFID ({layer})", "lower")
        assert score.details["weights"] == {"SIFID Inception": stem.digest}
        assert f"({layer} channels) of an Inception v3 of unpublished weights" in score.protocol
        assert "2 pictures of 72x64, each with the real one of its name" in score.protocol


def test_a_picture_is_at_0_from_itself(stem: Stem, tmp_path: Path) -> None:
    fake, real = saved(tmp_path / "fake", picture(0)), saved(tmp_path / "real", picture(0))
    for score in sifid(fake, real, stem):
        assert score.value == pytest.approx(0, abs=1e-9)
        assert score.spread is None


def test_all_samples_go_with_a_single_photo(stem: Stem, tmp_path: Path) -> None:
    real = saved(tmp_path / "real", picture(5))
    both = sifid(saved(tmp_path / "fake", picture(0), picture(1)), real, stem)
    one, other = (sifid(saved(tmp_path / f"{i}", picture(i)), real, stem) for i in range(2))
    for together, a, b in zip(both, one, other, strict=True):
        assert together.value == pytest.approx((a.value + b.value) / 2)
        assert "each with the one real photo" in together.protocol


def test_the_stem_is_the_whole_network_s(tmp_path: Path) -> None:
    whole = Inception()
    x = torch.rand(1, 3, 40, 50) * 2 - 1
    maps = Stem(whole)(x)
    torch.testing.assert_close(maps[64], whole(x, "before pool 1"))
    torch.testing.assert_close(maps[192], whole(x, "before pool 2"))
    fake, real = (saved(tmp_path / name, picture(0)) for name in ("fake", "real"))
    assert "RANDOM" in sifid(fake, real, Stem(whole))[0].protocol
    whole.digest = SHA256
    assert "FID's inception-2015-12-05" in sifid(fake, real, Stem(whole))[0].protocol


def test_a_file_of_another_network_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(PinxitError, match=r"^weights '.*weights.pth' is not there, expected "):
        load_stem(path)
    state = state_of()
    del state["Conv2d_2b_3x3.bn.running_var"]
    torch.save(state, path)
    line = r"^Inception weights '.*' is without Conv2d_2b_3x3.bn.running_var, expected an Inception v3; give FID's .*$"
    with pytest.raises(PinxitError, match=line):
        load_stem(path)
    torch.save({**state_of(), "Conv2d_4a_3x3.conv.weight": torch.zeros(192, 80, 1, 1)}, path)
    with pytest.raises(PinxitError, match=r"^Conv2d_4a_3x3.conv.weight in .* is of shape \(192, 80, 1, 1\), expected "):
        load_stem(path)


def test_small_pictures_are_refused(stem: Stem, tmp_path: Path) -> None:
    real = saved(tmp_path / "real", picture(0))
    least = saved(tmp_path / "least", picture(0, LEAST, LEAST))
    assert all(np.isfinite(score.value) for score in sifid(least, real, stem))
    small = saved(tmp_path / "small", picture(0, LEAST - 1, 64))
    with pytest.raises(PinxitError, match=r"^size of '0.png' in small pictures is 64x22, expected at least 23x23; "):
        sifid(small, real, stem)
