"""Effectiveness of runs. Imports neither torch nor Java."""
