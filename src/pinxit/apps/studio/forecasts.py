"""How long the presets of SinGAN would take for a photo here: a program of its own, run by `jobs`.

A process of its own, since the measuring seeds torch's generator, which all threads of a process share, and since its
threads would be the server's.
"""

from __future__ import annotations

import dataclasses
import json
import sys

PRESETS = ("draft", "fast", "paper")
"""Those a person may want; `tiny` only tries the machinery."""


def forecasts(height: int, width: int) -> dict[str, tuple[float, float]]:
    """Preset -> (seconds, bytes of memory), about, for a photo of this size; from a few steps on small noise."""
    import torch

    from pinxit.models.singan.config import PRESETS as OPTIONS
    from pinxit.models.singan.pyramid import plan
    from pinxit.models.singan.recipe import SinGANRecipe
    from pinxit.training.distributed import pick_device, quick_at_bf16

    device = pick_device("auto")
    found = {}
    for preset in PRESETS:
        options = OPTIONS[preset]
        training = dataclasses.replace(options.training, bf16=options.training.bf16 and quick_at_bf16(device))
        pyramid = plan(height, width, options.network)
        photo = torch.zeros(1, 3, *pyramid.sizes[-1])
        recipe = SinGANRecipe(options.network, training, pyramid, photo).to(device)
        found[preset] = recipe.cost(options.network, training)
    return found


if __name__ == "__main__":
    print(json.dumps(forecasts(int(sys.argv[1]), int(sys.argv[2]))))
