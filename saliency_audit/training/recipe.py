"""How a training goes, apart from what it is for."""

from dataclasses import dataclass

from saliency_audit.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a training goes, apart from its objective.

    Attributes:
        epochs: backward passes over the data; with ``replay`` of one batch, the data is seen
            ``epochs / replay`` times.
        max_steps: end earlier, after so many steps; None means no earlier.
        batch_size: images of one step, over all processes.
        accumulate: parts that a step's images go through the model in, one after the other.
        lr: learning rate.
        optimizer: "sgd", "adam" or "adamw".
        momentum: of sgd.
        weight_decay: of the weights.
        schedule: "constant", "cosine" or "step".
        augment: "none" or "flip-crop".
        freeze_bn: batch normalisation uses its running statistics and leaves them as they are.
    """

    epochs: int = 1
    max_steps: int | None = None
    batch_size: int = 64
    accumulate: int = 1
    lr: float = 0.01
    optimizer: str = "sgd"
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "cosine"
    augment: str = "none"
    freeze_bn: bool = False

    def steps(self, images: int) -> int:
        """Steps of a training on so many images."""
        total = self.epochs * (images // self.batch_size)
        return total if self.max_steps is None else min(total, self.max_steps)


def check_recipe(
    recipe: Recipe, images: int, *, processes: int = 1, replay: int = 1, anew: bool = False
) -> None:
    """Refuse what cannot be trained.

    Args:
        recipe: of the training.
        images: to train on.
        processes: that share it.
        replay: steps on one batch.
        anew: whether the recipe is of networks that are trained anew (``--recipe``).

    Raises:
        InputError: numbers that mean nothing or do not go together.
    """
    epochs, most, batch = (
        ("--recipe epochs", "--recipe max-steps", "--recipe batch-size")
        if anew
        else ("--epochs", "--max-steps", "--train-batch-size")
    )
    for option, value in (
        (epochs, recipe.epochs),
        (most, 1 if recipe.max_steps is None else recipe.max_steps),
        (batch, recipe.batch_size),
        ("--accumulate", recipe.accumulate),
        ("--replay", replay),
    ):
        if value < 1:
            raise InputError(f"{option} is {value}; give at least 1")
    if recipe.augment not in ("none", "flip-crop"):
        flag = "--recipe augment" if anew else "--augment"
        raise InputError(f"{flag} is '{recipe.augment}'; give none or flip-crop")
    if images < recipe.batch_size:
        raise InputError(
            f"{batch} is {recipe.batch_size} but there are {images} training images; "
            "give fewer a batch, or more images"
        )
    parts = processes * recipe.accumulate
    if recipe.batch_size % parts:
        raise InputError(
            f"{batch} is {recipe.batch_size}, which {processes} "
            f"process{'es' if processes > 1 else ''} of --accumulate {recipe.accumulate} cannot "
            f"share; give a multiple of {parts}"
        )
    if replay > 1 and recipe.accumulate > 1:
        raise InputError(
            f"--replay {replay} keeps one perturbation a batch and --accumulate "
            f"{recipe.accumulate} splits it; leave one of them"
        )
