"""Losses over tokens and over responses: pure functions of tensors."""
