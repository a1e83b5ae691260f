"""``voxstrata layers``: which layer to use, what speaks for it, what it saves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd

    from voxstrata.properties.choosing.cost import LayerCost
    from voxstrata.properties.choosing.recommend import Recommendation
    from voxstrata.results import Results


def layers(
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="OUT",
            help="A results folder, as `voxstrata properties` or probing writes it.",
            show_default=False,
        ),
    ] = None,
    use: Annotated[
        str,
        typer.Option(
            "--for",
            help="What the layer is for: asr, phone recognition, keyword spotting, speaker "
            "verification, emotion, intent, acoustic, ... --list shows all.",
        ),
    ] = "asr",
    scores: Annotated[
        Path | None,
        typer.Option(
            help="csv of downstream scores by layer (model, layer, score; also task and "
            "better=high|low): prints how well each property curve ranks the layers as they do.",
            show_default=False,
        ),
    ] = None,
    measure_cost: Annotated[
        bool,
        typer.Option(
            "--measure-cost/--no-measure-cost",
            help="Load each model whole and cut, time both on seconds of noise, and print what "
            "the cut saves in time and memory (default).",
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help="Seed of splits, permutations and noise.")] = 0,
    list_uses: Annotated[
        bool, typer.Option("--list", help="Show the uses, what decides in each, and why.")
    ] = False,
) -> None:
    """Choose a layer of each model for a downstream use, from measured properties.

    The choice comes with what a doubter asks for: the number and its interval, which layers
    cannot be told from the best one, what the layers below and above lose, how a random and the
    middle layer do, and, where results of single folds of speakers are there, whether the choice
    holds on speakers it was not made on. Computes nothing on recordings; the time and memory that
    a cut model saves are measured on noise (--no-measure-cost leaves that out).

    A layer chosen here is used as MODEL@LAYER (hubert-base@9): blocks above it never run.

    Example: voxstrata properties hubert-base -c CORPUS -p cca-word --group speaker -o out;
    then: voxstrata layers out --for asr
    """
    from rich.console import Console

    from voxstrata.errors import UsageError
    from voxstrata.properties.choosing.check import read_scores
    from voxstrata.properties.choosing.recommend import recommend
    from voxstrata.properties.choosing.uses import find_use
    from voxstrata.results import load_results

    console = Console()
    if list_uses:
        _show_uses(console)
        return
    if out is None:
        raise UsageError(
            "no results folder is named",
            expected="a folder that `voxstrata properties` wrote",
            fix="for example: voxstrata layers out --for asr; `voxstrata layers --list` shows uses",
        )
    chosen = find_use(use)
    results = load_results(out)
    folds = _folds(out)
    given = read_scores(scores) if scores is not None else None  # a wrong file is told first
    found = recommend(results.table, chosen, folds)
    console.print(f"[bold]{chosen.title}[/]: {chosen.source}", highlight=False)
    single = [r for r in found if len(r.curve.layers) < 2]
    several = [r for r in found if len(r.curve.layers) >= 2]
    _show_choices(console, found, _costs(console, several, seed) if measure_cost else {})
    if single:
        names = ", ".join(r.model for r in single)
        console.print(f"  one layer only, nothing to choose: {names}.", markup=False)
    _show_check(console, found, folds, results, seed)
    if given is not None:
        _show_scores(console, results.table, given, seed)
    if not measure_cost:
        console.print(
            "What each choice saves in time and memory was not measured (--no-measure-cost)."
        )


def _show_uses(console: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.properties.choosing.uses import uses

    table = Table("--for", "decided by (first one measured)", "why", show_lines=True)
    for use in uses().values():
        names = [kind.name for kind in (*use.tasks, *use.properties)]
        table.add_row(use.name, escape(", ".join(names)), escape(use.source))
    console.print(table)


def _folds(out: Path) -> pd.DataFrame | None:
    import pandas as pd
    import pyarrow as pa

    from voxstrata.errors import ResultsError
    from voxstrata.properties.choosing.recommend import FOLD_COLUMNS

    file = out / "folds.parquet"
    if not file.exists():
        return None
    try:
        table = pd.read_parquet(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise ResultsError(f"{file} is damaged", got=str(error)) from None
    lacking = [name for name in FOLD_COLUMNS if name not in table.columns]
    if lacking:
        raise ResultsError(
            f"{file} lacks columns",
            got=", ".join(map(str, table.columns)),
            expected=", ".join(FOLD_COLUMNS),
        )
    return table


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _change(value: float, better: str) -> str:
    """A loss as the change of the number itself: minus where high is better."""
    if not math.isfinite(value):
        return "-"
    return f"{(-value if better == 'high' else value) + 0.0:+.3f}"  # no minus before a zero


def _show_choices(console: Any, found: list[Recommendation], costs: dict[str, LayerCost]) -> None:
    from rich.markup import escape
    from rich.table import Table

    wide = console.width >= WIDE
    caption = _CAPTION if any(len(r.curve.layers) > 1 for r in found) else None
    table = Table(
        title="Recommended layers", caption=caption if wide else None, caption_justify="left"
    )
    table.add_column("model", overflow="fold")
    table.add_column("use layer", style="bold")
    for name in ("value (95 % interval)", *(_CHANGES if wide else ())):
        table.add_column(name)
    table.add_column("not told apart")
    costs = costs if wide else {}  # they have been told in lines of their own
    if costs:
        table.add_column("saves")
    for r in found:
        interval = f" ({_number(r.low)} .. {_number(r.high)})" if math.isfinite(r.low) else ""
        cells = [
            escape(r.model),
            escape(r.layer),
            f"{_number(r.value)}{interval}",
            *(escape(text) for text in (_changes(r) if wide else ())),
            escape(" ".join(r.alike)) if r.alike_by else "? (no intervals)",
        ]
        if costs:
            cost = costs.get(r.model)
            cells.append(
                "-"
                if cost is None
                else f"{cost.time_saved:.0%} time, {cost.memory_saved:.0%} memory"
            )
        table.add_row(*cells)
    console.print(table)
    for r in found:
        for line in _remarks(r):
            console.print(f"  {r.model}: {line}", markup=False, highlight=False)
        if not wide and len(r.curve.layers) > 1:
            told = "; ".join(f"{n}: {t}" for n, t in zip(_CHANGES, _changes(r), strict=True))
            console.print(f"  {r.model}: {told}.", markup=False, highlight=False)
    if caption and not wide:
        console.print(caption)


WIDE = 110
"""Columns of a terminal from which on the table holds everything."""

_CHANGES = ("layer below, above", "middle", "random")


def _changes(r: Recommendation) -> tuple[str, str, str]:
    """What other choices change, one text a name in :data:`_CHANGES`."""
    better = r.curve.better
    return (
        f"{_change(r.loss_below, better)}, {_change(r.loss_above, better)}",
        f"{_change(r.loss_middle, better)} ({r.middle})",
        _change(r.loss_random, better),
    )


_CAPTION = (
    "Changes are against the recommended layer, on the same numbers it was chosen by: middle layer "
    "(its name), mean over all layers (a layer drawn at random)."
)


def _remarks(r: Recommendation) -> list[str]:
    kind = "the probing result " if r.curve.probing else ""
    low = ", low is better" if r.curve.better == "low" else ""
    lines = [f"chosen by {kind}{r.curve.name} ({r.curve.measure}{low})."]
    if r.others and len(r.curve.layers) > 1:
        best = ", ".join(f"{name} at layer {layer}" for name, layer in r.others)
        lines.append(f"other evidence peaks: {best}.")
    if r.cheapest != r.layer:
        lines.append(
            f"layer {r.cheapest} is cheaper and cannot be told from layer {r.layer} (by "
            f"{r.alike_by})."
        )
    if r.above_control is False:
        lines.append("WARNING: the best layer is no better than its control: this says nothing.")
    return lines


def _show_check(
    console: Any,
    found: list[Recommendation],
    folds: pd.DataFrame | None,
    results: Results,
    seed: int,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.errors import ResultsError
    from voxstrata.properties.choosing.check import Check, choose_and_check

    how = (
        "The table above was chosen and scored on the same speakers, so it flatters the choice. "
        "To check it on others: voxstrata properties ... --group speaker --folds 10, with a "
        "property that is scored on held-out folds (cca-phone, cca-word, linear:...)."
    )
    if folds is None:
        console.print(f"No check on held-out speakers: no folds.parquet in the folder. {how}")
        return
    checks: list[tuple[Recommendation, Check]] = []
    refused = []
    for r in found:
        c = r.curve
        if len(c.layers) < 2:
            continue  # nothing was chosen
        own = folds[
            (folds["property"] == c.name)
            & (folds["measure"] == c.measure)
            & (folds["model"] == c.model)
            & folds["layer"].astype(str).isin(c.layers)
        ]
        if not len(own):
            refused.append(f"{c.model}: {c.name} ({c.measure}) has no scores of single folds")
            continue
        try:
            checks.append((r, choose_and_check(own, better=c.better, seed=seed)[0]))
        except ResultsError as error:
            refused.append(str(error))
    by = str(results.record.get("config", {}).get("group") or results.record.get("group") or "?")
    if checks:
        who = "speakers" if by == "speaker" else f"folds (grouped by {by})"
        table = Table(title=f"Chosen on half of the {who}, scored on the other half")
        table.add_column("model", overflow="fold")
        for name in ("chosen", "score", "over random", "over middle", "below the best there"):
            table.add_column(name)
        for r, check in checks:
            picks = ", ".join(f"{layer} ({share:.0%})" for layer, share in check.chosen[:4])
            table.add_row(
                escape(r.model),
                escape(picks),
                _number(check.score.value),
                _with_interval(check.over_random),
                _with_interval(check.over_middle),
                _with_interval(check.regret),
            )
        console.print(table)
        if by != "speaker":
            console.print(
                "Folds here do not keep speakers together, so this says nothing about new "
                "speakers. Run the properties with --group speaker.",
                style="yellow",
            )
    for reason in refused:
        console.print(f"No check on held-out speakers: {reason}", markup=False)
    if refused:
        console.print(how, markup=False)


def _with_interval(mean: Any) -> str:
    return f"{mean.value:+.3f} ({mean.low:+.3f} .. {mean.high:+.3f})"


def _show_scores(console: Any, table: pd.DataFrame, given: pd.DataFrame, seed: int) -> None:
    from rich.markup import escape
    from rich.table import Table

    from voxstrata.errors import ResultsError, UsageError
    from voxstrata.properties.choosing.check import correlate
    from voxstrata.properties.choosing.recommend import curves
    from voxstrata.properties.choosing.uses import Evidence

    shown = Table(
        "model", "property", "task", "layers", "Spearman", "p", "Kendall", "p",
        title="Do property curves rank the layers as the scores do?",
    )  # fmt: skip
    refused: dict[str, list[str]] = {}
    for name in table["property"].unique().tolist():
        try:
            found = curves(table, Evidence(name=str(name)))
        except ResultsError as error:
            refused.setdefault(error.what, []).append(str(name))
            continue
        for curve in found:
            own = given[given["model"] == curve.model]
            for task, rows in own.groupby("task", sort=False):
                sign = 1.0 if rows["better"].iloc[0] == "high" else -1.0
                scores = {
                    str(layer): sign * float(x)
                    for layer, x in rows.groupby("layer", sort=False)["score"].mean().items()
                }
                line = dict(zip(curve.layers, curve.goodness.tolist(), strict=True))
                try:
                    rho, tau = correlate(line, scores, seed=seed)
                except UsageError as error:
                    reason = f"{error.what} (got {error.got}, expected {error.expected})"
                    refused.setdefault(f"{curve.model}: {reason}", []).append(str(name))
                    continue
                shown.add_row(
                    escape(curve.model),
                    escape(f"{name}: {curve.measure}"),
                    escape(str(task)),
                    str(rho.layers),
                    f"{rho.value:+.2f} ({rho.low:+.2f} .. {rho.high:+.2f})",
                    f"{rho.p:.3g}",
                    f"{tau.value:+.2f} ({tau.low:+.2f} .. {tau.high:+.2f})",
                    f"{tau.p:.3g}",
                )
    absent = sorted(set(given["model"]) - set(table["model"]))
    if absent:
        console.print(
            f"Scores of models that the results lack: {', '.join(absent)}", style="yellow"
        )
    for reason, names in refused.items():
        console.print(f"{reason}: {', '.join(names)}", style="yellow", markup=False)
    if shown.row_count:
        console.print(shown)
        console.print(
            "Error rates are turned so that more is better. Neighbouring layers resemble each "
            "other, so p and intervals (bootstrap over layers) are optimistic."
        )


def _costs(console: Any, found: list[Recommendation], seed: int) -> dict[str, LayerCost]:
    """Cost of each model cut at its layer, by model; what cannot be cut or loaded is told."""
    from voxstrata.errors import VoxstrataError
    from voxstrata.properties.choosing.cost import layer_cost

    costs = {}
    for r in found:
        try:
            cost = costs[r.model] = layer_cost(r.model, r.layer, seed=seed)
        except VoxstrataError as error:
            console.print(f"No cost of {r.model}@{r.layer}: {error}", style="yellow", markup=False)
            continue
        console.print(
            f"{cost.cut}: {cost.cut_seconds * 1e3:.0f} ms instead of {cost.seconds * 1e3:.0f} ms "
            f"for {cost.audio_s:g} s of noise, {cost.cut_parameters / 1e6:.1f} instead of "
            f"{cost.parameters / 1e6:.1f} million parameters, {cost.flops_saved:.0%} fewer "
            "operations.",
            markup=False,
            highlight=False,
        )
    return costs
