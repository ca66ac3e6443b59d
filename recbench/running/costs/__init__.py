"""What runs cost: the record of a finished one, and the time of a short one that foretells a long one."""
