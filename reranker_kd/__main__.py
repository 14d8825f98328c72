"""``python -m reranker_kd``: the same as the console script ``reranker-kd``."""

from reranker_kd.cli import main

if __name__ == "__main__":
    main()
