"""One contrast of one model: the published selection, beside what chance gives and other tests."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError, VoxstrataWarning
from voxstrata.models.base import SpeechModel
from voxstrata.neurons.conditions.condition import Contrast
from voxstrata.neurons.counts import Counts, UnitCounts
from voxstrata.neurons.prepare import Prepared
from voxstrata.neurons.selection import property_neurons
from voxstrata.neurons.sets import NeuronSet, neuron_set
from voxstrata.neurons.statistics.design import Design, by_rows, by_units
from voxstrata.neurons.statistics.null import Null, selection_null
from voxstrata.neurons.statistics.patterns import Separation, patterns, scaled, separation
from voxstrata.neurons.statistics.screen import Screen, screen
from voxstrata.neurons.statistics.stability import Halves, sigma_table, split_halves
from voxstrata.neurons.statistics.thin import frames_needed
from voxstrata.neurons.statistics.within import Within, within

if TYPE_CHECKING:
    import pandas as pd

Bools = NDArray[np.bool_]

RATE = 0.05
"""False discovery rate at which tested neurons are counted."""

PATTERNS = 200
"""Rows up to which patterns are laid out (scikit-learn's MDS takes minutes beyond)."""


@dataclass(frozen=True)
class Map:
    """Rows of a condition in the plane.

    Attributes:
        rows: R names.
        group_of: [R].
        places: [R, 2].
    """

    rows: tuple[str, ...]
    group_of: NDArray[np.int64]
    places: NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What one contrast says about one model.

    Attributes:
        model: its text.
        contrast: name.
        counts: of the groups' rows.
        selected: layer to [G, D], property neurons by group.
        sigma: number of property neurons by sigma.
        null: the selection with labels dealt anew; ``None`` where it was not asked for, or no
            labelling can be dealt.
        screen: each neuron tested by itself; groups of recordings only.
        halves: the selection in split halves, by layer.
        within: the selection within each gender; ``None`` where it makes no sense.
        separation: by layer and metric, how far the groups' rows are apart as patterns.
        maps: layer to the rows' patterns in the plane (MDS): names, groups and places [R, 2].
        units: units behind the null.
        moved: what the null moves: "recording", "speaker" or "rows within each recording".
        thin: rows with too few frames for a probability to mean much.
        notes: sentences for the reader.
    """

    model: str
    contrast: str
    counts: Counts
    selected: Mapping[str, Bools]
    sigma: pd.DataFrame
    null: Null | None
    screen: Screen | None
    halves: Mapping[str, Halves]
    within: Within | None
    separation: Mapping[str, Mapping[str, Separation]]
    maps: Mapping[str, Map]
    units: int
    moved: str
    thin: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def neurons(self) -> int:
        """Neurons looked at."""
        return sum(active.shape[1] for active in self.counts.active.values())

    def neuron_set(self, model: SpeechModel) -> NeuronSet:
        """The property neurons as a set, with the group each is of."""
        names = self.counts.groups
        return neuron_set(
            self.contrast,
            model,
            {layer: np.flatnonzero(found.any(axis=0)) for layer, found in self.selected.items()},
            groups={
                group: {
                    layer: tuple(np.flatnonzero(found[g]).tolist())
                    for layer, found in self.selected.items()
                }
                for g, group in enumerate(names)
            },
            details={"rule": "published", "units": self.units},
        )

    def tested_set(self, model: SpeechModel) -> NeuronSet | None:
        """Neurons whose rate a group raises, at a false discovery rate of 5 %."""
        if self.screen is None:
            return None
        found = self.screen.found(RATE)
        return neuron_set(
            f"{self.contrast} (tested)",
            model,
            {layer: np.flatnonzero(one.any(axis=0)) for layer, one in found.items()},
            groups={
                group: {k: tuple(np.flatnonzero(v[g]).tolist()) for k, v in found.items()}
                for g, group in enumerate(self.counts.groups)
            },
            details={"rule": "AUC of units' rates, Benjamini-Hochberg", "rate": RATE},
        )


def analyse(
    contrast: Contrast,
    found: UnitCounts,
    prepared: Prepared,
    model: SpeechModel,
    each: Callable[[str], None] | None = None,
) -> Found:
    """Select, select again with labels dealt anew, test, and look how stable all that is.

    Args:
        contrast: what is told apart.
        found: counts of its frame condition.
        prepared: the run.
        model: whose neurons they are.
        each: called with the name of each layer whose null is done.

    Raises:
        LabelError: a group has no frame.
    """
    config, notes = prepared.config, list[str]()
    counts = contrast.counts(found, prepared.members)
    design = design_of(contrast, found, prepared)
    move = moving(contrast, found, prepared)

    def tried(what: str, work: Callable[[], object]) -> object | None:
        """What cannot be said of these units is left out, with its reason; what is weak is told."""
        found = None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("default")
            try:
                found = work()
            except UsageError as error:
                got = f" ({error.got})" if error.got else ""
                notes.append(f"{contrast.name}: no {what}, because {error.what}{got}.")
        for one in said:
            if issubclass(one.category, VoxstrataWarning):
                notes.append(f"{contrast.name}: {one.message}.")
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return found

    null = screened = parts = None
    halves: Mapping[str, Halves] = {}
    if config.draws:
        null = tried(
            "null",
            lambda: selection_null(
                found,
                design,
                draws=config.draws,
                seed=config.seed,
                clusters=move.clusters,
                together=move.together,
                each=each,
            ),
        )
    if contrast.labels is not None:
        screened = tried(
            "tests of single neurons",
            lambda: screen(
                found,
                design,
                seed=config.seed,
                clusters=move.clusters,
                together=move.together,
                given_rows=True,
            ),
        )
        strata = strata_of(contrast, found, prepared)
        if strata is not None:
            parts = tried("selection within each gender", lambda: within(found, design, strata))
    if config.splits:
        made = tried(
            "split halves",
            lambda: split_halves(
                found,
                design,
                splits=config.splits,
                seed=config.seed,
                clusters=move.halved,
                together=move.together,
            ),
        )
        halves = made if isinstance(made, Mapping) else {}
    used = counts.group_of >= 0
    least = config.least_frames or frames_needed(counts)
    thin = [
        name
        for name, seen, use in zip(counts.rows, counts.seen, used, strict=True)
        if use and seen < least
    ]
    if thin:
        notes.append(
            f"{contrast.name}: {len(thin)} of {int(used.sum())} rows have fewer than "
            f"{least} frames ({', '.join(thin[:3])}{', ...' * (len(thin) > 3)}): "
            "a neuron active there in a single frame may be above chance."
        )
    shown = _separations(counts, config.seed)
    return Found(
        model=model.spec,
        contrast=contrast.name,
        counts=counts,
        selected={layer: property_neurons(counts, layer, config.sigma) for layer in counts.active},
        sigma=sigma_table(counts),
        null=null if isinstance(null, Null) else None,
        screen=screened if isinstance(screened, Screen) else None,
        halves=halves,
        within=parts if isinstance(parts, Within) else None,
        separation={layer: apart for layer, (apart, _) in shown.items()},
        maps={layer: mapped for layer, (_, mapped) in shown.items()},
        units=null.units if isinstance(null, Null) else len(found.units),
        moved=move.name,
        thin=thin,
        notes=list(dict.fromkeys(notes)),
    )


def design_of(contrast: Contrast, found: UnitCounts, prepared: Prepared) -> Design:
    """The contrast as a selection."""
    sigma = prepared.config.sigma
    if contrast.labels is not None:
        labels = contrast.labels.units(found.units, prepared.members)
        return by_units(found, labels, contrast.groups, sigma=sigma)
    return by_rows(found, contrast.group_of, contrast.groups, sigma=sigma, row_strata=contrast.held)


@dataclass(frozen=True)
class Moving:
    """What moves as one when labels are dealt anew.

    Attributes:
        name: for the reader.
        clusters: speaker of each unit, where a speaker's units share their label; else ``None``.
        together: speaker of each unit, where they do not: sets of labels are dealt as wholes.
        halved: speaker of each unit, where speakers can stay in one half.
    """

    name: str
    clusters: list[str] | None = None
    together: list[str] | None = None
    halved: list[str] | None = None


def moving(contrast: Contrast, found: UnitCounts, prepared: Prepared) -> Moving:
    """What must move as one when labels are dealt anew.

    Recordings of a speaker are alike, so that shuffling labels over recordings would make a null of
    recordings that are not independent. A label that never differs within a speaker moves with the
    speaker; where labels differ within speakers, those of one speaker go to another as a whole;
    only where speakers themselves are the groups do recordings change labels one by one. Where
    frames make the groups, rows change names within speakers, or whole rows are dealt to groups.
    """
    speakers = [str(name) for name in prepared.speakers]
    known = None not in prepared.speakers
    if contrast.labels is None:
        assert contrast.group_of is not None
        used = [g for g in contrast.group_of if g >= 0]
        if contrast.held is None and len(set(used)) < len(used):
            return Moving("rows among the groups", halved=speakers if known else None)
        if known:
            return Moving("rows within each speaker", speakers, halved=speakers)
        return Moving(f"rows within each {prepared.by}")
    if not known:
        return Moving("recording")
    of: dict[str, set[int]] = {}
    whose: dict[int, set[str]] = {}
    labels = contrast.labels.units(found.units, prepared.members)
    for speaker, label in zip(speakers, labels.tolist(), strict=True):
        if label >= 0:
            of.setdefault(speaker, set()).add(label)
            whose.setdefault(label, set()).add(speaker)
    if all(len(mine) == 1 for mine in whose.values()):
        return Moving("recording")  # speakers are the groups, or parts of them
    if all(len(mine) == 1 for mine in of.values()):
        return Moving("speaker", speakers, halved=speakers)
    return Moving("labels of whole speakers", together=speakers)


def strata_of(contrast: Contrast, found: UnitCounts, prepared: Prepared) -> list[str] | None:
    """Gender of each unit, where every unit has one and the contrast is not gender itself."""
    if contrast.labels is None or contrast.labels.name == "gender":
        return None
    gender = {u.id: u.tiers.get("gender") for u in prepared.corpus.utterances}
    of: dict[str, str] = {}
    for recording, unit in prepared.members.items():
        if gender[recording] is None:
            return None
        of[unit] = str(gender[recording])
    strata = [of[unit] for unit in found.units]
    return strata if len(set(strata)) > 1 else None


def _separations(counts: Counts, seed: int) -> dict[str, tuple[dict[str, Separation], Map]]:
    """Silhouettes of the groups' rows and their map; none where a group is a single row."""
    used = counts.group_of[counts.group_of >= 0]
    if not 2 <= len(np.unique(used)) < len(used) or len(used) > PATTERNS:
        return {}
    found = {}
    for layer in counts.active:
        try:
            made = patterns(counts, layer)
        except UsageError:
            continue
        places = scaled(made.matrix, seed)
        found[layer] = (
            {
                "euclidean": separation(made.matrix, made.group_of),
                "jaccard": separation(made.matrix, made.group_of, "jaccard"),
                "mds": separation(places, made.group_of),
            },
            Map(made.rows, made.group_of, places),
        )
    return found
