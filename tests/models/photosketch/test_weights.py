"""What the authors' code wrote: read strictly, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinxit.apps.cli import import_
from pinxit.errors import PinxitError
from pinxit.modelfile import read
from pinxit.models.photosketch.config import Network
from pinxit.models.photosketch.network import generator
from pinxit.models.photosketch.weights import from_options, import_release
from pinxit.nn.resnet import ResnetGenerator


def saved(path: Path, network: torch.nn.Module, **change) -> Path:
    """As the official code does: with the counters of its batch norms."""
    state = {}
    for name, value in network.state_dict().items():
        state[name] = value
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(7)
    torch.save({**state, **change}, path)
    return path


def test_the_release(tmp_path: Path) -> None:
    G = generator(Network(width=2, blocks=3))
    saved(tmp_path / "latest_net_G.pth", G)
    for source in (tmp_path, tmp_path / "latest_net_G.pth"):
        file = import_release(source)
        assert file.config == {**vars(Network(width=2, blocks=3))}
        assert all(torch.equal(file.tensors[f"G.{name}"], value) for name, value in G.state_dict().items())
    import_.main(["photosketch", str(tmp_path), "--out", str(tmp_path / "model")])
    assert read(tmp_path / "model").method == "photosketch"


def test_refused(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_G.pth"
    with pytest.raises(PinxitError, match=r"latest_net_G.pth"):
        import_release(path)
    good = Network(width=2, blocks=1)
    refusals = {
        "is with more.weight": (generator(good), {"more.weight": torch.zeros(1)}),
        "of shape": (generator(good), {"model.4.weight": torch.zeros(1, 1)}),
        "is of 3 channels in and 3 out, expected 3 in and 1 out": (ResnetGenerator(3, 3, 2, 1, "batch", 0.5), {}),
        "is a ResNet generator of another method": (ResnetGenerator(3, 1, 2, 1, "batch"), {}),
        "is with 0.weight, expected a ResNet generator of PhotoSketch": (
            torch.nn.Sequential(torch.nn.Linear(2, 2)),
            {},
        ),
    }
    for told, (network, change) in refusals.items():
        saved(path, network, **change)
        with pytest.raises(PinxitError) as error:
            import_release(path)
        assert told in str(error.value)
    torch.save({"model.1.weight": print}, path)
    with pytest.raises(PinxitError):
        import_release(path)
    with pytest.raises(PinxitError, match="what to import is 2 files"):
        import_release([path, path])


def test_options_of_the_authors_script() -> None:
    script = {
        "norm": "batch",
        "output_nc": 1,
        "which_model_netD": "global_np",
        "no_lsgan": True,
        "batchSize": 2,
        "lambda_A": 200.0,
        "pool_size": 0,
    }
    network, training = from_options(script)
    assert network == Network()
    assert (training.adversarial, training.discriminator, training.l1, training.batch) == (
        "original",
        "global",
        200.0,
        2,
    )
    for name, value in (("pool_size", 50), ("input_nc", 1), ("norm", "none"), ("which_model_netG", "unet_128")):
        with pytest.raises(PinxitError, match=name):
            from_options({**script, name: value})
