"""Finding candidates: Lucene through Pyserini."""
