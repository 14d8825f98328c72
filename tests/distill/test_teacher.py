"""Teachers on worked examples, and their settings, of which every fault is named by its key."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import make_transformer
from pydantic import BaseModel, ValidationError

from reranker_kd.distill.data.transfer_set import Group, TransferSet
from reranker_kd.distill.students import build_student
from reranker_kd.distill.teachers.model import ModelTeacher
from reranker_kd.distill.teachers.registry import NORMALISATIONS, TEACHERS, AnyTeacher, EnsembleTeacher, make_teacher
from reranker_kd.distill.teachers.tables import TableTeacher
from reranker_kd.errors import FormatError, InputError, ModelError, RecipeError
from reranker_kd.formats.runs import write_run
from reranker_kd.models.kinds import KINDS
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.sections import first_fault

TS = TransferSet(
    queries={"1": "heat flow", "2": "the dog", "1~swap-1": "flow heat"},
    documents={"a": "heat in a plate", "b": "the dog and the cat", "c": "river", "d": "water by the sea"},
    groups=(Group("1", ("a", "b", "c")), Group("2", ("b", "d")), Group("1~swap-1", ("a", "b"))),
)
PAIRS = [(group.qid, docid) for group in TS.groups for docid in group.docids]
RUN = {"1": {"b": 3.0, "a": 1.0, "e": -1.0}, "2": {"d": 7.5}}
NAN = math.nan


class Recipe(BaseModel):
    teacher: AnyTeacher


def _settings(value, folder=None):
    try:
        return Recipe.model_validate({"teacher": value}, context={"folder": folder}).teacher
    except ValidationError as error:
        raise RecipeError(first_fault(error)) from None


def _make(value, cache, folder=None):
    return make_teacher(_settings(value, folder), cache)


def _table(run):
    return TableTeacher(run, {}, {"teacher": "run"})


def _scores(teacher, pairs=PAIRS):
    done: list[float] = []
    scores = teacher.scores(TS, pairs, done.append)
    assert (scores.dtype, scores.shape) == (np.float32, (len(pairs),))
    assert sum(done) == pytest.approx(len(pairs))
    return scores


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # The pairs: 1 a, 1 b, 1 c, 2 b, 2 d, and two of an augmented query, which no run knows.
        ({}, [1, 3, NAN, NAN, 7.5, NAN, NAN]),
        ({"absent": "worst"}, [1, 3, -1, 7.5, 7.5, NAN, NAN]),
        ({"use": "rank"}, [-2, -1, NAN, NAN, -1, NAN, NAN]),
        ({"use": "rank", "absent": "worst"}, [-2, -1, -4, -2, -1, NAN, NAN]),
        ({"use": "reciprocal_rank"}, [1 / 62, 1 / 61, NAN, NAN, 1 / 61, NAN, NAN]),
        ({"use": "reciprocal_rank", "k": 0, "absent": "worst"}, [1 / 2, 1, 1 / 4, 1 / 2, 1, NAN, NAN]),
    ],
)
def test_runs(tmp_path, options, expected):
    write_run(tmp_path / "run.txt", RUN)
    teacher = _make({"run": "run.txt", **options}, tmp_path, tmp_path)
    np.testing.assert_array_equal(_scores(teacher), np.float32(expected))


def test_qrels(tmp_path):
    (tmp_path / "qrels.txt").write_text("1 0 a 2\n1 0 c -1\n")
    for unjudged, expected in ((None, NAN), (0, 0)):
        teacher = _make({"qrels": "qrels.txt", "unjudged": unjudged}, tmp_path, tmp_path)
        np.testing.assert_array_equal(_scores(teacher), np.float32([2, expected, -1, NAN, NAN, NAN, NAN]))


def test_models_score_every_text_and_remember(tmp_path, cross_encoder_folder):
    settings = {"model": str(cross_encoder_folder), "max_length": 32}
    reranker = load_reranker(cross_encoder_folder, max_length=32)
    expected = reranker.score_documents([(TS.queries[qid], TS.documents[docid]) for qid, docid in PAIRS]).scores
    teacher = _make(settings, tmp_path)
    np.testing.assert_array_equal(_scores(teacher), expected)
    assert json.loads(json.dumps(teacher.describe()))["max_length"] == 32

    # The same model under another name has the same cache, which here was tampered with.
    (database,) = tmp_path.glob("*/scores.sqlite3")
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE scores SET score = score + 1")
    (tmp_path / "another").symlink_to(cross_encoder_folder)
    again = _make({**settings, "model": str(tmp_path / "another")}, tmp_path)
    np.testing.assert_array_equal(_scores(again), expected + np.float32(1))
    # Another input length is another scorer.
    np.testing.assert_allclose(_scores(_make({**settings, "max_length": 31}, tmp_path)), expected, atol=1e-4)


def test_an_untrained_student_scores_as_it_starts(tmp_path):
    start = make_transformer(tmp_path / "start")
    shape = {"kind": "gated-cross-encoder", "start": "start", "gate": -1e9}
    teacher = _make({"untrained": shape, "max_length": 32}, tmp_path / "cache", tmp_path)
    built = build_student(KINDS["gated-cross-encoder"].shape(start=str(start), gate=-1e9), seed=0)
    built.save(tmp_path / "built")
    reranker = load_reranker(tmp_path / "built", max_length=32)
    expected = reranker.score_documents([(TS.queries[qid], TS.documents[docid]) for qid, docid in PAIRS]).scores
    np.testing.assert_array_equal(_scores(teacher), expected)
    # Saved once, then opened again.
    (folder,) = (tmp_path / "cache" / "untrained").iterdir()
    made = folder.stat().st_mtime_ns
    np.testing.assert_array_equal(
        _scores(_make({"untrained": shape, "max_length": 32}, tmp_path / "cache", tmp_path)), expected
    )
    assert folder.stat().st_mtime_ns == made


class _LengthOfText(Reranker):
    """As packages register them: without a content hash."""

    def score_pairs(self, pairs):
        return np.float32([len(text) for _, text in pairs])


def test_settings_tell_apart_models_without_a_content_hash(tmp_path):
    for number in (1, 2):
        _scores(ModelTeacher(_LengthOfText(), tmp_path, {"max_length": number}))
    assert len(list(tmp_path.iterdir())) == 2


def test_texts_that_the_transfer_set_lacks_are_named(tmp_path):
    teacher = ModelTeacher(_LengthOfText(), tmp_path)
    with pytest.raises(InputError, match="no text of document z"):
        teacher.scores(TS, [("1", "a"), ("1", "z")])
    with pytest.raises(InputError, match="no text of query 9"):
        teacher.scores(TS, [("9", "a")])


def test_an_ensemble_by_hand():
    members = [
        (_table({"1": {"a": 4.0, "b": 2.0, "c": 0.0}, "2": {"b": 5.0, "d": 5.0}}), 3.0),
        (_table({"1": {"b": 10.0, "a": 20.0}}), 1.0),
    ]
    z = math.sqrt(3 / 2)
    # Of query 1: z-scores z, 0, -z and 1, -1, -. Of query 2, equal scores, and no opinion of the second.
    expected = [(3 * z + 1) / 4, -1 / 4, -z, 0, 0, NAN, NAN]
    np.testing.assert_allclose(_scores(EnsembleTeacher(members)), expected, atol=1e-6)
    expected = [1, 1.5 / 4, 0, 0.5, 0.5, NAN, NAN]
    np.testing.assert_allclose(_scores(EnsembleTeacher(members, "minmax")), expected, atol=1e-6)
    expected = [32 / 4, 16 / 4, 0, 5, 5, NAN, NAN]
    np.testing.assert_allclose(_scores(EnsembleTeacher(members, "raw")), expected, atol=1e-6)


def test_pairs_that_stand_twice_count_once():
    teacher = EnsembleTeacher([(_table(RUN), 1.0)])
    once = _scores(teacher)
    np.testing.assert_array_equal(_scores(teacher, [*PAIRS, *PAIRS[:1] * 5])[: len(PAIRS)], once)


TABLES = st.dictionaries(
    st.sampled_from(["1", "2"]), st.dictionaries(st.sampled_from("abcd"), st.integers(-9, 9).map(float), min_size=1)
)


@given(st.lists(st.tuples(TABLES, st.floats(0.1, 9)), min_size=1, max_size=3), st.sampled_from(sorted(NORMALISATIONS)))
def test_an_ensemble_is_its_naive_counterpart(members, normalise):
    pairs = [(qid, docid) for qid in "12" for docid in "abcd"]
    found = _scores(EnsembleTeacher([(_table(run), weight) for run, weight in members], normalise), pairs)
    for (qid, docid), score in zip(pairs, found.tolist(), strict=True):
        numerator = denominator = 0.0
        for run, weight in members:
            if docid not in run.get(qid, {}):
                continue
            values = list(run[qid].values())
            low, high, mean = min(values), max(values), sum(values) / len(values)
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
            value = run[qid][docid]
            if normalise == "zscore":
                value = (value - mean) / deviation if high > low else 0
            elif normalise == "minmax":
                value = (value - low) / (high - low) if high > low else 0.5
            numerator += weight * value
            denominator += weight
        assert score == pytest.approx(numerator / denominator if denominator else NAN, abs=1e-5, nan_ok=True)


@pytest.fixture
def recipe_folder(tmp_path):
    (tmp_path / "run.txt").write_text("1 Q0 b 1 3.0 t\n1 Q0 a 2 1.0 t\n")
    (tmp_path / "qrels.txt").write_text("1 0 a 2\n")
    return tmp_path


EXAMPLES = {
    "model": {"model": "some/model", "max_length": 200, "precision": "auto"},
    "untrained": {"untrained": {"kind": "cross-encoder", "start": "some/model"}, "precision": "float32"},
    "run": {"run": "run.txt", "use": "rank"},
    "qrels": {"qrels": "qrels.txt", "unjudged": 0},
    "ensemble": {"ensemble": [{"weight": 2, "qrels": "qrels.txt"}, {"run": "run.txt"}], "normalise": "minmax"},
}


def test_every_kind_has_an_example():
    assert EXAMPLES.keys() == TEACHERS.keys()


@pytest.mark.parametrize("kind", EXAMPLES)
def test_settings_go_out_as_they_came_in(recipe_folder, kind):
    settings = _settings(EXAMPLES[kind], recipe_folder)
    assert isinstance(settings, TEACHERS[kind])
    dumped = json.loads(Recipe(teacher=settings).model_dump_json())
    assert Recipe.model_validate(dumped).teacher == settings


@pytest.mark.parametrize("kind", ["run", "qrels", "ensemble"])
def test_files_are_taken_from_the_recipes_folder(recipe_folder, kind):
    teacher = _make(EXAMPLES[kind], recipe_folder / "cache", recipe_folder)
    expected = {"run": [-2, -1], "qrels": [2, 0], "ensemble": [(2 * 0.5 + 0) / 3, 1]}[kind]
    np.testing.assert_allclose(_scores(teacher, [("1", "a"), ("1", "b")]), expected, atol=1e-6)
    described = json.dumps(teacher.describe(), allow_nan=False)
    assert "sha256" in described
    assert not (recipe_folder / "cache").exists()


@pytest.mark.parametrize("kind", ["run", "qrels", "ensemble"])
def test_every_kind_takes_scale_and_shift(recipe_folder, kind):
    plain, scaled = (
        _make(EXAMPLES[kind] | more, recipe_folder / "cache", recipe_folder)
        for more in ({}, {"scale": 20, "shift": -8})
    )
    np.testing.assert_allclose(_scores(scaled), 20 * _scores(plain) - 8, rtol=1e-6)
    assert scaled.describe() == {**plain.describe(), "scale": 20, "shift": -8}


def test_scaled_models_share_the_scores_that_are_kept(tmp_path, cross_encoder_folder):
    settings = {"model": str(cross_encoder_folder), "max_length": 32}
    plain = _scores(_make(settings, tmp_path))
    scaled = _scores(_make({**settings, "scale": 0.5, "shift": 3}, tmp_path))
    np.testing.assert_allclose(scaled, plain / 2 + 3, rtol=1e-6)
    assert len(list(tmp_path.glob("*/scores.sqlite3"))) == 1


@pytest.mark.parametrize("normalise", sorted(NORMALISATIONS))
def test_a_members_scale_outlives_only_raw(recipe_folder, normalise):
    def scores(**scale):
        members = [{"run": "run.txt", **scale}, {"qrels": "qrels.txt", "unjudged": 0}]
        teacher = _make({"ensemble": members, "normalise": normalise}, recipe_folder / "cache", recipe_folder)
        return _scores(teacher, [("1", "a"), ("1", "b")])

    plain, scaled = scores(), scores(scale=20, shift=-8)
    if normalise == "raw":
        np.testing.assert_allclose([plain, scaled], [[1.5, 1.5], [7, 26]], rtol=1e-6)
    else:
        np.testing.assert_allclose(plain, scaled, atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ("a name", "teacher: expected keys and values, such as model: NAME"),
        ({}, "teacher: give one of model, untrained, run, qrels, ensemble, got none of them"),
        ({"model": "m", "run": "r"}, "teacher: give one of .*, got model and run"),
        ({"model": "m", "max_lenght": 200}, r"teacher\.max_lenght: is not a key"),
        ({"run": "r", "max_length": 200}, r"teacher\.max_length: is not a key"),
        ({"model": "m", "max_length": "long"}, r"teacher\.max_length: Input should be a valid integer"),
        ({"model": 3}, r"teacher\.model: Input should be a valid string"),
        ({"run": "r", "use": "ranks"}, r"teacher\.use: Input should be 'score', 'rank' or 'reciprocal_rank'"),
        ({"run": "r", "scale": 0}, r"teacher\.scale: Input should be greater than 0"),
        ({"run": "r", "shift": NAN}, r"teacher\.shift: Input should be a finite number"),
        ({"qrels": "q", "unjudged": NAN}, r"teacher\.unjudged: "),
        ({"ensemble": []}, r"teacher\.ensemble: "),
        ({"ensemble": [{"run": "r"}, {"run": "r", "k": -1}]}, r"teacher\.ensemble\.1\.k: "),
        ({"ensemble": [{"run": "r", "weight": 0}]}, r"teacher\.ensemble\.0\.weight: "),
        ({"ensemble": [{"weight": 2}]}, r"teacher\.ensemble\.0: give one of"),
        ({"ensemble": [{"run": "r", "a": 1, "b": 2}]}, r"teacher\.ensemble\.0\.a: .*\(and 1 more faults\)"),
    ],
)
def test_faults_of_settings_are_named_by_their_key(tmp_path, settings, fault):
    with pytest.raises(RecipeError, match=f"^{fault}") as caught:
        _make(settings, tmp_path)
    assert "\n" not in str(caught.value)


def test_files_and_models_that_are_not_there(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        _make({"run": str(tmp_path / "nowhere.txt")}, tmp_path)
    (tmp_path / "broken.txt").write_text("1 0 a two\n")
    with pytest.raises(FormatError, match=r"broken\.txt:1: expected an integer"):
        _make({"ensemble": [{"qrels": str(tmp_path / "broken.txt")}]}, tmp_path)
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelError, match="model"):
        _make({"model": str(tmp_path / "model")}, tmp_path)
