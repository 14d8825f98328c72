"""Recipes at fault: exit 1, one line that names the key or the file, and nothing trained."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from make_tiny_models import make_cross_encoder
from make_tiny_recipes import VALIDATION, make_tiny_workplace, one_thread, tiny_recipe, write_recipe
from make_tiny_students import make_bert_bilstm
from transformers import BertForSequenceClassification

from reranker_kd.cli import main


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        folder = make_tiny_workplace(tmp_path_factory.mktemp("workplace"))
        make_cross_encoder(folder / "roberta", "roberta")
        make_cross_encoder(folder / "distilbert", "distilbert")
        model = BertForSequenceClassification.from_pretrained(make_cross_encoder(folder / "larger-vocabulary"))
        model.resize_token_embeddings(model.config.vocab_size + 8)
        model.save_pretrained(folder / "larger-vocabulary")
        make_bert_bilstm(folder / "bilstm")
        (folder / "strangers.txt").write_text("q1 Q0 x1 1 2.0 x\nq1 Q0 x2 2 1.0 x\n")
        (folder / "one.txt").write_text("q9 0 d1 1\n")
        yield folder


def _distill(recipe: Path, output: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["distill", str(recipe), "--output", str(output), "--quiet", *options])
    return stopped.value.code


def _recipe(**changes: Any) -> dict[str, Any]:
    """Return a recipe that makes a cross-encoder, with changes put into its sections."""
    recipe = tiny_recipe("rank-kl") | {"student": {"start": "start", "max_length": 32}}
    for key, value in changes.items():
        # Of two teachers the later one stands.
        merged = key != "teacher" and isinstance(value, dict) and key in recipe
        recipe[key] = {**recipe[key], **value} if merged else value
    return recipe


FAULTS = {
    # The recipe alone.
    "unknown key": ({"trainin": {}}, r"recipe.yaml: trainin: is not a key"),
    "unknown key of a section": ({"training": {"step": 3}}, r"recipe.yaml: training\.step: is not a key"),
    "unknown key of a teacher": ({"teacher": {"model": "teacher", "temp": 1}}, r"teacher\.temp: is not a key"),
    "unknown key of a draw": ({"transfer_set": {"draws": [{"sources": "bm25"}]}}, r"transfer_set\.draws\.0"),
    "wrong type": ({"training": {"steps": "many"}}, r"training\.steps: Input should be a valid integer"),
    "wrong type of a section": ({"student": "start"}, r"student: expected keys and values"),
    "number out of range": ({"training": {"learning_rate": 0}}, r"training\.learning_rate: .*greater than 0"),
    "unknown method": ({"method": "magic"}, r"method: no method 'magic'; known: .*rank-kl"),
    "unknown loss": (
        {"stages": [{"losses": {"rank_lk": 1}}]},
        r"stages\.0\.losses: no loss 'rank_lk'; known: .*rank_kl",
    ),
    "unknown option of a loss": (
        {"stages": [{"losses": {"rank_kl": {"temp": 2}}}]},
        r"stages\.0\.losses: rank_kl has no option 'temp'; known: temperature",
    ),
    "loss over another thing": (
        {"stages": [{"over": "texts", "losses": {"rank_kl": 1}}]},
        r"stages\.0: rank_kl is a loss over groups",
    ),
    "no losses": ({"stages": [{"losses": {}}]}, r"stages\.0\.losses: "),
    "student of another kind": (
        {"method": "twinbert"},
        r"student\.kind: twinbert makes a student that reads texts, and",
    ),
    "no teacher": ({"teacher": None}, r"teacher: rank-kl needs one"),
    "no documents": ({"transfer_set": {"collection": None}}, r"transfer_set: give queries and collection"),
    "unknown augmentation": ({"transfer_set": {"augment": [{"name": "x"}]}}, r"no augmentation 'x'; known: deletion"),
    # The recipe and the models.
    "student wider than its start": (
        {"student": {"hidden_size": 64}},
        r"student\.hidden_size: 64 is wider than the 32",
    ),
    "student deeper than its start": ({"student": {"layers": 3}}, r"student\.layers: 3 layers cannot be taken from"),
    "layers that the start lacks": ({"student": {"layers": [1, 5]}}, r"student\.layers: \[1, 5\]"),
    "width that heads do not divide": ({"student": {"hidden_size": 30, "heads": 4}}, r"student\.hidden_size: 30"),
    "BiLSTM wider than its start": (
        {"method": "bert-bilstm", "student": {"kind": "bert-bilstm", "embedding_size": 64}},
        r"student\.embedding_size: 64 is wider than the 32",
    ),
    "unknown pooling": ({"student": {"kind": "twin", "pooling": "median"}}, r"pooling.*'?median"),
    "start without a transformer": (
        {"student": {"start": "bilstm"}},
        r"bilstm: a bert-bilstm has no transformer to start from",
    ),
    "start of another layout": ({"student": {"start": "distilbert"}}, r"student\.start: a (?i:distilbert)"),
    "layers that cannot be mapped": (
        {"stages": [{"losses": {"hidden": 1}, "layer_mapping": [1, 2, 3]}]},
        r"cannot be mapped to 2 teacher layers by \[1, 2, 3\]",
    ),
    "heads that differ": (
        {"stages": [{"losses": {"attention": 1}}], "student": {"heads": 4, "hidden_size": 32, "random": True}},
        r"student\.heads: 4 heads cannot learn attention from the teacher's 2",
    ),
    "vocabularies of other sizes": (
        {"method": "tinybert", "teacher": {"model": "larger-vocabulary"}},
        r"student\.start: its vocabulary has \d+ tokens, the teacher's \d+",
    ),
    "vocabularies of other words": (
        {"method": "tinybert", "teacher": {"model": "roberta"}},
        r"student\.start: .*vocabulary",
    ),
    "layers of a twin": (
        {"stages": [{"losses": {"hidden": 1}}], "student": {"kind": "twin"}},
        r"losses hidden need a transformer that reads pairs as student",
    ),
    "layers of a run": (
        {"stages": [{"losses": {"hidden": 1}}], "teacher": {"run": "run.txt"}},
        r"teacher: losses over layers need a model among the teachers",
    ),
    "embeddings of a cross-encoder": (
        {"method": "embedding-kd", "student": {"kind": "twin"}, "teacher": {"model": "teacher"}},
        r"teacher\.model: ",
    ),
    "pre-training of a twin": (
        {"domain_pretraining": 2, "student": {"kind": "twin"}},
        r"domain_pretraining: this student\.kind has no transformer",
    ),
    "option out of its range": (
        {"stages": [{"losses": {"rank_kl": {"temperature": 0}}}]},
        r"temperature",
    ),
    "labels that are not there": (
        {"method": "standard-kd"},
        r"hard_cross_entropy learns from labels, and no document .*: give transfer_set\.qrels",
    ),
    "labels of other queries": (
        {"method": "simplified-tinybert", "transfer_set": {"qrels": "one.txt"}},
        r"hard_cross_entropy learns from labels",
    ),
    # The recipe and the files.
    "missing teacher": ({"teacher": {"model": "./nobody"}}, r"nobody"),
    "missing run of a teacher": ({"teacher": {"run": "nothing.txt"}}, r"nothing\.txt"),
    "missing start": ({"student": {"start": "./nobody"}}, r"nobody"),
    "missing queries": ({"transfer_set": {"queries": "nothing.tsv"}}, r"nothing\.tsv"),
    "missing queries of several": ({"transfer_set": {"queries": ["nothing.tsv"]}}, r"nothing\.tsv"),
    "missing collection": ({"transfer_set": {"collection": "nothing.jsonl"}}, r"nothing\.jsonl"),
    "missing run": ({"transfer_set": {"runs": {"given": "nothing.txt"}}}, r"nothing\.txt"),
    "missing qrels": ({"transfer_set": {"qrels": "nothing.txt"}}, r"nothing\.txt"),
    "missing transfer set": ({"transfer_set": {"folder": "nothing"}}, r"nothing"),
    "missing validation file": ({"validation": {**VALIDATION, "qrels": "nothing.txt"}}, r"nothing\.txt"),
    "unknown measure": ({"validation": {**VALIDATION, "measure": "nDGC@10"}}, r"nDGC@10"),
    "draw from no run": ({"transfer_set": {"draws": [{"source": "dense", "count": 2}]}}, r"draw from dense: unknown"),
    "empty transfer set: no candidates": (
        {"transfer_set": {"runs": {"given": "strangers.txt"}, "draws": [{"source": "given", "count": 2}]}},
        r"empty transfer set: none of 6 queries has two candidates",
    ),
    "empty transfer set: no opinions": (
        {"teacher": {"qrels": "one.txt"}},
        r"empty transfer set: no group has two documents with a teacher's score or a label",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_nothing_is_trained(workplace, tmp_path, capsys, fault):
    changes, said = FAULTS[fault]
    assert _distill(write_recipe(workplace, _recipe(**changes)), tmp_path / "student") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "a fault of this program" not in line
    assert re.search(said, line), line
    made = {path.name for path in tmp_path.rglob("*")}
    assert not [name for name in made if name.startswith(("checkpoint", "stage-")) or name.endswith(".safetensors")]


@pytest.mark.parametrize("change", ["training.steps", "student", "nothing: 3", "training.steps=a=b: ["])
def test_changes_at_fault(workplace, tmp_path, capsys, change):
    recipe = write_recipe(workplace, _recipe())
    assert _distill(recipe, tmp_path / "student", "--set", change) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: --set {change}: ")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("content", "said"), [("method: [", "broken YAML"), ("- method", "expected keys and values"), (None, "cannot read")]
)
def test_files_that_are_no_recipe(tmp_path, capsys, content, said):
    if content is not None:
        (tmp_path / "recipe.yaml").write_text(content)
    assert _distill(tmp_path / "recipe.yaml", tmp_path / "student") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'recipe.yaml'}: {said}")


def test_a_folder_in_use_by_another_recipe(workplace, tmp_path, capsys):
    output = tmp_path / "student"
    assert _distill(write_recipe(workplace, _recipe()), output) == 0
    weights = (output / "model.safetensors").read_bytes()
    capsys.readouterr()
    for changes in ({"seed": 8}, {"training": {"steps": 5}}):
        assert _distill(write_recipe(workplace, _recipe(**changes)), output) == 1
        (line,) = capsys.readouterr().err.splitlines()
        (key,) = changes
        assert line.startswith(f"error: {output}: another recipe was begun here ({key} differ)")
        assert str(output / ".work") in line
    assert (output / "model.safetensors").read_bytes() == weights
    # What the line says helps.
    shutil.rmtree(output / ".work")


def test_a_folder_with_other_things(workplace, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert _distill(write_recipe(workplace, _recipe()), tmp_path) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}: is not empty")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_mended_recipe_takes_the_same_folder(workplace, tmp_path):
    # What was at fault is found before the folder is taken.
    output = tmp_path / "student"
    for changes in ({"transfer_set": {"queries": "nothing.tsv"}}, {"student": {"layers": 9}}):
        assert _distill(write_recipe(workplace, _recipe(**changes)), output) == 1
    assert _distill(write_recipe(workplace, _recipe()), output) == 0
    assert json.loads((output / ".work/recipe.json").read_text())["method"] == "rank-kl"
