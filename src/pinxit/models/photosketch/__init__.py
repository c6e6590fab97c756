"""PhotoSketch: a photo becomes a contour drawing, learnt from photos that several people have drawn.

In: a photo, 8-bit RGB of any size.
Out: its contour drawing, 8-bit grey of that size, dark lines on white.
Paper: Li, Lin, Mech, Yumer, Ramanan, "Photo-Sketching: Inferring Contour Drawings from Images", WACV 2019.
Official code: github mtli/PhotoSketch (BSD 3-Clause since 2023). Nothing of it is carried over; option names, names in
checkpoints, constants and the order of operations are facts read from it, and numbers from running it hold ours to
account (`tests/parity`).

People draw one photo in several ways, and the mean of their drawings is none. So the drawing that comes out is compared
with the nearest of those there are alone, while the discriminator is shown all of them.

A finished model takes the statistics of its batch norms from the picture it is shown, and has no dropout: so does the
authors' test script, which leaves the network in train mode (`test_norm` picture). A small data set on even backgrounds
does better by those gathered in training (`running`).

Departures, all on purpose:
- A photo of any size is drawn at that size. The official test script scales it to 256x256, and the drawing back:
  `Model.draw` does so. Lines are as wide as they were in training, so that a large photo gets finer ones.
- A drawing is rounded to the nearest of the values that a file can have; the official code cuts the fraction off.
- Photos may have different numbers of drawings; those of fewer are shown more often, so that each photo counts as much.
- Rotation, zoom and crop for training are one resampling of the picture; the official code makes three. Turns are of
  any angle, not of multiples of 5 degrees.
- Statistics of batch norm, and what dropout drops, are those of the whole batch over all ranks; the learning rates
  decay every step, not once an epoch.
"""
