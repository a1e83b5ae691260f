"""Claims of a study held against its results, seed by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from voxstrata.results import Results
from voxstrata.studies.claims.claim import Claim, Claimed, Effect, joint
from voxstrata.studies.claims.evidence import Evidence
from voxstrata.studies.claims.registry import CLAIMS
from voxstrata.studies.plan import Part, Study


def evidence(study: Study, ran: Mapping[Part, Results], seed: int | None) -> Evidence:
    """What claims look at: the analyses of one seed, and those with a seed of their own.

    Args:
        study: what ran.
        ran: results of its parts.
        seed: one of the study's seeds.
    """
    mine = {
        part.name: results
        for part, results in ran.items()
        if part.seed is None or part.seed == seed
    }
    return Evidence(
        tables={name: results.table for name, results in mine.items()},
        records={name: results.record for name, results in mine.items()},
        roles=study.roles,
        labels={spec: name for name, spec in study.specs.items()},
        scale=study.scale,
    )


def _held(name: str, claim: Claim, seen: Evidence) -> Claimed:
    """What a claim says; one that fails (anybody can add one) costs no other result."""
    try:
        return claim(seen)
    except Exception as error:
        missing = f"the claim's function failed ({type(error).__name__}: {error})"
        return Claimed(name, name, "", (Effect(name, math.nan, missing=missing),))


def hold(study: Study, ran: Mapping[Part, Results]) -> list[dict[str, Any]]:
    """Every claim with every seed; its verdict is the one that all seeds give.

    Returns:
        for each claim its name, verdict, and what was found with each seed.
    """
    found = []
    seeds = study.config.seeds
    for name in study.config.claims:
        claim = CLAIMS.get(name)
        each = [(seed, _held(name, claim, evidence(study, ran, seed))) for seed in seeds]
        verdicts = [one.verdict for _, one in each]
        verdict = joint(verdicts) if len(set(verdicts)) == 1 else "cannot tell"
        first = each[0][1]
        found.append(
            {
                "name": name,
                "title": first.title,
                "paper": first.paper,
                "verdict": verdict,
                "seeds": [
                    {
                        "seed": seed,
                        "verdict": one.verdict,
                        "found": list(one.found),
                        "effects": [
                            {**asdict(e), "verdict": e.verdict, "doubt": e.doubt}
                            for e in one.effects
                        ],
                        "tables": {k: [dict(row) for row in v] for k, v in one.tables.items()},
                    }
                    for seed, one in each
                ],
            }
        )
    return found
