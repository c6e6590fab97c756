"""The fast forms of finished generators (`pinxit.nn.folded`) against numbers of the official code.

SinGAN's are those that `test_singan` goes through, on a CPU.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pinxit.models.cyclegan import weights as cyclegan
from pinxit.models.cyclegan.network import generator as cyclegan_generator
from pinxit.models.pix2pix import weights as pix2pix
from pinxit.models.pix2pix.fast import fast
from pinxit.models.pix2pix.network import generator as pix2pix_generator
from pinxit.models.pix2pixhd import weights as pix2pixhd
from pinxit.models.pix2pixhd.fast import FastGenerator
from pinxit.models.pix2pixhd.features import find_objects, instance_means, spread
from pinxit.models.pix2pixhd.network import Encoder, Generator, embed
from pinxit.nn.folded import Folded

Compare = Callable[[str, float, float], None]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs for every golden of its system that has weights of a generator."""
    root = Path(str(metafunc.config.getoption("--goldens")))
    system = metafunc.function.__name__.removeprefix("test_")
    files = sorted(f for f in root.glob(f"{system}/*/*_net_G*.pth") if (f.parent / "io.npz").is_file())
    params = [pytest.param(f, id=f"{system}/{f.parent.name}") for f in files if not f.name.startswith("init")]
    if not params:
        reason = f"no generator of {system} under {root}: give --goldens DIR"
        params = [pytest.param(None, id=f"{system}/none", marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize("file", params)


def spec_of(file: Path) -> tuple[dict[str, Any], float]:
    spec = json.loads((file.parent / "spec.json").read_text(encoding="utf-8"))
    return spec["options"], spec.get("suggested_atol", 1e-4)


def arrays(file: Path) -> dict[str, Tensor]:
    with np.load(file.parent / "io.npz") as io:
        return {k: torch.from_numpy(io[k].astype(np.int64) if io[k].dtype.kind in "ui" else io[k]) for k in io.files}


def worst(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours.double() - theirs.double()).abs().max().item()


def test_pix2pix(file: Path, compare: Compare) -> None:
    (options, atol), io = spec_of(file), arrays(file)
    network, _, _ = pix2pix.from_options(options)
    G = pix2pix_generator(dataclasses.replace(network, test_norm="running"))
    pix2pix.load_official(G, file)
    compare("fast, eval", worst(fast(G.eval())(io["input"]), io["out_eval"]), atol)
    if len(io["input"]) == 1 or network.norm != "batch":  # else the statistics of several pictures together
        G = pix2pix_generator(dataclasses.replace(network, test_norm="picture"))
        pix2pix.load_official(G, file)
        compare("fast, train", worst(fast(G.eval())(io["input"]), io["out_train_dropout_off"]), atol)


def test_cyclegan(file: Path, compare: Compare) -> None:
    (options, atol), io = spec_of(file), arrays(file)
    network, _ = cyclegan.from_options(options)
    toward = "BtoA" if file.stem.endswith("_B") else "AtoB"
    G = cyclegan_generator(dataclasses.replace(network, test_norm="running"), toward)
    cyclegan.load_official(G, file)
    compare(f"{file.stem}, fast", worst(Folded([G.eval().model])(io["input"]), io["out_eval"]), atol)


def test_pix2pixhd(file: Path, compare: Compare) -> None:
    (options, atol), io = spec_of(file), arrays(file)
    c, _ = pix2pixhd.from_options(options)
    G = Generator(c)
    pix2pixhd.load_official(G, file)
    source = io["label"][:, 0].long() if c.source == "labels" else io["label"]
    instances = io["inst"][:, 0].long() if "inst" in io else None
    with torch.no_grad():
        x = embed(source, instances, c)
        if c.features != "none":
            E = Encoder(c)
            pix2pixhd.load_official(E, file.with_name("latest_net_E.pth"))
            place = find_objects(source, instances, c).place
            x = torch.cat([x, spread(instance_means(Folded([E.eval().model])(io["image"]), place), place)], dim=1)
    compare("fast", worst(FastGenerator(G.eval())(x), io["out"]), atol)
