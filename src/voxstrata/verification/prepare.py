"""Everything a verification run needs before work starts, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import LabelError, ModelError, UnknownNameError, UsageError
from voxstrata.files import fingerprint
from voxstrata.metrics.bootstrap import LEAST_SPEAKERS
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.streaming.setup import batch_seconds, choose_device, untrained_notice
from voxstrata.verification.backend import BACKENDS
from voxstrata.verification.channels import ChannelsOf, channels
from voxstrata.verification.embed import Extraction, choose
from voxstrata.verification.pairs import all_pairs
from voxstrata.verification.settings import OF_TRIALS, VerifyConfig
from voxstrata.verification.trials import Trials, match_trials, read_trials

BASELINES = ("log-mel", "mfcc")
"""Features whose mean and deviation over time stand beside every model."""

FEW = 15
"""Speakers below which the reader is told that intervals are too narrow."""


@dataclass(frozen=True)
class System:
    """One thing that is scored.

    Attributes:
        model: the model.
        wanted: what is taken from it.
        role: "model", "twin" or "baseline".
    """

    model: SpeechModel
    wanted: Extraction
    role: str

    @property
    def name(self) -> str:
        """Its name in results."""
        return self.model.spec


@dataclass(frozen=True)
class Prepared:
    """A checked run.

    Attributes:
        config: its settings.
        corpus: the recordings of the trials, and no others.
        trials: in the ids of the corpus.
        speakers: speaker by recording; ``None`` where some have none.
        mean_corpus, cohort_corpus, backend_corpus: opened, where settings name them.
        systems: models, then their twins, then baselines.
        twins: trained model to its untrained twin.
        channels: of the recordings, or ``None``.
        device, batch_s: where and in what steps models run.
        identity: digest of all that numbers depend on.
        notices: what the reader of the results must know.
    """

    config: VerifyConfig
    corpus: Corpus
    trials: Trials
    speakers: dict[str, str] | None
    mean_corpus: Corpus | None
    cohort_corpus: Corpus | None
    backend_corpus: Corpus | None
    systems: list[System]
    twins: dict[str, str]
    channels: ChannelsOf | None
    device: str
    batch_s: float
    identity: str
    notices: list[str]


def prepare(config: VerifyConfig) -> Prepared:
    """Load and check; nothing is computed and nothing written.

    Raises:
        VoxstrataError: anything in the settings, trial list, corpora or models is wrong.
    """
    for spec in config.models:
        find_family(parse(spec))  # an unknown name is told before anything is read
    for name in config.backend:
        BACKENDS.get(name)
    listed = read_trials(config.trials) if config.trials is not None else None
    if listed is not None:
        listed.need_both_kinds()
    made = channels(config.channel, config.channel_seed)
    notices: list[str] = []
    corpus = load_corpus(config.corpus, on_error=config.on_error)
    if listed is not None:
        corpus, trials = _listed(listed, corpus, config, notices)
    else:
        if config.limit is not None and config.limit < len(corpus):
            corpus = corpus.subset(utterances=config.limit, seed=config.seed)
        trials = all_pairs(
            corpus.utterances,
            same_gender=config.same_gender,
            session=config.session,
            limit=config.max_trials,
            seed=config.seed,
            source=f"all pairs of {config.corpus}",
        )
    speakers = _speakers(corpus, trials, notices)
    mean_corpus = cohort_corpus = None
    if config.mean_from != OF_TRIALS:
        mean_corpus = load_corpus(config.mean_from, on_error=config.on_error)
        if config.mean_limit is not None and config.mean_limit < len(mean_corpus):
            mean_corpus = mean_corpus.subset(utterances=config.mean_limit, seed=config.seed)
        _shared_speakers(mean_corpus, speakers, "the mean is taken from", notices)
    if config.as_norm is not None:
        cohort_corpus = load_corpus(config.as_norm, on_error=config.on_error)
        if config.cohort == "speaker":
            _need_speakers(
                cohort_corpus,
                config.as_norm,
                "AS-norm takes the mean embedding of each speaker",
                "--as-norm",
            )
        _shared_speakers(cohort_corpus, speakers, "the cohort holds", notices)
    backend_corpus = _backend_corpus(config, speakers, notices)
    device = choose_device(config.device)
    systems, twins = _systems(config, device, notices)
    corpora = (corpus, mean_corpus, cohort_corpus, backend_corpus)
    opened = [c.fingerprint if c else "" for c in corpora]
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.model_dump(mode="json", exclude={"batch_s", "device", "trials"}),
            "trials": trials.fingerprint,
            "corpora": opened,
            "models": [[s.model.fingerprint, s.wanted.describe()] for s in systems],
            "channels": made.key if made else "",
        }
    )
    shown = [s.model for s in systems if s.role == "model"]
    notices += untrained_notice([m for m in shown if m.spec not in twins.values()])
    if corpus.skipped:
        notices.append(f"{len(corpus.skipped)} recordings were left out before the run.")
    return Prepared(
        config, corpus, trials, speakers, mean_corpus, cohort_corpus, backend_corpus, systems,
        twins, made, device, batch_seconds(config.batch_s, device), identity, notices,
    )  # fmt: skip


def _listed(
    listed: Trials, corpus: Corpus, config: VerifyConfig, notices: list[str]
) -> tuple[Corpus, Trials]:
    """The list in the ids of the corpus, and the recordings it needs."""
    left_out = {problem.id for problem in corpus.skipped}
    found = match_trials(listed, {u.id for u in corpus.utterances} | left_out)
    if found.absent and config.missing == "stop":
        shown = ", ".join(found.absent[:5]) + (", ..." if len(found.absent) > 5 else "")
        raise LabelError(
            f"the trial list {config.trials} names recordings that {config.corpus} has not",
            got=f"{len(found.absent)} of {len(listed.ids)} ids ({found.lost} of {len(listed)} "
            f"trials): {shown}",
            expected=f"ids such as {corpus.utterances[0].id}",
            fix="give the corpus the list was made for; or leave these trials out: --missing skip",
        )
    if found.absent:
        notices.append(
            f"{found.lost} of {len(listed)} trials are left out: the corpus lacks "
            f"{len(found.absent)} of {len(listed.ids)} recordings of the list."
        )
    trials = found.trials.without(left_out)
    if gone := len(found.trials) - len(trials):
        notices.append(f"{gone} trials are left out: their recordings are not usable.")
    trials.need_both_kinds()
    needed = set(trials.ids)
    if len(needed) < len(corpus):
        corpus = corpus.filter(lambda utterance: utterance.id in needed)
    return corpus, trials


def _speakers(corpus: Corpus, trials: Trials, notices: list[str]) -> dict[str, str] | None:
    """Speaker by recording, or ``None`` where a recording of the trials has none."""
    tiers = {u.id: u.tiers.get("speaker") for u in corpus.utterances}
    if any(tiers[name] is None for name in trials.ids):
        notices.append(
            "No intervals: the corpus does not name the speaker of every recording, and speakers "
            "are what is drawn again."
        )
        return None
    speakers = {name: str(tiers[name]) for name in trials.ids}
    facts = trials.summary(speakers)
    if wrong := facts["contradicted"]:
        notices.append(
            f"{wrong} of {len(trials)} labels of the trial list contradict the corpus' speakers; "
            "the list is followed."
        )
    if facts["speakers"] < LEAST_SPEAKERS:
        notices.append(
            f"No intervals: there are only {facts['speakers']} speakers, and at least "
            f"{LEAST_SPEAKERS} must be there to be drawn again."
        )
    elif facts["speakers"] < FEW:
        notices.append(
            f"There are only {facts['speakers']} speakers: intervals rest on few of them and are "
            "somewhat too narrow (docs/verification.md)."
        )
    return speakers


def _backend_corpus(
    config: VerifyConfig, speakers: dict[str, str] | None, notices: list[str]
) -> Corpus | None:
    """What backends are learned from.

    Raises:
        LabelError: it does not name the speaker of every recording.
        UsageError: it has one speaker, or no speaker with two recordings.
    """
    if config.backend_from is None:
        return None
    corpus = load_corpus(config.backend_from, on_error=config.on_error)
    _need_speakers(
        corpus, config.backend_from, "backends are learned from the speakers", "--backend-from"
    )
    limit = config.backend_limit
    if limit is not None and limit < len(corpus):
        corpus = corpus.subset(utterances=limit, seed=config.seed)
    if not 1 < len(corpus.speakers) < len(corpus):
        raise UsageError(
            f"backends cannot be learned from {config.backend_from}",
            got=f"{len(corpus)} recordings of {len(corpus.speakers)} speakers",
            expected="two speakers at least, and of some speaker two recordings",
            fix="give --backend-from a corpus with several recordings of many speakers",
        )
    _shared_speakers(corpus, speakers, "the backend is learned from", notices)
    return corpus


def _need_speakers(corpus: Corpus, spec: str, why: str, option: str) -> None:
    without = [u.id for u in corpus.utterances if u.tiers.get("speaker") is None]
    if without:
        raise LabelError(
            f"{why} of {spec}, which does not name all",
            got=f"{len(without)} of {len(corpus)} recordings without, such as {without[0]}",
            expected="the tier 'speaker' on every recording",
            fix=f"give {option} a corpus with speakers",
        )


def _shared_speakers(
    other: Corpus, speakers: dict[str, str] | None, what: str, notices: list[str]
) -> None:
    if speakers is not None and (shared := set(other.speakers) & set(speakers.values())):
        notices.append(f"{len(shared)} speakers of the trials are among those {what}.")


def _systems(
    config: VerifyConfig, device: str, notices: list[str]
) -> tuple[list[System], dict[str, str]]:
    """Models, their untrained twins, baselines; each with what is taken from it.

    Raises:
        UnknownNameError: no model has the layer.
        ModelError, UsageError: a model cannot be loaded.
    """
    models = [load_model(spec, device=device, dtype=config.dtype) for spec in config.models]
    roles = ["model"] * len(models)
    named = {model.spec for model in models}
    twins: dict[str, str] = {}
    for model in list(models) if config.twins else ():
        if model.details.get("random") or not model.details.get("parameters", 1):
            continue
        name = f"random:{model.spec}"
        if name not in named:
            try:
                models.append(load_model(name, device=device, dtype=config.dtype))
            except (ModelError, UsageError) as error:
                notices.append(f"{model.spec} has no untrained twin beside it: {error.what}.")
                continue
            roles.append("twin")
            named.add(name)
        twins[model.spec] = name
    for name in BASELINES if config.baselines else ():
        if name not in named:
            models.append(load_model(name, device=device))
            roles.append("baseline")
    wanted = _extractions(models, roles, config)
    return [System(*item) for item in zip(models, wanted, roles, strict=True)], twins


def _extractions(
    models: Sequence[SpeechModel], roles: Sequence[str], config: VerifyConfig
) -> list[Extraction]:
    found = []
    unknown: UnknownNameError | None = None
    have = False
    for model, role in zip(models, roles, strict=True):
        layer = None if role == "baseline" else config.layer
        try:
            one = choose(model, layer, "auto" if role == "baseline" else config.pooling,
                         crops=config.crops)  # fmt: skip
            have = have or role == "model"
        except UnknownNameError as error:
            unknown = error
            one = choose(model, crops=config.crops)
        found.append(one)
    if unknown is not None and not have:
        raise unknown
    return found


def plan_facts(prepared: Prepared) -> dict[str, object]:
    """The plan as the record holds it."""
    return {
        **prepared.trials.summary(prepared.speakers),
        "file": str(Path(prepared.config.trials)) if prepared.config.trials else None,
        "systems": [
            {"model": s.name, "role": s.role, **s.wanted.describe()} for s in prepared.systems
        ],
        "channels": prepared.channels.key if prepared.channels else None,
    }
