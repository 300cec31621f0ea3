"""Networks of the model's architecture that metrics look at: trained anew once, kept in files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliency_audit.commands.evaluate.recipe import (
    fresh_network,
    read_recipe,
    refuse_unlabelled,
)
from saliency_audit.commands.kept import DECIDED, decided_by, metadata, trained_once
from saliency_audit.commands.setup import Setup
from saliency_audit.metrics import METRICS
from saliency_audit.options import Given
from saliency_audit.processes import Processes
from saliency_audit.training.recipe import check_recipe

if TYPE_CHECKING:
    from saliency_audit.data import ImageData
    from saliency_audit.models import Classifier
    from saliency_audit.training.retrain import Anew

FILE = "trained-{}.safetensors"
"""Of a network, with its kind in it."""
JUDGE = "again"
"""The kind of the one that is a judge."""


@dataclass
class Networks:
    """Gives the networks that are trained anew, by kind.

    "again" is trained on the training images, "swapped" with another seed on images of which a
    share is exchanged for test images, "permuted" on each other's labels.

    Attributes:
        data: the training images.
        tested: the test images.
        setup: the model and the screen.
        given: of the command line: recipe, architecture, seed and workers.
        swap: share of the training images that makes way in "swapped".
        kinds: that are asked for.
        folder: where files are kept.
        processes: of this run.
        made: by kind.
    """

    data: "ImageData"
    tested: "ImageData"
    setup: Setup
    given: Given
    swap: float
    kinds: Sequence[str]
    folder: Path
    processes: Processes
    made: "dict[str, Anew]" = field(default_factory=dict)

    @property
    def files(self) -> list[str]:
        """That it writes into the output folder."""
        return [FILE.format(kind) for kind in self.kinds]

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides the numbers of a run, beside the options of metrics."""
        return {
            "train": [self.data.name, self.data.fingerprint],
            "test": [self.tested.name, self.tested.fingerprint],
            "recipe": asdict(read_recipe(self.given.recipe or ())),
            "retrain": self.given.retrain,
        }

    def __call__(self, kind: str, model: "Classifier") -> "Anew":
        """The network of a kind: `make` has made it.

        Args:
            kind: "again", "swapped" or "permuted".
            model: that is audited; all of a run share one architecture's networks.
        """
        del model
        return self.made[kind]

    def make(self) -> None:
        """Train what no earlier run has left in a file; every process calls this alike.

        Raises:
            InputError: nothing can be trained.
            AuditError: a training failed.
        """
        for kind, name in zip(self.kinds, self.files, strict=True):
            self._make(kind, self.folder / name)

    def _make(self, kind: str, path: Path) -> None:
        from saliency_audit.data.dataset import permuted, swapped
        from saliency_audit.seeding import seed_of

        seed = seed_of(self.given.seed, "trained anew", kind)
        data = {
            "again": lambda: self.data,
            "swapped": lambda: swapped(self.data, self.tested, self.swap, self.given.seed),
            "permuted": lambda: permuted(self.data, self.given.seed),
        }[kind]()
        recipe = read_recipe(self.given.recipe or ())
        decides = decided_by(
            self.setup.model,
            arch=self.given.retrain or repr(self.setup.model.network),
            seed=seed,
            recipe=asdict(recipe),
            **{"training data": data.fingerprint},
        )
        trained_once(
            path,
            decides,
            lambda: self._train(kind, data, seed, decides, path),
            processes=self.processes,
        )
        self.made[kind] = found = self._read(path, seed)
        self.setup.tell(
            f"trained anew ({kind}): right on {found.accuracy:.1%} of training images"
            + ("" if kind != "permuted" else ", by their permuted labels")
        )
        if found.constant:
            self.setup.tell(
                f"WARNING: the network trained anew ({kind}) says one class of all training "
                "images: it has learned nothing, and a comparison with its maps means nothing"
            )

    def _train(self, kind: str, data: "ImageData", seed: int, decides: str, path: Path) -> None:
        from saliency_audit.models import save_state_dict
        from saliency_audit.training.retrain import trained_anew

        setup = self.setup
        with setup.screen.progress(f"evaluate: training ({kind})", quiet=setup.quiet) as advance:
            found = trained_anew(
                fresh_network(setup.model, self.given, seed),
                data,
                recipe=read_recipe(self.given.recipe or ()),
                seed=seed,
                workers=self.given.workers,
                advance=advance,
            )
        said = {
            DECIDED: decides,
            "accuracy": repr(found.accuracy),
            "constant": str(found.constant),
        }
        save_state_dict(found.model.network, path, metadata=said)

    def _read(self, path: Path, seed: int) -> "Anew":
        from safetensors.torch import load_file

        from saliency_audit.training.retrain import Anew

        model = fresh_network(self.setup.model, self.given, seed)
        model.network.load_state_dict(load_file(path))
        model.name = path.stem
        said = metadata(path)
        model = model.eval().requires_grad_(False)
        return Anew(model, float(said["accuracy"]), said["constant"] == "True")


def networks(
    given: Given,
    setup: Setup,
    processes: Processes,
    *,
    metrics: Mapping[str, Mapping[str, Any]],
    data: "ImageData | None",
    tested: "Callable[[], ImageData]",
    judged: bool,
    folder: Path,
) -> Networks | None:
    """What is trained anew for metrics that look at such networks; None where none does.

    Args:
        given: of the command line.
        setup: the model and the images.
        processes: of this run.
        metrics: that are measured, with their options.
        data: the training images.
        tested: gives the test images.
        judged: whether the judge of the run is trained anew.
        folder: the output folder.

    Raises:
        InputError: nothing can be trained.
    """
    kinds = dict.fromkeys(kind for name in metrics for kind in METRICS[name].networks)
    kinds |= dict.fromkeys([JUDGE] if judged else [])
    if not kinds:
        return None
    assert data is not None
    name = next((name for name in metrics if METRICS[name].networks), "gan-test")
    refuse_unlabelled(data, "--train", name)
    check_recipe(read_recipe(given.recipe or ()), len(data), anew=True)
    fresh_network(setup.model, given, given.seed)
    swap = float(metrics.get("retrained-stability", {}).get("swap", 0.1))
    return Networks(data, tested(), setup, given, swap, list(kinds), folder, processes)
