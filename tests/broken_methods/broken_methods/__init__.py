"""Methods that break the contract, one way each, and a few that keep it."""
