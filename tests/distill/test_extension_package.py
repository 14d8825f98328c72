"""A package that adds losses, a teacher and an augmentation by entry points: found, checked by recipes, and called."""

from __future__ import annotations

import importlib
import json
import re
import sys

import pytest
from make_tiny_recipes import make_tiny_workplace, one_thread, tiny_recipe, write_recipe

from reranker_kd.cli import main

MODULE = '''
from collections import Counter

import numpy as np

from reranker_kd.distill.data.augmentation import Augmentation
from reranker_kd.distill.objectives.registry import Loss
from reranker_kd.distill.teachers.base import Teacher, TeacherSettings

CALLS = Counter()


def shyness(student, teacher, mask, *, power: float = 2.0):
    """Return the mean distance of scores, to a power."""
    CALLS["loss of scores", power] += 1
    return ((student - teacher).abs() ** power).masked_fill(~mask, 0).mean()


def warmth(student, teacher, token_mask, projection=None):
    """Return the mean distance of hidden states."""
    CALLS["loss of layers", projection is not None] += 1
    return (projection(student) - teacher)[token_mask].abs().mean()


SHYNESS = Loss(shyness, ("scores", "teacher"))
WARMTH = Loss(warmth, ("hidden",), projection=True)


class LengthSettings(TeacherSettings):
    """The lengths of documents."""

    lengths: float

    def make(self, cache_folder):
        return LengthTeacher(self.lengths)


class LengthTeacher(Teacher):
    def __init__(self, factor):
        self.factor = factor

    def scores(self, ts, pairs, on_progress=lambda _: None):
        CALLS["teacher", self.factor] += 1
        return np.float32([self.factor * len(ts.documents[docid]) for _, docid in pairs])

    def describe(self):
        return {"teacher": "lengths", "factor": self.factor}


def turned(text, rng, *, keep: int = 0):
    """Return the words in reverse order."""
    CALLS["augmentation", keep] += 1
    words = text.split()
    return " ".join(words[:keep] + words[keep:][::-1]) if len(words) > 1 else None


TURNED = Augmentation(turned, "rewriting", "query")
'''
ENTRY_POINTS = """
[reranker_kd.losses]
shyness = shy_extension:SHYNESS
warmth = shy_extension:WARMTH

[reranker_kd.teachers]
lengths = shy_extension:LengthSettings

[reranker_kd.augmentations]
turned = shy_extension:TURNED
"""


@pytest.fixture
def extension(tmp_path, monkeypatch):
    """An installed package, as an installer leaves it; its counter of calls."""
    site = tmp_path / "site"
    about = site / "shy_extension-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "shy_extension.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shy-extension\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    yield importlib.import_module("shy_extension").CALLS
    del sys.modules["shy_extension"]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        yield make_tiny_workplace(tmp_path_factory.mktemp("workplace"))


def _run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def _recipe(workplace, **sections):
    stages = [{"losses": {"shyness": {"weight": 0.5, "power": 1.5}}}]
    # A method without a student of its own, so that the sections say what is made.
    recipe = tiny_recipe("margin-mse", **({"stages": stages, "teacher": {"model": "teacher"}} | sections))
    return write_recipe(workplace, recipe)


def test_a_package_adds_a_loss_a_teacher_and_an_augmentation(extension, workplace, tmp_path):
    recipe = _recipe(
        workplace,
        teacher={"ensemble": [{"lengths": 0.5}, {"model": "teacher", "weight": 2}]},
        student={"hidden_size": 16, "heads": 2, "random": True},
        transfer_set={"augment": [{"name": "turned", "options": {"keep": 1}}]},
        stages=[
            {"losses": {"shyness": {"weight": 0.5, "power": 1.5}}},
            {"over": "texts", "losses": {"warmth": 1}, "steps": 3},
        ],
    )
    assert _run("distill", recipe, "--output", tmp_path / "student", "--quiet") == 0
    assert extension["teacher", 0.5] == 1
    # The check of its options, then once for each update.
    assert extension["loss of scores", 1.5] == 1 + 4
    # Two layers in each of the updates.
    assert extension["loss of layers", True] >= 2 * 3
    # The check of its options, then once for each query; all of them have several words.
    assert extension["augmentation", 1] == 1 + 6
    log = json.loads((tmp_path / "student/report/log.json").read_text())
    assert log[0][0]["loss"] == pytest.approx(0.5 * log[0][0]["shyness"])
    made = (tmp_path / "student/.work/transfer-set/queries.tsv").read_text()
    assert "q1~turned-1\theat plate flow\n" in made


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"stages": [{"losses": {"shyness": {"powr": 3}}}]}, "shyness has no option 'powr'; known: power"),
        ({"stages": [{"over": "texts", "losses": {"shyness": 1}}]}, "shyness is a loss over groups"),
        ({"stages": [{"losses": {"shy": 1}}]}, "no loss 'shy'; known: .*shyness"),
        ({"teacher": {"lengths": "long"}}, "teacher.lengths: Input should be a valid number"),
        ({"teacher": {"lengths": 1, "model": "m"}}, "give one of .*lengths, got model and lengths"),
        ({"transfer_set": {"augment": [{"name": "turned", "options": {"keep": 1.5}}]}}, "keep is 1.5; give a value"),
    ],
)
def test_what_it_adds_is_checked_like_our_own(extension, workplace, tmp_path, capsys, sections, message):
    assert _run("distill", _recipe(workplace, **sections), "--output", tmp_path / "student") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line


def test_what_it_adds_is_listed(extension, capsys):
    assert _run("models", "--format", "json") == 0
    groups = json.loads(capsys.readouterr().out)
    assert groups["losses"]["warmth"] == "the mean distance of hidden states"
    assert groups["teachers"]["lengths"] == "The lengths of documents"
    assert groups["augmentations"]["turned"] == "the words in reverse order"


def test_without_the_package_there_are_no_such_names(workplace, tmp_path, capsys):
    assert _run("distill", _recipe(workplace), "--output", tmp_path / "student") == 1
    assert "no loss 'shyness'" in capsys.readouterr().err


def test_a_package_that_does_not_load_is_named(extension, workplace, tmp_path, capsys):
    entry_points = tmp_path / "site/shy_extension-1.0.dist-info/entry_points.txt"
    entry_points.write_text("[reranker_kd.losses]\nshyness = shy_extension:GONE\n")
    assert _run("distill", _recipe(workplace), "--output", tmp_path / "student") == 1
    assert "loss shyness: the package that adds it (shy_extension:GONE) does not load" in capsys.readouterr().err
