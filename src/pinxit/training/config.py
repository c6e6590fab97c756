"""Options of a run that do not change what is learnt. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pinxit.errors import expected


@dataclass(frozen=True)
class Run:
    """Where, on what and how often."""

    out: Path
    """Folder of the run: checkpoints, log, samples and the model."""
    resume: bool = False
    """Go on from the run's checkpoint, bit for bit as if it had never stopped."""
    seed: int = 0
    """Seed of weights, order, augmentation and noise."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: a GPU where there is one."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes convolutions in bfloat16; weights and losses stay fp32. auto: bf16 where the preset asks for it and
    this machine is quick at it, else fp32; with --resume what the run was begun in."""
    compile: bool = False
    """Compile the networks with torch.compile (on the CPU this needs a C++ compiler on the machine)."""
    workers: int = 0
    """Processes that read pictures beside each training process."""
    log_every: int = 20
    """Steps between lines of log.jsonl and TensorBoard points."""
    sample_every: int = 500
    """Steps between sample sheets; 0: none."""
    checkpoint_every: int = 500
    """Steps between checkpoints; the last step is always kept."""
    tensorboard: bool = True
    """Whether to write TensorBoard events, where the package is installed."""

    def __post_init__(self) -> None:
        for name, lowest in (
            ("log_every", 1),
            ("checkpoint_every", 1),
            ("sample_every", 0),
            ("workers", 0),
            ("seed", 0),
        ):
            if not lowest <= getattr(self, name) < 1 << 31:
                got = getattr(self, name)
                raise expected(f"--{name.replace('_', '-')}", got, f"{lowest} or more, below 2^31", "correct it")
