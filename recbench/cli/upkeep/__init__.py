"""The commands that look after an installation and its root: doctor, sync, ui and gc."""
