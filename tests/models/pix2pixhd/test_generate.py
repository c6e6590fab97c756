"""Painting and translating: any size, every kind of style, and the same alone as among others."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pinxit
from pinxit.data.kinds import Kind
from pinxit.data.labels import numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pixhd.config import Network
from pinxit.models.pix2pixhd.generate import Model, config_of
from pinxit.models.pix2pixhd.network import Encoder, Generator, embed

PLAIN = Network(
    labels=3, output=Kind(), size=(32, 64), width=3, downsamplings=2, blocks=1, enhancers=1, enhancer_blocks=1
)
STYLISH = dataclasses.replace(PLAIN, features="instance", encoder_width=3, encoder_downsamplings=2, clusters=4)


def file(c: Network, encoder: bool = True) -> ModelFile:
    """A model file of random weights; labels 0 and 1 have styles, label 2 has none."""
    torch.manual_seed(0)
    G = Generator(c)
    with torch.no_grad():
        for _ in range(5):  # so that running statistics are not a fresh network's
            G(torch.rand(2, G.inputs, 32, 64))
    tensors = {f"G.{k}": v for k, v in G.state_dict().items()}
    if c.features != "none":
        known = max(1, c.labels + c.unknown)
        tensors["styles.clusters"] = torch.rand(known, c.clusters, c.feature_channels) * 2 - 1
        tensors["styles.counts"] = torch.tensor([4, 2, 0, 0][:known])
        if encoder:
            tensors |= {f"E.{k}": v for k, v in Encoder(c).state_dict().items()}
    labels = numbered(c.labels).to_json() if c.source == "labels" else None
    return ModelFile("pix2pixhd", dataclasses.asdict(c), tensors, labels)


def patches(height: int, width: int, seed: int = 0, labels: int = 3) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, labels, (-(-height // 8), -(-width // 8)))
    return np.kron(coarse, np.ones((8, 8), np.int64))[:height, :width]


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("change", [{}, {"norm": "batch"}, {"norm": "batch", "test_norm": "running"}, {"enhancers": 0}])
@pytest.mark.parametrize("size", [(32, 64), (37, 53), (1, 1), (8, 90)])
def test_any_size_comes_back_as_it_went_in(change, size: tuple[int, int]) -> None:
    c = dataclasses.replace(PLAIN, **change)
    model = Model(file(c))
    labels = patches(*size)
    picture = model.paint(labels)
    assert (picture.mode, picture.size) == ("RGB", size[::-1])
    step = c.multiple
    wide = [(0, max(2 * step, -(-side // step) * step) - side) for side in size]
    assert same(picture, model.paint(np.pad(labels, wide, mode="edge")).crop((0, 0, size[1], size[0])))


@pytest.mark.parametrize("change", [{}, {"norm": "batch"}, {"norm": "batch", "test_norm": "running"}])
def test_the_same_alone_as_in_a_batch(change) -> None:
    c = dataclasses.replace(PLAIN, **change)
    model = Model(file(c))
    maps = torch.from_numpy(np.stack([patches(32, 64, seed) for seed in range(3)]))
    with torch.inference_mode():
        together = model.network(embed(maps, None, c))
        alone = torch.cat([model.network(embed(m[None], None, c)) for m in maps])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    forward = [model.paint(m.numpy()) for m in maps]
    assert all(same(a, model.paint(m.numpy())) for a, m in reversed(list(zip(forward, maps, strict=True))))


def test_styles_by_label_by_object_by_photo_and_by_chance() -> None:
    model = Model(file(STYLISH))
    labels = patches(32, 64, labels=2)
    instances = labels * 1000 + (np.arange(64) // 32)[None]  # ids 0 and 1 of label 0, 1000 and 1001 of label 1
    by_chance = [model.paint(labels, instances, seed=seed) for seed in (0, 0, 1)]
    assert same(*by_chance[:2])
    assert not same(by_chance[0], by_chance[2])
    assert (model.styles_of("label 0"), model.styles_of("label 1"), model.styles_of("label 2")) == (4, 2, 0)

    every = {"label 0": 3, "label 1": 1}
    chosen = model.paint(labels, instances, styles=every, seed=5)
    assert same(chosen, model.paint(labels, instances, styles=every, seed=6))
    assert same(chosen, model.paint(labels, instances, styles={0: 3, 1: 3, 1000: 1, 1001: 1}))
    assert same(chosen, model.paint(labels, instances, styles={"label 0": model.clusters[0, 3].tolist(), "label 1": 1}))
    other = model.paint(labels, instances, styles={1: 0, **every})
    assert same(other, model.paint(labels, instances, styles={**every, 1: 0}))
    assert not same(other, chosen)

    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8))
    like = model.paint(labels, instances, photo=photo, seed=1)
    assert same(like, model.paint(labels, instances, photo=photo, seed=2))
    features = model.encode(photo, labels, instances)
    assert set(features) == {0, 1, 1000, 1001}
    assert same(like, model.paint(labels, instances, styles={id: f.tolist() for id, f in features.items()}))
    partly = model.paint(labels, instances, photo=photo, styles={"label 0": 3})
    assert not same(partly, like)


def test_an_object_keeps_its_style_whatever_else_is_in_the_map() -> None:
    model = Model(file(dataclasses.replace(STYLISH, features="label")))
    labels = patches(32, 64, labels=2)
    labels[:8, :8], labels[:8, 8:16] = 0, 1
    labels[:8, 16:24] = 2  # a label without styles
    alone = model.paint(labels, seed=3)
    assert same(alone, model.paint(labels, np.arange(32 * 64).reshape(32, 64), seed=3))  # labels are its objects


def test_bad_input_is_refused() -> None:
    plain, stylish = Model(file(PLAIN)), Model(file(STYLISH))
    labels = patches(32, 64)
    photo = Image.new("RGB", (64, 32))
    for do, message in [
        (lambda: plain.paint(labels * 0 + 3), r"^label map is with unknown pixels, expected 0..2; "),
        (lambda: plain.paint(labels - 9), r"^label map is with index -\d, expected 0..2; "),
        (lambda: plain.paint(labels / 2), r"^label map is float64 of shape \(32, 64\), expected integers \[H, W\]; "),
        (
            lambda: plain.paint(labels, labels[:-1]),
            r"^instance map is \(31, 64\), expected \(32, 64\) as its label map",
        ),
        (lambda: plain.paint(labels, styles={"label 0": 1}), r"^style is given, expected none: this model's pictures"),
        (lambda: plain.translate(photo), r"^what this model takes is label maps, expected pictures; use paint"),
        (lambda: stylish.paint(labels, styles={"label 0": 4}), r"^style of 'label 0' is 4, expected 0..3; "),
        (lambda: stylish.paint(labels, styles={"label 2": 0}), r"^style of 'label 2' is 0, expected none, as "),
        (
            lambda: stylish.paint(labels, styles={"lable 0": 0}),
            r"^label is 'lable 0', expected .*did you mean 'label 0'",
        ),
        (lambda: stylish.paint(labels, styles={77: 0}), r"^style is given for instance 77, expected an id of the "),
        (lambda: stylish.paint(labels, styles={"label 0": [1.0]}), r"^a style's features is 1 numbers, expected 3; "),
        (lambda: stylish.paint(labels, photo=photo.resize((9, 9))), r"^style photo is 9x9, expected 32x64 \(height x "),
        (
            lambda: Model(file(STYLISH, encoder=False)).paint(labels, photo=photo),
            r"^style is a photo, expected numbers",
        ),
    ]:
        with pytest.raises(PinxitError, match=message):
            do()


PICTURES = dataclasses.replace(PLAIN, source="pictures", labels=0, input=Kind(3), output=Kind(3))


def test_pictures_are_translated_in_the_container_they_came_in() -> None:
    model = Model(file(PICTURES))
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8))
    made = model.translate(photo)
    assert (made.size, made.mode) == ((53, 37), "RGB")
    np.testing.assert_array_equal(np.asarray(made), model.translate(np.asarray(photo)))
    many = Model(
        file(dataclasses.replace(PICTURES, input=Kind(5, "uint16", 0, 65535), output=Kind(1, "float32", -3, 4)))
    )
    raster = np.random.default_rng(0).integers(0, 65536, (20, 30, 5)).astype(np.uint16)
    result = many.translate(raster)
    assert (result.dtype, result.shape) == (np.float32, (20, 30, 1))
    assert -3 <= result.min() < result.max() <= 4
    with pytest.raises(PinxitError, match=r"^what this model takes is pictures, expected label maps; use translate"):
        model.paint(np.zeros((8, 8), np.int64))
    bounded = Model(file(dataclasses.replace(PICTURES, instances=True)))
    assert bounded.translate(photo).size == (53, 37)
    assert len(model.norms()) == len(bounded.norms()) > 5
    running = dataclasses.replace(PICTURES, norm="batch", test_norm="running")
    assert Model(file(running)).norms() == []
    assert Model(file(dataclasses.replace(running, test_norm="picture"))).norms()


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    for c in (STYLISH, PICTURES):
        made = file(c)
        made.save(tmp_path / c.source)
        loaded = pinxit.load(tmp_path / c.source)
        assert loaded.config == c
        assert config_of(loaded.file) == c
    labels = patches(32, 64)
    assert same(pinxit.load(tmp_path / "labels").paint(labels, seed=1), Model(file(STYLISH)).paint(labels, seed=1))


def test_a_file_that_is_not_as_its_configuration_is_refused() -> None:
    made = file(PLAIN)
    with pytest.raises(PinxitError, match=r"^the model's configuration is with 'attention', expected "):
        config_of(dataclasses.replace(made, config={**made.config, "attention": True}))
    with pytest.raises(PinxitError, match=r"^the model's G is not as its configuration \(.*\), expected whole; .*$"):
        Model(dataclasses.replace(made, config={**made.config, "width": 5}))
