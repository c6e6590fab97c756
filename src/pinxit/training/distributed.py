"""Device and process group. One process without `torchrun`; with it, as many as it starts."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.distributed as dist

from pinxit.errors import expected
from pinxit.recipe import world_size


def pick_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda` or `mps` -> a device of this machine; under torchrun each rank has a GPU of its own.

    Raises `PinxitError` for a device that is not here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[name]:
        here = " or ".join(n for n, there in available.items() if there)
        raise expected("--device", name, f"{here} on this machine", "leave it out to have one picked")
    if name == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(name)


def quick_at_bf16(device: torch.device) -> bool:
    """Whether bf16 convolutions beat fp32 ones there: on GPUs from Ampere on, on CPUs with AMX, and on those with
    AVX-512's instructions for bf16, but for one kind.

    Intel's from Sapphire Rapids on (the first with fp16) have AMX for it. Where that is switched off, as in many
    virtual machines, their AVX-512 makes bf16 products at 0.4 to 0.8 of the speed of fp32 ones; AMD's at twice.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    ask = getattr(torch.cpu, "get_capabilities", None)  # PyTorch 2.11 has none
    found = ask() if device.type == "cpu" and ask is not None else {}
    without_amx = "Intel" in str(found.get("cpu_name")) and found.get("avx512_fp16")
    return bool(found.get("amx_bf16") or (found.get("avx512_bf16") and not without_amx))


def precision_on(device: torch.device, asked: str, *, made_for: bool = True) -> Literal["fp32", "bf16"]:
    """`auto`, `fp32` or `bf16` -> what to compute in; `auto`: bf16 where the device is quick at it and what is computed
    is `made_for` it."""
    if asked == "auto":
        return "bf16" if made_for and quick_at_bf16(device) else "fp32"
    return "bf16" if asked == "bf16" else "fp32"


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the process group that `torchrun` describes: NCCL on GPUs, gloo elsewhere. Nothing to do without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Its functions take the group that is there when it is imported (by an optimiser's first step, among others) as a
    # default argument, and so would keep the group and its threads for good.
    importlib.import_module("torch.distributed.nn.functional")
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        dist.barrier()  # all leave together
    finally:
        # The last reference: its threads are joined. One that still held a tensor while the interpreter ended would
        # abort the process ("terminate called without an active exception"), as freeing it needs the interpreter.
        dist.destroy_process_group()


def mean_over_ranks(values: torch.Tensor) -> torch.Tensor:
    """The mean of a small tensor over all ranks."""
    if world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
        values /= world_size()
    return values
