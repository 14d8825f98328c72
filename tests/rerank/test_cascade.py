"""Cascades: which model scores what, by hand, and by property."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import make_cross_encoder
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.errors import CandidateError, ModelError, RecipeError
from reranker_kd.experiment.recipe import read_recipe
from reranker_kd.formats.runs import read_run
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.cascade import Cascade, NamedStage, Stage, stages_of, tag_of
from reranker_kd.types import Candidate, Query, rank_order


class Table(Reranker):
    """Scores texts by a table, and keeps what it was asked."""

    def __init__(self, scores):
        self.scores = scores
        self.asked = []

    def score_pairs(self, pairs):
        self.asked += [text for _, text in pairs]
        return np.array([self.scores[text] for _, text in pairs], dtype=np.float32)


def _candidates(docids):
    return [Candidate(docid, 100.0 - place, docid) for place, docid in enumerate(docids)]


def _docids(ranking):
    return [candidate.docid for candidate in ranking.candidates]


def _is_in_order(ranking):
    docids = _docids(ranking)
    return rank_order(docids, [candidate.score for candidate in ranking.candidates]) == list(range(len(docids)))


CHEAP = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0, "e": 5.0, "f": 6.0}
DEAR = {"a": 9.0, "b": 0.5, "c": 0.7, "d": 0.9, "e": 0.1, "f": 0.8}


def test_three_stages_by_hand():
    cheap, middle, dear = Table(CHEAP), Table({d: -s for d, s in CHEAP.items()}), Table(DEAR)
    ranking = Cascade([Stage(cheap, 5), Stage(middle, 4), Stage(dear, 2)]).rerank("q", _candidates("abcdef"))
    # cheap: e d c b a, f below; middle: b c d e, a f below; dear: c (0.7) b (0.5), d e a f below.
    assert _docids(ranking) == list("cbdeaf")
    assert [candidate.score for candidate in ranking.candidates] == pytest.approx([0.7, 0.5, -0.5, -1.5, -2.5, -3.5])
    assert (cheap.asked, middle.asked, dear.asked) == (list("abcde"), list("edcb"), list("bc"))


def test_pairs_and_progress_count_what_was_scored():
    done = []
    cascade = Cascade([Stage(Table(CHEAP), 4), Stage(Table(DEAR), 2)])
    requests = [(Query("1", "q"), _candidates("abcdef")), (Query("2", "r"), _candidates("ab"))]
    batch = cascade.rerank_batch(requests, depth=5, on_progress=done.append)
    assert batch.counts.pairs == 4 + 2 + 2 + 2
    # The bar that watches counts candidates down to the depth: five and two.
    assert sum(done) == pytest.approx(7)


@pytest.mark.parametrize(("depth", "asked"), [(None, "abcd"), (3, "abc"), (50, "abcd")])
def test_the_shallower_of_both_depths_holds(depth, asked):
    cheap = Table(CHEAP)
    ranking = Cascade([Stage(cheap, 4), Stage(Table(DEAR), 2)]).rerank("q", _candidates("abcdef"), depth=depth)
    assert cheap.asked == list(asked)
    assert _docids(ranking)[-2:] == ["e", "f"]


def test_ties_are_ordered_by_docid_descending_at_every_cut():
    flat, dear = Table(dict.fromkeys("abcd", 1.0)), Table(DEAR)
    ranking = Cascade([Stage(flat), Stage(dear, 2)]).rerank("q", _candidates("abcd"))
    assert dear.asked == ["d", "c"]
    assert _docids(ranking) == list("dcba")
    assert _is_in_order(ranking)


def test_a_pair_by_itself_is_the_last_models():
    cascade = Cascade([Stage(Table(CHEAP), 1), Stage(Table(DEAR), 1)])
    assert cascade.score("q", ["a", "b"]).tolist() == [9.0, 0.5]
    assert cascade.score_documents([("q", "a")]).scores.tolist() == [9.0]


# Scores on a coarse grid, so that there are ties.
_TABLES = st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), max_size=12)


@given(_TABLES)
def test_stages_that_pass_everything_on_give_the_last_models_ranking(scores):
    docids = [f"d{place}" for place in range(len(scores))]
    cheap, dear = (Table({d: pair[i] for d, pair in zip(docids, scores, strict=True)}) for i in (0, 1))
    alone = dear.rerank("q", _candidates(docids))
    for cascade in (Cascade([Stage(cheap), Stage(dear)]), Cascade([Stage(cheap, 12), Stage(dear, 12)])):
        assert cascade.rerank("q", _candidates(docids)) == alone


@given(_TABLES, st.integers(1, 14), st.integers(1, 14))
def test_what_a_stage_keeps_stays_above_what_it_leaves(scores, one, other):
    first, second = max(one, other), min(one, other)
    docids = [f"d{place}" for place in range(len(scores))]
    cheap, dear = (Table({d: pair[i] for d, pair in zip(docids, scores, strict=True)}) for i in (0, 1))
    ranking = Cascade([Stage(cheap, first), Stage(dear, second)]).rerank("q", _candidates(docids))
    by_cheap = _docids(cheap.rerank("q", _candidates(docids), depth=first))
    assert set(_docids(ranking)[:second]) == set(by_cheap[:second])
    assert _docids(ranking)[second:] == by_cheap[second:]
    assert _is_in_order(ranking)


def test_faulty_candidates_are_named_by_the_first_stage():
    cascade = Cascade([Stage(Table(CHEAP)), Stage(Table(DEAR), 1)])
    with pytest.raises(CandidateError, match="without its text"):
        cascade.rerank("q", [Candidate("a", 1.0)])


@pytest.mark.parametrize(
    ("expression", "stages"),
    [
        ("twin", [("twin", None)]),
        ("twin:100>cross", [("twin", 100), ("cross", None)]),
        ("twin:100 > org/tiny:50 > some/cross:20", [("twin", 100), ("org/tiny", 50), ("some/cross", 20)]),
        (["a > b:9", "cross:9"], [("a > b", 9), ("cross", 9)]),
        ("org/name:v2", [("org/name:v2", None)]),
    ],
)
def test_expressions(expression, stages):
    assert stages_of(expression) == tuple(NamedStage(*stage) for stage in stages)


def test_a_folder_that_exists_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tiny:20", "a > b"):
        Path(name).mkdir()
    assert stages_of("tiny:20") == (NamedStage("tiny:20"),)
    assert stages_of("a > b") == (NamedStage("a > b"),)
    assert stages_of("tiny:20:5 > x") == (NamedStage("tiny:20", 5), NamedStage("x"))


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("twin:50 > cross:100", "stage 2 scores 100 candidates, more than the 50"),
        ("twin:50 > tiny > cross:51", "stage 3 scores 51 candidates, more than the 50"),
        ("twin:0 > cross", "stage 1 scores 0 candidates; expected at least 1"),
        ("twin:100 >", "a stage names no model"),
        ("twin > :20", "a stage names no model"),
        ([], "a stage names no model"),
    ],
)
def test_faulty_expressions(expression, fault):
    with pytest.raises(ModelError, match=fault):
        stages_of(expression)


def test_growing_depths_in_python():
    with pytest.raises(ModelError, match="depths may shrink, not grow"):
        Cascade([Stage(Table({}), 1), Stage(Table({}), 2)])
    with pytest.raises(ModelError, match="without a stage"):
        Cascade([])


def test_tags():
    assert tag_of("models/twin:100 > org/cross:20") == "twin-100+cross-20"
    assert tag_of("some/folder name") == "folder-name"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cascade")
    make_cross_encoder(folder / "cross", seed=1)
    make_tiny_twin(folder / "twin")
    return folder


@pytest.fixture
def workplace(folders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cross", "twin"):
        Path(name).symlink_to(folders / name)
    texts = ["heat flow over a flat plate", "the dog and the cat", "a shock wave", "heat and drag", "a river"]
    Path("docs.tsv").write_text("".join(f"d{i}\t{text}\n" for i, text in enumerate(texts)))
    Path("topics.tsv").write_text("1\theat flow\n")
    Path("run.txt").write_text("".join(f"1 Q0 d{i} {i + 1} {9 - i} x\n" for i in range(5)))
    return tmp_path


def _run(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--quiet"])
    assert stopped.value.code == 0


RERANK = ["rerank", "--candidates", "run.txt", "--topics", "topics.tsv", "--collection", "docs.tsv", "--model"]


def test_the_command_line(workplace, capsys):
    _run(*RERANK, "twin:4 > cross:2", "--output", "run.{model}.txt", "--max-length", "64")
    assert "run.twin-4+cross-2.txt: 6 pairs" in capsys.readouterr().err
    record = json.loads(Path("run.twin-4+cross-2.txt.provenance.json").read_text())
    assert [(stage["name"], stage["depth"]) for stage in record["model"]["stages"]] == [("twin", 4), ("cross", 2)]
    assert [stage["max_length"] for stage in record["model"]["stages"]] == [64, 64]
    assert all(len(stage["sha256"]) == 64 for stage in record["model"]["stages"])
    assert record["parameters"]["depth"] == 4
    by_hand = load_reranker("twin").rerank("heat flow", _with_texts(), depth=4).candidates
    expected = load_reranker("cross").rerank("heat flow", by_hand, depth=2)
    assert list(read_run("run.twin-4+cross-2.txt")["1"]) == _docids(expected)


def _with_texts():
    texts = dict(line.split("\t") for line in Path("docs.tsv").read_text().splitlines())
    return [Candidate(docid, score, texts[docid]) for docid, score in read_run("run.txt")["1"].items()]


def test_embeddings_are_the_first_stages(workplace, capsys):
    _run("encode", "--collection", "docs.tsv", "--model", "twin", "--output", "embeddings")
    capsys.readouterr()
    _run(*RERANK, "twin > cross:2", "--embeddings", "embeddings", "--output", "by-embeddings.txt")
    assert "no embedding" not in capsys.readouterr().err
    _run(*RERANK, "twin > cross:2", "--output", "by-text.txt")
    assert list(read_run("by-embeddings.txt")["1"]) == list(read_run("by-text.txt")["1"])
    with pytest.raises(SystemExit) as stopped:
        main([*RERANK[:5], "--model", "twin > cross:2", "--embeddings", "embeddings", "--output", "no-texts.txt"])
    assert stopped.value.code == 1
    assert "the later stages of a cascade read texts" in capsys.readouterr().err


def test_an_unknown_model_is_named(workplace, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"^nobody/there: no such folder"):
        load_reranker("twin:4 > nobody/there:2")


def test_a_list_in_a_recipe(workplace):
    recipe = "topics: topics.tsv\ncollection: docs.tsv\ncandidates: run.txt\nrerank: [{model: ['twin:4', 'cross:2']}]\n"
    Path("recipe.yaml").write_text(recipe)
    _run("run", "recipe.yaml", "--output", "out")
    _run(*RERANK, "twin:4 > cross:2", "--output", "out.txt")
    assert read_run("out/run.twin-4+cross-2.txt") == read_run("out.txt")


def test_a_recipe_is_checked_before_it_runs(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("topics: t\nindex: i\nrerank: [{model: 'twin:5 > cross:6'}]\n")
    with pytest.raises(RecipeError, match=r"rerank\.0\.model: .*stage 2 scores 6"):
        read_recipe(path)
    path.write_text("topics: t\nindex: i\nrerank: [{model: 'some/twin:5 > cross:3'}]\n")
    assert read_recipe(path).rerank[0].run_name == "twin-5+cross-3"
