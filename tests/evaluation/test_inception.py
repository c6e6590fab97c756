"""The Inception network, on random weights: the published ones are 96 MB."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import inception
from pinxit.evaluation.inception import CHANNELS, SHA256, URL, Inception, Layer, load_inception

NAMES = Path(__file__).with_name("inception_names.txt")


def published_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for line in NAMES.read_text().splitlines():
        if not line.startswith("#"):
            name, *shape = line.split()
            shapes[f"{name}.conv.weight"] = tuple(map(int, shape))
            shapes |= {
                f"{name}.bn.{leaf}": (int(shape[0]),) for leaf in ("weight", "bias", "running_mean", "running_var")
            }
    return shapes


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights under the published names, scaled so that nothing dies or explodes on the way."""
    random = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in published_shapes().items():
        if name.endswith(("running_var", "bn.weight")):
            tensors[name] = 0.7 + 0.6 * torch.rand(shape, generator=random)
        elif len(shape) == 1:
            tensors[name] = 0.1 * torch.randn(shape, generator=random)
        else:
            tensors[name] = torch.randn(shape, generator=random) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
    return tensors


@pytest.fixture(scope="module")
def file(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("inception") / "pt_inception.pth"
    counters = {
        f"{name.removesuffix('.weight')}.num_batches_tracked": torch.tensor(0) for name in state if "bn.w" in name
    }
    torch.save({**state, **counters}, path)
    yield path
    path.unlink()  # 96 MB


@pytest.fixture(scope="module")
def network(file: Path) -> Inception:
    return load_inception(file)


class Plain:
    """The network written out in calls of torch.nn.functional, branch by branch, straight from a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int | tuple[int, int] = 0) -> Tensor:
        w = self.state
        x = F.conv2d(x, w[f"{name}.conv.weight"], stride=stride, padding=padding)
        mean, var = (w[f"{name}.bn.running_{leaf}"][:, None, None] for leaf in ("mean", "var"))
        x = (x - mean) / (var + 0.001).sqrt() * w[f"{name}.bn.weight"][:, None, None]
        return (x + w[f"{name}.bn.bias"][:, None, None]).clamp(min=0)

    def average(self, x: Tensor) -> Tensor:
        """Of 3x3 pixels, or as many of them as there are."""
        ones = F.pad(torch.ones_like(x), (1, 1, 1, 1))
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 1) / F.avg_pool2d(ones, 3, 1)

    def a(self, x: Tensor, m: str) -> Tensor:
        five = self.conv(self.conv(x, f"{m}.branch5x5_1"), f"{m}.branch5x5_2", padding=2)
        three = self.conv(self.conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=1)
        three = self.conv(three, f"{m}.branch3x3dbl_3", padding=1)
        return torch.cat(
            [self.conv(x, f"{m}.branch1x1"), five, three, self.conv(self.average(x), f"{m}.branch_pool")], 1
        )

    def b(self, x: Tensor, m: str) -> Tensor:
        three = self.conv(self.conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=1)
        three = self.conv(three, f"{m}.branch3x3dbl_3", stride=2)
        return torch.cat([self.conv(x, f"{m}.branch3x3", stride=2), three, F.max_pool2d(x, 3, 2)], 1)

    def c(self, x: Tensor, m: str) -> Tensor:
        wide, tall = (0, 3), (3, 0)
        seven = self.conv(self.conv(x, f"{m}.branch7x7_1"), f"{m}.branch7x7_2", padding=wide)
        seven = self.conv(seven, f"{m}.branch7x7_3", padding=tall)
        double = self.conv(x, f"{m}.branch7x7dbl_1")
        for i, padding in ((2, tall), (3, wide), (4, tall), (5, wide)):
            double = self.conv(double, f"{m}.branch7x7dbl_{i}", padding=padding)
        pooled = self.conv(self.average(x), f"{m}.branch_pool")
        return torch.cat([self.conv(x, f"{m}.branch1x1"), seven, double, pooled], 1)

    def d(self, x: Tensor, m: str) -> Tensor:
        three = self.conv(self.conv(x, f"{m}.branch3x3_1"), f"{m}.branch3x3_2", stride=2)
        seven = self.conv(self.conv(x, f"{m}.branch7x7x3_1"), f"{m}.branch7x7x3_2", padding=(0, 3))
        seven = self.conv(self.conv(seven, f"{m}.branch7x7x3_3", padding=(3, 0)), f"{m}.branch7x7x3_4", stride=2)
        return torch.cat([three, seven, F.max_pool2d(x, 3, 2)], 1)

    def e(self, x: Tensor, m: str, pooled: Tensor) -> Tensor:
        three = self.conv(x, f"{m}.branch3x3_1")
        double = self.conv(self.conv(x, f"{m}.branch3x3dbl_1"), f"{m}.branch3x3dbl_2", padding=1)
        parts = [self.conv(x, f"{m}.branch1x1")]
        for part, name in ((three, "branch3x3_2"), (double, "branch3x3dbl_3")):
            parts += [self.conv(part, f"{m}.{name}a", padding=(0, 1)), self.conv(part, f"{m}.{name}b", padding=(1, 0))]
        return torch.cat([*parts, self.conv(pooled, f"{m}.branch_pool")], 1)

    def __call__(self, x: Tensor) -> dict[str, Tensor]:
        taps: dict[str, Tensor] = {}
        x = self.conv(self.conv(x, "Conv2d_1a_3x3", stride=2), "Conv2d_2a_3x3")
        x = taps["before pool 1"] = self.conv(x, "Conv2d_2b_3x3", padding=1)
        x = taps["64"] = F.max_pool2d(x, 3, 2)
        x = taps["before pool 2"] = self.conv(self.conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3")
        x = taps["192"] = F.max_pool2d(x, 3, 2)
        x = self.a(self.a(self.a(x, "Mixed_5b"), "Mixed_5c"), "Mixed_5d")
        x = self.b(x, "Mixed_6a")
        for m in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self.c(x, m)
        taps["768"] = x
        x = self.d(x, "Mixed_7a")
        x = self.e(x, "Mixed_7b", self.average(x))
        x = self.e(x, "Mixed_7c", F.max_pool2d(x, 3, 1, padding=1))
        taps["2048"] = x.flatten(2).mean(2)
        taps["logits"] = taps["2048"] @ self.state["fc.weight"].T
        return taps


def test_names_and_shapes_are_those_of_the_published_file() -> None:
    shapes = published_shapes()
    assert len(shapes) == 94 * 5 + 2
    assert {name: tuple(t.shape) for name, t in Inception().state_dict().items()} == shapes
    # The file has 95,628,359 bytes; some 180 of each tensor are not its values.
    assert 0 < 95_628_359 - 4 * sum(torch.Size(s).numel() for s in shapes.values()) < 100_000


def test_every_layer_is_that_of_the_network_written_out(network: Inception, state: dict[str, Tensor]) -> None:
    x = 2 * torch.rand(2, 3, 107, 91, generator=torch.Generator().manual_seed(0)) - 1
    plain = Plain(state)(x)
    assert list(plain) == list(get_args(Layer)) == list(CHANNELS)
    for layer in get_args(Layer):
        ours, theirs = network(x, layer), plain[layer]
        assert ours.shape[1] == CHANNELS[layer]
        assert theirs.std() > 0.1  # it has not died on the way
        error = float((ours - theirs).abs().max() / theirs.abs().max())
        assert error < 1e-4, (layer, error)


def test_peculiarities_are_seen(network: Inception, state: dict[str, Tensor]) -> None:
    """That the comparison above would notice them: each one changed, the features differ by far more than rounding."""

    class Usual(Plain):
        def average(self, x: Tensor) -> Tensor:
            return F.avg_pool2d(x, 3, 1, padding=1)  # counts the padding

    x = torch.rand(1, 3, 107, 91, generator=torch.Generator().manual_seed(0))
    ours, usual = network(x), Usual(state)(x)["2048"]
    assert (ours - usual).abs().max() > 0.01 * ours.abs().max()


def test_a_picture_of_299_has_the_published_sizes(network: Inception) -> None:
    x = torch.zeros(1, 3, 299, 299)
    assert network(x, "64").shape == (1, 64, 73, 73)
    assert network(x, "192").shape == (1, 192, 35, 35)
    assert network(x, "768").shape == (1, 768, 17, 17)
    assert network(x).shape == (1, 2048)


def test_the_smallest_pictures_that_are_said_to_go_in_do(network: Inception) -> None:
    assert network(torch.zeros(1, 3, 75, 75)).isfinite().all()
    assert network(torch.zeros(1, 3, 7, 7), "before pool 1").shape == (1, 64, 1, 1)


def test_it_is_never_in_train_mode_by_itself_and_has_no_gradients(network: Inception, file: Path) -> None:
    assert not any(m.training for m in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    assert network.digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert Inception().digest is None


def test_a_classifier_of_other_classes_is_read_with_its_bias(state: dict[str, Tensor], tmp_path: Path) -> None:
    weight, bias = state["fc.weight"][:7], torch.arange(7.0)
    torch.save({**state, "fc.weight": weight.clone(), "fc.bias": bias}, tmp_path / "birds.pth")
    birds = load_inception(tmp_path / "birds.pth")
    assert not birds.published_classes
    assert [birds.channels(layer) for layer in ("64", "2048", "logits")] == [64, 2048, 7]
    some = torch.randn(3, 2048, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(birds.logits(some), some @ weight.T + bias)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ("missing", r"is not there, expected pt_inception-2015-12-05-6726825d\.pth; mend --inception"),
        ("empty", "is damaged or nothing that torch.save wrote, expected a whole .pth file; download it again"),
        ("text", "is damaged or nothing that torch.save wrote"),
        ("list", "is a list, expected a dict of tensors"),
        ("lacks", r"is without Mixed_7c\.branch_pool\.bn\.bias, expected the Inception network of FID"),
        ("shape", r"fc\.weight in Inception weights .* is of shape \(1000, 2048\), expected \(1008, 2048\)"),
        ("more", r"is with AuxLogits\.fc\.bias, expected the Inception network of FID; torchvision's inception_v3"),
    ],
)
def test_a_wrong_file_is_told_in_one_line(damage: str, line: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    # Shapes alone, as views of one number: files of some kilobytes.
    small = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}
    match damage:
        case "empty":
            path.touch()
        case "text":
            path.write_text("<html>404</html>")
        case "list":
            torch.save([torch.zeros(1)], path)
        case "lacks":
            torch.save({k: v for k, v in small.items() if k != "Mixed_7c.branch_pool.bn.bias"}, path)
        case "shape":
            torch.save({**small, "fc.weight": torch.zeros(()).expand(1000, 2048)}, path)
        case "more":
            torch.save({**small, "AuxLogits.fc.bias": torch.zeros(3)}, path)
    with pytest.raises(PinxitError, match=f"^[^\n]*{line}[^\n]*$"):
        load_inception(path)


def test_without_network_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    line = (
        r"^download of https://\S+6726825d\.pth is not possible \(no route to host\), expected a network connection; "
    )
    with pytest.raises(PinxitError, match=line + r"download it elsewhere and give --inception FILE[^\n]*$"):
        load_inception()
    assert list(tmp_path.iterdir()) == []


def test_the_download_is_of_the_published_hash_and_read_from_the_cache(
    monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    asked = []

    def cached(url: str, sha256: str, remedy: str) -> Path:
        asked.append((url, sha256))
        return file

    monkeypatch.setattr(inception, "fetch", cached)
    assert load_inception().digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert asked == [(URL, SHA256)]
    assert SHA256[:8] in URL
