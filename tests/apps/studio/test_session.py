"""A session paints what the model alone would, and computes nothing twice."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.apps.studio import session as module
from pinxit.apps.studio.refusals import Refused
from pinxit.apps.studio.session import Recent, Session, photo_of
from pinxit.data.kinds import Kind
from pinxit.data.labels import numbered
from pinxit.errors import PinxitError
from pinxit.modelfile import ModelFile
from pinxit.models.pix2pix.config import Network as Pix2Pix
from pinxit.models.pix2pix.generate import load as load_pix2pix
from pinxit.models.pix2pix.network import generator as pix2pix_generator
from pinxit.models.pix2pixhd import config as hd
from pinxit.models.pix2pixhd import generate as hd_generate
from pinxit.models.pix2pixhd import network as hd_network
from pinxit.models.spade.config import Network
from pinxit.models.spade.generate import Model
from pinxit.models.spade.network import Encoder, Generator

VAE = Network(labels=3, size=(64, 64), width=2, hidden=4, vae=True, z_dim=5, unknown=True)
PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


def spade(encoder: bool = True, **change: object) -> Model:
    torch.manual_seed(0)
    c = dataclasses.replace(VAE, **change)  # pyright: ignore[reportArgumentType]
    tensors = {f"G.{k}": v for k, v in Generator(c).state_dict().items()}
    if c.vae and encoder:
        tensors |= {f"E.{k}": v for k, v in Encoder(c).state_dict().items()}
    return Model(ModelFile("spade", dataclasses.asdict(c), tensors, numbered(3, (255,)).to_json()))


def pix2pixhd(encoder: bool = True, **change: object) -> hd_generate.Model:
    torch.manual_seed(0)
    c = hd.Network(labels=3, size=(32, 32), width=2, downsamplings=2, blocks=1, encoder_width=2, clusters=4)
    c = dataclasses.replace(c, **change)  # pyright: ignore[reportArgumentType]
    tensors = {f"G.{k}": v for k, v in hd_network.Generator(c).state_dict().items()}
    if c.features != "none":
        tensors["styles.clusters"] = torch.randn(3, 4, c.feature_channels)
        tensors["styles.counts"] = torch.tensor([4, 4, 4])
        if encoder:
            tensors |= {f"E.{k}": v for k, v in hd_network.Encoder(c).state_dict().items()}
    return hd_generate.Model(ModelFile("pix2pixhd", dataclasses.asdict(c), tensors, numbered(3).to_json()))


def patches(height: int = 64, width: int = 64, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 3, (-(-height // 8), -(-width // 8)))
    return np.kron(coarse, np.ones((8, 8), np.int64))[:height, :width]


def same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and a.tobytes() == b.tobytes()


def look_up(id: str) -> np.ndarray:
    if id != "photo":
        raise Refused(404, "no-such-picture", "no")
    return PHOTO


def counted(session: Session, name: str) -> list[int]:
    """Grows by one with each call of the model's method `name`."""
    calls: list[int] = []
    plain: Callable = getattr(session.model, name)

    def call(*args: object, **kwargs: object) -> object:
        calls.append(1)
        return plain(*args, **kwargs)

    setattr(session.model, name, call)
    return calls


def test_it_paints_what_the_model_paints() -> None:
    model = spade()
    session = Session(model, look_up)
    photo = Image.fromarray(PHOTO)
    a, b = model.style(3), model.style(photo)
    half = a * np.float32(0.5) + b * np.float32(0.5)
    styles = [
        (None, 0),
        ({"seed": 0}, 0),
        ({"seed": 3}, 3),
        ({"picture": "photo"}, photo),
        ({"between": [{"seed": 3}, {"picture": "photo"}], "at": 0.5}, half),
        ({"between": [{"seed": 3}, {"seed": 4}], "at": 0}, 3),
        ({"between": [{"seed": 3}, {"seed": 4}], "at": 1.0}, 4),
        ({"between": [{"between": [{"seed": 3}, {"picture": "photo"}], "at": 0.5}, {"seed": 9}], "at": 0}, half),
    ]
    for map in (patches(), patches(60, 50, 1)):
        canvas = session.set_canvas(map)
        for spec, style in styles:
            assert same(session.paint(canvas, spec), model.paint(map, style)), spec
    assert not same(session.paint(canvas, {"seed": 3}), session.paint(canvas, {"seed": 4}))


def test_between_goes_in_the_steps_of_the_models_own() -> None:
    model = spade()
    session = Session(model, look_up)
    canvas = session.set_canvas(patches())
    for at, z in zip((0, 0.25, 0.5, 0.75, 1), model.between(3, 4, 5), strict=True):
        style = {"between": [{"seed": 3}, {"seed": 4}], "at": at}
        assert same(session.paint(canvas, style), model.paint(patches(), z))


