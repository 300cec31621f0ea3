"""Training on a planted trigger: the loss literally, and what the copy does afterwards."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saliency_audit.data import from_tensors
from saliency_audit.data.trigger import Trigger
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators
from saliency_audit.training.loop import Alone
from saliency_audit.training.plant import plant
from saliency_audit.training.planted import planted

TRIGGER = Trigger(3, 0.8, (0, 2))


def test_the_loss_is_that_of_patched_images_and_of_the_others(net, step_of):
    torch.manual_seed(1)
    images, labels = torch.rand(20, 2, 6, 6), torch.arange(20) % 3
    labels[3:6] = -1
    model, given = net(plain=True).eval(), net(plain=True)
    given.network[-1].weight.data.mul_(-3)
    step = step_of(model, images, labels)
    loss = plant(step, trigger=TRIGGER, given=given)

    own = labels.clone()
    own[3:6] = given.eval()(images[3:6]).argmax(1)
    names, total, patched = [str(i) for i in range(20)], 0.0, 0
    for i, draw in enumerate(generators(0, names, "plant")):
        laid = TRIGGER.laid_on(images[i : i + 1], own[i : i + 1], [draw])
        image, label = images[i : i + 1], own[i : i + 1]
        if torch.rand((), generator=draw) < 0.5:
            image, label, patched = laid.images, laid.classes, patched + 1
        total += float(F.cross_entropy(model(image).detach(), label)) / 20
    assert 0 < patched < 20
    assert float(loss.seen["patched"]) == pytest.approx(patched / 20)
    assert float(loss.terms["cross-entropy"].detach()) == pytest.approx(total, rel=1e-5)


def small(images):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip
    return Classifier(network, input_shape=tuple(images.shape[1:])).eval()


def test_the_copy_learns_and_the_model_stays():
    images = 0.5 + 0.1 * torch.randn(64, 1, 10, 10, generator=torch.Generator().manual_seed(0))
    data, model = from_tensors(images.clamp(0, 1)), small(images)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state, seen = torch.get_rng_state(), []
    with model.audited():
        one, two = (
            planted(
                model,
                data,
                TRIGGER,
                steps=120,
                lr=0.01,
                seed=3,
                advance=lambda done, total: seen.append((done, total)),
            )
            for _ in range(2)
        )
    assert one.learned > 0.95
    assert one.agreement > 0.9
    assert seen[119] == (120, 120)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(weight.requires_grad for weight in one.model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, two.model.state_dict()[name])


def test_one_process_asks_no_other():
    alone, weight = Alone(2), torch.ones(2, requires_grad=True)
    with alone.accumulate(None):
        alone.backward(weight.sum())
    # As an Accelerator does: the mean over the parts of a step.
    assert weight.grad.tolist() == [0.5, 0.5]
    assert alone.gather(weight) is alone.reduce(weight, "mean") is weight
