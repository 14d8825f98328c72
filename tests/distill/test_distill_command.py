"""``reranker-kd distill`` from recipe to student: every method, every stage, draws, labels, validation, seeds."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from make_tiny_recipes import CASES, REFERENCE, VALIDATION, make_tiny_workplace, one_thread, tiny_recipe, write_recipe

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.distill import distill as distillation
from reranker_kd.distill.data.transfer_set import read_transfer_set
from reranker_kd.distill.methods import METHODS
from reranker_kd.errors import RecipeError
from reranker_kd.models.kinds import kind_of
from reranker_kd.types import Candidate, Query

QUERY = "heat flow plate"
TEXTS = ["heat flow in a boundary layer", "the dog and the cat sat by the river"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        yield make_tiny_workplace(tmp_path_factory.mktemp("workplace"))


def _distill(workplace, output, method, *options, **sections):
    """Make a student by the command line; return the log of its stages."""
    recipe = write_recipe(workplace, tiny_recipe(method, **sections))
    with pytest.raises(SystemExit) as stopped:
        main(["distill", str(recipe), "--output", str(output), "--quiet", *options])
    assert stopped.value.code == 0
    return json.loads((output / "report" / "log.json").read_text())


def _weights(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*.safetensors")) if ".work" not in p.parts}


def _count(database: Path) -> int:
    with closing(sqlite3.connect(database)) as opened:
        return opened.execute("SELECT count(*) FROM scores").fetchone()[0]


def test_every_method_has_a_case():
    assert CASES.keys() == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_student(workplace, tmp_path, capsys, method):
    log = _distill(workplace, tmp_path / "student", method, validation=VALIDATION)
    assert len(log) == len(METHODS[method].stages)
    for entries, stage in zip(log, METHODS[method].stages, strict=True):
        steps = [entry for entry in entries if "loss" in entry]
        assert [entry["step"] for entry in steps] == [1, 2, 3, 4]
        for entry in steps:
            parts = {name: entry[name] for name in stage.losses}
            assert entry["loss"] == pytest.approx(sum(stage.losses[name].weight * parts[name] for name in parts))
            assert all(map(math.isfinite, parts.values()))
            assert entry["grad_norm"] > 0
    printed = capsys.readouterr()
    assert [line.split()[:-1] for line in printed.out.splitlines()] == [["first", "stage"], ["student"], ["teacher"]]
    assert printed.err.startswith(f"wrote {tmp_path / 'student'}: ")

    reranker = load_reranker(tmp_path / "student")
    scores = reranker.score(QUERY, TEXTS)
    assert scores[0] != scores[1]
    ranking = reranker.rerank(Query("1", QUERY), [Candidate(str(i), 0.0, text) for i, text in enumerate(TEXTS)])
    assert [candidate.docid for candidate in ranking.candidates] == [str(i) for i in (-scores).argsort()]


def test_a_student_learns_what_a_person_says(workplace, tmp_path):
    # Without a teacher, on labels alone: it comes to rank what it was shown.
    log = _distill(
        workplace,
        tmp_path / "student",
        "standard-kd",
        teacher=None,
        stages=[{"losses": {"hard_cross_entropy": 1}}],
        transfer_set={"draws": [{"source": "given", "count": 9}]},
        training={"steps": 80, "batch_groups": 6, "learning_rate": 0.002},
        validation=VALIDATION,
    )
    assert log[0][0]["hard_cross_entropy"] == log[0][0]["loss"]
    figures = json.loads((tmp_path / "student/report/figures.json").read_text())
    assert figures["teacher"] is None
    assert figures["validation"]["student"] > 0.9 > figures["validation"]["first stage"]


def test_a_student_learns_what_its_teacher_says(workplace, tmp_path):
    _distill(
        workplace,
        tmp_path / "student",
        "margin-mse",
        teacher=REFERENCE,
        stages=[{"losses": {"rank_kl": 1}}],
        transfer_set={"draws": [{"source": "given", "count": 9}]},
        training={"steps": 80, "batch_groups": 6, "learning_rate": 0.002},
        validation=VALIDATION,
    )
    means = json.loads((tmp_path / "student/report/fidelity.json").read_text())["means"]
    assert means["tau"] > 0.6


def test_several_collections_choose_by_their_mean(workplace, tmp_path):
    topics = (workplace / "topics.tsv").read_text(encoding="utf-8")
    (workplace / "topics.one.tsv").write_text(topics.splitlines(keepends=True)[0], encoding="utf-8")
    qid = topics.partition("\t")[0]
    run = (workplace / "run.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    (workplace / "one.txt").write_text("".join(line for line in run if line.split()[0] == qid), encoding="utf-8")
    log = _distill(
        workplace,
        tmp_path / "student",
        "standard-kd",
        training={"steps": 4, "batch_groups": 6, "learning_rate": 0.002},
        validation=[
            {**VALIDATION, "every": 4},
            {**VALIDATION, "topics": "topics.one.tsv", "candidates": "one.txt", "measure": "RR"},
        ],
    )
    figures = json.loads((tmp_path / "student/report/figures.json").read_text())["validation"]
    home = workplace.name
    assert figures.keys() == {
        f"{name} {run}" for name in (home, "one") for run in ("first stage", "student", "teacher")
    }
    (chosen,) = [entry["eval_validation"] for entry in log[-1] if "eval_validation" in entry]
    assert chosen == pytest.approx((figures[f"{home} student"] + figures["one student"]) / 2, abs=1e-6)


def test_some_weights_may_learn_at_a_rate_of_their_own(workplace, tmp_path):
    def widest(rates):
        log = _distill(
            workplace,
            tmp_path / f"student-{len(rates)}",
            "simplified-tinybert",
            student={"kind": "gated-cross-encoder", "gate": -2.0},
            stages=[{"losses": {"rank_kl": 1}}],
            training={"steps": 4, "log_every": 4, "learning_rate": 1e-9, "learning_rates": rates},
        )
        return log[-1][0]["gates_widest"]

    assert widest({}) == pytest.approx(math.exp(-2), rel=1e-4)
    assert widest({"gates": 0.01}) > 1.1 * math.exp(-2)


def test_a_rate_of_weights_that_the_student_lacks_is_refused(workplace, tmp_path):
    recipe = write_recipe(workplace, tiny_recipe("standard-kd", training={"learning_rates": {"gates": 0.1}}))
    with pytest.raises(RecipeError, match=r"training\.learning_rates: no weight of this student has gates"):
        distillation.distill(recipe, tmp_path / "student", quiet=True)


def test_a_share_of_the_start_stays(workplace, tmp_path):
    def weights(share):
        recipe = tiny_recipe("rank-kl", start_share=share, training={"steps": 2})
        path = write_recipe(workplace, recipe, f"share-{share}.yaml")
        made = distillation.make_student(
            distillation.read_distill_recipe(path), tmp_path / f"share-{share}", quiet=True
        )
        return made.student.network.state_dict()

    learnt, mixed, half = weights(0.0), weights(0.75), weights(0.5)
    # Between any two of them lies the third: mixed = learnt + 3/2 (half - learnt).
    moved = 0.0
    for name, value in mixed.items():
        torch.testing.assert_close(value, learnt[name] + 1.5 * (half[name] - learnt[name]), atol=1e-5, rtol=1e-4)
        moved = max(moved, float((value - learnt[name]).abs().max()))
    assert moved > 1e-4


def test_labels_stand_in_the_transfer_set(workplace, tmp_path):
    _distill(workplace, tmp_path / "student", "standard-kd")
    for group in read_transfer_set(tmp_path / "student/.work/transfer-set").groups:
        # The one positive first, then what was drawn.
        assert group.labels[0] == 1.0
        assert len(group.docids) == 6


def test_stages_before_the_methods_own(workplace, tmp_path):
    log = _distill(
        workplace, tmp_path / "student", "ranknet", student={"random": False}, domain_pretraining=3, general=2
    )
    losses = [{"masked_language_model"}, {"embedding", "hidden", "attention"}, {"ranknet"}]
    other = {"loss", "grad_norm", "learning_rate", "epoch", "step"}
    assert [set(entries[0]) - other for entries in log] == losses
    assert [max(entry["step"] for entry in entries) for entries in log] == [3, 2, 4]


@pytest.mark.slow
def test_bm25_candidates_are_retrieved(workplace, tmp_path):
    draws = [{"source": "bm25", "count": 3, "depth": 5}, {"source": "random", "count": 1}]
    _distill(workplace, tmp_path / "student", "margin-mse", transfer_set={"draws": draws}, teacher=REFERENCE)
    made = read_transfer_set(tmp_path / "student/.work/transfer-set")
    assert len(made.groups) == 6
    for group in made.groups:
        assert len(group.docids) == 4
        words = set(made.queries[group.qid].split())
        assert all(words & set(made.documents[docid].replace(".", "").split()) for docid in group.docids[:3])


def test_augmented_texts_are_learnt_too(workplace, tmp_path):
    augment = [{"name": "deletion", "count": 2}, {"name": "first-sentence"}]
    _distill(workplace, tmp_path / "student", "ranknet", transfer_set={"augment": augment})
    made = read_transfer_set(tmp_path / "student/.work/transfer-set")
    kinds = {qid.partition("~")[2] for qid in made.queries}
    assert kinds == {"", "deletion-1", "deletion-2", "first-sentence-1"}
    assert len(made.groups) > 6 + 6 + 6
    (database,) = (tmp_path / "student/.work/scores").glob("*/scores.sqlite3")
    texts = {(made.queries[group.qid], made.documents[d]) for group in made.groups for d in group.docids}
    assert _count(database) == len(texts)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "sizes", "before"),
    [
        ("cross-encoder", {}, [{"losses": {"hidden": 1}, "steps": 2}]),
        ("twin", {}, []),
        ("bert-bilstm", CASES["bert-bilstm"]["student"], []),
    ],
)
def test_validation_chooses_the_best_checkpoint(workplace, tmp_path, kind, sizes, before):
    # It learns the contrary of what it is measured by, so that it gets worse and worse.
    qrels = (workplace / "qrels.txt").read_text().splitlines()
    (workplace / "contrary.txt").write_text("".join(f"{line[:-1]}{1 - int(line[-1])}\n" for line in qrels))
    log = _distill(
        workplace,
        tmp_path / "student",
        "standard-kd",
        student={"kind": kind} | sizes,
        stages=[*before, {"losses": {"hard_cross_entropy": 1}}],
        transfer_set={"draws": [{"source": "given", "count": 9}], "qrels": "contrary.txt", "positives": 0},
        training={"steps": 24, "batch_groups": 6, "learning_rate": 0.003},
        validation={**VALIDATION, "every": 4},
    )
    # Losses over layers alone say nothing of scores: no validation there.
    assert not any("eval_validation" in entry for entries in log[:-1] for entry in entries)
    measured = [entry["eval_validation"] for entry in log[-1] if "eval_validation" in entry]
    assert len(measured) == 6
    assert measured[-1] < max(measured) - 0.05
    figures = json.loads((tmp_path / "student/report/figures.json").read_text())["validation"]
    assert figures["student"] == pytest.approx(max(measured), abs=1e-9)


def test_a_gated_student_reads_its_texts_apart_and_learns_layers(workplace, tmp_path):
    stages = [
        {"over": "texts", "losses": {"hidden": 1}, "batch_groups": 5, "steps": 3},
        {"losses": {"hidden": 1, "attention": 1, "rank_kl": 1}},
    ]
    gated = {"kind": "gated-cross-encoder"}
    texts, groups = _distill(workplace, tmp_path / "student", "simplified-tinybert", student=gated, stages=stages)
    assert [entry["step"] for entry in texts if "loss" in entry] == [1, 2, 3]
    for entry in (entry for entry in groups if "loss" in entry):
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in ("hidden", "attention", "rank_kl")))
    assert kind_of(tmp_path / "student").name == "gated-cross-encoder"


@pytest.mark.slow
def test_a_seed_makes_one_student(workplace, tmp_path):
    # Narrower than its teacher, so that a projection, too, begins at random.
    dropping = {"dropout": 0.1, "hidden_size": 16, "heads": 2}
    for name, seed in [("one", 7), ("same", 7), ("other", 8)]:
        _distill(workplace, tmp_path / name, "tinybert", student=dropping, seed=seed)
    assert _weights(tmp_path / "one") == _weights(tmp_path / "same")
    assert _weights(tmp_path / "one") != _weights(tmp_path / "other")


def test_students_share_what_was_scored_and_drawn(workplace, tmp_path):
    cache = ("--cache", str(tmp_path / "cache"))
    _distill(workplace, tmp_path / "one", "ranknet", *cache)
    (database,) = (tmp_path / "cache").glob("*/scores.sqlite3")
    scored = _count(database)
    assert scored and not (tmp_path / "one/.work/scores").exists()
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("CREATE TRIGGER no_more BEFORE INSERT ON scores BEGIN SELECT raise(ABORT, 'scored again'); END")
    _distill(
        workplace,
        tmp_path / "same",
        "ranknet",
        *cache,
        transfer_set={"folder": str(tmp_path / "one/.work/transfer-set")},
    )
    assert _count(database) == scored
    assert _weights(tmp_path / "one") == _weights(tmp_path / "same")


def test_a_finished_student_stays(workplace, tmp_path):
    log = _distill(workplace, tmp_path / "student", "tinybert")
    weights = _weights(tmp_path / "student")
    stages = {path: path.stat().st_mtime_ns for path in (tmp_path / "student/.work").glob("stage-*")}
    assert len(stages) == 4
    assert _distill(workplace, tmp_path / "student", "tinybert") == log
    assert _weights(tmp_path / "student") == weights
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "student/.work").glob("stage-*")} == stages
    assert not list((tmp_path / "student/.work").glob("checkpoints-*"))


def test_set_changes_the_recipe(workplace, tmp_path):
    log = _distill(workplace, tmp_path / "student", "ranknet", "--set", "training.steps=2", "--set", "student.layers=1")
    assert log[0][-1]["step"] == 2
    assert json.loads((tmp_path / "student/config.json").read_text())["num_hidden_layers"] == 1
