"""Teachers whose scores are there already: the scores or ranks of a run, human grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.teachers.base import Place, Teacher, TeacherSettings
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import RunColumns, read_run_columns
from reranker_kd.provenance import file_record
from reranker_kd.rerank.base import Progress, no_progress
from reranker_kd.types import FloatArray


@dataclass(frozen=True)
class TableTeacher(Teacher):
    """Scores by qid and docid; it needs no texts and knows no augmented ones.

    :param table: qid -> docid -> score
    :param absent: qid -> the score of the documents that the query lacks in ``table``; NaN for all other queries
    :param description: what identifies it, as JSON values
    """

    table: Mapping[str, Mapping[str, float]]
    absent: Mapping[str, float]
    description: dict[str, Any]

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:  # noqa: ARG002
        found = [self.table.get(qid, {}).get(docid, self.absent.get(qid, np.nan)) for qid, docid in pairs]
        on_progress(len(pairs))
        return np.asarray(found, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return self.description


class RunSettings(TeacherSettings):
    """The scores or the ranks of a run, from whatever system; no opinion of queries and documents that the run lacks.

    :param use: ``score``; ``rank`` for minus the rank; ``reciprocal_rank`` for 1 / (k + rank) (Cormack et al. 2009);
        ranks count from 1
    :param k: what dampens high ranks in reciprocal ranks
    :param absent: for documents that the run lacks, of a query that it has: ``unknown`` gives NaN, ``worst`` the
        lowest score of the query, or what the rank after the last gives
    """

    run: Place
    use: Literal["score", "rank", "reciprocal_rank"] = "score"
    k: int = Field(default=60, ge=0)
    absent: Literal["unknown", "worst"] = "unknown"

    def make(self, cache_folder: str | Path) -> Teacher:  # noqa: ARG002
        description = {"teacher": "run", **self.model_dump(include={"use", "k", "absent"}), **file_record(self.run)}
        return RunTeacher(read_run_columns(self.run), self, description)


@dataclass(frozen=True)
class RunTeacher(Teacher):
    """What a run says; see :class:`RunSettings`. A run of millions of lines stays in columns: a query's at a time."""

    run: RunColumns
    settings: RunSettings
    description: dict[str, Any]

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:  # noqa: ARG002
        found = np.empty(len(pairs), dtype=np.float32)
        start = 0
        for qid, listed in groupby(pairs, itemgetter(0)):
            table, absent = self._of_query(qid)
            of_query = [table.get(docid, absent) for _, docid in listed]
            found[start : start + len(of_query)] = of_query
            start += len(of_query)
            on_progress(len(of_query))
        return found

    def _of_query(self, qid: str) -> tuple[dict[str, float], float]:
        """Return the scores of a query's documents, and that of all others."""
        table, use = self.run.top(qid), self.settings.use
        worst = min(table.values(), default=np.nan)
        if use != "score" and table:
            *ranked, worst = (
                -rank if use == "rank" else 1 / (self.settings.k + rank) for rank in range(1, len(table) + 2)
            )
            table = dict(zip(table, map(float, ranked), strict=True))
        return table, float(worst) if self.settings.absent == "worst" else np.nan

    def describe(self) -> dict[str, Any]:
        return self.description


class QrelsSettings(TeacherSettings):
    """Human grades as they stand in a qrels file, negative ones too.

    :param unjudged: the score of an unjudged document of a query that has judgments; None for no opinion
    """

    qrels: Place
    unjudged: float | None = Field(default=None, allow_inf_nan=False)

    def make(self, cache_folder: str | Path) -> Teacher:  # noqa: ARG002
        qrels = read_qrels(self.qrels)
        absent = {} if self.unjudged is None else dict.fromkeys(qrels, self.unjudged)
        return TableTeacher(qrels, absent, {"teacher": "qrels", "unjudged": self.unjudged, **file_record(self.qrels)})
