"""The stages of a distillation, one after the other, each trained once on the transformers Trainer.

Checkpoints, resume, mixed precision and validation are the Trainer's; a stage that is done is loaded.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, send_to_device
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from reranker_kd.distill.data.batches import GroupDataset, TextDataset
from reranker_kd.distill.data.sources import Validation
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.objectives.recording import LAYERS, LayerTeacher
from reranker_kd.distill.recipe import DistillRecipe, TrainingSettings
from reranker_kd.distill.students import Student
from reranker_kd.distill.training.distiller import Distiller, distinct
from reranker_kd.formats.files import atomic_writer
from reranker_kd.inference.precision import resolve_precision
from reranker_kd.progress import Advance, progress_bar
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray

VALIDATION = "eval_validation"


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
        own = stage.model_dump(include={*TrainingSettings.model_fields}, exclude_none=True)
        # After losses over layers or masked tokens alone, a score means nothing yet.
        can_rank = bool(self.validations) and not stage.reads.isdisjoint({"scores", "embeddings"})
        if can_rank and (every := next((each.every for each in self.recipe.validation if each.every), None)):
            own["save_every"] = every
        training = self.recipe.training.model_copy(update=own)
        texts = TextDataset(self.groups, self.embeddings if "embeddings" in stage.reads else None)
        data = texts if stage.over == "texts" else self.groups
        per_group, unit = (1.0, "texts") if data is texts else (self.groups.pairs / len(self.groups), "pairs")
        per_step = training.batch_groups * per_group
        title = f"training, stage {number}, {training.steps} updates"
        with progress_bar(title, round(training.steps * per_step), unit, quiet=self.quiet) as bar:
            folder, validate = self.work / f"checkpoints-{number}", self._validate if can_rank else None
            progress = _Progress(bar, per_step)
            return _train_stage(distiller, data, training, folder, seed, validate, progress)

    def _validate(self) -> float:
        self.student.save(self.work / "validation")
        reranker = load_reranker(self.work / "validation", backend="torch")
        return fmean(validation.measure(validation.rerank(reranker)) for validation in self.validations)


def _train_stage(
    distiller: Distiller,
    dataset: GroupDataset | TextDataset,
    settings: TrainingSettings,
    folder: Path,
    seed: int,
    validate: Callable[[], float] | None,
    progress: _Progress,
) -> list[dict[str, float]]:
    """Train until ``settings.steps`` updates, or go on from the last checkpoint in ``folder``; return the log.

    With a validation the best checkpoint's weights are in the distiller at the end, else the last ones. The same call
    with the same seed gives the same weights on the same machine, interrupted or not.

    :param folder: for checkpoints; two are kept
    :param validate: measures the student as it is, with every checkpoint; higher is better
    :return: entries of step, loss and its parts, learning rate, validation
    """
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cpu":
        # The fused kernel's way back takes longer than all the rest of a step there.
        for module in distiller.modules():
            if isinstance(module, PreTrainedModel):
                module.set_attn_implementation("eager")
    steps = settings.steps
    every = min(steps, settings.save_every)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=max(1, settings.batch_groups // settings.accumulate),
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=1e-4 if settings.learning_rate is None else settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else "linear",
        warmup_steps=round((0.05 if settings.warmup is None else settings.warmup) * steps),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=resolve_precision(settings.precision, device) == torch.bfloat16,
        use_cpu=device.type == "cpu",
        seed=seed,
        data_seed=seed,
        logging_steps=min(settings.log_every, steps),
        save_steps=every,
        save_total_limit=2,
        eval_strategy="steps" if validate else "no",
        eval_steps=every,
        load_best_model_at_end=validate is not None,
        metric_for_best_model=VALIDATION,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        log_level="error",
        log_level_replica="error",
        dataloader_pin_memory=False,
    )
    # Several GPUs are for torchrun, a process each; one process would split batches, which it cannot.
    arguments._n_gpu = min(1, arguments.n_gpu)
    set_seed(seed)
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings(action="ignore"):
            trainer = _DistillationTrainer(
                model=distiller,
                args=arguments,
                train_dataset=range(len(dataset)),
                eval_dataset=range(len(dataset)),
                data_collator=dataset.batch,
                callbacks=[progress],
            )
            trainer.validate, trainer.learning_rates = validate, settings.learning_rates
            # Prints every log entry to stdout.
            trainer.remove_callback(PrinterCallback)
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
    finally:
        logging.set_verbosity(before)
    return [dict(entry) for entry in trainer.state.log_history]


def _last_checkpoint(folder: Path) -> str | None:
    """Return the last checkpoint that is whole: a kill may have cut short the writing of a later one."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]), reverse=True):
        try:
            # What the Trainer writes last.
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return str(path)
        except (OSError, ValueError):
            continue
    return None


class _DistillationTrainer(Trainer):
    validate: Callable[[], float] | None
    learning_rates: dict[str, float]

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)
        self._parts: list[dict[str, float]] = []

    def create_optimizer(self, *arguments: Any, **keywords: Any) -> Any:
        optimizer = super().create_optimizer(*arguments, **keywords)
        assert self.model is not None
        weights: list[tuple[str, Any]] = list(self.model.named_parameters())
        for part, rate in self.learning_rates.items():
            moved = {id(weight) for name, weight in weights if part in name.split(".")}
            for group in list(optimizer.param_groups):
                own = {key: value for key, value in group.items() if key != "params"}
                apart = [weight for weight in group["params"] if id(weight) in moved]
                group["params"] = [weight for weight in group["params"] if id(weight) not in moved]
                if apart:
                    optimizer.add_param_group({**own, "params": apart, "lr": rate})
        return optimizer

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        losses = model(**inputs)
        self._parts.append({name: float(value) for name, value in losses.items() if name != "loss"})
        return (losses["loss"], losses) if return_outputs else losses["loss"]

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return send_to_device(inputs, self.args.device)

    def log(self, logs: dict[str, float], *arguments: Any, **keywords: Any) -> None:
        if "loss" in logs and self._parts:
            means = {name: sum(parts[name] for parts in self._parts) / len(self._parts) for name in self._parts[0]}
            logs = {**logs, **means, **cast(Any, self.model).network.observed()}
            self._parts = []
        super().log(logs, *arguments, **keywords)

    def evaluate(self, *_arguments: Any, **_keywords: Any) -> dict[str, float]:
        assert self.validate is not None and self.model is not None
        self.model.eval()
        # Scoring draws no random numbers, but what it loads may: training must go on as if it had not been.
        with torch.random.fork_rng(devices=[]):
            # One process measures, all choose the same checkpoint.
            measured = [self.validate() if self.is_world_process_zero() else 0.0]
        metrics = {VALIDATION: float(broadcast_object_list(measured)[0])}
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Progress(TrainerCallback):
    """Shows what is learnt from; what an earlier call learnt from bears on no rate."""

    def __init__(self, bar: Advance, per_step: float) -> None:
        self._bar = bar
        self._per_step = per_step

    def on_train_begin(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:  # noqa: ARG002
        self._bar.resume(state.global_step * self._per_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **keywords: Any) -> None:  # noqa: ARG002
        self._bar.advance(self._per_step)
