"""The files of the field: topics, qrels, runs and collections; read with validation, written atomically."""
