"""What attacks want of a map: a region, or another map."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from saliency_audit.catalogue.entries import SaliencyMethod
from saliency_audit.commands.attack.jobs import Job
from saliency_audit.commands.explain import explain, predict
from saliency_audit.errors import InputError
from saliency_audit.maps import unit_sum
from saliency_audit.methods import METHODS
from saliency_audit.models import Classifier

MOST = 0.9
"""Largest share of an image that still is a region."""


class Targets:
    """The references of goals that want something else than to leave the clean map.

    Args:
        picture: ``(h, w)`` in [0, 1], or None: then the first image's map is wanted (for that image
            the second's), and the least salient quarter is the region.
        images: the first two images of the data, ``(2, c, h, w)``, or one.
        names: theirs.
        model: the classifier.
        seed: of the run.
        batch_size: most images the model sees at once.
        options: of all saliency methods.
        methods: by name.
    """

    def __init__(
        self,
        picture: Tensor | None,
        images: Tensor,
        names: Sequence[str],
        model: Classifier,
        *,
        seed: int,
        batch_size: int,
        options: Mapping[str, Any],
        methods: Mapping[str, SaliencyMethod] = METHODS,
    ) -> None:
        self.picture = picture
        self.names = list(names)
        self._images = images
        self._model = model
        self._seed = seed
        self._batch_size = batch_size
        self._options = options
        self._methods = methods
        self._maps: dict[tuple[str, str], Tensor] = {}

    def check(self, wants: Collection[str]) -> None:
        """Find out before anything is computed whether there is something to want.

        Args:
            wants: kinds of references that goals want.

        Raises:
            InputError: another map is wanted and there is neither a picture nor another image, or
                the region is nearly the whole image.
        """
        if "region" in wants and self.picture is not None:
            share = float((self.picture >= 0.5).double().mean())
            if share > MOST:
                raise InputError(
                    f"the bright half of --target-map is {share:.0%} of the image, so there is no "
                    "region to gather saliency in; give a picture that is dark elsewhere"
                )
        if "map" in wants and self.picture is None and len(self.names) < 2:
            raise InputError(
                "structured wants another image's map, but the data has only one image; give "
                "--target-map FILE"
            )

    def __call__(self, job: Job, clean: Tensor, names: Sequence[str]) -> Tensor:
        """The reference of a job's goal, ``(n, h, w)``.

        Args:
            job: what is attacked.
            clean: maps of the images, ``(n, h, w)``, adding up to 1.
            names: of the images.
        """
        if job.wants == "map":
            return self._wanted_maps(job, clean, names)
        if job.wants == "region":
            if self.picture is not None:
                return (self.picture >= 0.5).to(clean.dtype).expand_as(clean)
            return least_salient_quarter(clean)
        return clean

    def _wanted_maps(self, job: Job, clean: Tensor, names: Sequence[str]) -> Tensor:
        if self.picture is not None:
            return (self.picture / self.picture.sum()).to(clean.dtype).expand_as(clean)
        if (job.saliency, job.scalar) not in self._maps:
            classes = predict(self._model, self._images, batch_size=self._batch_size).argmax(1)
            # Dombrowski's softplus of 1,000 stands for the network itself, which is at hand here.
            maps = explain(
                job.saliency,
                self._model,
                self._images,
                classes,
                names=self.names,
                scalar=job.scalar,
                seed=self._seed,
                batch_size=self._batch_size,
                options=self._options,
                methods=self._methods,
            )
            self._maps[job.saliency, job.scalar] = unit_sum(maps)
        first, second = self._maps[job.saliency, job.scalar]
        return torch.stack([second if name == self.names[0] else first for name in names])


def least_salient_quarter(clean: Tensor) -> Tensor:
    """1 in the quarter of each map (half its height, half its width) that holds least mass.

    Args:
        clean: ``(n, h, w)``, >= 0.

    Returns:
        ``(n, h, w)``, 0 elsewhere.
    """
    _, height, width = clean.shape
    down, across = height // 2, width // 2
    quarters = torch.zeros(4, height, width, dtype=clean.dtype, device=clean.device)
    quarters[0, :down, :across] = 1
    quarters[1, :down, width - across :] = 1
    quarters[2, height - down :, :across] = 1
    quarters[3, height - down :, width - across :] = 1
    mass = torch.einsum("nhw,qhw->nq", clean, quarters)
    return quarters[mass.nan_to_num().argmin(1)]
