"""Painting: any size, every kind of style, and the same picture for the same map whatever was painted before."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pinxit
from pinxit.data.images import to_tensor
from pinxit.data.labels import numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.spade.config import Network
from pinxit.models.spade.generate import Model, network_of, read_style
from pinxit.models.spade.network import Encoder, Generator

VAE = Network(labels=3, size=(32, 64), width=2, hidden=4, vae=True, z_dim=5)
PLAIN = dataclasses.replace(VAE, vae=False)


def file(c: Network, encoder: bool = True) -> ModelFile:
    """A model file of random weights that has seen a few batches, so that running statistics are not a fresh net's."""
    torch.manual_seed(0)
    G, E = Generator(c), Encoder(c)
    with torch.no_grad():
        for seed in range(10):
            labels = torch.from_numpy(np.stack([patches(c, 32, 64, 2 * seed), patches(c, 32, 64, 2 * seed + 1)]))
            G(labels, labels, torch.randn(2, c.z_dim))
            E(torch.rand(2, 3, 32, 64) * 2 - 1)
    tensors = {f"G.{k}": v for k, v in G.state_dict().items()}
    if encoder and c.vae:
        tensors |= {f"E.{k}": v for k, v in E.state_dict().items()}
    return ModelFile("spade", dataclasses.asdict(c), tensors, numbered(c.labels).to_json())


def patches(c: Network, height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, c.labels + c.unknown, (-(-height // 8), -(-width // 8)))
    return np.kron(coarse, np.ones((8, 8), np.int64))[:height, :width]


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and a.tobytes() == b.tobytes()


@pytest.mark.parametrize("norm", ["sync_batch", "batch", "instance"])
@pytest.mark.parametrize("norm_at_test", ["running", "batch"])
def test_the_same_map_gives_the_same_picture_alone_and_in_any_order(norm, norm_at_test) -> None:
    maps = [patches(VAE, 32, 64, seed) for seed in range(3)]
    made = file(dataclasses.replace(VAE, norm=norm, norm_at_test=norm_at_test))
    model = Model(made)
    forward = [model.paint(m, style=1) for m in maps]
    backward = [model.paint(m, style=1) for m in maps[::-1]][::-1]
    alone = [Model(made).paint(m, style=1) for m in maps]
    assert all(same(a, b) and same(a, c) for a, b, c in zip(forward, backward, alone, strict=True))
    assert not same(forward[0], forward[1])


@pytest.mark.parametrize("c", [VAE, PLAIN], ids=["vae", "no vae"])
@pytest.mark.parametrize("size", [(32, 64), (37, 53), (33, 95), (48, 44)])
def test_any_size_comes_back_as_it_went_in_painted_as_if_its_edge_went_on(c: Network, size: tuple[int, int]) -> None:
    model = Model(file(c))
    height, width = size
    labels = patches(c, *size)
    picture = model.paint(labels)
    assert picture.mode == "RGB"
    assert picture.size == (width, height)
    padded = np.pad(labels, ((0, -height % 32), (0, -width % 32)), mode="edge")
    with warnings.catch_warnings(action="ignore"):  # of the size, which is no longer near the trained one
        whole = model.paint(padded)
    assert same(picture, whole.crop((0, 0, width, height)))


@pytest.mark.parametrize("change", [{}, {"norm": "instance"}, {"norm_at_test": "batch"}, {"instances": True}])
def test_one_pixel_is_a_size_too(change) -> None:
    model = Model(file(dataclasses.replace(VAE, **change)))
    for size in [(1, 1), (20, 32), (32, 20)]:
        with pytest.warns(UserWarning, match=f"the map is {size[0]}x{size[1]} and the model was trained at 32x64"):
            assert model.paint(np.zeros(size, np.int64)).size == size[::-1]


@pytest.mark.parametrize(("size", "far"), [((32, 64), 0), ((48, 96), 0), ((22, 43), 0), ((49, 64), 1), ((32, 40), 1)])
def test_a_size_far_from_the_trained_one_draws_a_warning(size: tuple[int, int], far: int) -> None:
    model = Model(file(VAE))
    with pytest.warns() if far else _nothing() as caught:
        model.paint(patches(VAE, *size))
    if far:
        assert len(caught) == 1
        assert "may look washed out" in str(caught[0].message)
        assert caught[0].filename == __file__  # points at the caller, not at the library


class _nothing:
    """Warnings are errors here, so that none is drawn needs no more than this."""

    def __enter__(self) -> list:
        return []

    def __exit__(self, *_: object) -> None: ...


def test_styles_are_a_seed_a_photo_or_a_z() -> None:
    model = Model(file(VAE))
    labels = patches(VAE, 32, 64)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    by_seed = model.paint(labels, style=7)
    assert same(by_seed, model.paint(labels, style=model.style(7)))
    assert not same(by_seed, model.paint(labels, style=8))
    assert same(model.paint(labels), model.paint(labels, style=0))

    z = model.style(photo)
    assert z.shape == (5,)
    assert z.dtype == np.float32
    assert model.E is not None
    np.testing.assert_array_equal(z, model.E(to_tensor(photo)[None])[0][0].numpy())
    assert same(model.paint(labels, style=photo), model.paint(labels, style=z))
    np.testing.assert_array_equal(model.style(z.astype(np.float64)), z)

    many = np.stack([model.style(seed) for seed in range(2000)])
    assert np.abs(many.mean(0)).max() < 0.1
    assert np.abs(many.std(0) - 1).max() < 0.1


def test_variations_are_the_seeds_from_one_on() -> None:
    model = Model(file(VAE))
    labels = patches(VAE, 32, 64)
    pictures = model.variations(labels, 3, seed=5)
    assert all(same(p, model.paint(labels, style=5 + i)) for i, p in enumerate(pictures))


def test_between_two_styles_lie_equal_steps_and_both_ends() -> None:
    model = Model(file(VAE))
    for last in range(1, 20):
        styles = model.between(0, last, 5)
        np.testing.assert_array_equal(styles[0], model.style(0))
        np.testing.assert_array_equal(styles[-1], model.style(last))
        np.testing.assert_allclose(np.diff(styles, axis=0), np.tile((styles[-1] - styles[0]) / 4, (4, 1)), atol=1e-6)
        assert all(z.dtype == np.float32 for z in styles)


def test_each_region_is_an_instance_where_no_instances_are_given() -> None:
    c = dataclasses.replace(VAE, instances=True)
    model = Model(file(c))
    labels = patches(c, 32, 64)
    assert same(model.paint(labels), model.paint(labels, instances=labels))
    stripes = labels + 10 * (np.arange(64) // 4)[None]
    assert not same(model.paint(labels), model.paint(labels, instances=stripes))
    # Only where ids differ matters, not which they are.
    assert same(model.paint(labels, instances=stripes), model.paint(labels, instances=70_000 - stripes))


def test_unknown_pixels_need_a_channel() -> None:
    labels = patches(VAE, 32, 64)
    labels[0, 0] = 3
    assert Model(file(dataclasses.replace(VAE, unknown=True))).paint(labels).size == (64, 32)
    with pytest.raises(
        PinxitError, match=r"^label map is with unknown pixels, expected 0\.\.2; paint them with a label"
    ):
        Model(file(VAE)).paint(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((32, 64), 5), r"^label map is with index 5, expected 0\.\.2 or 3 \(unknown\); "),
        (np.full((32, 64), -1), r"^label map is with index -1, expected "),
        (np.zeros((32, 64), np.float32), r"^label map is float32 of shape \(32, 64\), expected integers \[H, W\]; "),
        (np.zeros((32, 64, 3), np.uint8), r"^label map is uint8 of shape \(32, 64, 3\), expected "),
        (np.zeros((0, 64), np.uint8), r"^label map is uint8 of shape \(0, 64\), expected "),
    ],
)
def test_a_bad_map_is_refused(labels: np.ndarray, message: str) -> None:
    with pytest.raises(PinxitError, match=message):
        Model(file(dataclasses.replace(VAE, unknown=True))).paint(labels)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64])
