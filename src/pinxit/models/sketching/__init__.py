"""GAN Sketching: one sketch or some thirty customise a generator, which then makes pictures of such outlines.

In: a model of StyleGAN2, one of PhotoSketch, and sketches: dark lines on white, of the model's size.
Out: a model of StyleGAN2, for `pinxit sample` and whatever else takes one; its latents have the meaning they had.
Paper: Wang, Bau, Zhu, "Sketch Your Own GAN", ICCV 2021.
Official code: github PeterWang512/GANSketching (MIT). Nothing of it is carried over; option names, names in
checkpoints, constants and the order of operations are facts read from it, and numbers from running it hold ours to
account (`tests/parity`).

Two discriminators judge what the generator makes: one its contours, as PhotoSketch draws them, beside the sketches
given; the other the pictures themselves, beside those that the model was trained on, so that colours and textures
stay. Both begin as the model's own. Of the generator the mapping alone is trained, unless asked otherwise: then what
z means is moved, and what a w looks like is not.

What is kept is the best iterate, by a score that needs no network beside PhotoSketch (`score.Measured`): how far the
outlines of 64 pictures, always of the same z, are from the nearest sketch; times what the pictures differ less among
themselves than they did. A pull towards one picture that suits a sketch does not win so. The paper chose by FID to a
test set of real pictures, which whoever draws a sketch does not have.

Departures, all on purpose:
- Where the pictures of the original training are not at hand, samples of the original generator stand in for them.
  What they lack of those, the customised model may lose too.
- The average over the last steps is scored and kept (`--ema 0`: the iterate itself, as the authors' code).
- Scores are computed with PhotoSketch as a finished model has it; while it is trained by, its batch norms take the
  statistics of the batch, as in the authors' code, over all ranks.
- A shift of w (`--train shift`, the authors' w_shift) is put into the layers that w goes to when the model is written,
  so that any reader of StyleGAN2 can use it.
- `--train styles` and `--train all` are ours.
- Sketches of other aspects are set on white paper; lines are cleaned (`pinxit.data.sketches`).
"""
