"""The speaker embedding is like early and late layers of WavLM (A2024, Figure 5)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.report.curve_view import positions, relative
from voxstrata.report.words import interval, layer_called
from voxstrata.studies.claims.ashihara import PAPER, SEED
from voxstrata.studies.claims.claim import PERMUTATION, TWIN, Claimed, Effect
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.layers import Curve
from voxstrata.studies.claims.matrices import likeness
from voxstrata.studies.claims.numbers import Number, far, less, lowest, mean, orders
from voxstrata.studies.claims.scores import CONTENT, SPEAKER, asked, difference, paired, score

EMBEDDING = "embedding"
ORDERS = 5040
LEAST_LAYERS = 4
JOINED = " + "


def embedding_similar(evidence: Evidence) -> Claimed:
    """The embedding of a speaker model is similar to early and late WavLM layers.

    At utterance level, by linear CKA. Effect, for each speaker model (DINO and supervised, or all
    where neither is named) and each WavLM model (Large, where named): the lower of the mean over
    the first and the last third of layers, less the mean over the middle third (:func:`valley`).
    Controls: the same of the twins; and its 95th percentile where layers are put in random order.
    Neighbouring layers are alike and random orders are not, so that control is somewhat too easy.
    Table: tasks done with the layers of both models, held against each model alone. It is no
    effect: the paper's finding is about the embedding.
    """
    speakers = (*evidence.role("supervised"), *evidence.role("dino")) or evidence.role("speaker")
    wavlm = evidence.role("wavlm-large") or evidence.role("wavlm")
    pairs = [(a, b) for a in dict.fromkeys(speakers) for b in wavlm if a != b]
    effects = [_effect(evidence, a, b) for a, b in pairs]
    if not pairs:
        side = "WavLM" if speakers else "speaker model"
        effects = [Effect("embedding", math.nan, missing=f"the study names no {side}")]
    curves = {pair: curve for pair in pairs if (curve := _curve(evidence, *pair)) is not None}
    joint = [line for a, b in pairs for line in joint_gains(evidence, a, b)]
    layers = [_lines(evidence, a, b, curve) for (a, b), curve in curves.items()]
    tables: dict[str, list[dict[str, Any]]] = {}
    if layers:
        tables["CKA of the embedding with each layer"] = [x for part in layers for x in part]
    if joint:
        tables["Layers of both models in one sum"] = joint
    return Claimed(
        name="embedding-similar",
        title="The speaker embedding is like early and late layers of WavLM",
        paper=f"{PAPER}, Figure 5: at utterance level the embedding of the speaker model is "
        "similar to early and late layers of WavLM.",
        effects=tuple(effects),
        found=(
            *(_nearest(evidence, a, b, curve) for (a, b), curve in curves.items()),
            *(_gain(line) for line in joint if line["the better one"] == "yes"),
        ),
        tables=tables,
    )


def valley(curve: Curve) -> Number:
    """The lower of two ends (means over layers in the first and in the last third of depth) less
    the mean over the middle third; means and ends as of numbers that may depend on each other.

    Returns:
        NaN where a third has no layer.
    """
    thirds = _thirds(curve.layers)
    early, middle, late = (
        mean([x for x, here in zip(curve.numbers, thirds == part, strict=True) if here])
        for part in range(3)
    )
    return less(lowest([early, late]), middle)


def _thirds(layers: tuple[str, ...]) -> NDArray[np.int64]:
    """0, 1 or 2 for each layer; -1 for what lies before the first numbered one."""
    depth = np.array(relative(positions(layers)))
    found: NDArray[np.int64] = np.select([depth < 0, depth <= 1 / 3, depth < 2 / 3], [-1, 0, 1], 2)
    return found


def _curve(evidence: Evidence, speaker: str, wavlm: str) -> Curve | None:
    found = likeness(evidence, speaker, wavlm, ("utterance",))
    if found is None or EMBEDDING not in found.layers:
        return None
    numbers = {name: found.at(EMBEDDING, name) for name in found.others}
    known = {name: number for name, number in numbers.items() if number is not None}
    return Curve(tuple(known), tuple(known.values()), found.analysis) if known else None


def _effect(evidence: Evidence, speaker: str, wavlm: str) -> Effect:
    one, other = evidence.label(speaker), evidence.label(wavlm)
    what = f"CKA of the embedding of {one} with early and late layers of {other}, less middle ones"
    curve = _curve(evidence, speaker, wavlm)
    if curve is None:
        missing = f"the embedding of {one} was not compared with {other} by utterance"
        return Effect(what, math.nan, missing=missing)
    found = valley(curve)
    if len(curve.layers) < LEAST_LAYERS or not math.isfinite(found.value):
        return Effect(what, math.nan, missing=f"{other} has too few layers here")
    twins, note = evidence.twins_apart(curve.analysis, (speaker, wavlm))
    its = _curve(evidence, *twins) if twins else None
    return Effect(
        what,
        found.value,
        found.low,
        found.high,
        {
            TWIN: valley(its).value if its is not None else math.nan,
            PERMUTATION: far(_null(curve), found.value),
        },
        found.n,
        "groups of recordings",
        notes={TWIN: note},
    )


def _null(curve: Curve) -> NDArray[np.float64]:
    """The effect with layers in random order, [orders]."""
    thirds = _thirds(curve.layers)
    values = np.array([x.value for x in curve.numbers])[thirds >= 0]
    thirds = thirds[thirds >= 0]
    dealt = values[orders(len(values), ORDERS, SEED)]
    means = [dealt[:, thirds == part].mean(axis=1) for part in range(3)]
    found: NDArray[np.float64] = np.minimum(means[0], means[2]) - means[1]
    return found


def joint_gains(evidence: Evidence, one: str, other: str) -> list[dict[str, Any]]:
    """What one sum over the layers of both models brings over each of the two alone.

    Paired where the table has the difference (:func:`~voxstrata.studies.claims.scores.difference`).
    Which of the two is the better one alone, test scores say: that favours it a little.
    """
    names = {f"{one}{JOINED}{other}", f"{other}{JOINED}{one}"}
    lines = []
    for name in (*SPEAKER, *CONTENT):
        for task in asked(evidence, name):
            table = evidence.tables[task.analysis]
            joint = next((m for m in table["model"].unique() if m in names), None)
            alone = {m: found for m in (one, other) if (found := score(evidence, task, m))}
            if joint is None or len(alone) < 2:
                continue
            best = max(alone, key=lambda model: alone[model].value)
            for model in (best, *(m for m in alone if m != best)):
                more = difference(evidence, task, str(joint), model)
                if more is not None:
                    lines.append(
                        {
                            "task": task.said,
                            "models": f"{evidence.label(one)} and {evidence.label(other)}",
                            "alone": evidence.label(model),
                            "the better one": "yes" if model == best else "no",
                            "gained by both": more.value,
                            "low": more.low,
                            "high": more.high,
                            "interval": more.verdict,
                            "paired": "yes" if paired(evidence, task, str(joint), model) else "no",
                        }
                    )
    return lines


def _nearest(evidence: Evidence, speaker: str, wavlm: str, curve: Curve) -> str:
    top = curve.at(curve.top)
    assert top is not None
    return (
        f"The embedding of {evidence.label(speaker)} is most like {layer_called(curve.top)} of "
        f"{evidence.label(wavlm)} (CKA {interval(top.value, top.low, top.high)})."
    )


def _gain(line: dict[str, Any]) -> str:
    words = {
        "above 0": "brings more than",
        "below 0": "brings less than",
        "holds 0": "is not told apart from",
        "no interval": "has no interval against",
    }
    shown = interval(line["gained by both"], line["low"], line["high"])
    return (
        f"{line['task']}: one sum over the layers of {line['models']} {words[line['interval']]} "
        f"{line['alone']} alone ({shown})."
    )


def _lines(evidence: Evidence, speaker: str, wavlm: str, curve: Curve) -> list[dict[str, Any]]:
    return [
        {
            "embedding of": evidence.label(speaker),
            "model": evidence.label(wavlm),
            "layer": name,
            "CKA": number.value,
            "low": number.low,
            "high": number.high,
        }
        for name, number in zip(curve.layers, curve.numbers, strict=True)
    ]
