import os
from functools import cache
from types import SimpleNamespace

import pytest

from saliency_audit import processes


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
