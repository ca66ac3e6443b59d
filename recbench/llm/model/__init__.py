"""The language model: backbone, attention over packed rows, adapters, saving, several processes."""
