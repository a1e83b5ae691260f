"""Properties as a part of a study."""

from __future__ import annotations

from pathlib import Path

from voxstrata.properties.forecast import forecast
from voxstrata.properties.job import open_properties, run_properties
from voxstrata.properties.prepare import Prepared, prepare
from voxstrata.properties.registry import make_property
from voxstrata.properties.settings import PropertiesConfig
from voxstrata.studies.jobs.job import Cost, Job
from voxstrata.studies.jobs.layers import layers_named


def _prepare(config: PropertiesConfig, folder: Path, afresh: bool) -> Prepared:
    return prepare(config, folder, afresh=afresh)


def _cost(prepared: Prepared) -> Cost:
    found = forecast(prepared)
    disk = sum(sample.disk_bytes for sample in prepared.samples)
    widest = max(layer.width for layer in prepared.stack)
    rows = max((sample.rows for sample in prepared.samples), default=0)
    return Cost(found.models_s + found.properties_s, disk, 8.0 * rows * widest * 4)


def _missing(prepared: Prepared) -> list[tuple[str, str]]:
    if "all" in prepared.config.properties:
        return []
    return [(item.name, item.reason) for item in prepared.left_out]


JOB = Job(
    name="properties",
    summary="what every layer encodes",
    settings=PropertiesConfig,
    prepare=_prepare,
    run=run_properties,
    open_pass=open_properties,
    corpora={"corpus": False},
    cost=_cost,
    missing=_missing,
    inside=lambda config: layers_named(config.models, config.layers),
    names={"properties": lambda name: None if name == "all" else make_property(name)},
)
