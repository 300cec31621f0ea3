"""Recall of a patch: 1 of networks that see nothing else, chance of a random map."""

from dataclasses import replace
from functools import partial
from math import sqrt

import pytest
import torch
from torch import nn

from saliency_audit.audits import explain
from saliency_audit.data.patch import covered, stripes, with_patch
from saliency_audit.data.trigger import Laid, Trigger
from saliency_audit.errors import InputError
from saliency_audit.metrics import View
from saliency_audit.metrics.known_answer import known_answer, refuse_known_answer
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training.planted import Planted
from tests.conftest import Linear

SIDE, SIZE = 4, 16
SHARE = SIDE**2 / SIZE**2


class Matched(nn.Module):
    """Class 1 where rows of stripes are found, class 2 where columns are, else class 0."""

    def __init__(self):
        super().__init__()
        rows = 2 * stripes(1, SIDE) - 1
        self.register_buffer("kernels", torch.stack([rows, rows.mT]))

    def forward(self, images):
        found = nn.functional.conv2d(images, self.kernels).flatten(2).amax(2) - SIDE**2 / 4
        return torch.cat([torch.zeros_like(found[:, :1]), found], 1)


def view_of(network, *, method="gradient", n=12, trigger=None, learned=1.0, **more):
    model = Classifier(network, input_shape=(1, SIZE, SIZE)).eval()
    images = 0.5 + 0.05 * torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    planted = Planted(model, trigger or Trigger(SIDE, 1.0, (1, 2)), learned, 1.0)
    logits = model(images).detach()
    return View(
        model=model,
        images=images,
        names=[str(i) for i in range(n)],
        labels=torch.zeros(n, dtype=torch.long),
        targets=logits.argmax(1),
        logits=logits,
        method=method,
        saliency=images,
        explain=partial(
            explain, method, scalar="logit", seed=0, batch_size=64, options={"samples": 4}
        ),
        batch_size=64,
        seed=0,
        beside={"train": lambda model, *, seed, **options: planted},
        **more,
    )


def values(view, **options):
    return {one.check or "known-answer": one.values for one in known_answer(view, **options)}


@pytest.mark.parametrize("method", ["gradient", "input-x-gradient", "integrated-gradients"])
def test_of_a_matched_filter_the_gradient_is_the_patch_wherever_it_is(method):
    found = values(view_of(Matched(), method=method))
    assert found["known-answer-trigger"].tolist() == [1] * 12
    assert found["known-answer-agreement"].tolist() == [1] * 12
    if method == "gradient":
        assert found["known-answer"].tolist() == [1] * 12
    else:  # black stripes are 0, and times 0 is 0
        assert found["known-answer"].min() >= 0.5


class Fixed(Trigger):
    """The pattern of the first class at one place."""

    def laid_on(self, images, own, draws):
        places = torch.tensor([[3, 7]]).expand(len(images), 2)
        inside = covered(places, self.side, *images.shape[2:])
        laid = with_patch(images, stripes(1, self.side), places)
        return Laid(laid, inside, torch.full((len(images),), self.classes[0]))


def test_of_a_linear_model_with_a_trigger_the_gradient_has_recall_1():
    weight = torch.zeros(3, 1, SIZE, SIZE)
    weight[1, :, 3:7, 7:11] = 2 * stripes(1, SIDE) - 1
    network = Linear(weight, torch.tensor([0.0, -4.0, -1.0]))
    trigger = Fixed(SIDE, 1.0, (1, 2))
    assert values(view_of(network, trigger=trigger))["known-answer"].tolist() == [1] * 12
    # And 0 if what decides is elsewhere.
    weight[1] = weight[1].roll(5, 1)
    elsewhere = Linear(weight, torch.tensor([0.0, 4.0, -1.0]))
    assert values(view_of(elsewhere, trigger=trigger))["known-answer"].tolist() == [0] * 12


def test_a_random_map_gets_the_share_of_the_patch():
    view = view_of(Matched(), method="random", n=400)
    (recall, *_) = known_answer(view)
    assert f"share={SHARE:.6g}" in recall.setting.split(";")
    error = float(recall.values.std()) / sqrt(400)
    assert abs(float(recall.values.mean()) - SHARE) < 4 * error


def test_an_edge_detector_sees_the_rim_of_the_patch_alone():
    images = torch.full((6, 1, SIZE, SIZE), 0.5)
    trigger, own = Trigger(8, 0.7, (1, 2)), torch.zeros(6, dtype=torch.long)
    laid = trigger.laid_on(images, own, generators(1, "abcdef", "t"))
    shown = explain(
        "sobel", None, laid.images, own, names="abcdef", scalar="logit", seed=0, batch_size=8,
        options={},
    )  # fmt: skip
    outside = (~laid.inside).float().unsqueeze(1)
    rim = nn.functional.max_pool2d(nn.functional.pad(outside, (1, 1, 1, 1), value=1.0), 3, 1) > 0
    assert (~rim).sum() == 6 * 36
    assert shown[~rim].abs().max() < 1e-6
    assert shown[rim].abs().max() > 0.1


def test_what_tests_nothing_is_undefined_and_counted():
    class Deaf(Matched):
        """Does not hear the columns."""

        def forward(self, images):
            return super().forward(images) - torch.tensor([0.0, 0.0, 100.0])

    view = view_of(Deaf(), n=40)
    found = values(view)
    follows = found["known-answer-trigger"]
    assert 0 < follows.sum() < 40
    assert torch.equal(found["known-answer"].isnan(), follows == 0)
    unlearned = values(view_of(Matched(), learned=0.89))
    assert unlearned["known-answer"].isnan().all()
    assert (unlearned["known-answer-trigger"] == 1).all()
    assert values(view_of(Matched(), learned=0.9))["known-answer"].isfinite().all()


def test_a_map_without_an_order_is_undefined():
    view = view_of(Matched())
    flat = replace(view, explain=lambda model, images, *a, **b: torch.ones_like(images))
    assert values(flat)["known-answer"].isnan().all()
    assert (values(replace(flat, known={}))["known-answer-trigger"] == 1).all()


def test_what_is_of_the_copy_is_told_once_a_batch():
    view = view_of(Matched(), draw=True)
    assert [one.check for one in known_answer(view)] == [
        "",
        "known-answer-trigger",
        "known-answer-agreement",
    ]
    assert len(known_answer(view)) == 1


def test_no_training_images_and_a_patch_as_large_as_the_image():
    with pytest.raises(InputError, match="--train"):
        known_answer(replace(view_of(Matched()), beside={}))
    refuse_known_answer((1, 28, 28), 10, patch_side=27)
    with pytest.raises(InputError, match=r"--patch-side is 28; .* 28 x 40 is smaller"):
        refuse_known_answer((1, 28, 40), 10, patch_side=28)
