"""`pinxit export`: the file's pictures are the model's, its metadata, and what cannot be exported."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pinxit as pinxit_package
from pinxit.apps.cli import export, export_onnx
from pinxit.data.kinds import Kind
from pinxit.modelfile import ModelFile
from pinxit.models.cyclegan import config as cyclegan
from pinxit.models.cyclegan.network import generator as cyclegan_generator
from pinxit.models.pix2pix import config as pix2pix
from pinxit.models.pix2pix.network import generator as pix2pix_generator
from pinxit.models.pix2pixhd import config as pix2pixhd
from pinxit.models.pix2pixhd import network as pix2pixhd_network
from pinxit.models.spade import config as spade
from pinxit.models.spade.network import Generator
from pinxit.nn.dropout import Dropout

from .conftest import LABELS, Pinxit, files_in

ABSENT = [name for name in export.NEEDED if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(ABSENT), reason=f'no {", ".join(ABSENT)}: pip install "pinxit[onnx]"')

CARD = {"data": "none: random weights", "licence": "none, ours", "steps": "0"}
GREY, PAIR = Kind(1), Kind(2, "uint16", 0, 65535)
UNET = pix2pix.Network(depth=2, width=2, input=GREY, output=PAIR)
RESNET = dataclasses.replace(UNET, generator="resnet", blocks=1)
BOTH_WAYS = cyclegan.Network(blocks=1, width=2, a=GREY, b=PAIR, size=(32, 32))
OF_LABELS = pix2pixhd.Network(labels=3, width=2, downsamplings=1, blocks=1, enhancer_blocks=1, size=(32, 32))
OF_PICTURES = dataclasses.replace(OF_LABELS, source="pictures", labels=0, input=GREY, output=PAIR)
SPADE = spade.Network(labels=3, unknown=True, width=2, hidden=4, size=(32, 64), z_dim=4)


def settled(network: nn.Module, *given: Tensor | None) -> nn.Module:
    """The network with statistics, and estimates of sigma, of its own: fresh ones make all pictures white."""
    network.train()
    with torch.no_grad():
        for _ in range(10):
            network(*given)
    return network.eval().requires_grad_(False)


def saved(method: str, config: Any, parts: Mapping[str, nn.Module], card: Mapping[str, str] = CARD) -> ModelFile:
    tensors = {
        f"{part}.{k}": v.contiguous() for part, network in parts.items() for k, v in network.state_dict().items()
    }
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    label_set = LABELS if method == "spade" else None
    return ModelFile(method, values, tensors, label_set, card)


def saved_unet(folder: Path, config: pix2pix.Network = UNET) -> nn.Module:
    torch.manual_seed(0)
    network = settled(pix2pix_generator(config), torch.randn(4, 1, 16, 16))
    saved("pix2pix", config, {"G": network}).save(folder)
    return network


def painted(file: Path, given: Mapping[str, Tensor]) -> Tensor:
    """What ONNX Runtime makes of it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(np.asarray(session.run(["picture"], {name: x.numpy() for name, x in given.items()})[0]))


def require_equal(file: Path, given: Mapping[str, Tensor], want: Tensor) -> None:
    got = painted(file, given)
    assert want.std() > 0.01  # or it would prove nothing
    torch.testing.assert_close(got, want, atol=1e-4, rtol=0)


def metadata_of(file: Path) -> dict[str, str]:
    import onnx

    return {prop.key: prop.value for prop in onnx.load(str(file)).metadata_props}


@needs_onnx
@pytest.mark.parametrize(
    "config",
    [
        UNET,
        pytest.param(dataclasses.replace(UNET, test_norm="running", depth=4), id="deep"),
        pytest.param(dataclasses.replace(UNET, norm="instance"), marks=pytest.mark.slow),
        pytest.param(dataclasses.replace(UNET, norm="none"), marks=pytest.mark.slow),
        pytest.param(dataclasses.replace(RESNET, test_norm="picture"), marks=pytest.mark.slow),
        pytest.param(dataclasses.replace(RESNET, norm="instance", dropout=False), id="resnet"),
    ],
)
def test_pix2pix(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: pix2pix.Network) -> None:
    monkeypatch.chdir(tmp_path)
    network = saved_unet(tmp_path / "model", config)
    ran = pinxit("export", "model", "--onnx")
    assert (ran.status, ran.err) == (0, "")
    found = re.search(r"largest difference from the model: (\S+),", ran.out)
    assert found is not None
    assert float(found[1]) <= 1e-4
    m, s = config.multiple, config.smallest
    assert f"multiples of {m}, {s} or more" in ran.out
    for batch, height, width in ((1, s, s), (1, 5 * m, 3 * m), (4, 2 * m, 7 * m)):
        x = torch.rand(batch, 1, height, width) * 2 - 1
        require_equal(tmp_path / "model.onnx", {"input": x}, network(x))


