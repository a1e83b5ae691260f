"""What a property is: something that a layer may encode, with a way to say how well it does.

A property is used in three steps. :meth:`Property.missing` says, from the corpus and the settings
alone, why it cannot run. :meth:`Property.draw` takes a seeded draw of rows from the sample of
its unit and builds what all layers share (the view, splits, controls). :meth:`Draw.score`
then takes one layer after another. The job averages over draws and makes intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from voxstrata.errors import UsageError
from voxstrata.properties.sample import Sample
from voxstrata.streaming.stack import StackLayer

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus
    from voxstrata.properties.settings import PropertiesConfig

Better = Literal["high", "low"]

UnitName = Literal["frame", "phone", "word", "utterance", "sequence"]

SHUFFLED = "shuffled-rows"
PERMUTED = "permuted-labels"
"""Names of controls: rows of the view shuffled against the layer; labels permuted."""


class TooFewError(UsageError):
    """A property has too few units (rows, types, groups) for its widths."""


@dataclass(frozen=True)
class Score:
    """One number about one layer.

    Attributes:
        measure: name with variant ("pwcca", "mi-normalised", "r2", ...).
        value: the number.
        error: standard error within this draw; ``None`` where there is none.
        n: rows (or pairs) that entered.
        groups: independent groups behind the error.
        d, other_d: widths of the layer as it entered, and of the view.
        estimator: "held-out", "in-sample", ...
        control: "" for the value itself, else which control it is (:data:`SHUFFLED`,
            :data:`PERMUTED`, "chance", ...).
        other_model, other_layer: what the layer was held against, where that is a layer.
        bounds: range of the measure; intervals are clipped to it.
        by_fold: the value in each test fold (or group of speakers) alone, as (fold, value):
            what choosing layers on some speakers and checking on others needs.
    """

    measure: str
    value: float
    error: float | None = None
    n: int = 0
    groups: int = 0
    d: int = 0
    other_d: int = 0
    estimator: str = "held-out"
    control: str = ""
    other_model: str = ""
    other_layer: str = ""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    by_fold: tuple[tuple[int, float], ...] = ()


class Draw(Protocol):
    """A seeded draw of rows with everything that all layers share.

    Attributes:
        facts: JSON-like facts for the run record (rows, types, what a small scale reduced).
        notices: sentences for the reader of the results (warnings).
    """

    @property
    def facts(self) -> Mapping[str, Any]:
        """See above."""
        ...

    @property
    def notices(self) -> Sequence[str]:
        """See above."""
        ...

    def score(self, rows: torch.Tensor, layer: StackLayer) -> list[Score]:
        """Scores of one layer.

        Args:
            rows: all rows of the sample in this layer, [N, D]; the draw picks its own.
            layer: which layer.
        """
        ...


class Property(Protocol):
    """Something a layer may encode.

    Attributes:
        name: what the user types ("cca-phone").
        title: for figures ("phone identity (PWCCA)").
        group: "acoustic", "phonetic", "lexical", "semantic", "speaker", "disentanglement",
            "task".
        unit: the unit it draws from.
        main: the measure that its curve shows.
        better: which values of it a layer that encodes the property well has.
    """

    @property
    def name(self) -> str:
        """See above."""
        ...

    @property
    def title(self) -> str:
        """See above."""
        ...

    @property
    def group(self) -> str:
        """See above."""
        ...

    @property
    def unit(self) -> UnitName:
        """See above."""
        ...

    @property
    def main(self) -> str:
        """See above."""
        ...

    @property
    def better(self) -> Better:
        """See above."""
        ...

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Why it cannot run ("no tier 'phones'"); empty if it can."""
        ...

    def helpers(self, settings: PropertiesConfig) -> Sequence[str]:
        """Models that must be in the pass for its view ("log-mel"); mostly none."""
        ...

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> Draw:
        """A seeded draw.

        Raises:
            TooFewError: too few units for the widths, with both numbers.
        """
        ...


@dataclass(frozen=True)
class PropertyFacts:
    """The plain part of a property, to be inherited.

    Attributes: see :class:`Property`; ``tiers`` are the tiers it cannot do without.
    """

    name: str
    title: str
    group: str
    unit: UnitName
    main: str
    tiers: tuple[str, ...] = field(default=())
    better: Better = field(default="high", kw_only=True)

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the first tier in :attr:`tiers` that no recording has."""
        for tier in self.tiers:
            if not any(u.tiers.get(tier) for u in corpus.utterances):
                return f"no recording has the tier {tier!r}"
        return ""

    def helpers(self, settings: PropertiesConfig) -> Sequence[str]:
        """None."""
        return ()
