"""What every name stands for: methods, datasets, backbones, ..., settings. Nothing is trained or fetched."""
