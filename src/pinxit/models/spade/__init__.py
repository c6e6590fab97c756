"""SPADE / GauGAN: a label map becomes a photo, in a style of one's choosing.

In: a label map [H, W] of ids, optionally an instance map, a style (a seed, a picture, or a vector z).
Out: a picture [3, H, W].
Paper: Park, Liu, Wang, Zhu, "Semantic Image Synthesis with Spatially-Adaptive Normalization", CVPR 2019.
Official code: github NVlabs/SPADE (CC BY-NC-SA 4.0). Nothing of it is carried over; option names, names in checkpoints,
constants and the order of operations are facts read from it, and numbers from running it hold ours to account
(`tests/parity`).

Departures, all on purpose:
- Batch norm over several ranks divides by sqrt(var + eps), as in one process; the official synchronised one by
  sqrt(max(var, eps)).
- The KL term is summed over the batch of all ranks, so that n ranks compute what one would; the official multi-GPU
  code averages the sums of its GPUs.
- The learning rates decay every step; the official code lowers them once an epoch.
- z may have any number of dimensions, and the encoder any crop size; there the encoder's heads give 256 whatever is
  asked for, and a VAE under 256 px fails.
- A label map needs no photo beside it to be painted; ids that are out of range are refused by name.
- Exported weights may be a moving average (`ema`); the official code has none, and neither have the paper's presets.
- Its pix2pixHD generator, an ablation, is not here.
"""
