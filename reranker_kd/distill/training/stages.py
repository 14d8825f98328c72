"""The stages of a distillation, one after the other: each is trained once, and loaded where it is done."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file

from reranker_kd.distill.data.batches import GroupDataset, TextDataset
from reranker_kd.distill.data.sources import Validation
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.objectives.recording import LAYERS, LayerTeacher
from reranker_kd.distill.recipe import DistillRecipe
from reranker_kd.distill.students import Student
from reranker_kd.distill.training.distiller import Distiller, distinct
from reranker_kd.distill.training.train import train_stage
from reranker_kd.formats.files import atomic_writer
from reranker_kd.progress import progress_bar
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray


@dataclass(frozen=True, slots=True)
class Stages:
    """What all stages share.

    :param layers: whose layers are learnt
    :param embeddings: the teacher's, of queries, then documents, (n, d)
    :param validations: choose the checkpoint of a stage after which scores mean something, by the mean of all
    :param work: where checkpoints and finished stages lie
    """

    recipe: DistillRecipe
    student: Student
    layers: LayerTeacher | None
    groups: GroupDataset
    embeddings: FloatArray | None
    validations: tuple[Validation, ...]
    work: Path
    quiet: bool

    def train(self, number: int, stage: Stage) -> list[dict[str, float]]:
        """Train a stage, or load what it brought where it is done; return its log."""
        done, log = self.work / f"stage-{number}.safetensors", self.work / f"stage-{number}.json"
        if done.is_file():
            self.student.network.load_state_dict(load_file(done), strict=False)
            return json.loads(log.read_text(encoding="utf-8"))
        entries = self._train(number, stage)
        PartialState().wait_for_everyone()
        if PartialState().is_main_process:
            with atomic_writer(log) as stream:
                json.dump(entries, stream)
            temporary = done.with_suffix(".part")
            weights = distinct(self.student.network.state_dict())
            save_file({name: value.contiguous() for name, value in weights.items()}, temporary)
            temporary.replace(done)
            shutil.rmtree(self.work / f"checkpoints-{number}", ignore_errors=True)
        return entries

    def _train(self, number: int, stage: Stage) -> list[dict[str, float]]:
        seed = self.recipe.seed + number
        with torch.random.fork_rng(devices=[]):
            # What is learnt beside the student begins at random: the same whether or not earlier stages ran now.
            torch.manual_seed(seed)
            width = None if self.embeddings is None else self.embeddings.shape[1]
            layers = self.layers if stage.reads & LAYERS.keys() else None
            distiller = Distiller(self.student, stage, layers, width)
        own = stage.model_dump(include={"steps", "learning_rate", "batch_groups"}, exclude_none=True)
        # After losses over layers or masked tokens alone, a score means nothing yet.
        can_rank = bool(self.validations) and not stage.reads.isdisjoint({"scores", "embeddings"})
        if can_rank and (every := next((each.every for each in self.recipe.validation if each.every), None)):
            own["save_every"] = every
        training = self.recipe.training.model_copy(update=own)
        texts = TextDataset(self.groups, self.embeddings if "embeddings" in stage.reads else None)
        data = texts if stage.over == "texts" else self.groups
        with progress_bar(f"training, stage {number}", training.steps, "steps", quiet=self.quiet) as bar:
            return train_stage(
                distiller,
                data,
                training,
                self.work / f"checkpoints-{number}",
                seed=seed,
                validate=self._validate if can_rank else None,
                progress=bar,
            )

    def _validate(self) -> float:
        self.student.save(self.work / "validation")
        reranker = load_reranker(self.work / "validation", backend="torch")
        return fmean(validation.measure(validation.rerank(reranker)) for validation in self.validations)
