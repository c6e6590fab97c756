"""LPIPS on random backbones (the published ones are 5 to 553 MB), and on the published heads where they are at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import lpips as module
from pinxit.evaluation.lpips import LPIPS, RELEASES, Backbone, download, load_lpips, lpips
from pinxit.evaluation.pictures import Pictures, pictures

HEADS = Path(__file__).parents[2].parent / "shared" / "weights" / "lpips"
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)

# Layer by layer as torchvision numbers them: (place, kind, arguments). Tap: what LPIPS compares, after that place.
PLAIN: dict[Backbone, dict[int, tuple[Any, ...]]] = {
    "alex": {
        0: ("conv", 3, 64, 11, 4, 2), 1: ("relu",), 2: ("pool", 3), 3: ("conv", 64, 192, 5, 1, 2), 4: ("relu",),
        5: ("pool", 3), 6: ("conv", 192, 384, 3, 1, 1), 7: ("relu",), 8: ("conv", 384, 256, 3, 1, 1), 9: ("relu",),
        10: ("conv", 256, 256, 3, 1, 1), 11: ("relu",),
    },
    "vgg": {
        0: ("conv", 3, 64, 3, 1, 1), 1: ("relu",), 2: ("conv", 64, 64, 3, 1, 1), 3: ("relu",), 4: ("pool", 2),
        5: ("conv", 64, 128, 3, 1, 1), 6: ("relu",), 7: ("conv", 128, 128, 3, 1, 1), 8: ("relu",), 9: ("pool", 2),
        10: ("conv", 128, 256, 3, 1, 1), 11: ("relu",), 12: ("conv", 256, 256, 3, 1, 1), 13: ("relu",),
        14: ("conv", 256, 256, 3, 1, 1), 15: ("relu",), 16: ("pool", 2),
        17: ("conv", 256, 512, 3, 1, 1), 18: ("relu",), 19: ("conv", 512, 512, 3, 1, 1), 20: ("relu",),
        21: ("conv", 512, 512, 3, 1, 1), 22: ("relu",), 23: ("pool", 2),
        24: ("conv", 512, 512, 3, 1, 1), 25: ("relu",), 26: ("conv", 512, 512, 3, 1, 1), 27: ("relu",),
        28: ("conv", 512, 512, 3, 1, 1), 29: ("relu",),
    },
    "squeeze": {
        0: ("conv", 3, 64, 3, 2, 0), 1: ("relu",), 2: ("pool", 3, True), 3: ("fire", 64, 16, 64),
        4: ("fire", 128, 16, 64), 5: ("pool", 3, True), 6: ("fire", 128, 32, 128), 7: ("fire", 256, 32, 128),
        8: ("pool", 3, True), 9: ("fire", 256, 48, 192), 10: ("fire", 384, 48, 192), 11: ("fire", 384, 64, 256),
        12: ("fire", 512, 64, 256),
    },
}  # fmt: skip
TAPS: dict[Backbone, tuple[int, ...]] = {
    "alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29), "squeeze": (1, 4, 7, 9, 10, 11, 12)
}  # fmt: skip
CHANNELS: dict[Backbone, tuple[int, ...]] = {
    "alex": (64, 192, 384, 256, 256),
    "vgg": (64, 128, 256, 512, 512),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
}


def shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's file, as far as the backbone goes."""
    found: dict[str, tuple[int, ...]] = {}
    for place, (kind, *numbers) in PLAIN[backbone].items():
        convolutions: dict[str, tuple[int, ...]] = {}
        match kind, numbers:
            case "conv", (inputs, outputs, side, _, _):
                convolutions[f"features.{place}"] = (outputs, inputs, side, side)
            case "fire", (inputs, few, many):
                convolutions[f"features.{place}.squeeze"] = (few, inputs, 1, 1)
                convolutions[f"features.{place}.expand1x1"] = (many, few, 1, 1)
                convolutions[f"features.{place}.expand3x3"] = (many, few, 3, 3)
        for name, shape in convolutions.items():
            found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def state_of(backbone: Backbone, seed: int = 0) -> dict[str, Tensor]:
    """A file as torchvision publishes it, with a classifier cut short."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes(backbone).items():
        strength = 0.1 if len(shape) == 1 else (2 / (shape[1] * shape[2] * shape[3])) ** 0.5
        state[name] = strength * torch.randn(shape, generator=random)
    return {**state, "classifier.1.weight": torch.zeros(7, 5), "classifier.1.bias": torch.zeros(7)}


def heads_of(backbone: Backbone, seed: int = 1) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, channels, 1, 1, generator=random)
        for i, channels in enumerate(CHANNELS[backbone])
    }


def written(folder: Path, backbone: Backbone) -> tuple[Path, Path]:
    weights, heads = folder / "weights.pth", folder / "heads.pth"
    torch.save(state_of(backbone), weights)
    torch.save(heads_of(backbone), heads)
    return weights, heads


def plain_taps(backbone: Backbone, state: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    def conv(name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)

    found = []
    for place, (kind, *numbers) in PLAIN[backbone].items():
        name = f"features.{place}"
        match kind, numbers:
            case "conv", (_, _, _, int(stride), int(padding)):
                x = conv(name, x, stride, padding)
            case "relu", _:
                x = x.clamp(min=0)
            case "pool", (int(side), *ceil):
                x = F.max_pool2d(x, side, 2, ceil_mode=bool(ceil))
            case "fire", _:
                x = conv(f"{name}.squeeze", x).clamp(min=0)
                x = torch.cat([conv(f"{name}.expand1x1", x), conv(f"{name}.expand3x3", x, 1, 1)], 1).clamp(min=0)
        if place in TAPS[backbone]:
            found.append(x)
    return found


def plain_distance(backbone: Backbone, a: Tensor, b: Tensor, *, scaled: bool) -> float:
    """Pixel by pixel, of one picture each, as the authors' code computes it."""
    mean, deviation = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    state, heads = state_of(backbone), heads_of(backbone)
    if scaled:
        a, b = ((x - mean[None, :, None, None]) / deviation[None, :, None, None] for x in (a, b))
    total = 0.0
    pairs = zip(plain_taps(backbone, state, a), plain_taps(backbone, state, b), strict=True)
    for i, (x, y) in enumerate(pairs):
        weights = heads[f"lin{i}.model.1.weight"].flatten().double()
        pixels = []
        for u, v in zip(x[0].flatten(1).T.double(), y[0].flatten(1).T.double(), strict=True):
            unlike = u / (u.norm() + 1e-10) - v / (v.norm() + 1e-10)
            pixels.append((weights * unlike**2).sum())
        total += float(torch.stack(pixels).mean())
    return total


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("backbone", BACKBONES)
def test_names_and_shapes_are_the_published_ones(backbone: Backbone) -> None:
    network = LPIPS(backbone)
    ours = {f"features.{name}": tuple(tensor.shape) for name, tensor in network.features.state_dict().items()}
    assert ours == shapes(backbone)
    assert [tuple(head.shape) for head in network.heads.parameters()] == [(1, c, 1, 1) for c in CHANNELS[backbone]]
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_distance_equals_a_plain_reference(backbone: Backbone, tmp_path: Path) -> None:
    network = load_lpips(backbone, *written(tmp_path, backbone))
    a, b = noise(2, 3, 37, 45), noise(2, 3, 37, 45, seed=1)
    got = network(a, b)
    want = [plain_distance(backbone, a[i : i + 1], b[i : i + 1], scaled=True) for i in range(2)]
    assert got.tolist() == pytest.approx(want, rel=1e-4)
    assert network(a, a).tolist() == [0, 0]
    torch.testing.assert_close(network(b, a), got)
    network.scaled = False
    assert network(a, b)[0].item() == pytest.approx(plain_distance(backbone, a[:1], b[:1], scaled=False), rel=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_least_size_is_the_least(backbone: Backbone) -> None:
    network, least = LPIPS(backbone), RELEASES[backbone].least
    assert network(noise(1, 3, least, least), noise(1, 3, least, least, seed=1)).isfinite().all()
    with pytest.raises(RuntimeError, match="size"):
        network(noise(1, 3, least - 1, least), noise(1, 3, least - 1, least))


@pytest.mark.parametrize("version", ["v0.0", "v0.1"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_published_heads_read_and_their_version_is_known(backbone: Backbone, version: str, tmp_path: Path) -> None:
    heads = HEADS / version / f"{backbone}.pth"
    if not heads.is_file():
        pytest.skip(f"no {heads}")
    weights, _ = written(tmp_path, backbone)
    network = load_lpips(backbone, weights, heads)
    assert network.scaled == (version == "v0.1")
    release = RELEASES[backbone]
    assert network.weights[f"LPIPS {backbone} heads"] == (release.heads if version == "v0.1" else release.old_heads)
    published = torch.load(heads, weights_only=True, map_location="cpu")
    for i, head in enumerate(network.heads):
        assert torch.equal(head.weight, published[f"lin{i}.model.1.weight"])  # type: ignore[arg-type]
        assert (published[f"lin{i}.model.1.weight"] >= 0).all()  # a distance
    assert network(noise(1, 3, 40, 40), noise(1, 3, 40, 40, seed=1)).item() > 0


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("missing", r"^weights '.*weights.pth' is not there, expected a .pth file; "),
        ("text", r"^weights '.*weights.pth' is damaged or nothing that torch.save wrote, expected "),
        ("other", r"^weights '.*' is without features.3.weight, expected the backbone 'alex' of LPIPS; .*alexnet-owt"),
        ("narrow", r"^features.8.bias in weights '.*' is of shape \(2,\), expected \(256,\) as the backbone 'alex'"),
        ("deeper", r"^weights '.*' is with features.13.weight, expected the backbone 'alex' of LPIPS; "),
        ("heads missing", r"^weights '.*heads.pth' is not there, expected "),
        ("heads of squeeze", r"^lin1.model.1.weight in heads '.*' is of shape \(1, 128, 1, 1\), expected "),
        ("swapped", r"^weights '.*heads.pth' is without features.0.weight, expected the backbone 'alex' of LPIPS; "),
    ],
)
def test_a_wrong_file_is_told_in_one_line(damage: str, line: str, tmp_path: Path) -> None:
    weights, heads = written(tmp_path, "alex")
    state = state_of("alex")
    match damage:
        case "missing":
            weights.unlink()
        case "text":
            weights.write_text("<html>404</html>")
        case "other":
            torch.save({k: v for k, v in state.items() if k != "features.3.weight"}, weights)
        case "narrow":
            torch.save({**state, "features.8.bias": torch.zeros(2)}, weights)
        case "deeper":
            torch.save({**state, "features.13.weight": torch.zeros(2)}, weights)
        case "heads missing":
            heads.unlink()
        case "heads of squeeze":
            torch.save(heads_of("squeeze"), heads)
        case "swapped":
            weights, heads = heads, weights
    with pytest.raises(PinxitError, match=line) as refusal:
        load_lpips("alex", weights, heads)
    assert "\n" not in str(refusal.value)


def test_an_unknown_backbone_is_refused() -> None:
    name: Any = "vgg19"
    for call in (LPIPS, download, lambda name: load_lpips(name, Path("a"), Path("b"))):
        with pytest.raises(
            PinxitError, match=r"^backbone of LPIPS is 'vgg19', expected one of alex, squeeze, vgg; .*vgg"
        ):
            call(name)


def test_what_is_downloaded_is_the_published_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetched(url: str, sha256: str, remedy: str) -> Path:
        asked.append((url, sha256, remedy))
        return Path(url.rsplit("/", 1)[-1])

    monkeypatch.setattr(module, "fetch", fetched)
    assert download("squeeze") == (Path("squeezenet1_1-b8a52dc0.pth"), Path("squeeze.pth"))
    release = RELEASES["squeeze"]
    assert [sha256 for _, sha256, _ in asked] == [release.sha256, release.heads]
    for name, release in RELEASES.items():  # torchvision's names carry the first digits of the hash
        assert release.file.endswith(f"-{release.sha256[:8]}.pth"), name


def folder_of(folder: Path, *seeds: int, side: int = 40) -> Pictures:
    folder.mkdir()
    for i, seed in enumerate(seeds):
        pixels = ((noise(side, side, 3, seed=seed) + 1) * 127.5).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return pictures(folder, name=f"{folder.name} pictures")


def test_the_score_is_the_mean_over_pairs_and_names_its_weights(tmp_path: Path) -> None:
    network = load_lpips("squeeze", *written(tmp_path, "squeeze"))
    fake, real = folder_of(tmp_path / "fake", 1, 2), folder_of(tmp_path / "real", 1, 3)
    found = lpips(fake, real, network)
    one = float(network(fake[1][None] / 127.5 - 1, real[1][None] / 127.5 - 1))
    assert found.value == pytest.approx(one / 2)
    assert found.spread == pytest.approx(one / 2**0.5)
    assert (found.name, found.better) == ("LPIPS", "lower")
    assert found.details["weights"] == network.weights
    for digest in network.weights.values():
        assert f"unpublished weights {digest[:16]}" in found.protocol
    assert "2 pairs of 40x40" in found.protocol
    assert "RANDOM" in lpips(fake, real, LPIPS("squeeze")).protocol


def test_a_picture_below_the_least_size_is_refused(tmp_path: Path) -> None:
    fake, real = (folder_of(tmp_path / name, 1, 2, side=30) for name in ("fake", "real"))
    with pytest.raises(PinxitError, match=r"^size of '0.png' in fake pictures is 30x30, expected at least 31x31; "):
        lpips(fake, real, LPIPS("alex"))
