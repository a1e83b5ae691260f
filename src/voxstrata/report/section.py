"""The seam through which later work adds to the page: a section is one file and one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxstrata.registry import Registry
from voxstrata.report.layer_picks import Offer
from voxstrata.report.view import View

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"

SHOWS = {"twins": "untrained twins", "controls": "controls", "intervals": "intervals"}
"""Switches of the bar for what stands beside values, with their names there."""


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        id: anchor, and the name under which scripts find :attr:`data`.
        title: heading; empty for the opening.
        short: entry in the table of contents.
        html: body, already escaped (made with :func:`render`).
        data: JSON-like data for the scripts; must hold no NaN.
        specs: Vega-Lite charts that the scripts fill with data, by name.
        scripts: file names under ``templates`` of the JavaScript this section needs.
        bar: what the section adds to the bar at the top of the page, already escaped.
        shows: what its figures leave out when the reader asks: "twins", "controls", "intervals".
        layers: layers that its figures leave out when the reader asks, by model.
    """

    id: str
    title: str
    short: str
    html: str
    data: Mapping[str, Any] = field(default_factory=dict)
    specs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scripts: tuple[str, ...] = ()
    bar: str = ""
    shows: tuple[str, ...] = ()
    layers: tuple[Offer, ...] = ()

    def __post_init__(self) -> None:
        unknown = set(self.shows) - set(SHOWS)
        if unknown:
            raise ValueError(f"section {self.id} shows {sorted(unknown)}; known: {list(SHOWS)}")


SectionMaker = Callable[[View], Section | None]
"""Draws a section, or returns ``None`` where the results hold nothing for it."""

SECTIONS: Registry[SectionMaker] = Registry("report section", "voxstrata.sections")
SECTIONS.add(
    "opening", "voxstrata.report.sections.opening:opening", "what was compared, and how much"
)
SECTIONS.add(
    "answers",
    "voxstrata.report.sections.answers:answers",
    "what several results together say, in words",
)
SECTIONS.add(
    "verification",
    "voxstrata.report.sections.verification:verification",
    "error rates, DET curves, scores",
)
SECTIONS.add("training", "voxstrata.report.sections.training:training", "curves of a training run")
SECTIONS.add("neurons", "voxstrata.report.sections.neurons:neurons", "counts beside chance")
SECTIONS.add(
    "neurons-strongest",
    "voxstrata.report.sections.neuron_best:neuron_best",
    "the strongest neurons of each contrast",
)
SECTIONS.add(
    "neurons-shared",
    "voxstrata.report.sections.neuron_sets:neuron_sets",
    "which neurons several contrasts share",
)
SECTIONS.add(
    "neurons-stability",
    "voxstrata.report.sections.neuron_stability:neuron_stability",
    "halves, sigma, silhouettes",
)
SECTIONS.add(
    "neurons-ranked",
    "voxstrata.report.sections.neuron_ranked:neuron_ranked",
    "how few neurons are enough; rankings",
)
SECTIONS.add(
    "neurons-clusters",
    "voxstrata.report.sections.neuron_matches:neuron_matches",
    "clusters held against known classes",
)
SECTIONS.add(
    "pruning", "voxstrata.report.sections.pruning:pruning", "a model before and after pruning"
)
SECTIONS.add(
    "protection",
    "voxstrata.report.sections.protection:protection",
    "pruned models with and without protected neurons",
)
SECTIONS.add("probing", "voxstrata.report.sections.probing:probing", "tasks, heads and models")
SECTIONS.add(
    "probing-claims",
    "voxstrata.report.sections.probing_claims:probing_claims",
    "one layer against the sum; properties against tasks",
)
SECTIONS.add(
    "probing-layers",
    "voxstrata.report.sections.probing_layers:probing_layers",
    "weights of layers, beside their scores",
)
SECTIONS.add(
    "probing-summed",
    "voxstrata.report.sections.probing_summed:probing_summed",
    "which layers enter the learned sum",
)
SECTIONS.add("curves", "voxstrata.report.sections.curves:curves", "what each layer encodes")
SECTIONS.add("peaks", "voxstrata.report.sections.peaks:peaks_table", "best layer of every model")
SECTIONS.add("matrix", "voxstrata.report.sections.matrix:matrix", "every layer against every layer")
SECTIONS.add("pairs", "voxstrata.report.sections.pairs:pairs", "one heat map a pair of models")
SECTIONS.add("paths", "voxstrata.report.sections.paths:paths", "best-matching layers")
SECTIONS.add("steps", "voxstrata.report.sections.steps:steps", "change from layer to layer")
SECTIONS.add("left-out", "voxstrata.report.sections.left_out:left_out", "properties not run")
SECTIONS.add("paper", "voxstrata.report.sections.paper:paper", "figure files")
SECTIONS.add("parts", "voxstrata.report.sections.parts:parts", "what a page was joined from")
SECTIONS.add("run", "voxstrata.report.sections.run:run", "what was run and how")


@cache
def environment() -> Environment:
    """The templates, with escaping always on and missing values an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from voxstrata.report import words

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = words.number
    made.filters["duration"] = words.duration
    made.filters["listing"] = words.listing
    return made


def render(template: str, **values: Any) -> str:
    """A template under ``templates``, filled; every value is escaped."""
    return environment().get_template(template).render(**values)


def json_for_script(value: Any) -> str:
    """JSON that can stand inside a ``<script>`` element whatever strings it holds.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
