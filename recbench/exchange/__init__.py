"""What leaves for other tools and comes from them: MLflow, rankings made elsewhere."""
