"""Training between prunings: a recipe made to fit a pruned network, and its loss for scores."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.config import build
from voxstrata.errors import ConfigError, ModelError
from voxstrata.files import read_json
from voxstrata.models.base import SpeechModel
from voxstrata.models.melhubert.model import MelHubertModel
from voxstrata.neurons.pruning.copies import BlockParts
from voxstrata.neurons.pruning.copies_melhubert import melhubert_blocks
from voxstrata.training.recipes import read_recipe
from voxstrata.training.registry import OBJECTIVES
from voxstrata.training.settings import TrainConfig

if TYPE_CHECKING:
    import torch

_OBJECTIVES = ("masked", "distil")


def fit_recipe(
    recipe: str | Path | TrainConfig,
    model: SpeechModel,
    start: str | Path,
    *,
    changes: Sequence[str] = (),
    steps: int | None = None,
    name: str | None = None,
    targets: Path | None = None,
    teacher: str | None = None,
    keep_zeros: bool = False,
) -> TrainConfig:
    """A training recipe for a network of these sizes that starts from these weights.

    The network, its start and its front end are the model's; optimiser, schedule, data and
    objective are the recipe's. Feature statistics stay the model's. Weights are kept in float32.

    Args:
        recipe: name, file or configuration of a ``masked`` training.
        model: the network to be tuned, loaded.
        start: its folder.
        changes: ``"schedule.lr=1e-5"``, ...
        steps: optimiser steps; the recipe's own by default.
        name: of the model that comes out.
        targets: output folder of an earlier training whose codes are taken over.
        teacher: model whose probabilities are learned (objective ``distil``).
        keep_zeros: zeros of the start stay zero.

    Raises:
        ModelError: the model's family has no training objective here.
        ConfigError: the recipe trains something else.
    """
    if not isinstance(model, MelHubertModel):
        raise ModelError(
            f"{model.spec} cannot be tuned",
            got=f"family {model.family}",
            expected="a MelHuBERT, whose training objective voxstrata has",
            fix="prune without --tune",
        )
    config = recipe if isinstance(recipe, TrainConfig) else read_recipe(recipe, changes)
    objective = dict(config.objective)
    if config.model.family != "melhubert" or objective["name"] not in _OBJECTIVES:
        raise ConfigError(
            "the recipe does not train a MelHuBERT by its own objective",
            got=f"{config.model.family}, objective {objective['name']}",
            expected="model.family melhubert, objective masked",
        )
    given = dict(objective.get("targets") or {})
    if targets is None and given.get("folder"):
        targets = Path(str(given["folder"]))
        _refuse_other_front(str(targets), model)
    if targets is not None:
        # All other settings of the codes are those of that folder.
        objective["targets"] = {k: given[k] for k in ("features_gb",) if k in given}
        objective["targets"]["folder"] = str(targets.expanduser().absolute())
    else:
        objective["targets"] = {**given, "statistics": "front_end"}
    if teacher is not None:
        objective |= {"name": "distil", "teacher": teacher}
    options = {name: value for name, value in objective.items() if name != "name"}
    kind = OBJECTIVES.get(objective["name"])
    build(kind.Options, options, source=f"objective {objective['name']!r}")  # told before work
    values = config.model_dump(mode="json")
    values["objective"] = objective
    values["model"] = {
        "family": "melhubert",
        "options": model.options.model_dump(mode="json"),
        "start": str(start),
        "keep_zeros": keep_zeros,
    }
    values["run"]["weights"] = "float32"
    if name is not None:
        values["name"] = name
    if steps is not None:
        values["run"] |= {"steps": steps, "epochs": None}
    return build(TrainConfig, values, source=str(recipe) if isinstance(recipe, str) else "recipe")


def _refuse_other_front(folder: str, model: MelHubertModel) -> None:
    """Codes of a folder come with a front end, which must be the model's.

    Raises:
        ConfigError: it is another one.
    """
    from voxstrata.training.objectives.masked.targets import RECORD, targets_folder

    record = read_json(targets_folder(folder) / RECORD)
    if record["front"]["settings"] != model.front.config.model_dump(mode="json"):
        raise ConfigError(
            f"the targets in {folder} go with another front end than {model.spec}'s",
            got=f"{record['front']['name']}, with other settings or statistics",
            expected=model.front.name,
            fix="drop objective.targets.folder, so that codes are computed with the model's own",
        )


class TrainingLosses:
    """Losses of a MelHuBERT on the first batches of a training: what Taylor scores look at.

    Codes are computed (or taken over) once; each model is given the same batches.

    Args:
        config: see :func:`fit_recipe`.
        folder: where the objective keeps codes.
        batches: how many.
    """

    def __init__(self, config: TrainConfig, folder: Path, batches: int) -> None:
        from voxstrata.training.prepare import prepare

        self._prepared = prepare(config)
        self._context = self._prepared.context(folder, lambda _text: None)
        self._examples = self._prepared.kind.examples(self._prepared.options, self._context)
        self._batches = batches

    def of(self, model: SpeechModel) -> ModelLosses:
        """The losses of a model, which stays as it is."""
        if not isinstance(model, MelHubertModel):
            raise ModelError(f"{model.spec} has no training objective", expected="a MelHuBERT")
        network: Any = copy.deepcopy(model._module)
        context = dataclasses.replace(self._context, encoder=lambda: network)
        objective = self._prepared.kind.build(self._prepared.options, context)
        return ModelLosses(self, objective.to(self._prepared.device).eval(), model)

    def batches(self) -> Iterator[dict[str, torch.Tensor]]:
        """The first batches of the first pass."""
        import contextlib

        from voxstrata.training.data.loader import batches

        prepared = self._prepared
        source = batches(prepared.plan, self._examples, epoch=0, position=0, pin=False)
        with contextlib.closing(source) as data:
            for loaded in islice(data, self._batches):
                yield {k: v.to(prepared.device) for k, v in loaded.batch.items()}


class ModelLosses:
    """See :class:`voxstrata.neurons.pruning.scores.Losses`."""

    def __init__(self, source: TrainingLosses, objective: Any, model: MelHubertModel) -> None:
        self._source, self._objective = source, objective
        self.blocks: tuple[BlockParts, ...] = melhubert_blocks(objective.network(), model.options)

    def each(self) -> Iterator[torch.Tensor]:
        """The loss of each batch."""
        import torch

        for batch in self._source.batches():
            with torch.enable_grad():
                yield self._objective(batch).value
