"""A comparison as one HTML page that is whole in itself."""
