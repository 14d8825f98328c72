"""The real trec_eval, to hold our figures against."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from reranker_kd.types import Qrels, Run

# The platforms for which jtreceval brings a native trec_eval 9.0.4, as platform names them.
BINARIES = {
    ("Linux", "x86_64"): "trec_eval-linux-amd64",
    ("Darwin", "x86_64"): "trec_eval-macosx-x86_64",
    ("Darwin", "arm64"): "trec_eval-macosx-aarch64",
}

Figures = dict[tuple[str, str], float]
"""(measure as trec_eval prints it, qid or "all") -> figure, of four decimals."""


@dataclass(frozen=True)
class TrecEval:
    binary: Path
    folder: Path

    def __call__(self, run: Path, qrels: Path, *options: str) -> Figures:
        command = [str(self.binary), "-q", *options, str(qrels), str(run)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
        columns = (line.split("\t") for line in printed.splitlines())
        return {
            (name.rstrip(), qid): float(figure)
            for name, qid, figure in columns
            if name.rstrip() not in ("runid", "relstring")
        }

    def of_records(self, run: Run, qrels: Qrels, options: Sequence[str]) -> Figures:
        run_file, qrels_file = self.folder / "run.txt", self.folder / "qrels.txt"
        run_lines = (
            f"{qid} Q0 {docid} 0 {score!r} tag\n" for qid, docs in run.items() for docid, score in docs.items()
        )
        qrels_lines = (f"{qid} 0 {docid} {grade}\n" for qid, grades in qrels.items() for docid, grade in grades.items())
        run_file.write_text("".join(run_lines), encoding="utf-8")
        qrels_file.write_text("".join(qrels_lines), encoding="utf-8")
        return self(run_file, qrels_file, *options)


@pytest.fixture(scope="session")
def trec_eval(tmp_path_factory: pytest.TempPathFactory) -> TrecEval:
    """trec_eval 9.0.4, from Anserini's jar in the installed package pyserini."""
    name = BINARIES.get((platform.system(), platform.machine()))
    if name is None:
        pytest.skip(f"no trec_eval for {platform.system()} on {platform.machine()} in Anserini's jar")
    pyserini = importlib.util.find_spec("pyserini")
    assert pyserini is not None and pyserini.submodule_search_locations
    (jar,) = Path(pyserini.submodule_search_locations[0], "resources", "jars").glob("anserini-*-fatjar.jar")
    folder = tmp_path_factory.mktemp("trec_eval")
    with zipfile.ZipFile(jar) as archive:
        binary = Path(archive.extract(f"trec_eval/{name}", folder))
    binary.chmod(0o755)
    return TrecEval(binary, folder)
