"""One process, or the many that ``accelerate launch`` or ``torchrun`` started."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from saliency_audit.errors import AuditError, InputError

if TYPE_CHECKING:
    from accelerate import PartialState

Made = TypeVar("Made")
_PATIENCE = timedelta(days=365)
"""How long a process waits for another: one that trains, or has more images left after a kill, may
take far longer than the ten minutes after which NCCL would end them all."""


@dataclass(frozen=True)
class Processes:
    """This process among all of the run.

    Attributes:
        rank: from 0; process 0 prints and writes the report.
        world: how many there are.
        local_rank: among those on this machine, which of its GPUs to take.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    _state: "PartialState | None" = None

    @property
    def main(self) -> bool:
        """Whether this one prints and writes the report."""
        return self.rank == 0

    def wait(self) -> None:
        """Return once all processes are here."""
        if self._state is not None:
            self._state.wait_for_everyone()

    def gathered(self, value: Any) -> list[Any]:
        """The values of all processes, by rank."""
        if self._state is None:
            return [value]
        from accelerate.utils import gather_object

        values: list[Any] = gather_object([value])
        return values

    def by_first(self, work: Callable[[], Made]) -> Made:
        """What the first process makes, for all of them; every process calls this alike.

        Raises:
            AuditError: it failed there; all end alike, who would wait for the first one for ever.
        """
        if self._state is None:
            return work()
        from accelerate.utils import broadcast_object_list

        said: list[Any] = [None, None]
        if self.main:
            try:
                said = [work(), None]
            except AuditError as error:
                said = [None, error]
        made, problem = broadcast_object_list(said)
        if problem is not None:
            raise problem
        return made  # type: ignore[no-any-return]

    def close(self) -> None:
        """Part from the others; they have nothing to say to each other any more."""
        if self._state is not None:
            self._state.wait_for_everyone()
            self._state.destroy_process_group()

    def device(self, name: str) -> str:
        """What ``--device`` means to this process: each takes a GPU of its own."""
        if self.world > 1 and name in ("auto", "cuda"):
            import torch

            if torch.cuda.is_available():
                return f"cuda:{self.local_rank}"
        return name


ALONE = Processes()
"""What a command is that no launcher started."""


def launched() -> int:
    """How many processes a launcher says that it started.

    Raises:
        InputError: what it says is no number, or not all that a launcher says.
    """
    given = os.environ.get("WORLD_SIZE", "1")
    # Python refuses to read a number of thousands of digits.
    if not given.isdecimal() or len(given) > 9:
        raise InputError(f"WORLD_SIZE is '{given}'; unset it, or let the launcher set a number")
    if int(given) > 1 and "RANK" not in os.environ:
        raise InputError(
            f"WORLD_SIZE is {given}, but no RANK says which of them this process is; unset it, or "
            "start with torchrun or accelerate launch"
        )
    return int(given)


def processes(device: str) -> Processes:
    """The processes that a launcher started; one, if none did.

    Args:
        device: of the command line; "cpu" keeps the processes off the GPUs.
    """
    if launched() < 2:
        return ALONE
    import torch

    state = _joined(device == "cpu" or not torch.cuda.is_available())
    return Processes(state.process_index, state.num_processes, state.local_process_index, state)


@dataclass(frozen=True)
class Apart:
    """A process that works alone beside others, and talks with them now and then.

    Attributes:
        rank: from 0.
        world: how many there are.
        local_rank: among those on this machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    _store: Any = None

    @property
    def main(self) -> bool:
        """Whether this one writes the report."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """What ``--device`` means to this process: each takes a GPU of its own."""
        return Processes(self.rank, self.world, self.local_rank).device(name)

    def tell(self, name: str, value: Any) -> None:
        """Say something that JSON can hold, for whoever asks for it by name."""
        if self._store is not None:
            self._store.set(f"saliency-audit/{name}", json.dumps(value))

    def hear(self, name: str) -> Any:
        """What any process said under a name; waits until it does."""
        return json.loads(self._store.get(f"saliency-audit/{name}"))


_OF_LAUNCHERS = ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@contextmanager
def apart() -> Iterator[Apart]:
    """Inside, each process that a launcher started is a process alone to everything that runs.

    Unlike `processes` they make no group: what is trained inside is trained by one process.

    Raises:
        InputError: what the launcher says is not all that one says.
    """
    world = launched()
    if world < 2:
        yield Apart()
        return
    from torch.distributed.rendezvous import rendezvous

    said = {name: os.environ[name] for name in _OF_LAUNCHERS if name in os.environ}
    store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    local = int(said.get("LOCAL_RANK", rank))
    try:
        for name in said:
            del os.environ[name]
        yield Apart(rank, world, local, store)
    finally:
        os.environ.update(said)


@cache
def _joined(cpu: bool) -> "PartialState":
    from accelerate import PartialState

    return PartialState(cpu=cpu, timeout=_PATIENCE)


def leave(code: int) -> NoReturn:
    """End this process with an exit code; one of many ends without Python's cleaning up.

    A model wrapped for several processes keeps gloo's threads alive even after the group is
    destroyed. One that lets go of a tensor while the interpreter is being torn down aborts a
    process that had done all its work, and the launcher then stops the others.
    """
    if _joined.cache_info().currsize:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
