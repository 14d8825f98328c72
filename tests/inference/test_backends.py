"""Every backend gives torch's float32 scores; what is not installed or not possible is said in a line."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from make_tiny_models import make_cross_encoder
from make_tiny_students import make_bert_bilstm
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.errors import InputError, ModelError
from reranker_kd.inference import interface, loading
from reranker_kd.inference.options import REFERENCE, ModelOptions
from reranker_kd.inference.precision import default_device
from reranker_kd.models.cross_encoder import KIND
from reranker_kd.models.first_token import FirstTokenLayer

TEXTS = ["heat flow over a flat plate", "the dog and the cat", "shock wave " * 100, "flat plate heat", "?", "river"]
MODELS = {
    "bert": make_cross_encoder,
    "distilbert": lambda folder: make_cross_encoder(folder, "distilbert"),
    "roberta": lambda folder: make_cross_encoder(folder, "roberta"),
    "twin": make_tiny_twin,
    "bert-bilstm": make_bert_bilstm,
}


@pytest.fixture(scope="module", params=MODELS)
def folder(request, tmp_path_factory):
    return MODELS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_float32_scores_are_torchs(folder, backend):
    pytest.importorskip(backend)
    expected = load_reranker(folder, **REFERENCE).score("heat flow", TEXTS)
    reranker = load_reranker(folder, backend=backend, precision="float32")
    assert reranker.describe()["backend"] == backend
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(reranker.score("heat flow", TEXTS), expected, atol=2e-5)


def test_openvinos_half_precision_stays_close_and_does_not_tie(cross_encoder_folder):
    pytest.importorskip("openvino")
    words = " ".join(TEXTS).split()
    texts = [" ".join(words[start:end]) for start in range(12) for end in range(13, 23)]
    expected = load_reranker(cross_encoder_folder, **REFERENCE).score("heat flow", texts)
    reranker = load_reranker(cross_encoder_folder, backend="openvino", precision="auto")
    scores = reranker.score("heat flow", texts)
    assert np.abs(scores - expected).max() < 0.1 * np.ptp(expected)
    assert len(np.unique(scores)) == len(texts)


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_the_last_layer_reads_the_first_token_alone(tmp_path, architecture):
    folder = make_cross_encoder(tmp_path / "model", architecture)
    whole = KIND.load(folder)
    reranker = load_reranker(folder, **REFERENCE)
    layers = reranker._engine.runner.network.classifier.base_model.encoder.layer
    assert isinstance(layers[-1], FirstTokenLayer)
    ids = torch.randint(5, 60, (3, 20))
    mask = (torch.arange(20)[None] < torch.tensor([[20], [3], [11]])).long()
    with torch.inference_mode():
        expected = whole(input_ids=ids, attention_mask=mask)
        scores = reranker._engine.runner.network(input_ids=ids, attention_mask=mask)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)


def test_what_does_not_read_the_first_token_stays_whole(tmp_path):
    folder = make_cross_encoder(tmp_path / "model", "distilbert")
    network = load_reranker(folder, **REFERENCE)._engine.runner.network
    assert not any(isinstance(module, FirstTokenLayer) for module in network.modules())


@pytest.mark.parametrize(
    ("has_half", "missing", "expected"),
    [
        (True, (), ["openvino", "torch"]),
        (False, (), ["onnxruntime", "openvino", "torch"]),
        (False, ("onnx",), ["openvino", "torch"]),
        (True, ("openvino",), ["torch"]),
    ],
)
def test_which_backend_is_fastest_depends_on_the_processor(monkeypatch, has_half, missing, expected):
    monkeypatch.setattr(loading, "computes_in_bfloat16", lambda device: has_half)
    monkeypatch.setattr(interface, "find_spec", lambda name: name not in missing or None)
    assert [backend.name for backend in loading.backends_for(ModelOptions())] == expected
    assert [backend.name for backend in loading.backends_for(ModelOptions(device="cuda"))] == ["torch"]


def test_auto_goes_on_to_the_next_where_a_network_is_not_taken(cross_encoder_folder, monkeypatch, tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")

    def refuses(network, *, with_types):
        raise ModelError("unknown operation")

    monkeypatch.setenv(loading.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(loading, "computes_in_bfloat16", lambda device: False)
    monkeypatch.setattr("reranker_kd.inference.backends.onnxruntime.onnx_bytes", refuses)
    assert load_reranker(cross_encoder_folder).describe()["backend"] == "openvino"


def test_auto_takes_what_is_installed(cross_encoder_folder, monkeypatch):
    monkeypatch.setattr(interface, "find_spec", lambda name: name == "torch" or None)
    assert load_reranker(cross_encoder_folder).describe()["backend"] == "torch"
    with pytest.raises(ModelError, match="openvino is not installed: pip install openvino"):
        load_reranker(cross_encoder_folder, backend="openvino")


@pytest.mark.parametrize("options", ['backend="openvino", precision="float32"', ""], ids=["openvino", "auto"])
def test_a_compiled_network_is_kept_and_opened_again_without_torch(cross_encoder_folder, tmp_path, options):
    pytest.importorskip("openvino")
    if not options and (default_device() != "cpu" or sys.platform != "linux" or platform.machine() != "x86_64"):
        pytest.skip("torch has to be asked here")
    program = f"""
