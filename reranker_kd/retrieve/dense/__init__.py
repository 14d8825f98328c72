"""FAISS folders: embeddings written so that Pyserini's FaissSearcher opens them, and such folders searched."""
