"""Files to tensors: label sets, pictures, folder layouts, the check before training, augmentation, the stream."""
