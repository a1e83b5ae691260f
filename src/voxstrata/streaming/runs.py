"""A run and its output folder: what is there already, what an unfinished run left, the end.

A folder holds ``results.*`` and ``run.json`` when a run is finished (the record is written last),
and ``state/`` and ``store/`` while it is not. Every job that makes a pass runs through
:func:`run_in`, so that resuming and overwriting mean the same everywhere.
"""

from __future__ import annotations

import math
import resource
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from voxstrata.config import Config
from voxstrata.errors import ResultsError, RunInterruptedError, StorageError
from voxstrata.files import lock, read_json, storage_errors, write_json, writing_in
from voxstrata.models.base import SpeechModel
from voxstrata.results import CSV, RECORD, TABLE, Results, load_results
from voxstrata.streaming.stack import StackLayer
from voxstrata.sums import write_sealed_json

if TYPE_CHECKING:
    from voxstrata.streaming.onepass import Pass

Overwrite = Literal["always", "missing", "never", "only-cache"]

STATE, PLAN, STORE = "state", "plan.json", "store"
"""Where an unfinished run keeps its checkpoints, its plan among them, and its rows."""

DISCARD = "use another output folder, or --overwrite always to discard the unfinished run"

NOTE = "shared.json"
"""What a pass shared with other jobs left in ``state/`` for the job whose pass it was."""


class Planned(Protocol):
    """What :func:`run_in` must know of a prepared run."""

    @property
    def identity(self) -> str:
        """Digest of all that its numbers depend on."""
        ...

    @property
    def config(self) -> Config:
        """Its settings; ``keep_store`` among them."""
        ...


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True)
class Hooks(Generic[P]):
    """How a job tells its caller what it is doing.

    Attributes:
        planned: called with the prepared run before work starts.
        progress: show progress bars.
        say: shows a line.
    """

    planned: Callable[[P], None] = lambda _prepared: None
    progress: bool = False
    say: Callable[[str], None] = lambda _text: None


def run_in(
    folder: Path,
    overwrite: Overwrite,
    *,
    prepare: Callable[[], P],
    planned: Callable[[P], None],
    compute: Callable[[P], Results],
) -> Results:
    """Run a job in its output folder, or return what the folder holds.

    Args:
        folder: output folder, created and locked.
        overwrite: what to do if it holds results already: "missing" keeps them if they are of the
            same settings (and finishes an unfinished run), "always" starts afresh, "never"
            refuses, "only-cache" returns what is there and computes nothing.
        prepare: checks and plans, computes nothing.
        planned: told the plan before work starts.
        compute: does the work and writes the results.

    Raises:
        ResultsError: the folder holds results that must not be replaced.
        RunInterruptedError: Ctrl-C; the same call goes on where it stopped.
        VoxstrataError: whatever ``prepare`` and ``compute`` raise.
    """
    if overwrite == "only-cache":
        return load_results(folder)
    with lock(folder), writing_in(folder):
        # The record is written last: without it a run was killed while it wrote its results.
        finished = (folder / TABLE).exists() and (folder / RECORD).exists()
        if finished and overwrite == "never":
            raise ResultsError(
                f"{folder} holds results already",
                fix="choose another folder, or --overwrite always to replace them",
            )
        prepared = prepare()
        if finished and overwrite == "missing":
            same_run(folder, prepared)
            if (folder / STATE).exists():  # killed while it cleaned up
                clean_up(folder, prepared.config)
            return load_results(folder)
        if overwrite == "always":
            clear(folder)
        planned(prepared)
        try:
            return compute(prepared)
        except (KeyboardInterrupt, RunInterruptedError) as stop:
            command = "the same command again"
            if overwrite == "always":
                command = "the same command with --overwrite missing"
            got = getattr(stop, "got", None)  # after the pass there is nothing to say
            raise RunInterruptedError(
                "stopped by Ctrl-C",
                **({"got": got} if got else {}),
                fix=f"run {command}: it goes on from what {folder} holds",
            ) from None


def same_run(folder: Path, prepared: Planned) -> None:
    """Refuse finished results of another run.

    Raises:
        ResultsError: settings, models, corpus or version differ; those that do are named.
    """
    record = load_results(folder).record
    if record.get("identity") == prepared.identity:
        return
    then, now = record.get("config", {}), prepared.config.model_dump(mode="json")
    changed = [
        f"{name}: {then.get(name)!r} then, {value!r} now"
        for name, value in now.items()
        if then.get(name) != value
    ]
    raise ResultsError(
        f"{folder} holds results of other settings, models, corpus or version",
        got="; ".join(changed) or "the same settings, but other weights, recordings or version",
        expected="what that run was asked for",
        fix="choose another folder, or --overwrite always to replace them",
    )


def clear(folder: Path) -> None:
    """Delete results, and what an unfinished run left."""
    for name in (RECORD, TABLE, CSV):
        (folder / name).unlink(missing_ok=True)
    for name in (STATE, STORE):
        _remove(folder / name)


def _remove(folder: Path) -> None:
    """Delete a folder; what cannot be deleted is told, since it would be taken for our own."""
    if folder.exists():
        with storage_errors(folder):
            shutil.rmtree(folder)


def clean_up(folder: Path, config: Config) -> None:
    """Delete what only an unfinished run needs (rows stay if the settings say so)."""
    if not getattr(config, "keep_store", False):
        shutil.rmtree(folder / STORE, ignore_errors=True)
    shutil.rmtree(folder / STATE, ignore_errors=True)


