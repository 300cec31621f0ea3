"""Integrated gradients and SmoothGrad beside Captum.

The tool computes both itself; of Captum it calls only `Occlusion`.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import captum.attr
import torch
from pair import SEED, Pair, Subject
from torch import Tensor

from saliency_audit.methods import METHODS
from saliency_audit.seeding import generators, random_numbers

POINTS = 50
NOISE = 0.1


def map_pairs(given: Subject) -> Iterator[Pair]:
    """Maps made of many gradients, as many at a time as there are images."""
    count = len(given.images)
    with torch.no_grad():
        rise = [
            given.model(images).gather(1, given.labels.unsqueeze(1)).squeeze(1)
            for images in (given.images, torch.zeros_like(given.images))
        ]

    def incomplete(maps: Tensor) -> float:
        return (maps.sum((1, 2, 3)) - (rise[0] - rise[1])).abs().mean().item()

    def our_gradients(given: Subject = given) -> Tensor:
        return METHODS["integrated-gradients"].function(
            given.model, given.images, given.labels, steps=POINTS, batch_size=count
        )

    def captum_gradients(rule: str, given: Subject = given) -> Tensor:
        return captum.attr.IntegratedGradients(given.model.network).attribute(
            given.images,
            baselines=0.0,
            target=given.labels,
            n_steps=POINTS,
            method=rule,
            internal_batch_size=count,
        )

    def drawn(seed: int) -> list[torch.Generator]:
        return generators(seed, given.names, "smoothgrad")

    def our_noise(seed: int) -> Tensor:
        return METHODS["smoothgrad"].function(
            given.model,
            given.images,
            given.labels,
            generators=drawn(seed),
            samples=POINTS,
            noise_level=NOISE,
            batch_size=count,
        )

    def tunnel() -> Tensor:
        torch.manual_seed(SEED)
        saliency = captum.attr.Saliency(given.model.network)
        return captum.attr.NoiseTunnel(saliency).attribute(
            given.images,
            nt_type="smoothgrad",
            nt_samples=POINTS,
            nt_samples_batch_size=1,
            stdevs=NOISE,
            target=given.labels,
            abs=False,
        )

    def tunnel_of_our_noise() -> Tensor:
        streams = drawn(SEED)

        def normal(mean: float, deviation: Tensor) -> Tensor:
            return mean + deviation * random_numbers(torch.randn, deviation.shape, streams)

        with patch.object(torch, "normal", normal):
            return tunnel()

    length = "mean length of a map"
    yield Pair(
        "integrated-gradients", 'Captum IntegratedGradients(method="riemann_middle")',
        our_gradients, partial(captum_gradients, "riemann_middle"),
        "mean error of the sum, logits", incomplete,
        differs="only round-off, as double precision shows (next line)",
    )  # fmt: skip
    double = replace(given, model=deepcopy(given.model).double(), images=given.images.double())
    yield Pair(
        "integrated-gradients, in double precision",
        'Captum IntegratedGradients(method="riemann_middle")',
        partial(our_gradients, double), partial(captum_gradients, "riemann_middle", double),
        "mean error of the sum, logits", incomplete, timed=False,
    )  # fmt: skip
    yield Pair(
        "integrated-gradients", "Captum IntegratedGradients()",
        our_gradients, partial(captum_gradients, "gausslegendre"),
        "mean error of the sum, logits", incomplete,
        differs="Captum's default is the rule of Gauss and Legendre, ours the midpoint rule",
    )  # fmt: skip
    yield Pair(
        "smoothgrad", "Captum NoiseTunnel(Saliency), given our noise",
        partial(our_noise, SEED), tunnel_of_our_noise, length, _mean_length, timed=False,
    )  # fmt: skip
    yield Pair(
        "smoothgrad", "Captum NoiseTunnel(Saliency)",
        partial(our_noise, SEED), tunnel, length, _mean_length,
        differs="each draws noise of its own",
    )  # fmt: skip
    yield Pair(
        "smoothgrad", "itself under another seed",
        partial(our_noise, SEED), partial(our_noise, SEED + 1), length, _mean_length,
        differs="how far two draws are apart", timed=False,
    )  # fmt: skip


def _mean_length(maps: Tensor) -> float:
    return maps.flatten(1).norm(dim=1).mean().item()
