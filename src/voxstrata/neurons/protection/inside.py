"""Settings of the jobs inside a protection run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import Variant
from voxstrata.neurons.pruning.scores import SCORES
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.settings import NeuronsConfig
from voxstrata.probing.settings import ProbeConfig
from voxstrata.verification.settings import VerifyConfig


def neurons_config(config: ProtectionConfig) -> NeuronsConfig:
    """Of the job that finds the neurons."""
    return NeuronsConfig(
        models=(config.model,),
        corpus=config.corpus,
        contrasts=(config.contrast,),
        rule=config.rule,
        sigma=config.sigma,
        ivector=config.ivector,
        draws=config.draws,
        rankings=False,
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
    )


def prune_config(config: ProtectionConfig, one: Variant, protect: Path | None) -> PruneConfig:
    """Of the job that makes one pruned model.

    Args:
        config: the settings.
        one: the model.
        protect: file of the neurons that stay; ``None`` for none.
    """
    return PruneConfig(
        model=config.model,
        keep=one.keep,
        score=config.score,
        steps=config.steps,
        protect=None if protect is None else str(protect),
        # Only where it is read: the identity of a pruning run knows of it.
        corpus=config.corpus if SCORES.get(config.score).needs == "audio" else None,
        tune=config.tune,
        tune_steps=config.tune_steps,
        changes=(*config.changes, f"run.seed={one.seed}") if config.tune else (),
        name=f"{one.condition}-{one.keep}-{one.seed}",
        seed=one.seed,
        device=config.device,
        study=config.study,
    )


def probe_config(config: ProtectionConfig, wanted: Sequence[Variant], whole: str) -> ProbeConfig:
    """Of the job that asks all models the tasks.

    Args:
        config: the settings.
        wanted: the pruned models.
        whole: the model that they are held against.
    """
    by = {(one.condition, one.keep, one.seed): one.model for one in wanted}
    pairs = [
        (mine, other)
        for (condition, keep, seed), mine in by.items()
        if condition == "protected"
        for rival in ("none", "random")
        if (other := by.get((rival, keep, seed))) is not None
    ]
    pairs += [(one.model, whole) for one in wanted]
    return ProbeConfig(
        models=(whole, *(one.model for one in wanted)),
        tasks=config.tasks,
        corpus_map=config.corpus_map,
        protocol=config.protocol,
        steps=config.probe_steps,
        lrs=config.probe_lrs,
        seeds=config.probe_seeds,
        twins=False,
        controls=False,
        ablation=False,
        singles=False,
        pairs=tuple(pairs),
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
    )


def verify_config(config: ProtectionConfig, wanted: Sequence[Variant], whole: str) -> VerifyConfig:
    """Of the job that verifies trials by all models; arguments as :func:`probe_config`."""
    assert config.trials is not None
    given: dict[str, Any] = {}
    if config.backend is not None:
        given = {"backend": (config.backend,), "backend_from": config.backend_from}
    return VerifyConfig(
        models=(whole, *(one.model for one in wanted)),
        corpus=config.trials,
        layer=config.layer,
        channel=config.channel,
        channel_on="all" if config.channel == "random" else "trials",
        twins=False,
        baselines=True,
        seed=config.seed,
        device=config.device,
        batch_s=config.batch_s,
        study=config.study,
        **given,
    )
