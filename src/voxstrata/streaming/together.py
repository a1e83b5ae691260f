"""One pass for several jobs: what shares models and recordings is read and encoded once.

Each job's pass keeps its checkpoints in its own folder and goes on from them with the same bits.
So a shared pass only has to move these checkpoints forward side by side: shards that hold the same
recordings in the same batches are read once, each model runs once over them with all layers that
anybody asks for, and every pass feeds its own reducers and writes its own state. A job that is run
afterwards finds its pass done, or a part of it; what could not be shared it does itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from voxstrata.errors import RunInterruptedError, VoxstrataError
from voxstrata.files import fingerprint, lock, read_json, write_json
from voxstrata.models.base import SpeechModel
from voxstrata.streaming.batches import Shard
from voxstrata.streaming.fitting import model_key
from voxstrata.streaming.onepass import Pass, work_shard
from voxstrata.streaming.outputs import Forwards
from voxstrata.streaming.progress import Advance, bar
from voxstrata.streaming.runs import NOTE, PLAN, STATE, clear

Opener = Callable[[], Pass | None]
"""Does what a job does before its pass, and gives the pass; ``None`` where there is none."""

Step = tuple[int, ...]
"""Passes that move one shard forward together."""


@dataclass
class Shared:
    """What passes did together.

    Attributes:
        partners: for each pass, those that it was served with.
        shards: for each pass, shards done here.
        wall_s: for each pass, seconds in which it was served, alone or with others.
        failed: passes that could not go on, with the error.
        forwards: models run, in recordings.
    """

    partners: list[set[int]]
    shards: list[int]
    wall_s: list[float]
    failed: dict[int, VoxstrataError] = field(default_factory=dict)
    forwards: Forwards = field(default_factory=Forwards)


@dataclass(frozen=True)
class Report:
    """What a shared pass did for the jobs of some folders.

    Attributes:
        groups: folders of jobs that were served together.
        left: folders whose job makes its pass itself, or the rest of it, with the reason.
        asked: models run that the jobs would have needed alone, in recordings.
        run: models run, in recordings.
        wall_s: seconds of it all.
    """

    groups: tuple[tuple[Path, ...], ...]
    left: Mapping[Path, str]
    asked: int
    run: int
    wall_s: float

    @property
    def saved(self) -> int:
        """Models not run because another job had run them, in recordings."""
        return self.asked - self.run

    def facts(self) -> dict[str, Any]:
        """JSON-like form."""
        return {
            "groups": [[str(folder) for folder in group] for group in self.groups],
            "left": {str(folder): reason for folder, reason in self.left.items()},
            "forwards": {"asked": self.asked, "run": self.run, "saved": self.saved},
            "wall_s": round(self.wall_s, 3),
        }


def advance_together(
    openers: Sequence[tuple[Path, Opener]],
    *,
    afresh: bool = False,
    progress: bool = False,
    say: Callable[[str], None] = lambda _text: None,
) -> Report:
    """Make the passes of several jobs as one, as far as they share models and recordings.

    The jobs are run afterwards as usual (``overwrite="missing"``) and go on from here. A job whose
    pass cannot be opened, or fails, does not disturb the others: it says why when it is run.

    Args:
        openers: output folder of each job, and what opens its pass (``open_similarity`` and its
            like). Folders are locked until the end.
        afresh: delete first what folders hold ("always" would delete what is made here).
        progress: show a progress bar.
        say: shows a line.

    Raises:
        StorageError: another process holds a folder.
        RunInterruptedError: Ctrl-C; the last checkpoints stand.
    """
    begun = time.perf_counter()
    left: dict[Path, str] = {}
    folders: list[Path] = []
    passes: list[Pass] = []
    known: dict[tuple[str, ...], SpeechModel] = {}
    with ExitStack() as held:
        for folder, opener in openers:
            held.enter_context(lock(folder))
            if afresh:
                clear(folder)
            resumed = (folder / STATE / PLAN).exists()
            try:
                one = opener()
                if one is not None:
                    one.begin()
            except VoxstrataError as error:
                left[folder] = error.what
                continue
            if one is None:
                left[folder] = "it has no pass to share"
                continue
            assert one.state is not None  # without one, what is done here would be lost
            _unite(one, known)
            _note(folder, resumed=resumed)
            folders.append(folder)
            passes.append(one)
        steps, groups = plan_steps(passes), _away(passes)
        shared = {number for members in (*steps, *groups) for number in members}
        for number, one in enumerate(passes):
            if number not in shared:
                one.models = ()  # loaded for nothing; their memory is worth more to the others
        done = _nothing(passes)
        total = _seconds(passes, steps) + sum(_left(passes[group[0]]) for group in groups)
        with bar("models, for several jobs", total, "s of speech", show=progress) as advance:
            ended = False
            try:
                for group in groups:
                    _spread(passes, group, done, advance, say)
                _work(passes, steps, done, advance)
                ended = True
            finally:
                for number, folder in enumerate(folders):
                    partners = [folders[other].name for other in done.partners[number]]
                    _close(folder, passes[number], done, number, partners, ended=ended)
    for number, folder in enumerate(folders):
        if number in done.failed:
            left[folder] = done.failed[number].what
        elif not done.partners[number]:
            left[folder] = "no other pass has the same models and recordings left to do"
        elif passes[number].done < len(passes[number].shards):
            missing = len(passes[number].shards) - passes[number].done
            left[folder] = f"{missing} of its shards are nobody else's"
    report = Report(
        tuple(tuple(folders[i] for i in group) for group in _groups(done.partners)),
        left,
        done.forwards.asked,
        done.forwards.run,
        time.perf_counter() - begun,
    )
    if report.groups:
        names = "; ".join(" + ".join(folder.name for folder in g) for g in report.groups)
        share = report.saved / max(1, report.asked)
        say(f"One pass for {names}: {share:.0%} of the models' work saved.")
    return report


def run_together(passes: Sequence[Pass], advance: Advance = lambda _amount: None) -> Shared:
    """Move passes forward side by side, as far as they share shards.

    Args:
        passes: none of them begun; each keeps its own state.
        advance: called with seconds of audio as they are done.

    Raises:
        RunInterruptedError: Ctrl-C; the last checkpoints stand.
        StorageError: a state cannot be read.
    """
    for one in passes:
        one.begin()
    done = _nothing(passes)
    _work(passes, plan_steps(passes), done, advance)
    return done


def _nothing(passes: Sequence[Pass]) -> Shared:
    return Shared([set() for _ in passes], [0] * len(passes), [0.0] * len(passes))


def _left(one: Pass) -> float:
    """Audio that a pass still has before it."""
    return sum(one.seconds(shard) for shard in one.shards[one.done :])


def _away(passes: Sequence[Pass]) -> list[list[int]]:
    """Passes that are to be made on one cluster, and have all that is left of them in common.

    On a cluster passes are cut alike, so that those which share only a part are made one by one.
    """
    families = _families(passes)
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(passes):
        if one.away is not None and one.done < len(one.shards):
            keys = _contents(one, families[number])
            mark = fingerprint(
                [one.away.cluster, one.away.device, one.away.batch_s, one.done, keys]
            )
            groups.setdefault(mark, []).append(number)
    return [group for group in groups.values() if len(group) > 1]


def _spread(
    passes: Sequence[Pass],
    group: Sequence[int],
    done: Shared,
    advance: Advance,
    say: Callable[[str], None],
) -> None:
    """Make passes as one on their cluster; where that fails each job tries it by itself."""
    from voxstrata.streaming.cluster.spread import spread

    members = [passes[number] for number in group]
    away = members[0].away
    assert away is not None
    first, begun = members[0].done, time.perf_counter()
    try:
        spread(members, away, advance, say)
    except RunInterruptedError:
        raise
    except VoxstrataError as error:
        for number in group:
            done.failed[number] = error
    for number in group:
        one = passes[number]
        done.shards[number] = one.done - first
        done.wall_s[number] += time.perf_counter() - begun
        if number not in done.failed:
            done.partners[number] |= {i for i in group if i != number}
    if group[0] not in done.failed:
        distinct = {model_key(model) for one in members for model in one.models}
        recordings = members[0].report.recordings
        done.forwards.asked += recordings * sum(len(one.models) for one in members)
        done.forwards.run += recordings * len(distinct)


def _seconds(passes: Sequence[Pass], steps: Sequence[Step]) -> float:
    """Audio that is read in some steps."""
    place = [one.done for one in passes]
    total = 0.0
    for step in steps:
        total += passes[step[0]].seconds(passes[step[0]].shards[place[step[0]]])
        for number in step:
            place[number] += 1
    return total


def _work(passes: Sequence[Pass], steps: Sequence[Step], done: Shared, advance: Advance) -> None:
    def failed(one: Pass, error: VoxstrataError) -> None:
        done.failed[next(i for i, other in enumerate(passes) if other is one)] = error

    first = [one.done for one in passes]
    try:
        for step in steps:
            live = [number for number in step if number not in done.failed]
            if not live:
                continue
            begun = time.perf_counter()
            work_shard(
                [passes[number] for number in live],
                _shards(passes, live),
                advance,
                forwards=done.forwards,
                failed=failed,
            )
            spent = time.perf_counter() - begun
            for number in live:
                done.wall_s[number] += spent
                if number not in done.failed:
                    done.partners[number] |= {i for i in live if i != number}
        for number, one in enumerate(passes):
            if number not in done.failed:
                one.keep()  # a pass of rare checkpoints would else lose its last shards
    except KeyboardInterrupt:
        raise RunInterruptedError(
            "stopped by Ctrl-C",
            got=", ".join(f"{one.done} of {len(one.shards)} shards done" for one in passes),
            fix="run the same command again: it goes on from the last checkpoints",
        ) from None
    finally:
        for number, one in enumerate(passes):
            done.shards[number] += one.done - first[number]


def plan_steps(passes: Sequence[Pass]) -> list[Step]:
    """Which passes move forward together, step by step, from where each stands.

    Passes that are behind catch up alone where they meet others later; a pass ends here when
    nothing that is left of it is anybody else's.

    Args:
        passes: begun.
    """
    ahead = [_keys(one, group) for one, group in zip(passes, _families(passes), strict=True)]
    holders: dict[str, set[int]] = {}
    for number, keys in enumerate(ahead):
        for key in keys:
            holders.setdefault(key, set()).add(number)
    place = [0] * len(passes)
    common = [sum(len(holders[key]) > 1 for key in keys) for keys in ahead]
    steps: list[Step] = []
    while any(common):
        meeting: dict[str, list[int]] = {}
        for number, keys in enumerate(ahead):
            if common[number]:
                meeting.setdefault(keys[place[number]], []).append(number)
        # A shard that somebody will come to later waits for him, if anything else can be done.
        key = min(
            meeting,
            key=lambda k: (len(holders[k]) > len(meeting[k]), -len(meeting[k]), meeting[k][0]),
        )
        now = meeting[key]
        steps.append(tuple(now))
        shared, rest = len(holders[key]) > 1, holders.pop(key) - set(now)
        for number in now:
            place[number] += 1
            common[number] -= shared
        if rest:
            holders[key] = rest
        if shared and len(rest) == 1:
            common[next(iter(rest))] -= 1
    return steps


def _families(passes: Sequence[Pass]) -> list[int]:
    """Number of the family of each pass: those of one family have models in common, directly or
    through others of it. Without a model in common there is nothing to save but reading."""
    families: list[tuple[set[int], set[tuple[str, str]]]] = []
    for number, one in enumerate(passes):
        members, models = {number}, {model_key(model) for model in one.models}
        apart = []
        for family in families:
            if family[1] & models:
                members, models = members | family[0], models | family[1]
            else:
                apart.append(family)
        families = [*apart, (members, models)]
    at = {number: i for i, (members, _) in enumerate(families) for number in members}
    # Without a source nothing tells recordings of one name apart: such a pass is its own family.
    return [at[number] if one.source else -1 - number for number, one in enumerate(passes)]


def _keys(one: Pass, family: int) -> list[str]:
    """:func:`_contents` of a pass that is made here; those made on a cluster are no part of it."""
    return _contents(one, family) if one.away is None else []


def _contents(one: Pass, family: int) -> list[str]:
    """What each shard that is left must have in common with one of another pass: the family, the
    corpus, and the recordings, in the same batches (what else is in a batch may change bits)."""
    keys = []
    for shard in one.shards[one.done :]:
        batches = [[[u.id, u.duration_s] for u in batch] for batch in one.batches(shard)]
        keys.append(fingerprint([family, one.source, batches]))
    return keys


def _shards(passes: Sequence[Pass], step: Sequence[int]) -> list[Shard]:
    return [passes[number].shards[passes[number].done] for number in step]


def _unite(one: Pass, known: dict[tuple[str, ...], SpeechModel]) -> None:
    """Use models that another pass has loaded, so that none is held twice."""
    one.models = [known.setdefault((*model_key(m), m.spec), m) for m in one.models]


def _groups(partners: Sequence[set[int]]) -> list[list[int]]:
    """Passes that were served together, directly or through others."""
    groups: list[set[int]] = []
    for number, others in enumerate(partners):
        if others:
            mine = {number} | others
            apart = [group for group in groups if not group & mine]
            groups = [*apart, mine.union(*(group for group in groups if group & mine))]
    return [sorted(group) for group in groups]


def _note(folder: Path, *, resumed: bool) -> None:
    """Say in a run's folder that its pass is about to be shared."""
    path = folder / STATE / NOTE
    served = read_json(path)["served"] if path.exists() else {}
    write_json(path, {"resumed": resumed, "ended": False, "taken": False, "served": served})


def _close(
    folder: Path, one: Pass, done: Shared, number: int, partners: list[str], *, ended: bool
) -> None:
    """Say in a run's folder what its pass was given here, on top of earlier sittings."""
    path = folder / STATE / NOTE
    note = read_json(path)
    before = note["served"]
    served = before
    if done.shards[number]:
        clock = dict(before.get("clock_s", {}))
        for name, spent in one.clock.spent.items():
            clock[name] = round(clock.get(name, 0.0) + spent, 3)
        served = {
            "with": sorted({*before.get("with", []), *partners}),
            "shards": before.get("shards", 0) + done.shards[number],
            "of_shards": len(one.shards),
            "wall_s": round(before.get("wall_s", 0.0) + done.wall_s[number], 3),
            "share_s": round(sum(clock.values()), 3),
            "clock_s": clock,
        }
    write_json(path, note | {"ended": ended, "served": served})
