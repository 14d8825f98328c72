"""Every error that a user can cause or mend, in one tree.

::

    RerankerKDError              anything below; the command line prints it as one line and exits with 1
    ├── FormatError              a fault in a file: names the file, the line, what was expected
    ├── InputError               inputs that do not fit together
    │   └── CandidateError       a candidate that cannot be reranked: an unknown topic, a docid without text
    ├── OutputError              a result that cannot be written: a full disk, a file in the way
    ├── LuceneError              an index that is missing, broken, or lacks stored text
    ├── JavaError                no Java that runs Anserini
    ├── ModelError               a model that cannot be found, loaded or applied
    └── RecipeError              a recipe with an unknown key or a wrong value

Messages are one line: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from pathlib import Path


class RerankerKDError(Exception):
    """The root: catch this to catch every error that this package raises on purpose."""


class FormatError(RerankerKDError):
    """A fault in a file.

    :param path: the file
    :param line: line number from 1, or None where no line can be named
    :param fault: what is wrong and what was expected
    """

    def __init__(self, path: str | Path, line: int | None, fault: str) -> None:
        self.path = str(path)
        self.line = line
        self.fault = fault
        super().__init__(path, line, fault)

    def __str__(self) -> str:
        return f"{self.path}: {self.fault}" if self.line is None else f"{self.path}:{self.line}: {self.fault}"


class InputError(RerankerKDError):
    """Inputs that do not fit together."""


class CandidateError(InputError):
    """A candidate that cannot be reranked.

    :param qid: its query
    :param docid: the document, or None where the query itself is at fault
    :param fault: what is wrong and what to do about it
    """

    def __init__(self, qid: str, docid: str | None, fault: str) -> None:
        self.qid = qid
        self.docid = docid
        self.fault = fault
        super().__init__(qid, docid, fault)

    def __str__(self) -> str:
        return f"query {self.qid!r}: {self.fault}"


class OutputError(RerankerKDError):
    """A result that cannot be written."""


class LuceneError(RerankerKDError):
    """An index that is missing, broken, or lacks what is asked of it."""


class JavaError(RerankerKDError):
    """No Java that runs Anserini."""


class ModelError(RerankerKDError):
    """A model that cannot be found, loaded or applied."""


class RecipeError(RerankerKDError):
    """A recipe with an unknown key or a wrong value."""
