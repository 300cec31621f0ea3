"""Policies and other small files that hang, never end, or nest without end: one line, exit 2."""

import os
import time
from pathlib import Path

import pytest

from saliency_audit.commands.gate.policy import read_policy
from saliency_audit.errors import InputError

DEEP = 100_000
ONE = '[[check]]\nmetric = "accuracy"\nat_least = 0.5\n'
SUMMARY = "summary.csv"


def policy(content):
    Path("policy.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    return "gate", "--policy", "policy.toml"


def pipe(name, *before):
    os.mkfifo(name)
    return (*before, name)


def sparse(name):
    with Path(name).open("wb") as file:
        file.truncate(1 << 30)
    return name


def many_classes():
    Path("data/a").mkdir(parents=True)
    return ("fool", "--data", "data", "--classes")


CASES = {
    "arrays in arrays": lambda: policy("a = " + "[" * DEEP),
    "tables in tables": lambda: policy("a = " + "{a=" * DEEP),
    "a header of parts": lambda: policy(f"[{'.'.join('a' * DEEP)}]\n"),
    "a key of parts": lambda: policy(f"{'.'.join('a' * DEEP)} = 1\n"),
    "a key of quoted parts": lambda: policy('"\\"b".' * DEEP + "a = 1\n"),
    "a key of quoted words": lambda: policy("' b' . " * DEEP + "a = 1\n"),
    "depth in steps": lambda: policy(f"{ONE}options.{'a.' * 30}a = {{ {'a.' * 30}a = 1 }}"),
    "a nested value": lambda: policy("[run]\nseed = " + "[" * 90 + "]" * 90 + "\n" + ONE),
    "a line of spaces": lambda: policy(ONE + "verdict = [\n[" + " " * 900_000 + "]]\n"),
    "a line of quotes": lambda: policy(ONE + '"' + '\\" ' * 300_000),
    "1 GB": lambda: ("gate", "--policy", sparse("policy.toml")),
    "no UTF-8": lambda: policy(b"\xff\xfe\x00["),
    "control characters": lambda: policy(b"a = 1\x00\x1b"),
    "a pipe": lambda: pipe("policy.toml", "gate", "--policy"),
    "/dev/zero": lambda: ("gate", "--policy", "/dev/zero"),
    "a folder": lambda: ("gate", "--policy", "."),
    "a NUL in a name": lambda: ("gate", "--policy", "a\0b"),
    "a link to itself": lambda: ("gate", "--policy", link("policy.toml")),
    "classes in a pipe": lambda: pipe("classes.txt", *many_classes()),
    "classes in /dev/zero": lambda: (*many_classes(), "/dev/zero"),
    "classes of 1 GB": lambda: (*many_classes(), sparse("classes.txt")),
    "a baseline in a pipe": lambda: pipe(SUMMARY, "gate", "--baseline"),
    "a baseline in /dev/zero": lambda: ("gate", "--baseline", "/dev/zero"),
    "a baseline of 1 GB": lambda: ("gate", "--baseline", sparse(SUMMARY)),
    "a baseline that is a folder": lambda: ("gate", "--baseline", "."),
    "a function in a pipe": lambda: (
        "evaluate",
        "--explain",
        *(f"{name}:f" for name in pipe("f.py")),
    ),
    "a picture in a pipe": lambda: pipe("wanted.png", "fool", "--picture"),
    "a target map in /dev/zero": lambda: (
        *("attack", "--attack", "structured"),
        *("--target-map", "/dev/zero"),
    ),
    "annotations in a pipe": lambda: pipe(
        "boxes.csv", "evaluate", "--metric", "pointing-game", "--annotations"
    ),
    "images in a pipe": lambda: pipe("images.csv", "fool", "--data"),
}


def link(name):
    Path(name).symlink_to(name)
    return name


@pytest.mark.parametrize("case", CASES)
def test_one_line_and_soon(run, case):
    arguments = CASES[case]()
    start = time.process_time()
    ran = run(*arguments)
    lines = [line for line in ran.err.splitlines() if not line.startswith("note ")]
    assert (ran.code, len(lines)) == (2, 1), ran.err
    assert lines[0].startswith("error: ")
    assert len(lines[0]) < 2500
    assert time.process_time() - start < 5
    assert not Path("saliency-audit-report").exists()


def test_a_pipe_beside_a_baseline(run):
    Path(SUMMARY).write_text("a\n")
    os.mkfifo("run.json")
    assert run("gate", "--baseline", SUMMARY).code == 2


@pytest.mark.parametrize("depth", [8, 30])
def test_names_of_no_policy_are_told_with_their_line(depth):
    with pytest.raises(InputError, match=r"unknown key|nested more than 8"):
        read_policy(f"{ONE}{'a.' * depth}b = 1\n", "policy")
    with pytest.raises(InputError, match="policy, line 4: a name has too many parts"):
        read_policy(f"{ONE}{'a.' * 40}b = 1\n", "policy")


def test_dots_in_text_are_no_parts():
    text = f'[data]\ndata = "{"../" * 40}images.v1.2.3"\n# {"." * 200}\n{ONE}'
    assert read_policy(text, "policy").data["data"].endswith("3")
