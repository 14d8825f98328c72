"""Finding candidates: Lucene through Pyserini, and embeddings. The package can be called."""

import sys

from reranker_kd.callable_package import CallablePackage

CALLED = "reranker_kd.retrieve.first_stage:retrieve"
sys.modules[__name__].__class__ = CallablePackage
