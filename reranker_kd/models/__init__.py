"""The networks, and how they are loaded from a folder."""
