"""Harmonisation: up off what was marked, down on it, and not at all where nothing was."""

import copy

import pytest
import torch
from torch.nn import functional as F

from saliency_audit.errors import InputError
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.harmonise import harmonise


def shown(model):
    """The images that the classifier is given from now on."""
    given = []
    model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    return given


def units(model, images, labels):
    """Gradient of each image's own cross-entropy in eval mode, of length 1."""
    network, pixels = copy.deepcopy(model).eval(), images.clone().requires_grad_()
    F.cross_entropy(network(pixels), labels, reduction="sum").backward()
    return pixels.grad / pixels.grad.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def test_marked_pixels_go_down_the_loss_and_others_up(net, batch, step_of):
    model, eps = net(), 0.7
    marked = (torch.rand(5, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    unit, given = units(model, *batch), shown(model)
    loss = harmonise(step_of(model, *batch, annotations=marked), eps=eps)
    on = marked.bool().unsqueeze(1).expand_as(unit)
    change = given[-1] - batch[0]
    torch.testing.assert_close(change[on], -eps * unit[on], rtol=0, atol=1e-6)
    torch.testing.assert_close(change[~on], eps * unit[~on], rtol=0, atol=1e-6)
    assert change.flatten(1).norm(dim=1).tolist() == pytest.approx([eps] * 5, rel=1e-5)
    assert float(loss.seen["annotated"]) == 1
    expected = F.cross_entropy(loss.logits, batch[1])
    assert torch.equal(loss.terms["cross-entropy"].detach(), expected)


def test_half_the_maximum_stays_and_the_maximum_is_that_of_the_image(net, batch, step_of):
    model = net()
    marked = torch.zeros(5, 6, 6)
    marked[:, 0] = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0])[:, None]
    marked[:, 1] = marked[:, 0] / 2
    unit, given = units(model, *batch), shown(model)
    harmonise(step_of(model, *batch, annotations=marked), eps=1.0)
    change = given[-1] - batch[0]
    most = marked[:, 0, 0].view(-1, 1, 1)
    torch.testing.assert_close(change[:, :, 0], -most * unit[:, :, 0], rtol=0, atol=1e-6)
    assert torch.equal(change[:, :, 1], torch.zeros(5, 2, 6))
    torch.testing.assert_close(
        change[:, :, 2:], most.unsqueeze(3) * unit[:, :, 2:], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("level", [0.0, 0.6])
def test_images_that_say_nothing_on_where_stay(net, batch, step_of, level):
    model = net()
    marked = torch.full((5, 6, 6), level)
    marked[3, 2, 2] = 1
    given = shown(model)
    loss = harmonise(step_of(model, *batch, annotations=marked))
    moved = (given[-1] != batch[0]).flatten(1).any(1)
    assert moved.tolist() == [False, False, False, True, False]
    assert float(loss.seen["annotated"]) == pytest.approx(0.2)


def test_without_a_budget_it_is_plain_training_bitwise(net, batch, step_of):
    found = []
    for objective, options in ((cross_entropy, {}), (harmonise, {"eps": 0.0})):
        model = net()
        step = step_of(model, *batch, annotations=batch[0][:, 0])
        torch.manual_seed(7)  # For dropout.
        loss = objective(step, **options)
        loss.terms["cross-entropy"].backward()
        grads = [parameter.grad for parameter in model.parameters()]
        found.append([*grads, *model.buffers(), loss.logits])
    assert all(map(torch.equal, *found))


def test_the_gradient_is_taken_without_a_trace(net, batch, step_of):
    model = net()
    other, given, dropped = copy.deepcopy(model), shown(model), []
    model.network[4].register_forward_hook(lambda module, *_: dropped.append(module.training))
    harmonise(step_of(model, *batch, annotations=batch[0][:, 0]))
    assert len(given) == 2
    assert dropped == [False, True]
    other(given[-1])
    assert all(map(torch.equal, model.buffers(), other.buffers()))
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_clamped_images_are_cut_to_what_a_file_can_hold(net, batch, step_of):
    moved = []
    for clamp in (False, True):
        model = net()
        given = shown(model)
        harmonise(step_of(model, *batch, annotations=batch[0][:, 0]), eps=2.0, clamp=clamp)
        moved.append(given[-1])
    free, cut = moved
    assert free.min() < -0.1
    assert free.max() > 1.1
    assert all(float(each.min()) >= 0 and float(each.max()) <= 1 for each in given)
    assert torch.equal(cut, free.clamp(0, 1))


def test_what_is_missing_or_wrong_is_named(net, batch, step_of):
    with pytest.raises(InputError, match="needs --annotations"):
        harmonise(step_of(net(), *batch))
    with pytest.raises(InputError, match="--eps is -1"):
        harmonise(step_of(net(), *batch, annotations=batch[0][:, 0]), eps=-1.0)
