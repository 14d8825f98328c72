"""Runs made ready to be submitted: checked against a track's rules, described, compressed, with checksums."""
