"""What the machine has."""

from __future__ import annotations

import json
import os

import pytest
import torch

from reranker_kd.benchmark.machine import _SIDE, describe_machine, matrix_product_rates


def test_the_machine_is_described_in_json_values():
    said = describe_machine("cpu")
    assert json.loads(json.dumps(said)) == said
    assert said["cores"] >= 1 and said["memory_bytes"] > 0 and said["cpu"]
    assert said["torch"] == torch.__version__
    assert os.uname().nodename not in json.dumps(said)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_the_ceiling_has_a_rate_for_each_precision_of_the_device(monkeypatch, has_bfloat16):
    monkeypatch.setattr("reranker_kd.benchmark.machine.computes_in_bfloat16", lambda _: has_bfloat16)
    monkeypatch.setitem(_SIDE, "cpu", 64)
    rates = matrix_product_rates("cpu")
    assert list(rates) == (["float32", "bfloat16"] if has_bfloat16 else ["float32"])
    assert min(rates.values()) > 0
