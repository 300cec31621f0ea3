"""Every number of every command and of a policy has a range, and beyond it is told in one line."""

from math import isfinite
from typing import get_args

import pytest
import typer

from saliency_audit.cli import app
from saliency_audit.cli.bounded import Bounded
from saliency_audit.cli.typed import Colour
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.commands.gate.policy_values import (
    ATTACK,
    CHECK,
    DATA,
    KEYS,
    RUN,
    metric_options,
    trick_options,
)
from saliency_audit.errors import InputError
from saliency_audit.metrics import METRICS
from saliency_audit.ranges import RANGES
from saliency_audit.tricks import TRICKS

COMMANDS = typer.main.get_command(app).commands
ONE = '[[check]]\nmetric = "accuracy"\nat_least = 0.5\n'


def numeric(hint):
    """Whether a value of this type is a number, or holds one."""
    return hint in (int, float, Colour) or any(map(numeric, get_args(hint)))


def options():
    """Command, parameter and spelling of each option that takes numbers."""
    for command, made in COMMANDS.items():
        hints = made.callback.__annotations__
        for param in made.params:
            # The one number that may also be a word.
            if numeric(hints.get(param.name)) or param.name == "batch_size":
                yield command, param.name, param.opts[0]


def keys():
    """Table of a policy and key of each number."""
    tables = {"[data]": DATA, "[run]": RUN, "[[check]]": CHECK, "attack": ATTACK}
    tables |= {name: metric_options(name) for name in METRICS}
    tables |= {name: trick_options(name) for name in TRICKS}
    for table, known in tables.items():
        yield from ((table, key) for key, hint in known.items() if numeric(hint))


def test_every_command_looks_its_numbers_up():
    assert all(isinstance(command, Bounded) for command in COMMANDS.values())
    assert len(list(options())) > 100


@pytest.mark.parametrize("name", sorted({name for _, name, _ in options()}))
def test_every_numeric_option_has_both_ends(name):
    assert name in RANGES, f"give {name} a range in saliency_audit/ranges.py"
    assert isfinite(RANGES[name].low)
    assert RANGES[name].low < RANGES[name].high < 2**63


@pytest.mark.parametrize("key", sorted({key for _, key in keys()}))
def test_every_number_of_a_policy_has_both_ends(key):
    assert key in RANGES, f"give {key} a range in saliency_audit/ranges.py"


def test_a_key_has_the_range_of_its_option():
    for option, inside in KEYS.items():
        for key in inside:
            assert RANGES[key] == RANGES[option]


@pytest.mark.parametrize(("command", "name", "option"), list(options()))
def test_above_and_below_are_refused_in_one_line(run, command, name, option):
    bounds = RANGES[name]
    whole = isinstance(bounds.high, int)
    for value in (bounds.high + 1 if whole else bounds.high * 2, bounds.low - 1):
        ran = run(command, f"{option}={value}")
        assert ran.code == 2
        assert len(ran.err.splitlines()) == 1
        assert f"error: {option} is " in ran.err
        assert f"give {bounds}" in ran.err


LONG = "9" * 5000


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--seed", LONG, "--seed"),
        ("--seed", "9" * 4000, "about 4,001 digits"),
        ("--seed", "-1", "-1; give at least 0"),
        ("--batch-size", LONG, "--batch-size"),
        ("--batch-size", "99999999999999999999", "99,999,999,999,999,999,999; give at least 1"),
        ("--batch-size", "²", "neither auto nor"),
        ("--batch-size", "0", "--batch-size is 0; give at least 1"),
        ("--eps", LONG, "--eps"),
        ("--eps", f"1/{LONG}", "--eps"),
        ("--eps", "1e400", "1e400"),
        ("--mean", "1e400", "--mean is inf; give"),
        ("--mean", "nan", "--mean is nan; give"),
        ("--mean", "0.5,nan,0.5", "--mean is nan; give"),
        ("--std", "0", "--std is 0; give"),
        ("--std", "-1", "--std is -1; give"),
        ("--std", "nan", "--std is nan; give"),
        ("--std", "1e-50", "--std is 1e-50; give"),
        ("--noise-level", "nan", "--noise-level is nan; give"),
        ("--noise-level", "inf", "--noise-level is inf; give"),
        ("--device", f"cuda:{LONG}", "give auto, cpu"),
    ],
)
def test_numbers_that_are_none(run, option, value, said):
    ran = run("fool", f"{option}={value}")
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1
    assert len(ran.err) < 2500
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_processes_of_thousands_of_digits(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", LONG)
    ran = run("gate")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[data]\nsize = 0\n", 2, "size is 0; give at least 1 and at most 16,384"),
        ("[data]\nsize = 20000\n", 2, "size is 20,000; give"),
        ("[data]\nmean = [0.5, nan]\n", 2, "mean is"),
        ("[data]\nmean = 1e400\n", 2, "mean is inf"),
        ("[data]\nstd = 0\n", 2, "std is 0; give"),
        ("[data]\nstd = [0.2, -0.2, 0.2]\n", 2, "std is -0.2; give"),
        ("[run]\nseed = -1\n", 2, "seed is -1; give at least 0"),
        ("[run]\nseed = 9223372036854775808\n", 2, "seed is 9,223,372,036,854,775,808; give"),
        (f"[run]\nseed = {LONG}\n", 2, "a number has thousands of digits"),
        (f"[run]\nseed = 0x{'f' * 5000}\n", 2, "seed is a number of about 6,021 digits; give"),
        (f"[run]\nnoise_level = 0x{'f' * 5000}\n", 2, "noise_level is a number of about 6,021"),
        (f"[run]\nnoise_level = '{LONG}/3'\n", 2, "noise_level is"),
        (f"[run]\nlayer = 0x{'f' * 5000}\n", 2, "layer is a number of about 6,021 digits; give"),
        ("[run]\nbatch_size = 99999999999999999999\n", 2, "batch_size is 99,999,999,999"),
        ("[run]\nbatch_size = 0\n", 2, "batch_size is 0; give at least 1"),
        (
            '[[check]]\nmetric = "deletion"\nsaliency = "gradient"\nat_most = 0.5\nsteps = 9999999',
            5,
            "steps is 9,999,999; give",
        ),
        (
            '[[check]]\nmetric = "aopc"\nsaliency = "gradient"\nat_least = 0.5\ncounts = [1, -1]',
            5,
            "counts is -1; give",
        ),
        (
            '[[check]]\nattack = "topk"\nsaliency = "gradient"\nverdict = ["steady"]\nbeta = inf',
            5,
            "beta is inf",
        ),
    ],
)
def test_a_policy_s_numbers(text, line, said):
    with pytest.raises(InputError) as refused:
        read_policy(text + ("" if "[[" in text else ONE), "policy")
    message = str(refused.value)
    assert f"policy, line {line}: " in message
    assert said in message
    assert len(message) < 500
