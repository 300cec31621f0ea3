"""``toy:boundary-tilting``: points of two Gaussians, on which a boundary tilts or does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from saliency_audit.data.dataset import ImageData, labels_fit
from saliency_audit.data.generated import Wanted, wanted
from saliency_audit.data.request import Request, refuse_classes
from saliency_audit.data.tensors import from_tensors
from saliency_audit.errors import InputError, lookup
from saliency_audit.seeding import seed_of

NAME = "boundary-tilting"
MEANS = ((1.2, 0.1), (-1.2, -0.1))
"""Of class 0 and class 1."""
COVARIANCE = ((0.1, -0.01), (-0.01, 0.002))
TRAIN, TEST = 6000, 2000
SHAPE = (1, 1, 2)

Points = np.ndarray[Any, np.dtype[np.float64]]


def gaussians(count: int, *, seed: int, split: str = "train") -> tuple[Points, Any]:
    r"""Points of two classes in turns, before they are brought to [0, 1].

    .. math:: x \sim \mathcal N(\pm(1.2, 0.1),\;
        \begin{pmatrix} 0.1 & -0.01 \\ -0.01 & 0.002 \end{pmatrix})

    Source: P3 A.1 and its code. The paper prints one mean twice, and 0.0002, which makes no
    covariance (an eigenvalue is negative); the code has what stands here.

    Args:
        count: of points.
        seed: of the data set.
        split: "train" or "test", drawn independently.

    Returns:
        ``(count, 2)`` float64 and ``(count,)`` labels, 0 and 1. The first points are the same
        however many there are.

    >>> points, labels = gaussians(4, seed=0)
    >>> labels.tolist(), bool((gaussians(2, seed=0)[0] == points[:2]).all())
    ([0, 1, 0, 1], True)
    """
    labels = np.arange(count) % 2
    drawn = np.random.default_rng(seed_of(seed, f"toy:{NAME}", split)).standard_normal((count, 2))
    return np.array(MEANS)[labels] + drawn @ np.linalg.cholesky(COVARIANCE).T, labels


def unit_points(count: int, *, seed: int, split: str = "train") -> tuple[Points, Any]:
    """The same points in [0, 1]; with ``--mean 0.5 --std 0.5`` a network sees P3's [-1, 1].

    One factor scales both coordinates, so that angles stay, and makes the smallest and the largest
    number of the seed's 6,000 training points 0 and 1, as in P3's code. The few other points that
    lie beyond are moved onto the border, far from where the classes meet.

    Args:
        count: of points.
        seed: of the data set.
        split: "train" or "test".

    Returns:
        As `gaussians`.
    """
    points, labels = gaussians(count, seed=seed, split=split)
    scale = gaussians(TRAIN, seed=seed)[0]
    return ((points - scale.min()) / (scale.max() - scale.min())).clip(0, 1), labels


def _boundary_tilting(asked: Wanted, request: Request) -> ImageData:
    if request.prepare.input_shape != SHAPE:
        has = "x".join(map(str, request.prepare.input_shape))
        raise InputError(
            f"toy:{NAME} has points of two numbers, images of 1x1x2, but the model takes {has}; "
            "give a model of points, with --channels 1 --size 1,2"
        )
    count = asked.images or (TRAIN if asked.split == "train" else TEST)
    points, labels = unit_points(count, seed=asked.seed, split=asked.split)
    names = [f"{asked.split}/{index:05d}" for index in range(count)]
    labels_fit(names, labels, request.outputs)
    images = torch.from_numpy(points).float().view(-1, *SHAPE)
    data = from_tensors(images, torch.from_numpy(labels), names)
    return replace(data, name=f"toy:{asked.said}", class_names=["right", "left"])


TOYS = {NAME: _boundary_tilting}


def toy(place: str, request: Request) -> ImageData:
    """Points for a network that sees their two coordinates: ``NAME[:images=N,seed=N][@train]``.

    Raises:
        InputError: there is no such toy, or the model takes pictures.
    """
    asked = wanted(place)
    refuse_classes(request, f"toy:{asked.name}")
    return lookup("toy data set", TOYS, asked.name)(asked, request)
