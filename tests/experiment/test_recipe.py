"""A recipe is checked before anything runs; a fault names its key."""

from __future__ import annotations

import pytest

from reranker_kd.errors import RecipeError
from reranker_kd.experiment.recipe import read_recipe

MINIMAL = "topics: topics.tsv\nindex: index\n"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_those_of_the_commands(write):
    recipe = read_recipe(write(MINIMAL))
    assert (recipe.retrieve.hits, recipe.retrieve.k1, recipe.evaluate.relevance_level) == (1000, None, 1)


def test_paths_are_taken_from_the_recipes_folder_and_names_left(write, tmp_path):
    (tmp_path / "topics.tsv").write_text("1\tq\n")
    recipe = read_recipe(write("topics: topics.tsv\nindex: msmarco-v1-passage\n"))
    assert recipe.topics == str(tmp_path / "topics.tsv")
    assert recipe.index == "msmarco-v1-passage"


def test_variables(write, monkeypatch):
    monkeypatch.setenv("PLACE", "here")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert read_recipe(write("topics: ${PLACE}/t.tsv\nindex: ${NOWHERE:-there}\n")).index == "there"
    with pytest.raises(RecipeError, match="the environment variable NOWHERE is not set"):
        read_recipe(write("topics: ${NOWHERE}\nindex: i\n"))


def test_runs_are_called_by_their_model_unless_named(write):
    recipe = read_recipe(write(MINIMAL + "rerank: [{model: some/folder}, {model: some/folder, name: other}]\n"))
    assert [reranking.run_name for reranking in recipe.rerank] == ["folder", "other"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("topics: t\n", "give index or collection, one of the two"),
        (MINIMAL + "collection: docs\n", "give index or collection, one of the two"),
        (MINIMAL + "retrieve: {hits: 0}\n", r"retrieve\.hits: "),
        (MINIMAL + "retrieve: {hit: 10}\n", r"retrieve\.hit: is not a key"),
        (MINIMAL + "rerank: [{depth: 10}]\n", r"rerank\.0\.model: Field required"),
        (MINIMAL + "rerank: [{model: m}, {model: m}]\n", "two runs are called m"),
        (MINIMAL + "rerank: [{model: m, long_documents: sum}]\n", r"rerank\.0\.long_documents: "),
        (MINIMAL + "rerank: [{model: m, early_stopping: 10}]\n", r"rerank\.0\.early_stopping: is not a key"),
        (MINIMAL + "rerank: [{model: m, top_passages: 2}]\n", r"rerank\.0: top_passages goes with long_documents topk"),
        (
            MINIMAL + "rerank: [{model: m, long_documents: firstp, passage_stride: 9}]\n",
            r"rerank\.0: passage_stride goes with long_documents maxp or meanp or topk",
        ),
        (MINIMAL + "retrieve: {k1: 0.9}\n", r"retrieve: k1 goes with b: give both"),
        (MINIMAL + "retrieve: {k1: 0.9, b: 0, qld: true}\n", r"retrieve: k1 has no effect beside qld"),
        (MINIMAL + "retrieve: {max_passage_hits: 9}\n", r"retrieve: max_passage_hits goes with max_passage"),
        (MINIMAL + "candidates: c\nretrieve: {rm3: true}\n", r"retrieve\.rm3 has no effect beside candidates"),
        ("topics: t\ncandidates: c\nrerank: [{model: m}]\n", "or the embeddings of each reranking"),
        ("- a list\n", "expected keys and values"),
        ("topics: [\n", "broken YAML"),
    ],
)
def test_faults_name_file_and_key(write, text, fault):
    with pytest.raises(RecipeError, match=rf"recipe\.yaml: .*{fault}"):
        read_recipe(write(text))


@pytest.mark.parametrize("change", ["nonsense", "rerank.5.depth=1", "topics.deep.er=1", "=1"])
def test_changes_that_fit_nowhere(write, change):
    with pytest.raises(RecipeError, match="--set"):
        read_recipe(write(MINIMAL + "rerank: [{model: m}]\n"), [change])


def test_a_missing_recipe(tmp_path):
    with pytest.raises(RecipeError, match="cannot read"):
        read_recipe(tmp_path / "recipe.yaml")


def test_a_recipe_as_it_was_run_is_a_recipe(write, tmp_path):
    # It holds every default, also those of keys whose partner is absent.
    recipe = read_recipe(write(MINIMAL + "candidates: c\nretrieve: {threads: 4}\nrerank: [{model: m, depth: 5}]\n"))
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    assert read_recipe(tmp_path / "recipe.json") == recipe


def test_short_names_of_precisions(write):
    recipe = read_recipe(write(MINIMAL + "rerank: [{model: m, precision: bf16}]\n"))
    assert recipe.rerank[0].precision == "bfloat16"
