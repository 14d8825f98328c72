"""The folder to submit: each run compressed under its tag, a README that describes them, checksums."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path, PurePath
from typing import Any

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.collections import read_collection
from reranker_kd.formats.files import atomic_folder, atomic_writer, read_lines, sha256_of_file
from reranker_kd.formats.validate import CheckedRun, KnownDocids, Rules, check_runs
from reranker_kd.provenance import read_provenance
from reranker_kd.retrieve.named_inputs import load_topics, open_index

CHECKSUMS = "SHA256SUMS"


def write_checked_submission(
    folder: str,
    runs: Sequence[str],
    *,
    topics: str,
    index: str | None = None,
    collection: str | None = None,
    rules: Rules | None = None,
) -> None:
    """Write a folder of runs to submit, or name every fault of them on stderr, a line each.

    :param topics: file or name of the topics that each run must have
    :param index: folder or name of the Lucene index that must have the documents
    :param collection: file or folder that must have them, in place of an index
    :raises InputError: a fault in a run
    """

    def known(docids: Collection[str]) -> set[str]:
        if collection:
            return {document.docid for document in read_collection(collection) if document.docid in docids}
        with closing(open_index(index or "")) as opened:
            return opened.known(sorted(docids))

    faults = write_submission(folder, runs, load_topics(topics), rules, known if collection or index else None)
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    if faults:
        raise InputError(f"{len(faults)} faults in {len(runs)} runs, each named above; nothing was submitted")
    sys.stderr.write(f"wrote {len(runs)} runs into {folder}\n")


def write_submission(
    folder: str | Path,
    paths: Sequence[str | Path],
    topics: Collection[str],
    rules: Rules | None = None,
    known_docids: KnownDocids | None = None,
) -> list[FormatError]:
    """Check runs, and write a folder of them unless there is a fault.

    The folder gets ``TAG.txt.gz`` of each run, ``README.md`` with what provenance tells of each, and ``SHA256SUMS``,
    which ``sha256sum --check`` reads. It appears under its name when it is whole. The same runs give the same bytes.

    :param folder: must not be there yet, or be empty
    :param topics: the qids that each run must have
    :param rules: the track's; those of most tracks by default
    :param known_docids: tells which documents the collection has; None leaves this unchecked
    :return: every fault, by file and line; where there is any, nothing is written
    :raises InputError: a file cannot be read
    :raises OutputError: the folder holds something, or cannot be written
    """
    target = Path(folder)
    rules = rules or Rules()
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise OutputError(f"{folder}: is there already: name a folder that is not")
    runs, faults = check_runs(paths, topics, rules, known_docids)
    if faults:
        return faults
    named = {f"{run.tag}.txt.gz": run for run in runs}
    with atomic_folder(target) as unfinished:
        for name, run in named.items():
            with atomic_writer(unfinished / name) as stream:
                stream.writelines(f"{line}\n" for _, line in read_lines(run.path) if line and not line.isspace())
        with atomic_writer(unfinished / "README.md") as stream:
            stream.write(_readme(named, len(topics), rules, docids_checked=known_docids is not None))
        sums = [(sha256_of_file(file), file.name) for file in sorted(unfinished.iterdir())]
        with atomic_writer(unfinished / CHECKSUMS) as stream:
            stream.writelines(f"{checksum}  {name}\n" for checksum, name in sums)
    return []


def _readme(runs: Mapping[str, CheckedRun], topics: int, rules: Rules, *, docids_checked: bool) -> str:
    checks = [
        f"at most {rules.depth} documents a query, none twice, ranked from 1 by falling scores",
        f"all {topics} topics and no others",
        f"tags of at most {rules.tag_length} letters, digits, dots, underscores and hyphens, a different one each",
    ]
    if docids_checked:
        checks.append("every docid is in the collection")
    intact = f"Runs in TREC's format. `sha256sum --check {CHECKSUMS}` tells whether they arrived whole."
    parts = ["# Submission", intact, "Checked:", "\n".join(f"- {check}" for check in checks)]
    for name, run in runs.items():
        size = f"`{name}`: {run.documents} documents for {run.queries} topics."
        parts += [f"## {run.tag}", size, _description(run)]
    return "\n\n".join(parts) + "\n"


def _description(run: CheckedRun) -> str:
    record = read_provenance(run.path)
    if record is None:
        return "No provenance lies beside this run: describe here what made it."
    if _section(record, "artefact").get("sha256") != sha256_of_file(run.path):
        return "The provenance beside this run is that of another file: describe here what made it."
    listed = {name: _listed(fact) for name, fact in _facts(record).items()}
    rows = [f"| {name} | {_cell(text)} |" for name, text in listed.items() if text]
    return "\n".join(["| | |", "| --- | --- |", *rows])


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    model, candidates, software = (_section(record, key) for key in ("model", "candidates", "software"))
    versions = ("reranker_kd", "commit", "python", "torch", "transformers", "pyserini")
    return {
        "stage": record.get("stage"),
        "model": _name(model.get("name")),
        "model class": model.get("class"),
        "model SHA-256": model.get("sha256"),
        "model settings": {key: value for key, value in model.items() if key not in ("class", "name", "sha256")},
        "candidates": _name(candidates.get("path") or _section(candidates, "index").get("name")),
        "candidates SHA-256": candidates.get("sha256"),
        "index": _name(_section(record, "index").get("name")),
        "topics": _name(record.get("topics")),
        "texts": _name(record.get("texts")),
        **{key: record.get(key) for key in ("parameters", "counts", "seconds")},
        "made": record.get("created"),
        "software": {name: software.get(name) for name in versions},
    }


def _section(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    section = record.get(key)
    return section if isinstance(section, Mapping) else {}


def _name(name: Any) -> str:
    # Where a file lay on the machine that made the run is nobody's affair.
    return PurePath(str(name)).name if name else ""


def _listed(fact: Any, key: str = "") -> str:
    if isinstance(fact, Mapping):
        return ", ".join(filter(None, (_listed(part, f"{key}.{name}".lstrip(".")) for name, part in fact.items())))
    return "" if fact is None else f"{key} {fact}".strip()


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
