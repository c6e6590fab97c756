"""pix2pix: a picture becomes another, learnt from pairs.

In: a picture [C, H, W] of any number of channels, 8 or 16 bit or float: a drawing, a label map in colour, a day.
Out: a picture [C', H, W] of the other kind: a photo, a night.
Paper: Isola, Zhu, Zhou, Efros, "Image-to-Image Translation with Conditional Adversarial Networks", CVPR 2017.
Official code: github junyanz/pytorch-CycleGAN-and-pix2pix (BSD 2-Clause). Nothing of it is carried over; option names,
names in checkpoints, constants and the order of operations are facts read from it, and numbers from running it hold
ours to account (`tests/parity`).

What a finished model does differs from training in two ways, both stored in the model file and open to choice:
- Batch norm. The authors' test script leaves it in train mode, where it takes the statistics of the one picture it is
  shown. A model trained with batch 1 has known no others, so that is the default for it, and for imported weights
  (`test_norm` picture). A model trained with larger batches takes those gathered in training (`running`).
- Dropout. The authors' test script leaves it on, as the noise z; little of it is to be seen, and no two runs agree.
  Here it is off unless asked for (`test_dropout`), and then a seed decides.

Departures, all on purpose:
- Statistics of batch norm, and what dropout drops, are those of the whole batch over all ranks, so that n ranks compute
  what one would; the official DataParallel normalises each GPU's share by itself.
- In a batch, `picture` statistics are those of each picture, so that none depends on what else is in the batch.
- The learning rates decay every step; the official code lowers them once an epoch.
- With the Wasserstein loss there is a gradient penalty (Gulrajani et al. 2017), which the official pix2pix leaves out.
- Results are rounded to the nearest of the values that a file can have; the official code cuts the fraction off.
- A picture of any size is translated at that size; the official test script scales it to 256x256.
- The U-Net may have any depth from 2 on, and a widest layer of less than 8 times `width`.
"""
