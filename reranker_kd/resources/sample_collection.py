"""The sample collection: the API documentation of the packages that this one runs on.

Every installation has the same text at hand (``constraints.txt`` pins the versions), so that a collection of
thousands of real documents comes without network and without redistributing anything. Topics and graded qrels
for it lie beside this module, in ``sample/``.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

from reranker_kd.formats.files import atomic_writer
from reranker_kd.resources.docstrings import Definition, documented_names

_SAMPLE = Path(__file__).parent / "sample"
SAMPLE_TOPICS = _SAMPLE / "topics.tsv"
SAMPLE_QRELS = _SAMPLE / "qrels.txt"

# A docstring of fewer words says nothing that its name does not.
_MIN_WORDS = 20

MAX_CHARACTERS = 4000
"""The longest text; a longer one ends with the last whole paragraph."""

_ROLE = re.compile(r":\w+(?::\w+)*:`~?([^`]*)`")
_UNFILLED_LINE = re.compile(r"^[ \t]*%\(.*\)s.*\n?", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n\s*\n\s*\n")


def build_sample_collection(output: str | Path) -> int:
    """Write the collection as JSONL, ``{"id": docid, "contents": text}`` a line; return the number of documents.

    They are sorted by docid, which is the public qualified name (``pandas.DataFrame.merge``).

    :raises InputError: a package that should be documented is not installed
    :raises OutputError: the file cannot be written
    """
    by_docid: dict[str, Definition] = {}
    for line in (_SAMPLE / "packages.txt").read_text(encoding="utf-8").splitlines():
        package, *skipped = line.split()
        for docid, definition in documented_names(package, skipped):
            by_docid.setdefault(docid, definition)
    bodies: set[str] = set()
    documents = 0
    with atomic_writer(output) as stream:
        for docid, definition in sorted(by_docid.items()):
            body = readable(definition.docstring)
            if len(body.split()) < _MIN_WORDS or body in bodies:
                continue
            bodies.add(body)
            documents += 1
            text = shorten(f"{heading(docid, definition.parameters)}\n\n{body}")
            stream.write(json.dumps({"id": docid, "contents": text}, ensure_ascii=False) + "\n")
    return documents


def heading(docid: str, parameters: str | None) -> str:
    """Return ``pandas DataFrame merge: pandas.DataFrame.merge(right, how='inner')``.

    Lucene's analysers take a dotted name for one word, so its parts come once more as words.
    """
    package, *parts = docid.split(".")
    words = " ".join([package, *parts[-2:]]).replace("_", " ").strip()
    if parameters is None:
        return f"{words}: {docid}"
    return f"{words}: {docid}({parameters if len(parameters) <= 160 else parameters[:160] + '...'})"


def readable(docstring: str) -> str:
    """Return the docstring without indentation, without cross-reference markup and unfilled template lines."""
    text = _ROLE.sub(r"\1", _UNFILLED_LINE.sub("", inspect.cleandoc(docstring)))
    return _BLANK_LINES.sub("\n\n", text).strip()


def shorten(text: str, limit: int = MAX_CHARACTERS) -> str:
    """Return the text, or its longest beginning of whole paragraphs within ``limit`` characters."""
    if len(text) <= limit:
        return text
    paragraph_end = text.rfind("\n\n", 0, limit)
    return text[: paragraph_end if paragraph_end > 0 else limit].rstrip()
