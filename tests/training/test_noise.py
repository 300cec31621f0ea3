"""Noise: the image the network is shown, and nothing else."""

import pytest
import torch

from saliency_audit.errors import InputError
from saliency_audit.training.cross_entropy import cross_entropy
from saliency_audit.training.noise import noise


def shown(model):
    """The images that the classifier is given from now on."""
    given = []
    model.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    return given


def test_the_network_sees_the_noisy_images_once(net, batch, step_of):
    model = net()
    step, given = step_of(model, *batch), shown(model)
    loss = noise(step, sigma=0.3)
    (noisy,) = given
    assert torch.equal(noisy, (batch[0] + 0.3 * step.noise("noise")).clamp(0, 1))
    assert ((noisy == 0) | (noisy == 1)).any()
    assert list(loss.terms) == ["cross-entropy"]
    assert not loss.seen
    expected = torch.nn.functional.cross_entropy(loss.logits, batch[1])
    assert torch.equal(loss.terms["cross-entropy"].detach(), expected)


def test_its_size_is_sigma(net, step_of):
    model = net()
    images = torch.full((200, 2, 6, 6), 0.5)
    given = shown(model)
    noise(step_of(model, images, torch.zeros(200).long()), sigma=0.05)
    change = given[0] - images
    assert float(change.std()) == pytest.approx(0.05, rel=0.03)
    assert float(change.mean()) == pytest.approx(0, abs=0.002)
    assert (change[0] != change[1]).all()


@pytest.mark.parametrize("plain", [True, False])
def test_no_noise_is_plain_training_bit_by_bit(net, batch, step_of, plain):
    found = []
    for run in (lambda step: noise(step, sigma=0.0), cross_entropy):
        model = net(plain=plain)
        torch.manual_seed(7)  # dropout
        sum(run(step_of(model, *batch, one_mode=plain)).terms.values()).backward()
        found.append(model)
    model, control = found
    for ours, theirs in zip(model.parameters(), control.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    for ours, theirs in zip(model.buffers(), control.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_another_seed_is_another_noise(net, batch, step_of):
    model = net(plain=True)
    first, again, other = (
        noise(step_of(model, *batch, seed=seed)).terms["cross-entropy"] for seed in (0, 0, 1)
    )
    assert first == again != other


def test_what_means_nothing_is_refused(net, batch, step_of):
    with pytest.raises(InputError, match="--sigma is -1; give 0 or more"):
        noise(step_of(net(), *batch), sigma=-1)
