"""Image classifiers of Hugging Face, from a folder or from the cache; nothing is fetched."""

import logging
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.models.files import one_line
from saliency_audit.models.found import Found
from saliency_audit.models.named import quiet
from saliency_audit.models.reading import embedding

WITHOUT_CROP = 384
"""Side from which ConvNeXT's own processor squeezes pictures instead of cropping them."""


def from_hugging_face(name: str) -> Found:
    """An image classifier with the size, mean and std of its ``preprocessor_config.json``.

    Weights are read from safetensors alone, and no code that came with them is run.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name on the hub that is in the cache.

    Raises:
        InputError: transformers is absent, there is no such model, or it is no classifier.
        UnsupportedError: it is a multi-label classifier.
    """
    if find_spec("transformers") is None:
        raise InputError("transformers is not installed: pip install 'saliency-audit[hf]'")
    spec = f"hf:{name}"
    transformers: Any = import_module("transformers")
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    where = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            network, told = transformers.AutoModelForImageClassification.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **where
            )
    # Whatever the library raises: it has an error of its own for each thing that can be missing.
    except Exception as error:
        raise InputError(f"{spec} cannot be loaded ({one_line(error)}); {_fix(name)}") from error
    finally:
        logger.setLevel(level)
    if missing := sorted(told["missing_keys"]):
        raise InputError(embedding(spec, f"there are no weights of {missing[0]}"))
    if network.config.problem_type == "multi_label_classification":
        raise UnsupportedError(
            f"{spec} is a multi-label classifier, each of whose outputs is a probability of its "
            "own; what is measured here is defined for classes that exclude each other"
        )
    found = Found(network, spec, class_names=named(network.config.id2label))
    found.shape = (getattr(network.config, "num_channels", None), None, None)
    try:
        with quiet():
            processor = transformers.AutoImageProcessor.from_pretrained(name, **where).to_dict()
    except Exception:
        found.notes.append(f"{spec} has no preprocessor_config.json that can be read")
        side = getattr(network.config, "image_size", None)
        if isinstance(side, int):
            found.shape = (found.shape[0], side, side)
        return found
    _prepared(found, processor)
    return found


def named(labels: Mapping[int, str]) -> list[str] | None:
    """Names of classes from 0 on; None where they are but those that transformers makes up.

    >>> named({1: "dog", 0: "cat"}), named({0: "LABEL_0", 1: "LABEL_1"})
    (['cat', 'dog'], None)
    """
    names = [str(labels.get(i, "")) for i in range(len(labels))]
    return None if names == [f"LABEL_{i}" for i in range(len(labels))] else names


def _prepared(found: Found, processor: Mapping[str, Any]) -> None:
    """What was found, with the input that an image processor makes."""
    height, width, resize, squeezed = geometry(processor)
    # Images are in [0, 1] here, and have up to 255 before the processor rescales them.
    scale = 255 * processor["rescale_factor"] if processor.get("do_rescale", True) else 255.0
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    means, stds = [0.0], [1.0]
    if processor.get("do_normalize", True):
        means, stds = list(processor["image_mean"]), list(processor["image_std"])
    found.mean = [(mean + offset) / scale for mean in means]
    found.std = [std / scale for std in stds]
    found.shape, found.resize = (found.shape[0], height, width), resize
    means_said, stds_said = (
        ",".join(f"{value:g}" for value in values) for values in (found.mean, found.std)
    )
    found.notes.append(
        f"{found.name}: size {height},{width}, resize {resize}, mean {means_said}, std "
        f"{stds_said}, by its preprocessor_config.json"
        + (", which would squeeze pictures that are not square; they are cropped" * squeezed)
    )


def geometry(processor: Mapping[str, Any]) -> tuple[int, int, int, bool]:
    """Height and width of the input, the shorter side before the crop, and whether it squeezes.

    Args:
        processor: an image processor's configuration.

    >>> geometry({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
    ...           "do_center_crop": True})
    (224, 224, 256, False)
    >>> geometry({"size": {"height": 32, "width": 32}})
    (32, 32, 32, True)
    >>> geometry({"size": {"shortest_edge": 224}, "crop_pct": 0.875})
    (224, 224, 256, False)
    """
    height, width = _sides(processor["size"])
    resize = min(height, width)
    squeezed = isinstance(processor["size"], int) or "height" in processor["size"]
    if processor.get("do_center_crop") and processor.get("crop_size"):
        height, width = _sides(processor["crop_size"])
        squeezed = False
    elif processor.get("crop_pct"):
        squeezed = resize >= WITHOUT_CROP
        resize = resize if squeezed else int(resize / processor["crop_pct"])
    return height, width, resize, squeezed


def _sides(size: int | Mapping[str, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if "height" in size:
        return size["height"], size["width"]
    side = size["shortest_edge"]
    return side, side


def _fix(name: str) -> str:
    if Path(name).is_dir():
        return (
            "give a folder with config.json and model.safetensors, as save_pretrained writes it; "
            "code that comes with a model is not run"
        )
    return f"give a folder, or fetch it once with: hf download {name}"
