"""From weights to rankings and texts: search, beams, generation, grounding."""
