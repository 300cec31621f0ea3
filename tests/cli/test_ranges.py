"""Every number of every command and of a policy has a range, and beyond it is told in one line."""

from math import isfinite

import pytest

from saliency_audit.catalogue.attacks import ATTACKS
from saliency_audit.catalogue.metrics import METRICS
from saliency_audit.catalogue.tricks import TRICKS
from saliency_audit.cli import ENTRIES
from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.commands.gate.policy_values import CHECK, DATA, RUN, options_of_check
from saliency_audit.errors import InputError
from saliency_audit.options import NUMBERS, Option

ONE = '[[check]]\nmetric = "accuracy"\nat_least = 0.5\n'


def options():
    """Command and each of its options that takes numbers."""
    for entry in ENTRIES:
        yield from ((entry.name, option) for option in entry.options if option.kind in NUMBERS)


def keys():
    """Each number of a policy."""
    tables = [DATA, RUN, CHECK]
    for kind, registry in (("metric", METRICS), ("trick", TRICKS), ("attack", ATTACKS)):
        tables += [options_of_check(kind, name) for name in registry]
    for table in tables:
        yield from (option for option in table.values() if option.kind in NUMBERS)


def test_a_number_without_a_range_cannot_be_declared():
    for kind in NUMBERS:
        with pytest.raises(AssertionError, match="needs a range"):
            Option("free", kind)
    assert len(list(options())) > 100


@pytest.mark.parametrize("option", [*keys(), *(o for _, o in options())], ids=lambda o: o.name)
def test_every_number_has_both_ends(option):
    assert isfinite(option.range.low)
    assert option.range.low < option.range.high < 2**63


@pytest.mark.parametrize(
    ("command", "option"), list(options()), ids=lambda one: getattr(one, "name", one)
)
def test_above_and_below_are_refused_in_one_line(run, command, option):
    bounds = option.range
    whole = isinstance(bounds.high, int)
    for value in (bounds.high + 1 if whole else bounds.high * 2, bounds.low - 1):
        ran = run(command, f"{option.flag}={value}")
        assert ran.code == 2
        assert len(ran.err.splitlines()) == 1
        assert f"error: {option.flag} is " in ran.err
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
            '[[check]]\nmetric = "aopc"\nsaliency = "gradient"\nat_least = 0.5\nregions = [1, -1]',
            5,
            "regions is -1; give",
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
