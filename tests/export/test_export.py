"""An exported folder opens like any model, gives the source's scores, and says how far they differ."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from make_tiny_models import make_cross_encoder
from make_tiny_students import make_student
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.errors import InputError, ModelError, OutputError, RerankerKDError
from reranker_kd.export.exporting import ExportSettings, export_model
from reranker_kd.export.sample_pairs import builtin_pairs
from reranker_kd.export.self_test import LEAST
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.models.kinds import KINDS

pytest.importorskip("openvino")

WORDS = "heat flow over a flat plate in water by the river with a dog and a cat".split()
TEXTS = [" ".join(WORDS[start:] + WORDS[:end]) for start in range(0, 16, 2) for end in range(0, 16, 2)]
PAIRS = [("heat flow", text) for text in TEXTS]


MODELS = {
    "bert": make_cross_encoder,
    "twin": make_tiny_twin,
    "residual-twin": lambda folder: make_tiny_twin(folder, towers="separate", pooling="weighted", crossing="residual"),
    **{f"student {kind}": partial(make_student, kind=kind, max_length=64) for kind in KINDS},
}


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=[] if name == "bert" else pytest.mark.slow) for name in MODELS]
)
def model(request, tmp_path_factory):
    return MODELS[request.param](tmp_path_factory.mktemp("models") / request.param)


@pytest.mark.parametrize("output_format", ["openvino", "onnx"])
def test_an_export_gives_the_sources_scores_and_settings(model, tmp_path, output_format):
    source = load_reranker(model, **REFERENCE)
    export_model(model, tmp_path / "export", ExportSettings(output_format, "float32"), PAIRS, "here")
    exported = load_reranker(tmp_path / "export")
    np.testing.assert_allclose(exported.score_pairs(PAIRS), source.score_pairs(PAIRS), atol=2e-5)
    described, expected = exported.describe(), source.describe()
    assert described["backend"] == {"openvino": "openvino", "onnx": "onnxruntime"}[output_format]
    for key in ("class", "max_length", "long_documents"):
        assert described[key] == expected[key]
    record = json.loads((tmp_path / "export" / "export.json").read_text())
    assert record["source"]["sha256"] == expected["sha256"]
    assert record["self_test"]["batch_drift"] < 1e-4
    assert record["self_test"]["largest_difference"] < 1e-4


@pytest.mark.slow
def test_int8_keeps_its_scores_whatever_the_batch(tmp_path):
    pytest.importorskip("nncf")
    twin = make_tiny_twin(tmp_path / "twin")
    figures = export_model(twin, tmp_path / "int8", ExportSettings("openvino", "int8"), PAIRS, "here")
    record = json.loads((tmp_path / "int8" / "export.json").read_text())
    assert record["calibration"] == {"pairs": len(PAIRS) // 2, "from": "here"}
    assert record["self_test"] == figures
    assert figures["pairs"] == len(PAIRS) // 2
    assert figures["batch_drift"] < 1e-4
    assert 1e-4 < figures["largest_difference"] < 0.25
    assert figures["rank_correlation"] > 0.9
    assert figures["nDCG@10"] > 0.98
    assert load_reranker(tmp_path / "int8").describe()["precision"] == "int8"
    size = {name: (tmp_path / "int8" / name).stat().st_size for name in ("query.xml", "query.bin")}
    assert size["query.bin"] < 0.6 * (twin / "model.safetensors").stat().st_size


@pytest.mark.slow
def test_an_exported_twin_encodes(tmp_path):
    twin = make_tiny_twin(tmp_path / "twin")
    export_model(twin, tmp_path / "export", ExportSettings("openvino", "float32"), PAIRS, "here")
    expected = load_encoder(twin, **REFERENCE).encode_documents(TEXTS)
    np.testing.assert_allclose(load_encoder(tmp_path / "export").encode_documents(TEXTS), expected, atol=2e-5)


@pytest.mark.slow
def test_an_exported_model_loads_neither_torch_nor_transformers(tmp_path):
    twin = make_tiny_twin(tmp_path / "twin")
    export_model(twin, tmp_path / "export", ExportSettings("openvino", "float32"), PAIRS, "here")
    program = f"""
