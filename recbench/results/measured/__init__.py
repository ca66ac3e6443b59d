"""Metrics of other packages: files of their own in the folders of finished runs."""
