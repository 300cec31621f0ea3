import os
from datetime import timedelta
from functools import cache
from types import SimpleNamespace

import accelerate
import pytest

from saliency_audit import processes
from saliency_audit.errors import InputError


def test_one_process_alone_ends_as_python_does():
    with pytest.raises(SystemExit, match="3"):
        processes.leave(3)


def test_one_of_many_ends_without_pythons_cleaning_up(monkeypatch):
    ended = []

    def end(code):
        ended.append(code)
        raise KeyboardInterrupt

    state = SimpleNamespace(process_index=1, num_processes=2, local_process_index=1)
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(processes, "_joined", cache(lambda cpu: state))
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert not processes.processes("cpu").main
    with pytest.raises(KeyboardInterrupt):
        processes.leave(3)
    assert ended == [3]


def test_what_the_first_process_makes_is_that_of_all(monkeypatch):
    sent = []

    def broadcast(said):
        sent.append(said)
        return sent[0]

    monkeypatch.setattr(accelerate.utils, "broadcast_object_list", broadcast)
    first, second = (processes.Processes(rank, 2, rank, object()) for rank in (0, 1))
    assert first.by_first(lambda: "made") == "made"
    assert second.by_first(lambda: pytest.fail("it was made twice")) == "made"
    assert processes.ALONE.by_first(lambda: "alone") == "alone"


def test_where_the_first_process_fails_all_end_alike(monkeypatch):
    sent = []

    def broadcast(said):
        sent.append(said)
        return sent[0]

    def fail():
        raise InputError(option="k", value=2, fix="give less")

    monkeypatch.setattr(accelerate.utils, "broadcast_object_list", broadcast)
    for rank in (0, 1):
        with pytest.raises(InputError, match="--k is 2; give less"):
            processes.Processes(rank, 2, rank, object()).by_first(fail)


def test_a_process_waits_for_one_that_has_hours_left(monkeypatch):
    # The others of a group are told that it is lost after ten minutes, unless said otherwise.
    monkeypatch.setattr(accelerate, "PartialState", lambda cpu, timeout: (cpu, timeout))
    cpu, timeout = processes._joined.__wrapped__(True)
    assert cpu
    assert timeout > timedelta(days=100)
