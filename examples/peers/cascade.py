"""The cascade of random weights beside Quantus."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import quantus
import torch
from pair import SEED, Pair, Subject
from quantus.functions.similarity_func import correlation_spearman
from quantus.helpers.model.pytorch_model import PyTorchModel
from torch import Tensor, nn

from saliency_audit.metrics import METRICS
from saliency_audit.metrics.similarity import spearman
from saliency_audit.models import randomised, weight_layers


def cascade_pairs(given: Subject) -> Iterator[Pair]:
    """Rank correlation of the gradient's magnitude as layers get random weights, last one first."""
    layers = weight_layers(given.model, given.images)[::-1]
    shown = given.maps.abs()
    arrays = {
        "x_batch": given.images.numpy(),
        "y_batch": given.labels.numpy(),
        "a_batch": shown.numpy(),
    }

    def gradient(model: nn.Module, inputs: Any, targets: Any, **_: Any) -> Any:
        pixels = torch.as_tensor(inputs).requires_grad_()
        chosen = model(pixels).gather(1, torch.as_tensor(targets).unsqueeze(1)).sum()
        return torch.autograd.grad(chosen, pixels)[0].numpy()

    def scores(*, average: bool = False) -> Any:
        metric = quantus.MPRT(
            similarity_func=correlation_spearman,
            layer_order="top_down",
            return_average_correlation=average,
            abs=True,
            normalise=False,
            disable_warnings=True,
            display_progressbar=False,
        )
        return metric(
            model=given.model.network,
            **arrays,
            explain_func=gradient,
            batch_size=len(given.images),
            channel_first=True,
            device="cpu",
        )

    def stages() -> Tensor:
        """Of all layers, without the given model, ``(n, layers)``."""
        found = scores()
        return torch.tensor([found[layer.name] for layer in layers]).T

    def order() -> Tensor:
        names = [layer.name for layer in layers]
        found = list(scores())[1:]  # the first is the given model
        return torch.tensor([names.index(name) if name in names else -1 for name in found])

    def our_copies() -> AbstractContextManager[Any]:
        """Inside: Quantus' random models are ours."""

        def copies(wrapper: Any, order: str, seed: int) -> Iterator[tuple[str, nn.Module]]:
            # Not the given model: Quantus asks it for its own maps between two layers.
            model = deepcopy(given.model)
            with randomised(how="reinit", seed=SEED) as give_random_weights:
                for layer in weight_layers(model, given.images)[::-1]:
                    give_random_weights(layer)
                    yield layer.name, model.network

        return patch.object(PyTorchModel, "get_random_layer_generator", copies)

    def stages_of_our_copies() -> Tensor:
        with our_copies():
            return stages()

    def average_of_our_copies() -> Tensor:
        with our_copies():
            return torch.tensor(scores(average=True))

    def ours() -> Tensor:
        found = METRICS["sanity-cascade"].function(
            given.view(), randomise="reinit", draws=1, stages=0
        )
        (whole,) = (one for one in found if one.check == "sanity-cascade" and len(one.x))
        return whole.curve[:, 1:]

    def with_the_given(stages: Tensor) -> Tensor:
        return torch.cat([torch.ones(len(stages), 1), stages], dim=1).mean(1)

    correlation = "mean correlation"
    yield Pair(
        "sanity-cascade, order of layers", "Quantus MPRT",
        lambda: torch.arange(len(layers)), order, "layers", lambda found: float(len(found)),
        timed=False,
    )  # fmt: skip
    yield Pair(
        "sanity-cascade", "Quantus MPRT, given our random models",
        ours, stages_of_our_copies, correlation, timed=False,
    )  # fmt: skip
    yield Pair(
        "sanity-cascade", "Quantus MPRT", ours, stages, correlation,
        differs="each draws weights of its own",
    )  # fmt: skip
    yield Pair(
        "sanity-cascade, its mean",
        "Quantus MPRT(return_average_correlation=True), given our random models",
        lambda: ours().mean(1), average_of_our_copies, correlation,
        differs="Quantus counts the given model, whose correlation is 1, as one more stage",
        timed=False,
    )  # fmt: skip
    yield Pair(
        "sanity-cascade, its mean counted that way",
        "Quantus MPRT(return_average_correlation=True), given our random models",
        lambda: with_the_given(ours()), average_of_our_copies, correlation, timed=False,
    )  # fmt: skip
    other = shown.flip(0).flatten(1)
    yield Pair(
        "spearman, 20 times", "Quantus correlation_spearman",
        lambda: _twenty_times(lambda: spearman(shown.flatten(1), other)),
        lambda: _twenty_times(
            lambda: torch.tensor(
                correlation_spearman(shown.flatten(1).numpy(), other.numpy(), batched=True)
            )
        ),
        correlation,
    )  # fmt: skip


def _twenty_times(work: Callable[[], Tensor]) -> Tensor:
    return [work() for _ in range(20)][-1]