def test_a_map_may_be_of_any_integers(kind: type) -> None:
    model = Model(file(VAE))
    labels = patches(VAE, 32, 64)
    assert same(model.paint(labels), model.paint(labels.astype(kind)))


def test_other_bad_input_is_refused() -> None:
    labels = patches(VAE, 32, 64)
    with pytest.raises(PinxitError, match=r"^style is given, expected none"):
        Model(file(PLAIN)).style(3)
    with pytest.raises(PinxitError, match=r"^style is a picture, expected a seed or a z; .*without its encoder$"):
        Model(file(VAE, encoder=False)).paint(labels, style=Image.new("RGB", (8, 8)))
    with pytest.raises(PinxitError, match=r"^style z is of shape \(4,\), expected \(5,\); "):
        Model(file(VAE)).paint(labels, style=np.zeros(4, np.float32))
    with pytest.raises(PinxitError, match=r"^instance map is \(32, 63\), expected \(32, 64\)"):
        Model(file(dataclasses.replace(VAE, instances=True))).paint(labels, instances=labels[:, :-1])


def test_a_model_without_its_encoder_still_paints_by_seed() -> None:
    labels = patches(VAE, 32, 64)
    assert same(Model(file(VAE, encoder=False)).paint(labels, 4), Model(file(VAE)).paint(labels, 4))


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    made = file(VAE)
    made.save(tmp_path)
    loaded = pinxit.load(tmp_path)
    labels = patches(VAE, 32, 64)
    assert loaded.network == VAE
    assert loaded.label_set == numbered(3)
    assert same(loaded.paint(labels, 1), Model(made).paint(labels, 1))


def test_a_file_that_is_not_as_its_configuration_is_refused() -> None:
    made = file(VAE)
    later = dataclasses.replace(made, config={**made.config, "attention": True})
    with pytest.raises(PinxitError, match=r"^the model's configuration is with 'attention', expected "):
        network_of(later)
    for config, tensors in [
        ({**made.config, "width": 4}, made.tensors),
        (made.config, {k: v for k, v in made.tensors.items() if k != "G.first.bias"}),
        (made.config, {**made.tensors, "G.more": torch.zeros(1)}),
    ]:
        with pytest.raises(
            PinxitError, match=r"^the model's G is not as its configuration \(.*\), expected whole; .*$"
        ):
            Model(dataclasses.replace(made, config=config, tensors=tensors))


def test_styles_as_they_are_written(tmp_path: Path) -> None:
    assert read_style("7") == read_style("seed:7") == 7
    z = np.arange(5, dtype=np.float32)
    np.save(tmp_path / "z.npy", z)
    np.testing.assert_array_equal(read_style(str(tmp_path / "z.npy")), z)
    Image.new("RGB", (9, 5), (1, 2, 3)).save(tmp_path / "photo.png")
    picture = read_style(str(tmp_path / "photo.png"))
    assert isinstance(picture, Image.Image)
    assert picture.size == (9, 5)

    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "z.npy").read_bytes()[:-3])
    (tmp_path / "empty.npy").touch()
    (tmp_path / "cut.png").write_bytes((tmp_path / "photo.png").read_bytes()[:30])
    for name in ("pickled.npy", "cut.npy", "empty.npy", "cut.png", "nowhere.png", "seed:x", "-1", ""):
        path = str(tmp_path / name) if "." in name else name
        with pytest.raises(PinxitError):
            read_style(path)
