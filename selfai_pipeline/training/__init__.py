"""From a label table to a scorer: pixels, augmentation, the trainer, its three stages, and checkpoints."""
