"""Views of recordings: labels such as speaker or channel, users' tables, another model's vectors.

Which recordings folds keep together follows from the view (views/tiers.py): whole speakers for
what speakers carry, recordings for who speaks.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voxstrata.errors import UsageError
from voxstrata.properties.cca.engine import CcaDraw, scored_widths
from voxstrata.properties.linear.targets import constant_within, permute_over
from voxstrata.properties.property import PropertyFacts, TooFewError
from voxstrata.properties.registry import no_argument
from voxstrata.properties.sample import Sample
from voxstrata.properties.views.lexical import BesidePermuted
from voxstrata.properties.views.tables import ValueTable, read_values, table_view
from voxstrata.properties.views.tiers import RowView, by_speaker_if_asked, tier_view, view_folds
from voxstrata.types import Utterance

if TYPE_CHECKING:
    from voxstrata.corpora import Corpus
    from voxstrata.properties.settings import PropertiesConfig


@dataclass(frozen=True)
class RecordingView(PropertyFacts):
    """CCA of recordings with what is known of them; what views of recordings share."""

    def view(self, sample: Sample, settings: PropertiesConfig) -> RowView:
        """The view of the rows of a sample."""
        raise NotImplementedError

    def draw(
        self, sample: Sample, settings: PropertiesConfig, seed: int
    ) -> CcaDraw | BesidePermuted:
        """All recordings that have a value, in the folds that the view needs.

        Raises:
            TooFewError: too few recordings, groups or values.
        """
        speakers = sample.tier("speaker")
        view = by_speaker_if_asked(self.view(sample, settings), speakers, settings.group)
        fold = view_folds(view, list(sample.utterance), speakers, settings.folds, settings.seed)
        facts: dict[str, Any] = {
            **view.facts,
            "rows": len(view.kept),
            "columns_of_view": len(view.columns),
            "folds": int(fold.max()) + 1,
            "folds_keep_together": {"by": view.grouping, "why": view.reason},
        }
        if facts["folds"] < settings.folds:
            facts["folds_asked"] = settings.folds
        rows = view.kept.tolist()
        groups = sample.groups(view.grouping)[rows]

        def against(matrix: NDArray[np.float64], control: bool) -> CcaDraw:
            return CcaDraw(
                matrix,
                view.kept,
                fold,
                settings,
                seed,
                groups=groups,
                labels=view.classes,
                reduce_view=view.classes is None,
                widths=scored_widths(sample),
                facts=facts,
                notices=view.notices,
                what=f"the view of {self.name}",
                quick=control,
            )

        true = against(view.matrix, False)
        carried = constant_within(list(map(tuple, view.matrix.tolist())), groups)
        if view.grouping == "utterance" or not carried:
            return true
        # Speakers are the independent units here: values are given to other speakers.
        order = permute_over(np.arange(len(rows)), groups, np.random.default_rng([seed, 22]))
        return BesidePermuted(true, against(view.matrix[order], True))


@dataclass(frozen=True)
class TierView(RecordingView):
    """CCA of recordings with a scalar tier: one-hot (one column less), or the number.

    Attributes:
        tier: which.
    """

    tier: str = ""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the tier, or why it is no view."""
        ids, speakers = _who(corpus.utterances)
        values = [u.tiers.get(self.tier) for u in corpus.utterances]
        if all(value is None for value in values):
            return f"no recording has the tier {self.tier!r}"
        try:
            tier_view(values, speakers, self.tier, ids)
        except UsageError as error:
            return f"{error.what}: {error.got}"
        return ""

    def view(self, sample: Sample, settings: PropertiesConfig) -> RowView:
        """The tier of each row's recording."""
        return tier_view(
            sample.tier(self.tier), sample.tier("speaker"), self.tier, list(sample.utterance)
        )


@dataclass(frozen=True)
class TableView(RecordingView):
    """CCA of recordings with a user's table of values by recording or speaker.

    Attributes:
        table: its name in the settings.
        column: one column; all of them if empty.
    """

    table: str = ""
    column: str = ""

    def missing(self, corpus: Corpus, settings: PropertiesConfig) -> str:
        """Names the setting, the file that is not there, or why it is no view.

        Raises:
            UsageError: the table is malformed or lacks the column; told here, before any work.
        """
        given = settings.tables.get(self.table)
        if not given:
            return f"no table called {self.table!r} is given: --table {self.table}=FILE"
        path = Path(given).expanduser()
        if not path.is_file():
            return f"the table {self.table!r} is not at {path}"
        ids, speakers = _who(corpus.utterances)
        try:
            table_view(_table(path), ids, speakers, self.column or None)
        except TooFewError as error:
            return f"{error.what}: {error.got}"
        return ""

    def view(self, sample: Sample, settings: PropertiesConfig) -> RowView:
        """The values of each row's recording or speaker."""
        values = _table(Path(settings.tables[self.table]).expanduser())
        speakers = sample.tier("speaker")
        return table_view(values, list(sample.utterance), speakers, self.column or None)


