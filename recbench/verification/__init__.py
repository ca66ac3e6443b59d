"""Finished runs and boards, made sure of: computed again from the data, the weights and the recipe."""
