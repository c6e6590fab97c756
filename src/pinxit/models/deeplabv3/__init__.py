"""DeepLabV3: what is where in a photo, as a label map.

In: a photo [3, H, W].
Out: a label map [H, W] of ids.
Paper: Chen, Papandreou, Schroff, Adam, "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv 2017.
Official code: github tensorflow/models (Apache 2.0); weights are read in the form of torchvision (github
pytorch/vision, BSD 3-Clause), which the names of ours follow. Nothing of either is carried over.

Departures, all on purpose:
- As torchvision's: no multi-grid in the last stage, and the first block of a stage that keeps its size has the dilation
  of the stage before. The dropout in its heads is not here: the paper has none.
- Weight decay leaves norms and biases alone.
- `detail` lets features of a quarter of the photo's size join the pyramid's, as DeepLabV3+ (Chen et al., ECCV 2018) but
  with one 3x3 convolution behind them in place of two. Off, but in the presets `cpu` and `tiny`.
- `balance`, `ema`, `jitter` and `warm_up`, for training from scratch on few photos; all off, but in these two presets.
- Random scales are drawn evenly in their logarithm; a window of the network's size is cut out of the scaled picture.
- A label set's 'unknown' is never predicted, and pixels that have it count nowhere.
"""
