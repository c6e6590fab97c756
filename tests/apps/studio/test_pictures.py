"""The store of pictures: exact, by content, bounded, and deaf to ids that are none."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.apps.studio.pictures import OVERHEAD, Pictures
from pinxit.apps.studio.refusals import Refused
from pinxit.errors import PinxitError

KINDS = [((5, 7), np.uint8), ((5, 7, 3), np.uint8), ((5, 7, 4), np.uint8), ((5, 7), np.uint16), ((1, 1), np.uint8)]


def noise(shape: tuple[int, ...] = (16, 16, 3), dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    return Pictures(tmp_path / "pictures")


@pytest.mark.parametrize(("shape", "dtype"), KINDS)
def test_a_picture_comes_back_exactly_from_memory_and_from_disk(pictures: Pictures, shape, dtype) -> None:
    array = noise(shape, dtype)
    id = pictures.add(array)
    assert len(id) == 32
    path = pictures.keep(id)
    assert path == pictures.folder / f"{id}.png"
    assert path.read_bytes() == pictures.png(id)
    for store in (pictures, Pictures(pictures.folder)):
        found = store.get(id)
        assert found.dtype == dtype
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, array)
        assert not found.flags.writeable
        assert Pictures(pictures.folder).png(id) == pictures.png(id)


def test_ids_are_of_the_content(pictures: Pictures) -> None:
    array = noise((8, 6))
    id = pictures.add(array)
    assert pictures.add(np.asfortranarray(array)) == id
    assert pictures.add(np.pad(array, 3)[3:-3, 3:-3]) == id
    others = [array.T, array.reshape(6, 8), array.astype(np.uint16), array + np.uint8(1), np.dstack([array] * 3)]
    ids = {pictures.add(other) for other in others}
    assert len(ids | {id}) == 6
    assert pictures.add(array.astype(">u2")) == pictures.add(array.astype("<u2"))


def test_who_changes_his_array_changes_nothing_here(pictures: Pictures) -> None:
    array = noise()
    id = pictures.add(array)
    before = array.copy()
    array[:] = 0
    np.testing.assert_array_equal(pictures.get(id), before)
    with pytest.raises(ValueError, match="read-only"):
        pictures.get(id)[:] = 0


@pytest.mark.parametrize(
    "array",
    [noise((4, 4, 2)), noise((4, 4, 1)), noise((4, 4, 3), np.uint16), np.zeros((4, 4)), noise((0, 4)), noise((4,))],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_what_is_no_picture_is_refused(pictures: Pictures, array: np.ndarray) -> None:
    with pytest.raises(PinxitError, match=r"^picture is \w+ of shape \[.*\], expected uint8 "):
        pictures.add(array)


@pytest.mark.parametrize(
    "id",
    [
        "",
        "0" * 31,
        "0" * 33,
        "A" * 32,
        "../" + "0" * 29,
        "0" * 32 + "\n",
        "/etc/passwd",
        "%2e%2e%2fx",
        "\x00" * 32,
        "\uff10" * 32,  # digits, but no ASCII ones
        None,
        7,
    ],
)
def test_what_is_no_id_never_becomes_a_path(pictures: Pictures, id, monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("the file system was asked")

    for name in ("open", "stat", "unlink", "mkdir", "is_file", "exists"):
        monkeypatch.setattr(Path, name, touched)
    for verb in (pictures.get, pictures.png, pictures.keep, pictures.forget, lambda id: pictures.note_recipe(id, {})):
        with pytest.raises(Refused) as refused:
            verb(id)
        assert (refused.value.status, refused.value.code) == (404, "no-such-picture")


def test_a_picture_that_is_not_there(pictures: Pictures) -> None:
    for verb in (pictures.get, pictures.png, pictures.keep):
        with pytest.raises(Refused, match=r"^picture 0{32} is not there") as refused:
            verb("0" * 32)
        assert refused.value.status == 404
    pictures.forget("0" * 32)
    assert pictures.recipe("0" * 32) is None
    assert not pictures.folder.exists()


def test_memory_is_bounded_and_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    one = 16 * 16 * 3 + OVERHEAD
    pictures = Pictures(tmp_path, 3 * one)
    ids = [pictures.add(noise(seed=seed)) for seed in range(3)]
    pictures.get(ids[0])
    pictures.add(noise(seed=3))
    with pytest.raises(Refused):
        pictures.get(ids[1])
    np.testing.assert_array_equal(pictures.get(ids[0]), noise(seed=0))
    for seed in range(1000):
        pictures.add(noise(seed=seed))
    assert len(pictures._held) == 3
    assert pictures._bytes == sum(held.bytes for held in pictures._held.values()) == 3 * one
    large = pictures.add(noise((100, 100, 3)))
    assert list(pictures._held) == [large]  # the last one always, whatever its size
    pictures.get(large)


def test_pngs_and_recipes_count(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 50_000)
    for seed in range(20):
        id = pictures.add(noise(seed=seed))
        pictures.png(id)
        pictures.png(id)
        pictures.note_recipe(id, {"text": "x" * 3000})
        pictures.note_recipe(id, {"text": "y" * 2000})
        assert pictures._bytes == sum(held.bytes for held in pictures._held.values()) <= 50_000
    assert 5 < len(pictures._held) < 20


def test_a_kept_picture_outlives_memory_and_a_forgotten_one_does_not(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 0)
    id = pictures.add(noise())
    pictures.keep(id)
    pictures.keep(id)
    pictures.add(noise(seed=1))
    np.testing.assert_array_equal(pictures.get(id), noise())
    pictures.add(noise(seed=1))
    pictures.forget(id)
    pictures.forget(id)
    with pytest.raises(Refused):
        pictures.get(id)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_is_a_copy_and_goes_with_its_picture(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path, 5000)
    id = pictures.add(noise())
    assert pictures.recipe(id) is None
    recipe = {"kind": "paint", "style": {"seed": 3}}
    pictures.note_recipe(id, recipe)
    recipe["style"]["seed"] = 4  # type: ignore[index]
    assert pictures.recipe(id) == {"kind": "paint", "style": {"seed": 3}}
    pictures.add(noise())  # the same again
    assert pictures.recipe(id) == {"kind": "paint", "style": {"seed": 3}}
    pictures.add(noise((40, 40, 3)))
    assert pictures.recipe(id) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "other", "text", "larger"])
def test_a_damaged_file_is_as_if_it_were_not_there(tmp_path: Path, damage: str) -> None:
    pictures = Pictures(tmp_path)
    id = pictures.add(noise())
    path = pictures.keep(id)
    whole = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "empty":
            path.write_bytes(b"")
        case "other":
            Image.fromarray(noise(seed=1)).save(path)
        case "text":
            path.write_text("<html>")
        case "larger":  # the header alone says so: 60,000 x 60,000
            path.write_bytes(whole[:16] + (60_000).to_bytes(4, "big") * 2 + whole[24:])
    with pytest.raises(Refused) as refused:
        Pictures(tmp_path).get(id)
    assert refused.value.status == 404
    np.testing.assert_array_equal(pictures.get(id), noise())  # still in memory


def test_a_full_disk_is_told_and_leaves_nothing(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    id = pictures.add(noise())

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(Refused, match="No space left on device") as refused:
            pictures.keep(id)
    assert (refused.value.status, refused.value.code) == (409, "disk-full")
    assert not pictures.folder.exists()
    assert pictures.keep(id).is_file()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pictures = Pictures(tmp_path / "file" / "pictures")
    id = pictures.add(noise())
    with pytest.raises(Refused) as refused:
        pictures.keep(id)
    assert (refused.value.status, refused.value.code) == (409, "disk-full")
    with pytest.raises(Refused):
        pictures.get("0" * 32)


@pytest.mark.parametrize("most", [1 << 20, 8000])
def test_many_threads(tmp_path: Path, most: int) -> None:
    pictures = Pictures(tmp_path)
    if most == 8000:  # where others push a picture out of memory, it must be on disk
        for seed in range(12):
            pictures.keep(pictures.add(noise(seed=seed)))
        pictures.most_bytes = most
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(60):
                array = noise(seed=(number + turn) % 12)
                id = pictures.add(array)
                pictures.keep(id)
                np.testing.assert_array_equal(pictures.get(id), array)
                pictures.png(id)
                pictures.note_recipe(id, {"turn": turn})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert pictures._bytes == sum(held.bytes for held in pictures._held.values()) <= most
    assert len(list(tmp_path.iterdir())) == 12
