"""Compact weights: close to what they were, a quarter of the bytes."""

from __future__ import annotations

import torch

from reranker_kd.models.compact import compact, expanded


def test_a_weight_moves_by_at_most_half_a_step():
    torch.manual_seed(0)
    matrix = torch.randn(50, 64) * torch.logspace(-3, 2, 50)[:, None]
    matrix[7] = 0
    matrix[9, 3] = 1000
    weights = {"matrix": matrix, "bias": torch.randn(64), "small": torch.randn(3, 4)}
    small = compact(weights)
    assert small["matrix"].dtype == torch.int8
    back = expanded(small)
    assert back.keys() == weights.keys()
    assert torch.equal(back["bias"], weights["bias"])
    assert torch.equal(back["small"], weights["small"])
    for half in (slice(0, 32), slice(32, 64)):
        # float16 scales may be off by a 2048th, which the largest steps feel most.
        steps = matrix[:, half].abs().amax(dim=1, keepdim=True) / 127
        assert ((back["matrix"] - matrix)[:, half].abs() <= steps * 0.57).all()
    assert torch.equal(back["matrix"][7], matrix[7])
    odd = expanded(compact({"odd": matrix[:, :33]}))["odd"]
    torch.testing.assert_close(odd, matrix[:, :33], rtol=0, atol=1000 / 127 / 2)
