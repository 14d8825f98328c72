"""The sample collection on the installed packages, and its topics and qrels held against it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest

from reranker_kd.formats.files import read_lines
from reranker_kd.resources.sample_collection import MAX_CHARACTERS, heading, readable, shorten

SAMPLE = Path(str(files("reranker_kd.resources"))) / "sample"
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

BUILD = """
import sys
from reranker_kd.resources.sample_collection import build_sample_collection
print(build_sample_collection(sys.argv[1]), *sys.modules)
"""


class Build(NamedTuple):
    """What a build in a fresh process wrote and said."""

    content: bytes
    count: int
    loaded_modules: set[str]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Build]:
    """Two builds at a time, with unlike orders of their sets."""
    folder = tmp_path_factory.mktemp("builds")
    paths = [folder / f"{seed}.jsonl" for seed in (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", BUILD, path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": path.stem},
        )
        for path in paths
    ]
    results = []
    for path, process in zip(paths, processes, strict=True):
        output, _ = process.communicate()
        assert process.returncode == 0
        count, *modules = output.split()
        results.append(Build(path.read_bytes(), int(count), set(modules)))
    return results


@pytest.fixture(scope="module")
def collection(builds: list[Build]) -> list[tuple[str, str]]:
    """(docid, text) in the order of the file."""
    documents = map(json.loads, builds[0].content.decode().splitlines())
    return [(document["id"], document["contents"]) for document in documents]


@pytest.fixture(scope="module")
def topics() -> dict[str, str]:
    return dict(line.split("\t") for _, line in read_lines(SAMPLE / "topics.tsv"))  # type: ignore[misc]


@pytest.fixture(scope="module")
def judgments() -> list[tuple[str, str, int]]:
    fields = [line.split() for _, line in read_lines(SAMPLE / "qrels.txt")]
    return [(qid, docid, int(grade)) for qid, _, docid, grade in fields]


def unpinned_packages() -> list[str]:
    """Return the installed packages whose version is not the one of constraints.txt."""
    lines = (line for _, line in read_lines(CONSTRAINTS) if "==" in line and not line.startswith("#"))
    pinned = dict(line.split("==") for line in lines)  # type: ignore[misc]
    installed = {d.metadata["Name"]: d.version.partition("+")[0] for d in importlib.metadata.distributions()}
    wrong = {name: version for name, version in pinned.items() if installed.get(name, version) != version}
    return [f"{name} {installed[name]} instead of {version}" for name, version in wrong.items()]


def test_two_builds_are_equal(builds):
    assert builds[0].content == builds[1].content


def test_no_documented_package_is_imported(builds):
    documented = {json.loads(line)["id"].split(".")[0] for line in builds[0].content.splitlines()}
    # types.py names float32 arrays, so NumPy comes with the package itself.
    assert documented & builds[0].loaded_modules <= {"numpy"}
    assert {"torch", "transformers", "pandas", "sklearn"} <= documented


def test_collection_is_large_unique_and_sorted(builds, collection):
    docids = [docid for docid, _ in collection]
    assert builds[0].count == len(docids) >= 5000
    assert docids == sorted(set(docids))


def test_documents_are_public_titled_and_bounded(collection):
    for docid, text in collection:
        assert not any(part.startswith("_") for part in docid.split(".")), docid
        title, blank, body = text.split("\n", 2)
        assert docid in title
        assert blank == ""
        assert body.strip()
        assert len(text) <= MAX_CHARACTERS


def test_no_text_comes_twice(collection):
    bodies = [text.partition("\n\n")[2] for _, text in collection if len(text) < MAX_CHARACTERS / 2]
    assert len(bodies) == len(set(bodies))


def test_names_are_those_that_users_write(collection):
    expected = {
        "click.confirm",
        "matplotlib.axes.Axes.set_xlim",
        "networkx.pagerank",
        "numpy.linalg.svd",
        "numpy.ndarray.sort",
        "pandas.DataFrame.merge",
        "sklearn.metrics.ndcg_score",
        "tokenizers.trainers.BpeTrainer",
        "torch.Tensor.detach",
        "torch.cat",
        "torch.nn.functional.cross_entropy",
        "torch.optim.AdamW",
    }
    assert expected <= {docid for docid, _ in collection}


def test_there_are_enough_topics(topics):
    assert len(topics) >= 60
    assert len(set(topics.values())) == len(topics)


def test_every_judged_document_is_in_the_collection(collection, judgments):
    if unpinned := unpinned_packages():
        pytest.skip(f"the qrels are of the versions in constraints.txt; installed: {', '.join(unpinned)}")
    missing = sorted({docid for _, docid, _ in judgments} - {docid for docid, _ in collection})
    assert not missing, f"judged, but not built from the pinned versions: {', '.join(missing)}"


def test_judgments_are_graded_once_each(topics, judgments):
    assert {grade for _, _, grade in judgments} == {0, 1, 2, 3}
    assert len({(qid, docid) for qid, docid, _ in judgments}) == len(judgments)
    assert {qid for qid, _, _ in judgments} == topics.keys()


def test_every_topic_has_a_relevant_document(topics, judgments):
    assert {qid for qid, _, grade in judgments if grade >= 2} == topics.keys()


def test_readable_drops_indentation_markup_and_template_lines():
    docstring = """Return :class:`~torch.Tensor` from :func:`torch.cat`.

        %(kwarg_doc)s



        Args:
            x: the input
        """
    assert readable(docstring) == "Return torch.Tensor from torch.cat.\n\nArgs:\n    x: the input"


def test_heading_spells_the_name_as_words():
    assert heading("pandas.DataFrame.merge", "right, how='inner'") == (
        "pandas DataFrame merge: pandas.DataFrame.merge(right, how='inner')"
    )
    assert heading("torch.nn.functional.log_softmax", None) == (
        "torch functional log softmax: torch.nn.functional.log_softmax"
    )
    assert heading("yaml.f", "x" * 500).endswith("x...)")


def test_shorten_ends_with_a_paragraph():
    assert shorten("one\n\ntwo two\n\nthree", limit=15) == "one\n\ntwo two"
    assert shorten("short", limit=15) == "short"
    assert len(shorten("x" * 40, limit=15)) == 15
