"""Where pretrained weights are on this machine: in the cache of the Hub, in packages, in GGUF files."""
