"""What a measure is: a function with its facts, so that jobs and docs need no special cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from voxstrata.errors import UsageError

Needs = Literal["terms", "moments", "rows"]

INVARIANCES = frozenset({"shift", "scale", "permutation", "orthogonal", "invertible-linear"})
"""Shift of the rows by a constant; isotropic scale; permutation of columns; rotation and
reflection of columns; invertible linear map of columns."""


@dataclass(frozen=True)
class Measure:
    """One way to compare two views.

    Attributes:
        name: registry name.
        summary: one line.
        needs: what ``compute`` takes.

            - ``"terms"``: ``compute(xy, xx=None, yy=None) -> [R, L1, L2]``, see
              ``estimators.cka`` (:class:`~voxstrata.similarity.terms.HsicTerms`);
            - ``"moments"``: ``compute(moments) -> float``
              (:class:`~voxstrata.similarity.moments.Moments`);
            - ``"rows"``: ``compute(x, y) -> float`` of float64 tensors [N, D1], [N, D2].
        compute: the function.
        range: lowest and highest possible value, to which intervals are clipped.
        higher_is_similar: False for distances.
        symmetric: whether exchanging x and y changes nothing.
        estimator: label for results ("debiased", "biased", "in-sample").
        invariances: maps of either view that leave the value alone (:data:`INVARIANCES`).
        invariances_x, invariances_y: further ones of x alone and of y alone.
        reference: source and, where there is one, published implementation.
        cost: what it costs beyond one pass.
        min_rows: fewest rows for which it is defined.
        side, pair: for ``"rows"`` only, where one side's share of the work can be done once:
            ``compute(x, y) == pair(side(x), side(y))``; both or neither.
        warn_few_rows: which widths make it an overestimate where rows are fewer than ten
            times them: "both" (the larger), "x", "y" or "" (it has no such bias).
    """

    name: str
    summary: str
    needs: Needs
    compute: Callable[..., Any]
    range: tuple[float, float]
    higher_is_similar: bool = True
    symmetric: bool = True
    estimator: str = "in-sample"
    invariances: frozenset[str] = frozenset()
    invariances_x: frozenset[str] = frozenset()
    invariances_y: frozenset[str] = frozenset()
    reference: str = ""
    cost: str = ""
    min_rows: int = 2
    warn_few_rows: Literal["both", "x", "y", ""] = ""
    side: Callable[[Any], Any] | None = None
    pair: Callable[[Any, Any], float] | None = None

    def __post_init__(self) -> None:
        claimed = self.invariances | self.invariances_x | self.invariances_y
        if claimed - INVARIANCES or self.needs not in ("terms", "moments", "rows"):
            raise UsageError(
                f"measure {self.name!r} is described wrongly",
                got=f"needs={self.needs!r}, invariances {sorted(claimed)}",
                expected=f"'terms', 'moments' or 'rows', and {sorted(INVARIANCES)}",
            )

    def prepare(self, x: Any) -> Any:
        """What a ``"rows"`` measure derives from one side alone; the rows where nothing is."""
        return x if self.side is None else self.side(x)

    def compare(self, x: Any, y: Any) -> float:
        """A ``"rows"`` measure of two prepared sides."""
        return float(self.compute(x, y) if self.pair is None else self.pair(x, y))

    def few_rows_width(self, d: int, other_d: int) -> int:
        """The width to hold the rows against, 0 where the measure has no such bias."""
        return {"both": max(d, other_d), "x": d, "y": other_d, "": 0}[self.warn_few_rows]
