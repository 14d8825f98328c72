"""The sample collection on the installed packages, and its topics and qrels held against it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from reranker_kd.formats.collections import read_collection
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.topics import read_topics
from reranker_kd.resources.sample_collection import (
    MAX_CHARACTERS,
    SAMPLE_QRELS,
    SAMPLE_TOPICS,
    heading,
    readable,
    shorten,
)
from reranker_kd.types import Qrels, Topics

pytestmark = pytest.mark.slow

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"

BUILD = """
import sys
from reranker_kd.resources.sample_collection import build_sample_collection
print(build_sample_collection(sys.argv[1]), *sys.modules)
"""


class Build(NamedTuple):
    """What a build in a fresh process wrote and said."""

    path: Path
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
        results.append(Build(path, int(count), set(modules)))
    return results


@pytest.fixture(scope="module")
def texts(builds: list[Build]) -> dict[str, str]:
    """Text by docid, in the order of the file; reading fails on a docid that comes twice."""
    return {document.docid: document.text for document in read_collection(builds[0].path)}


@pytest.fixture(scope="module")
def topics() -> Topics:
    return read_topics(SAMPLE_TOPICS)


@pytest.fixture(scope="module")
def qrels() -> Qrels:
    """Reading fails on a document that is judged twice for a topic."""
    return read_qrels(SAMPLE_QRELS)


def unpinned_packages() -> list[str]:
    """Return the installed packages whose version is not the one of constraints.txt; a local part is no matter."""
    installed = {d.metadata["Name"]: d.version.partition("+")[0] for d in importlib.metadata.distributions()}
    pins = [line.split("==") for _, line in read_lines(CONSTRAINTS) if not line.startswith("#")]
    return [f"{name} {installed[name]}" for name, version in pins if installed.get(name, version) != version]


def test_two_builds_are_equal(builds):
    assert builds[0].path.read_bytes() == builds[1].path.read_bytes()


def test_no_documented_package_is_imported(builds, texts):
    documented = {docid.split(".")[0] for docid in texts}
    assert {"torch", "transformers", "pandas", "sklearn"} <= documented
    # NumPy comes with reranker_kd.types.
    assert documented & builds[0].loaded_modules <= {"numpy"}


def test_collection_is_large_and_sorted(builds, texts):
    assert builds[0].count == len(texts) >= 5000
    assert list(texts) == sorted(texts)


def test_documents_are_public_titled_and_bounded(texts):
    for docid, text in texts.items():
        assert not any(part.startswith("_") for part in docid.split(".")), docid
        title, blank, body = text.split("\n", 2)
        assert docid in title
        assert blank == ""
        assert body.strip()
        assert len(text) <= MAX_CHARACTERS


def test_no_text_comes_twice(texts):
    # Texts that were shortened may well begin alike.
    bodies = [text.partition("\n\n")[2] for text in texts.values() if len(text) < MAX_CHARACTERS / 2]
    assert len(bodies) == len(set(bodies))


def test_names_are_those_that_users_write(texts):
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
    assert expected <= texts.keys()


def test_there_are_enough_topics(topics):
    assert len(topics) >= 60
    assert len(set(topics.values())) == len(topics)


def test_every_judged_document_is_in_the_collection_and_says_what_was_judged(texts, qrels):
    if unpinned := unpinned_packages():
        pytest.skip(f"the qrels are of the versions in constraints.txt; installed: {', '.join(unpinned)}")
    judged = sorted({docid for grades in qrels.values() for docid in grades})
    missing = set(judged) - texts.keys()
    assert not missing, f"judged, but not built from the pinned versions: {', '.join(sorted(missing))}"
    digest = hashlib.sha256("".join(f"{docid}\0{texts[docid]}\n" for docid in judged).encode()).hexdigest()
    assert digest == "19755891535736ed020d2210d94d3042e16c25c37baf516a2a3636a474c03154"


def test_every_topic_is_judged_and_has_a_relevant_document(topics, qrels):
    assert qrels.keys() == topics.keys()
    assert all(max(grades.values()) >= 2 for grades in qrels.values())
    assert {grade for grades in qrels.values() for grade in grades.values()} == {0, 1, 2, 3}


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
