"""Settings of a probing run, and the protocols."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from voxstrata.config import Config, build, read_yaml
from voxstrata.errors import UnknownNameError
from voxstrata.probing.heads.specaug import FeatureMasks
from voxstrata.probing.linear.probes import Plan
from voxstrata.registry import unknown_name


class HeadPlan(Config):
    """Constants of one task's training; see :class:`voxstrata.probing.linear.probes.Plan`.

    Attributes:
        steps, batch, hidden, clip, every, balanced: as there; ``hidden`` of a recurrent head is the
            width of its first layer and of each direction.
        end: sequences of symbols end with the end symbol.
        stride: frames of finer layers become means over this many samples; ``None`` for the
            layers' own frames.
        masks: masking of frames in training (SpecAugment), of recurrent heads.
        screen: steps of the short trainings that choose the layer, of heads that are too dear to
            train on every layer.
        chooses: measure on dev that chooses step, learning rate and layer, where it is not the
            task's first (word error rates of short trainings are all 1).
        decay: weight decay (AdamW); 0 for Adam.
        most_s: seconds of a recording that a step looks at, at most (a random stretch).
        margin: of the speaker loss.
        lrs, seeds: of this task, instead of the protocol's.
    """

    steps: PositiveInt = 1000
    batch: PositiveInt = 32
    hidden: PositiveInt = 256
    clip: PositiveFloat = 1.0
    every: PositiveInt = 100
    balanced: bool = False
    end: bool = True
    stride: PositiveInt | None = None
    masks: FeatureMasks = FeatureMasks()
    screen: PositiveInt = 200
    chooses: Literal["per", "wer", "cer", "slot-type-f1", "slot-value-cer"] | None = None
    decay: Annotated[float, Field(ge=0)] = 0.0
    most_s: PositiveFloat | None = None
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.4
    lrs: tuple[PositiveFloat, ...] | None = None
    seeds: PositiveInt | None = None

    def plan(self, measure: str) -> Plan:
        """For the trainer of linear heads."""
        return Plan(
            steps=self.steps,
            batch=self.batch,
            hidden=self.hidden,
            clip=self.clip,
            every=min(self.every, self.steps),
            balanced=self.balanced,
            measure=self.chooses or measure,
            end=self.end,
            stride=self.stride,
            decay=self.decay,
            most_s=self.most_s,
        )


class ProtocolConfig(Config):
    """A protocol: the grid, and the constants of every task.

    Attributes:
        name: of the protocol.
        lrs: learning rates of linear heads, one of which is chosen on dev for each cell.
        seeds: runs of linear heads with other initial weights and orders.
        default: constants of tasks that have none of their own.
        tasks: constants by task.
        selection: "strict" chooses on dev alone; "superb" by the published rules, which choose
            checkpoints of ASV, and threshold and filter of SD, on the test part.
    """

    name: str
    selection: Literal["strict", "superb"] = "strict"
    lrs: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]
    seeds: PositiveInt
    default: HeadPlan = HeadPlan()
    tasks: dict[str, HeadPlan] = Field(default_factory=dict)

    def of(self, task: str) -> HeadPlan:
        """Constants of a task."""
        return self.tasks.get(task, self.default)

    def lrs_of(self, task: str) -> tuple[float, ...]:
        """Learning rates of a task."""
        return self.of(task).lrs or self.lrs

    def seeds_of(self, task: str) -> int:
        """Runs of a task's heads."""
        return self.of(task).seeds or self.seeds


def read_protocol(name: str) -> ProtocolConfig:
    """A protocol that comes with the package, or a YAML file.

    Raises:
        UnknownNameError: there is no such protocol.
        ConfigError: the file is not one.
    """
    if name.endswith((".yaml", ".yml")):
        return build(ProtocolConfig, read_yaml(Path(name).expanduser()), source=name)
    folder = resources.files("voxstrata.probing.protocols")
    known = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if ".yaml" in f.name)
    if name not in known:
        raise _unknown(name, known)
    with resources.as_file(folder / f"{name}.yaml") as path:
        return build(ProtocolConfig, read_yaml(path), source=f"the protocol {name}")


def _unknown(name: str, known: list[str]) -> UnknownNameError:
    return unknown_name("protocol", name, [*known, "a .yaml file"])


class LanguageModel(Config):
    """An n-gram language model for heads that write words, with the published constants.

    Attributes:
        file: ARPA file (plain or gzip) or KenLM binary file.
        lexicon: lines of a word and its letters; ``None`` for the words of the ARPA file, spelled
            as they are written.
        weight: of the language model's log10 probability.
        word_score: added for each word.
        silence_score: added for each frame that is a mark between words.
        beam: hypotheses that are kept after each frame.
        beam_threshold: how much worse than the best of them they may be.
    """

    file: str
    lexicon: str | None = None
    weight: Annotated[float, Field(ge=0)] = 2.0
    word_score: float = -1.0
    silence_score: float = 0.0
    beam: PositiveInt = 5
    beam_threshold: PositiveFloat = 25.0


