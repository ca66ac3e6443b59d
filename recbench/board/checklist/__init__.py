"""The reproducibility checklist of a method's runs, in the terms of audits of LLM-based recommendation."""
