"""CycleGAN: pictures of one kind become pictures of another, learnt from both kinds without pairs.

In: a picture [C, H, W] of side A or of side B: a day, a horse.
Out: a picture [C', H, W] of the other side: a night, a zebra.
Paper: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", ICCV 2017.
Official code: github junyanz/pytorch-CycleGAN-and-pix2pix (BSD 2-Clause). Nothing of it is carried over; option names,
names in checkpoints, constants and the order of operations are facts read from it, and numbers from running it hold
ours to account (`tests/parity`).

One model file has both generators, AtoB and BtoA; what the authors release has one, and so has a model imported from
it.

Departures, all on purpose:
- The history of fakes is that of the whole batch over all ranks, and a resumed run has it; the official code forgets
  it.
- With batch norm a finished model may use the picture's own statistics (the authors' test script) or those gathered
  in training; dropout is off in it unless asked for. Both are stored in the model file (`test_norm`, `test_dropout`).
- The learning rates decay every step; the official code lowers them once an epoch.
- Results are rounded to the nearest of the values that a file can have; the official code cuts the fraction off.
- A picture of any size is translated at that size; the official test script scales it to 256x256.
- The sides may have different numbers of channels, where the identity loss is off.
"""
