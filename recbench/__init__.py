"""recbench: compare preference-tuning methods for LLM-based recommendation under one protocol."""
