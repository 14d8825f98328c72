"""In half precision the scores stay close, and stay apart: the last layer runs in float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reranker_kd import load_reranker
from reranker_kd.inference import precision
from reranker_kd.inference.precision import computes_in_bfloat16, default_device, resolve_precision

WORDS = "heat flow over a flat plate in water by the river with a dog and a cat".split()
TEXTS = [" ".join(WORDS[i:] + WORDS[:j]) for i in range(16) for j in range(16)]


def test_scores_stay_close_and_do_not_tie(cross_encoder_folder):
    full = load_reranker(cross_encoder_folder, backend="torch", precision="float32").score("heat flow", TEXTS)
    half = load_reranker(cross_encoder_folder, backend="torch", precision="bfloat16").score("heat flow", TEXTS)
    assert half.dtype == np.float32
    assert np.abs(half - full).max() < 0.1 * (full.max() - full.min())
    # bfloat16 has 8 bits of mantissa: rounded to it, hundreds of scores would share values.
    rounded = torch.from_numpy(half).bfloat16().unique().numel()
    assert len(np.unique(half)) == len(TEXTS) > rounded


def test_the_head_keeps_its_weights(cross_encoder_folder):
    full, half = (
        load_reranker(cross_encoder_folder, backend="torch", precision=precision)._engine.runner.network.classifier
        for precision in ("float32", "bfloat16")
    )
    full, half = full.classifier.weight, half.classifier.weight
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0, atol=0)


def test_auto_takes_what_the_processor_has():
    supported = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    expected = torch.bfloat16 if supported else torch.float32
    assert resolve_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize(
    ("flags", "limit", "expected"),
    [
        ("avx2", "", False),
        ("avx2 avx512f avx512bw avx512vl avx512dq", "", False),
        ("avx2 avx512f avx512_bf16", "", True),
        ("avx2 amx_bf16", "", True),
        ("avx512_bf16", "avx2", False),
        ("avx512_bf16", "AVX512_CORE", False),
        ("avx512_bf16", "AVX512_CORE_BF16", True),
        ("avx512_bf16", "no such set", True),
    ],
)
@pytest.mark.parametrize("variable", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_the_flags_say_whether_there_is_bfloat16(monkeypatch, tmp_path, flags, limit, expected, variable):
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, limit)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n" * 2)
    monkeypatch.setattr(precision, "_PROCESSOR_FILE", tmp_path / "cpuinfo")
    assert computes_in_bfloat16("cpu") is expected


@pytest.mark.parametrize("content", [None, "Features\t: asimd bf16\n"])
def test_torch_is_asked_where_no_flags_are_listed(monkeypatch, tmp_path, content):
    if content is not None:
        (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(precision, "_PROCESSOR_FILE", tmp_path / "cpuinfo")
    assert computes_in_bfloat16("cpu") == torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize(
    ("system", "files", "expected"),
    [
        ("linux", ["null", "nvme0"], "cpu"),
        ("linux", ["null", "nvidiactl"], "cuda"),
        ("linux", ["kfd"], "cuda"),
        ("darwin", ["null"], "cuda"),
    ],
)
def test_torch_is_asked_for_a_gpu_where_there_may_be_one(monkeypatch, tmp_path, system, files, expected):
    for name in files:
        (tmp_path / name).touch()
    monkeypatch.setattr(precision, "_DEVICE_FILES", tmp_path)
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert default_device() == expected
