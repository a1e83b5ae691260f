"""How every job command runs: the plan, or the work, the page and a closing line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from voxstrata.cli.options import known_overwrite

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.results import Results
    from voxstrata.streaming.runs import Hooks, Overwrite


class Run(Protocol):
    """A job: ``run_similarity``, ``run_probing``, ..."""

    def __call__(
        self, config: Any, out: Path, *, overwrite: Overwrite, hooks: Hooks[Any]
    ) -> Results:
        """Do it, and give the results."""
        ...


def run_job(
    run: Run,
    settings: Any,
    out: Path,
    overwrite: str,
    *,
    prepare: Callable[[bool], Any],
    show_plan: Callable[[Any, Console], None],
    show_end: Callable[[Results, Console, bool], None] | None = None,
    dry_run: bool = False,
    quiet: bool = False,
) -> Path | None:
    """Run a job from the command line: plan, compute, report.

    Args:
        run: the job.
        settings: its settings.
        out: output folder.
        overwrite: as the user wrote it.
        prepare: makes a plan alone; told whether what is in ``out`` will go first.
        show_plan: prints a plan.
        show_end: prints the closing lines; told whether the results were there before.
        dry_run: show the plan and stop.
        quiet: no progress bars.

    Returns:
        the page; ``None`` if only the plan was asked for.

    Raises:
        UsageError: an unknown value of ``--overwrite``; VoxstrataError: as the job.
    """
    from rich.console import Console

    from voxstrata.report import draw_report
    from voxstrata.streaming.runs import Hooks

    console = Console(stderr=True)
    rule = known_overwrite(overwrite)
    if dry_run:
        show_plan(prepare(rule == "always"), console)
        return None
    hooks: Hooks[Any] = Hooks(
        planned=lambda prepared: show_plan(prepared, console),
        progress=not quiet,
        say=lambda text: console.print(text, markup=False, highlight=False),
    )
    before = (out / "run.json").exists() and rule != "always"
    results = run(settings, out, overwrite=rule, hooks=hooks)
    page = draw_report(out)
    (show_end or _end)(results, console, before)
    return page


def _end(results: Results, console: Console, before: bool) -> None:
    skipped = len(results.record.get("corpus", {}).get("skipped", ()))
    console.print(
        f"{len(results.table)} values "
        + ("were there already" if before else f"in {results.record['wall_s']:.0f} s")
        + (f"; {skipped} recordings skipped (listed in the report)" if skipped else "")
    )
