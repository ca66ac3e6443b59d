"""Training on the policy's own responses: groups, their rewards, the rows made from them, the reference."""
