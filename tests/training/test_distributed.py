"""Two processes on gloo compute what one does with the same batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pinxit.errors import PinxitError
from pinxit.modelfile import read
from pinxit.nn.norm import BatchNorm2d
from pinxit.training.distributed import mean_over_ranks, pick_device, precision_on, processes, quick_at_bf16

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def check(command: list[str]) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def batch(affine: bool) -> tuple[Tensor, Tensor, BatchNorm2d]:
    """A batch of four far from mean 0, what its loss weighs each value by, and a norm for it."""
    torch.manual_seed(0)
    x, pull = 3 * torch.randn(4, 5, 6, 7) + 100, torch.randn(4, 5, 6, 7)
    norm = BatchNorm2d(5, affine=affine)
    for p in norm.parameters():
        torch.nn.init.normal_(p)
    return x, pull, norm


def forward_and_back(norm: BatchNorm2d, x: Tensor, pull: Tensor) -> dict[str, Tensor]:
    x = x.clone().requires_grad_()
    y = norm(x)
    (y * pull).sum().backward()
    assert x.grad is not None
    grads = {f"gradient of {name}": p.grad for name, p in norm.named_parameters() if p.grad is not None}
    buffers = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    return {"output": y.detach(), "gradient": x.grad, **buffers, **grads}


# Each rank normalises its half of the batch and writes what it got.
RANK = """
import runpy, sys, warnings
warnings.simplefilter("error")
import torch
import torch.distributed as dist
from pinxit.training.distributed import mean_over_ranks, processes

test = runpy.run_path(sys.argv[1])
with processes(torch.device("cpu")):
    rank = dist.get_rank()
    results = {}
    for affine in (False, True):
        x, pull, norm = test["batch"](affine)
        results[affine] = test["forward_and_back"](norm, x.chunk(2)[rank], pull.chunk(2)[rank])
        with torch.no_grad():
            results[affine]["output without gradients"] = norm(x.chunk(2)[rank])
        norm.eval()
        results[affine]["output in eval"] = norm(x.chunk(2)[rank]).detach()
        x, pull, norm = test["batch"](affine)
        norm.sync = False
        results[affine]["output alone"] = norm(x.chunk(2)[rank]).detach()
    results["mean"] = mean_over_ranks(torch.tensor([1.0 + rank, 10.0]))
    torch.save(results, f"{sys.argv[2]}/{rank}.pt")
"""


def test_batch_norm_over_two_ranks_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    check([*TORCHRUN, str(script), __file__, str(tmp_path)])
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for affine in (False, True):
        x, pull, norm = batch(affine)
        whole = forward_and_back(norm, x, pull)
        for name, value in whole.items():
            parts = [r[affine][name] for r in ranks]
            if name in ("output", "gradient"):
                ours = torch.cat(parts)
            elif name.startswith("gradient of"):
                ours = sum(parts)  # each rank has the part of its own pictures
            else:
                assert torch.equal(*parts)
                ours = parts[0]
            # 100 +- 3 in fp32: a sum in another order is off by some 1e-5 of the deviation.
            torch.testing.assert_close(ours, value, rtol=1e-4, atol=2e-5, msg=lambda m, name=name: f"{name}: {m}")
        again = torch.cat([r[affine]["output without gradients"] for r in ranks])
        torch.testing.assert_close(again, whole["output"], rtol=1e-4, atol=2e-5)
        with torch.no_grad():
            norm(x)
            in_eval = torch.cat([r[affine]["output in eval"] for r in ranks])
            torch.testing.assert_close(in_eval, norm.eval()(x), rtol=1e-4, atol=1e-4)
            for r, half in zip(ranks, x.chunk(2), strict=True):
                alone = F.batch_norm(half, None, None, norm.weight, norm.bias, training=True)
                torch.testing.assert_close(r[affine]["output alone"], alone, rtol=1e-4, atol=2e-5)
    assert all(r["mean"].tolist() == [1.5, 10.0] for r in ranks)


# An optimiser's first step imports parts of torch.distributed that would keep the group.
STEP = """
import os, pathlib, sys
import torch
from pinxit.training.distributed import processes

def threads():
    return [(t / "comm").read_text().strip() for t in pathlib.Path("/proc/self/task").iterdir()]

