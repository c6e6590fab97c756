"""Pictures to features of the Inception network, by the protocols that published numbers are measured by."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pinxit.data.download import cache_folder
from pinxit.errors import PinxitError, unknown_name
from pinxit.evaluation.inception import SIDE, Inception, Layer
from pinxit.evaluation.pictures import Pictures
from pinxit.modelfile import replacing

Protocol = Literal["pytorch-fid", "torch-fidelity", "clean"]
"""How a picture gets into the network. All begin with its 8-bit RGB values and differ in how they bring it to 299x299,
which alone moves FID by whole points."""

PROTOCOLS: dict[Protocol, str] = {
    "pytorch-fid": "bilinear to 299x299 by PyTorch (half-pixel centres, no antialiasing), values 2x/255 - 1",
    "torch-fidelity": "bilinear to 299x299 as TensorFlow 1 (legacy corners, no antialiasing), values (x - 128)/128",
    "clean": "bicubic to 299x299 by Pillow in floats (antialiased), clipped to 0..255, values (x - 128)/128",
}

FORMAT = "1"
"""Of the files in the cache; to be counted up when features of the same name would come out different."""


@dataclass(frozen=True)
class Features:
    """What the network makes of a set of pictures, with all that is needed to say how."""

    values: Tensor
    """float32 [N, C] on the CPU, in the order of the pictures, the same on every rank."""
    name: str
    """Of the set."""
    digest: str
    """Of the set (`Pictures.digest`)."""
    size: tuple[int, int]
    """(height, width) of every picture."""
    protocol: Protocol
    layer: Layer
    weights: str | None
    """SHA-256 of the network's file."""


def features(
    pictures: Pictures,
    network: Inception,
    protocol: Protocol = "pytorch-fid",
    *,
    layer: Layer = "2048",
    batch: int = 32,
    keep: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Features:
    """The features of every picture at `layer`, maps averaged over their pixels.

    Computed where the network is, in fp32 whatever surrounds it. Under `torchrun` whole batches are dealt out to the
    ranks in turn: each batch is the very same as in one process, and so are its features, each of which is computed
    once.

    `keep`: look for them in the cache folder first, and put them there (a reference set is measured once). What is
    there belongs to the pictures' contents, the protocol and the weights, not to names of files.
    `progress(done, of)`: called after each batch with numbers of pictures, on every rank.

    Raises:
        PinxitError: the pictures are not of one size, one is damaged, or there is no such protocol.
    """
    if protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, get_args(Protocol))
    size = pictures.one_size()  # every rank finds what is wrong by itself: none waits for one that has ended
    key = {
        "format": FORMAT,
        "pictures": pictures.digest,
        "protocol": f"{protocol}: {PROTOCOLS[protocol]}",
        "layer": layer,
        "weights": str(network.digest),
    }
    file = cache_folder() / "features" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.safetensors"
    keep = keep and network.digest is not None
    shape = (len(pictures), network.channels(layer))
    # Ranks may be on machines with caches of their own: the first decides for all.
    first = not dist.is_initialized() or dist.get_rank() == 0
    values = _read(file, key, shape) if keep and first else None
    home = next(network.parameters()).device
    if _as_first_rank(torch.tensor(int(values is not None)), home):
        values = _as_first_rank(values if values is not None else torch.empty(shape), home)
    else:
        values = _over_ranks(pictures, network, protocol, layer, batch, progress)
        if keep and first:
            with suppress(PinxitError):  # a full disk costs the next evaluation some time, and this one nothing
                _write(file, key, values)
    return Features(values, pictures.name, pictures.digest, size, protocol, layer, network.digest)


def prepared(picture: Tensor, protocol: Protocol) -> Tensor:
    """A picture uint8 [3, H, W] as the network takes it, float32 [3, 299, 299]."""
    match protocol:
        case "pytorch-fid":
            unit = picture.float()[None] / 255
            return 2 * F.interpolate(unit, (SIDE, SIDE), mode="bilinear", align_corners=False)[0] - 1
        case "torch-fidelity":
            return (tensorflow_bilinear(picture.float(), SIDE) - 128) / 128
        case "clean":
            channels = [
                Image.fromarray(c).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for c in picture.float().numpy()
            ]
            return (torch.from_numpy(np.stack([np.asarray(c) for c in channels])).clamp(0, 255) - 128) / 128


