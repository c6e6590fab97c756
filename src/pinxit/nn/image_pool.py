"""A history of generated pictures for the discriminator (Shrivastava et al. 2017, sec. 2.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class ImagePool(nn.Module):
    """The last pictures of a generator, of which some are shown to the discriminator in place of new ones.

    The first `size` pictures are kept and handed on as they are. After that each is, as likely as not, kept in the
    place of one at hand, which is handed on instead. The pictures are buffers, so a resumed run has them; over several
    ranks each has all of them, so that ranks do together what one process would. `size` 0: hand on everything.
    """

    def __init__(self, size: int = 50) -> None:
        super().__init__()
        self.size = size

    def query(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """[N, C, H, W] -> as many, some of them older ones; without gradients.

        `generator`: on the CPU, the same on every rank.
        """
        if self.size == 0:
            return pictures.detach()
        world, rank, rows = 1, 0, len(pictures)
        if dist.is_initialized():
            world, rank = dist.get_world_size(), dist.get_rank()
        batch = pictures.detach().contiguous()
        if world > 1:
            parts = [torch.empty_like(batch) for _ in range(world)]
            dist.all_gather(parts, batch)
            batch = torch.cat(parts)
        shown = []
        for picture in batch.split(1):
            if len(self._buffers) < self.size:
                self.register_buffer(str(len(self._buffers)), picture.clone())
                shown.append(picture)
            elif torch.rand((), generator=generator) > 0.5:
                place = str(int(torch.randint(self.size, (), generator=generator)))
                older = self._buffers[place]
                assert older is not None
                shown.append(older.to(batch))
                self._buffers[place] = picture.clone()
            else:
                shown.append(picture)
        return torch.cat(shown[rank * rows : (rank + 1) * rows])

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **options: Any) -> None:
        # As many pictures, and of such sizes, as the state has.
        self._buffers.clear()
        for name in [name for name in state_dict if name.startswith(prefix)]:
            self.register_buffer(name.removeprefix(prefix), torch.empty_like(state_dict[name]))
        super()._load_from_state_dict(state_dict, prefix, *args, **options)
