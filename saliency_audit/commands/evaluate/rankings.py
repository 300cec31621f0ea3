"""The orders of pixels that trainings replace by: made once, kept on disk while they go on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from saliency_audit.catalogue.methods import CONTROLS
from saliency_audit.commands.explain import explain, predict
from saliency_audit.data import batches
from saliency_audit.data.replacement import ranking, replaced
from saliency_audit.errors import AuditError
from saliency_audit.maps import is_defined
from saliency_audit.report.folder import RANKINGS
from saliency_audit.seeding import generators
from saliency_audit.training.retrain import Change

if TYPE_CHECKING:
    from saliency_audit.commands.evaluate.retraining import Retraining, Training

_AT_ONCE = 32


class Rankings:
    """What gives the changed images of each training, as long as it is entered.

    For each model, method and unit a file holds the order of the pixels of all training and test
    images, 4 bytes each: memory does not grow with the number of images.

    Args:
        run: whose maps they are.
        trainings: that will be asked for.
    """

    def __init__(self, run: "Retraining", trainings: "Sequence[Training]") -> None:
        self.run = run
        kinds = {_kind(one): None for one in trainings if one.replacement.saliency}
        folder = run.folder / Path(RANKINGS).parent
        self._files = {
            kind: folder / Path(RANKINGS).name.replace("*", str(i)) for i, kind in enumerate(kinds)
        }
        self._rows = len(run.data) + len(run.tested)
        self._places = (
            {name: row for row, name in enumerate(run.data.names)},
            {name: row for row, name in enumerate(run.tested.names, len(run.data))},
        )
        self._ranks: dict[Any, np.ndarray[Any, np.dtype[np.int32]]] = {}
        self._mean = torch.zeros(run.models[0].input_shape[0])

    def __enter__(self) -> "Rankings":
        run, processes = self.run, self.run.processes
        channels, height, width = run.models[0].input_shape
        if processes.main:
            for (_, _, unit), path in self._files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                count = height * width * (channels if unit == "value" else 1)
                np.lib.format.open_memmap(path, "w+", np.int32, (self._rows, count)).flush()
        processes.wait()
        for kind, path in self._files.items():
            self._ranks[kind] = np.lib.format.open_memmap(path, "r+")
        self._mean = self._mean_colour()
        total, made, strange = self._rows * len(self._files) // processes.world, 0, 0
        problem: AuditError | None = None
        try:
            with run.setup.screen.progress("evaluate: maps", quiet=run.setup.quiet) as advance:
                for kind in self._files:
                    for images, unclear in self._orders(kind):
                        made, strange = made + images, strange + unclear
                        advance(min(made, total), total)
        except AuditError as error:
            problem = error
        for ranks in self._ranks.values():
            ranks.flush()  # type: ignore[attr-defined]
        # All end alike: the others would wait for the first one for ever.
        every = processes.gathered((problem, strange))
        problem = next((failed for failed, _ in every if failed is not None), None)
        strange = sum(unclear for _, unclear in every)
        if problem is not None:
            self._remove()
            raise problem
        if strange:
            run.setup.tell(
                f"{strange:,} of {self._rows * len(self._files):,} maps say nothing (zero, "
                "constant or not finite): their pixels are replaced in an order drawn by lot"
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del error, trace
        if kind is None:
            self.run.processes.wait()
        self._remove()

    def changes(self, one: "Training") -> tuple[Change | None, Change | None]:
        """What a training and its test see in place of images; None for the images themselves."""
        replacement = one.replacement
        if not replacement.saliency:
            return None, None
        ranks = self._ranks[_kind(one)]

        def changed(places: Mapping[str, int], names: Sequence[str], images: Tensor) -> Tensor:
            rows = torch.from_numpy(ranks[[places[name] for name in names]])
            return replaced(images, rows.to(images.device), replacement, self._mean)

        training, test = (partial(changed, places) for places in self._places)
        return training, test

    def _remove(self) -> None:
        self._ranks.clear()
        if self.run.processes.main:
            for path in self._files.values():
                with suppress(OSError):
                    path.unlink()

    def _orders(self, kind: "tuple[int, str, Any]") -> Iterator[tuple[int, int]]:
        """Order the pixels of this process's share; yields images done and maps without order."""
        run = self.run
        place, method, unit = kind
        model = run.models[max(place, 0)]
        shard = (run.processes.rank, run.processes.world)
        for part, places in zip((run.data, run.tested), self._places, strict=True):
            for batch in batches(
                part,
                batch_size=min(_AT_ONCE, run.setup.batch_size),
                workers=run.given.workers,
                device=model.mean.device,
                shard=shard,
            ):
                if not batch.names:
                    continue
                targets = batch.labels
                if run.given.target == "predicted" and method not in CONTROLS:
                    size = len(batch.images)
                    targets = predict(model, batch.images, batch_size=size).argmax(1)
                maps = explain(
                    method,
                    model,
                    batch.images,
                    targets,
                    names=batch.names,
                    scalar=run.given.scalar,
                    seed=run.given.seed,
                    batch_size=run.setup.batch_size,
                    options=run.options,
                    methods=run.known,
                )
                draws = generators(run.given.seed, batch.names, f"ties|{method}")
                rows = [places[name] for name in batch.names]
                self._ranks[kind][rows] = ranking(maps, draws, unit=unit).numpy()
                unclear = int((~is_defined(maps)).sum())
                yield len(batch.names) + len(batch.failures), unclear

    def _mean_colour(self) -> Tensor:
        """Of the training images, ``(c,)``."""
        total, images = torch.zeros(self._mean.shape, dtype=torch.float64), 0
        for batch in batches(self.run.data, batch_size=_AT_ONCE, workers=self.run.given.workers):
            total += batch.images.double().mean((2, 3)).sum(0)
            images += len(batch.names)
        return (total / max(1, images)).float()


def _kind(one: "Training") -> "tuple[int, str, Any]":
    return one.place, one.replacement.saliency, one.replacement.unit
