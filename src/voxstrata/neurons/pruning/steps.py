"""One step of a run in its folder: prune, or find it done; tune, or go on with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voxstrata.files import read_json, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import load_model
from voxstrata.neurons.pruning.copies import take_copy
from voxstrata.neurons.pruning.cost import cost_of
from voxstrata.neurons.pruning.heads import prune_heads
from voxstrata.neurons.pruning.plan import Step
from voxstrata.neurons.pruning.rows import Find, prune_rows
from voxstrata.neurons.pruning.scores import Evidence
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.pruning.surgery import cut_rank, cut_weights
from voxstrata.neurons.sets import NeuronSet, load_set
from voxstrata.streaming.runs import Hooks
from voxstrata.training.settings import TrainConfig

PRUNED, TUNED, DONE, SET = "pruned", "tuned", "step.json", "protected.json"


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
        model: as it is now.
        protected: neurons that stay, in the model's numbering now.
        history: what each step did, JSON-like.
        codes: output folder of the first tuning, whose codes later ones take over.
    """

    model: SpeechModel
    protected: NeuronSet | None
    history: tuple[dict[str, Any], ...] = ()
    codes: Path | None = None


def prune_step(
    config: PruneConfig,
    state: State,
    step: Step,
    folder: Path,
    evidence: Callable[[], Evidence],
    find: Find | None,
) -> State:
    """Prune and write a folder, or read what was written.

    Args:
        config: settings.
        state: before the step.
        step: which.
        folder: of the step.
        evidence: what scores from data look at, made when it is needed.
        find: finds the neurons to protect, in place of a fixed set.
    """
    place = folder / PRUNED
    if not (folder / DONE).exists():
        facts, protected = _prune(config, state, step, place, evidence, find)
        if protected is not None:
            protected.save(folder / SET)
        # Last, so that a folder with it is whole.
        write_json(folder / DONE, facts)
    facts = read_json(folder / DONE)
    model = load_model(place)
    kept = None
    if (folder / SET).exists():
        kept = replace(load_set(folder / SET), model=model.spec, fingerprint=model.fingerprint)
    return replace(state, model=model, protected=kept, history=(*state.history, facts))


def _prune(
    config: PruneConfig,
    state: State,
    step: Step,
    place: Path,
    evidence: Callable[[], Evidence],
    find: Find | None,
) -> tuple[dict[str, Any], NeuronSet | None]:
    model, kept = state.model, state.protected
    facts: dict[str, Any] = {"step": step.number, "what": config.what, "amount": step.amount}
    if config.what == "rows":
        made = prune_rows(
            model, step.amount, score=config.score, evidence=evidence(), protected=find or kept,
            strategy=config.strategy, scope=config.scope, prune_min=config.prune_min,
            seed=config.seed, spec=str(place),
        )  # fmt: skip
        facts["removed"], now, kept = made.removed, made.model, made.protected
    elif config.what == "heads":
        done = prune_heads(
            model, step.amount, score=config.score, evidence=evidence(), scope=config.scope,
            spec=str(place),
        )  # fmt: skip
        facts["removed"] = {f"block.{n}": gone for n, gone in done.removed.items()}
        now = done.model
    else:
        copy = take_copy(model)
        if config.what == "weights":
            facts["zeros"] = cut_weights(copy, step.amount)
        elif config.what == "low-rank":
            facts["squared weights kept"] = cut_rank(copy, step.amount)
        elif config.what == "layers":
            copy.keep_blocks(step.amount)
        now = copy.model(str(place))
    facts["cost"] = cost_of(now).facts()
    take_copy(now).save(place, config.name, {"from": model.spec, "steps": [facts]})
    return facts, kept


def tune_step(
    config: PruneConfig,
    state: State,
    step: Step,
    folder: Path,
    recipe: TrainConfig,
    hooks: Hooks[Any],
) -> State:
    """Train on from the step's model, or go on with, or read, what was trained.

    Args:
        config: settings.
        state: after the step's pruning.
        step: which.
        folder: of the step.
        recipe: as the user gave it.
        hooks: progress and messages.
    """
    from voxstrata.neurons.pruning.tuning import fit_recipe
    from voxstrata.training.job import MODEL, run_training

    place = folder / TUNED
    fitted = fit_recipe(
        recipe,
        state.model,
        state.model.spec,
        steps=step.tune,
        name=f"{config.name}-{step.number:02d}",
        targets=state.codes,
        teacher=_teacher(config, recipe),
        keep_zeros=config.what == "weights",
    )
    found = run_training(fitted, place, hooks=Hooks(progress=hooks.progress, say=hooks.say))
    model = load_model(place / MODEL)
    kept = state.protected
    if kept is not None:
        kept.check_widths(model)
        kept = replace(kept, model=model.spec, fingerprint=model.fingerprint)
    facts = {
        "step": step.number,
        "tuned": found.record["steps"],
        "valid": {row.measure: row.value for row in found.table.itertuples()},
    }
    codes = state.codes
    if codes is None and (place / "targets").is_dir():
        codes = place
    return State(model, kept, (*state.history, facts), codes)


def _teacher(config: PruneConfig, recipe: TrainConfig) -> str | None:
    """The whole model teaches fewer blocks, and every other network whose recipe says so."""
    taught = recipe.objective["name"] == "distil" and not recipe.objective.get("teacher")
    return config.model if config.what == "layers" or taught else None