with processes(torch.device("cpu")):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    before = threads()
(pathlib.Path(sys.argv[1]) / os.environ["RANK"]).write_text(f"{' '.join(before)}\\n{' '.join(threads())}")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed in /proc, on Linux alone")
def test_no_thread_of_the_group_is_left(tmp_path: Path) -> None:
    """One that held a tensor while the interpreter ended aborted the process, in one run of a hundred or so."""
    script = tmp_path / "step.py"
    script.write_text(STEP)
    check([*TORCHRUN, str(script), str(tmp_path)])
    for rank in "01":
        before, after = (tmp_path / rank).read_text().splitlines()
        assert "gloo" in before
        assert "gloo" not in after


def records(out: Path) -> list[dict[str, float]]:
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [{k: v for k, v in r.items() if k not in ("stage", "steps_per_second", "loading")} for r in lines]


# `pinxit`, by the plain networks: nothing is shared within a batch.
PLAIN = """
import sys
from pinxit.apps.cli.main import main
from pinxit.models.spade.recipe import SpadeRecipe
SpadeRecipe.shares = False
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("share", [False, True], ids=["plain", "shared"])
@pytest.mark.parametrize("options", ["", "--norm instance --no-vae"], ids=["batch norm, vae", "instance norm, no vae"])
def test_two_processes_train_as_one(
    options: str, share: bool, arguments: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The first step's losses, gradients and weights; then the losses and weights of some more.

    The two differ in the order of sums alone: over a batch in one process, over two halves in the other; that is some
    1e-7 of a loss and 1e-5 of a gradient, 1e-3 where it turns the slope of a leaky ReLU. Adam's first step then has the
    size of the learning rate whatever the gradient's is, so that where that is 0 but for rounding (a whole tensor of
    such: a bias in front of a normalisation, told here by its gradient) a weight moves in whatever direction the
    rounding has. As each further step is taken from there, and L1 losses have kinks, the two slowly part: later ones
    are held less tightly. Initial weights are PyTorch's and the loss is least squares: under the official code's tiny
    weights and the hinge most gradients are close to rounding.
    """
    (tmp_path / "plain.py").write_text(PLAIN)
    program = ["-m", "pinxit"] if share else [str(tmp_path / "plain.py")]
    common = f"--batch 4 --log-every 1 --init none --adversarial ls {options}"
    one, two = tmp_path / "one", tmp_path / "two"
    check([sys.executable, *program, *arguments(one, f"{common} --steps 1")])
    check([*TORCHRUN, *program, *arguments(two, f"{common} --steps 1")])
    assert_losses_agree(records(one), records(two), 1, 1e-5)
    errors = []
    for name, rate, gradients, weights in trained_by_adam(one, two):
        error = (weights[0] - weights[1]).abs() / rate
        assert error.max() <= 2.01, name
        if gradients[0].abs().max() > 1e-5:  # they reach 1; those of no gradient are below 1e-6
            assert (gradients[0] - gradients[1]).abs().max() <= 1e-2 * gradients[0].abs().max(), name
            errors.append(error.flatten())
    assert (torch.cat(errors) > 0.01).float().mean() < 1e-3
    assert len(errors) > 120

    check([sys.executable, *program, *arguments(one, f"{common} --steps 4 --resume")])
    check([*TORCHRUN, *program, *arguments(two, f"{common} --steps 4 --resume")])
    assert_losses_agree(records(one), records(two), 4, 5e-3)
    errors = [
        ((weights[0] - weights[1]).abs() / rate).flatten()
        for _, rate, gradients, weights in trained_by_adam(one, two)
        if gradients[0].abs().max() > 1e-5
    ]
    # Of the four learning rates that a weight may move. Where windows are shared each process finds those of its own
    # half, so that sums differ in their order more: 0.095 was seen.
    assert torch.cat(errors).mean() < (0.2 if share else 0.05)