class ProbeConfig(Config):
    """What is asked of which models.

    Attributes:
        models: model names (docs/models.md), at least one.
        tasks: names (``voxstrata probe --list``), YAML files, "all" or "superb".
        corpus: one corpus for all tasks; or
        corpus_map: a YAML file with corpora by task (docs/probing.md), or what it would hold.
        protocol: "small", "superb" or a YAML file.
        selection: "strict" or "superb", instead of the protocol's.
        layers: names, patterns or ranges of layers; ``None`` for each model's default set.
        lrs, seeds, steps: instead of the protocol's.
        subsets: sums of some layers besides that of all, each as ``layers`` would name them with
            "+" between ("9-12", "conv+block1").
        together: also sum the layers of all ``models`` in one weighting.
        normalise: bring every frame of every layer to mean 0 and variance 1 over its numbers first.
        lm: a language model, which what recurrent heads write is read with too (its file, or all
            its settings).
        frames: where heads on frames find them: "disk" (made once and kept while the run lasts),
            "live" (the model runs again for every batch), or "auto" (disk, where it is large
            enough).
        twins: also probe the untrained twin of every trained model that has one.
        baseline: a model without training that stands beside the others; "" for none.
        controls: also train on labels dealt anew.
        ablation: also train the weighted sum of ``models`` without each layer in turn (linear
            heads).
        pairs: pairs of ``models``; the first is held against the second in every task, paired over
            the same recordings (trained models are held against twin and plain features in any
            case).
        singles: also train heads on each layer by itself; without, on the sum of all alone.
        utterance_layers: what heads on frames do with layers that have one vector a recording:
            "leave out", or "repeat" it in every frame.
        seed: of splits, initial weights and orders.
        study: name written into the results.
        dtype, device, batch_s, limit, on_error, keep_store: as for similarity.
        cluster: where the pass is made (docs/scaling.md): "local:N", "tcp://HOST:PORT",
            "slurm:PROFILE.yaml"; ``None`` for this process.
    """

    models: Annotated[tuple[str, ...], Field(min_length=1)]
    tasks: Annotated[tuple[str, ...], Field(min_length=1)] = ("all",)
    corpus: str | None = None
    corpus_map: str | dict[str, Any] | None = None
    protocol: str = "small"
    selection: Literal["strict", "superb"] | None = None
    layers: tuple[str, ...] | None = None
    lrs: tuple[PositiveFloat, ...] | None = None
    seeds: PositiveInt | None = None
    steps: PositiveInt | None = None
    subsets: tuple[str, ...] = ()
    together: bool = False
    normalise: bool = False
    lm: LanguageModel | None = None
    frames: Literal["auto", "disk", "live"] = "auto"
    twins: bool = True
    baseline: str = "mfcc"
    controls: bool = True
    ablation: bool = True
    singles: bool = True
    pairs: tuple[tuple[str, str], ...] = ()
    utterance_layers: Literal["leave out", "repeat"] = "leave out"
    seed: int = 0
    study: str = "probing"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    device: str = "auto"
    batch_s: PositiveFloat | None = None
    cluster: str | None = None
    limit: PositiveInt | None = None
    on_error: Literal["skip", "stop"] = "skip"
    keep_store: bool = False

    @field_validator("models", "tasks", "layers", "lrs", "subsets", mode="before")
    @classmethod
    def _listed(cls, given: Any, info: Any) -> Any:
        """One name need not be a list; layer numbers need no quotes; flags' commas are read."""
        if isinstance(given, str):
            parts = given.split(",") if info.field_name != "models" else [given]
            return tuple(part.strip() for part in parts if part.strip())
        if info.field_name == "layers" and isinstance(given, int | list | tuple):
            listed = [given] if isinstance(given, int) else given
            return tuple(str(x) if isinstance(x, int) else x for x in listed)
        return given

    @field_validator("lm", mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        """A file alone will do."""
        return {"file": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _known_pairs(self) -> ProbeConfig:
        unknown = [name for pair in self.pairs for name in pair if name not in self.models]
        if unknown:
            raise ValueError(f"pairs name models that are not among the models: {unknown[:3]}")
        return self

    @model_validator(mode="after")
    def _one_corpus(self) -> ProbeConfig:
        if (self.corpus is None) == (self.corpus_map is None):
            raise ValueError("give `corpus` or `corpus_map`, one of them")
        return self
