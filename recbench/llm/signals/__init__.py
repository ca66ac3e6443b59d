"""What methods learn from beside the next item: preferences, negatives, rewards, teachers."""
