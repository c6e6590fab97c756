"""StyleGAN2: pictures out of nothing but chance, like those it was trained on; and what can be done with its latents.

In: noise z [N, style_dim], or a latent w or w+ of it.
Out: pictures [N, 3, size, size], of 8 to 1024 pixels.
Paper: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
Official code: github NVlabs/stylegan2 (Nvidia Source Code License-NC, a licence for non-commercial use alone). Nothing
of it is carried over. What is held to account is the widely used PyTorch form, github rosinality/stylegan2-pytorch
(MIT): names in checkpoints, constants and the order of operations are facts read from it, and numbers from running it
are in `tests/parity`. Augmentation for small sets: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN
Training", NeurIPS 2020.

Departures, all on purpose:
- Styles scale activations, not weights, and the root of 2 behind the leaky ReLU is folded into what is ahead of it: the
  same functions but for rounding, and quicker (`nn.modulation`, `nn.upfirdn`).
- The mean length of paths, and with it the penalty's gradient, is that of the whole batch over all processes.
- Under bfloat16 the mapping, what is added up to the picture, the discriminator's end and both penalties are computed
  in float32.
- Adaptive augmentation (ADA) is not there; DiffAugment is.
- Pictures of another aspect are cut to the square in their middle, and scaled by Lanczos' filter.
"""
