"""Topics and qrels by the names that Pyserini knows, from its cache: no network is needed for what is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reranker_kd.errors import InputError
from reranker_kd.retrieve.lucene import pyserini_topics, qrels_file


def test_names_lead_to_cached_files(tmp_path):
    cache = tmp_path / ".cache" / "pyserini" / "topics-and-qrels"
    cache.mkdir(parents=True)
    (cache / "topics.dl19-passage.txt").write_text("47923\taxon terminals\n19335\tanthropological definition\n")
    (cache / "qrels.dl19-passage.txt").write_text("19335 0 1017759 0\n19335 0 1082489 3\n")
    program = """
import json
from reranker_kd.retrieve.named_inputs import load_qrels, load_topics
print(json.dumps([list(load_topics("dl19-passage").items()), load_qrels("dl19-passage")]))
"""
    # Anserini keeps its cache under Java's user.home, which is not the variable HOME.
    environment = {**os.environ, "JAVA_TOOL_OPTIONS": f"-Duser.home={tmp_path}"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    topics, qrels = json.loads(done.stdout)
    assert topics == [["19335", "anthropological definition"], ["47923", "axon terminals"]]
    assert qrels == {"19335": {"1017759": 0, "1082489": 3}}


@pytest.mark.parametrize("resolve", [pyserini_topics, qrels_file])
def test_unknown_names_name_their_neighbours(resolve):
    with pytest.raises(InputError, match=r"^dl19-pasage: neither a file nor the name .*dl19-passage"):
        resolve("dl19-pasage")
