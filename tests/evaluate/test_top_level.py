"""What the top level offers by the names of packages, whatever was imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from reranker_kd import compare, evaluate
qrels = {"1": {"a": 1}}
runs = {"good": {"1": {"a": 2.0, "b": 1.0}}, "bad": {"1": {"a": 1.0, "b": 2.0}}}
print(evaluate(runs["bad"], qrels, ["RR"]).means["RR"])
print(compare(runs, qrels, ["RR"], resamples=100).system("bad").differences["RR"].mean)
"""


@pytest.mark.parametrize("before", ["", "import reranker_kd.evaluate.tables, reranker_kd.compare.tables"])
def test_packages_are_called(before):
    done = subprocess.run([sys.executable, "-c", before + PROGRAM], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0.5", "-0.5"], done.stderr
