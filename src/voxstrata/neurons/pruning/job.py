"""``voxstrata prune``: a model in, a smaller model's folder out, step by step, resumable."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import UsageError
from voxstrata.files import fingerprint, storage_errors
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import load_model
from voxstrata.models.neurons import feed_forwards
from voxstrata.neurons.pruning.copies import terms_of, write_history
from voxstrata.neurons.pruning.cost import Cost, cost_of, summary
from voxstrata.neurons.pruning.plan import Step, plan
from voxstrata.neurons.pruning.rows import ALL, Find
from voxstrata.neurons.pruning.scores import SCORES, Evidence
from voxstrata.neurons.pruning.settings import PruneConfig
from voxstrata.neurons.pruning.speech import speech
from voxstrata.neurons.pruning.steps import State, prune_step, tune_step
from voxstrata.neurons.pruning.told import told
from voxstrata.neurons.rules import make_rule
from voxstrata.neurons.sets import NeuronSet, load_set
from voxstrata.results import Results, load_results, write_results
from voxstrata.streaming.progress import bar
from voxstrata.streaming.runs import (
    Hooks,
    Overwrite,
    clean_up,
    plain,
    remember_plan,
    run_in,
)
from voxstrata.streaming.setup import choose_device
from voxstrata.training.settings import TrainConfig

MODEL, STEPS, SCORING, FINDING = "model", "steps", "scoring", "finding"
"""Folders inside the output folder: the pruned model, every step, codes for scores, neurons found
to protect."""


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        model: as it comes.
        protected: neurons that stay.
        steps: what will be done.
        recipe: of the training in between.
        corpus: speech for scores from activations.
        device: where scores and latency are computed.
        before: cost of the model as it comes, latency not measured.
        identity: digest of all that the result depends on.
    """

    config: PruneConfig
    model: SpeechModel
    protected: NeuronSet | None
    steps: list[Step]
    recipe: TrainConfig | None
    corpus: Corpus | None
    device: str
    before: Cost
    identity: str


def prepare(config: PruneConfig, find: Find | None = None) -> Prepared:
    """Load, check, plan; nothing is computed or written.

    Raises:
        VoxstrataError: names what is wrong and what to do.
    """
    model = load_model(config.model)
    finds = find is not None or config.protect_by is not None
    if config.strategy == "each" and not finds:
        raise UsageError(
            "the strategy 'each' looks for neurons in every layer anew",
            got="a fixed set" if config.protect else "nothing to protect",
            expected="contrasts whose neurons are found",
            fix="name them: --protect-by gender/phones --corpus CORPUS, or use the strategy 'all'",
        )
    if config.protect_by is not None and config.corpus is None:
        raise UsageError("neurons to protect are found in speech", fix="name a corpus: --corpus")
    if finds and (config.protect or (find is not None and config.protect_by is not None)):
        raise UsageError("neurons to protect are given, and to be found", fix="do either")
    protected = load_set(config.protect) if config.protect else None
    if protected is not None:
        protected.check(model)
    steps = plan(config, model, protected, finds)
    recipe = _recipe(config, model)
    scored = config.what in ("rows", "heads")
    needs = SCORES.get(config.score).needs if scored else "nothing"
    if needs == "losses" and recipe is None:
        raise UsageError(
            f"the pruning score {config.score!r} needs the model's own training loss",
            got="no recipe",
            fix="give one: --tune RECIPE (with --tune-steps 0 0 ... it only scores)",
        )
    if needs == "audio" and config.corpus is None:
        raise UsageError(
            f"the pruning score {config.score!r} needs speech", got="no corpus",
            fix="name one: --corpus",
        )  # fmt: skip
    if config.what == "rows":
        make_rule(config.rule)
    corpus = None
    if config.protect_by is not None and config.corpus is not None:
        corpus = _searched(config, config.protect_by, config.corpus)
        _check_widths(config, model, steps)
    elif needs == "audio" and config.corpus is not None:
        corpus = load_corpus(config.corpus)
    numbers = config.model_dump(mode="json", exclude={"device", "repeats", "latency_s", "study"})
    identity = fingerprint(
        [
            voxstrata.__version__,
            numbers,
            model.fingerprint,
            protected.counts() if protected else None,
            {k: list(v) for k, v in protected.layers.items()} if protected else None,
            recipe.model_dump(mode="json") if recipe else None,
            corpus.fingerprint if corpus else None,
        ]
    )
    return Prepared(
        config, model, protected, steps, recipe, corpus, choose_device(config.device),
        cost_of(model), identity,
    )  # fmt: skip


def _searched(config: PruneConfig, contrasts: tuple[str, ...], corpus: str) -> Corpus:
    """The corpus that neurons are found in; contrasts and rule are checked as the search would."""
    from voxstrata.neurons.prepare import prepare as prepare_search
    from voxstrata.neurons.pruning.finder import search

    settings = search(
        config.model, contrasts, corpus, ivector=config.ivector, rule=config.rule,
        sigma=config.sigma, seed=config.seed, device=config.device,
    )  # fmt: skip
    return prepare_search(settings).corpus


def _check_widths(config: PruneConfig, model: SpeechModel, steps: list[Step]) -> None:
    """Whether the rule leaves a choice in the narrowest layers that neurons are looked for in.

    Raises:
        UsageError: it does not.
    """
    amounts = [step.amount for step in steps if step.amount is not None]
    # Before the last step; layer by layer also within it, in layers below.
    before = amounts if config.strategy == "each" else amounts[:-1]
    if config.scope == "whole" or any(n == ALL for amount in amounts for n in amount):
        return  # how many each layer keeps is seen when it comes
    rule = make_rule(config.rule)
    for number, part in enumerate(feed_forwards(model)):
        rule.top(part.width - sum(amount[number] for amount in before))


