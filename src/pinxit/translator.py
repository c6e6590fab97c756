"""Pictures of any size and kind through a network that translates them: what all such methods' models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from pinxit.data.kinds import DType, Kind
from pinxit.data.rasters import from_unit, to_unit
from pinxit.errors import expected
from pinxit.modelfile import ModelFile
from pinxit.nn.dropout import Dropout, masks_of
from pinxit.nn.norm import BatchNorm2d

Picture = TypeVar("Picture", Image.Image, np.ndarray)
Network = TypeVar("Network", bound=nn.Module)

_MODES: dict[tuple[DType, int], str] = {
    ("uint8", 1): "L",
    ("uint8", 2): "LA",
    ("uint8", 3): "RGB",
    ("uint8", 4): "RGBA",
    ("uint16", 1): "I;16",
    ("float32", 1): "F",
}
"""What Pillow calls pictures of a kind, where it has any."""


class Translator:
    """A network with what it takes and gives.

    `network`: [N, C, H, W] in [-1, 1] -> [N, C', H, W], in eval mode, H and W multiples of `multiple`.
    `input`, `output`: the kinds of its pictures.
    `multiple`, `smallest`: what a side must be a multiple of, and at least.
    `margin`: how far away a pixel of the input may be from one of the output that hangs on it, norms aside.
    """

    def __init__(
        self,
        network: nn.Module,
        input: Kind,
        output: Kind,
        *,
        multiple: int,
        smallest: int,
        margin: int,
        device: torch.device,
    ) -> None:
        self.network, self.input, self.output, self.device = network, input, output, device
        self.multiple, self.smallest, self.margin = multiple, smallest, margin
        self._fast: dict[torch.dtype, Callable[[Tensor], Tensor]] = {}

    def fast(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor] | None:
        """What `network` computes without noise, made quick on a CPU, in `dtype` (see `pinxit.nn.folded`); None where
        it has no such form."""
        return None

    def computed(self, x: Tensor) -> Tensor:
        """What the network makes of x [N, C, H, W], in the quickest way there is.

        On a CPU, where dropout is off, that is `fast`: it agrees with `network` to rounding, and within
        `torch.autocast` it computes in bf16. Windows of a large picture (`pinxit.nn.tiling`) go through `network`,
        whose norms can be hooked. Without gradients; the weights must not change after the first picture.
        """
        x = x.to(self.device)
        noisy = any(isinstance(module, Dropout) and module.at_test for module in self.network.modules())
        if self.device.type != "cpu" or noisy:
            return self.network(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
        if dtype not in self._fast:
            has_one = dtype in (torch.float32, torch.bfloat16)
            self._fast[dtype] = (self.fast(dtype) if has_one else None) or self.network
        if self._fast[dtype] is self.network:
            return self.network(x)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            return self._fast[dtype](x)

    def norms(self) -> list[nn.Module]:
        """The layers that take their statistics from the picture, which windows of one picture must share."""
        return [
            module
            for module in self.network.modules()
            if isinstance(module, nn.InstanceNorm2d) or (isinstance(module, BatchNorm2d) and module.picture_at_test)
        ]

    def translate(self, picture: Picture, seed: int = 0) -> Picture:
        """A picture of any size -> its translation, of that size: a PIL picture for one, an array for an array.

        `picture`: of the kind `input`; an array is [H, W, C], or [H, W] of one channel. A PIL picture is converted to
        the colours of that kind.
        `seed`: of what dropout leaves out; without effect in a model that has none at test time.

        A side that the network cannot have is continued by reflection, and what comes of that cut off again.

        Raises `PinxitError` for an array of another kind, or a PIL picture where one of the kinds has no such form.
        """
        array = self._array(picture)
        height, width = array.shape[:2]
        margins = [(0, self.padded(side) - side) for side in (height, width)]
        x = torch.from_numpy(to_unit(np.pad(array, [*margins, (0, 0)], mode="reflect"), self.input))
        with torch.inference_mode(), masks_of(self.network, torch.Generator().manual_seed(seed)):
            out = self.computed(x[None])[0, :, :height, :width]
        result = from_unit(out.float().cpu().numpy(), self.output)
        return self._picture(result) if isinstance(picture, Image.Image) else result  # pyright: ignore[reportReturnType]

    def padded(self, side: int) -> int:
        """The length that a side is continued to."""
        return max(self.smallest, -(-side // self.multiple) * self.multiple)

    def _array(self, picture: Image.Image | np.ndarray) -> np.ndarray:
        kind = self.input
        if isinstance(picture, Image.Image):
            mode = _MODES.get((kind.dtype, kind.channels))
            if mode is None or (_MODES.get((self.output.dtype, self.output.channels)) is None):
                what = kind if mode is None else self.output
                raise expected("picture", "a PIL image", f"an array, as PIL has no {what}", "give [H, W, C]")
            picture = np.asarray(picture if picture.mode == mode else picture.convert(mode))
        array = picture[..., None] if picture.ndim == 2 else picture
        if array.ndim != 3 or array.dtype != kind.dtype or array.shape[2] != kind.channels or array.size == 0:
            got = f"{picture.dtype} of shape {list(picture.shape)}"
            raise expected("picture", got, f"[H, W, {kind.channels}] of {kind.dtype}", "convert it")
        return array

    def _picture(self, array: np.ndarray) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def filled(network: Network, part: str, file: ModelFile, device: torch.device) -> Network:
    """The network with the weights called `part.…` in a model file, ready to compute without gradients.

    Raises `PinxitError` where they are not the network's.
    """
    state = {name.removeprefix(f"{part}."): v for name, v in file.tensors.items() if name.startswith(f"{part}.")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[1].strip()
        raise expected(
            f"the model's {part}", f"not as its configuration ({problem})", "whole", "train or import it again"
        ) from error
    network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - not in its types
    return network.eval().requires_grad_(False)


def options_of(file: ModelFile, known: set[str], kinds: tuple[str, ...]) -> dict[str, Any]:
    """The options in a model file, as the fields `known` of a Network want them; `kinds` are the fields with a Kind.

    Raises `PinxitError` for one this version does not know, or a kind that is missing.
    """
    if extra := sorted(set(file.config) - known):
        raise expected("the model's configuration", f"with {extra[0]!r}", "options of this version", "update Pinxit")
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in file.config.items()}
    return {**options, **{name: Kind.from_dict(file.config.get(name) or {}) for name in kinds}}
