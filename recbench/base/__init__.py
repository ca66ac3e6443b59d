"""The root folder, files, locks, digests, parameters and the machine: the base of every other package."""
