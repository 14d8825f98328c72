"""From topics to figures: one path for run, rerank, demo and serve."""
