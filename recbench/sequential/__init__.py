"""Small recommenders over item ids, and the adapter to RecBole."""
