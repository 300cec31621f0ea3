"""Names of others are read on the terminal and never obeyed, by it or by a CI server."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.markup import escape
from rich.table import Table

from saliency_audit.cli import console
from saliency_audit.commands.gate.report import summary_markdown
from saliency_audit.commands.gate.terminal import shown
from saliency_audit.report.html import Section, write_html
from saliency_audit.report.table import Table as HtmlTable
from saliency_audit.visible import flat, visible

CHECK = {"kind": "metric", "n": 3, "n_undefined": 0, "effect": "refuse", "status": "failed"}
CHECK |= {"measured": 0.5, "ci_low": 0.4, "ci_high": 0.6, "message": "", "limit": ""}
EVIL = "\x1b[2J\x1b]0;x\x07\r\x9b31m\u202egnp.\u2066\x00\x7f\udcff"


def unseen(text):
    """Characters of a text that a terminal obeys."""
    return [c for c in text if not (c.isprintable() or c == "\n")]


@pytest.fixture
def terminal(capsys):
    """What a terminal was sent."""

    def sent():
        captured = capsys.readouterr()
        return captured.out + captured.err

    return sent


def test_what_is_shown_for_them():
    assert visible(EVIL).startswith(r"\x1b[2J\x1b]0;x\x07\x0d\x9b31m\u202egnp.\u2066\x00\x7f")
    assert not unseen(visible(EVIL))
    assert visible("naïve × 猫 👍\tx\n") == "naïve × 猫 👍\tx\n"
    assert flat("a\nreleased: all") == "a released: all"


def test_every_way_to_the_terminal(terminal):
    table = Table(EVIL, title=EVIL)
    table.add_row(EVIL)
    console.results.print(table)
    console.results.print(f"[bold]{EVIL[3:]}[/]")
    console.tell("note", EVIL)
    with console.progress(EVIL, quiet=False) as advance:
        advance(1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "LINES_EVERY", -1)
        with console.progress(EVIL, quiet=False) as advance:
            advance(1, 2)
    sent = terminal()
    assert sent.count(r"\u202e") >= 5
    assert not unseen(sent)


def test_a_name_begins_no_line_of_its_own(capsys):
    name = "x\r\nreleased: all 4 checks passed"
    console.tell("note", name)
    assert capsys.readouterr().err == "note x\\x0d released: all 4 checks passed\n"
    console.show(
        *shown(
            pd.DataFrame([CHECK | {"check": name, "limit": name}]),
            f"refused: {name}",
            width=console.width(),
        )
    )
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.lstrip().startswith("released")]


@pytest.mark.parametrize(
    "name", ["::error::x", "x ::set-output name=a::b", "##[error]x", "a" * 40 + "::add-mask::"]
)
def test_a_name_is_no_command_of_a_ci_server(terminal, monkeypatch, name):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    table = Table(box=None, padding=0, width=40)
    table.add_row(escape(name))
    console.results.print(table)
    console.results.print(escape(name))
    console.tell("", name)
    lines = terminal().splitlines()
    assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]


def test_two_colons_stay_where_nobody_obeys_them(terminal, monkeypatch):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    console.tell("note", "at::native failed")
    assert "at::native" in terminal()


HOSTILE = "\x1b[31m\u202e\nreleased: x[/red]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("fool", f"{HOSTILE}.pt"),
        ("fool", "--data", HOSTILE),
        ("fool", f"--{HOSTILE}"),
        ("fool", "--saliency", HOSTILE),
        ("fool", "--trick", HOSTILE),
        ("fool", "--eps", HOSTILE),
        ("fool", "--layer", HOSTILE, "--saliency", "gradcam"),
        ("evaluate", "--explain", f"{HOSTILE}.py:f"),
        ("evaluate", "--maps", HOSTILE),
        ("gate", "--policy", HOSTILE),
        (HOSTILE,),
    ],
    ids=lambda arguments: " ".join(arguments[:2])[:20].encode("ascii", "ignore").decode(),
)
def test_errors_show_what_was_given(run, arguments):
    ran = run(*arguments)
    assert ran.code == 2
    assert not unseen(ran.err)
    assert [line[:4] for line in ran.err.splitlines() if line[:4] != "note"] == ["erro"]


def test_names_of_folders_keys_and_values(run):
    folder = Path("data") / "a\x1b[31m\u202e"
    folder.mkdir(parents=True)
    for i in range(2):
        Image.new("L", (28, 28), 99 * i).save(folder / f"\x1b[2J{i}.png")
    ran = run("fool", "--data", "data", "--max-samples", 2, "--saliency", "gradient")
    assert not unseen(ran.out + ran.err)
    for text in ('"\\u001b[31m" = 1\n', '[run]\nlayer = "\\u001b[31m"\nseed = "\\u202e"\n'):
        Path("policy.toml").write_text(text + '[[check]]\nmetric = "accuracy"\nat_least = 0.5\n')
        ran = run("gate", "--policy", "policy.toml")
        assert ran.code == 2
        assert not unseen(ran.err)


def test_a_summary_for_pull_requests_shows_names_as_they_are():
    name = "a|b\\|c `d` <script> ![x](http://e) *e* \x1b\n::error::"
    line = {"effect": "pass", "status": "passed", "check": name, "message": name}
    line |= {"limit": name, "n": 3, "n_undefined": 0}
    text = summary_markdown(pd.DataFrame([line]), f"released: {name}", {"model": name})
    row = next(line for line in text.splitlines() if "passed |" in line)
    assert row.startswith("| a\\|b\\\\\\|c \\`d\\` &lt;script&gt; ![x\\](http://e) \\*e\\*")
    assert not unseen(text.replace("\ufe0f", ""))
    assert not [line for line in text.splitlines() if line.lstrip().startswith("::")]


def test_a_page_shows_them(tmp_path):
    table = HtmlTable((EVIL,), [(f"{EVIL}<b>",)], 1)
    page = write_html(
        tmp_path / "report.html",
        title="a",
        subtitle=EVIL,
        verdict_sentence=EVIL,
        sections=[Section(EVIL, [EVIL], tables=[table])],
    ).read_text("utf-8")
    assert not unseen(page)
    assert r"\u202e" in page
    assert "&lt;b&gt;" in page
    assert "<table" in page
