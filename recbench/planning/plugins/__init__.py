"""Third parties' packages, asked in processes of their own; and their answers, kept."""
