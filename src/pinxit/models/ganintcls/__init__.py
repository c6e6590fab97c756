"""GAN-INT-CLS: a sentence becomes a picture of 64 pixels, in one stage; what StackGAN is compared with.

In: a sentence of any length and script, and noise z [N, z_dim].
Out: pictures [N, 3, 64, 64].
Paper: Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016.
Official code: github reedscot/icml2016 (MIT), of which widths, weights of losses and the order of operations are read
as facts. Nothing of it is carried over.

CLS: the discriminator is shown real pictures with their text, real ones with another's, and generated ones. INT: the
generator is also trained on texts halfway between two of the batch. With `--interpolated 0` and `--mismatched 0` it is
GAN-CLS, GAN-INT or plain GAN.

Departures, all on purpose:
- The authors' weights are not imported: they are Lua Torch's whole objects (.t7), of layers and options, and have no
  other form. `pinxit import` says so; to have them is to train again, by the preset paper.
- The text encoder built in is ours. The authors' is char-CNN-RNN: `--text-encoder char-cnn-rnn:MODEL`.
- Rectifiers follow each norm of the discriminator, as the paper has it; the released script leaves one out. A residual
  block of it that the script builds but never uses is not there.
- Convolutions ahead of a norm, and those that make pixels and the verdict, have no bias: the script sets them to 0
  ahead of each update.
- Several processes normalise by the whole batch, and texts are mixed over the whole batch.
- Photos keep their proportions; the authors squeeze them into a square.
- Logits are kept in place of probabilities: the same losses, without the overflow.
"""
