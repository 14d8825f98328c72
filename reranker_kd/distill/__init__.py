"""Making students: what a small model learns from a large one, and how well it does so. The package can be called."""

import sys

from reranker_kd.callable_package import CallablePackage

CALLED = "reranker_kd.distill.distill:distill"
sys.modules[__name__].__class__ = CallablePackage
