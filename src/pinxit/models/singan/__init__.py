"""SinGAN: one photo is learnt; out come variations of it of any size, and edits of it that fit in.

In: one photo of any size and kind; for the edits also a picture changed by hand, with a mask, or a flat painting.
Out: pictures of the photo's kind [3, H, W]: samples, enlargements, animations, harmonised and edited photos, paintings.
Paper: Rott Shaham, Dekel, Michaeli, "SinGAN: Learning a Generative Model from a Single Natural Image", ICCV 2019.
Official code: github tamarott/SinGAN (MIT, as its forks state). Nothing of it is carried over; option names, files,
constants and the order of operations are facts read from it, and numbers from running it hold ours to account
(`tests/parity`).

What the authors' code does and the paper does not say, kept by the preset `paper`:
- The three generator updates of an iteration share one fake; PyTorch up to 1.4 let their gradients mix its activations
  with the new weights, and later ones refuse. Ours computes the same, to the last digits (`live_weights` in recipe.py);
  `--fake recomputed` is what the maths would have.
- Every resize cuts to 8 bits, and treats left and right borders differently (pyramid.py).
- Previews run the generator in train mode, which moves the statistics of its batch norm.

Departures, all on purpose:
- `fast` and `draft` train with one update of each network an iteration, the gradient penalty at every fourth, in bf16,
  and never wider than 64 channels; on windows at the fine scales, one in each part of the picture, and longer at the
  coarse ones; their inputs come from a pool of pictures that climbs with the scales. There batch norm in the generator
  keeps the statistics of whole pictures once the learning rate has decayed (docs/decisions/0010).
- Noise is drawn from the seed, the scale and the step; the order of draws within a step is the authors'.
- Retraining a scale for paintings (`--base`) reduces its input to colours of the photo; there k-means is of triples of
  a tensor laid out channel by channel, which are no colours. A painting is shrunk and then takes the nearest colour at
  each pixel; there it is clustered anew from the photo's centres, takes these, and is shrunk. The margin stays 0; there
  it takes a colour too. And such a model reduces that input whatever it makes; there it makes nothing but paintings.
- A start scale above 0 with another size begins from the reconstruction, stretched; there it fails.
- Transparency shows white; there it is ignored. Loops in animations are ours.
"""