def _table(path: Path) -> ValueTable:
    stat = path.stat()
    return _read_table(path, (stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=8)
def _read_table(path: Path, stamp: tuple[int, int]) -> ValueTable:
    """Read a table once for all draws; ``stamp`` changes when it does."""
    return read_values(path)


def _who(utterances: Sequence[Utterance]) -> tuple[list[str], list[Any]]:
    return [u.id for u in utterances], [u.tiers.get("speaker") for u in utterances]


@dataclass(frozen=True)
class ModelView(PropertyFacts):
    """CCA of recordings with another model's vector of them.

    The vector is the last layer that gives one a recording (the embedding of a speaker model),
    else the mean over time of the last frame layer.

    Attributes:
        model: the other model, as models are named.
    """

    model: str = ""

    def helpers(self, settings: PropertiesConfig) -> Sequence[str]:
        """The other model."""
        return (self.model,)

    def draw(self, sample: Sample, settings: PropertiesConfig, seed: int) -> CcaDraw:
        """All recordings, in the folds of the run.

        Raises:
            TooFewError: too few recordings for the widths.
            UsageError: the sample lacks the model.
        """
        position = last_layer(sample, self.model)
        layer = sample.layers[position]
        rows = np.arange(len(sample), dtype=np.int64)
        facts: dict[str, Any] = {
            "view": layer.key,
            "of": "embedding" if layer.info.kind == "utterance" else "mean over time",
            "rows": len(rows),
            "folds_keep_together": {"by": settings.group, "why": "as the run"},
        }
        return CcaDraw(
            sample.read(position).double().numpy(),
            rows,
            sample.fold,
            settings,
            seed,
            groups=sample.groups(settings.group),
            reduce_view=True,
            widths=scored_widths(sample),
            facts=facts,
            what=f"the vectors of {self.model}",
        )


def last_layer(sample: Sample, model: str) -> int:
    """Position of a model's last utterance layer, else of its last layer.

    Raises:
        UsageError: the sample has no layer of it.
    """
    mine = [i for i, layer in enumerate(sample.layers) if layer.name == model]
    if not mine:
        raise UsageError(
            f"the sample has no layer of the model {model!r}",
            got=", ".join(dict.fromkeys(layer.name for layer in sample.layers)),
        )
    whole = [i for i in mine if sample.layers[i].info.kind == "utterance"]
    return (whole or mine)[-1]


_GROUPS = {
    "speaker": "speaker",
    "gender": "speaker",
    "age": "speaker",
    "accent": "speaker",
    "text": "semantic",
    "topic": "semantic",
    "intent": "semantic",
    "keyword": "lexical",
}


def _tier(name: str, tier: str) -> TierView:
    return TierView(
        name=name,
        title=f"{tier} (PWCCA)",
        group=_GROUPS.get(tier, "acoustic"),
        unit="utterance",
        main="pwcca",
        tier=tier,
    )


def tier(argument: str) -> TierView:
    """``cca-tier:TIER``: any scalar tier.

    Raises:
        UsageError: no tier is named.
    """
    if not argument:
        raise UsageError("cca-tier needs a scalar tier", got="cca-tier", expected="cca-tier:TIER")
    return _tier(f"cca-tier:{argument}", argument)


def speaker(argument: str) -> TierView:
    """``cca-speaker``."""
    no_argument("cca-speaker", argument)
    return _tier("cca-speaker", "speaker")


def gender(argument: str) -> TierView:
    """``cca-gender``."""
    no_argument("cca-gender", argument)
    return _tier("cca-gender", "gender")


def emotion(argument: str) -> TierView:
    """``cca-emotion``."""
    no_argument("cca-emotion", argument)
    return _tier("cca-emotion", "emotion")


def channel(argument: str) -> TierView:
    """``cca-channel``."""
    no_argument("cca-channel", argument)
    return _tier("cca-channel", "channel")


def table(argument: str) -> TableView:
    """``cca-table:NAME`` or ``cca-table:NAME.COLUMN``.

    Raises:
        UsageError: no table is named.
    """
    name, _, column = argument.partition(".")
    if not name:
        raise UsageError(
            "cca-table needs the name of a table given with --table",
            got="cca-table",
            expected="cca-table:NAME or cca-table:NAME.COLUMN with --table NAME=FILE",
        )
    return TableView(
        name=f"cca-table:{argument}",
        title=f"{argument} (PWCCA)",
        group="task",
        unit="utterance",
        main="pwcca",
        table=name,
        column=column,
    )


def model(argument: str) -> ModelView:
    """``cca-model:MODEL``: the vector that another model gives a recording.

    Raises:
        UsageError: no model is named.
    """
    if not argument:
        raise UsageError("cca-model needs a model", got="cca-model", expected="cca-model:MODEL")
    return ModelView(
        name=f"cca-model:{argument}",
        title=f"vectors of {argument} (PWCCA)",
        group="speaker",
        unit="utterance",
        main="pwcca",
        model=argument,
    )
