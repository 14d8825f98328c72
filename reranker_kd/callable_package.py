"""Packages that are called by their own name: ``reranker_kd.evaluate(run, qrels)`` is its ``evaluate``.

Importing any module of a package binds the package to its name in the parent, so a function of the same name could not
stand there.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any


class CallablePackage(ModuleType):
    """A package with a constant ``CALLED``, ``module:function``, that is imported when the package is called."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function."""
        module, _, function = self.CALLED.partition(":")
        return getattr(import_module(module), function)(*arguments, **options)
