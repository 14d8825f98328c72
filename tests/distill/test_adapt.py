"""A student fitted to a collection: what its queries are made of, and that it is kept only where it helped."""

from __future__ import annotations

import json
from itertools import permutations

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_recipes import make_tiny_workplace, one_thread

from reranker_kd import load_reranker
from reranker_kd.cli import cli
from reranker_kd.distill import adapt as adapting
from reranker_kd.distill.adapt import Adaptation, adapt
from reranker_kd.distill.data.pseudo_queries import pseudo_queries
from reranker_kd.errors import InputError
from reranker_kd.retrieve.indexing import build_index

DOCUMENTS = {
    "d1": "On plates\nHeat flows over a flat plate. The boundary layer is thin at first. It grows along the plate.",
    "d2": "Dogs. The dog sat by the river with 2 cats. Water of the sea is cold, and the river flows into the sea.",
    "d3": "one sentence about tax law alone",
    "d4": "word",
}


def test_queries_are_titles_sentences_and_spans_of_their_documents():
    made = pseudo_queries(DOCUMENTS, seed=1)
    assert made.queries["d1~title"] == "On plates" and made.queries["d2~title"] == "Dogs."
    assert made.documents.keys() == DOCUMENTS.keys()
    assert made.documents["d3"] == DOCUMENTS["d3"] and made.documents["d4"] == "word"
    assert {qid for qid, docid in made.sources.items() if docid in ("d3", "d4")} == {"d3~span"}
    for qid, query in made.queries.items():
        docid, kind = qid.split("~")
        assert made.sources[qid] == docid
        original = " ".join(DOCUMENTS[docid].split())
        assert query in original
        # A sentence has left its document, a span is still in it.
        assert (query in " ".join(made.documents[docid].split())) == (kind == "span")
    for qid in ("d1~span", "d2~span", "d3~span"):
        assert not any(mark.isdigit() or mark == "," for mark in made.queries[qid])


def test_a_documents_queries_do_not_depend_on_the_order_of_the_others():
    backwards = dict(reversed(DOCUMENTS.items()))
    assert pseudo_queries(DOCUMENTS, 3).queries == pseudo_queries(backwards, 3).queries
    assert pseudo_queries(DOCUMENTS, 3).queries != pseudo_queries(DOCUMENTS, 4).queries


@given(st.dictionaries(st.sampled_from("abc"), st.text(max_size=80), max_size=3), st.integers(0, 5))
def test_no_text_makes_an_empty_query_or_leaves_an_empty_document(documents, seed):
    made = pseudo_queries(documents, seed)
    for qid, query in made.queries.items():
        assert query == " ".join(query.split()) and query
        assert made.documents[made.sources[qid]].strip()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        folder = make_tiny_workplace(tmp_path_factory.mktemp("workplace"))
        # Sentences of a document share words, so that it is found without the one that became a query.
        topics = ["heat flow", "shock wave", "dog river", "computer memory", "tax law", "drug dose"]
        texts = [
            f"{a} {n}. the {a} and {b}. on {b} or {a}, a {c}." for n, (a, b, c) in enumerate(permutations(topics, 3))
        ]
        lines = [json.dumps({"id": f"d{n}", "contents": text}) for n, text in enumerate(texts[:60])]
        (folder / "pages.jsonl").write_text("\n".join(lines))
        build_index(folder / "pages.jsonl", folder / "index")
        yield folder


def _gain(monkeypatch, gain):
    """Let the student be measured as so much better than the model it started from."""
    measured = iter([np.linspace(0.2, 0.4, 9), np.linspace(0.2, 0.4, 9) + gain + np.tile([0.01, 0, -0.01], 3)])
    monkeypatch.setattr(adapting, "_per_query", lambda *_: next(measured))


def _scores(model):
    texts = ["heat flow over a flat plate", "the dog and the cat"]
    return load_reranker(model, backend="torch", precision="float32").score("heat plate", texts)


@pytest.mark.parametrize("start", ["bi-encoder", "teacher"])
@pytest.mark.parametrize("gain", [0.1, -0.1, 0.0])
def test_the_student_is_kept_only_where_it_helped(workplace, tmp_path, monkeypatch, start, gain):
    _gain(monkeypatch, gain)
    model = str(workplace / start)
    wanted = {"teachers": [str(workplace / "teacher")], "queries": 16, "quiet": True}
    found = adapt(workplace / "index", tmp_path / "student", model, **wanted)
    assert found.queries == 9 and found.after - found.before == pytest.approx(gain)
    assert found.low < gain < found.high
    assert found.helped == (gain > 0)
    same = np.array_equal(_scores(tmp_path / "student"), _scores(model))
    assert same == (gain <= 0)
    # Called again it does nothing, and says the same.
    assert adapt(workplace / "index", tmp_path / "student", model, **wanted) == found
    with pytest.raises(InputError, match=r"another adaptation was begun here \(seed differ\)"):
        adapt(workplace / "index", tmp_path / "student", model, seed=9, **wanted)
    with pytest.raises(InputError, match="is there already"):
        adapt(workplace / "index", workplace / "teacher", model, **wanted)


def test_what_is_held_back_is_not_learnt(workplace, tmp_path):
    found = adapt(
        workplace / "index",
        tmp_path / "student",
        str(workplace / "bi-encoder"),
        teachers=[str(workplace / "teacher")],
        queries=40,
        quiet=True,
    )
    assert isinstance(found, Adaptation) and 0 <= found.before <= 1 and found.low <= found.high
    work = tmp_path / "student" / ".work"
    learnt = {
        json.loads(line)["qid"].split("~")[0]
        for line in (work / "pseudo-queries" / "groups.jsonl").read_text().splitlines()
    }
    held_back = [
        {line.split()[2] for line in (work / name / "qrels.txt").read_text().splitlines()}
        for name in ("choosing", "reported")
    ]
    assert learnt and all(held_back) and not held_back[0] & held_back[1] and not learnt & (held_back[0] | held_back[1])
    kept = json.loads((tmp_path / "student" / "report" / "adaptation.json").read_text())
    assert kept["queries"] == found.queries == len(held_back[1])


def test_too_few_documents_are_refused(tmp_path):
    (tmp_path / "docs.jsonl").write_text('{"id": "d1", "contents": "heat flow over a plate"}\n')
    build_index(tmp_path / "docs.jsonl", tmp_path / "index")
    with pytest.raises(InputError, match=r"queries can be made of 1 documents, too few to learn from"):
        adapt(tmp_path / "index", tmp_path / "student", quiet=True)


def test_the_command_says_what_came_of_it(workplace, tmp_path, monkeypatch):
    _gain(monkeypatch, -0.1)
    arguments = ["adapt", "--index", workplace / "index", "--output", tmp_path / "student", "--queries", 16, "--quiet"]
    arguments += ["--model", workplace / "bi-encoder", "--teacher", workplace / "teacher"]
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout == "before  0.3000\nafter   0.2000\n"
    assert "no better: " in result.stderr and "9 queries made of documents held back: -0.1000" in result.stderr
