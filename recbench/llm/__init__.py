"""The engine that LLM methods share. Public for plugin authors; imports torch where it must, not here."""
