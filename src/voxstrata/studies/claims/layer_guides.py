"""Do curves of properties foretell which layers do a task well? (P2023.)

For each model Spearman's correlation over its layers between a property and the score of a head
on each layer alone, both turned so that more is better
(:func:`voxstrata.report.probing_claims.links`). The effect is the mean over models; its interval
is the jackknife over models: layers of one model are neighbours, not independent cases.

Controls: the same of the untrained twins, and each model's property curve turned round: started
at another layer and perhaps run backwards, which keeps neighbours alike (surrogates by circular
shift). Smooth curves that have nothing to do with each other often pass a test that shuffles
layers one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import VoxstrataError
from voxstrata.numerics.jackknife import jackknife
from voxstrata.report.curve_view import JOB, PROBING
from voxstrata.report.join import join_views
from voxstrata.report.probing_claims import CLAIMS, Link, links
from voxstrata.report.probing_view import is_lower
from voxstrata.report.words import counted, listing, property_measure
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.numbers import Number, far
from voxstrata.studies.claims.views import seen

LEAST = 3
"""Models below which the jackknife over models gives no interval worth the name."""

TURNS = 2000
"""Draws of curves that are turned round."""

PHONE, WORD, SPEAKER = CLAIMS
"""Pairs of properties (the first that was measured speaks) and tasks, as pages join them."""

Pair = tuple[tuple[str, ...], tuple[str, ...]]


def content_layers(evidence: Evidence) -> Claimed:
    """CCA with phones and words foretells layers for recognition and understanding."""
    return _claimed(
        evidence,
        "cca-guides-layers",
        "CCA curves foretell which layers do a task well",
        "CCA trends provide reliable guidance to choose layers for downstream tasks: phone and "
        "word content go with speech recognition, word content with understanding (arXiv "
        "2211.03929, abstract and section 1). P2023 correlates with recognition of words; phones "
        "are asked here by PR.",
        (PHONE, WORD),
    )


def speaker_layers(evidence: Evidence) -> Claimed:
    """The same for speakers, which the paper does not ask."""
    return _claimed(
        evidence,
        "cca-guides-speaker-layers",
        "Speaker curves foretell which layers do SID and ASV well",
        "Not in the paper (arXiv 2211.03929): its question, asked of speakers.",
        (SPEAKER,),
    )


def _claimed(
    evidence: Evidence, name: str, title: str, paper: str, pairs: Sequence[Pair]
) -> Claimed:
    found, missing = _links(evidence)
    effects: list[Effect] = []
    lines: list[dict[str, Any]] = []
    said: list[str] = []
    for names, tasks in pairs:
        of = [link for link in found if str(link.task.get("name")) in tasks]
        first = next((n for n in names if any(link.asked.name == n for link in of)), None)
        mine = [link for link in of if link.asked.name == first]
        if not mine:
            why = missing or (
                f"no model has both {listing(names, 'or')} and {listing(tasks, 'or')} by layers"
            )
            what = f"{names[0]} with {listing(tasks, 'or')}"
            effects.append(Effect(what, math.nan, missing=why))
        for task in dict.fromkeys(str(link.task.get("name")) for link in mine):
            every = [link for link in mine if link.task.get("name") == task]
            effects.append(_effect(evidence, every))
            trained = _trained(evidence, every)
            lines += [_line(evidence, link) for link in trained]
            said += _said(trained)
    tables = {"Correlation over layers, and what the choice by CCA costs": lines} if lines else {}
    return Claimed(name, title, paper, tuple(effects), tuple(said), tables)


def _links(evidence: Evidence) -> tuple[list[Link], str]:
    """Every property with every task of every model, twins too; the first of several results."""
    probed, measured = seen(evidence, PROBING), seen(evidence, JOB)
    if missing := "; ".join(filter(None, (probed.missing, measured.missing))):
        return [], missing
    # A job that measured nothing with layers cannot be joined.
    views = [view for view in (*probed.views, *measured.views) if view.curves]
    jobs = {str(view.record.get("job")) for view in views}
    if jobs != {PROBING, JOB}:
        return [], "the results of probing or of properties hold no curve over layers"
    try:
        joined = join_views(views, Path("study"))
    except VoxstrataError as error:
        return [], f"properties and probing cannot be joined: {error.what}"
    found: dict[tuple[str, str, str], Link] = {}
    for link in links(joined):
        found.setdefault((link.model, link.asked.name, str(link.task.get("name"))), link)
    return list(found.values()), ""


def _trained(evidence: Evidence, every: Sequence[Link]) -> list[Link]:
    return [link for link in every if link.is_known and not evidence.is_untrained(link.model)]


def _effect(evidence: Evidence, every: Sequence[Link]) -> Effect:
    one = every[0]
    what = (
        f"{one.asked.title} with {one.task.get('title') or one.task.get('name')}"
        f"{' (turned so that more is better)' if is_lower(one.task) else ''}: Spearman's "
        "correlation over layers, mean over models"
    )
    mine = _trained(evidence, every)
    if not mine:
        return Effect(what, math.nan, missing="too few layers, or no variation, for a correlation")
    rho = np.array([link.rho for link in mine])
    found = mean_over_models(rho)
    by = {link.model: link.rho for link in every if link.is_known}
    # Properties and probing may name the twin that models share after different ones.
    named = [[by[t] for t in evidence.names_of_twin(link.model) if t in by] for link in mine]
    twins = [held[0] if held else math.nan for held in named]
    missing = "" if found.has_interval else f"{counted(len(mine), 'model')}, and {LEAST} are needed"
    return Effect(
        what,
        found.value,
        found.low,
        found.high,
        {TWIN: float(np.mean(twins)), PERMUTATION: far(turned_round(mine), found.value)},
        len(mine),
        "models",
        missing,
    )


def mean_over_models(rho: NDArray[np.float64]) -> Number:
    """Mean of the models' correlations [M], with the jackknife over models from three on."""
    value, size = float(rho.mean()), len(rho)
    if size < LEAST:
        return Number(value, n=size)
    left = [np.delete(rho, out).mean() for out in range(size)]
    found = jackknife(value, left, np.ones(size), bounds=(-1, 1))
    return Number(value, float(found.low), float(found.high), size)


