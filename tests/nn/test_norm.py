"""Our norms are PyTorch's in a single process; what several ranks make of them is in tests/training."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pinxit.nn.norm import BatchNorm2d, InstanceNorm2d, SpectralConv2d


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectral_pair(bias: bool = True) -> tuple[SpectralConv2d, nn.Module]:
    """Ours and PyTorch's older `spectral_norm`, with the same weights and the same u and v."""
    torch.manual_seed(0)
    ours = SpectralConv2d(3, 5, 3, stride=2, padding=1, bias=bias)
    theirs = nn.utils.spectral_norm(nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=bias))
    names = {"weight": "weight_orig", "bias": "bias", "u": "weight_u", "v": "weight_v"}
    theirs.load_state_dict({names[k]: v.clone() for k, v in ours.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("bias", [True, False])
def test_spectral_conv_is_pytorchs(bias: bool) -> None:
    ours, theirs = spectral_pair(bias)
    start = ours.u.clone()
    for seed in range(3):
        x = noise(2, 3, 8, 8, seed=seed)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.u, theirs.weight_u)
        torch.testing.assert_close(ours.v, theirs.weight_v)
    assert not torch.equal(ours.u, start)

    before = ours.u.clone()
    x = noise(2, 3, 8, 8, seed=9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=1e-6)
    assert torch.equal(ours.u, before)


def test_spectral_gradient_is_pytorchs_also_when_two_forwards_share_it() -> None:
    """As the discriminator's: the second forward moves u and v before the first one's backward."""
    ours, theirs = spectral_pair()
    for conv in (ours, theirs):
        (conv(noise(2, 3, 8, 8, seed=1)).square().sum() + conv(noise(2, 3, 8, 8, seed=2)).sum()).backward()
    assert ours.weight.grad is not None
    assert ours.weight.grad.abs().max() > 1
    torch.testing.assert_close(ours.weight.grad, theirs.weight_orig.grad, rtol=1e-5, atol=1e-5)


def test_spectral_power_iteration_goes_on_without_gradients() -> None:
    ours, theirs = spectral_pair()
    with torch.no_grad():
        for _ in range(30):
            ours(noise(1, 3, 8, 8))
            theirs(noise(1, 3, 8, 8))
    torch.testing.assert_close(ours.u, theirs.weight_u)
    sigma = torch.linalg.matrix_norm(ours.weight.flatten(1), 2)
    torch.testing.assert_close(ours.eval().normalized_weight(), ours.weight / sigma, rtol=1e-3, atol=1e-5)


def test_spectral_weight_is_normalized_in_fp32_under_autocast() -> None:
    conv = SpectralConv2d(3, 5, 3).eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.normalized_weight().dtype == torch.float32
        assert conv(noise(1, 3, 8, 8)).dtype == torch.bfloat16


def batch_pair(affine: bool) -> tuple[BatchNorm2d, nn.BatchNorm2d]:
    ours, theirs = BatchNorm2d(4, affine=affine), nn.BatchNorm2d(4, affine=affine)
    if affine:
        for norm in (ours, theirs):
            for seed, p in enumerate(norm.parameters()):
                nn.init.normal_(p, generator=torch.Generator().manual_seed(seed))
    return ours, theirs


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_pytorchs(affine: bool) -> None:
    ours, theirs = batch_pair(affine)
    for seed in range(3):
        x = (3 * noise(2, 4, 5, 6, seed=seed) + 2).requires_grad_()
        y = copy.deepcopy(x)
        torch.testing.assert_close(ours(x), theirs(y))
        ours(x).square().sum().backward()
        theirs(y).square().sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    assert ours.running_mean.abs().min() > 0.5

    x = noise(1, 4, 3, 3, seed=9)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))
    assert set(ours.state_dict()) == set(theirs.state_dict()) - {"num_batches_tracked"}


def test_picture_at_test_takes_each_pictures_own_statistics_and_keeps_the_running_ones() -> None:
    norm = BatchNorm2d(4, picture_at_test=True)
    x = 3 * noise(2, 4, 5, 6) + 2
    norm(x)
    before = copy.deepcopy(norm.state_dict())
    alone = [nn.BatchNorm2d(4, affine=False).train()(picture[None]) for picture in x]
    torch.testing.assert_close(norm.eval()(x), torch.cat(alone))
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())
    # Without it, eval mode is another thing.
    plain = BatchNorm2d(4)
    plain.load_state_dict(before)
    assert not torch.allclose(plain.eval()(x), norm(x), atol=0.1)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("of_x", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last])
def test_instance_norm_has_the_right_gradient_in_every_memory_format(
    of_gradient, of_x, rows: int, affine: bool
) -> None:
    """PyTorch's own is wrong for one picture whose gradient lies channels-last; remove ours when it no longer is."""
    torch.manual_seed(0)
    x, pull = torch.randn(2, rows, 4, 5, 6, dtype=torch.float64)
    norm = InstanceNorm2d(4, affine=affine).double()
    for p in norm.parameters():
        torch.nn.init.normal_(p)
    plain = x.clone().requires_grad_()
    var, mean = torch.var_mean(plain, dim=(2, 3), correction=0, keepdim=True)
    expected = (plain - mean) / (var + 1e-5).sqrt()
    if affine:
        expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    formatted = x.clone().contiguous(memory_format=of_x).requires_grad_()
    ours = norm(formatted)
    torch.testing.assert_close(ours, expected)
    (wanted,) = torch.autograd.grad(expected, plain, pull)
    (got,) = torch.autograd.grad(ours, formatted, pull.contiguous(memory_format=of_gradient))
    torch.testing.assert_close(got, wanted)
