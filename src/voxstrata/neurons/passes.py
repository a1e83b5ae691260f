"""The passes of a neurons run: a sample of frames where something must be learned, then counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from voxstrata.files import atomic_write, write_json
from voxstrata.models.card import write_tensors
from voxstrata.neurons.analysed import Analysed
from voxstrata.neurons.conditions.parse import frame_conditions, learners
from voxstrata.neurons.counting import CountReducer, FrameLabels
from voxstrata.neurons.counts import Ints, UnitCounts
from voxstrata.neurons.meeting import Meeting, MeetReducer
from voxstrata.neurons.prepare import Prepared
from voxstrata.neurons.rules import Rule
from voxstrata.neurons.sample import SampleReducer
from voxstrata.streaming import sealed
from voxstrata.streaming.cluster.run import run_pass
from voxstrata.streaming.onepass import Pass, PassReport, Sink
from voxstrata.streaming.progress import bar
from voxstrata.streaming.reducers import Reducer
from voxstrata.streaming.runs import STATE, STORE, Hooks
from voxstrata.streaming.setup import away_of
from voxstrata.streaming.stack import StackLayer
from voxstrata.streaming.store import RowStore, StoreReducer
from voxstrata.streaming.unit_frame import FrameUnit, UtteranceUnit
from voxstrata.sums import DamagedError, read_sealed_json, write_sealed_json

LEARNED = "learned"
"""Folder, in the output folder, of what was learned from samples: centres, bounds, thresholds."""

ANEW = f"delete the folder {LEARNED} there and run the same command again"

CLUSTERED, RULED = "sample", "activations"
"""Samples of frames: for conditions, and of all neurons for the rule."""


@dataclass(frozen=True)
class Counted:
    """What the passes left.

    Attributes:
        counts: for each model, counts by frame condition.
        under: for each model, the same under other rules, by the rule's name.
        meetings: for each model and meeting of labels, frames [P, A, B].
        means: mean activations by recording of every neuron layer; ``None`` if not asked for.
        report: of the counting pass.
    """

    counts: list[dict[str, UnitCounts]]
    under: list[dict[str, dict[str, UnitCounts]]]
    meetings: list[list[Ints]]
    means: RowStore | None
    report: PassReport


def learned(prepared: Prepared, folder: Path) -> bool:
    """Whether nothing must be learned before frames are counted, or has been in this folder."""
    parts = [part for one in prepared.analysed for part in learners(one.conditions)]
    if not parts and not any(one.rule.sampled for one in prepared.analysed):
        return True
    done = folder / LEARNED / "learned.json"
    return done.exists() and read_sealed_json(done, ANEW).get("identity") == prepared.identity


def count(prepared: Prepared, folder: Path, hooks: Hooks[Prepared]) -> Counted:
    """Learn what conditions and rules must learn, then count.

    Raises:
        VoxstrataError: as the pass and the conditions raise.
    """
    _learn(prepared, prepared.stack(), folder, hooks)
    work = _counting(prepared, folder)
    report = _run(work, hooks, "counting")
    ended = {sink.name: sink.reducer.finish() for sink in work.sinks}
    numbers = range(len(prepared.analysed))
    return Counted(
        [ended[f"counts-{number}"] for number in numbers],
        [
            {
                rule.name: ended[_counts_name(number, one, rule)]
                for rule, _ in _rules(one)
                if rule is not one.rule
            }
            for number, one in enumerate(prepared.analysed)
        ],
        [ended.get(f"meetings-{number}", []) for number in numbers],
        ended.get("means"),
        report,
    )


def counting(prepared: Prepared, folder: Path, hooks: Hooks[Prepared]) -> Pass:
    """The pass that counts, where all that must be learned has been (:func:`learned`)."""
    _learn(prepared, prepared.stack(), folder, hooks)
    return _counting(prepared, folder)


def _counting(prepared: Prepared, folder: Path) -> Pass:
    stack = prepared.stack()
    at = {layer.key: i for i, layer in enumerate(stack)}
    sinks = []
    for number, one in enumerate(prepared.analysed):
        neurons = [at[f"{one.model.spec}/{info.name}"] for info in one.neurons]
        extra = list(dict.fromkeys(at[key] for c in one.conditions for key in c.layers))
        places = [*neurons, *(i for i in extra if i not in neurons)]
        for rule, conditions in _rules(one):
            reducer: Reducer = CountReducer(
                [info.name for info in one.neurons],
                [info.width for info in one.neurons],
                conditions,
                [[places.index(at[key]) for key in c.layers] for c in conditions],
                prepared.unit_of,
                prepared.units,
                rule,
            )
            sinks.append(Sink(FrameUnit(), tuple(places), reducer, _counts_name(number, one, rule)))
        seen = dict.fromkeys(at[key] for pair in one.meetings for c in pair for key in c.layers)
        if one.meetings:
            mine = list(seen)
            meetings = [
                Meeting(
                    a,
                    b,
                    tuple(mine.index(at[key]) for key in a.layers),
                    tuple(mine.index(at[key]) for key in b.layers),
                )
                for a, b in one.meetings
            ]
            meet = MeetReducer(meetings, prepared.unit_of, len(prepared.units))
            sinks.append(Sink(FrameUnit(), tuple(mine), meet, f"meetings-{number}"))
    if prepared.config.rankings:
        every = tuple(
            at[f"{one.model.spec}/{info.name}"] for one in prepared.analysed for info in one.neurons
        )
        unit = UtteranceUnit()
        meta = {"unit": unit.describe(), "identity": prepared.identity}
        means = StoreReducer(folder / STORE / "means", [stack[i] for i in every], meta=meta)
        sinks.append(Sink(unit, every, means, "means"))
    return _pass(prepared, stack, sinks, folder / STATE / "count")


def _rules(one: Analysed) -> list[tuple[Rule, list[FrameLabels]]]:
    """The rule asked for, with all conditions, and others that are tried."""
    others = {v.rule.name: v.rule for v in one.variants if v.rule is not one.rule}
    asked = frame_conditions(one.contrasts)
    return [(one.rule, one.conditions), *((rule, asked) for rule in others.values())]


def _counts_name(number: int, one: Analysed, rule: Rule) -> str:
    """Name of a model's counts under a rule, of its state file too."""
    return f"counts-{number}" + ("" if rule is one.rule else f"-{rule.name}")


