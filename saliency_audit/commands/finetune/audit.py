"""Train a classifier so that its gradients can be trusted more, keeping what was reached (E)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from saliency_audit.commands.clean import clean_accuracy, merged
from saliency_audit.data import ImageData
from saliency_audit.errors import AuditError, InputError, UnsupportedError, lookup
from saliency_audit.models import Classifier, activation_metadata, save, save_state_dict
from saliency_audit.training import OBJECTIVES
from saliency_audit.training.checkpoint import write_checkpoint
from saliency_audit.training.loop import ByName, Trained, train
from saliency_audit.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator

CHECKPOINT = Path("checkpoint") / "last.pt"


def finetune(
    model: Classifier,
    data: ImageData,
    validation: ImageData,
    *,
    objective: str,
    folder: Path,
    recipe: Recipe,
    options: Mapping[str, Any] | None = None,
    targets: ByName | None = None,
    annotations: ByName | None = None,
    every: int | None = None,
    min_accuracy: float = 0.0,
    seed: int = 0,
    batch_size: int = 256,
    workers: int = 0,
    state: Mapping[str, Any] | None = None,
    together: "Accelerator",
    stopping: Callable[[], bool] = lambda: False,
) -> Iterator[Trained]:
    """Train in place; measure and keep the weights now and then.

    Args:
        model: its weights change.
        data: what it is trained on.
        validation: what its accuracy is measured on.
        objective: a name in ``OBJECTIVES``.
        folder: the output folder; the weights are kept in ``checkpoint/last.pt``.
        recipe: how it is trained.
        options: of the objective.
        targets: the teacher's maps by name of the image.
        annotations: what people marked, likewise.
        every: steps between two measurements; None means an epoch.
        min_accuracy: on the validation images, below which training ends.
        seed: of all draws.
        batch_size: most images the model sees at once when its accuracy is measured.
        workers: processes that read images.
        state: of the checkpoint to go on from.
        together: the processes.
        stopping: asked after each step whether to stop.

    Yields:
        What `train` does; where ``keep`` is set, "val_accuracy" is among the values (but when it
        was stopped), and a checkpoint is written as soon as the next one is asked for.

    Raises:
        InputError: something that cannot be trained.
        AuditError: it diverged, or the accuracy fell too low; the last checkpoint is that of
            before.
        KeyboardInterrupt: it was stopped, after a checkpoint.
    """
    entry = lookup("objective", OBJECTIVES, objective)
    every = every or max(1, len(data) // recipe.batch_size)
    last = "No checkpoint was written yet"
    if state is not None:
        last = f"{CHECKPOINT} holds the weights of step {state['step']}"
    try:
        for trained in train(
            model,
            data,
            entry,
            recipe=recipe,
            options=options,
            targets=targets,
            annotations=annotations,
            seed=seed,
            workers=workers,
            state=state,
            together=together,
            stopping=stopping,
        ):
            due = trained.step % every == 0 or trained.step == trained.steps
            values = dict(trained.values)
            if due:
                values["val_accuracy"] = _accuracy(
                    model, validation, batch_size=batch_size, workers=workers, together=together
                )
            yield replace(trained, values=values, keep=due or trained.stop)
            if due and values["val_accuracy"] < min_accuracy:
                raise AuditError(
                    f"accuracy {values['val_accuracy']:.1%} at step {trained.step} is below "
                    f"--min-accuracy {min_accuracy:g}; lower --lr (now {recipe.lr:g}) or what the "
                    "objective weighs, or train for longer"
                )
            if due or trained.stop:
                kept = trained.state()
                _refuse_broken(kept, trained.step, recipe)
                if together.is_main_process:
                    write_checkpoint(folder / CHECKPOINT, kept)
                last = f"{CHECKPOINT} holds the weights of step {trained.step}"
            if trained.stop:
                raise KeyboardInterrupt
        # Asked during the last measurement; the checkpoint is written.
        if any(_gathered(stopping(), together)):
            raise KeyboardInterrupt
    except InputError:
        raise
    except AuditError as error:
        raise AuditError(f"{error}. {last}") from error


def save_trained(model: Classifier, folder: Path, *, tell: Callable[[str], None]) -> Path:
    """Write the weights under their own names, and the program where the network allows it.

    Args:
        model: the trained classifier.
        folder: where ``model.safetensors`` and ``model.pt2`` go.
        tell: told why there is no program.

    Returns:
        ``model.safetensors``.

    Raises:
        OSError: a file cannot be written.
    """
    weights = folder / "model.safetensors"
    save_state_dict(model.network, weights, metadata=activation_metadata(model.activation))
    program = folder / "model.pt2"
    try:
        save(
            model.network,
            program,
            format="exported",
            input_shape=model.input_shape,
            activation=model.activation,
            dtype=model.dtype,
        )
    except UnsupportedError as error:
        tell(f"no model.pt2: {error}")
    return weights


def check_training_data(data: ImageData, outputs: int) -> list[str]:
    """Refuse labels that nothing can be learned from.

    Args:
        data: the training images.
        outputs: of the model.

    Returns:
        Lines that the user should read.

    Raises:
        InputError: images without labels, of one class only, or of a class beyond the outputs.
    """
    missing = int((data.labels < 0).sum())
    if missing:
        raise InputError(
            f"{missing} of {len(data)} training images of {data.name} have no label; training "
            "needs one for each: give a folder of class folders or a manifest with a column label"
        )
    classes = np.unique(data.labels)
    if classes[-1] >= outputs:
        raise InputError(
            f"a training image of {data.name} has label {classes[-1]} but the model has "
            f"{outputs} outputs (0 to {outputs - 1})"
        )
    if len(classes) < 2:
        raise InputError(
            f"all {len(data)} training images of {data.name} are of class {classes[0]}; training "
            "needs at least two classes"
        )
    absent = outputs - len(classes)
    return [f"{absent} of {outputs} classes have no training image"] if absent else []


def _accuracy(
    model: Classifier,
    data: ImageData,
    *,
    batch_size: int,
    workers: int,
    together: "Accelerator",
) -> float:
    share = (together.process_index, together.num_processes)
    if together.num_processes > 1:
        from accelerate.utils import broadcast

        # Each process has running statistics of its own; those of the first are kept.
        for buffer in model.network.buffers():
            broadcast(buffer)
    mine = clean_accuracy(model, data, batch_size=batch_size, workers=workers, shard=share)
    clean = merged(_gathered(mine, together))
    return float("nan") if clean.accuracy is None else clean.accuracy


def _gathered(value: Any, together: "Accelerator") -> list[Any]:
    """The values of all processes."""
    if together.num_processes == 1:
        return [value]
    from accelerate.utils import gather_object

    values: list[Any] = gather_object([value])
    return values


def _refuse_broken(state: Mapping[str, Any], step: int, recipe: Recipe) -> None:
    broken = [name for name, weight in state["state_dict"].items() if not weight.isfinite().all()]
    if broken:
        raise AuditError(
            f"training diverged by step {step}: {broken[0]} is not finite; lower --lr (now "
            f"{recipe.lr:g})"
        )
