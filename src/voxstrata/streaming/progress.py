"""How long work tells the user where it stands."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Advance = Callable[[float], None]


class Steps:
    """A progress bar in use: call it with what is done, :meth:`at` with what is being done."""

    def __init__(self, advance: Advance, tell: Callable[[str], None] = lambda _doing: None) -> None:
        self._advance, self._tell = advance, tell

    def __call__(self, amount: float) -> None:
        """Amount done, in the unit of the bar."""
        self._advance(amount)

    def at(self, doing: str) -> None:
        """What is being done now ("cca-phone")."""
        self._tell(doing)


@contextlib.contextmanager
def bar(title: str, total: float, unit: str, *, show: bool = True) -> Iterator[Steps]:
    """A progress bar on a terminal, a plain line a minute in a log.

    Args:
        title: what is being done.
        total: how much there is in all.
        unit: of the amounts ("s of speech").
        show: ``False`` to stay silent.

    Yields:
        a function to call with each amount done; its ``at`` names what is being done.
    """
    if not show:
        yield Steps(lambda _amount: None)
        return
    if not sys.stderr.isatty():
        yield _log_lines(title, total, unit)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=round(total))
        done = 0.0

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            progress.update(task, completed=min(round(done), round(total)))

        yield Steps(advance, lambda doing: progress.update(task, description=f"{title}: {doing}"))


def _log_lines(title: str, total: float, unit: str, every_s: float = 60.0) -> Steps:
    begun = last = time.monotonic()
    done = 0.0
    doing = ""

    def tell(now: str) -> None:
        nonlocal doing
        doing = f" ({now})"

    def advance(amount: float) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= every_s:
            last = now
            left = (now - begun) * (total - done) / done if done else float("inf")
            sys.stderr.write(
                f"{title}: {done:.0f} of {total:.0f} {unit}{doing}, about {left:.0f} s left\n"
            )

    return Steps(advance, tell)
