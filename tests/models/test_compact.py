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
    small = compact(weights, "int8")
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
    odd = expanded(compact({"odd": matrix[:, :33]}, "int8"))["odd"]
    torch.testing.assert_close(odd, matrix[:, :33], rtol=0, atol=1000 / 127 / 2)


def test_fewer_bits_take_fewer_bytes_and_move_a_weight_by_half_a_step():
    torch.manual_seed(0)
    matrix, table = torch.randn(64, 96), torch.randn(2000, 32)
    small = compact({"matrix": matrix, "table": table}, "int6")
    assert small["matrix"].nbytes == matrix.numel() * 6 // 8
    assert small["table"].nbytes == table.numel() // 2
    back = expanded(small)
    for name, value, bits in (("matrix", matrix, 6), ("table", table, 4)):
        groups, kept = value.unflatten(1, (-1, 32)), back[name].unflatten(1, (-1, 32))
        steps = groups.abs().amax(dim=2, keepdim=True) / (2 ** (bits - 1) - 1)
        assert ((kept - groups).abs() <= steps * 0.51).all()


def test_the_same_weights_take_the_same_place_in_bytes():
    # Golden: 1, -1 and 7 sevenths of a group's largest, as 4 bits from 8 on: 9, 7, 15, the first of a byte lowest.
    table = torch.tensor([[1.0, -1.0, 7.0, 0.0] * 8] * 512)
    assert compact({"table": table}, "int6")["table"][0, :2].tolist() == [9 + (7 << 4), 15 + (8 << 4)]