def tensorflow_bilinear(x: Tensor, side: int) -> Tensor:
    """float32 [..., H, W] -> [..., side, side] as TensorFlow 1's `resize_bilinear` does without aligned corners.

    Output pixel i lies at i * size / side of the input, not at the centres' (i + 0.5) * size / side - 0.5: pictures
    are moved by up to half a pixel towards the upper left, and the last rows are repeated.
    """
    for dim in (-1, -2):  # across first, as there, so that roundings are the same
        size = x.shape[dim]
        place = torch.arange(side, dtype=torch.float32) * torch.tensor(size / side, dtype=torch.float32)
        low = place.long().clamp(max=size - 1)
        a, b = x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=size - 1))
        weight = place - low
        x = a + (b - a) * (weight if dim == -1 else weight[:, None])
    return x


def _over_ranks(
    pictures: Pictures,
    network: Inception,
    protocol: Protocol,
    layer: Layer,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Every picture's features, on every rank."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    device = next(network.parameters()).device
    # A quarter quicker on the CPU.
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    shares = [range(i, min(i + batch, len(pictures))) for i in range(0, len(pictures), batch)]
    rounds = -(-len(shares) // world)
    mine = torch.zeros(rounds, batch, network.channels(layer), device=device)
    # fp32 throughout: cuDNN's TF32 would move FID in the third digit.
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=False),
        torch.backends.cudnn.flags(allow_tf32=False),
    ):
        for i, x in enumerate(_read_ahead(pictures, shares[rank::world], protocol)):
            x = network(x.to(device, memory_format=layout), layer)
            mine[i, : len(x)] = x if x.ndim == 2 else x.mean((2, 3))
            if progress is not None:
                progress(min((i + 1) * world * batch, len(pictures)), len(pictures))
    if world == 1:
        return mine.flatten(0, 1)[: len(pictures)].cpu()
    home = _meeting_place(device)
    theirs = [torch.empty_like(mine, device=home) for _ in range(world)]
    dist.all_gather(theirs, mine.to(home))
    # Batch k is the (k // world)-th of rank k % world; only the last one is not full, and what pads it goes last.
    return torch.stack(theirs, 1).flatten(0, 2)[: len(pictures)].cpu()


def _read_ahead(pictures: Pictures, shares: list[range], protocol: Protocol) -> Iterator[Tensor]:
    """Batches [N, 3, 299, 299]; while one is used, the next is decoded."""

    def one(i: int) -> Tensor:
        return prepared(pictures[i], protocol)

    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        waiting = [pool.submit(one, i) for i in shares[0]] if shares else []
        for following in [*shares[1:], range(0)][: len(shares)]:
            coming = [pool.submit(one, i) for i in following]
            yield torch.stack([future.result() for future in waiting])
            waiting = coming


def _meeting_place(device: torch.device) -> torch.device:
    """Where ranks exchange tensors."""
    return device if dist.get_backend() == "nccl" else torch.device("cpu")


def _as_first_rank(x: Tensor, device: torch.device) -> Tensor:
    """What the first rank has of a tensor that all have of one shape and type."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        x = x.to(_meeting_place(device))
        dist.broadcast(x, 0)
    return x.cpu()


def _read(file: Path, key: dict[str, str], shape: tuple[int, int]) -> Tensor | None:
    """Features from the cache; None where there are none, or what is there is damaged or something else."""
    with suppress(SafetensorError, OSError), safe_open(file, framework="pt") as f:
        if f.metadata() == key and list(f.keys()) == ["features"]:
            values = f.get_tensor("features")
            if values.shape == shape and values.dtype == torch.float32 and values.isfinite().all():
                return values
    return None


def _write(file: Path, key: dict[str, str], values: Tensor) -> None:
    with replacing(file) as temporary:
        temporary.write_bytes(save({"features": values.contiguous()}, metadata=key))
