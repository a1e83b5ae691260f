"""Models of one kind beside each other: contrastive and DINO, HuBERT and WavLM (A2024)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from voxstrata.report.words import interval
from voxstrata.studies.claims.ashihara import PAPER, SEED
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.namesakes import FRAME_LAYERS, sames
from voxstrata.studies.claims.numbers import Number, far, less, mean
from voxstrata.studies.claims.scores import CONTENT, SPEAKER, Sides, compared, pair_table

FLIPS = 4096
"""Deals of which model is which, layer by layer; all of up to twelve layers."""


def contrastive_beside_dino(evidence: Evidence) -> Claimed:
    """Contrastive speaker SSL beside DINO: speaker tasks, and similarity to the supervised model.

    What the paper found is not known here beyond that both stand in it, so the signs are an
    expectation: DINO less contrastive, because published equal error rates on VoxCeleb1 of
    ECAPA-TDNN trained by DINO (2.6 to 3.0 %) are lower than those by SimCLR or MoCo (6.4 to 8.7 %;
    WeSpeaker's and sslsv's lists). Effects: SID and
    ASV (:func:`~voxstrata.studies.claims.scores.compared`); and the mean over layers of CKA with
    the supervised model's layer of that name, DINO's less the contrastive model's, where the
    permutation deals anew, layer by layer, which of the two is which.
    """
    sides = Sides(
        "DINO", evidence.role("dino"), "contrastive speaker SSL", evidence.role("contrastive")
    )
    nearer, table = _nearer(evidence)
    tables: dict[str, list[dict[str, Any]]] = {}
    if lines := pair_table(evidence, (*SPEAKER, *CONTENT), sides):
        tables["Every task"] = lines
    if table:
        tables["CKA with the supervised model, by layer"] = table
    return Claimed(
        name="contrastive-beside-dino",
        title="DINO is better in speaker tasks than contrastive training, and more like supervised",
        paper=f"{PAPER} compares the two; which is better is not quoted here: the signs are the "
        "expectation that DINO is, from error rates published elsewhere.",
        effects=(*(compared(evidence, name, sides) for name in SPEAKER), nearer),
        found=_told(lines),
        tables=tables,
    )


def hubert_beside_wavlm(evidence: Evidence) -> Claimed:
    """HuBERT beside WavLM, which is trained to ignore a second speaker and noise.

    What the paper found is not known here, so the signs are an expectation: WavLM less HuBERT in
    SID and ASV, because the WavLM paper's Table I, as quoted by others, has its SID accuracy above
    HuBERT's at the same size (84.5 against 81.4 % Base, 95.5 against 90.3 % Large). Content tasks
    stand in the table.
    """
    sides = Sides("WavLM", evidence.role("wavlm"), "HuBERT", evidence.role("hubert"))
    lines = pair_table(evidence, (*SPEAKER, *CONTENT), sides)
    return Claimed(
        name="hubert-beside-wavlm",
        title="WavLM is better in speaker tasks than HuBERT",
        paper=f"{PAPER} compares the two; which is better is not quoted here: the signs are the "
        "expectation that WavLM is, from the WavLM paper's Table I (Chen et al. 2022).",
        effects=tuple(compared(evidence, name, sides) for name in SPEAKER),
        found=_told(lines),
        tables={"Every task": lines} if lines else {},
    )


def _told(lines: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    words = {
        "above 0": "is better than",
        "below 0": "is worse than",
        "holds 0": "is not told apart from",
        "no interval": "has no interval against",
    }
    return tuple(
        f"{line['task']}: {line['model']} {words[line['interval']]} {line['other model']} "
        f"(difference {interval(line['better by'], line['low'], line['high'])}, more is better)."
        for line in lines
    )


def _nearer(evidence: Evidence) -> tuple[Effect, list[dict[str, Any]]]:
    """Mean over layers of CKA(supervised, DINO) less CKA(supervised, contrastive)."""
    what = "CKA with the supervised model's layers, DINO less contrastive, mean over layers"
    models = {role: evidence.role(role) for role in ("supervised", "dino", "contrastive")}
    if empty := [role for role, held in models.items() if not held]:
        return Effect(what, math.nan, missing=f"the study names no model as {empty[0]}"), []
    one, two, three = (held[0] for held in models.values())
    layers, numbers = _apart(evidence, one, two, three)
    if not numbers:
        missing = "the three models have no frame layers that were compared"
        return Effect(what, math.nan, missing=missing), []
    whole = mean(numbers)
    values = np.array([x.value for x in numbers])
    near = sames(evidence, one, two)
    analysis = near.matrix.analysis if near is not None else ""
    twins, note = evidence.twins_apart(analysis, (one, two, three), FRAME_LAYERS)
    twin = mean(_apart(evidence, *twins)[1]).value if twins else math.nan
    effect = Effect(
        what,
        whole.value,
        whole.low,
        whole.high,
        {TWIN: twin, PERMUTATION: far(_flipped(values), whole.value)},
        whole.n,
        "groups of recordings",
        notes={TWIN: note},
    )
    table = [
        {"layer": name, "DINO less contrastive": x.value, "low": x.low, "high": x.high}
        for name, x in zip(layers, numbers, strict=True)
    ]
    return effect, table


def _apart(
    evidence: Evidence, one: str, two: str, three: str
) -> tuple[tuple[str, ...], list[Number]]:
    """CKA(one, two) less CKA(one, three), by layer that all three have."""
    held = sames(evidence, one, two), sames(evidence, one, three)
    if held[0] is None or held[1] is None:
        return (), []
    its = dict(zip(held[1].matrix.layers, held[1].numbers, strict=True))
    mine = dict(zip(held[0].matrix.layers, held[0].numbers, strict=True))
    names = tuple(name for name in mine if name in its)
    return names, [less(mine[name], its[name]) for name in names]


def _flipped(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Means with signs dealt anew, [deals]: all deals where there are few."""
    if 2 ** len(values) <= FLIPS:
        signs = np.array(list(product((-1, 1), repeat=len(values))))
    else:
        signs = np.random.default_rng(SEED).choice((-1, 1), size=(FLIPS, len(values)))
    return np.asarray((signs * values).mean(axis=1))
