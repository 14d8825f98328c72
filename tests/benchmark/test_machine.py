"""What the machine has."""

from __future__ import annotations

import json
import os

import torch

from reranker_kd.benchmark.machine import describe_machine, matrix_product_rates


def test_the_machine_is_described_in_json_values():
    said = describe_machine("cpu")
    assert json.loads(json.dumps(said)) == said
    assert said["cores"] >= 1 and said["memory_bytes"] > 0 and said["cpu"]
    assert said["torch"] == torch.__version__
    assert os.uname().nodename not in json.dumps(said)


def test_the_ceiling_has_a_rate_for_each_precision():
    rates = matrix_product_rates("cpu")
    assert list(rates) == ["float32", "bfloat16"]
    assert min(rates.values()) > 0