def _recipe(config: PruneConfig, model: SpeechModel) -> TrainConfig | None:
    """The recipe, and whether it can tune the model at all."""
    if config.tune is None:
        return None
    from voxstrata.neurons.pruning.tuning import fit_recipe
    from voxstrata.training.recipes import read_recipe

    recipe = read_recipe(config.tune, config.changes)
    fit_recipe(recipe, model, config.model)
    return recipe


def run_pruning(
    config: PruneConfig,
    out: str | Path,
    *,
    find: Find | None = None,
    overwrite: Overwrite = "missing",
    hooks: Hooks[Prepared] | None = None,
) -> Results:
    """Prune a model step by step; the folder then holds ``model/``, results and record.

    Each step is a folder below ``steps/``: the pruned model, what went, the protected neurons in
    its numbering, and the model after training. A run that was stopped goes on in the step it was
    in. The optimiser starts anew after each pruning, as published.

    Args:
        config: the settings.
        out: output folder.
        find: finds the neurons to protect in a model as it stands (asked before every step, or
            before every layer: ``config.strategy``), in place of a fixed set.
        overwrite: see :func:`voxstrata.streaming.runs.run_in`.
        hooks: progress and messages.

    Raises:
        VoxstrataError: see :func:`prepare`; RunInterruptedError: stopped, can go on.
    """
    folder, hooks = Path(out).absolute(), hooks or Hooks[Prepared]()
    begun = time.perf_counter()
    return run_in(
        folder,
        overwrite,
        prepare=lambda: prepare(config, find),
        planned=hooks.planned,
        compute=lambda prepared: _compute(prepared, folder, find, hooks, begun),
    )


def _compute(
    prepared: Prepared,
    folder: Path,
    find: Find | None,
    hooks: Hooks[Prepared],
    begun: float,
) -> Results:
    config = prepared.config
    if not remember_plan(folder, prepared.identity, [step.facts() for step in prepared.steps]):
        for place in (folder / name for name in (STEPS, SCORING, FINDING, MODEL)):
            if place.exists():  # of a run that was discarded
                with storage_errors(place):
                    shutil.rmtree(place)
    evidence = evidence_of(prepared, folder)
    if config.protect_by is not None and config.corpus is not None:
        from voxstrata.neurons.pruning.finder import finder

        find = finder(
            config.protect_by, config.corpus, folder / FINDING, ivector=config.ivector,
            rule=config.rule, sigma=config.sigma, seed=config.seed, device=config.device,
            progress=hooks.progress, say=hooks.say,
        )  # fmt: skip
    codes = None
    if prepared.recipe is not None and SCORES.get(config.score).needs == "losses":
        evidence()  # the codes that it computes serve the training too
        codes = folder / SCORING if (folder / SCORING / "targets").is_dir() else None
    state = State(prepared.model, prepared.protected, codes=codes)
    # Training and finding have bars of their own.
    show = hooks.progress and prepared.recipe is None and find is None
    with bar("pruning", len(prepared.steps), "steps", show=show) as advance:
        for step in prepared.steps:
            place = folder / STEPS / f"{step.number:02d}"
            if step.amount is not None:
                state = prune_step(config, state, step, place, evidence, find)
                now = cost_of(state.model)
                hooks.say(f"step {step.number}: {summary(prepared.before, now)}")
            if prepared.recipe is not None and step.tune != 0:
                state = tune_step(config, state, step, place, prepared.recipe, hooks)
            advance(1)
    after = _finish(prepared, state, folder)
    shutil.rmtree(folder / SCORING, ignore_errors=True)
    rows, record = told(prepared, state, after, MODEL, time.perf_counter() - begun)
    write_results(folder, rows, plain(record))
    clean_up(folder, config)
    return load_results(folder)


def evidence_of(prepared: Prepared, folder: Path) -> Callable[[], Evidence]:
    """What scores from data look at; codes are computed when first asked for."""
    config = prepared.config
    kept: list[Any] = []

    def make() -> Evidence:
        needs = SCORES.get(config.score).needs
        if needs == "audio" and prepared.corpus is not None:
            audio = speech(prepared.corpus, config.seconds, config.seed)
            return Evidence(audio=audio, device=prepared.device)
        if needs == "losses" and prepared.recipe is not None:
            from voxstrata.neurons.pruning.tuning import TrainingLosses, fit_recipe

            if not kept:
                fitted = fit_recipe(prepared.recipe, prepared.model, config.model)
                kept.append(TrainingLosses(fitted, folder / SCORING, config.batches))
            return Evidence(losses=kept[0].of)
        return Evidence(seed=config.seed)

    return make


def _finish(prepared: Prepared, state: State, folder: Path) -> SpeechModel:
    """The last model as ``model/``, whole or not at all, loaded back."""
    config, source = prepared.config, Path(state.model.spec)
    final, work = folder / MODEL, folder / f"{MODEL}.partial"
    with storage_errors(work):
        for place in (work, final):
            if place.exists():
                shutil.rmtree(place)
        shutil.copytree(source, work)
    write_history(
        work,
        config.name,
        {
            "summary": f"{config.what} of {config.model} pruned",
            "of": config.model,
            "of_fingerprint": prepared.model.fingerprint,
            "settings": config.model_dump(mode="json", exclude_defaults=True),
            "steps": list(state.history),
        },
        terms_of(prepared.model),
    )
    with storage_errors(final):
        work.rename(final)
    model = load_model(final)
    if state.protected is not None:
        replace(state.protected, model=model.spec, fingerprint=model.fingerprint).save(
            folder / "protected.json"
        )
    return model
