"""Dataset cards, raw formats, prepared splits, and their import and export."""
