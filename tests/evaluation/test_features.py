"""Pictures to features: the protocols' resizes, batches, the cache, and two processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.evaluation import features as module
from pinxit.evaluation.features import PROTOCOLS, Protocol, features, prepared, tensorflow_bilinear
from pinxit.evaluation.inception import Inception, Layer
from pinxit.evaluation.pictures import Pictures, pictures

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]


class Small(Inception):
    """Stands for the network where only the way of pictures through it matters: a quick one of equal outputs."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        random = torch.Generator().manual_seed(0)
        self.weight = torch.nn.Parameter(torch.randn(2048, 3, 23, 23, generator=random), requires_grad=False)
        self.fc = torch.nn.Linear(2048, 1008)
        torch.nn.init.normal_(self.fc.weight, std=0.05, generator=random)
        self.fc.requires_grad_(False)
        self.digest = "5a" * 32
        self.calls: list[int] = []

    def forward(self, x: Tensor, stop: Layer = "2048") -> Tensor:
        assert x.shape[1:] == (3, 299, 299)
        assert x.dtype == torch.float32
        self.calls.append(len(x))
        maps = F.conv2d(x, self.weight, stride=23).relu()
        return maps[:, :64] if stop == "64" else maps.mean((2, 3))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PINXIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def seven(tmp_path: Path) -> Pictures:
    random = np.random.default_rng(0)
    (tmp_path / "seven").mkdir()
    for i in range(7):
        values = random.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(values).save(tmp_path / "seven" / f"{i}.png")
    return pictures(tmp_path / "seven", name="real pictures")


# Resizes


def bilinear_by_loops(picture: np.ndarray, side: int, centres: bool) -> np.ndarray:
    """[H, W] to [side, side], each pixel by itself: half-pixel centres, or TensorFlow 1's corners."""
    height, width = picture.shape
    result = np.zeros((side, side))

    def place(i: int, size: int) -> tuple[int, int, float]:
        at = max((i + 0.5) * size / side - 0.5, 0) if centres else i * size / side
        low = min(int(at), size - 1)
        return low, min(low + 1, size - 1), at - low

    for i in range(side):
        for j in range(side):
            top, bottom, down = place(i, height)
            left, right, across = place(j, width)
            upper = picture[top, left] * (1 - across) + picture[top, right] * across
            lower = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
            result[i, j] = upper * (1 - down) + lower * down
    return result


@pytest.mark.parametrize("size", [(5, 9), (400, 301), (299, 299), (1, 1)])
def test_resizes_are_those_by_loops(size: tuple[int, int]) -> None:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, *size), np.uint8))
    both: dict[Protocol, bool] = {"pytorch-fid": True, "torch-fidelity": False}
    for protocol, centres in both.items():
        by_hand = bilinear_by_loops(picture[0].double().numpy(), 299, centres)
        unit = by_hand / 127.5 - 1 if centres else (by_hand - 128) / 128
        ours = prepared(picture, protocol)
        assert ours.shape == (3, 299, 299)
        np.testing.assert_allclose(ours[0].numpy(), unit, atol=2e-4)  # weights in fp32


def test_tensorflow_bilinear_in_figures() -> None:
    x = torch.tensor([[0.0, 4.0]])
    assert tensorflow_bilinear(x, 4).tolist() == [[0.0, 2.0, 4.0, 4.0]] * 4  # not centred: 0, 1, 3, 4


def test_clean_is_antialiased_and_not_rounded() -> None:
    stripes = torch.zeros(3, 598, 598, dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    inner = (slice(None), slice(3, -3), slice(3, -3))
    assert prepared(stripes, "clean")[inner].mul(128).add(128).sub(127.5).abs().max() < 1e-3  # grey between two values
    assert prepared(stripes, "torch-fidelity").max() == 127 / 128 or prepared(stripes, "torch-fidelity").min() == -1
    edge = torch.zeros(3, 100, 100, dtype=torch.uint8)
    edge[:, :, 50:] = 255
    clean = prepared(edge, "clean")
    assert (float(clean.min()), float(clean.max())) == (-1, 127 / 128)  # bicubic overshoots; it is clipped
    by_pillow = Image.fromarray(edge[0].numpy().astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(clean[0].numpy(), (np.asarray(by_pillow).clip(0, 255) - 128) / 128)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_picture_of_299_is_only_scaled(protocol: Protocol) -> None:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 299, 299), np.uint8))
    unit = picture / 127.5 - 1 if protocol == "pytorch-fid" else (picture.float() - 128) / 128
    torch.testing.assert_close(prepared(picture, protocol), unit, rtol=0, atol=1e-6)


# Batches and the cache


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_features_are_the_networks_picture_by_picture(protocol: Protocol, seven: Pictures) -> None:
    network = Small()
    got = features(seven, network, protocol, batch=3)
    assert network.calls == [3, 3, 1]
    expected = torch.cat([network(prepared(picture, protocol)[None]) for picture in seven])
    torch.testing.assert_close(got.values, expected, rtol=1e-5, atol=1e-4)
    assert not got.values.is_inference()
    assert (got.name, got.digest, got.size) == ("real pictures", seven.digest, (20, 30))
    assert (got.protocol, got.layer, got.weights) == (protocol, "2048", "5a" * 32)


def test_maps_are_averaged_over_their_pixels(seven: Pictures) -> None:
    network = Small()
    got = features(seven, network, layer="64").values
    torch.testing.assert_close(got, features(seven, network).values[:, :64], rtol=1e-5, atol=1e-5)


