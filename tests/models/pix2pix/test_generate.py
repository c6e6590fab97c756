"""The model: any size, any kind of picture, and what is asked of it at test time."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.kinds import Kind
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile, read
from pinxit.models.pix2pix.config import Network
from pinxit.models.pix2pix.generate import load
from pinxit.models.pix2pix.network import generator

RGB = Kind()
UNET = Network(depth=6, width=2, input=RGB, output=RGB, test_norm="picture", size=(64, 64))
RESNET = dataclasses.replace(UNET, generator="resnet", blocks=1)


def file(network: Network = UNET) -> ModelFile:
    torch.manual_seed(0)
    G = generator(network)
    for p in G.parameters():
        torch.nn.init.normal_(p, 0.0, 0.2)
    config = json.loads(json.dumps(dataclasses.asdict(network)))
    return ModelFile("pix2pix", config, {f"G.{k}": v for k, v in G.state_dict().items()}, card={"data": "x"})


def picture(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    random = np.random.default_rng(0)
    if dtype is np.float32:
        return random.normal(size=(height, width, channels)).astype(np.float32)
    return random.integers(0, np.iinfo(dtype).max, (height, width, channels), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("network", [UNET, RESNET], ids=["unet", "resnet"])
@pytest.mark.parametrize("size", [(1, 1), (1, 70), (3, 5), (8, 4), (64, 64), (65, 127)])
def test_any_size(network: Network, size: tuple[int, int]) -> None:
    model = load(file(network))
    out = model.translate(picture(*size))
    assert out.shape == (*size, 3)
    assert out.dtype == np.uint8


@pytest.mark.parametrize("network", [UNET, RESNET], ids=["unet", "resnet"])
def test_padding_is_reflection_cut_off_again(network: Network) -> None:
    model, array = load(file(network)), picture(60, 66)
    padded = np.pad(array, [(0, 4), (0, 62), (0, 0)] if network is UNET else [(0, 0), (0, 2), (0, 0)], mode="reflect")
    assert model.translate(array).std() > 10
    assert np.array_equal(model.translate(array), model.translate(padded)[:60, :66])
    assert (model.multiple, model.padded(66)) == ((64, 128) if network is UNET else (4, 68))


def test_pil_for_pil_and_array_for_array() -> None:
    model, array = load(file()), picture(64, 70)
    image = model.translate(Image.fromarray(array))
    assert isinstance(image, Image.Image)
    assert image.size == (70, 64)
    assert np.array_equal(np.asarray(image), model.translate(array))
    grey = Image.fromarray(array[..., 0])
    assert np.array_equal(np.asarray(model.translate(grey)), np.asarray(model.translate(grey.convert("RGB"))))


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (Kind(1, "uint8"), np.uint8),
        (Kind(4, "uint16", 0, 65535), np.uint16),
        (Kind(7, "float32", -3, 3), np.float32),
        (Kind(1, "uint16", 100, 4000), np.uint16),
        (Kind(1, "float32", 0, 1), np.float32),
    ],
)
def test_kinds(kind: Kind, dtype: type) -> None:
    other = Kind(2, "float32", 10, 20)
    for into, out in ((kind, other), (other, kind)):
        model = load(file(dataclasses.replace(UNET, input=into, output=out)))
        assert (model.input, model.output) == (into, out)
        made = model.translate(picture(20, 30, into.channels, dtype if into is kind else np.float32))
        assert made.shape == (20, 30, out.channels)
        assert made.dtype == out.dtype
        assert out.low <= made.min()
        assert made.max() <= out.high
    if kind.channels == 1:
        model = load(file(dataclasses.replace(UNET, input=kind, output=kind)))
        array = picture(20, 30, 1, dtype)
        image = model.translate(Image.fromarray(array[..., 0]))
        assert np.array_equal(np.asarray(image), model.translate(array)[..., 0])
        assert np.array_equal(model.translate(array[..., 0]), model.translate(array))


def test_other_pictures_are_refused() -> None:
    model = load(file())
    for wrong, got in (
        (picture(8, 8, 4), r"uint8 of shape \[8, 8, 4\]"),
        (picture(8, 8, 3, np.uint16), r"uint16 of shape \[8, 8, 3\]"),
        (picture(8, 8)[..., 0], r"uint8 of shape \[8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 of shape \[0, 8, 3\]"),
    ):
        with pytest.raises(PinxitError, match=rf"^picture is {got}, expected \[H, W, 3\] of uint8; convert it$"):
            model.translate(wrong)
    for change in ({"input": Kind(5)}, {"output": Kind(2, "uint16", 0, 9)}):
        with pytest.raises(PinxitError, match=r"^picture is a PIL image, expected an array, as PIL has no [25]-ch"):
            load(file(dataclasses.replace(UNET, **change))).translate(Image.new("RGB", (8, 8)))


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_statistics_at_test_are_a_choice(norm) -> None:
    network = dataclasses.replace(UNET, norm=norm)
    array = picture(64, 64)
    stored, running, own = (load(file(network), norm=n) for n in (None, "running", "picture"))
    assert np.array_equal(stored.translate(array), own.translate(array))
    assert np.array_equal(running.translate(array), own.translate(array)) == (norm == "instance")
    assert len(own.norms()) == 9
    assert len(running.norms()) == (9 if norm == "instance" else 0)


def test_dropout_at_test_is_a_choice_and_a_seed_decides() -> None:
    array, noisy = picture(64, 64), load(file(), dropout=True)
    state = torch.get_rng_state()
    assert np.array_equal(noisy.translate(array, seed=1), noisy.translate(array, seed=1))
    assert not np.array_equal(noisy.translate(array, seed=1), noisy.translate(array, seed=2))
    assert torch.equal(state, torch.get_rng_state())
    quiet = load(file())
    assert np.array_equal(quiet.translate(array, seed=1), quiet.translate(array, seed=2))
    stored = load(file(dataclasses.replace(UNET, test_dropout=True)))
    assert np.array_equal(stored.translate(array, seed=1), noisy.translate(array, seed=1))
    assert np.array_equal(load(stored.file, dropout=False).translate(array), quiet.translate(array))


def test_a_file_written_and_read_again_translates_alike(tmp_path: Path) -> None:
    made = file(dataclasses.replace(UNET, norm="instance"))
    half = ModelFile(made.method, made.config, {k: v.half() for k, v in made.tensors.items()})
    half.save(tmp_path)
    back = load(read(tmp_path))
    assert {p.dtype for p in back.network.parameters()} == {torch.float32}
    ours, theirs = (m.translate(picture(64, 64)).astype(int) for m in (load(made), back))
    assert np.abs(ours - theirs).mean() < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wings": 2}, r"^the model's configuration is with 'wings', expected options of this version; update Pinxit"),
        ({"input": None}, r"^kind of pictures in the model file is {}, expected"),
        ({"width": 3}, r"^the model's G is not as its configuration \(.*\), expected whole; train or import it again"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(change: dict[str, object], message: str) -> None:
    made = file()
    with pytest.raises(PinxitError, match=message):
        load(dataclasses.replace(made, config={**made.config, **change}))
