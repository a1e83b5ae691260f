"""Everything a properties run needs before work starts, checked and planned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import voxstrata
from voxstrata.corpora import Corpus, load_corpus
from voxstrata.errors import StorageError, UsageError
from voxstrata.files import fingerprint, sha256_file
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel
from voxstrata.models.load import find_family
from voxstrata.models.spec import parse
from voxstrata.models.twins import add_twins
from voxstrata.properties.names import expand
from voxstrata.properties.property import Property
from voxstrata.properties.registry import make_property
from voxstrata.properties.samples import SamplePlan, plan_samples
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.setup import (
    LeftOut,
    away_of,
    batch_seconds,
    choose_device,
    expected_rows,
    fold_recordings,
    free_disk,
    groups_of,
    order_of_work,
    untrained_notice,
)
from voxstrata.streaming.stack import StackLayer, build_stack


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        corpus: the recordings.
        models: those asked for, their twins, and helpers (last).
        asked: how many of :attr:`models` are scored; the rest are helpers.
        twins: trained model to its untrained twin.
        stack: chosen layers of all models.
        properties: what will be measured.
        left_out: what was asked for and cannot be.
        samples: units with the layers that have them, and their sizes.
        folds: fold of each recording.
        groups: what folds keep together, for each recording.
        shards: order of work.
        batch_s: seconds of audio a batch.
        device: where models run.
        identity: digest of all that numbers depend on.
        pass_flops: operations of the models over the corpus.
        notices: what the reader of the results must know.
    """

    config: PropertiesConfig
    corpus: Corpus
    models: list[SpeechModel]
    asked: int
    twins: dict[str, str]
    stack: list[StackLayer]
    properties: list[Property]
    left_out: list[LeftOut]
    samples: list[SamplePlan]
    folds: list[int]
    groups: list[str]
    shards: list[Shard]
    batch_s: float
    device: str
    identity: str
    pass_flops: float
    notices: list[str]


def prepare(config: PropertiesConfig, out: Path, *, afresh: bool = False) -> Prepared:
    """Load, check and plan; nothing is computed and nothing written.

    Args:
        config: the settings.
        out: output folder (its disk is what the samples may use).
        afresh: what an unfinished run left in ``out`` will be deleted; plan without it.

    Raises:
        VoxstrataError: anything in the settings, corpus or models is wrong; no property can run.
    """
    away_of(config)  # a wrong --cluster is told before anything is read
    for name in config.properties:
        if name != "all":
            make_property(name)  # an unknown name is told before anything is read
    for spec in config.models:
        find_family(parse(spec))
    if config.max_s is not None and config.max_s <= config.min_s:
        raise UsageError(
            "no phone or word can be longer than the shortest and shorter than the longest",
            got=f"at least {config.min_s:g} s and at most {config.max_s:g} s",
            expected="--min-seconds below --max-seconds",
        )
    files = _files(config)
    corpus = load_corpus(config.corpus, on_error=config.on_error)
    if config.limit is not None and config.limit < len(corpus):
        corpus = corpus.subset(utterances=config.limit, seed=config.seed)
    properties, left_out = _properties(config, corpus)
    groups = groups_of(corpus, config.group)
    folds = fold_recordings(corpus, groups, config.folds, config.seed)
    device = choose_device(config.device)
    models = [load_model(spec, device=device, dtype=config.dtype) for spec in config.models]
    twins, without_twin = (
        add_twins(models, device=device, dtype=config.dtype) if config.twins else ({}, [])
    )
    asked = len(models)
    named = {model.spec for model in models}
    for helper in dict.fromkeys(h for p in properties for h in p.helpers(config)):
        if helper not in named:
            models.append(load_model(helper, device=device))
    stack = _stack(models, asked, config, properties)
    samples = plan_samples(stack, asked, properties, config)
    kinds = {sample.kind for sample in samples}
    left_out += [
        LeftOut(one.name, f"no chosen layer has rows of the unit {one.unit!r}")
        for one in properties
        if one.unit not in kinds
    ]
    properties = [one for one in properties if one.unit in kinds]
    shards = order_of_work(corpus.utterances, config.seed, group=config.group)
    for sample in samples:
        sample.unit.prepare(corpus.utterances, config.seed)
    samples = [
        sample.sized(
            sum(
                expected_rows(sample.unit, corpus, models, [stack[i] for i in sample.layers], folds)
            ),
            [stack[i].width for i in sample.layers],
        )
        for sample in samples
    ]
    _enough_disk(samples, config, out, afresh)
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.model_dump(mode="json", exclude={"disk_gib", "keep_store", "cluster"}),
            "corpus": corpus.fingerprint,
            "models": [model.fingerprint for model in models],
            "files": [sha256_file(Path(path)) for path in files],
            "folds": folds,
            "shards": [shard.members for shard in shards],
        }
    )
    seconds = sum(utterance.duration_s for utterance in corpus.utterances)
    trained_for = set(twins.values())
    shown = [model for model in models[:asked] if model.spec not in trained_for]
    notices = untrained_notice(shown) + without_twin
    if corpus.skipped:
        gone = len(corpus.skipped)
        what = "recording was" if gone == 1 else "recordings were"
        notices.append(f"{gone} {what} left out before the run.")
    if len(set(groups)) < config.folds:
        notices.append(
            f"There are only {len(set(groups))} groups ({config.group}s) for {config.folds} folds: "
            "each is a fold of its own, and intervals rest on few of them."
        )
    return Prepared(
        config=config,
        corpus=corpus,
        models=models,
        asked=asked,
        twins=twins,
        stack=stack,
        properties=properties,
        left_out=left_out,
        samples=samples,
        folds=folds,
        groups=groups,
        shards=shards,
        batch_s=batch_seconds(config.batch_s, device),
        device=device,
        identity=identity,
        pass_flops=seconds * sum(model.flops_per_second for model in models),
        notices=notices,
    )


