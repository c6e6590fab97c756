"""pix2pixHD: a label map (or another picture) becomes a photo, from coarse to fine, in a style for each object.

In: a label map [H, W] of ids, optionally an instance map, a style for each object; or a picture of another kind.
Out: a picture [3, H, W], or of as many channels as were trained on.
Paper: Wang, Liu, Zhu, Tao, Kautz, Catanzaro, "High-Resolution Image Synthesis and Semantic Manipulation with \
Conditional GANs", CVPR 2018.
Official code: github NVIDIA/pix2pixHD (CC BY-NC-SA 4.0). Nothing of it is carried over; option names, names in
checkpoints, constants and the order of operations are facts read from it, and numbers from running it hold ours to
account (`tests/parity`).

The schedule from coarse to fine is one run here: the global generator at half the size, then the enhancer alone, then
all of it. The official code has two runs, of which the second loads what fits of the first.

Departures, all on purpose:
- Checkpoints must fit, each name and shape; the official code falls back to loading the tensors that do.
- Label maps may have 'unknown' pixels, which get a channel of their own behind the labels.
- Clusters of features are made of the last 1000 objects of each label that training saw, with the encoder of their
  time, not in a pass over the data afterwards; they are in the model file. An object's label is that of most of its
  pixels, not its id divided by 1000. An object keeps its style for a seed, whatever else is in the map; one of a label
  without clusters has features 0, where the official code leaves what the memory held.
- The learning rates decay every step; the official code lowers them once an epoch.
- The vanilla loss works beside feature matching: it is computed on logits, and no sigmoid gets lost.
- Exported weights may be a moving average (`ema`); the official code has none, and neither have the paper's presets.
- A size that the network's halvings do not divide is padded and cropped back.
"""
