"""With training in between: the model that is pruned, and the unpruned one it is held against."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from voxstrata.files import storage_errors
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.protection.inside import prune_config
from voxstrata.neurons.protection.prepare import BASE
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import MODEL, Variant, sizes
from voxstrata.neurons.pruning.plan import Step
from voxstrata.neurons.pruning.steps import State, tune_step
from voxstrata.neurons.pruning.tuning import fit_recipe
from voxstrata.streaming.runs import Hooks
from voxstrata.training.job import MODEL as TRAINED
from voxstrata.training.job import run_training
from voxstrata.training.recipes import read_recipe

UNPRUNED = "unpruned"
"""Folder, in the output folder, of the unpruned model that was trained as long as the others."""


def trained_first(
    config: ProtectionConfig, model: SpeechModel, folder: Path, hooks: Hooks[Any]
) -> ProtectionConfig:
    """The settings with the model trained by the recipe first, its codes taken over by all.

    Its head must know the recipe's codes before anything is pruned. Where the settings name a
    folder of codes, the model is taken to know them.

    Args:
        config: the settings, with a recipe.
        model: as it comes.
        folder: output folder.
        hooks: progress and messages.
    """
    if any(change.startswith("objective.targets.folder=") for change in config.changes):
        return config
    place = folder / BASE
    hooks.say(f"training {config.model} by {config.tune}: what is pruned comes from there")
    recipe = fit_recipe(
        config.tune or "",
        model,
        config.model,
        changes=config.changes,
        steps=config.base_steps,
        name="base",
    )
    run_training(recipe, place, hooks=Hooks(progress=hooks.progress, say=hooks.say))
    return config.model_copy(
        update={
            "model": str(place / TRAINED),
            "changes": (*config.changes, f"objective.targets.folder={json.dumps(str(place))}"),
        }
    )


def trained_as_long(
    config: ProtectionConfig, model: SpeechModel, folder: Path, hooks: Hooks[Any]
) -> str:
    """The unpruned model, trained on as often and as long as every pruned one, by the same recipe.

    Pruned models have ``steps`` trainings of ``tune_steps`` optimiser steps behind them, each with
    an optimiser that starts anew; held against a model without these they would have more of
    whatever training brings. The seed is ``config.seed``, that of the first pruned models.

    Args:
        config: the settings, ``model`` being what is pruned (:func:`trained_first`).
        model: that model.
        folder: output folder.
        hooks: progress and messages.

    Returns:
        folder of the model, ``OUT/unpruned/model``.
    """
    place = folder / UNPRUNED
    final = place / MODEL
    if final.exists():  # renamed there when it was whole
        return str(final)
    hooks.say(f"training {config.model} on without pruning, as long as the pruned models")
    one = Variant(UNPRUNED, sizes(config, model)[0], config.seed, place)
    settings = prune_config(config, one, None).model_copy(update={"name": UNPRUNED})
    recipe = read_recipe(settings.tune or "", settings.changes)
    state = State(model, None)
    for number in range(1, config.steps + 1):
        step = Step(number, None, config.tune_steps)
        state = tune_step(settings, state, step, place / "steps" / f"{number:02d}", recipe, hooks)
    work = place / f"{MODEL}.partial"
    with storage_errors(work):
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(state.model.spec, work)
        work.rename(final)
    return str(final)
