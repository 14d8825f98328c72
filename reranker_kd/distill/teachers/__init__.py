"""Whatever scores the pairs of a transfer set."""
