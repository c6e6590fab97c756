from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.errors import PinxitError
from pinxit.models.sketching.config import Training
from pinxit.models.sketching.weights import from_options, import_release
from pinxit.models.stylegan2.config import Network
from pinxit.models.stylegan2.network import Discriminator, Generator
from pinxit.models.stylegan2.weights import official_state

NETWORK = Network(size=16, channels=(4, 4, 4), style_dim=4, mapping_layers=2)


def saved(path: Path, network: torch.nn.Module) -> Path:
    torch.save(official_state(network), path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder of checkpoints: 0, 50 and 100, of pictures too at 50."""
    torch.manual_seed(0)
    for iteration in (0, 50, 100):
        saved(tmp_path / f"{iteration}_net_G.pth", Generator(NETWORK))
        saved(tmp_path / f"{iteration}_net_D_sketch.pth", Discriminator(NETWORK))
    saved(tmp_path / "50_net_D_image.pth", Discriminator(NETWORK))
    return tmp_path


def constant(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)["input.input"]


def test_the_best_iterate_is_taken_or_the_last_or_the_one_named(run: Path) -> None:
    last = import_release(run)
    assert last.method == "stylegan2"
    assert torch.equal(last.tensors["G.input.input"], constant(run / "100_net_G.pth"))
    assert not any(name.startswith("D.") for name in last.tensors)
    (run / "best_iter.txt").write_text("50\n")
    best = import_release(run)
    assert torch.equal(best.tensors["G.input.input"], constant(run / "50_net_G.pth"))
    wanted = torch.load(run / "50_net_D_image.pth", weights_only=True)
    assert all(torch.equal(best.tensors[f"D.{name}"], value) for name, value in wanted.items())
    assert torch.equal(import_release(run, iteration="0").tensors["G.input.input"], constant(run / "0_net_G.pth"))


def test_files_in_any_order(run: Path) -> None:
    G, D = run / "100_net_G.pth", run / "50_net_D_image.pth"
    one, other = import_release([G, D]), import_release([D, G])
    assert one.tensors.keys() == other.tensors.keys()
    assert "D.final_linear.1.bias" in one.tensors


def test_mistakes(run: Path, tmp_path: Path) -> None:
    with pytest.raises(PinxitError, match=r"^iteration in '.*' is '70', expected one of 0, 100, 50"):
        import_release(run, iteration="70")
    with pytest.raises(PinxitError, match=r"^the release is 2 generators, expected a folder"):
        import_release([run / "0_net_G.pth", run / "50_net_G.pth"])
    with pytest.raises(PinxitError, match=r"^the release is 0 generators"):
        import_release(run / "50_net_D_image.pth")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PinxitError, match=r"^folder '.*empty' is without ITERATION_net_G.pth"):
        import_release(tmp_path / "empty")
    larger = Network(size=32, channels=(4, 4, 4, 4), style_dim=4, mapping_layers=2)
    D = saved(tmp_path / "larger.pth", Discriminator(larger))
    with pytest.raises(PinxitError, match=r"^size of weights '.*larger.pth' is 32 pixels, expected 16, as the"):
        import_release([run / "0_net_G.pth", D])


def test_options_of_the_official_code() -> None:
    t = from_options({"transform_fake": "down2,toSketch,up2,to3ch", "diffaug_policy": "translation", "gan_mode": "ls"})
    assert t.drawn == ("down", "down", "contour", "up", "up")
    assert (t.augment, t.adversarial, t.train) == (("translation",), "ls", "mapping")
    plain = from_options({"l_image": 0.7, "max_iter": 75_000})
    assert plain == Training(ema=0.0, keep="last")
    assert from_options({"no_d_regularize": True}).r1_every == 0
    for options in ({"optim_param_g": "conv"}, {"gan_mode": "new"}, {"transform_real": "blur"}, {"beta1": 0.5}):
        with pytest.raises(PinxitError):
            from_options(options)
