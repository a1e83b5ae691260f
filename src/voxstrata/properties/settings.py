"""Settings of a properties run: one frozen object for command line, YAML file and Python."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator

from voxstrata.config import Config


class PropertiesConfig(Config):
    """What is asked of which layers, on which rows.

    Attributes:
        models: model names (docs/models.md), at least one.
        corpus: corpus name or path (docs/corpora.md).
        properties: names (docs/properties.md), or "all" for all that the corpus allows.
        preset: "voxstrata" (our defaults) or "pasad2023" (the published protocol).
        scale: "published": sampling sizes as published, and what has too few units is refused;
            "small": sizes, widths and clusters are reduced to what the corpus holds, and the
            record says how.
        layers: names, patterns or ranges of layers, for all models; ``None`` for each model's
            default set (and local convolutional layers for acoustic properties).
        twins: also run the untrained twin of every trained model that has one: the control that
            every curve of a trained model needs.
        draws: seeded draws of rows; their spread enters the intervals.
        folds: folds of cross-validation, and of the jackknife behind intervals. More tell layers
            apart better and take longer (docs/properties/cca.md, "Ten folds or five").
        group: what folds keep together: "utterance" or "speaker".
        seed: seed of draws, folds, k-means and controls.
        frames: frames of the frame sample, at most.
        phones_per_type: cap on instances of one phone (P2023: 200).
        words, words_per_type: word types of ``cca-word`` and instances of each (P2023: 500, 15).
        all_words_per_type: cap on instances of a word for lexical and semantic properties
            (P2023: 200).
        min_s, max_s: shortest and longest span that counts as a phone or word, seconds.
        sequence_s: audio of the sequence sample (ABX, word segmentation), seconds.
        clusters_phone, clusters_word: k of k-means for mutual information (P2023's scripts:
            500 and 5000).
        kmeans_seeds: k-means runs a draw.
        pca: keep this many principal components of a layer before CCA; ``None`` for all (the
            small scale sets it where rows are few).
        vectors: word-vector files by name ("glove", "agwe"): word2vec or GloVe format.
        attributes: word-attribute files by name ("semantic", "syntactic"); docs/properties.md.
        tables: tables of values by utterance or speaker, by name (csv, tsv, parquet).
        wordsim: word-similarity lists (two words and a score a line).
        sentences: sentence-similarity file (two utterance ids and a score a line).
        study: name written into the results.
        dtype, device, batch_s, disk_gib, limit, on_error, keep_store: as for similarity.
        cluster: where the pass is made (docs/scaling.md): "local:N", "tcp://HOST:PORT",
            "slurm:PROFILE.yaml"; ``None`` for this process.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    corpus: str
    properties: Annotated[tuple[str, ...], Field(min_length=1)] = ("all",)
    preset: Literal["voxstrata", "pasad2023"] = "voxstrata"
    scale: Literal["published", "small"] = "published"
    layers: tuple[str, ...] | None = None
    twins: bool = True
    draws: PositiveInt = 1
    folds: Annotated[int, Field(ge=2)] = 5
    group: Literal["utterance", "speaker"] = "utterance"
    seed: int = 0
    frames: PositiveInt = 20_000
    phones_per_type: PositiveInt = 200
    words: Annotated[int, Field(ge=2)] = 500
    words_per_type: PositiveInt = 15
    all_words_per_type: PositiveInt = 200
    min_s: NonNegativeFloat = 0.0
    max_s: PositiveFloat | None = None
    sequence_s: PositiveFloat = 600.0
    clusters_phone: Annotated[int, Field(ge=2)] = 500
    clusters_word: Annotated[int, Field(ge=2)] = 5000
    kmeans_seeds: PositiveInt = 3
    pca: PositiveInt | None = None
    vectors: dict[str, str] = Field(default_factory=dict)
    attributes: dict[str, str] = Field(default_factory=dict)
    tables: dict[str, str] = Field(default_factory=dict)
    wordsim: tuple[str, ...] = ()
    sentences: str | None = None
    study: str = "properties"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    batch_s: PositiveFloat | None = None
    cluster: str | None = None
    disk_gib: PositiveFloat | None = None
    limit: PositiveInt | None = None
    on_error: Literal["skip", "stop"] = "skip"
    keep_store: bool = False

    @field_validator("models", "properties", "layers", "wordsim", mode="before")
    @classmethod
    def _listed(cls, given: Any, info: Any) -> Any:
        """One name need not be a list; layer numbers need no quotes; flags' commas are read."""
        if isinstance(given, str):
            parts = given.split(",") if info.field_name in ("properties", "layers") else [given]
            return tuple(part.strip() for part in parts if part.strip())
        if info.field_name == "layers" and isinstance(given, int | list | tuple):
            listed = [given] if isinstance(given, int) else given
            return tuple(str(x) if isinstance(x, int) else x for x in listed)
        return given
