"""The papers' printed tables, and ours beside them."""
