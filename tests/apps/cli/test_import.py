"""The authors' weights, imported and painted with from the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit import modelfile
from pinxit.data.labels import load_label_set
from pinxit.models.spade.config import PRESETS
from pinxit.models.spade.network import Generator
from pinxit.models.spade.weights import RELEASES, official_names

from .conftest import Pinxit, files_in, pixels

SYSTEM = "spade"


def opt_txt(options: Mapping[str, Any]) -> str:
    """Options in the form in which training there writes them."""
    lines = [f"{name:>25}: {value!s:<30}\t[default: other]" for name, value in sorted(options.items())]
    return "\n".join(["----------------- Options ---------------", *lines, "----------------- End -------------------"])


def spec_of(golden: Path) -> dict[str, Any]:
    return json.loads((golden / "spec.json").read_text(encoding="utf-8"))


@pytest.fixture
def release(golden: Path, tmp_path: Path) -> Path:
    """The golden's weights as a folder of the official code, with opt.txt beside them."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for file in golden.glob("latest_net_*.pth"):
        shutil.copy(file, folder)
    (folder / "opt.txt").write_text(opt_txt(spec_of(golden)["options"]), encoding="utf-8")
    (folder / "opt.pkl").write_bytes(b"never opened")
    return folder


@pytest.mark.golden_with("latest_net_G.pth")
def test_a_golden_paints_its_picture(
    release: Path, golden: Path, pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the rounding to 8 bits of what the authors' code gives for the same map."""
    monkeypatch.chdir(tmp_path)
    ran = pinxit("import", "spade", release, "--out", "model")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == f"imported spade: {tmp_path / 'model' / 'model.safetensors'}\n"
    options = spec_of(golden)["options"]
    with np.load(golden / "io.npz") as io:
        maps, instances = io["label"][:, 0], io["instance"][:, 0]
        expected = {"eval": io["out_eval"]}
        if options["use_vae"]:
            expected["z"] = io["out_z_direct"]
            np.save("z.npy", io["z_direct"][0])
            np.save("eval.npy", (io["mu"] + io["eps"] * np.exp(0.5 * io["logvar"]))[0])
    for number, (ids, objects) in enumerate(zip(maps, instances, strict=True)):
        ids = np.where(ids == options["label_nc"], 255, ids)
        Image.fromarray(ids.astype(np.uint8)).save(f"map{number}.png")
        Image.fromarray(objects.astype(np.uint16)).save(f"objects{number}.png")
        with_objects = [] if options["no_instance"] else ["--instances", f"objects{number}.png"]
        for name, pictures in expected.items():
            style = ["--style", f"{name}.npy"] if options["use_vae"] else []
            ran = pinxit("paint", "model", f"map{number}.png", *with_objects, *style, "--out", name)
            assert (ran.status, ran.err) == (0, "")
            theirs = np.round((pictures[number].transpose(1, 2, 0).astype(np.float64) + 1) * 127.5)
            difference = np.abs(pixels(Path(name, f"map{number}.png")).astype(int) - theirs)
            # A value that lies on the edge between two levels may fall to either side.
            assert difference.max() <= 1
            assert (difference > 0).mean() < 0.01


@pytest.mark.golden_with("latest_net_E.pth")
def test_files_and_folder_are_the_same_release(release: Path, pinxit: Pinxit, tmp_path: Path) -> None:
    command = ["import", "spade"]
    assert pinxit(*command, release, "--out", tmp_path / "a").status == 0
    files = [release / f"latest_net_{part}.pth" for part in "GE"]
    assert pinxit(*command, *files, "--out", tmp_path / "b").status == 0
    for part in "GE":
        (release / f"latest_net_{part}.pth").rename(release / f"30_net_{part}.pth")
    assert pinxit(*command, release, "--epoch", 30, "--out", tmp_path / "c").status == 0
    models = [modelfile.read(tmp_path / name) for name in "abc"]
    for model in models[1:]:
        assert model.config == models[0].config
        assert model.tensors.keys() == models[0].tensors.keys()
        assert all(torch.equal(model.tensors[k], models[0].tensors[k]) for k in model.tensors)
    ran = pinxit("info", tmp_path / "a")
    assert ran.status == 0
    assert "CC BY-NC-SA 4.0" in ran.out


@pytest.mark.golden_with("latest_net_E.pth")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--label-set camvid", ("camvid", "11 labels", "as the weights")),
        ("--preset coco", ("fc.weight", "latest_net_G.pth", "--preset")),
        ("--epoch 30", ("30_net_G.pth' is not there",)),
    ],
)
def test_a_release_that_is_taken_for_another(
    release: Path, pinxit: Pinxit, tmp_path: Path, options: str, said: tuple[str, ...]
) -> None:
    before = files_in(tmp_path)
    ran = pinxit("import", "spade", release, "--out", tmp_path / "model", *options.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert [words for words in said if words not in ran.err] == [], ran.err
    assert files_in(tmp_path) == before


CHANNELS = {"coco": 182 + 2, "ade20k": 150 + 1, "cityscapes": 35 + 1}
"""Of a one-hot map: labels, 'unknown', boundary."""


@pytest.mark.parametrize("preset", RELEASES)
def test_the_released_networks_have_the_shapes_of_the_releases(preset: str) -> None:
    """On the meta device, without a byte of weights: 64 filters at full width, 128 between map and gamma."""
    with torch.device("meta"):
        G = Generator(PRESETS[preset].network)
    state = G.state_dict()
    shapes = {official: tuple(state[ours].shape) for ours, official in official_names(G).items()}
    channels = CHANNELS[preset]
    assert shapes["fc.weight"] == (1024, channels, 3, 3)
    assert shapes["conv_img.weight"] == (3, 64, 3, 3)
    assert shapes["up_0.conv_s.weight_orig"] == (512, 1024, 1, 1)
    assert shapes["up_3.norm_1.mlp_gamma.weight"] == (64, 128, 3, 3)
    assert {shape for name, shape in shapes.items() if name.endswith("mlp_shared.0.weight")} == {(128, channels, 3, 3)}


@pytest.mark.slow
def test_a_release_of_full_width_is_imported_to_the_bit(pinxit: Pinxit, tmp_path: Path) -> None:
    """Random weights of the released COCO-Stuff network's shapes under the authors' names, some 400 MB."""
    G = Generator(PRESETS["coco"].network)
    ours = G.state_dict()
    torch.save({official: ours[name] for name, official in official_names(G).items()}, tmp_path / "latest_net_G.pth")
    ran = pinxit("import", "spade", tmp_path, "--preset", "coco", "--out", tmp_path / "model")
    assert (ran.status, ran.err) == (0, "")
    file = modelfile.read(tmp_path / "model")
    assert file.tensors.keys() == {f"G.{name}" for name in ours}
    assert all(torch.equal(file.tensors[f"G.{name}"], value) for name, value in ours.items())
    assert file.label_set == load_label_set("coco_stuff").to_json()
    shutil.rmtree(tmp_path)  # pytest keeps the folders of three sessions
