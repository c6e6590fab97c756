"""PoE-GAN, the method behind GauGAN2: pictures by any of a map, a sketch, a sentence and a style picture, or by none.

In: any of labels [N, H, W], a sketch [N, 1, H, W] of lines 1 on paper 0, a sentence (its embedding [N, width]) and a
photo whose style to take [N, 3, H, W] in [-1, 1]; and noise.
Out: pictures [N, 3, H, W] in [-1, 1].
Paper: Huang et al., "Multimodal Conditional Image Synthesis with Product-of-Experts GANs", ECCV 2022.
Official code: github deepimagination/PoE-GAN (its page alone: no code, no weights, and so no licence, were released).
All here is written from the paper; the bound of the variances' logarithms, ±10 by a tanh, and the weights of the
contrastive losses were checked against what others read in its appendix.

How it is made:
- Each input that is present gives a Gaussian expert of the global latent, and a map and a sketch give one of a spatial
  latent at each resolution, by their features there and the decoder's state, top down. A latent is drawn from the
  product of its experts and the prior; an absent input has no factor (`experts`).
- The global latent becomes w; at each resolution instance-normalised features are scaled and shifted by the spatial
  latent and then by w (LG-AdaIN).
- The discriminator projects each input that is present on its features, at several scales (`discriminator`).
- Non-saturating loss, lazy R1, the KL of each input's own expert, contrastive losses of pictures and of texts; each
  input is shown with probability 1/2, whatever the others do, so that all subsets are trained.

What the paper leaves open, or is otherwise here, all on purpose:
- The prior of the spatial latents is the unit Gaussian as the global one's is; the paper predicts theirs from the
  decoder's state. The state goes into the experts and into the scales all the same, and a prior that cannot move
  cannot collapse to a point, which an adversarial loss alone would have nothing against.
- The KL of an input's expert is taken at the state that the subset shown has led to, not at one of that input alone,
  which would take a pass of the decoder for each. It counts channels as a sum, places and resolutions as a mean.
- Logits of all places of a scale count, in a mean; then the scales, in a mean, with one for the picture as a whole.
- Of a style the discriminator is told means and deviations of the colours at three blurs, no more: the style picture
  of a training item is its photo, and from an encoding of it D would learn to look for that very photo.
- Pictures are compared with photos by the discriminator's own features, of the step's start; by VGG-19's, as in the
  paper, where its weights are given. A picture that was made by nothing is compared with none.
- Sentences and pictures are compared by heads of the discriminator, which learns to by real pairs (as XMC-GAN does).
  Equal captions are no wrong pair.
- The text encoder is frozen, as the paper's CLIP; by default it is a small one that is trained first on the same
  captions, so that nothing is downloaded.
- D and G learn by one and the same fake in a step. The style is encoded at half the size.
- Under bfloat16 experts, their product, KL, losses and R1 are computed in float32.
- The paper's schedules (presets 256 and 1024) were not run here.
"""
