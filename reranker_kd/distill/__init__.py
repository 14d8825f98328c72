"""Making students: what a small model learns from a large one, and how well it does so."""
