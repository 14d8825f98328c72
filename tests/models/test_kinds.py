"""A kind of model is one file and one line: also one that another package adds; no other module names a kind."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from make_tiny_recipes import make_tiny_workplace, tiny_recipe, write_recipe

import reranker_kd
from reranker_kd.distill.methods import METHODS
from reranker_kd.models.kinds import KINDS

PACKAGE = Path(reranker_kd.__file__).parent

BAG_OF_WORDS = '''
"""A bag of words: the mean embedding of each text, and one linear layer."""

from typing import Literal

import torch

from reranker_kd.models.kind import Kind, Shape
from reranker_kd.models.network import Network


class BagOfWordsShape(Shape):
    kind: Literal["bag-of-words"] = "bag-of-words"
    width: int = 8
    vocabulary_size: int | None = None


class BagOfWords(Network):
    def __init__(self, shape):
        super().__init__(shape)
        self.words = torch.nn.Embedding(shape.vocabulary_size, shape.width)
        self.classify = torch.nn.Linear(2 * shape.width, 1)

    def forward(self, input_ids, attention_mask, token_type_ids):
        sides = []
        for side in (0, 1):
            own = (attention_mask * (token_type_ids == side))[:, :, None].float()
            sides.append((self.words(input_ids) * own).sum(1) / own.sum(1).clamp(min=1))
        return self.classify(torch.cat(sides, dim=1)).float()


def build(shape, start):
    table = start.word_embeddings()
    return BagOfWords(shape if table is None else shape.model_copy(update={"vocabulary_size": len(table)}))


KIND = Kind(name="bag-of-words", reads="pairs", shape=BagOfWordsShape, build=build)
'''

TORCH_AGAIN = '''
"""A backend that counts its calls and leaves the work to torch's."""

from dataclasses import replace

from reranker_kd.inference.backends.torch import BACKEND as TORCH

made = []


def make(network, **settings):
    made.append(network)
    return TORCH.make(network, **settings)


BACKEND = replace(TORCH, name="torch-again", make=make)
'''

PROGRAM = """
import sys
from pathlib import Path
from reranker_kd import Reranker
from reranker_kd.cli import main

def run(*arguments):
    try:
        main(list(arguments))
    except SystemExit as ended:
        assert ended.code == 0, (arguments, ended.code)

run("distill", "recipe.yaml", "--output", "student", "--quiet")
rerank = ["--topics", "topics.tsv", "--candidates", "run.txt", "--collection", "docs.jsonl", "--quiet"]
for backend in ("torch", "torch-again", "openvino", "onnxruntime"):
    run("rerank", "--model", "student", *rerank, "--backend", backend, "--precision", "float32", "--output", backend)
for form in ("openvino", "onnx", "torch"):
    run("export", "--model", "student", "--format", form, "--precision", "float32", "--output", f"export-{form}",
        "--pairs", "16")
    reference = ["--backend", "torch", "--precision", "float32"] if form == "torch" else []
    run("rerank", "--model", f"export-{form}", *rerank, *reference, "--output", f"run-{form}")
run("models")
import torch_again
assert len(torch_again.made) == 1
scores = Reranker("student", backend="torch", precision="float32").score("heat flow", ["heat flow", "a dog"])
assert scores[0] != scores[1]
def scores_in(name):
    lines = (line.split() for line in Path(name).read_text().splitlines())
    return {(qid, docid): float(score) for qid, _, docid, _, score, _ in lines}
expected = scores_in("torch")
for name in ("torch-again", "openvino", "onnxruntime", "run-openvino", "run-onnx", "run-torch"):
    scores = scores_in(name)
    assert scores.keys() == expected.keys()
    assert all(abs(scores[pair] - score) < 1e-4 for pair, score in expected.items()), name
"""


def install(site: Path, name: str, source: str, group: str, entry: str) -> None:
    """Install a package of one module by what an installer leaves behind."""
    site.mkdir(exist_ok=True)
    module = name.replace("-", "_")
    (site / f"{module}.py").write_text(source)
    folder = site / f"{module}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{entry}\n")


def test_a_kind_and_a_backend_of_other_packages_do_all_that_ours_do(tmp_path):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    install(tmp_path / "site", "bag-of-words", BAG_OF_WORDS, "reranker_kd.kinds", "KIND")
    install(tmp_path / "site", "torch-again", TORCH_AGAIN, "reranker_kd.backends", "BACKEND")
    make_tiny_workplace(tmp_path)
    student = {"kind": "bag-of-words", "width": 6}
    write_recipe(tmp_path, tiny_recipe("margin-mse", student=student, training={"steps": 8}))
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'site'}{os.pathsep}{PACKAGE.parent}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "bag-of-words" in done.stdout
    assert "the mean embedding of each text, and one linear layer" in done.stdout


def test_a_key_of_another_kind_is_an_error_in_a_recipe(tmp_path):
    from reranker_kd.distill.recipe import read_distill_recipe
    from reranker_kd.errors import RecipeError

    make_tiny_workplace(tmp_path)
    path = write_recipe(tmp_path, tiny_recipe("margin-mse", student={"towers": "separate"}))
    with pytest.raises(RecipeError, match=r"recipe\.yaml: student.*towers"):
        read_distill_recipe(path)


def test_a_kind_is_named_in_its_own_file_and_in_the_registry_alone():
    own = {name: f"{name.replace('-', '_')}.py" for name in KINDS}
    strays = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in KINDS:
                home = path.parent.name == "models" and path.name in (own[node.value], "kinds.py")
                # The bundled student and the published method of the same name are no kinds.
                student = path.name == "registry.py" and node.value == "twin"
                method = path.name == "methods.py" and node.value in METHODS
                # A key that export.json had in an earlier version.
                key = path.name == "settings.py" and node.value == "twin"
                if not (home or student or method or key):
                    strays.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}")
    assert not strays
