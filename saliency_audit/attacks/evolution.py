"""The search that follows no gradient: a natural evolution strategy (Wierstra; AttaXAI)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from saliency_audit.attacks.descend import LOOKS, Aim, Explain, logits_of
from saliency_audit.attacks.kept import Kept
from saliency_audit.attacks.structured import prediction_change
from saliency_audit.budget import Norm, per_image, project, rounded
from saliency_audit.maps import is_defined
from saliency_audit.models import Classifier
from saliency_audit.seeding import random_numbers


def evolve(
    model: Classifier,
    explain: Explain,
    aim: Aim,
    images: Tensor,
    targets: Tensor,
    *,
    eps: float | None,
    steps: int,
    step_size: float | None = None,
    generators: Sequence[torch.Generator],
    norm: Norm = "linf",
    population: int = 50,
    std: float | None = None,
    decay: float = 0.99,
    keep_prediction: bool = False,
    batch_size: int | None = None,
    tick: Callable[[], None] = lambda: None,
) -> Tensor:
    r"""Move a normal distribution of images to where the goal is lower, and keep the best of them.

    .. math:: g = \sum_i w_i \epsilon_i, \quad x_i = \Pi(x + \sigma \epsilon_i),
        \quad w_i = \frac{r_i}{m - 1} - \frac12

    of which Adam takes a step. :math:`r_i` is the rank of the goal among the m images of a step, 0
    the lowest, and :math:`\epsilon` normal in pairs of opposite sign. Images of another prediction
    rank last, those nearest to the clean one first. Nothing is asked of the network but logits and
    maps, each at images as a file can hold them. The distribution's mean and the best image of
    every step are candidates.

    Args:
        model: the original network; only its logits are used.
        explain: ``(images, graph=False) -> (n, h, w)``, maps that add up to 1, of any number of
            copies of all the images.
        aim: what it wants.
        images: ``(n, c, h, w)`` on the 8-bit grid.
        targets: not used; ``explain`` knows them.
        eps: budget in pixel units; None for none.
        steps: of the mean.
        step_size: of Adam, in pixel units; None means 5 eps / steps (in l2 for each value its
            share of that length), and 0.6 / steps without a budget.
        generators: one per image.
        norm: of the budget.
        population: images of a step; one more where it is odd.
        std: :math:`\sigma`, in pixel units; None means half of eps (in l2 of its share), and 0.1
            without a budget.
        decay: of :math:`\sigma`, in each step.
        keep_prediction: add Dombrowski's term for the prediction to the goal.
        batch_size: most images that are explained at once, but all of one population at least;
            changes nothing.
        tick: called after each map of every image.

    Returns:
        ``(n, c, h, w)``: the best images, within the budget and on the 8-bit grid; the clean
        image where none was better. Source: Tamam et al. 2023 (AttaXAI), whose Latin sampling is
        of pairs here and whose weights are of ranks, so that no goal needs a scale of its own.
    """
    del targets
    share = 1.0 if norm == "linf" else images[0].numel() ** -0.5
    if step_size is None:
        step_size = 0.6 / steps if eps is None else 5 * eps * share / steps
    if std is None:
        std = 0.1 if eps is None else 0.5 * eps * share
    count, pairs = len(images), (population + 1) // 2
    at_once = max(1, (batch_size or count) // (2 * count))

    def allowed(moved: Tensor) -> Tensor:
        moved = project(moved, images, eps=eps, norm=norm)
        return rounded(moved, images, eps=eps, norm=norm)

    def noise() -> Tensor:
        return random_numbers(torch.randn, images.shape, generators, images.dtype)

    def rated(candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of ``(copies, n, c, h, w)``: what ranks first, what ranks next, and the goal."""
        copies = len(candidates)
        flat = candidates.flatten(0, 1)
        with logits_of(model, flat) as seen:
            maps = explain(flat, graph=False).detach()
        logits = seen[0].detach() if seen else model(flat)
        value = torch.cat(
            [aim.goal(own).where(is_defined(own), torch.inf) for own in torch.split(maps, count)]
        )
        change = torch.zeros_like(value)
        if probabilities is not None:
            change = prediction_change(
                model.outputs.probabilities(logits), probabilities.repeat(copies, 1)
            )
        prediction = torch.cat([kept.prediction] * copies)
        other = model.outputs.changed(logits, prediction)
        back = model.outputs.loss(logits, prediction)
        ranked = back.where(other, value + change).nan_to_num(torch.inf)
        return other.view(copies, count), ranked.view(copies, count), value.view(copies, count)

    with torch.no_grad():
        kept = Kept(
            model,
            images,
            lambda candidates, _: aim.judged(explain(candidates, graph=False)),
            value=aim.judged(explain(images, graph=False)),
        )
        probabilities = model.outputs.probabilities(model(images)) if keep_prediction else None
        pixels = images.clone()
        adam = torch.optim.Adam([pixels], lr=step_size)
        look_every = max(1, steps // LOOKS)
        for step in range(steps):
            states = [generator.get_state() for generator in generators]
            best, least = images, images.new_full((2, count), torch.inf)
            ratings: list[tuple[Tensor, Tensor, Tensor]] = []
            for start in range(0, pairs, at_once):
                shifts = torch.stack([noise() for _ in range(min(at_once, pairs - start))])
                shifts = torch.stack([shifts, -shifts], dim=1).flatten(0, 1)
                candidates = torch.stack([allowed(pixels + std * shift) for shift in shifts])
                ratings.append(rated(candidates))
                best, least = _best(best, least, candidates, *ratings[-1][:2])
                for _ in candidates:
                    tick()
            other, value, goal = (torch.cat(parts) for parts in zip(*ratings, strict=True))
            if step % look_every == 0:
                change = (value - goal).masked_fill(other, torch.nan)
                aim.log(step, goal.masked_fill(other, torch.nan).nanmean(0), change.nanmean(0))
            # Drawn again, since the noise of a population need not fit into the memory.
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            pixels.grad = torch.zeros_like(images)
            weights = _weights(other, value)
            for there, back in zip(weights[0::2], weights[1::2], strict=True):
                pixels.grad += per_image(there - back, images) * noise()
            adam.step()
            pixels.copy_(project(pixels, images, eps=eps, norm=norm))
            std *= decay
            for candidate in (best, allowed(pixels)):
                kept.offer(candidate)
                tick()
            if bool((kept.value <= aim.floor).all()):
                break
    return kept.images


def _best(
    best: Tensor, least: Tensor, candidates: Tensor, other: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Of each image the candidate that ranks first, and its two ranks ``(2, n)``."""
    for images, rank in zip(candidates, torch.stack([other.to(value), value], dim=1), strict=True):
        better = (rank[0] < least[0]) | ((rank[0] == least[0]) & (rank[1] < least[1]))
        best = images.where(per_image(better, images), best)
        least = rank.where(better, least)
    return best, least


def _weights(other: Tensor, value: Tensor) -> Tensor:
    """Ranks ``(m, n)`` from -1/2, the lowest, to 1/2; the mean of those that are tied.

    >>> _weights(torch.tensor([[False], [False], [True]]), torch.tensor([[2.0], [1.0], [0.0]])).T
    tensor([[ 0.0000, -0.5000,  0.5000]])
    """
    weights = []
    for pairs in torch.stack([other.to(value), value], dim=2).unbind(1):
        _, at, counts = torch.unique(pairs, dim=0, return_inverse=True, return_counts=True)
        ranks = (counts.cumsum(0) - (counts + 1) / 2).to(value)
        weights.append(ranks[at] / (len(value) - 1) - 0.5)
    return torch.stack(weights, dim=1)
