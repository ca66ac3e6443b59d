"""What every room stands on: the root folder, files, locks, digests, parameters, the machine."""
