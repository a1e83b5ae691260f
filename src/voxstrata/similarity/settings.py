"""Settings of a similarity run: one frozen object for command line, YAML file and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from voxstrata.config import Config

Route = Literal["auto", "moments", "blocks", "gram", "minibatch"]


class SimilarityConfig(Config):
    """What is compared with what, and how.

    Attributes:
        models: model names (docs/models.md), at least one.
        corpus: corpus name or path (docs/corpora.md).
        units: "frame", "phone", "word", "utterance".
        measures: registered measures (docs/similarity.md).
        layers: names, patterns or ranges of layers, for all models; ``None`` for each model's
            default set.
        folds: folds of the jackknife.
        group: what is left out together: "utterance" or "speaker".
        seed: seed of folds, caps and row samples.
        study: name written into the results.
        route: how products are computed; "auto" lets the planner choose.
        precision: of the products: "float32", "float64", "bfloat16".
        dtype: of the models: "float32", "float64", "bfloat16", "float16".
        device: "auto", "cpu", "cuda", "cuda:0" (totals are float64, which "mps" lacks).
        batch_s: seconds of audio in a batch, padding counted.
        shard_s: seconds of audio in a shard; ``None`` lets the planner choose.
        memory_gib: memory for rows and products; ``None`` for a third of the machine's.
        disk_gib: disk for the row store; ``None`` for what is free, less a reserve.
        max_rows: rows that measures working on all pairs of rows use (seeded sample).
        minibatch_rows: rows of a batch of the minibatch estimator.
        span_rule, span_part: how labelled spans meet frames.
        per_type: cap on rows of one label.
        limit: use the first this many recordings of a seeded order; ``None`` for all.
        on_error: "skip" lists bad recordings and goes on; "stop" stops at the first.
        cluster: where the pass is made (docs/scaling.md): "local:N", "tcp://HOST:PORT",
            "slurm:PROFILE.yaml"; ``None`` for this process.
        keep_store: leave the row store on disk after the run.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    corpus: str
    units: Annotated[tuple[str, ...], Field(min_length=1)] = ("utterance",)
    measures: Annotated[tuple[str, ...], Field(min_length=1)] = ("cka", "cka-biased")
    layers: tuple[str, ...] | None = None
    folds: Annotated[int, Field(ge=2)] = 10
    group: Literal["utterance", "speaker"] = "utterance"
    seed: int = 0
    study: str = "similarity"
    route: Route = "auto"
    precision: Literal["float32", "float64", "bfloat16"] = "float32"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    batch_s: PositiveFloat | None = None
    cluster: str | None = None
    shard_s: PositiveFloat | None = None
    memory_gib: PositiveFloat | None = None
    disk_gib: PositiveFloat | None = None
    max_rows: Annotated[int, Field(ge=8)] = 2000
    minibatch_rows: Annotated[int, Field(ge=8)] = 512
    span_rule: Literal["centre", "pasad"] = "centre"
    span_part: Literal["whole", "middle-third"] = "whole"
    per_type: PositiveInt | None = None
    limit: PositiveInt | None = None
    on_error: Literal["skip", "stop"] = "skip"
    keep_store: bool = False

    @field_validator("models", "units", "measures", "layers", mode="before")
    @classmethod
    def _listed(cls, given: Any, info: Any) -> Any:
        """One name need not be a list; layer numbers need no quotes; flags' commas are read.

        Commas inside a model's name belong to its options.
        """
        if isinstance(given, str):
            parts = [given] if info.field_name == "models" else given.split(",")
            return tuple(part.strip() for part in parts if part.strip())
        if info.field_name == "layers":
            if isinstance(given, int) and not isinstance(given, bool):
                return (str(given),)
            if isinstance(given, list | tuple):
                return tuple(
                    str(x) if isinstance(x, int) and not isinstance(x, bool) else x for x in given
                )
        return given

    @field_validator("units", "measures")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        return names

    def numbers(self) -> dict[str, object]:
        """The settings that numbers depend on (not where or how fast they are computed)."""
        given = self.model_dump(mode="json")
        for name in ("memory_gib", "disk_gib", "keep_store", "route", "shard_s", "cluster"):
            given.pop(name)
        # The exact routes give the same numbers; minibatch is another estimator.
        return given | {"exact": self.route != "minibatch"}
