"""``voxstrata explain``: what a name means, its formula, its source, how to read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from voxstrata.references.explanation import Explanation

WIDEST = 100
"""Columns beyond which lines get hard to read."""

Facts = list[tuple[str, str]]

GIVEN = "source"
"""Label of the source that a thing names itself: shown where the bibliography has none."""

_BETTER = {
    "high": "higher is better",
    "low": "lower is better",
    "higher": "higher is better",
    "lower": "lower is better",
    "neither": "neither high nor low is better",
    "": "",
}


@dataclass(frozen=True)
class Kind:
    """A kind of thing that can be explained.

    Attributes:
        noun: one of it ("measure").
        heading: many of it, for the list.
        file: where its explanations are (:func:`voxstrata.references.explanation.explanations`).
        lines: all names, a line on each; loads nothing heavy.
        facts: what the thing itself says of a name (may be slow).
        command: what computes it, ``{}`` being the name; empty where that is several.
    """

    noun: str
    heading: str
    file: str
    lines: Callable[[], Mapping[str, str]]
    facts: Callable[[str], Facts]
    command: str


def complete(incomplete: str) -> list[str]:
    """Names for the shell."""
    return [name for name in dict.fromkeys(_all_names()) if name.startswith(incomplete)]


def explain(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A measure, property, task, score, ranking or activation rule; without one, all "
            "are listed.",
            autocompletion=complete,
        ),
    ] = None,
) -> None:
    """What a measure, property or task is: formula, source, how to read it, what misleads.

    Scores (the column `measure` of results), rankings of neurons and activation rules as well.
    A name of several kinds is explained as each.
    """
    from rich.console import Console

    console = Console(highlight=False)
    console.width = min(console.width, WIDEST)
    if name is None:
        _list(console)
        return
    found = list(_found(name))
    _, colon, rest = name.strip().partition(":")
    argument = colon + rest  # of a property, as in linear:emotion
    if not found:
        raise _unknown(name)
    for number, (kind, held) in enumerate(found):
        if number:
            console.print()
        _show(console, kind, held, f"{held}{argument}" if kind.noun == "property" else held)


def _found(name: str) -> Iterator[tuple[Kind, str]]:
    """Kinds that know a name, with the name as they have it; case and arguments do not count."""
    wanted = name.strip().lower()
    bare = wanted.partition(":")[0].partition("=")[0]
    for kind in KINDS:
        known = {held.lower(): held for held in kind.lines()}
        held = known.get(wanted) or known.get(bare)
        if held is not None:
            yield kind, held


def _all_names() -> Iterator[str]:
    for kind in KINDS:
        yield from kind.lines()


def _unknown(name: str) -> Exception:
    from voxstrata.errors import UnknownNameError
    from voxstrata.registry import unknown_name

    hint = unknown_name("name", name, list(dict.fromkeys(_all_names()))).fix
    listing = "`voxstrata explain` alone lists all names"
    return UnknownNameError(
        f"there is nothing called {name!r} to explain",
        got=name,
        expected="a " + ", ".join(k.noun for k in KINDS[:-1]) + f" or {KINDS[-1].noun}",
        fix=f"{hint} {listing}" if hint else listing,
    )


def _list(console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    for kind in KINDS:
        console.print(Text(kind.heading, style="bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, line in kind.lines().items():
            table.add_row(Text(f"  {name}", style="cyan"), Text(line))
        console.print(table)
        console.print()
    console.print("voxstrata explain NAME says what it is, how to read it and whom it is from.")


def _show(console: Console, kind: Kind, name: str, asked: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from voxstrata.references.bibliography import text, work
    from voxstrata.references.explanation import explanations

    about = explanations(kind.file).get(name)
    facts = [*kind.facts(asked), *_own_facts(about)]  # before a word is said: it may refuse

    def part(heading: str, lines: list[str], mark: str = "") -> None:
        rows = Table.grid(padding=(0, 1))
        for line in filter(None, lines):
            rows.add_row(Text(f" {mark}" if mark else " "), Text(line))
        if rows.row_count:
            console.print()
            console.print(Text(heading, style="bold"))
            console.print(rows)

    article = "an" if kind.noun[0] in "aeiou" else "a"
    console.print(Text.assemble((name, "bold cyan"), f", {article} {kind.noun}"))
    console.print(Text(about.what if about else kind.lines()[name]))
    if about:
        part("Formula", about.formula.rstrip().splitlines())
    given = about is not None and bool(about.cite)
    part(
        "In short",
        [f"{is_}: {fact}" for is_, fact in facts if fact and not (given and is_ == GIVEN)],
    )
    if about:
        part("How to read it", [about.read])
        part("What misleads", list(about.pitfalls), "-")
        part(
            "Source",
            [
                text(work(key)) + (f" ({where})" if where else "")
                for key, where in about.cite.items()
            ],
            "-",
        )
    part("Computed by", [kind.command.format(asked)] if kind.command else [])
    if about and about.page:
        part("More", [about.page])


def _own_facts(about: Explanation | None) -> Facts:
    if about is None:
        return []
    return [("range", about.range), ("direction", _BETTER[about.better])]


def _measures() -> dict[str, str]:
    from voxstrata.similarity.registry import MEASURES

    return {entry.name: entry.summary for entry in MEASURES.entries()}


def _measure_facts(name: str) -> Facts:
    from voxstrata.similarity.registry import MEASURES

    measure = MEASURES.get(name)
    low, high = measure.range
    kept = sorted(measure.invariances)
    sides = [
        f"{side} alone: {', '.join(sorted(more - measure.invariances))}"
        for side, more in (("x", measure.invariances_x), ("y", measure.invariances_y))
        if more - measure.invariances
    ]
    return [
        ("range", f"{low:.4g} to {high:.4g}"),
        ("direction", f"{'higher' if measure.higher_is_similar else 'lower'} is more alike"),
        ("estimate", measure.estimator),
        ("symmetric", "yes" if measure.symmetric else "no, x and y play different parts"),
        ("not changed by", "; ".join([", ".join(kept), *sides])),
        ("fewest rows", str(measure.min_rows)),
        ("cost beyond one pass", measure.cost),
        (GIVEN, measure.reference),
    ]


def _properties() -> dict[str, str]:
    from voxstrata.properties.registry import PROPERTIES

    return {entry.name: entry.summary for entry in PROPERTIES.entries()}


def _property_facts(name: str) -> Facts:
    from voxstrata.properties.registry import TAKES_ARGUMENT, make_property
    from voxstrata.references.explanation import explanations

    takes = name.partition(":")[0] in TAKES_ARGUMENT
    made = make_property(name if not takes or ":" in name else f"{name}:NAME")
    main = explanations("scores").get(made.main)
    return [
        ("main measure", f"{made.main}, {_BETTER[made.better]}"),
        ("range", main.range if main else ""),
        ("unit", made.unit),
        ("tells about", "" if takes or made.group == "task" else made.group),
        ("needs the tiers", ", ".join(getattr(made, "tiers", ()))),
        ("argument", f"{name}:NAME" if takes and ":" not in name else ""),
    ]


def _tasks() -> Mapping[str, str]:
    from voxstrata.probing.registry import summaries

    return summaries()


def _task_facts(name: str) -> Facts:
    from voxstrata.probing.registry import get_task
    from voxstrata.references.explanation import explanations

    task = get_task(name)
    known = explanations("scores")
    main = known.get(task.measures[0])
    speakers = {
        "apart": "not heard in training",
        "same": "the same in all parts",
        "any": "any",
    }
    other = getattr(task, "otherwise", None)
    tiers = ", ".join(dict.fromkeys(task.tiers))
    return [
        ("in tables", task.title),
        ("main score", f"{task.measures[0]}, {_BETTER[task.better]}"),
        ("range", main.range if main else ""),
        ("other scores", ", ".join(task.measures[1:])),
        ("head", task.head),
        ("needs the tiers", tiers + (f"; or {', '.join(other.values())}" if other else "")),
        ("test speakers", speakers.get(task.speakers, task.speakers)),
    ]


def _rankings() -> dict[str, str]:
    from voxstrata.neurons.rankings.registry import RANKINGS

    return {entry.name: entry.summary for entry in RANKINGS.entries()}


def _ranking_facts(name: str) -> Facts:
    from voxstrata.neurons.rankings.registry import RANKINGS

    ranking = RANKINGS.get(name)
    needs = {"means": "mean activations", "rates": "mean activations and rates of activity"}
    return [("looks at", needs[ranking.needs]), (GIVEN, ranking.reference)]


def _described(file: str) -> Callable[[], Mapping[str, str]]:
    """Names that are explained, where listing the things themselves would load torch."""

    def lines() -> Mapping[str, str]:
        from voxstrata.references.explanation import explanations

        return {name: about.what for name, about in explanations(file).items()}

    return lines


def _no_facts(_name: str) -> Facts:
    return []


KINDS = (
    Kind(
        "measure",
        "Measures of similarity (voxstrata similarity)",
        "measures",
        _measures,
        _measure_facts,
        "voxstrata similarity MODEL... -c CORPUS --measure {} -o OUT",
    ),
    Kind(
        "property",
        "Properties of a layer (voxstrata properties)",
        "properties",
        _properties,
        _property_facts,
        "voxstrata properties MODEL... -c CORPUS -p {} -o OUT",
    ),
    Kind(
        "task",
        "Probing tasks (voxstrata probe)",
        "tasks",
        _tasks,
        _task_facts,
        "voxstrata probe MODEL... -c CORPUS --tasks {} -o OUT",
    ),
    Kind(
        "score",
        "Scores (the column `measure` in results of properties, probe and verify)",
        "scores",
        _described("scores"),
        _no_facts,
        "",
    ),
    Kind(
        "ranking",
        "Rankings of neurons (voxstrata neurons)",
        "rankings",
        _rankings,
        _ranking_facts,
        "voxstrata neurons MODEL -c CORPUS --rankings -o OUT",
    ),
    Kind(
        "activation rule",
        "Activation rules of neurons (voxstrata neurons --rule)",
        "rules",
        _described("rules"),
        _no_facts,
        "voxstrata neurons MODEL -c CORPUS --rule {}=NUMBER -o OUT",
    ),
)
