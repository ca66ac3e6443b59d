"""From examples to trained weights: packing, the forward pass, losses, the trainer."""
