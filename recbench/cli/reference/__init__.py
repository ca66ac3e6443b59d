"""How names appear on the terminal: as entries, and as completions of the shell."""
