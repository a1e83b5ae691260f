"""``voxstrata doctor``: what is installed, what is missing or broken, and the remedy."""

from __future__ import annotations

import typer


def doctor(
    as_json: bool = typer.Option(False, "--json", help="Print the findings as JSON."),
) -> None:
    """Check this installation: packages, devices, disk, cache.

    Ends with exit code 1 if something that voxstrata needs is missing or broken.
    """
    import json

    from voxstrata.diagnosis import diagnose

    findings = diagnose()
    if as_json:
        typer.echo(json.dumps([finding.__dict__ for finding in findings], indent=2))
    else:
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = Console()
        table = Table("", "what", "found", "remedy", title="voxstrata doctor")
        marks = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "broken": "[red]broken[/]"}
        for finding in findings:
            # Escaped: 'voxstrata[synth]' would otherwise lose its brackets as markup.
            cells = (finding.what, finding.found, finding.remedy)
            table.add_row(marks[finding.state], *(escape(cell) for cell in cells))
        console.print(table)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
