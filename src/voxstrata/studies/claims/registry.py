"""Claims by name: a line each."""

from __future__ import annotations

from voxstrata.registry import Registry
from voxstrata.studies.claims.claim import Claim

CLAIMS: Registry[Claim] = Registry("claim", "voxstrata.claims")
