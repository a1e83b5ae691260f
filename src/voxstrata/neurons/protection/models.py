"""The models of a protection run: each size, condition and seed pruned in a folder of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from voxstrata.errors import ResultsError, UsageError, VoxstrataWarning
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.interventions.activity import Activity, measure
from voxstrata.neurons.interventions.matched import LARGE, matched
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.pruning.job import MODEL, run_pruning
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.sets import NeuronSet, load_set
from voxstrata.streaming.runs import Hooks

PRUNED, SETS = "pruned", "sets"
"""Folders of the pruned models and of the sets that are protected, in the output folder."""


@dataclass(frozen=True)
class Variant:
    """One pruned model.

    Attributes:
        condition: "none", "protected" or "random".
        keep: rows left of each feed-forward part.
        seed: of the run.
        folder: of the pruning run.
    """

    condition: str
    keep: int
    seed: int
    folder: Path

    @property
    def model(self) -> str:
        """Folder of the model."""
        return str(self.folder / MODEL)


def sizes(config: ProtectionConfig, model: SpeechModel) -> tuple[int, ...]:
    """Rows to be left of each feed-forward part.

    Raises:
        ModelError: the model has no feed-forward parts.
        UsageError: no size is below the model's.
    """
    widths = [part.width for part in feed_forwards(model)]
    least = min(widths)
    if config.keep is None:
        return tuple(sorted({max(1, least // 4), max(1, least // 2), max(1, 3 * least // 4)}))
    if max(config.keep) >= least:
        raise UsageError(
            "a size must be smaller than the model's",
            got=f"{max(config.keep)} rows",
            expected=f"fewer than {least}",
        )
    return config.keep


def variants(config: ProtectionConfig, keep: tuple[int, ...], folder: Path) -> list[Variant]:
    """Every model that will be made."""
    place = folder / PRUNED
    return [
        Variant(condition, rows, seed, place / f"{condition}-{rows}-{seed}")
        for rows in keep
        for condition in config.conditions
        for seed in range(config.seed, config.seed + config.seeds)
    ]


def found_set(config: ProtectionConfig, folder: Path) -> NeuronSet:
    """The set of a finished neurons run.

    Args:
        config: the settings.
        folder: its output folder.

    Raises:
        ResultsError: the set is not there, or empty.
    """
    places = sorted((folder / "sets").glob("*/*.json"))
    for place in places:
        one = load_set(place)
        wanted = config.contrast + (" (tested)" if config.found == "tested" else "")
        if one.name == wanted and one.model == config.model:
            chosen = one if config.group is None else one.group(config.group)
            if not len(chosen):
                raise ResultsError(
                    f"{config.contrast} selects no neuron of {config.model}",
                    got=f"rule {config.found!r}",
                    fix="use another contrast, a smaller sigma, or --found published",
                )
            return chosen
    raise ResultsError(
        f"{folder} holds no neurons of {config.contrast!r}",
        got=", ".join(place.name for place in places[:6]) or "no sets",
    )


def refuse_too_many(neurons: NeuronSet, keep: tuple[int, ...]) -> None:
    """More neurons to protect than rows to keep is told before anything is pruned.

    Raises:
        UsageError: some layer has more.
    """
    most = max(neurons.counts().items(), key=lambda item: item[1])
    if most[1] > min(keep):
        raise UsageError(
            "more neurons are to be protected than rows to be kept",
            got=f"{most[1]} in {most[0]}, {min(keep)} rows kept",
            expected=f"sizes of at least {most[1]}",
            fix="keep more rows (--keep), or protect one group of the set (--group)",
        )


def controls(
    config: ProtectionConfig, neurons: NeuronSet, model: SpeechModel, folder: Path
) -> dict[int, Path]:
    """Files of the sets that are protected instead, by seed.

    Raises:
        UsageError: a layer has too few other neurons.
    """
    activity: Activity | None = None
    found = {}
    for s in range(config.seeds):
        seed = config.seed + s
        path = folder / SETS / f"{config.control}-{seed}.json"
        if not path.exists():
            if config.control == "norm" and activity is None:
                from voxstrata.corpora import load_corpus

                activity = measure(model, load_corpus(config.corpus).utterances, seed=config.seed)
            with warnings.catch_warnings():  # told from the file, also when a run goes on
                warnings.simplefilter("ignore", VoxstrataWarning)
                matched(neurons, model, activity, config.control, seed).save(path)
        found[seed] = path
    return found


def unlike(instead: dict[int, Path]) -> list[str]:
    """What the reader must know of controls that are not of the protected neurons' weight."""
    found = []
    for seed, path in instead.items():
        match = load_set(path).details.get("match") or {}
        poor = [k for k, one in match.items() if abs(one["difference_sd"] or 0.0) > LARGE]
        if poor:
            found.append(
                f"The neurons protected instead (seed {seed}) have another weight than those found "
                f"in {len(poor)} layers ({', '.join(poor[:3])}): too few other neurons are like "
                "them."
            )
    return found


def prune_all(
    config: ProtectionConfig,
    wanted: list[Variant],
    protected: Path,
    instead: dict[int, Path],
    say: Callable[[str], None],
) -> Iterator[Variant]:
    """Make every model, or find it made; yields each when it is there."""
    for one in wanted:
        protect = {"none": None, "protected": protected, "random": instead.get(one.seed)}
        path = protect[one.condition]
        settings = PruneConfig(
            model=config.model,
            keep=one.keep,
            score=config.score,
            steps=config.steps,
            protect=None if path is None else str(path),
            tune=config.tune,
            tune_steps=config.tune_steps,
            changes=(*config.changes, f"run.seed={one.seed}") if config.tune else (),
            name=f"{one.condition}-{one.keep}-{one.seed}",
            seed=one.seed,
            device=config.device,
            study=config.study,
        )
        run_pruning(settings, one.folder, hooks=Hooks(say=say))
        load_model(one.model)  # what was made must be readable before hours of probing
        yield one
