"""What the lists of a board's rows expose users to, beside what they had."""
