"""Settings of a neurons run: one frozen object for command line, YAML file and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from voxstrata.config import Config, split_names
from voxstrata.neurons.conditions.tiers import Take

DEFAULT = (
    "ivector=2/clusters=3",
    "clusters=3",
    "gender/clusters=3",
    "gender/phones",
    "classes/phones",
)
"""Contrasts of a run that names none, as far as the corpus has the labels: those of L2025, and two
of its predecessor."""


class NeuronsConfig(Config):
    """Which neurons of which models, told apart by what.

    Attributes:
        models: model names (docs/models.md), at least one.
        corpus: corpus name or path (docs/corpora.md).
        contrasts: what is told apart: ``GROUPS`` or ``GROUPS/ROWS`` (docs/neurons.md).
        rule: when a neuron is active: "top=0.01" (published), "threshold=X", "quantile=Q".
        sigma: least share of a group's rows in which its neurons are above chance.
        layers: neuron layers (names or patterns); ``None`` for all.
        cluster_layer: layer whose states are clustered; ``None`` for the middle one of each model.
        cluster_frames: frames that k-means and thirds of pitch are fitted on, at most.
        quantile_frames: frames that a rule of quantiles is fitted on, at most: all neurons of a
            model are held at once, 4 bytes a neuron and frame.
        ivector: i-vector model; ``None`` to train one on the corpus itself.
        frames: "all" frames of a phone, its "middle" one, or the middle one as "published".
        semivowels: L, R, W and Y as a broad class of their own.
        units: what is counted by itself: "recording", or "speaker" (a speaker's recordings with
            the same labels are added up); "auto" for recordings where their counts fit in memory.
            Nulls deal labels to whole speakers in either case, where recordings have one.
        draws: labellings of the null; 0 for none.
        least_frames: rows with fewer frames are reported as thin; ``None`` for the fewest in which
            a single active one is not above chance (100 for the top 31 of 3072).
        splits: split halves of the stability table; 0 for none.
        sweep: make the selection with other numbers of clusters, other seeds of k-means and other
            shares of active neurons too, and compare.
        rankings: rank neurons by other methods too (activation means, probes).
        twins: also the untrained twin of every trained model.
        limit: use a seeded subset of this many recordings.
        seed: of samples, k-means, nulls, splits and probes.
        study: name written into the results.
        dtype, device, batch_s, on_error: as for the other jobs.
        cluster: where the pass is made (docs/scaling.md): "local:N", "tcp://HOST:PORT",
            "slurm:PROFILE.yaml"; ``None`` for this process.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    corpus: str
    contrasts: tuple[str, ...] | None = None
    rule: str = "top=0.01"
    sigma: Annotated[float, Field(gt=0, le=1)] = 0.8
    layers: tuple[str, ...] | None = None
    cluster_layer: str | None = None
    cluster_frames: PositiveInt = 200_000
    quantile_frames: PositiveInt = 20_000
    ivector: str | None = None
    frames: Take = "all"
    semivowels: bool = False
    units: Literal["auto", "recording", "speaker"] = "auto"
    draws: NonNegativeInt = 200
    least_frames: PositiveInt | None = None
    splits: NonNegativeInt = 20
    sweep: bool = False
    rankings: bool = True
    twins: bool = True
    limit: PositiveInt | None = None
    seed: int = 0
    study: str = "neurons"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    batch_s: PositiveFloat | None = None
    cluster: str | None = None
    on_error: Literal["skip", "stop"] = "skip"

    @field_validator("models", "contrasts", "layers", mode="before")
    @classmethod
    def _listed(cls, given: Any, info: Any) -> Any:
        """One name need not be a list; commas between layers are read."""
        if isinstance(given, str):
            return split_names(given) if info.field_name == "layers" else (given,)
        return given
