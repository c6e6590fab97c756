"""StackGAN: a sentence becomes a picture, in two stages: a sketch of it in 64 pixels, then that in detail.

In: a sentence of any length and script, and noise.
Out: pictures [N, 3, size, size]: 64 pixels of Stage-I, 128 or 256 of Stage-II.
Paper: Zhang et al., "StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks", \
ICCV 2017.
Official code: github hanzhanggit/StackGAN-Pytorch (MIT), of which names in checkpoints, constants and the order of
operations are read as facts, and numbers from running it are in `tests/parity`; schedules of birds and flowers are
those of github hanzhanggit/StackGAN (MIT), the same authors' in TensorFlow. Nothing of either is carried over.

A sentence becomes numbers by a frozen text encoder (`pinxit.text`). The built-in one is trained first, as a stage of
its own, on the very captions and photos; others are named with `--text-encoder`.

Departures, all on purpose:
- The text encoder built in is ours. The authors' embeddings are char-CNN-RNN's: `--text-encoder char-cnn-rnn:MODEL`, or
  `precomputed` for their files.
- The discriminators of the TensorFlow code have layers of their own for the text, and truncate the noise of the
  condition; the schedules named after the paper and that code run on the networks of the PyTorch code, whose
  discriminators are given the generator's mean of the condition. `--no-unconditional` is the paper's Stage-II, without
  the head for pictures alone.
- 128 pixels are made by one upsampling less in the generator, and judged by one convolution of each kind less; the
  PyTorch code has 256 alone.
- The preset cpu samples with a moving average of the generator's weights (`--ema`), which the authors have not.
- Several processes normalise by the whole batch, and the wrong pairs are those of the whole batch.
- The biases of the discriminators' last convolutions begin at 0, and pictures are rounded to 8 bits, not cut off.
- Logits are kept in place of probabilities: the same losses, without the overflow.
"""