@pytest.mark.slow
def test_two_processes_share_out_a_folder_of_photos(tmp_path: Path) -> None:
    """SinGAN learns each photo alone, so that it does not matter how many processes there are, to the last bit."""
    photos = tmp_path / "photos"
    photos.mkdir()
    y, x = np.mgrid[:36, :48]
    for i, name in enumerate(("apple.png", "bird.png", "cat.png")):
        Image.fromarray(np.stack([x * (i + 2), y * 5, (x * y + 40 * i) % 256], -1).astype(np.uint8)).save(photos / name)
    train = f"-m pinxit train singan --preset tiny --data {photos} --device cpu --no-tensorboard --seed 3 --out".split()
    one, two = tmp_path / "one", tmp_path / "two"
    check([sys.executable, *train, str(one)])
    check([*TORCHRUN, *train, str(two)])
    files = sorted(p.relative_to(one) for p in one.rglob("*"))
    assert files == sorted(p.relative_to(two) for p in two.rglob("*"))
    models = [read(one / name) for name in ("apple", "bird", "cat")]
    for name, alone in zip(("apple", "bird", "cat"), models, strict=True):
        shared = read(two / name)
        assert shared.config == alone.config
        assert shared.card == alone.card
        assert tuple(shared.tensors["photo"].shape[2:]) == (30, 40)  # all scales are done, to the finest
        assert records(one / name) == records(two / name)
        assert shared.tensors.keys() == alone.tensors.keys()
        for key, value in alone.tensors.items():
            assert torch.equal(shared.tensors[key], value), f"{name}: {key}"
    assert not torch.equal(models[0].tensors["photo"], models[1].tensors["photo"])


def trained_by_adam(*runs: Path) -> Iterator[tuple[str, float, list[Tensor], list[Tensor]]]:
    """Each weight's name and learning rate, and its last gradient and value in each run."""
    states = [torch.load(out / "state.pt", weights_only=True) for out in runs]
    for optimizer, parts in (("G", ("G.", "E.")), ("D", ("D.",))):
        names = [k for k in states[0]["recipe"] if k.startswith(parts) and k.endswith((".weight", ".bias"))]
        adams = [state["optimizers"][optimizer] for state in states]
        assert len(names) == len(adams[0]["state"])
        assert adams[0]["param_groups"][0]["betas"][0] == 0  # so that the first moment is the gradient itself
        for number, name in enumerate(names):
            gradients = [adam["state"][number]["exp_avg"] for adam in adams]
            yield name, adams[0]["param_groups"][0]["lr"], gradients, [state["recipe"][name] for state in states]


def assert_losses_agree(one: list[dict[str, float]], two: list[dict[str, float]], steps: int, tolerance: float) -> None:
    assert len(one) == len(two) == steps
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=tolerance)


def test_a_device_that_is_not_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(PinxitError, match=f"^--device is {name}, expected cpu on this machine; leave it out"):
            pick_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert pick_device("auto") == torch.device("cuda", 3)
    assert pick_device("cpu") == torch.device("cpu")


def test_one_process_needs_no_group() -> None:
    with processes(torch.device("cpu")):
        assert not torch.distributed.is_initialized()
    assert mean_over_ranks(torch.tensor([2.0])).tolist() == [2.0]


ZEN4 = {"cpu_name": "AMD EPYC 9R14", "avx512_bf16": True, "avx512_fp16": False, "amx_bf16": False}
COOPER_LAKE = {"cpu_name": "Intel Xeon Platinum 8380H", "avx512_bf16": True, "avx512_fp16": False}
SAPPHIRE_RAPIDS = {"cpu_name": "Intel Xeon", "avx512_bf16": True, "avx512_fp16": True, "amx_bf16": True}
ICE_LAKE = {"cpu_name": "Intel Xeon Platinum 8375C", "avx512_bf16": False}


@pytest.mark.parametrize(
    ("found", "quick"),
    [
        (ZEN4, True),
        ({**ZEN4, "avx512_fp16": True}, True),
        (COOPER_LAKE, True),
        (SAPPHIRE_RAPIDS, True),
        ({**SAPPHIRE_RAPIDS, "amx_bf16": False}, False),  # a virtual machine's
        (ICE_LAKE, False),
        ({}, False),
    ],
)
def test_auto_is_bf16_where_the_processor_is_quick_at_it(
    found: dict[str, object], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    cpu = torch.device("cpu")
    assert quick_at_bf16(cpu) is quick
    assert precision_on(cpu, "auto") == ("bf16" if quick else "fp32")
    assert precision_on(cpu, "auto", made_for=False) == precision_on(cpu, "fp32") == "fp32"
    assert precision_on(cpu, "bf16") == "bf16"


def test_a_pytorch_that_does_not_tell_computes_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert precision_on(torch.device("cpu"), "auto") == "fp32"
