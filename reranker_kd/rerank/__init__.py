"""Putting candidates into a better order: the rerankers and the registry that finds them by name."""