@needs_onnx
def test_cyclegan_in_both_directions(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    there, back = cyclegan_generator(BOTH_WAYS, "AtoB").eval(), cyclegan_generator(BOTH_WAYS, "BtoA").eval()
    saved("cyclegan", BOTH_WAYS, {"AtoB": there, "BtoA": back}).save(tmp_path / "model")
    for options, name, network, channels in (
        ((), "model.onnx", there, 1),
        (("--direction", "BtoA"), "model_BtoA.onnx", back, 2),
    ):
        assert pinxit("export", "model", "--onnx", *options).status == 0
        for batch, height, width in ((1, 12, 8), (3, 8, 24)):
            x = torch.rand(batch, channels, height, width) * 2 - 1
            require_equal(tmp_path / name, {"input": x}, network(x).detach())
    described = metadata_of(tmp_path / "model_BtoA.onnx")
    assert described["direction"] == "BtoA"
    assert Kind.from_dict(json.loads(described["input_kind"])) == PAIR
    assert Kind.from_dict(json.loads(described["output_kind"])) == GREY


@needs_onnx
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(
            dataclasses.replace(OF_LABELS, instances=True, enhancers=1, features="label", encoder_downsamplings=1),
            id="everything",
        ),
        pytest.param(dataclasses.replace(OF_LABELS, unknown=True, norm="batch"), marks=pytest.mark.slow),
        pytest.param(
            dataclasses.replace(OF_LABELS, norm="batch", test_norm="running"), marks=pytest.mark.slow, id="running"
        ),
        pytest.param(dataclasses.replace(OF_PICTURES, instances=True), marks=pytest.mark.slow, id="pictures"),
        pytest.param(OF_PICTURES, marks=pytest.mark.slow),
    ],
)
def test_pix2pixhd(pinxit: Pinxit, tmp_path: Path, config: pix2pixhd.Network) -> None:
    torch.manual_seed(0)
    G = pix2pixhd_network.Generator(config)
    settled(G, torch.randn(4, G.inputs, 16, 16))
    file = saved("pix2pixhd", config, {"G": G})
    clusters = torch.rand(3, 2, config.feature_channels)
    if config.features != "none":
        styles = {"styles.clusters": clusters, "styles.counts": torch.tensor([2, 0, 1])}
        file = dataclasses.replace(file, tensors={**file.tensors, **styles})
    file.save(tmp_path / "model")
    out = tmp_path / "new" / "it.onnx"
    assert pinxit("export", tmp_path / "model", "--onnx", "--out", out).status == 0
    m = config.multiple
    for batch, height, width in ((1, 4 * m, 6 * m), (3, 7 * m, 4 * m)):
        ids = torch.randint(config.labels + config.unknown or 9, (batch, height, width))
        instances = torch.randint(4, (batch, height // 2, width // 2)).repeat_interleave(2, 1).repeat_interleave(2, 2)
        given = {"labels": ids} if config.source == "labels" else {"input": torch.rand(batch, 1, height, width) * 2 - 1}
        source = next(iter(given.values()))
        x = pix2pixhd_network.embed(source, instances if config.source == "labels" else torch.zeros_like(ids), config)
        if config.source == "labels" and config.instances:
            given["instances"] = instances
        if config.features != "none":
            given["features"] = torch.rand(batch, config.feature_channels, height, width)
            x = torch.cat([x, given["features"]], dim=1)
        require_equal(out, given, G(x))
    if config.features != "none":
        styles = json.loads(metadata_of(out)["styles"])
        assert [len(rows) for rows in styles] == [2, 0, 1]
        assert torch.allclose(torch.tensor(styles[0]), clusters[0])


@needs_onnx
@pytest.mark.parametrize(
    "config",
    [
        pytest.param(dataclasses.replace(SPADE, vae=True, instances=True), marks=pytest.mark.slow, id="vae"),
        pytest.param(dataclasses.replace(SPADE, norm="instance", kernel=5), marks=pytest.mark.slow),
        pytest.param(
            dataclasses.replace(SPADE, norm_at_test="batch", upsamplings="more", kernel=1, size=(128, 128)),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            dataclasses.replace(SPADE, upsamplings="most", size=(128, 128), spectral=False, unknown=False),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_spade(pinxit: Pinxit, tmp_path: Path, config: spade.Network) -> None:
    G = saved_spade(tmp_path / "model", config)
    out = tmp_path / "model.onnx"
    assert pinxit("export", tmp_path / "model", "--onnx", "--out", tmp_path).status == 0
    m = 1 << G.doublings
    for batch, height, width in ((1, *config.size), (1, 2 * m, 3 * m), (3, 3 * m, 2 * m)):
        given = of_spade(config, batch, height, width)
        require_equal(out, given, G(**given))
    # An id that there is not is no label: it has no channel.
    given["labels"] = torch.full_like(given["labels"], 7)
    assert torch.isfinite(painted(out, given)).all()


def saved_spade(folder: Path, config: spade.Network) -> Generator:
    torch.manual_seed(0)
    G = Generator(config)
    settled(G, *(of_spade(config, 4, 128, 128).get(name) for name in ("labels", "instances", "z")))
    saved("spade", config, {"G": G}).save(folder)
    return G


def of_spade(config: spade.Network, batch: int, height: int, width: int) -> dict[str, Tensor]:
    given = {"labels": torch.randint(config.labels + config.unknown, (batch, height, width))}
    if config.instances:
        given["instances"] = torch.randint(-3, 3, (batch, height // 4, width // 4)).repeat_interleave(4, 1)
        given["instances"] = given["instances"].repeat_interleave(4, 2)
    return {**given, "z": torch.randn(batch, config.z_dim)} if config.vae else given


@needs_onnx
def test_a_fixed_size_and_what_the_file_says_of_itself(pinxit: Pinxit, tmp_path: Path) -> None:
    import onnx

    config = dataclasses.replace(SPADE, vae=True, instances=True)
    G = saved_spade(tmp_path / "model", config)
    out = tmp_path / "model.onnx"
    ran = pinxit("export", tmp_path / "model", "--onnx", "--out", out, "--fixed-size", 64, 32)
    assert ran.status == 0
    assert "inputs: labels, instances, z; height and width: fixed" in ran.out
    given = of_spade(config, 3, 64, 32)
    require_equal(out, given, G(**given))

    model = onnx.load(str(out))
    onnx.checker.check_model(model)
    assert (model.opset_import[0].domain, model.opset_import[0].version) == ("", 18)
    batch, *sides = model.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_param, [side.dim_value for side in sides]) == ("batch", [64, 32])

    described = metadata_of(out)
    assert (described["method"], described["licence"], described["dropout"]) == ("spade", "none, ours", "off")
    assert described["norm"] == "statistics gathered in training (batch norm)"
    assert json.loads(described["card"]) == CARD
    assert json.loads(described["label_set"]) == LABELS
    assert json.loads(described["output_kind"]) == Kind().as_dict()
    assert (json.loads(described["size"]), json.loads(described["fixed_size"])) == ([32, 64], [64, 32])
    assert (described["multiple"], described["smallest"]) == ("32", "32")
    assert list(json.loads(described["inputs"])) == list(given)
    assert float(described["largest_difference"]) <= 1e-4
    for folder in (Path(pinxit_package.__file__).parent, tmp_path):  # the exporter would note where sources lie
        assert str(folder).encode() not in out.read_bytes()


@needs_onnx
def test_dropout_is_off_and_this_is_said(pinxit: Pinxit, tmp_path: Path) -> None:
    config = dataclasses.replace(UNET, depth=6, width=1, test_dropout=True)
    torch.manual_seed(0)
    noisy = pix2pix_generator(config).eval()
    assert any(isinstance(module, Dropout) for module in noisy.modules())
    saved("pix2pix", config, {"G": noisy}).save(tmp_path / "model")
    out = tmp_path / "model.onnx"
    ran = pinxit("export", tmp_path / "model", "--onnx", "--out", out, "--fixed-size", 64, 64, "--opset", 20)
    assert (ran.status, ran.err) == (
        0,
        "note: the model leaves its dropout on, as noise; in the ONNX file it is off\n",
    )
    calm = pix2pix_generator(dataclasses.replace(config, test_dropout=False)).eval()
    calm.load_state_dict(noisy.state_dict())
    x = torch.rand(1, 1, 64, 64) * 2 - 1
    require_equal(out, {"input": x}, calm(x).detach())


@needs_onnx
def test_a_file_that_differs_is_not_kept(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_unet(tmp_path / "model")
    out = tmp_path / "model.onnx"
    out.write_bytes(b"older")
    monkeypatch.setattr(export_onnx, "TOLERANCE", -1.0)
    before = files_in(tmp_path)
    ran = pinxit("export", tmp_path / "model", "--onnx", "--out", out, "--fixed-size", 16, 16)
    assert (ran.status, ran.out) == (2, "")
    got = rf"pinxit: '{re.escape(str(out))}' is off by \S+ from the model"
    assert re.fullmatch(rf"{got}, expected -1e\+00 or less; report it, .*\n", ran.err)
    assert files_in(tmp_path) == before


def test_a_model_that_onnx_cannot_hold(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_unet(tmp_path / "model")
    monkeypatch.setattr(export, "NEEDED", ())
    monkeypatch.setattr(export_onnx, "MOST_BYTES", 1000)
    ran = pinxit("export", tmp_path / "model", "--onnx", "--out", tmp_path)
    assert ran.status == 2
    assert "2 GB or less" in ran.err
    assert not (tmp_path / "model.onnx").exists()


def test_without_the_extra(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved_unet(tmp_path / "model")
    monkeypatch.setattr(export, "NEEDED", ("torch", "no_such_thing", "nor_this"))
    ran = pinxit("export", tmp_path / "model", "--onnx", "--out", tmp_path)
    assert ran.status == 2
    got = "the ONNX export is without no_such_thing and nor_this"
    assert ran.err == f'pinxit: {got}, expected them installed; pip install "pinxit[onnx]"\n'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("unet", "the format is not given, expected --onnx; add it"),
        ("unet --onnx --opset 9", "--opset is 9, expected 18..23; choose one, or leave it out"),
        ("unet --onnx --opset 99", "--opset is 99, expected 18..23; choose one, or leave it out"),
        (
            "unet --onnx --out unet.pt",
            "--out 'unet.pt' is no file of ONNX, expected a name that ends in .onnx, or a folder; rename it",
        ),
        (
            "unet --onnx --direction BtoA",
            "--direction is BtoA, expected nothing: model 'unet' knows one way, the one it was trained for; leave it",
        ),
        (
            "photo --onnx",
            "model 'photo' is of SinGAN, a pyramid of generators with noise at each scale, expected one of a single",
        ),
        ("nothing --onnx", "model 'nothing' is not there, expected a model folder or file; train or import one, or"),
    ],
)
def test_mistakes(
    pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "NEEDED", ())
    saved_unet(tmp_path / "unet")
    ModelFile("singan", {}, {"x": torch.zeros(1)}).save(tmp_path / "photo")
    before = files_in(tmp_path)
    ran = pinxit("export", *arguments.split())
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"pinxit: {message}")
    assert ran.err.count("\n") == 1
    assert files_in(tmp_path) == before


def test_mistakes_that_hang_on_the_model(pinxit: Pinxit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(export, "NEEDED", ())
    saved_unet(tmp_path / "unet", RESNET)
    one_way = dataclasses.replace(BOTH_WAYS, directions=("AtoB",))
    saved("cyclegan", one_way, {"AtoB": cyclegan_generator(one_way, "AtoB")}).save(tmp_path / "horse")
    for arguments, message in (
        (
            "unet --fixed-size 30 32",
            "--fixed-size is 30 32, expected multiples of 4, 8 or more, for this model; round it",
        ),
        (
            "unet --fixed-size 4 32",
            "--fixed-size is 4 32, expected multiples of 4, 8 or more, for this model; round it",
        ),
        (
            "horse --direction BtoA",
            "--direction is BtoA, expected AtoB, which is all the model has; choose it, or import both",
        ),
    ):
        ran = pinxit("export", *arguments.split(), "--onnx")
        assert (ran.status, ran.out, ran.err) == (2, "", f"pinxit: {message}\n")
    assert not list(tmp_path.glob("*.onnx"))
