"""The commands that say what there is, and how names appear on the terminal: as entries, in help, as
completions of the shell."""
