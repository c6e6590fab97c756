"""What the pictures of one side of a translation are, for configurations and model files; imports nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from pinxit.errors import expected

DType = Literal["uint8", "uint16", "float32"]

FULL: dict[DType, tuple[float, float]] = {"uint8": (0.0, 255.0), "uint16": (0.0, 65535.0)}
"""The range of each integer type; a float has none, so that of its files is measured."""


@dataclass(frozen=True)
class Kind:
    """Channels, number type and value range of pictures; in a model file it is a plain dict."""

    channels: int = 3
    dtype: DType = "uint8"
    low: float = 0.0
    """The value that becomes -1."""
    high: float = 255.0
    """The value that becomes +1."""

    def __post_init__(self) -> None:
        if not isinstance(self.channels, int) or self.channels < 1:
            raise expected("channels of a picture", self.channels, "1 or more", "correct it")
        if self.dtype not in get_args(DType):
            raise expected("number type of a picture", repr(self.dtype), " or ".join(get_args(DType)), "correct it")
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise expected(
                "value range of a picture", f"{self.low:g}..{self.high:g}", "a low and a higher value", "correct it"
            )

    def __str__(self) -> str:
        return f"{self.channels}-channel {self.dtype} of {self.low:g}..{self.high:g}"

    def as_dict(self) -> dict[str, Any]:
        """JSON values, for the configuration in a model file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Kind:
        """Raises `PinxitError` where `values` are not what `as_dict` gives."""
        match values:
            case {
                "channels": int(channels),
                "dtype": str(dtype),
                "low": float() | int() as low,
                "high": float() | int() as high,
            } if dtype in get_args(DType):
                return cls(channels, dtype, float(low), float(high))  # pyright: ignore[reportArgumentType]
        form = '{"channels": 3, "dtype": "uint8", "low": 0, "high": 255}'
        raise expected("kind of pictures in the model file", values, form, "train or import the model anew")
