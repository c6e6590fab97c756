"""DeepLabV3 against plain arithmetic over its state dict, and against published names, shapes and counts of weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.errors import PinxitError
from pinxit.models.deeplabv3.config import Depth, Network
from pinxit.models.deeplabv3.network import DeepLabV3, ResNet

TINY = Network(labels=3, size=(32, 32), depth=18, width=4, rates=(1, 2), pyramid=8)


def of(network: Network, auxiliary: bool = False) -> DeepLabV3:
    """The network in eval mode with every weight and statistic drawn, norms included."""
    torch.manual_seed(0)
    S = DeepLabV3(network, auxiliary)
    for name, value in S.state_dict().items():
        if name.endswith(("running_var", "bn.weight")) or value.ndim == 1:
            value.uniform_(0.5, 1.5)
    return S.eval()


def shapes(depth: Depth, auxiliary: bool = True) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        S = DeepLabV3(Network(labels=21, depth=depth, output_stride=8, rates=(12, 24, 36)), auxiliary)
    return {name: tuple(value.shape) for name, value in S.state_dict().items()}


@pytest.mark.parametrize(
    ("depth", "expected"),
    # Parameters that torchvision states of its ResNets, less those of the classifier of ImageNet's 1000 classes.
    [
        (18, 11_689_512 - 513_000),
        (34, 21_797_672 - 513_000),
        (50, 25_557_032 - 2_049_000),
        (101, 44_549_160 - 2_049_000),
    ],
)
def test_backbones_have_as_many_weights_as_published(depth: Depth, expected: int) -> None:
    with torch.device("meta"):
        backbone = ResNet(depth, 64, 16)
    assert sum(p.numel() for p in backbone.parameters()) == expected


@pytest.mark.parametrize(("depth", "expected"), [(50, 42_004_074), (101, 60_996_202)])
def test_the_whole_has_as_many_weights_as_torchvision_states(depth: Depth, expected: int) -> None:
    norms = ("running_mean", "running_var")
    assert sum(torch.Size(s).numel() for n, s in shapes(depth).items() if not n.endswith(norms)) == expected


def test_names_and_shapes_are_those_of_torchvision() -> None:
    found = shapes(50)
    published = {
        "backbone.conv1.weight": (64, 3, 7, 7),
        "backbone.bn1.running_var": (64,),
        "backbone.layer1.0.conv1.weight": (64, 64, 1, 1),
        "backbone.layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "backbone.layer1.0.downsample.1.running_mean": (256,),
        "backbone.layer2.3.conv3.weight": (512, 128, 1, 1),
        "backbone.layer3.5.bn2.bias": (256,),
        "backbone.layer4.2.conv2.weight": (512, 512, 3, 3),
        "classifier.0.convs.0.0.weight": (256, 2048, 1, 1),
        "classifier.0.convs.1.0.weight": (256, 2048, 3, 3),
        "classifier.0.convs.3.1.weight": (256,),
        "classifier.0.convs.4.1.weight": (256, 2048, 1, 1),
        "classifier.0.convs.4.2.running_mean": (256,),
        "classifier.0.project.0.weight": (256, 1280, 1, 1),
        "classifier.0.project.1.bias": (256,),
        "classifier.1.weight": (256, 256, 3, 3),
        "classifier.2.weight": (256,),
        "classifier.4.weight": (21, 256, 1, 1),
        "classifier.4.bias": (21,),
        "aux_classifier.0.weight": (256, 1024, 3, 3),
        "aux_classifier.1.running_var": (256,),
        "aux_classifier.4.weight": (21, 256, 1, 1),
        "aux_classifier.4.bias": (21,),
    }
    assert {name: found.get(name) for name in published} == published
    assert not any(name.startswith(("backbone.mean", "backbone.deviation")) for name in found)
    assert [n for n in found if n.startswith("backbone.layer1.1.downsample")] == []


@pytest.mark.parametrize(
    ("output_stride", "expected"),
    # Of each stage: (stride, dilation) of the 3x3 kernel in its first block and in its second.
    [
        (32, [(1, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 1)]),
        (16, [(1, 1, 1, 1), (2, 1, 1, 1), (2, 1, 1, 1), (1, 1, 1, 2)]),
        (8, [(1, 1, 1, 1), (2, 1, 1, 1), (1, 1, 1, 2), (1, 2, 1, 4)]),
        (4, [(1, 1, 1, 1), (1, 1, 1, 2), (1, 2, 1, 4), (1, 4, 1, 8)]),
    ],
)
def test_stages_widen_their_kernels_in_place_of_strides(output_stride: int, expected: list[tuple[int, ...]]) -> None:
    backbone = ResNet(50, 2, output_stride)
    found = []
    for number in range(1, 5):
        kernels = [backbone.get_submodule(f"layer{number}.{block}.conv2") for block in (0, 1)]
        row: list[int] = []
        for conv in kernels:
            assert isinstance(conv, nn.Conv2d)
            assert conv.padding == conv.dilation
            row += [conv.stride[0], conv.dilation[0]]
        found.append(tuple(row))
    assert found == expected
    x = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert x[3].shape[2] == 64 // output_stride


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    mean, var, scale, shift = (
        state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * scale + shift


def by_hand(state: dict[str, Tensor], photo: Tensor, blocks: tuple[int, ...], rates: tuple[int, ...]) -> Tensor:
    """The scores of a network at output stride 8, from the formulas of the papers."""

    def conv(x: Tensor, name: str, stride: int = 1, dilation: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        padding = dilation * (weight.shape[2] // 2)
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, padding, dilation)

    mean, deviation = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = ((photo + 1) / 2 - mean) / deviation
    x = F.max_pool2d(F.relu(norm(conv(x, "backbone.conv1", 2), state, "backbone.bn1")), 3, 2, 1)
    deep = "backbone.layer1.0.conv3.weight" in state
    first = None
    for stage, (count, stride, start, dilation) in enumerate(
        zip(blocks, (1, 2, 1, 1), (1, 1, 1, 2), (1, 1, 2, 4), strict=True), 1
    ):
        for block in range(count):
            at = f"backbone.layer{stage}.{block}"
            s, d = (stride, start) if block == 0 else (1, dilation)
            if deep:
                y = F.relu(norm(conv(x, f"{at}.conv1"), state, f"{at}.bn1"))
                y = F.relu(norm(conv(y, f"{at}.conv2", s, d), state, f"{at}.bn2"))
                y = norm(conv(y, f"{at}.conv3"), state, f"{at}.bn3")
            else:
                y = F.relu(norm(conv(x, f"{at}.conv1", s, d), state, f"{at}.bn1"))
                y = norm(conv(y, f"{at}.conv2", 1, d), state, f"{at}.bn2")
            if f"{at}.downsample.0.weight" in state:
                x = norm(conv(x, f"{at}.downsample.0", s), state, f"{at}.downsample.1")
            x = F.relu(x + y)
        first = x if stage == 1 else first
    assert first is not None

    def part(x: Tensor, name: str, conv_at: int = 0, rate: int = 1) -> Tensor:
        return F.relu(norm(conv(x, f"{name}.{conv_at}", 1, rate), state, f"{name}.{conv_at + 1}"))

    pyramid = "classifier.0"
    parts = [part(x, f"{pyramid}.convs.{i}", rate=rate) for i, rate in enumerate((1, *rates))]
    mean_of_all = part(x.mean(dim=(2, 3), keepdim=True), f"{pyramid}.convs.{len(rates) + 1}", 1)
    parts.append(mean_of_all.expand_as(parts[0]))
    x = part(torch.cat(parts, dim=1), f"{pyramid}.project")
    if "classifier.detail.0.weight" in state:
        x = F.interpolate(x, size=first.shape[2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, part(first, "classifier.detail")], dim=1)
    x = F.relu(norm(conv(x, "classifier.1"), state, "classifier.2"))
    return conv(x, "classifier.4")


@pytest.mark.parametrize(
    ("depth", "blocks", "detail"), [(18, (2, 2, 2, 2), 0), (50, (3, 4, 6, 3), 0), (34, (3, 4, 6, 3), 5)]
)
@torch.no_grad()
def test_forward_is_what_the_formulas_give(depth: Depth, blocks: tuple[int, ...], detail: int) -> None:
    S = of(Network(labels=3, depth=depth, width=4, output_stride=8, rates=(2, 3), pyramid=6, detail=detail))
    photo = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1)) * 2 - 1
    scores, _ = S(photo)
    assert scores.shape == (2, 3, *((10, 14) if detail else (5, 7)))
    assert scores.std() > 1e-3
    torch.testing.assert_close(scores, by_hand(S.state_dict(), photo, blocks, (2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "expected"), [((33, 47), (3, 3)), ((1, 1), (1, 1)), ((16, 100), (1, 7))])
@torch.no_grad()
def test_any_size_has_scores(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert of(TINY)(torch.zeros(1, 3, *size))[0].shape == (1, 3, *expected)


@torch.no_grad()
def test_the_second_head_sees_the_third_stage() -> None:
    S = of(TINY, auxiliary=True)
    photo = torch.rand(1, 3, 64, 64)
    scores, second = S(photo)
    assert scores.shape == (1, 3, 4, 4)
    assert second is not None
    assert second.shape == (1, 3, 4, 4)
    assert of(TINY)(photo)[1] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rates": ()}, "--rates is empty, expected dilations of 1 or more"),
        ({"rates": (6, 0)}, "--rates is 6 0"),
        ({"width": 0}, "--width is 0, expected 1 or more"),
        ({"size": (0, 64)}, "--size is 0 64"),
    ],
)
def test_options_that_are_no_network(options: dict[str, tuple[int, ...]], message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        Network(**options)  # type: ignore[arg-type]
