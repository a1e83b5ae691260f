"""The sets that are protected, and the pruned models: found, matched, made."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from voxstrata.errors import ResultsError, UsageError, VoxstrataWarning
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.interventions.activity import Activity, measure
from voxstrata.neurons.interventions.matched import LARGE, matched
from voxstrata.neurons.protection.inside import prune_config
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import Variant, sizes
from voxstrata.neurons.pruning.job import evidence_of, run_pruning
from voxstrata.neurons.pruning.job import prepare as prepare_pruning
from voxstrata.neurons.pruning.scores import SCORES, RowScores
from voxstrata.neurons.sets import NeuronSet, load_set
from voxstrata.streaming.runs import Hooks

SETS, SCORING = "sets", "scores"
"""Folders of the sets that are protected, and of what scores leave while they are computed, in
the output folder."""

FAR = 0.05
"""Mean difference of ranks, as a share of a layer, above which a match is called poor: a few
neurons may lie so close together that standard deviations of theirs say nothing."""


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

    Scores are those of the model before anything is pruned, also where there are several prunings
    on the way, after each of which the pruning looks at scores anew.

    Args:
        config: the settings.
        neurons: the protected ones.
        model: that they are of.
        folder: output folder.

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
            scores = _scores(config, seed, model, folder) if config.control == "score" else None
            with warnings.catch_warnings():  # told from the file, also when a run goes on
                warnings.simplefilter("ignore", VoxstrataWarning)
                made = matched(neurons, model, activity, config.control, seed, scores=scores)
            made.save(path)
        found[seed] = path
    return found


def _scores(config: ProtectionConfig, seed: int, model: SpeechModel, folder: Path) -> RowScores:
    """What the first pruning of this seed will look at."""
    place = folder / SCORING
    one = Variant("none", sizes(config, model)[0], seed, place)
    prepared = prepare_pruning(prune_config(config, one, None))
    found = SCORES.get(config.score).rows(prepared.model, evidence_of(prepared, place)())
    shutil.rmtree(place, ignore_errors=True)
    return found


def unlike(instead: dict[int, Path]) -> list[str]:
    """What the reader must know of controls that are not like the protected neurons."""
    found = []
    for seed, path in instead.items():
        control = load_set(path)
        match = control.details.get("match") or {}
        if control.details["control"] == "score":
            what = "rank in the pruning score"
            poor = [
                layer
                for layer, one in match.items()
                if abs(one["control"] - one["set"]) > FAR * control.widths[layer]
            ]
        else:
            what = "weight"
            poor = [k for k, one in match.items() if abs(one["difference_sd"] or 0.0) > LARGE]
        if poor:
            found.append(
                f"The neurons protected instead (seed {seed}) have another {what} than those found "
                f"in {len(poor)} {'layer' if len(poor) == 1 else 'layers'} "
                f"({', '.join(poor[:3])}): too few other neurons are like them."
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
        settings = prune_config(config, one, path)
        run_pruning(settings, one.folder, hooks=Hooks(say=say))
        load_model(one.model)  # what was made must be readable before hours of probing
        yield one
