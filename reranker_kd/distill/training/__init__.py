"""A student while it learns."""
