"""The result of comparing one pair: a number that knows where it comes from."""

from __future__ import annotations

from typing import Any


class Similarity(float):
    """A float with its interval, counts and estimator; arithmetic gives plain floats.

    Attributes:
        value: the number, a plain float.
        ci_low, ci_high: ends of the 95 % jackknife interval over groups, ``None`` without one.
        n: rows.
        d, other_d: widths of x and y.
        measure: registry name with variant ("cka", "pwcca-x", ...).
        estimator: "debiased", "biased", "in-sample", ...
        groups: independent groups behind the interval (0 without one).
        details: other numbers that came with it, by name (the other side of PWCCA, say).

    Example:
        >>> s = Similarity(0.5, n=100, d=8, other_d=4, measure="cka", estimator="debiased")
        >>> s
        Similarity(0.5000, measure='cka', estimator='debiased', n=100, d=8, other_d=4)
        >>> s + 1
        1.5
    """

    ci_low: float | None
    ci_high: float | None
    n: int
    d: int
    other_d: int
    measure: str
    estimator: str
    groups: int
    details: dict[str, float]

    def __new__(
        cls,
        value: float,
        *,
        n: int,
        d: int,
        other_d: int,
        measure: str,
        estimator: str,
        ci_low: float | None = None,
        ci_high: float | None = None,
        groups: int = 0,
        details: dict[str, float] | None = None,
    ) -> Similarity:
        """See the class: ``value`` and its circumstances."""
        new = super().__new__(cls, value)
        new.ci_low, new.ci_high = ci_low, ci_high
        new.n, new.d, new.other_d = n, d, other_d
        new.measure, new.estimator, new.groups = measure, estimator, groups
        new.details = dict(details or {})
        return new

    @property
    def value(self) -> float:
        """The number as a plain float."""
        return float(self)

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, Any]]:
        return (float(self),), dict(self.__dict__)

    def __repr__(self) -> str:
        span = ""
        if self.ci_low is not None and self.ci_high is not None:
            span = f", ci=[{self.ci_low:.4f}, {self.ci_high:.4f}] over {self.groups} groups"
        more = "".join(f", {name}={number:.4f}" for name, number in self.details.items())
        return (
            f"Similarity({float(self):.4f}{span}, measure={self.measure!r}, "
            f"estimator={self.estimator!r}, n={self.n}, d={self.d}, other_d={self.other_d}{more})"
        )

    __str__ = __repr__