def remember_plan(folder: Path, identity: str, plan: Any) -> bool:
    """Write down the plan, or check an unfinished run against it.

    Args:
        folder: output folder.
        identity: of the prepared run.
        plan: JSON-like.

    Returns:
        whether there is an unfinished run to go on with.

    Raises:
        StorageError: the unfinished run is another one.
    """
    path = folder / STATE / PLAN
    if not path.exists():
        # A store without a plan is of another run: its shards must not get among ours.
        _remove(folder / STORE)
        _remove(folder / STATE)
        write_sealed_json(path, {"identity": identity, "plan": plan})
        return False
    if _mapping(path).get("identity") != identity:
        raise StorageError(
            f"{folder} holds an unfinished run of other settings, models or corpus",
            fix="use another output folder, or --overwrite always to discard that run",
        )
    return True


@dataclass(frozen=True)
class Sitting:
    """How a run begins.

    Attributes:
        resumed: an earlier sitting was stopped, and this one goes on.
        shared: facts of a pass shared with other jobs that came before; empty if none did.
    """

    resumed: bool
    shared: Mapping[str, Any]

    def timed(self, seconds: float, parts: Mapping[str, float]) -> dict[str, Any]:
        """How the run began and what it took, for the record.

        A shared pass is not among ``seconds``; its share is added, so that the times of jobs that
        were served together add up to the time that went by.

        Args:
            seconds: wall time of the job itself.
            parts: the same by what it was spent on.
        """
        shared = {"shared pass": self.shared["share_s"]} if self.shared else {}
        spent = shared | {name: round(value, 3) for name, value in parts.items()}
        found = {
            "resumed": self.resumed,
            "wall_s": round(seconds + sum(shared.values()), 3),
            "wall_parts_s": spent,
        }
        return found | ({"shared_pass": dict(self.shared)} if shared else {})


def sit_down(folder: Path, identity: str, plan: Any) -> Sitting:
    """Write down the plan, or go on with an unfinished run (:func:`remember_plan`).

    A run that only a shared pass has begun is no resumed one, unless that pass resumed it or was
    stopped.

    Raises:
        StorageError: the unfinished run is another one.
    """
    begun, path = remember_plan(folder, identity, plan), folder / STATE / NOTE
    if not begun or not path.exists():
        return Sitting(begun, {})
    note = _mapping(path)
    if lacking := {"resumed", "taken", "ended", "served"} - set(note):
        raise _damaged(path, f"no {', '.join(sorted(lacking))}")
    resumed = note["resumed"] or note["taken"] or not note["ended"]
    try:
        write_json(path, note | {"taken": True})
    except ValueError as error:  # a number or character that no run writes
        raise _damaged(path, str(error)) from None
    return Sitting(bool(resumed), note["served"])


def _mapping(path: Path) -> dict[str, Any]:
    """What a run wrote down of itself.

    Raises:
        StorageError: it is missing or damaged.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise _damaged(path, type(found).__name__)
    return found


def _damaged(path: Path, got: str) -> StorageError:
    return StorageError(
        f"{path} is damaged",
        got=got,
        expected="what the run wrote",
        fix="--overwrite always discards the unfinished run",
    )


def open_in(
    folder: Path,
    *,
    prepare: Callable[[], P],
    plan: Callable[[P], Any],
    make: Callable[[P, Path], Pass],
    able: Callable[[P], bool] = lambda _prepared: True,
) -> Pass | None:
    """The pass of a job, where there is one to make: the beginning of :func:`run_in`.

    The caller holds the folder's lock (:func:`voxstrata.streaming.together.advance_together`).

    Args:
        folder: output folder.
        prepare: checks and plans.
        plan: what is remembered of a prepared run (:func:`remember_plan`).
        make: the pass of a prepared run in the folder.
        able: whether nothing has to be learned first.

    Returns:
        the pass; ``None`` where the folder holds results, or the job has no pass to be shared.

    Raises:
        VoxstrataError: whatever ``prepare`` and ``make`` raise.
    """
    if (folder / TABLE).exists() and (folder / RECORD).exists():
        return None
    prepared = prepare()
    if not able(prepared):
        return None
    remember_plan(folder, prepared.identity, plan(prepared))
    return make(prepared, folder)


def plain(value: Any) -> Any:
    """A record as JSON holds it: details come from models and corpora, anybody's too, and one
    odd number among them must not cost the run."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "item") and not isinstance(value, (str, bytes)):
        value = value.item()  # numpy and torch scalars
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def command_line() -> str:
    """What was typed, for the record, as it can be typed again."""
    first = Path(sys.argv[0]).name
    # Of `python -m voxstrata` (and torchrun -m) only a file's name is left.
    start = ["python", "-m", "voxstrata"] if first == "__main__.py" else [first]
    return shlex.join([*start, *sys.argv[1:]])


def peak_memory() -> int:
    """Most memory this process has held, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def describe_model(model: SpeechModel, stack: list[StackLayer], position: int) -> dict[str, Any]:
    """A model of the run as the record holds it."""
    return {
        "spec": model.spec,
        "family": model.family,
        "fingerprint": model.fingerprint,
        "random": bool(model.details.get("random")),
        "details": dict(model.details),
        "layers": [layer.describe() for layer in stack if layer.model == position],
    }
