"""What lies beside a student: figures, fidelity, log, curves and model card, each in agreement with the others."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from make_tiny_recipes import VALIDATION, make_tiny_workplace, one_thread, tiny_recipe, write_recipe

from reranker_kd import load_reranker
from reranker_kd.distill.distill import distill, make_student
from reranker_kd.distill.methods import METHODS
from reranker_kd.distill.recipe import read_distill_recipe
from reranker_kd.distill.report.report import draw_losses
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.models.folder import content_hash
from reranker_kd.provenance import file_record


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        yield make_tiny_workplace(tmp_path_factory.mktemp("workplace"))


def _recipe(workplace, method="tinybert", **sections):
    return read_distill_recipe(write_recipe(workplace, tiny_recipe(method, **sections)))


@pytest.fixture(scope="module")
def student(workplace):
    """A student with everything beside it: its folder and its report."""
    folder = workplace / "my-student"
    recipe = _recipe(workplace, validation={**VALIDATION, "every": 2})
    return folder, distill(recipe, folder, quiet=True)


def _json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_figures_are_those_of_the_runs(workplace, student):
    folder, report = student
    qrels = read_qrels(workplace / "qrels.txt")
    run = read_run(workplace / "run.txt")
    topics = dict(line.split("\t") for line in (workplace / "topics.tsv").read_text().splitlines())
    documents = [json.loads(line) for line in (workplace / "docs.jsonl").read_text().splitlines()]
    texts = {document["id"]: document["contents"] for document in documents}

    def reranked(model, **keywords):
        reranker = load_reranker(model, **keywords)
        return {
            qid: dict(zip(docs, reranker.score(topics[qid], [texts[d] for d in docs]).tolist(), strict=True))
            for qid, docs in ((qid, list(found)) for qid, found in run.items())
        }

    student_run = reranked(folder, backend="torch")
    runs = {
        "first stage": run,
        "teacher": reranked(workplace / "teacher", backend="torch", precision="float32"),
        "student": student_run,
    }
    expected = {name: float(evaluate(run, qrels, ["AP"]).means["AP"]) for name, run in runs.items()}
    assert report.figures == pytest.approx(expected)
    # The three tell each other apart.
    assert len({round(value, 6) for value in expected.values()}) == 3
    assert report.fidelity is not None and set(report.fidelity.per_query) == set(topics)


def test_the_report_has_it_all(workplace, student):
    folder, report = student
    assert {path.name for path in (folder / "report").iterdir()} == {
        "recipe.json",
        "log.json",
        "figures.json",
        "fidelity.json",
        "losses.png",
    }
    figures = _json(folder / "report/figures.json")
    assert figures["validation"] == report.figures
    weights = np.sum([array.size for array in _arrays(folder)])
    assert figures["parameters"] == report.parameters == weights
    assert figures["megabytes"] == round((folder / "model.safetensors").stat().st_size / 1e6, 2)
    assert figures["pairs_per_second"] > 0
    assert figures["groups"] == 6 and figures["pairs_seen"] == 80
    assert figures["teacher"]["sha256"] == content_hash(workplace / "teacher")
    assert {"transfer set", "teacher", "stage 1", "stage 2"} <= set(figures["seconds"])
    assert figures["software"]["torch"]
    assert _json(folder / "report/fidelity.json") == json.loads(json.dumps(report.fidelity.record()))
    assert [len(entries) > 4 for entries in _json(folder / "report/log.json")] == [True, True]
    assert (folder / "report/losses.png").read_bytes().startswith(b"\x89PNG")


def _arrays(folder):
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors").values()


def test_the_recipe_is_kept_so_that_it_can_be_run_again(workplace, student):
    folder, _ = student
    kept = _json(folder / "report/recipe.json")
    assert kept["method"] == "tinybert" and kept["seed"] == 7 and kept["teacher"]["model"] == str(workplace / "teacher")
    # JSON is YAML.
    again = workplace / "again.yaml"
    shutil.copy(folder / "report/recipe.json", again)
    assert read_distill_recipe(again) == _recipe(workplace, validation={**VALIDATION, "every": 2})


def test_the_card_names_teacher_figures_and_size(workplace, student):
    folder, report = student
    card = (folder / "README.md").read_text()
    assert card.startswith("# my-student\n")
    for said in [
        f"`tinybert` ({METHODS['tinybert'].source})",
        f"{report.parameters / 1e6:.1f} million parameters ({report.megabytes:.1f} MB)",
        content_hash(workplace / "teacher"),
        str(workplace / "start"),
        "inputs of at most 32 tokens",
        "6 groups, 30 pairs",
        "Updates: 4, 4 of 2 groups, 80 pairs; seed 7",
        "| run | AP |",
        *(f"| {run} | {value:.4f} |" for run, value in report.figures.items()),
        f"tau {report.fidelity.means['tau']:.3f}",
    ]:
        assert said in card


def test_a_card_without_validation_has_no_figures(workplace, tmp_path):
    report = distill(
        _recipe(workplace, "margin-mse", teacher={"run": "run.txt", "scale": 0.5}), tmp_path / "student", quiet=True
    )
    assert report.figures == {} and report.fidelity is None and report.pairs_per_second is None
    card = (tmp_path / "student/README.md").read_text()
    assert "Figures" not in card and "Fidelity" not in card and "pairs a second" not in card
    assert "scale 0.5" in card and file_record(workplace / "run.txt")["sha256"] in card
    assert not (tmp_path / "student/report/fidelity.json").exists()


def test_a_teacher_without_an_opinion_of_all_has_no_figure(workplace, tmp_path):
    run = (workplace / "run.txt").read_text().splitlines(keepends=True)
    (workplace / "half.txt").write_text("".join(run[::2]))
    recipe = _recipe(workplace, "margin-mse", teacher={"run": "half.txt"}, validation=VALIDATION)
    report = distill(recipe, tmp_path / "student", quiet=True)
    assert set(report.figures) == {"first stage", "student"}
    assert report.fidelity is not None and len(report.fidelity.per_query) == 6


def test_a_teacher_that_knows_none_of_the_validation_topics_has_no_fidelity(workplace, tmp_path):
    lines = (workplace / "run.txt").read_text().splitlines(keepends=True)
    known = {line.split()[0] for line in lines[: len(lines) // 2]}
    for name, kept in (("known.txt", True), ("unknown.txt", False)):
        (workplace / name).write_text("".join(line for line in lines if (line.split()[0] in known) is kept))
    elsewhere = {**VALIDATION, "candidates": "unknown.txt"}
    recipe = _recipe(workplace, "margin-mse", teacher={"run": "known.txt"}, validation=elsewhere)
    report = distill(recipe, tmp_path / "student", quiet=True)
    assert report.fidelity is None and set(report.figures) == {"first stage", "student"}


def test_the_report_does_not_change_what_the_model_is(workplace, tmp_path, student):
    folder, _ = student
    recipe = _recipe(workplace, validation={**VALIDATION, "every": 2})
    make_student(recipe, tmp_path / "bare", quiet=True)
    assert not (tmp_path / "bare/report").exists()
    assert content_hash(tmp_path / "bare") == content_hash(folder)
    # Nor does the work that is left beneath it.
    shutil.rmtree(tmp_path / "bare/.work")
    assert content_hash(tmp_path / "bare") == content_hash(folder)
    weights = tmp_path / "bare/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert content_hash(tmp_path / "bare") != content_hash(folder)


def test_curves_of_no_stage_and_of_no_validation(tmp_path):
    draw_losses([], tmp_path / "none.png")
    draw_losses([[{"step": 1, "loss": 2.0, "rank_kl": 2.0}], [{"step": 3}]], tmp_path / "one.png")
    assert (tmp_path / "none.png").stat().st_size and (tmp_path / "one.png").stat().st_size


def test_a_broken_validation_is_known_before_training(workplace, tmp_path):
    (workplace / "foreign.txt").write_text("q99 Q0 d1 1 1.0 x\n")
    recipe = _recipe(workplace, validation={**VALIDATION, "candidates": "foreign.txt"})
    with pytest.raises(InputError, match="q99"):
        make_student(recipe, tmp_path / "student", quiet=True)
    assert not (tmp_path / "student/.work/recipe.json").exists()