import sys
from functools import partial
from reranker_kd import load_reranker
load_reranker({str(tmp_path / "export")!r}).rerank("a", [])
print(sorted({{"torch", "transformers", "nncf"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_scores_too_far_off_leave_no_folder(tmp_path, cross_encoder_folder, monkeypatch):
    monkeypatch.setitem(LEAST, "rank_correlation", {"bfloat16": 1.1})
    with pytest.raises(ModelError, match=r"rank_correlation of the exported scores is .*, expected at least 1\.1"):
        export_model(cross_encoder_folder, tmp_path / "export", ExportSettings(), PAIRS, "here")
    assert list(tmp_path.iterdir()) == []


def test_faults_are_named(tmp_path, cross_encoder_folder):
    with pytest.raises(InputError, match="onnx is exported in float32, not in int8"):
        ExportSettings("onnx", "int8")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(OutputError, match="holds something else than an exported model"):
        export_model(cross_encoder_folder, tmp_path / "mine", ExportSettings(), PAIRS, "here")
    settings = ExportSettings("openvino", "float32")
    export_model(cross_encoder_folder, tmp_path / "export", settings, PAIRS, "here")
    with pytest.raises(ModelError, match="is an exported model already"):
        export_model(tmp_path / "export", tmp_path / "again", settings, PAIRS, "here")
    for keywords in ({"backend": "torch"}, {"precision": "int8"}, {"device": "cuda"}):
        with pytest.raises(InputError, match="was exported for"):
            load_reranker(tmp_path / "export", **keywords)
    for name, content, fault in [
        ("network.bin", None, "cannot be read"),
        ("network.xml", "<nonsense", "cannot be read"),
        ("tokenizer.json", "{}", "cannot be read as a tokenizer"),
        ("export.json", "{}", "no kind of model None; known: cross-encoder"),
        ("export.json", '{"kind": "twin"}', "Field required .*: export the model again"),
    ]:
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(tmp_path / "export", broken)
        if content is None:
            (broken / name).unlink()
        else:
            (broken / name).write_text(content)
        with pytest.raises(RerankerKDError, match=fault) as caught:
            load_reranker(broken)
        assert "\n" not in str(caught.value)


def test_builtin_pairs_are_real_and_of_many_lengths():
    pairs = builtin_pairs(40)
    assert len(pairs) == 40
    assert all(query.strip() and text.strip() for query, text in pairs)
    assert len({len(text) for _, text in pairs}) > 20


@pytest.mark.slow
def test_the_command_exports_on_the_users_candidates(tmp_path, cross_encoder_folder, capsys):
    (tmp_path / "topics.tsv").write_text("1\theat flow\n")
    lines = [json.dumps({"id": f"d{i}", "contents": text}) for i, text in enumerate(TEXTS)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines) + "\n")
    run = "".join(f"1 Q0 d{i} {i + 1} {100 - i} bm25\n" for i in range(len(TEXTS)))
    (tmp_path / "run.txt").write_text(run)
    command = ["export", "--model", str(cross_encoder_folder), "--output", str(tmp_path / "export")]
    given = ["--calibration", str(tmp_path / "run.txt"), "--topics", str(tmp_path / "topics.tsv"), "--pairs", "32"]
    with pytest.raises(SystemExit) as ended:
        main([*command, *given, "--collection", str(tmp_path / "docs.jsonl")])
    said = capsys.readouterr().err
    assert ended.value.code == 0, said
    assert (
        f"{cross_encoder_folder} as openvino in bfloat16; on 16 pairs, it ranks as in float32 by a Kendall's tau of"
        in said
    )
    with pytest.raises(SystemExit) as ended:
        main([*command, *given])
    assert ended.value.code == 2
