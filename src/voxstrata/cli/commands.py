"""The list of commands: one line each. Their modules keep heavy imports inside functions."""

from __future__ import annotations

import typer


def attach(app: typer.Typer) -> None:
    """Add every command and command group to ``app``."""
    from voxstrata.cli import corpora, demo, doctor, layers, models, properties, report, similarity

    app.command("demo")(demo.demo)
    app.command("similarity")(similarity.similarity)
    app.command("properties")(properties.properties)
    app.command("layers")(layers.layers)
    app.command("report")(report.report)
    app.command("doctor")(doctor.doctor)
    app.add_typer(corpora.app, name="corpora")
    app.add_typer(models.app, name="models")
