"""How things are called on the page: models, measures, estimators, numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

MEASURES: dict[str, str] = {
    "cka": "CKA",
    "cka-rbf": "RBF CKA",
    "cca-mean": "mean CCA",
    "cca-r2": "mean squared CCA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes similarity",
    "procrustes-distance": "Procrustes distance",
    "procrustes-angle": "Procrustes angle",
    "regression": "linear regression R²",
    "rsa": "RSA",
    "mutual-knn": "mutual nearest neighbours",
}
"""Measures as people write them; others keep their registry name."""

PROPERTY_MEASURES: dict[str, str] = {
    "mi": "mutual information",
    "mi-normalised": "normalised mutual information",
    "ami": "AMI",
    "nmi": "NMI",
    "share-phone": "share of phone",
    "share-speaker": "share of speaker",
    "share-interaction": "share of interaction",
    "share-rest": "share of the rest",
    "pnmi": "PNMI",
    "r2": "R²",
    "ap": "average precision",
    "average-precision": "average precision",
    "accuracy": "accuracy",
    "group-accuracy": "accuracy of slots",
    "cross-entropy-bits": "cross-entropy (bits)",
    "information-bits": "information (bits)",
    "abx-error": "ABX error rate",
    "spearman": "Spearman's ρ",
    "pearson": "Pearson's r",
    "f1": "F1",
    "r-value": "R-value",
    "eer": "equal error rate",
    "per": "phone error rate",
    "wer": "word error rate",
    "wer-lm": "word error rate with a language model",
    "cer": "character error rate",
    "der": "diarization error rate",
    "mtwv": "MTWV",
    "map": "mean average precision",
    "min-dcf": "minDCF",
    "slot-type-f1": "slot type F1",
    "slot-value-cer": "slot value CER",
    "layer-weight": "weight in the sum",
    "layer-weight-by-norm": "weight in the sum, times norm",
    "lost-without-layer": "lost by the sum without the layer",
}
"""Measures of properties as people write them; others are found among :data:`MEASURES`."""

CONTROLS: dict[str, tuple[str, str]] = {
    "control-task": ("control task", "labels dealt at random to types"),
    "evenly-spaced": ("evenly spaced", "boundaries at even distances"),
    "random-boundaries": ("random boundaries", "as many boundaries at random places"),
    "shuffled-rows": ("shuffled rows", "the rows of the view shuffled against the layer"),
    "permuted-labels": ("permuted labels", "the labels permuted among the rows"),
    "random-subspaces": ("random subspaces", "subspaces of random directions, as many"),
    "chance": ("chance", "what guessing gives"),
}
"""Controls: name in sentences, and what was done."""

ESTIMATORS: dict[str, str] = {
    "debiased": "Unbiased estimates of the Hilbert-Schmidt criterion in the numerator and in both "
    "norms (Song et al., 2012): near 0 for unrelated layers however few the rows, so it can fall "
    "slightly below 0.",
    "minibatch": "The unbiased criterion averaged over small batches (Nguyen et al., 2021): nearly "
    "the debiased value at a fraction of the cost.",
    "held-out": "Directions are found on some groups and scored on others.",
    "in-sample": "Computed and scored on the same rows; none are held out.",
    "biased": "The plain plug-in value: it drifts towards 1 when rows are few for the widths "
    "(about d/(n+d) for unrelated white data).",
    "dev-selected": "Step and learning rate were chosen on the dev part.",
    "test-selected": "Something was chosen on the test part, as its published rules do.",
    "screen": "Heads were trained shortly, only to choose the layer.",
}
"""Estimators in the order the page prefers them, each in words."""


ESTIMATOR_LABELS: dict[str, str] = {
    "dev-selected": "chosen on dev",
    "test-selected": "chosen on test, as published",
    "screen": "trained shortly, to choose the layer",
}
"""Estimators whose registry name does not speak for itself; the others are called by it."""


def measure_label(name: str, estimator: str = "") -> str:
    """A measure's registry name as people write it ("pwcca-pasad" is "PWCCA (pasad)").

    Args:
        name: registry name; an ending that repeats ``estimator`` is dropped ("cka-biased").
        estimator: the estimator that is named beside it, if any.
    """
    name = base_measure(name, estimator)
    if name in MEASURES:
        return MEASURES[name]
    for known in sorted(MEASURES, key=len, reverse=True):
        if name.startswith(known + "-"):
            return f"{MEASURES[known]} ({name[len(known) + 1 :]})"
    return name


def property_measure(name: str) -> str:
    """A property's measure as people write it: "ap-cross" is "average precision (cross)",
    "r2:f0" is "R² (f0)"; unknown names lose their hyphens."""
    if name in PROPERTY_MEASURES:
        return PROPERTY_MEASURES[name]
    base, colon, part = name.partition(":")
    if colon:
        return f"{property_measure(base)} ({part})"
    written = measure_label(name)
    if written != name:
        return written
    for known in sorted(PROPERTY_MEASURES, key=len, reverse=True):
        if name.startswith(known + "-"):
            return f"{PROPERTY_MEASURES[known]} ({name[len(known) + 1 :].replace('-', ' ')})"
    return name.replace("-", " ")


def estimator_label(name: str) -> str:
    """An estimator as lists and axes call it ("chosen on dev")."""
    return ESTIMATOR_LABELS.get(name, name)


def control_label(name: str) -> str:
    """A control as sentences call it ("shuffled rows")."""
    return CONTROLS[name][0] if name in CONTROLS else name.replace("-", " ")


def base_measure(name: str, estimator: str) -> str:
    """The registry name without an ending that only repeats the estimator."""
    return (name.removesuffix(f"-{estimator}") or name) if estimator else name


def short_labels(specs: Sequence[str]) -> list[str]:
    """Short, distinct names for models.

    The last part of a path or hub id is taken; where two models would then share a name, the
    whole spec is. Long names lose their middle.

    Args:
        specs: the texts the models were named by, all different.
    """
    plain = [_plain(spec) for spec in specs]
    chosen = [
        spec if plain.count(short) > 1 else short for spec, short in zip(specs, plain, strict=True)
    ]
    labels: list[str] = []
    for text in chosen:
        label, count = shortened(text, 30), 2
        while label in labels:
            label, count = f"{shortened(text, 27)} #{count}", count + 1
        labels.append(label)
    return labels


def short_label(spec: str) -> str:
    """A short name for one model; folders that commands call "model" are named with what they
    lie in.

    Example:
        >>> short_label("/runs/base/model")
        'base/model'
    """
    parts = spec.replace("\\", "/").rstrip("/").split("/")
    if parts[-1] == "model" and len(parts) > 1 and parts[-2]:
        return shortened("/".join(parts[-2:]), 30)
    return short_labels([spec])[0]


def _plain(spec: str) -> str:
    prefix, body = ("random:", spec[7:]) if spec.startswith("random:") else ("", spec)
    base = body.split(",", 1)[0].rstrip("/\\")
    last = base.replace("\\", "/").rsplit("/", 1)[-1]
    return prefix + last if last else spec


def shortened(text: str, room: int) -> str:
    """The text, without its middle where it is longer than ``room`` characters."""
    if len(text) <= room:
        return text
    head = (room - 1) // 2
    return f"{text[:head]}…{text[len(text) - (room - 1 - head) :]}"


def number(value: float) -> str:
    """A value for reading: two decimals, three just below 1, a true minus sign."""
    if not math.isfinite(value):
        return "no value"
    digits = 3 if 0.995 <= abs(value) < 0.9995 else 2
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def interval(value: float, low: float, high: float) -> str:
    """ "0.62 [0.55, 0.69]"; the value alone where there is no interval."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def spread(value: float, low: float, high: float) -> str:
    """ "0.71, 0.69 to 0.73"; "0.71, no interval" where there is none."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{number(value)}, no interval"
    return f"{number(value)}, {number(low)} to {number(high)}"


def capital(text: str) -> str:
    """The text with its first letter raised, the rest as it is."""
    return text[:1].upper() + text[1:]


def layer_called(name: str) -> str:
    """ "layer 3" for a number, "block2" for a name."""
    return f"layer {name}" if name.isascii() and name.isdigit() else name


def listing(items: Sequence[str], conjunction: str = "and") -> str:
    """ "a, b and c"."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {conjunction} {items[-1]}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """ "1 layer", "2,000 layers"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def size(count: float) -> str:
    """Bytes as people say them: "2.8 MB"."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min 47 s", "3 h 5 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
