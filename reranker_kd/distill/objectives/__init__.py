"""What a student is held against: losses over scores, layers, embeddings, masked tokens."""
