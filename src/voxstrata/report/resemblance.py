"""Which layers of different models are alike, held against what untrained twins and plain
features share with them.

Two networks may be alike because training made them so, or because both still look like their
input. A pair of layers counts as alike beyond that only if its similarity is clear of three others:
of the one layer with the untrained twin of the other's model, of the other layer with the twin of
the first's, and of what plain features share with both (the lesser of the two similarities).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voxstrata.report.matches import Cell, cell, overlap, ranked
from voxstrata.report.sides import asked_models, baselines
from voxstrata.report.view import Facet, View
from voxstrata.report.words import capital, counted, interval, layer_called, number


@dataclass(frozen=True)
class Likeness:
    """A pair of layers with what it is held against.

    Attributes:
        pair: the two layers.
        twin: the greatest similarity of either with the untrained twin of the other's model;
            ``None`` where there is no twin.
        plain: the similarity that plain features have with both at least: the lesser of the two,
            for the plain features of which it is greatest; ``None`` without such.
        feature: position of these plain features in ``View.models``.
        beyond: whether the pair is clear of both; ``None`` where intervals or the twin are missing.
    """

    pair: Cell
    twin: Cell | None
    plain: Cell | None
    feature: int | None
    beyond: bool | None


@dataclass(frozen=True)
class Kin:
    """The most alike layers of two models.

    Attributes:
        models: positions in ``View.models``.
        best: the most alike pair of layers.
        beyond: the most alike of the pairs that are clear of twins and plain features.
        rivals: pairs of layers of the two models that are not told apart from the best one.
    """

    models: tuple[int, int]
    best: Likeness
    beyond: Likeness | None
    rivals: int


def main_facets(view: View) -> list[Facet]:
    """The first matrix of each unit in which more means more alike."""
    found: dict[str, Facet] = {}
    for facet in view.facets:
        if facet.closer_is_high:
            found.setdefault(facet.unit, facet)
    return list(found.values())


def kinships(view: View, facet: Facet) -> list[Kin]:
    """The most alike layers of every two models, most alike first."""
    present = set(view.models_of(facet))
    models = [m for m in asked_models(view) if m in present]
    found = [
        kin
        for i, a in enumerate(models)
        for b in models[i + 1 :]
        if (kin := _kin(view, facet, a, b)) is not None
    ]
    return sorted(found, key=lambda kin: -kin.best.pair.value)


def _kin(view: View, facet: Facet, a: int, b: int) -> Kin | None:
    cells = [cell(facet, i, j) for i in view.rows_of(facet, a) for j in view.rows_of(facet, b)]
    order = ranked(facet, cells)
    if not order:
        return None
    best = likeness(view, facet, order[0])
    all_known = (likeness(view, facet, pair) for pair in order)
    return Kin(
        models=(a, b),
        best=best,
        beyond=next((known for known in all_known if known.beyond), None),
        rivals=sum(overlap(order[0], other) is True for other in order[1:]),
    )


def likeness(view: View, facet: Facet, pair: Cell) -> Likeness:
    """A pair of layers with the greatest similarity that twins and plain features have with it."""
    one, two = view.layer(facet, pair.row).model, view.layer(facet, pair.column).model
    sides = ((pair.row, view.models[two].twin), (pair.column, view.models[one].twin))
    twins = [
        cell(facet, row, column)
        for row, twin in sides
        if twin is not None
        for column in view.rows_of(facet, twin)
    ]
    plain, feature = _shared(view, facet, pair)
    twin = next(iter(ranked(facet, twins)), None)
    clear = [_clear(pair, other) for other in (twin, plain) if other is not None]
    beyond = None
    if False in clear:
        beyond = False
    elif twin is not None and None not in clear:
        beyond = True
    return Likeness(pair, twin, plain, feature, beyond)


def _shared(view: View, facet: Facet, pair: Cell) -> tuple[Cell | None, int | None]:
    """The similarity that plain features have with both layers at least, and which features."""
    found: tuple[Cell | None, int | None] = (None, None)
    for other in baselines(view):
        for column in view.rows_of(facet, other):
            both = ranked(facet, [cell(facet, row, column) for row in (pair.row, pair.column)])
            if len(both) == 2 and (found[0] is None or both[1].value > found[0].value):
                found = both[1], other
    return found


def _clear(pair: Cell, other: Cell) -> bool | None:
    if pair.value <= other.value:
        return False
    apart = overlap(pair, other)
    return None if apart is None else not apart


def most_alike(view: View, facet: Facet, found: Sequence[Kin]) -> str:
    """The two most alike layers of different models, and whether training is behind it.

    Here and below ``found`` is what :func:`kinships` gives for ``facet``.
    """
    if not found:
        return ""
    best = found[0]
    said = f"The most alike layers of different models are {_pair(view, facet, best.best.pair)}"
    rivals = best.rivals + sum(overlap(best.best.pair, k.best.pair) is True for k in found[1:])
    if rivals:
        others = "another pair is" if rivals == 1 else f"{rivals} other pairs are"
        said += f" ({others} not told apart from it)"
    return f"{said}. {_verdict(view, best.best)}".strip()


def most_alike_beyond(view: View, facet: Facet, found: Sequence[Kin]) -> str:
    """The most alike layers beyond twins and plain features, where that is another pair."""
    held = [k for k in found if k.best.twin is not None]
    if all(k.best.beyond is None and k.beyond is None for k in held):
        return ""
    beyond = sorted(
        (k for k in found if k.beyond is not None),
        key=lambda k: -k.beyond.pair.value if k.beyond is not None else 0.0,
    )
    if not beyond:
        return (
            "No pair of layers of different models is clear of what the untrained twins and plain "
            "features share with it: nothing here shows that training made models alike."
        )
    top = beyond[0].beyond
    count = f"{len(beyond)} of {counted(len(found), 'pair')} of models"
    if top is None or top.pair == found[0].best.pair:
        return (
            "Layers more alike than untrained twins and plain features explain are found in "
            f"{count}."
        )
    return (
        f"Most alike beyond what untrained twins and plain features share with them are "
        f"{_pair(view, facet, top.pair)}: {_against(view, top)}. Such layers are found in {count}."
    )


def most_alike_across(view: View, facet: Facet, found: Sequence[Kin]) -> str:
    """The most alike layers of two models of different kinds, where that says something new."""
    across = [k for k in found if _family(view, k.models[0]) != _family(view, k.models[1])]
    if not across or across[0] is found[0]:
        return ""
    best = across[0]
    return (
        f"Of models of different architecture, the most alike layers are "
        f"{_pair(view, facet, best.best.pair)}. {_verdict(view, best.best)}"
    ).strip()


def nearest_kin(view: View, facet: Facet, found: Sequence[Kin], model: int) -> str:
    """The layer of any other model that is most like one of ``model``'s, and the one that is most
    like it beyond twins and plain features."""
    mine = [kin for kin in found if model in kin.models]
    if not mine:
        return ""
    best = mine[0].best
    said = (
        f"Its layer most like one of another model is {_seen_from(view, facet, best.pair, model)}"
    )
    said = f"{said}. {_verdict(view, best)}".strip()
    beyond = [kin.beyond for kin in mine if kin.beyond is not None]
    if best.beyond or not beyond:
        return said
    top = max(beyond, key=lambda known: known.pair.value)
    return (
        f"{said} Most alike beyond that is {_seen_from(view, facet, top.pair, model)}: "
        f"{_against(view, top)}."
    )


def _seen_from(view: View, facet: Facet, pair: Cell, model: int) -> str:
    """ "block2, with layer 3 of B (debiased CKA 0.62 [0.60, 0.64])"."""
    row, column = pair.row, pair.column
    if view.layer(facet, row).model != model:
        row, column = column, row
    shown = interval(pair.value, pair.low, pair.high)
    other = view.models[view.layer(facet, column).model].label
    return (
        f"{layer_called(view.layer(facet, row).name)}, with "
        f"{layer_called(view.layer(facet, column).name)} of {other} ({facet.spoken} {shown})"
    )


def table(view: View, facet: Facet, found: Sequence[Kin]) -> list[dict[str, str]]:
    """A line for every two models: their most alike layers, beside twin and plain features."""
    rows = []
    for kin in found:
        best, beyond = kin.best, kin.beyond
        clear = "none" if best.beyond is not None else ""
        if beyond is not None:
            shown = interval(beyond.pair.value, beyond.pair.low, beyond.pair.high)
            clear = f"{_layers(view, facet, beyond.pair)}: {shown}"
        rows.append(
            {
                "models": " and ".join(view.models[m].label for m in kin.models),
                "layers": _layers(view, facet, best.pair),
                "value": interval(best.pair.value, best.pair.low, best.pair.high),
                "twin": number(best.twin.value) if best.twin is not None else "",
                "plain": number(best.plain.value) if best.plain is not None else "",
                "beyond": clear,
            }
        )
    return rows


def _verdict(view: View, found: Likeness) -> str:
    against = _against(view, found)
    if not against:
        return ""
    if found.beyond is None:
        lacking = "intervals" if found.twin is not None else "an untrained twin"
        return f"{capital(against)}; without {lacking} nothing can be told from that."
    if found.beyond:
        return f"{capital(against)}: the two have more in common than that."
    return f"{capital(against)}, so this likeness need not come from training."


def _against(view: View, found: Likeness) -> str:
    """ "with an untrained twin of the other's model, either reaches 0.60 at most, ..."."""
    parts = []
    if found.twin is not None:
        parts.append(
            f"with the untrained twin of the other's model either of them reaches "
            f"{number(found.twin.value)} at most"
        )
    if found.plain is not None and found.feature is not None:
        label = view.models[found.feature].label
        parts.append(f"with {label} both reach {number(found.plain.value)}")
    return ", ".join(parts)


def _pair(view: View, facet: Facet, pair: Cell) -> str:
    """ "layer 3 of A and block2 of B (debiased CKA 0.62 [0.60, 0.64])"."""
    names = [
        f"{layer_called(view.layer(facet, row).name)} of "
        f"{view.models[view.layer(facet, row).model].label}"
        for row in (pair.row, pair.column)
    ]
    return f"{names[0]} and {names[1]} ({facet.spoken} {interval(pair.value, pair.low, pair.high)})"


def _layers(view: View, facet: Facet, pair: Cell) -> str:
    names: Sequence[str] = [view.layer(facet, row).name for row in (pair.row, pair.column)]
    return " and ".join(layer_called(name) for name in names)


def _family(view: View, model: int) -> str:
    return str(view.models[model].record.get("family", ""))
