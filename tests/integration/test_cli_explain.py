"""``voxstrata`` alone, ``voxstrata explain`` and completion, as a user meets them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from voxstrata.cli import app, commands
from voxstrata.cli.explain import KINDS, Kind, explain
from voxstrata.errors import UnknownNameError, UsageError
from voxstrata.references.explanation import explanations
from voxstrata.similarity.measure import Measure
from voxstrata.similarity.registry import MEASURES

if not app.registered_commands:
    commands.attach(app)

PROGRAM = "from voxstrata.cli import main\nmain()"


def _said(*arguments: str, columns: str = "80") -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": columns})
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.output


def _flat(text: str) -> str:
    return " ".join(text.split())


def test_alone_it_explains_itself_on_one_screen() -> None:
    lines = _said().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    for command in ("demo", "properties", "study", "explain", "doctor", "models list", "cite"):
        assert f"voxstrata {command}" in "\n".join(lines)


def test_commands_that_the_first_screen_names_exist() -> None:
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    named = {line.split()[1] for line in _said().splitlines() if line.startswith("  voxstrata ")}
    assert named >= {"demo", "properties", "study", "explain", "doctor"}
    assert named <= known


def test_listing_names_everything_with_a_line_each() -> None:
    said = _said("explain", columns="120")
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line[:2] == "  "}
    for kind in KINDS:
        assert kind.heading in said
        for name, line in kind.lines().items():
            assert lines[name], name
            assert line, name


def test_listing_and_first_screen_load_no_torch() -> None:
    for arguments in (["voxstrata"], ["voxstrata", "explain"]):
        code = (
            f"import sys; sys.argv = {arguments!r}\nfrom voxstrata.cli import main\n"
            "try: main()\nexcept SystemExit as end: assert not end.code\n"
            "print(sorted({'torch', 'lhotse', 'pandas', 'transformers'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]"


def test_a_measure() -> None:
    said = _flat(_said("explain", "CKA"))
    assert said.startswith("cka, a measure")
    assert "CKA = HSIC1(X,Y) / sqrt(HSIC1(X,X) HSIC1(Y,Y))" in said
    assert "range: -1 to 1" in said
    assert "direction: higher is more alike" in said
    assert "estimate: debiased" in said
    assert "arXiv:1905.00414" in said
    assert "voxstrata similarity MODEL... -c CORPUS --measure cka -o OUT" in said
    assert "direction: lower is more alike" in _said("explain", "procrustes-angle")


def test_a_property_with_and_without_its_argument() -> None:
    said = _flat(_said("explain", "cca-tier"))
    assert "argument: cca-tier:NAME" in said
    said = _flat(_said("explain", "linear:emotion"))
    assert "main measure: selectivity, higher is better" in said
    assert "-p linear:emotion" in said
    assert "main measure: gap, lower is better" in _said("explain", "phone-gap")


def test_a_task() -> None:
    said = _flat(_said("explain", "PR"))
    assert "main score: per, lower is better" in said
    assert "test speakers: not heard in training" in said
    assert "Yang" in said


def test_a_name_of_two_kinds_is_explained_as_both() -> None:
    said = _said("explain", "pwcca")
    assert "pwcca, a measure" in said
    assert "pwcca, a score" in said
    assert said.index("a measure") < said.index("a score")


def test_scores_rankings_and_rules() -> None:
    assert "direction: lower is better" in _said("explain", "eer")
    assert "range: 0 to 1" in _said("explain", "map")
    assert "looks at: mean activations and rates" in _said("explain", "activating-probability")
    assert "--rule top=NUMBER" in _said("explain", "top=0.01")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.file)
def test_every_name_can_be_shown(
    kind: Kind, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in explanations(kind.file):
        explain(name)
        said = capsys.readouterr().out
        assert f"{name}, a" in said
        assert all(len(line.rstrip()) <= 80 for line in said.splitlines())


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cka'"):
        _said("explain", "ckaa")
    with pytest.raises(UnknownNameError, match="lists all names"):
        _said("explain", "[bold]\x1b[31m zzzz")


def test_an_argument_that_is_not_taken_is_told() -> None:
    with pytest.raises(UsageError, match="takes no argument"):
        _said("explain", "cca-phone:x")


def test_a_measure_of_another_package_shows_what_it_says_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = Measure(
        "mine",
        "[red]my[/] own",
        "moments",
        lambda m: 0.0,
        (0.0, 2.0),
        higher_is_similar=False,
        reference="Me [1]",
    )
    monkeypatch.setattr(MEASURES, "_entries", dict(MEASURES._entries))
    MEASURES.put("mine", mine, mine.summary)
    said = _flat(_said("explain", "mine"))
    for part in ("[red]my[/] own", "range: 0 to 2", "lower is more alike", "source: Me [1]"):
        assert part in said
    assert "mine" in _said("explain")


def _completed(words: str, at: int) -> list[str]:
    asked = {"_VOXSTRATA_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
    code = "import sys; sys.argv = ['voxstrata']\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
    )
    return done.stdout.split()


def test_the_shell_completes_commands_and_names() -> None:
    found = _completed("voxstrata ", 1)
    assert {command.name for command in app.registered_commands} <= set(found)
    assert {"corpora", "models", "study"} <= set(found)
    assert _completed("voxstrata ex", 1) == ["explain"]
    assert _completed("voxstrata explain cka-r", 2) == ["cka-rbf", "cka-rbf-biased"]
    assert "show" in _completed("voxstrata models ", 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(shell: str) -> None:
    code = f"import sys; sys.argv = ['voxstrata', '--show-completion', '{shell}']\n" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert "_VOXSTRATA_COMPLETE" in done.stdout
    assert "--install-completion" in _said("--help", columns="120")