def _pass(
    prepared: Prepared,
    stack: list[StackLayer],
    sinks: list[Sink],
    state: Path,
) -> Pass:
    # Counts grow with the corpus: some ten checkpoints a pass, whatever its length.
    return Pass(
        prepared.corpus.utterances,
        prepared.models,
        stack,
        sinks,
        prepared.shards,
        batch_s=prepared.batch_s,
        on_error=prepared.config.on_error,
        state=state,
        identity=prepared.identity,
        every=max(1, len(prepared.shards) // 10),
        folds=[0] * len(prepared.corpus),
        source=prepared.corpus.fingerprint,
        away=away_of(prepared.config),
        task_shards=max(1, len(prepared.shards) // 256),
    )


def _run(work: Pass, hooks: Hooks[Prepared], title: str) -> PassReport:
    seconds = sum(utterance.duration_s for utterance in work.utterances)
    with bar(title, seconds, "s of speech", show=hooks.progress) as advance:
        return run_pass(work, advance, hooks.say)


def _learn(
    prepared: Prepared, stack: list[StackLayer], folder: Path, hooks: Hooks[Prepared]
) -> None:
    """Fit what must see frames first; what an earlier sitting fitted is taken."""
    parts = [(one, part) for one in prepared.analysed for part in learners(one.conditions)]
    sampled = [one for one in prepared.analysed if one.rule.sampled]
    if not parts and not sampled:
        return
    place = folder / LEARNED
    names = {id(part): _file(one, part.name) for one, part in parts}
    done = place / "learned.json"
    if (
        done.exists()
        and (kept := read_sealed_json(done, ANEW)).get("identity") == prepared.identity
    ):
        for _, part in parts:
            name = names[id(part)]
            part.restore(_learned(place / f"{name}.safetensors"), kept["facts"][name])
        for one in sampled:
            one.rule.restore(_learned(place / f"{_file(one, one.rule.name)}.safetensors"))
        return
    found = _sample(prepared, stack, folder, hooks)
    facts, tensors = {}, {}
    fitted = set()
    with bar("fitting", len(parts), "conditions", show=hooks.progress) as advance:
        for number, one in enumerate(prepared.analysed):
            for part in learners(one.conditions):
                if id(part) not in fitted:
                    part.learn([found[number, CLUSTERED][key] for key in part.layers])
                    fitted.add(id(part))
                    name = names[id(part)]
                    facts[name], tensors[name] = part.facts, part.tensors()
                advance(1)
            if one.rule.sampled:
                rows = found.pop((number, RULED))
                for info in one.neurons:
                    one.rule.learn(info.name, rows.pop(f"{one.model.spec}/{info.name}"))
                tensors[_file(one, one.rule.name)] = dict(one.rule.learned())
    for name, held in tensors.items():
        with atomic_write(place / f"{name}.safetensors") as file:
            sealed.write_tensors(file, held)
    write_sealed_json(done, {"identity": prepared.identity, "facts": facts})


def _learned(path: Path) -> dict[str, torch.Tensor]:
    try:
        return sealed.read_tensors(path)[0]
    except (DamagedError, OSError) as error:
        raise sealed.damaged(f"what was fitted, {path},", error, ANEW) from None


def _sample(
    prepared: Prepared, stack: list[StackLayer], folder: Path, hooks: Hooks[Prepared]
) -> dict[tuple[int, str], dict[str, Any]]:
    """Frames of the layers that conditions and rules learn from, by model and purpose.

    Layers of different models may have different grids: each model samples by itself, with the
    helpers that its conditions read. Rules read all neurons, so they get fewer frames.
    """
    config = prepared.config
    purposes, sinks = [], []
    for number, one in enumerate(prepared.analysed):
        clustered = {key for part in learners(one.conditions) for key in part.layers}
        ruled = {f"{one.model.spec}/{info.name}" for info in one.neurons if one.rule.sampled}
        for purpose, keys, most in (
            (CLUSTERED, clustered, config.cluster_frames),
            (RULED, ruled, config.quantile_frames),
        ):
            mine = [i for i, layer in enumerate(stack) if layer.key in keys]
            if mine:
                share = most / _frames(prepared, stack, mine)
                reducer = SampleReducer([stack[i].key for i in mine], share, config.seed)
                sinks.append(Sink(FrameUnit(), tuple(mine), reducer, f"{purpose}-{number}"))
                purposes.append((number, purpose))
    _run(_pass(prepared, stack, sinks, folder / STATE / "sample"), hooks, "sampling")
    return {purpose: sink.reducer.finish() for purpose, sink in zip(purposes, sinks, strict=True)}


def _frames(prepared: Prepared, stack: list[StackLayer], places: list[int]) -> float:
    grids = [stack[i].info.grid for i in places]
    slowest = min(grid.rate_hz for grid in grids if grid is not None)
    return max(1.0, prepared.corpus.seconds * slowest)


def _file(one: Analysed, name: str) -> str:
    import re

    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{one.model.spec}-{name}").strip("-.")


def save_counts(counts: Mapping[str, UnitCounts], folder: Path) -> None:
    """Write counts, one safetensors file a frame condition, with names beside them.

    Raises:
        StorageError: a file cannot be written.
    """
    import re

    folder.mkdir(parents=True, exist_ok=True)
    for name, found in counts.items():
        stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "condition"
        tensors = {"seen": torch.from_numpy(found.seen)}
        for layer, active in found.active.items():
            tensors[f"{layer}.data"] = torch.from_numpy(active.data.astype("int32"))
            tensors[f"{layer}.indices"] = torch.from_numpy(active.indices.astype("int32"))
            tensors[f"{layer}.indptr"] = torch.from_numpy(active.indptr.astype("int64"))
        write_tensors(folder / f"{stem}.safetensors", tensors)
        write_json(
            folder / f"{stem}.json",
            {
                "condition": name,
                "rows": list(found.rows),
                "units": list(found.units),
                "layers": list(found.layers),
                "widths": {layer: found.width(layer) for layer in found.layers},
                "top": dict(found.top),
            },
        )