def turned_round(every: Sequence[Link], seed: int = 0) -> NDArray[np.float64]:
    """Mean correlation with each model's property curve started at a drawn layer, forwards or
    backwards, [:data:`TURNS`]."""
    from scipy.stats import rankdata

    rng = np.random.default_rng(seed)
    total = np.zeros(TURNS)
    for link in every:
        held, done = rankdata(link.held), rankdata(link.done)
        size = len(held)
        orders = [np.roll(np.arange(size), k) for k in range(size)]
        orders += [order[::-1] for order in orders]
        values = np.array([np.corrcoef(held[order], done)[0, 1] for order in orders])
        total += values[rng.integers(len(values), size=TURNS)]
    return total / len(every)


def regret(link: Link) -> tuple[str, str, float, float]:
    """The layer with most of the property and the best one, what the first loses in the task, and
    what a layer drawn at random loses on average."""
    chosen, best = int(np.argmax(link.held)), int(np.argmax(link.done))
    top = float(link.done[best])
    return (
        link.layers[chosen],
        link.layers[best],
        top - float(link.done[chosen]),
        top - float(link.done.mean()),
    )


def _said(every: Sequence[Link]) -> list[str]:
    if not every:
        return []
    one = every[0]
    lost = [regret(link) for link in every]
    measure = property_measure(str(one.task.get("main")))
    return [
        f"{one.asked.title} with {one.task.get('title') or one.task.get('name')}: correlation "
        f"{np.mean([link.rho for link in every]):+.2f} on average over "
        f"{counted(len(every), 'model')}; taking the layer with most of it costs "
        f"{np.mean([x[2] for x in lost]):.3f} ({measure}) against the best layer, a layer drawn at "
        f"random {np.mean([x[3] for x in lost]):.3f}."
    ]


def _line(evidence: Evidence, link: Link) -> dict[str, Any]:
    chosen, best, lost, at_random = regret(link)
    return {
        "property": link.asked.title,
        "task": str(link.task.get("title") or link.task.get("name")),
        "model": evidence.label(link.model),
        "layers": len(link.layers),
        "correlation": link.rho,
        "layer by CCA": chosen,
        "best layer": best,
        "regret": lost,
        "regret at random": at_random,
        "heads trained shortly": "yes" if link.screened else "no",
    }
