from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pinxit.models.gawwn.config import Network, Where
from pinxit.models.gawwn.network import Discriminator, cropped, drawn, generator, pasted, resampled

SMALL = Network(z_dim=4, text_dim=8, condition_dim=4, g_width=4, d_width=4)


def test_resampling_is_a_spatial_transformer() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 5, 16, 16, requires_grad=True)
    scale, shift = torch.rand(3, 2) * 2, torch.rand(3, 2) - 0.5
    theta = torch.zeros(3, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale[:, 0], scale[:, 1], shift
    grid = F.affine_grid(theta, [3, 5, 16, 16], align_corners=True)
    wanted = F.grid_sample(features, grid, align_corners=True)
    found = resampled(features, scale, shift)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(wanted)
    slopes = [torch.autograd.grad((x * weights).sum(), features)[0] for x in (found, wanted)]
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-4)


def test_the_whole_box_changes_nothing() -> None:
    features, whole = torch.randn(2, 3, 16, 16), torch.tensor([[0.0, 0, 1, 1]] * 2)
    torch.testing.assert_close(cropped(features, whole), features)
    torch.testing.assert_close(pasted(features, whole), features)


def test_what_is_pasted_lies_in_its_box() -> None:
    """x and width count columns, y and height rows."""
    box = torch.tensor([[0.5, 0.125, 0.5, 0.25]])
    placed = pasted(torch.ones(1, 1, 16, 16), box)[0, 0]
    rows, columns = (placed > 1e-3).any(dim=1).nonzero().flatten(), (placed > 1e-3).any(dim=0).nonzero().flatten()
    assert (columns.min().item(), columns.max().item()) == (8, 15)
    assert (rows.min().item(), rows.max().item()) == (2, 5)
    torch.testing.assert_close(cropped(placed[None, None], box)[0, 0, 4:12, 4:12], torch.ones(8, 8))


def test_a_box_without_extent_is_a_place_wide() -> None:
    for box in ([1.0, 0.3, 0.0, 0.2], [0.0, 0.0, 0.0, 0.0]):
        for sampled in (cropped, pasted):
            assert sampled(torch.randn(1, 2, 16, 16), torch.tensor([box])).isfinite().all()


def test_points_as_maps() -> None:
    points = torch.zeros(1, 15, 3)
    points[0, 2] = torch.tensor([0.99, 0.0, 1])  # at the right, above
    points[0, 3] = torch.tensor([1.0, 1.0, 1])
    points[0, 4] = torch.tensor([0.5, 0.5, 0])  # not seen
    maps = drawn(points)
    assert maps.shape == (1, 15, 16, 16)
    assert maps.sum() == 2
    assert maps[0, 2, 0, 15] == maps[0, 3, 15, 15] == 1


@pytest.mark.parametrize("where", ["box", "points"])
def test_the_papers_widths(where: Where) -> None:
    network = Network(where=where)
    with torch.device("meta"):
        G, D = generator(network), Discriminator(network)
    shapes = {name: tuple(p.shape) for name, p in [*G.named_parameters(), *D.named_parameters()]}
    assert shapes["text.linear.weight"] == (128, 1024)  # D's; G has its own, of 512
    assert shapes["text.weight"] == (512, 1024)
    assert shapes["verdict.weight"] == (1, 128)
    assert shapes["joined.0.0.weight"] == (512, 8 * 128 + 128, 1, 1)
    assert shapes["within.0.0.weight"] == ((256, 256, 1, 1) if where == "box" else (256, 271, 1, 1))


@pytest.mark.parametrize("where", ["box", "points"])
def test_pictures_follow_noise_text_and_place(where: Where) -> None:
    torch.manual_seed(0)
    network = Network(**{**vars(SMALL), "where": where})
    G, D = generator(network).eval(), Discriminator(network).eval()  # norms of two rows leave their signs alone
    for p in [*G.parameters(), *D.parameters()]:
        p.data.mul_(3)
    z, text = torch.randn(2, 4), torch.randn(2, 8)
    place = torch.rand(2, 4) / 2 if where == "box" else torch.rand(2, 15, 3).round(decimals=1)
    if where == "points":
        place[..., 2] = 1
    picture = G(z, text, place)
    assert picture.shape == (2, 3, 128, 128)
    assert picture.abs().max() <= 1
    for other in (G(z.flip(0), text, place), G(z, text.flip(0), place), G(z, text, place.flip(0))):
        assert not torch.allclose(other, picture)
    verdict = D(picture, text, place)
    assert verdict.shape == (2,)
    for other in (D(picture.flip(0), text, place), D(picture, text.flip(0), place), D(picture, text, place.flip(0))):
        assert not torch.allclose(other, verdict)
