"""Everything a probing run needs before work starts, checked and planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import voxstrata
from voxstrata.corpora import Corpus
from voxstrata.errors import (
    LabelError,
    StorageError,
    UnknownNameError,
    UsageError,
    VoxstrataError,
)
from voxstrata.files import fingerprint
from voxstrata.models import load_model
from voxstrata.models.base import SpeechModel, choose_layers
from voxstrata.models.twins import add_twins
from voxstrata.probing.frames import frame_bytes
from voxstrata.probing.kinds.kind import KINDS
from voxstrata.probing.lm import WordReader, reads_words
from voxstrata.probing.registry import described, digests, get_tasks
from voxstrata.probing.settings import ProbeConfig, ProtocolConfig, read_protocol
from voxstrata.probing.sources import Library, TaskSource, read_map
from voxstrata.probing.task import Task, TaskData
from voxstrata.registry import unknown_name
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.setup import (
    LeftOut,
    away_of,
    batch_seconds,
    choose_device,
    free_disk,
    order_of_work,
    untrained_notice,
)
from voxstrata.streaming.stack import StackLayer, build_stack
from voxstrata.types import Utterance

PLAIN = ("baseline", "acoustic")
"""Families of models in which nothing is trained."""


@dataclass(frozen=True)
class Asked:
    """A task with what it made of its corpus.

    Attributes:
        task: which.
        data: its examples.
        corpora: corpus specs by part.
    """

    task: Task
    data: TaskData
    corpora: Mapping[str, str]


@dataclass(frozen=True)
class Prepared:
    """A checked and planned run.

    Attributes:
        config: its settings.
        protocol: grid and constants.
        models: those asked for, the baseline, and twins (last).
        twins: trained model to its untrained twin.
        plain: models without anything trained in them (log-mel, MFCC, ...).
        stack: chosen layers of all models.
        asked: the tasks.
        left_out: what was asked for and cannot be.
        corpora: every corpus, by spec.
        utterances: every recording that some task needs, once.
        shards: order of work.
        batch_s: seconds of audio a batch.
        device: where models run.
        identity: digest of all that numbers depend on.
        frame_ids: recordings whose frames some task needs.
        frame_bytes: of these frames, in ``disk_bytes`` too.
        disk_bytes: of the features.
        live: frames are made when they are needed, not kept on disk.
        subsets: positions of layers by label, for each model.
        pass_flops: operations of the models.
        notices: what the reader of the results must know.
        reader: reads words with a language model, where one is asked for.
    """

    config: ProbeConfig
    protocol: ProtocolConfig
    models: list[SpeechModel]
    twins: dict[str, str]
    plain: tuple[str, ...]
    stack: list[StackLayer]
    asked: list[Asked]
    left_out: list[LeftOut]
    corpora: Mapping[str, Corpus]
    utterances: tuple[Utterance, ...]
    shards: list[Shard]
    batch_s: float
    device: str
    identity: str
    frame_ids: frozenset[str]
    frame_bytes: float
    disk_bytes: float
    live: bool
    subsets: list[dict[str, tuple[int, ...]]]
    pass_flops: float
    notices: list[str]
    reader: WordReader | None = None


def prepare(config: ProbeConfig, out: Path, *, afresh: bool = False) -> Prepared:
    """Load, check and plan; nothing is computed and nothing written.

    Args:
        config: the settings.
        out: output folder (its disk is what the features may use).
        afresh: what an unfinished run left in ``out`` will be deleted; plan without it.

    Raises:
        VoxstrataError: anything in the settings, corpora or models is wrong; no task can run.
    """
    away_of(config)  # a wrong --cluster is told before anything is read
    protocol = _protocol(config)
    tasks = get_tasks(config.tasks)
    names = [task.name for task in tasks]
    if config.corpus_map is not None:
        sources = read_map(config.corpus_map, names)
    else:
        sources = dict.fromkeys(names, TaskSource(corpus=config.corpus))
    library = Library(config.limit)
    asked, left_out, held = _tasks(tasks, sources, library, config)
    reader, unheard = _reader(config, asked)
    device = choose_device(config.device)
    specs = list(config.models)
    if config.baseline and config.baseline not in specs:
        specs.append(config.baseline)
    models = [load_model(spec, device=device, dtype=config.dtype) for spec in specs]
    twins, without = (
        add_twins(models, device=device, dtype=config.dtype) if config.twins else ({}, [])
    )
    stack = build_stack(models, config.layers)
    utterances = _in_order(held, library)
    frame_ids = frozenset(
        name for one in asked if KINDS.get(one.task.head).ON_FRAMES for name in one.data.ids
    )
    frames = frame_bytes(utterances, frame_ids, models, stack)
    means = 4.0 * len(utterances) * sum(layer.width for layer in stack)
    disk, have = frames + means, free_disk(out, afresh)
    live = config.frames == "live" or (config.frames == "auto" and disk > have)
    slow = []
    if live and frames:
        disk, rerun = means, frames / 2**30
        if config.frames == "auto":
            slow = [
                f"All frames are {rerun:.3g} GiB, more than the disk has room for: models run "
                "again whenever heads need frames, which is slow (--frames)."
            ]
    if disk > have:
        raise StorageError(
            "the features do not fit on the disk",
            got=f"{disk / 2**30:.3g} GiB, {frames / 2**30:.3g} GiB of it all frames of "
            f"{len(frame_ids)} recordings",
            expected=f"at most {have / 2**30:.3g} GiB, what is free less a reserve",
            fix="fewer --layers or --tasks (those with classes need means alone), another --out, "
            "or --frames live, which runs the models again for every batch",
        )
    shards = order_of_work(utterances, config.seed)
    identity = fingerprint(
        {
            "version": voxstrata.__version__,
            "config": config.model_dump(mode="json", exclude={"keep_store", "cluster"}),
            "protocol": protocol.model_dump(mode="json"),
            "language model": reader.digests if reader else {},
            "corpora": {spec: corpus.fingerprint for spec, corpus in library.opened.items()},
            "models": [model.fingerprint for model in models],
            "files": digests(config.tasks),
            "shards": [shard.members for shard in shards],
            "tasks": {
                one.task.name: [
                    described(one.task),
                    one.data.classes,
                    [
                        [r.name, {p: e.described() for p, e in r.parts.items()}]
                        for r in one.data.rounds
                    ],
                ]
                for one in asked
            },
        }
    )
    seconds = sum(utterance.duration_s for utterance in utterances)
    trained_for = set(twins.values())
    shown = [model for model in models if model.spec not in trained_for]
    return Prepared(
        config=config,
        protocol=protocol,
        models=models,
        twins=twins,
        plain=tuple(model.spec for model in models if model.family in PLAIN),
        stack=stack,
        asked=asked,
        left_out=left_out,
        corpora=library.opened,
        utterances=utterances,
        shards=shards,
        batch_s=batch_seconds(config.batch_s, device),
        device=device,
        identity=identity,
        frame_ids=frame_ids,
        frame_bytes=frames,
        disk_bytes=disk,
        live=live,
        subsets=_subsets(config, models, stack),
        pass_flops=seconds * sum(model.flops_per_second for model in models),
        notices=untrained_notice(shown) + without + slow + unheard,
        reader=reader,
    )


def _in_order(held: Mapping[str, Utterance], library: Library) -> tuple[Utterance, ...]:
    """What tasks need in the order of the corpora, as other jobs over them have it; recordings that
    have another name here come last."""
    listed = (u.id for corpus in library.opened.values() for u in corpus.utterances)
    names = dict.fromkeys(name for name in listed if name in held)
    return tuple(held[name] for name in [*names, *(n for n in held if n not in names)])


def _reader(config: ProbeConfig, asked: Sequence[Asked]) -> tuple[WordReader | None, list[str]]:
    """The language model that is asked for, and what its words are not.

    Raises:
        UsageError: one is asked for, and no task writes words.
        MissingDependencyError, ConfigError: see :class:`voxstrata.probing.lm.WordReader`.
    """
    if config.lm is None:
        return None, []
    mine = [one for one in asked if reads_words(one.task)]
    if not mine:
        raise UsageError(
            "no task of this run writes words that a language model can read",
            got=", ".join(one.task.name for one in asked),
            expected="asr, or a task of your own with `writes: characters` and `head: recurrent`",
            fix="leave out --lm, or name such a task in --tasks",
        )
    reader = WordReader(config.lm)
    notices = []
    for one in mine:
        missing, every = reader.unheard(one.data)
        if missing:
            notices.append(
                f"{one.task.title}: {missing} of {every} different test words are not in the "
                "lexicon of the language model, which cannot get them right."
            )
    return reader, notices


def _subsets(
    config: ProbeConfig, models: Sequence[SpeechModel], stack: Sequence[StackLayer]
) -> list[dict[str, tuple[int, ...]]]:
    """For each model, positions (among its layers) of the subsets that it has.

    Raises:
        UnknownNameError: a subset names a layer that no model has.
        UsageError: a subset is of fewer than two layers in every model.
    """
    found: list[dict[str, tuple[int, ...]]] = [{} for _ in models]
    for label in config.subsets:
        wanted, known = [item.strip() for item in label.split("+")], False
        for number, model in enumerate(models):
            try:
                chosen = {info.name for info in choose_layers(model, wanted)}
            except UnknownNameError:
                continue
            mine = [layer.info.name for layer in stack if layer.model == number]
            absent = sorted(chosen - set(mine))
            if absent:
                raise UsageError(
                    f"the subset {label!r} names layers that --layers leaves out",
                    got=", ".join(absent),
                    expected=f"layers among {', '.join(mine)}",
                )
            places = tuple(i for i, name in enumerate(mine) if name in chosen)
            known = True
            if places in found[number].values():
                raise UsageError(f"two subsets are the same layers of {model.spec}", got=label)
            if 2 <= len(places) < len(mine):
                found[number][label] = places
        if not known:
            names = sorted({info.name for model in models for info in model.layers})
            raise unknown_name("layer of any model of this run, in --subsets", label, names)
        if not any(label in mine for mine in found):
            raise UsageError(
                f"the subset {label!r} is no sum of some layers",
                got="fewer than two layers, or all, in every model",
                expected='layers with "+" between, or a range: 9-12',
            )
    return found


def _protocol(config: ProbeConfig) -> ProtocolConfig:
    """The protocol with what the settings put in its place."""
    protocol = read_protocol(config.protocol)
    changed: dict[str, object] = {}
    of_tasks: dict[str, object] = {}
    if config.lrs is not None:
        changed["lrs"], of_tasks["lrs"] = config.lrs, None
    if config.seeds is not None:
        changed["seeds"], of_tasks["seeds"] = config.seeds, None
    if config.steps is not None:
        of_tasks["steps"] = config.steps
    if config.selection is not None:
        changed["selection"] = config.selection
    changed["default"] = protocol.default.model_copy(update=of_tasks)
    changed["tasks"] = {n: p.model_copy(update=of_tasks) for n, p in protocol.tasks.items()}
    return protocol.model_copy(update=changed)


def _tasks(
    tasks: Sequence[Task],
    sources: Mapping[str, TaskSource],
    library: Library,
    config: ProbeConfig,
) -> tuple[list[Asked], list[LeftOut], dict[str, Utterance]]:
    """Each task's examples; a task whose corpus lacks what it needs is left out with the reason."""
    asked: list[Asked] = []
    left_out: list[LeftOut] = []
    held: dict[str, Utterance] = {}
    for task in tasks:
        material = library.material(sources[task.name])
        try:
            data = task.data(material, config.seed)
        except (LabelError, UsageError) as error:
            left_out.append(LeftOut(task.name, reason_of(error)))
            continue
        needed = set(data.ids)
        for part in material.parts.values():
            held |= {u.id: u for u in part if u.id in needed and u.id not in held}
        asked.append(Asked(task, data, sources[task.name].specs))
    if not asked:
        raise UsageError(
            "none of the tasks can be done here",
            got="; ".join(f"{item.name}: {item.reason}" for item in left_out[:8]),
            expected="tiers that at least one of them needs",
            fix="`voxstrata corpora show` lists the tiers of a corpus, `voxstrata probe --list` "
            "what each task needs",
        )
    return asked, left_out, held


def reason_of(error: VoxstrataError) -> str:
    """An error in a line."""
    said = [error.what]
    if error.got is not None:
        said.append(f"found {error.got}")
    if error.expected is not None:
        said.append(f"expected {error.expected}")
    return "; ".join(said)
