"""What is set side by side, and by which names."""

from __future__ import annotations

import sys

import pytest
from make_tiny_twins import make_tiny_twin

from reranker_kd.benchmark.systems import System, baseline_of, same_weights, systems_of
from reranker_kd.errors import InputError
from reranker_kd.export.exporting import ExportSettings, export_model


def test_every_model_on_every_backend_then_cross_encoders_in_every_peer(cross_encoder_folder, tmp_path):
    twin = make_tiny_twin(tmp_path / "twin")
    file = tmp_path / "peers.py"
    file.touch()
    systems = systems_of(
        [str(cross_encoder_folder), str(twin)],
        backends=["torch:bfloat16", "openvino:int8"],
        peers=[f"{file}:flashrank", f"{file}:rerankers"],
        python="/their/python",
    )
    name = cross_encoder_folder.name
    assert [system.name for system in systems] == [
        f"{name}/torch:bfloat16",
        f"{name}/openvino:int8",
        "twin/torch:bfloat16",
        "twin/openvino:int8",
        f"{name}/flashrank",
        f"{name}/rerankers",
    ]
    assert [system.command[0] for system in systems[-3:]] == [sys.executable, "/their/python", "/their/python"]
    assert systems[-1].command[-2:] == [str(file), "rerankers"]


@pytest.mark.slow
def test_an_export_runs_as_it_was_exported_and_has_the_weights_of_its_source(cross_encoder_folder, tmp_path):
    pytest.importorskip("openvino")
    pairs = [("heat flow", "heat over a plate"), ("a dog", "by the river")]
    export_model(cross_encoder_folder, tmp_path / "fast", ExportSettings(), pairs, "here")
    *source, fast = systems_of([str(tmp_path / "fast"), str(cross_encoder_folder)], backends=["torch", "openvino"])
    assert [system.runner for system in source] == ["torch", "openvino"]
    assert (fast.name, fast.backend, fast.precision) == ("fast", None, None)
    assert all(same_weights(system, fast) for system in source)
    assert not same_weights(System(str(make_tiny_twin(tmp_path / "twin"))), fast)


def test_without_a_word_a_model_runs_as_it_does_by_default():
    (system,) = systems_of(["folder/model"])
    assert (system.name, system.backend, system.precision) == ("model", None, None)


@pytest.mark.parametrize(
    ("asked", "expected"), [(None, "a/torch"), ("b/torch", "b/torch"), ("flashrank", "a/flashrank"), ("b", "b/torch")]
)
def test_a_baseline_goes_by_its_name_or_by_what_only_it_has(asked, expected):
    systems = [System("a", "torch"), System("b", "torch"), System("a", peer="flashrank")]
    assert baseline_of(systems, asked).name == expected


@pytest.mark.parametrize(
    ("asked", "said"), [("torch", "several systems: name one of a/torch, b/torch"), ("c", "no system: name one of a")]
)
def test_a_baseline_that_is_none_or_several(asked, said):
    with pytest.raises(InputError, match=said):
        baseline_of([System("a", "torch"), System("b", "torch")], asked)


def test_two_systems_of_one_name():
    with pytest.raises(InputError, match="two systems are called 'model'"):
        systems_of(["one/model", "two/model"])


@pytest.mark.parametrize("peer", ["flashrank", "nowhere.py:flashrank"])
def test_peers_without_a_file(cross_encoder_folder, peer):
    with pytest.raises(InputError, match=r"(flashrank|nowhere\.py): no such file: give a peer as FILE:NAME"):
        systems_of([str(cross_encoder_folder)], peers=[peer])


def test_peers_that_have_nothing_to_run(tmp_path):
    with pytest.raises(InputError, match="there is none among the models"):
        systems_of([str(make_tiny_twin(tmp_path / "twin"))], peers=["peers.py:flashrank"])
