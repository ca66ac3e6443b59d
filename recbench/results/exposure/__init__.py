"""What lists expose users to, beside what they had: shares of categories and of popular items, repetition."""