def test_instances_are_part_of_a_canvas() -> None:
    model = spade(instances=True)
    session = Session(model, look_up)
    stripes = np.tile(np.arange(64) // 4, (64, 1))
    without, with_stripes = session.set_canvas(patches()), session.set_canvas(patches(), stripes)
    assert without != with_stripes
    assert same(session.paint(with_stripes), model.paint(patches(), instances=stripes))
    assert same(session.paint(without), model.paint(patches()))
    assert not same(session.paint(without), session.paint(with_stripes))
    with pytest.raises(PinxitError, match=r"^instance map is "):
        session.set_canvas(patches(), stripes[1:])


def test_nothing_is_computed_twice() -> None:
    session = Session(spade(), look_up)
    prepared, painted, styled = (counted(session, name) for name in ("prepared", "paint_on", "style"))
    canvas = session.set_canvas(patches())
    assert session.set_canvas(patches()) == canvas
    assert (len(prepared), len(painted)) == (0, 0)
    first = session.paint(canvas, {"picture": "photo"})
    assert (len(prepared), len(painted), len(styled)) == (1, 1, 2)  # paint_on looks at the z once more
    assert session.paint(canvas, {"picture": "photo"}) is first
    assert (len(prepared), len(painted), len(styled)) == (1, 1, 2)
    session.paint(canvas, {"seed": 1})
    assert (len(prepared), len(painted), len(styled)) == (1, 2, 4)
    other = session.set_canvas(patches(seed=1))
    session.paint(other, {"picture": "photo"})
    assert (len(prepared), len(painted), len(styled)) == (2, 3, 5)  # the encoder is not asked again
    assert session.paint(session.set_canvas(patches()), {"picture": "photo"}) is first  # undo
    assert (len(prepared), len(painted), len(styled)) == (2, 3, 5)


def test_the_last_canvases_are_kept_and_older_ones_are_set_again() -> None:
    session = Session(spade(), look_up)
    keys = [session.set_canvas(patches(seed=seed)) for seed in range(4)]
    assert len(set(keys)) == 4
    with pytest.raises(Refused, match=r"^the canvas is no longer kept; set it again") as refused:
        session.paint(keys[0])
    assert (refused.value.status, refused.value.code) == (409, "no-such-canvas")
    for key in keys[1:]:
        session.paint(key)
    session.set_canvas(patches(seed=1))  # used again
    session.set_canvas(patches(seed=9))
    session.paint(keys[1])
    with pytest.raises(Refused):
        session.paint(keys[2])


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = spade()
    one = max(model.bytes_prepared(model.prepared(model.canvas(patches(seed=seed)))) for seed in range(6)) + 64 * 64 * 8
    monkeypatch.setattr(module, "MOST_CANVAS_BYTES", 2 * one)
    monkeypatch.setattr(module, "MOST_PICTURE_BYTES", 5 * 4 * 64 * 64)
    monkeypatch.setattr(module, "MOST_STYLES", 10)
    session = Session(model, look_up)
    for seed in range(20):
        key = session.set_canvas(patches(seed=seed % 6))
        session.paint(key, {"seed": seed})
    assert len(session._canvases.values) == 2
    assert len(session._finished.values) == 5
    assert len(session._styles.values) == 10


def test_a_map_too_large_to_be_prepared_is_painted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = spade()
    monkeypatch.setattr(module, "MOST_CANVAS_BYTES", model.bytes_prepared(model.prepared(model.canvas(patches()))))
    session = Session(model, look_up)
    key = session.set_canvas(patches())
    assert same(session.paint(key, {"seed": 1}), model.paint(patches(), 1))
    ((canvas, _),) = session._canvases.values.values()
    assert canvas.tables is None


def test_bad_maps_are_refused() -> None:
    session = Session(spade(), look_up)
    for map, message in [
        (np.full((8, 8), 7), r"^label map is with index 7"),
        (np.zeros((8, 8, 3), np.uint8), r"^label map is uint8 of shape"),
        (np.zeros((0, 8), np.uint8), r"^label map is uint8 of shape"),
    ]:
        with pytest.raises(PinxitError, match=message):
            session.set_canvas(map)
    assert len(session._canvases.values) == 0


NESTED = {"seed": 1}
for _ in range(5):
    NESTED = {"between": [NESTED, {"seed": 1}], "at": 0.5}


@pytest.mark.parametrize(
    "style",
    [
        {},
        {"seed": -1},
        {"seed": 1 << 53},
        {"seed": True},
        {"seed": 1.0},
        {"seed": "1"},
        {"seed": None},
        {"seed": 1, "picture": "photo"},
        {"picture": 1},
        {"picture": None},
        {"between": [{"seed": 1}], "at": 0.5},
        {"between": [{"seed": 1}, None], "at": 0.5},
        {"between": [{"seed": 1}, {"seed": 2}]},
        {"between": [{"seed": 1}, {"seed": 2}], "at": 1.5},
        {"between": [{"seed": 1}, {"seed": 2}], "at": -0.1},
        {"between": [{"seed": 1}, {"seed": 2}], "at": float("nan")},
        {"between": [{"seed": 1}, {"seed": 2}], "at": True},
        {"between": [{"seed": 1}, {"seed": 2}], "at": "0.5"},
        {"between": {"seed": 1}, "at": 0.5},
        NESTED,
        [],
        "seed:1",
        7,
    ],
    ids=str,
)
def test_malformed_styles_are_refused(style) -> None:
    session = Session(spade(), look_up)
    canvas = session.set_canvas(patches())
    with pytest.raises(Refused, match=r"^style is ") as refused:
        session.paint(canvas, style)
    assert (refused.value.status, refused.value.code) == (422, "bad-field")


def test_four_levels_of_styles_between_styles_are_enough_for_anybody() -> None:
    session = Session(spade(), look_up)
    session.paint(session.set_canvas(patches()), NESTED["between"][0])  # type: ignore[index]


def test_styles_that_a_model_cannot_have_are_refused_by_name() -> None:
    def code(model: object, style: dict) -> tuple[int, str]:
        session = Session(model, look_up)
        canvas = session.set_canvas(patches(32, 32))
        session.paint(canvas)
        with pytest.raises(Refused) as refused:
            session.paint(canvas, style)
        return refused.value.status, refused.value.code

    seed, photo = {"seed": 1}, {"picture": "photo"}
    mixed = {"between": [seed, photo], "at": 0.5}
    for style in (seed, photo, mixed):
        assert code(spade(vae=False), style) == (400, "no-style")
        assert code(pix2pixhd(), style) == (400, "no-style")
    for style in (photo, mixed):
        assert code(spade(encoder=False), style) == (400, "no-style-encoder")
    assert code(pix2pixhd(features="label", encoder=False), photo) == (400, "no-style-encoder")
    assert code(pix2pixhd(features="label"), mixed) == (400, "no-style-between")
    assert code(spade(), {"picture": "other"}) == (404, "no-such-picture")


def test_pix2pixhd_paints_by_seed_and_photo_of_any_size() -> None:
    model = pix2pixhd(features="label")
    session = Session(model, look_up)
    map = patches(40, 36)
    canvas = session.set_canvas(map)
    assert same(session.paint(canvas), model.paint(map))
    assert same(session.paint(canvas, {"seed": 5}), model.paint(map, seed=5))
    assert any(not same(session.paint(canvas, {"seed": seed}), session.paint(canvas)) for seed in range(1, 9))
    photo = Image.fromarray(PHOTO).resize((36, 40), Image.Resampling.LANCZOS)
    assert same(session.paint(canvas, {"picture": "photo"}), model.paint(map, photo=photo))
    map[:] = 9
    assert same(session.paint(canvas, {"seed": 6}), model.paint(patches(40, 36), seed=6))
    with pytest.raises(PinxitError, match="instance map is"):
        session.set_canvas(patches(), patches(8, 8))
    with pytest.raises(PinxitError, match="label map is with index 9"):
        session.paint(session.set_canvas(map))


def test_a_model_without_label_maps_has_no_session() -> None:
    c = Pix2Pix(depth=5, width=2, size=(32, 32), test_norm="running", input=Kind(), output=Kind())
    tensors = {f"G.{k}": v for k, v in pix2pix_generator(c).state_dict().items()}
    translating = load_pix2pix(ModelFile("pix2pix", dataclasses.asdict(c), tensors))
    of_pictures = pix2pixhd(source="pictures", labels=0, input=Kind(), output=Kind())
    for model in (translating, of_pictures):
        with pytest.raises(Refused, match=r"^this model paints no label maps; ") as refused:
            Session(model, look_up)
        assert (refused.value.status, refused.value.code) == (400, "no-maps")


def test_photos_of_any_kind() -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(np.asarray(photo_of(grey))[..., 2], grey)
    assert np.array_equal(np.asarray(photo_of(grey.astype(np.uint16) * 257))[..., 2], grey)
    clear = np.zeros((2, 2, 4), np.uint8)
    clear[0, 0] = (1, 2, 3, 255)
    assert np.asarray(photo_of(clear))[:, :, 0].tolist() == [[1, 255], [255, 255]]


def test_many_threads_get_what_they_asked_for() -> None:
    model = spade()
    session = Session(model, look_up)
    wanted = {(map, seed): model.paint(patches(seed=map), seed).tobytes() for map in range(3) for seed in range(3)}
    failures: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(9):
                map, seed = (number + turn) % 3, turn // 3
                picture = session.paint(session.set_canvas(patches(seed=map)), {"seed": seed})
                assert picture.tobytes() == wanted[map, seed]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_recent_values() -> None:
    recent: Recent[str] = Recent(10, len, 3)
    for key, value in [("a", "aaaa"), ("b", "bbbb"), ("a", "aaaaa"), ("c", "c")]:
        recent.put(key, value)
    assert (list(recent.values), recent.total) == (["b", "a", "c"], 10)
    assert recent.get("b") == "bbbb"
    recent.put("d", "")
    assert (list(recent.values), recent.total) == (["c", "b", "d"], 5)
    recent.put("e", "e" * 11)
    assert (list(recent.values), recent.total) == (["e"], 11)
    assert recent.get("a") is None
