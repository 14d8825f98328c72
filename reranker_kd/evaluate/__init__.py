"""Effectiveness of runs. Imports neither torch nor Java. The package can be called."""

import sys

from reranker_kd.callable_package import CallablePackage

CALLED = "reranker_kd.evaluate.evaluation:evaluate"
sys.modules[__name__].__class__ = CallablePackage
