"""The images that the package carries."""

import numpy as np

from saliency_audit import assets
from saliency_audit.data.arrays import from_arrays
from saliency_audit.data.dataset import NO_LABEL, ImageData
from saliency_audit.data.files import ReadFile, Sizes
from saliency_audit.data.request import Request
from saliency_audit.errors import InputError, lookup


def fashion_mnist_test(request: Request) -> ImageData:
    """1,000 test images of Fashion-MNIST, 100 a class."""
    return from_arrays(
        *assets.bundled_images("test"),
        request,
        name="bundled:fashion-mnist",
        class_names=assets.FASHION_CLASSES,
    )


def fashion_mnist_train(request: Request) -> ImageData:
    """6,000 training images of Fashion-MNIST, 600 a class."""
    return from_arrays(
        *assets.bundled_images("train"),
        request,
        name="bundled:fashion-mnist-train",
        class_names=assets.FASHION_CLASSES,
    )


def photographs(request: Request) -> ImageData:
    """The colour photographs; for a grey model they are converted."""
    if request.classes_file is not None:
        raise InputError("--classes is for folders of class folders; the photographs have no class")
    paths = assets.photographs()
    names = [path.name for path in paths]
    grey = ", converted to grey" if request.prepare.input_shape[0] == 1 else ""
    root = paths[0].parent
    return ImageData(
        name="bundled:photographs",
        names=names,
        labels=np.full(len(names), NO_LABEL, np.int64),
        sizes=Sizes(root, names),
        read=ReadFile(root, names, request.prepare),
        input_shape=request.prepare.input_shape,
        notes=[
            f"using {len(names)} bundled photographs, unlabelled{grey}; checks that need labels "
            "are undefined"
        ],
    )


BUNDLED = {
    "fashion-mnist": fashion_mnist_test,
    "fashion-mnist-train": fashion_mnist_train,
    "photographs": photographs,
}


def bundled(place: str, request: Request) -> ImageData:
    """Bundled images by name.

    Raises:
        InputError: no bundled data set has that name.
    """
    return lookup("bundled data set", BUNDLED, place)(request)