import sys
from reranker_kd import load_reranker
reranker = load_reranker({str(cross_encoder_folder)!r}, {options})
print(reranker.score("heat flow", {TEXTS!r}).tolist(), "torch" in sys.modules, reranker.describe()["sha256"])
"""

    def run(cache):
        environment = os.environ | {loading.CACHE_VARIABLE: cache}
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        ).stdout

    first, second, kept_nowhere = run(str(tmp_path)), run(str(tmp_path)), run("")
    assert (" True " in first, " False " in second, " True " in kept_nowhere) == (True, True, True)
    assert len({output.replace("True", "False") for output in (first, second, kept_nowhere)}) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_broken_folder_is_read_once_whatever_the_number_of_backends(cross_encoder_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(cross_encoder_folder, tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"nothing")
    read = []
    whole = loading.load_networks
    monkeypatch.setattr(loading, "load_networks", lambda folder: read.append(folder) or whole(folder))
    with pytest.raises(ModelError, match="cannot load the model"):
        load_reranker(folder)
    assert read == [folder]


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_without_a_tokenizer_file_a_network_is_compiled_and_not_kept(
    cross_encoder_folder, tmp_path, monkeypatch, backend
):
    pytest.importorskip(backend)
    whole = loading.load_networks

    def slow(folder):
        loaded = whole(folder)
        quick = loaded.tokenizer

        class Slow:
            pad_token_id, model_input_names, name_or_path = quick.pad_token_id, quick.model_input_names, "slow"

            def __call__(self, *arguments, **keywords):
                return quick(*arguments, **keywords)

        return replace(loaded, tokenizer=Slow())

    monkeypatch.setattr(loading, "load_networks", slow)
    monkeypatch.setenv(loading.CACHE_VARIABLE, str(tmp_path / "cache"))
    reranker = load_reranker(cross_encoder_folder, backend=backend, precision="float32")
    assert reranker.describe()["backend"] == backend
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("keywords", "fault"),
    [
        ({"backend": "tensorflow"}, "no backend 'tensorflow'; known: torch, openvino, onnxruntime"),
        ({"precision": "int8"}, "int8 needs calibration: make a folder by reranker-kd export"),
        ({"precision": "int8", "backend": "openvino"}, "int8 needs calibration"),
        ({"precision": "bfloat16", "backend": "onnxruntime"}, "runs in float32 on CPUs, not in bfloat16"),
        ({"device": "cuda", "backend": "openvino"}, "backend openvino runs on the CPU, not on cuda"),
    ],
)
def test_what_cannot_be_is_said(cross_encoder_folder, keywords, fault):
    pytest.importorskip(keywords.get("backend", "torch") if keywords.get("backend") != "tensorflow" else "torch")
    with pytest.raises(InputError, match=fault):
        load_reranker(cross_encoder_folder, **keywords)


def test_torch_loads_no_other_backend(cross_encoder_folder):
    program = f"""
import sys
from reranker_kd import load_reranker
load_reranker({str(cross_encoder_folder)!r}, backend="torch").score("a", ["b"])
print(sorted({{"openvino", "onnxruntime", "nncf", "onnx"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
