"""GAWWN: a sentence and a place become a picture of 128 pixels: what to draw, and in which box or with which points.

In: a sentence of any length and script, noise z [N, z_dim], and a box, or up to 15 points such as beak, tail and eyes.
Out: pictures [N, 3, 128, 128].
Paper: Reed et al., "Learning What and Where to Draw", NIPS 2016.
Official code: github reedscot/nips2016 (no licence is named; what it builds on, github reedscot/icml2016, is MIT), of
which widths, weights of losses and the order of operations are read as facts. Nothing of it is carried over.

With `--where box` generator and discriminator have a path of what is in the box, and one of all: text and features are
put into the box, or cut out of it, by a spatial transformer. With `--where points` each part is a map of 16x16 places
with a 1 where it is.

Departures, all on purpose:
- The authors' weights are not imported: they are Lua Torch's whole objects (.t7), of layers and options, and have no
  other form. `pinxit import` says so; to have them is to train again, by the presets paper_box and paper_points.
- The text encoder built in is ours. The authors' is char-CNN-RNN: `--text-encoder char-cnn-rnn:MODEL`.
- The network that draws points for a sentence alone is not there: points are given.
- A mirrored bird's left and right parts are exchanged with it, and parts outside the picture are not drawn at its edge.
- A text of the batch that differs is the wrong one; the authors shuffle, and may hit a picture's own.
- The discriminator's text, which is the same everywhere, is not cut out of the box before its global path, as the
  released code does: that changes it only for boxes that reach outside the picture.
- The generator learns from what the discriminator says after its update; the released code takes its activations from
  before it.
- Convolutions ahead of a norm have no bias, which the norm would take away again.
- Several processes normalise by the whole batch.
- Logits are kept in place of probabilities: the same losses, without the overflow.
"""
