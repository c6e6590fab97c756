from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.models.stylegan2.config import PRESETS
from pinxit.models.stylegan2.generate import load
from pinxit.models.stylegan2.network import Discriminator, Generator
from pinxit.models.stylegan2.weights import import_release, official_state

NETWORK = PRESETS["tiny"].network


@pytest.fixture
def states() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(0)
    G, g, D = Generator(NETWORK), Generator(NETWORK), Discriminator(NETWORK)
    return {"g_ema": official_state(G), "g": official_state(g), "d": official_state(D)}


def test_a_trainings_checkpoint(tmp_path: Path, states: dict[str, dict[str, Tensor]]) -> None:
    assert states["g"]["conv1.conv.weight"].ndim == 5
    torch.save({**states, "args": argparse.Namespace(size=32), "ada_aug_p": 0.0}, tmp_path / "000100.pt")
    file = import_release([tmp_path / "000100.pt"])
    assert file.config["size"] == 32
    assert tuple(file.config["channels"]) == NETWORK.channels
    assert torch.equal(file.tensors["G.conv1.conv.weight"], states["g_ema"]["conv1.conv.weight"][0])
    assert torch.equal(file.tensors["D.final_conv.0.weight"], states["d"]["final_conv.0.weight"])
    other = import_release([tmp_path / "000100.pt"], which="g")
    assert torch.equal(other.tensors["G.conv1.conv.weight"], states["g"]["conv1.conv.weight"][0])


def test_a_converted_one_brings_its_mean(tmp_path: Path, states: dict[str, dict[str, Tensor]]) -> None:
    torch.save({"g_ema": states["g_ema"], "latent_avg": torch.arange(8.0)}, tmp_path / "a.pt")
    assert import_release(tmp_path / "a.pt").tensors["w_mean"].tolist() == list(range(8))
    torch.save({"g_ema": states["g_ema"], "latent_avg": torch.arange(9.0)}, tmp_path / "b.pt")
    with pytest.raises(PinxitError, match=r"^latent_avg of weights '.*b\.pt' is of 9 numbers, expected 8"):
        import_release(tmp_path / "b.pt")


def test_a_shift_of_w_is_put_into_the_biases(tmp_path: Path, states: dict[str, dict[str, Tensor]]) -> None:
    """GAN Sketching's `w_shift`: the pictures of w + shift, for every w."""
    shift = torch.randn(1, 8)
    torch.save(states["g_ema"], tmp_path / "plain.pth")
    torch.save({**states["g_ema"], "style.3.w_shift": shift}, tmp_path / "shifted.pth")
    plain, shifted = (load(import_release(tmp_path / f"{name}.pth")) for name in ("plain", "shifted"))
    w = torch.randn(2, 8)
    torch.testing.assert_close(shifted.G(w), plain.G(w + shift), atol=1e-4, rtol=1e-4)


def test_refusals(tmp_path: Path, states: dict[str, dict[str, Tensor]]) -> None:
    with pytest.raises(PinxitError, match="is not there"):
        import_release(tmp_path / "none.pt")
    for code, advice in (("dnnlib.tflib.network", "convert_weight.py"), ("torch_utils.persistence", "a script that")):
        path = tmp_path / "ffhq.pkl"
        path.write_bytes(b"\x80\x03c" + code.encode() + b"\nNetwork\n.")
        with pytest.raises(PinxitError, match=f"is a pickle that holds source code and would run it .*{advice}"):
            import_release(path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(print))
    with pytest.raises(PinxitError, match=r"^weights '.*evil\.pt' is "):
        import_release(tmp_path / "evil.pt")
    torch.save({"d": states["d"]}, tmp_path / "d.pt")
    with pytest.raises(PinxitError, match=r"d\.pt' is without g_ema"):
        import_release(tmp_path / "d.pt")
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(PinxitError, match=r"other\.pt' is with layer\.weight, expected a \.pt with g_ema"):
        import_release(tmp_path / "other.pt")
    missing = {name: value for name, value in states["g_ema"].items() if name != "to_rgbs.0.conv.weight"}
    torch.save(missing, tmp_path / "missing.pt")
    with pytest.raises(PinxitError, match=r"is without to_rgbs\.0\.conv\.weight"):
        import_release(tmp_path / "missing.pt")
    torch.save({**states["g_ema"], "odd": torch.zeros(1)}, tmp_path / "odd.pt")
    with pytest.raises(PinxitError, match="is with odd"):
        import_release(tmp_path / "odd.pt")
