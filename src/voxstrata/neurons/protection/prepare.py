"""Everything a protection run needs before work starts: checked job by job, and planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import voxstrata
from voxstrata.corpora import Corpus
from voxstrata.corpora.cuts import files_of
from voxstrata.corpora.fingerprints import file_print
from voxstrata.errors import UsageError
from voxstrata.files import fingerprint
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.prepare import Prepared as NeuronsPrepared
from voxstrata.neurons.prepare import prepare as prepare_neurons
from voxstrata.neurons.protection.inside import (
    neurons_config,
    probe_config,
    prune_config,
    verify_config,
)
from voxstrata.neurons.protection.settings import ProtectionConfig
from voxstrata.neurons.protection.variants import Variant, sizes, variants
from voxstrata.neurons.pruning.job import prepare as prepare_pruning
from voxstrata.neurons.pruning.tuning import fit_recipe
from voxstrata.neurons.rules import make_rule
from voxstrata.probing.prepare import Prepared as ProbingPrepared
from voxstrata.probing.prepare import prepare as prepare_probing
from voxstrata.probing.sources import own_id, read_map
from voxstrata.streaming.setup import LeftOut
from voxstrata.verification.prepare import Prepared as VerifyPrepared
from voxstrata.verification.prepare import prepare as prepare_verification

BASE, NEURONS, PROBING, VERIFY = "base", "neurons", "probing", "verify"
"""Folders of the jobs inside, in the output folder; each has a page of its own."""


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        model: as it comes.
        keep: rows left of each feed-forward part.
        wanted: models to be made.
        identity: digest of the settings and inputs.
        notices: what the reader must know.
        left_out: tasks that cannot be asked here, with reasons.
    """

    config: ProtectionConfig
    model: SpeechModel
    keep: tuple[int, ...]
    wanted: list[Variant]
    identity: str
    notices: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def prepare(config: ProtectionConfig, folder: Path) -> Prepared:
    """Load, check and plan every job inside; nothing is computed or written.

    Args:
        config: the settings.
        folder: output folder, which need not exist.

    Raises:
        VoxstrataError: the model cannot be pruned so, a corpus, contrast, score, task, protocol,
            layer, backend, recipe or the corpus map is missing or wrong.
    """
    model = load_model(config.model)
    rule = make_rule(config.rule)
    for part in feed_forwards(model):
        rule.top(part.width)  # a share that leaves no neuron is told now
    keep = sizes(config, model)
    wanted = variants(config, keep, folder)
    entries = read_map(config.corpus_map, list(config.tasks))
    for rows in keep:
        prepare_pruning(prune_config(config, Variant("none", rows, config.seed, folder), None))
    if config.tune is not None:
        fit_recipe(config.tune, model, config.model, changes=config.changes)
    neurons = _neurons(config)
    probing = prepare_probing(probe_config(config, (), config.model), folder / PROBING)
    verify = None
    if config.trials is not None:
        verify = prepare_verification(verify_config(config, (), config.model))
    opened = {spec: corpus.fingerprint for spec, corpus in probing.corpora.items()}
    if verify is not None:
        opened["trials"] = verify.corpus.fingerprint
        opened["backend"] = verify.backend_corpus.fingerprint if verify.backend_corpus else ""
    identity = fingerprint(
        [
            voxstrata.__version__,
            config.model_dump(mode="json"),
            model.fingerprint,
            {task: entry.model_dump(mode="json") for task, entry in entries.items()},
            neurons.corpus.fingerprint,
            opened,
        ]
    )
    notices = [
        *(f"{gone.name} was left out: {gone.reason}." for gone in probing.left_out),
        *_seen_before(neurons.corpus, probing, verify),
    ]
    return Prepared(config, model, keep, wanted, identity, notices, probing.left_out)


def _neurons(config: ProtectionConfig) -> NeuronsPrepared:
    """The checked job that finds neurons; clusters of vectors are made only in the run itself."""
    settings = neurons_config(config).model_copy(update={"twins": False})
    prepared = prepare_neurons(settings)
    known_group(config, prepared.analysed[0].contrasts[0].groups)
    return prepared


def known_group(config: ProtectionConfig, groups: Sequence[str]) -> None:
    """Refuse a group that the contrast has not.

    Raises:
        UsageError: it has not.
    """
    if config.group is not None and config.group not in groups:
        raise UsageError(
            f"the contrast {config.contrast!r} has no group {config.group!r}",
            expected=", ".join(groups),
        )


def _seen_before(
    corpus: Corpus, probing: ProbingPrepared, verify: VerifyPrepared | None
) -> list[str]:
    """Tests on recordings that the neurons were found in: those neurons were chosen by them."""
    seen = set(_recordings(corpus, lambda _name: True))
    tests: list[tuple[str, set[str], Iterable[Corpus]]] = [
        (
            one.task.title,
            {own_id(i) for r in one.data.rounds if "test" in r.parts
             for i in r.parts["test"].recordings},
            [probing.corpora[spec] for spec in dict.fromkeys(one.corpora.values())],
        )
        for one in probing.asked
    ]  # fmt: skip
    if verify is not None:
        tests.append(("ASV", set(verify.trials.ids), [verify.corpus]))
    shared: dict[str, list[str]] = {}
    for title, ids, corpora in tests:
        tested = {key for one in corpora for key in _recordings(one, ids.__contains__)}
        if both := len(tested & seen):
            part = "" if both == len(tested) else f" ({both} of {len(tested)})"
            shared.setdefault(part, []).append(title)
    return [
        f"The neurons were found in recordings that {_listed(titles)} "
        f"{'is' if len(titles) == 1 else 'are'} tested on{part}: protecting them may look better "
        "there than it would on other recordings."
        for part, titles in shared.items()
    ]


def _recordings(corpus: Corpus, wanted: Callable[[str], bool]) -> Iterable[tuple[object, ...]]:
    """What is heard in each recording, by its files where it has any, else by its id."""
    for cut in corpus.cuts:
        if wanted(cut.id):
            heard = tuple(file_print(path) for path in files_of(cut)) or (cut.id,)
            yield (heard, round(cut.start, 3), round(cut.duration, 3))


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
