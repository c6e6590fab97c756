"""Files in torchvision's form: read as they are, and refused by name where they are something else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.models.deeplabv3.config import Network
from pinxit.models.deeplabv3.generate import load
from pinxit.models.deeplabv3.network import DeepLabV3, ResNet
from pinxit.models.deeplabv3.weights import import_release, load_backbone

NETWORK = Network(labels=4, depth=50, width=2, output_stride=8, rates=(12, 24, 36), pyramid=4)


def published(auxiliary: bool = True) -> dict[str, Tensor]:
    """A state dict as torchvision's training leaves it, of a narrow network."""
    torch.manual_seed(0)
    state = DeepLabV3(NETWORK, auxiliary).state_dict()
    counters = {k.replace("running_var", "num_batches_tracked"): torch.tensor(7) for k in state if "running_var" in k}
    return {**state, **counters}


@pytest.mark.parametrize("auxiliary", [True, False])
def test_a_published_deeplab_reads_as_it_is(tmp_path: Path, auxiliary: bool) -> None:
    state = published(auxiliary)
    torch.save(state, tmp_path / "deeplabv3_resnet50.pth")
    file = import_release([tmp_path / "deeplabv3_resnet50.pth"])
    model = load(file)
    assert (model.network.depth, model.network.labels, model.network.width) == (50, 4, 2)
    assert (model.network.output_stride, model.network.rates) == (8, (12, 24, 36))
    assert model.label_set.name == "numbered_4"
    theirs = DeepLabV3(NETWORK, auxiliary).eval()
    theirs.load_state_dict({k: v for k, v in state.items() if "num_batches" not in k})
    photo = torch.rand(1, 3, 40, 40) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(model.S(photo)[0], theirs(photo)[0])


def test_101_is_told_by_its_blocks_and_the_label_set_by_name(tmp_path: Path) -> None:
    state = published()
    for block in range(6, 23):
        state |= {k.replace(".5.", f".{block}."): v for k, v in state.items() if k.startswith("backbone.layer3.5.")}
    torch.save(state, tmp_path / "deeplab.pth")
    assert import_release([tmp_path / "deeplab.pth"], label_set="4").config["depth"] == 101
    with pytest.raises(PinxitError, match=r"label set 'camvid' is 11 labels, expected 4 as the weights"):
        import_release([tmp_path / "deeplab.pth"], label_set="camvid")


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: {k: v for k, v in state.items() if k != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("classifier.4.bias"), "without classifier.4.bias, expected a DeepLabV3 with ResNet-50 or 101"),
        (without("classifier.4.weight"), "without classifier.4.weight"),
        (without("backbone.bn1.running_var"), "without backbone.bn1.running_var"),
        (lambda state: {**state, "more.weight": torch.zeros(1)}, "with more.weight"),
        (
            lambda state: {**state, "classifier.2.bias": torch.zeros(9)},
            r"classifier.2.bias in weights '.*' is of shape \(9,\), expected \(4,\)",
        ),
        (lambda state: {k: v for k, v in state.items() if ".layer3.5." not in k}, "with 5 blocks in backbone.layer3"),
        (lambda state: {**state, "classifier.4.weight": torch.zeros(())}, "without classifier.4.weight"),
        (lambda state: {"backbone.layer3.x.y": torch.zeros(1)}, "without backbone.conv1.weight"),
        (lambda state: [1, 2], "a list, expected a dict of tensors"),
    ],
)
def test_what_is_no_published_deeplab_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], object], message: str
) -> None:
    torch.save(change(published()), tmp_path / "deeplab.pth")
    with pytest.raises(PinxitError, match=message):
        import_release([tmp_path / "deeplab.pth"])


def test_one_file_is_named(tmp_path: Path) -> None:
    for sources, got in (
        ([tmp_path], "is a folder"),
        ([tmp_path / "no.pth"], "is not there"),
        ([tmp_path / "a.pth", tmp_path / "b.pth"], "is several"),
    ):
        with pytest.raises(PinxitError, match=f"{got}, expected one .pth of a DeepLabV3"):
            import_release(sources)


def test_a_backbone_of_imagenet(tmp_path: Path) -> None:
    torch.manual_seed(1)
    donor, ours = ResNet(50, 2, 32), ResNet(50, 2, 8)
    state = {**donor.state_dict(), "fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "resnet50.pth")
    load_backbone(ours, tmp_path / "resnet50.pth")
    assert all(torch.equal(v, ours.state_dict()[k]) for k, v in donor.state_dict().items())
    with pytest.raises(PinxitError, match="a ResNet of this --depth and --width"):
        load_backbone(ResNet(18, 2, 8), tmp_path / "resnet50.pth")
    with pytest.raises(PinxitError, match="expected"):
        load_backbone(ours, tmp_path / "absent.pth")