def test_progress_ends_at_all(seven: Pictures) -> None:
    told: list[tuple[int, int]] = []
    features(seven, Small(), batch=3, progress=lambda done, of: told.append((done, of)))
    assert told == [(3, 7), (6, 7), (7, 7)]


def test_what_is_kept_is_not_computed_again(seven: Pictures, cache: Path) -> None:
    first = Small()
    values = features(seven, first, keep=True).values
    assert len(list(cache.iterdir())) == 1
    again = Small()
    assert torch.equal(features(seven, again, keep=True).values, values)
    assert again.calls == []
    features(seven, again)  # not asked to look there
    assert again.calls == [7]


def test_other_pictures_protocols_layers_and_weights_are_other_features(seven: Pictures, cache: Path) -> None:
    network, other = Small(), Small()
    other.digest = "a5" * 32
    features(seven, network, keep=True)
    features(seven, network, "clean", keep=True)
    features(seven, network, layer="64", keep=True)
    features(Pictures(seven.files[:6], "fewer"), network, keep=True)
    features(Pictures(seven.files, "smaller", size=(10, 10)), network, keep=True)
    features(seven, other, keep=True)
    assert network.calls == [7, 7, 7, 6, 7]
    assert other.calls == [7]
    assert len(list(cache.iterdir())) == 6


def test_features_of_weights_from_no_file_are_not_kept(seven: Pictures, cache: Path) -> None:
    network = Small()
    network.digest = None
    features(seven, network, keep=True)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "another's", "nan"])
def test_a_damaged_cache_is_computed_anew_and_mended(damage: str, seven: Pictures, cache: Path) -> None:
    values = features(seven, Small(), keep=True).values
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    match damage:
        case "cut":
            file.write_bytes(whole[:-100])
        case "text":
            file.write_text("<html>404</html>")
        case "empty":
            file.write_bytes(b"")
        case "another's":
            features(seven, Small(), "clean", keep=True)
            (other,) = set(cache.iterdir()) - {file}
            file.write_bytes(other.read_bytes())
        case "nan":
            file.write_bytes(whole[:-4] + b"\xff\xff\xff\xff")
    network = Small()
    assert torch.equal(features(seven, network, keep=True).values, values)
    assert network.calls == [7]
    assert torch.equal(features(seven, network, keep=True).values, values)
    assert network.calls == [7]


def test_a_cache_that_cannot_be_written_costs_nothing(seven: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise PinxitError("no room")

    monkeypatch.setattr(module, "_write", full)
    assert len(features(seven, Small(), keep=True).values) == 7


def test_bad_input_is_told_in_one_line_before_the_network_runs(seven: Pictures, tmp_path: Path) -> None:
    network = Small()
    with pytest.raises(PinxitError, match=r"^protocol is 'clean-fid', expected one of .*; did you mean 'clean'"):
        features(seven, network, "clean-fid")  # pyright: ignore[reportArgumentType]
    Image.new("RGB", (9, 9)).save(tmp_path / "seven" / "8.png")
    with pytest.raises(
        PinxitError, match=r"^size of the pictures in x is 30x20 for 7 and 9x9 for 1, expected .*--size"
    ):
        features(pictures(tmp_path / "seven", name="x"), network)
    assert network.calls == []


def test_a_picture_damaged_behind_its_header_is_told(seven: Pictures) -> None:
    last = seven.files[-1]
    last.write_bytes(last.read_bytes()[:-300])
    with pytest.raises(PinxitError, match=r"^photo '.*6.png' is damaged"):
        features(seven, Small(), batch=2)


# Ranks


RANK = """
import runpy, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
import torch
import torch.distributed as dist
from pinxit.evaluation.pictures import pictures
from pinxit.training.distributed import processes

test = runpy.run_path(sys.argv[1])
of, out = pictures(Path(sys.argv[2]), name="x"), Path(sys.argv[3])
with processes(torch.device("cpu")):
    results, calls = test["measured"](of)
    torch.save({"values": results, "calls": calls}, out / f"{dist.get_world_size()}-{dist.get_rank()}.pt")
"""


def measured(of: Pictures) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Features in batches of several sizes, kept and found; and what each network was called with."""
    results, calls = {}, {}
    for batch in (1, 3, 50):
        network = Small()
        results[str(batch)] = features(of, network, "torch-fidelity", batch=batch).values
        calls[str(batch)] = network.calls
    network = Small()
    results["kept"] = features(of, network, keep=True).values
    results["found"] = features(of, network, keep=True).values
    calls["kept"] = network.calls
    return results, calls


@pytest.mark.slow
def test_two_and_three_processes_give_the_very_features_of_one(seven: Pictures, tmp_path: Path, cache: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    one, calls_of_one = measured(seven)
    assert len(list(cache.iterdir())) == 1
    for world in (2, 3):
        home = tmp_path / f"cache{world}"
        command = [*TORCHRUN, str(world), str(script), __file__, str(seven.files[0].parent), str(tmp_path)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PINXIT_CACHE": str(home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert len(list((home / "features").iterdir())) == 1
        ranks = [torch.load(tmp_path / f"{world}-{rank}.pt", weights_only=True) for rank in range(world)]
        for name, values in one.items():
            assert len(values) == 7
            assert all(torch.equal(rank["values"][name], values) for rank in ranks), (world, name)
        for name, calls in calls_of_one.items():  # each batch is computed once, by one rank
            assert sorted(n for rank in ranks for n in rank["calls"][name]) == sorted(calls), (world, name)
