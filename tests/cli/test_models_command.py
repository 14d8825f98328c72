"""``reranker-kd models`` names all that can be named."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from reranker_kd.cli import main
from reranker_kd.distill.data.augmentation import AUGMENTATIONS
from reranker_kd.distill.methods import METHODS
from reranker_kd.distill.objectives.registry import LOSSES
from reranker_kd.distill.teachers.registry import TEACHERS
from reranker_kd.evaluate.registry import MEASURES
from reranker_kd.inference.backends import BACKENDS
from reranker_kd.models.kinds import KINDS
from reranker_kd.models.pooling import POOLINGS
from reranker_kd.models.settings import TextSettings


def _printed(capsys, *options: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["models", *options])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_json_has_a_key_for_every_group(capsys):
    groups = json.loads(_printed(capsys, "--format", "json"))
    assert groups["rerankers"]["all-MiniLM-L6-v2"] == "reranker_kd.resources.packaged_models:all_minilm_l6_v2"
    assert groups["methods"] == {name: method.source for name, method in METHODS.items()}
    assert {group: set(entries) for group, entries in groups.items()} == {
        "rerankers": set(groups["rerankers"]),
        "methods": set(METHODS),
        "losses": set(LOSSES),
        "kinds": set(KINDS),
        "teachers": set(TEACHERS),
        "augmentations": set(AUGMENTATIONS),
        "poolings": {*POOLINGS, "weighted"},
        "backends": set(BACKENDS),
        "measures": set(MEASURES),
        "crossings": set(get_args(TextSettings.model_fields["crossing"].annotation)),
    }


def test_the_table_says_the_same_in_lines(capsys):
    groups = json.loads(_printed(capsys, "--format", "json"))
    sections = _printed(capsys).rstrip("\n").split("\n\n")
    assert [section.split("\n")[0].replace(" ", "_") for section in sections] == list(groups)
    for section, entries in zip(sections, groups.values(), strict=True):
        lines = section.split("\n")[1:]
        assert [line.split(maxsplit=1) for line in lines] == [
            [name, said][: 2 if said else 1] for name, said in entries.items()
        ]


@pytest.mark.parametrize("group", ["losses", "teachers", "augmentations", "kinds", "backends"])
def test_what_has_a_docstring_is_described_in_plain_words(capsys, group):
    described = json.loads(_printed(capsys, "--format", "json"))[group]
    for name, said in described.items():
        assert said and "`" not in said and not said.startswith(("Return", "Args")), name


def test_measures_are_told_by_what_trec_eval_calls_them(capsys):
    measures = json.loads(_printed(capsys, "--format", "json"))["measures"]
    assert measures["nDCG"] == "trec_eval's ndcg and ndcg_cut"
    assert measures["P"] == measures["Precision"] == "trec_eval's P"