def _files(config: PropertiesConfig) -> list[str]:
    """The user's files that numbers depend on.

    Raises:
        UsageError: one is not there.
    """
    named = {
        f"{setting} {name}": path
        for setting in ("vectors", "attributes", "tables")
        for name, path in getattr(config, setting).items()
    }
    named |= {f"wordsim {number + 1}": path for number, path in enumerate(config.wordsim)}
    if config.sentences:
        named["sentences"] = config.sentences
    for what, path in named.items():
        if not Path(path).expanduser().is_file():
            raise UsageError(
                f"the file given for {what} is not there",
                got=path,
                expected="an existing file",
                fix="check the path",
            )
    return [str(Path(path).expanduser()) for path in named.values()]


def _properties(config: PropertiesConfig, corpus: Corpus) -> tuple[list[Property], list[LeftOut]]:
    found, left_out = [], []
    for name in expand(config.properties, corpus, config):
        one = make_property(name)
        reason = one.missing(corpus, config)
        if reason:
            left_out.append(LeftOut(name, reason))
        else:
            found.append(one)
    if not found:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in left_out[:8])
        raise UsageError(
            "none of the properties can be measured here",
            got=reasons,
            expected="tiers, files or models that at least one of them needs",
            fix="`voxstrata corpora show` lists the tiers of a corpus; docs/properties.md says "
            "what each property needs",
        )
    return found, left_out


def _stack(
    models: Sequence[SpeechModel],
    asked: int,
    config: PropertiesConfig,
    properties: Sequence[Property],
) -> list[StackLayer]:
    stack = build_stack(models[:asked], config.layers)
    if config.layers is None and any(p.unit == "frame" for p in properties):
        # Acoustic curves begin at the first convolution (P2023, Figure 2).
        whole = []
        for position, model in enumerate(models[:asked]):
            local = [i for i in model.layers if i.name.startswith("conv") and not i.default]
            whole += [StackLayer(position, model.spec, info) for info in local]
            whole += [layer for layer in stack if layer.model == position]
        stack = whole
    for position, model in enumerate(models[asked:], start=asked):
        stack += [StackLayer(position, model.spec, info) for info in model.layers if info.default]
    return stack


def _enough_disk(
    samples: Sequence[SamplePlan], config: PropertiesConfig, out: Path, afresh: bool
) -> None:
    needed = sum(sample.disk_bytes for sample in samples)
    have = config.disk_gib * 2**30 if config.disk_gib is not None else free_disk(out, afresh)
    if needed > have:
        sizes = ", ".join(f"{s.name} {s.disk_bytes / 2**30:.3g} GiB" for s in samples)
        raise StorageError(
            "the samples do not fit on the disk",
            got=f"{needed / 2**30:.3g} GiB ({sizes}) against {have / 2**30:.3g} GiB",
            fix="fewer --layers, --frames, --sequence-seconds or --properties, or another --out",
        )
