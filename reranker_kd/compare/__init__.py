"""Runs side by side: tests, ceilings, agreement, cost, pictures and a page. The package can be called."""

import sys

from reranker_kd.callable_package import CallablePackage

CALLED = "reranker_kd.compare.compare:compare"
sys.modules[__name__].__class__ = CallablePackage
