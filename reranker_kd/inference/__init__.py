"""Running a network over many texts: tokenise once, batch by tokens, results in the caller's order."""
