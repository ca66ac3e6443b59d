"""How items become tokens and back: titles, identifiers, prompts, the trie."""
