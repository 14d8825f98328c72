"""Gzip the runs of an experiment in place, and let their provenance name the packed files.

python runs/pack.py runs/dl20-students
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from reranker_kd.formats.files import atomic_writer, sha256_of_file
from reranker_kd.provenance import provenance_path


def main(folder: str) -> None:
    """Equal runs give equal files: nothing of the time or the name goes into them."""
    for run in sorted(Path(folder).glob("run.*.txt")):
        packed = run.with_name(f"{run.name}.gz")
        with atomic_writer(packed) as stream:
            stream.write(run.read_text(encoding="utf-8"))
        record = json.loads(provenance_path(run).read_text(encoding="utf-8"))
        record["artefact"] = {"name": packed.name, "sha256": sha256_of_file(packed)}
        with atomic_writer(provenance_path(packed)) as stream:
            json.dump(record, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
        provenance_path(run).unlink()
        run.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:])
