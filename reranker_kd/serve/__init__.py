"""A local service over an index and several rerankers. Needs the extra ``serve``."""
