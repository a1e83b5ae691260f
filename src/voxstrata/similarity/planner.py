"""Which exact route a unit takes, chosen by cost before work starts, and said in words.

Three routes give the same numbers (a test forces all three):

* ``moments``: products of the whole stack are summed in memory during the pass; nothing is kept
  of the rows. Memory F W^2 / 2 x 8 bytes for F folds and stack width W, whatever n is.
* ``blocks``: rows go to the layer-major store; products are made from it layer pair by layer
  pair, fold by fold. Disk n W x 4 bytes.
* ``gram``: rows go to the store; products of rows with rows, a strip at a time. Cheapest where n
  is small against W. Memory n W x 4 bytes: all rows at once.

A fourth, ``minibatch``, is another estimator (docs/similarity.md) and is only taken if asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voxstrata.errors import StorageError, UsageError
from voxstrata.similarity.from_gram import STRIP_BYTES
from voxstrata.similarity.settings import Route
from voxstrata.streaming.moments import buffer_bytes, moments_bytes

SMALL_COST = 3.0
"""Products of strips by layers are small matrices and reach about a third of the full rate."""

WRITE_BYTES_PER_S = 200e6
FLOPS = 100e9
"""Nominal disk and product speeds, constants so that a plan is the same on every run."""


@dataclass(frozen=True)
class UnitPlan:
    """How one unit will be computed.

    Attributes:
        unit: its name.
        route: "moments", "blocks", "gram" or "minibatch".
        reason: why, with the sizes compared.
        rows: expected rows N.
        width: width W of the stack.
        layers: number of layers L.
        folds: number of folds F.
        flops: floating-point operations of the products.
        memory_bytes: memory the route needs.
        disk_bytes: disk the row store needs (0 for none).
        state_bytes: size of one checkpoint.
    """

    unit: str
    route: str
    reason: str
    rows: int
    width: int
    layers: int
    folds: int
    flops: float
    memory_bytes: float
    disk_bytes: float
    state_bytes: float

    def facts(self) -> dict[str, Any]:
        """JSON-like form."""
        return asdict(self)


def plan_unit(
    unit: str,
    widths: Sequence[int],
    rows: int,
    folds: int,
    *,
    needs: frozenset[str],
    memory_bytes: float,
    disk_bytes: float,
    row_bytes: int = 4,
    sample: int = 2000,
    route: Route = "auto",
) -> UnitPlan:
    """Choose the route of one unit.

    Args:
        unit: its name.
        widths: widths of the layers of the stack.
        rows: expected number of rows N.
        folds: number of folds F.
        needs: what the measures work on: "terms", "moments", "rows".
        memory_bytes, disk_bytes: what may be used.
        row_bytes: bytes of one stored number (4; 8 where precision is float64).
        sample: rows that measures on rows use at most.
        route: a forced route, or "auto".

    Raises:
        UsageError: the forced route cannot serve the measures, or does not fit; or measures on
            rows need more memory than there is.
        StorageError: no exact route fits in memory and disk.
    """
    total, layers = sum(widths), len(widths)
    stored = float(rows) * total * row_bytes
    moments = moments_bytes(widths, folds) + buffer_bytes(total)
    # Two numbers a row, layer and replicate, and the copies that leaving folds out makes.
    row_terms = 8.0 * rows * layers * (folds + 6)
    gram = stored + 3.0 * min(STRIP_BYTES, 4.0 * layers * float(rows) ** 2) + 2 * row_terms
    pair_flops = float(rows) * total * (total + max(widths))
    gram_flops = 2.0 * float(rows) ** 2 * (total + SMALL_COST * layers**2)
    one_pair = 6.0 * row_bytes * rows * max(widths)
    block_memory = min(memory_bytes, max(stored, one_pair, row_terms))
    sizes = (
        f"moments of {folds} folds would take {_size(moments)} of memory, rows "
        f"{_size(stored)} of disk, Gram form {_size(gram)} of memory"
    )
    fits = {
        "moments": moments <= memory_bytes and "rows" not in needs,
        "blocks": stored <= disk_bytes
        and one_pair <= 2 * memory_bytes
        and row_terms <= memory_bytes,
        "gram": gram <= memory_bytes and stored <= disk_bytes and "moments" not in needs,
    }

    def plan(name: str, why: str) -> UnitPlan:
        return UnitPlan(
            unit=unit,
            route=name,
            reason=f"{why}; {sizes}",
            rows=rows,
            width=total,
            layers=layers,
            folds=folds,
            flops=gram_flops if name == "gram" else pair_flops,
            memory_bytes={"moments": moments, "blocks": block_memory, "gram": gram}.get(name, 1e9),
            disk_bytes=stored if name in ("blocks", "gram") else 0.0,
            state_bytes=float(moments_bytes(widths, folds)) if name == "moments" else 0.0,
        )

    pairs = 8.0 * min(rows, sample) ** 2 * layers
    if "rows" in needs and pairs > memory_bytes:
        raise UsageError(
            "the measures on pairs of rows do not fit in memory",
            got=f"{_size(pairs)} for {min(rows, sample)} rows of {layers} layers",
            expected=f"within {_size(memory_bytes)}",
            fix="lower --max-rows, raise --memory-gib, or choose fewer layers (--layers)",
        )
    if route == "minibatch":
        if needs != {"terms"}:
            raise UsageError(
                "the minibatch estimator serves CKA alone",
                got="measures that need " + " and ".join(sorted(needs - {"terms"})),
                fix="ask for --measure cka, or choose another route",
            )
        return plan("minibatch", "asked for")
    if route != "auto":
        if not fits[route]:
            raise UsageError(
                f"the route {route!r} cannot serve the unit {unit!r} here",
                got=f"{sizes}; measures need {', '.join(sorted(needs))}",
                expected=f"within {_size(memory_bytes)} of memory and {_size(disk_bytes)} of disk",
                fix="use --route auto, or raise --memory-gib or --disk-gib",
            )
        return plan(route, "asked for")
    if fits["gram"] and gram_flops < pair_flops:
        return plan("gram", f"{rows} rows are few against a stack {total} wide")
    if fits["moments"] and (moments <= stored or not fits["blocks"]):
        return plan("moments", "the sums are smaller than the rows")
    if fits["blocks"]:
        return plan("blocks", "the rows are smaller than the sums")
    if fits["gram"]:
        return plan("gram", "nothing else fits")
    raise StorageError(
        f"no exact route for the unit {unit!r} fits on this machine",
        got=sizes,
        expected=f"within {_size(memory_bytes)} of memory and {_size(disk_bytes)} of disk",
        fix="raise --memory-gib or --disk-gib, choose fewer layers (--layers) or recordings "
        "(--limit), or take the estimator that needs neither: --route minibatch",
    )


def checkpoint_shards(plans: Sequence[UnitPlan], shards: int, pass_flops: float) -> int:
    """Shards between checkpoints, so that writing state costs under 5 % of the pass.

    Args:
        plans: plans of all units.
        shards: number of shards of the pass.
        pass_flops: operations of models and products in the whole pass.
    """
    state = sum(plan.state_bytes for plan in plans)
    if not state or not shards:
        return 1
    writing = state / WRITE_BYTES_PER_S
    a_shard = pass_flops / FLOPS / shards
    every = 1
    while every < shards and writing > 0.05 * a_shard * every:
        every += 1
    return every


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
