"""``--train``: images on which a copy of the model, or a network for it, is trained."""

from typing import TYPE_CHECKING

from saliency_audit.commands.setup import Setup
from saliency_audit.errors import InputError

if TYPE_CHECKING:
    from saliency_audit.data import ImageData

_BUNDLED = "bundled:fashion-mnist-train"


def images_to_train_on(
    spec: str | None, setup: Setup, *, what: str, trains: str = "a copy of the model"
) -> "ImageData":
    """Open them, prepared as those that are audited; by default those of the bundled network.

    Args:
        spec: as on the command line.
        setup: the model and the images that are audited; told what the user should know.
        what: asks for a training, for messages.
        trains: what is trained.

    Raises:
        InputError: there are none that fit the model, or their classes are others.
    """
    shape = setup.model.input_shape
    if spec is None:
        if shape != (1, 28, 28):
            raise InputError(
                f"{what} trains {trains}, and no training images of "
                f"{'x'.join(map(str, shape))} are bundled; give some with --train (in a policy, "
                "with train in [data])"
            )
        spec = _BUNDLED
        setup.tell(f"no --train: {what} trains on 6,000 bundled images of Fashion-MNIST")
    data = setup.open(spec)
    for note in data.notes:
        setup.tell(note)
    names = (data.class_names, setup.data.class_names)
    if None not in names and names[0] != names[1]:
        raise InputError(
            f"--train has the classes {', '.join(names[0] or ())} and --data "
            f"{', '.join(names[1] or ())}, so one index would mean two classes; give --classes"
        )
    return data
