"""Samples of models whose modes are known, judged by networks whose answers are."""

import pytest
import torch
from torch import nn

from saliency_audit.errors import InputError, UnsupportedError
from saliency_audit.metrics.gan_test import (
    Drawn,
    activation_maximisation,
    gan_test,
    judge_accuracy,
    refuse_samples,
)
from saliency_audit.models import Classifier
from saliency_audit.seeding import generators

SHAPE, CLASSES = (1, 6, 6), 3


class Modes(nn.Module):
    """f_y(x) = -|x - mu_y|^2 / 2 + g(x): a Gaussian density of each class, and what none sees."""

    def __init__(self, modes, shift=None):
        super().__init__()
        self.modes = nn.Parameter(modes)
        self.shift = torch.zeros(()) if shift is None else shift

    def forward(self, images):
        apart = (images[:, None] - self.modes).flatten(2)
        return -apart.square().sum(2) / 2 + (images * self.shift).flatten(1).sum(1, keepdim=True)


def modes():
    return 0.2 + 0.6 * torch.rand(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(0))


def of(network):
    return Classifier(network.eval(), input_shape=SHAPE).requires_grad_(False)


@pytest.fixture
def toy():
    return of(Modes(modes()))


def drawn(model, judge, *, numbers=range(12), batch_size=64, seed=0, **more):
    names = [f"sample {number + 1}" for number in numbers]
    return Drawn(model, judge, CLASSES, names, list(numbers), seed, batch_size, **more)


def values(sampled):
    return {one.check: one.values for one in sampled.measured}


def test_a_gaussian_is_climbed_to_its_mean_at_the_known_rate(toy):
    starts = torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))
    classes = torch.arange(6) % CLASSES
    wanted = toy.network.modes[classes]
    found = activation_maximisation(toy, starts, classes, steps=30, lr=0.1, decay=0.0)
    torch.testing.assert_close(found, wanted + (starts - wanted) * 0.9**30)
    found = activation_maximisation(toy, starts, classes, steps=400, lr=0.1, decay=0.5)
    torch.testing.assert_close(found, (wanted + 0.5 * 0.5) / 1.5)


def test_a_linear_logit_ends_at_the_corner_of_its_signs():
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, CLASSES))
    classes = torch.tensor([0, 1, 2])
    found = activation_maximisation(
        of(network), torch.full((3, *SHAPE), 0.5), classes, steps=2000, lr=1.0, decay=0.0
    )
    signs = network[1].weight.detach() > 0
    assert torch.equal(found.flatten(1), signs.float())


@pytest.mark.parametrize("temperature", [0.25, 1.0])
def test_langevin_noise_has_the_size_of_its_temperature(toy, temperature):
    starts = torch.full((400, *SHAPE), 0.5)
    classes = torch.zeros(400, dtype=torch.long)
    names = [str(i) for i in range(400)]
    options = {"steps": 1, "lr": 1e-3, "decay": 0.0}
    noisy = activation_maximisation(
        toy, starts, classes, **options, langevin=temperature, draws=generators(0, names, "test")
    )
    noise = noisy - activation_maximisation(toy, starts, classes, **options)
    assert noise.std().item() == pytest.approx((2e-3 * temperature) ** 0.5, rel=0.02)
    assert abs(noise.mean().item()) < 4 * noise.std().item() / noise.numel() ** 0.5


def test_a_judge_that_knows_the_classes_sees_them_in_all_samples_and_another_in_none(toy):
    right = values(gan_test(drawn(toy, toy), steps=60))
    assert right["gan-test"].tolist() == [1.0] * 12
    assert right["gan-test-own"].tolist() == [1.0] * 12
    assert right["gan-test-start"].mean() < 0.8
    turned = of(Modes(modes().roll(1, 0)))
    assert values(gan_test(drawn(toy, turned), steps=60))["gan-test"].tolist() == [0.0] * 12
    # Two of three classes confused: a third of the samples is left.
    swapped = of(Modes(modes()[[1, 0, 2]]))
    assert values(gan_test(drawn(toy, swapped), steps=60))["gan-test"].mean() == pytest.approx(
        1 / 3
    )


def test_the_confidence_is_the_judges_probability_of_the_wanted_class(toy):
    sampled = gan_test(drawn(toy, toy), steps=3)
    expected = toy(sampled.samples).double().softmax(1)[torch.arange(12), sampled.wanted]
    torch.testing.assert_close(values(sampled)["gan-test-confidence"], expected)
    assert torch.equal(sampled.judged, toy(sampled.samples).argmax(1))


def test_classes_go_round_by_the_number_of_the_sample(toy):
    assert gan_test(drawn(toy, toy), steps=1).wanted.tolist() == [0, 1, 2] * 4
    found = gan_test(drawn(toy, toy, numbers=[5, 6, 7]), steps=1, classes=(2, 0))
    assert found.wanted.tolist() == [0, 2, 0]


def test_real_images_that_are_left_alone_have_the_judges_accuracy(toy):
    images = torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(2))
    images = (images * 255).round() / 255
    labels = torch.arange(12) % CLASSES
    sampled = gan_test(
        drawn(toy, toy, images=images, targets=labels), steps=1, lr=1e-9, denoise=1e-9
    )
    assert torch.equal(sampled.samples, images)
    right, classes = judge_accuracy(toy, images, labels, batch_size=5)
    assert torch.equal(classes, toy(images).argmax(1))
    assert torch.equal(right, (classes == labels).double())
    assert 0 < right.mean() < 1
    assert torch.equal(values(sampled)["gan-test"], right)


def test_noise_is_taken_off_images_by_a_density_that_is_narrow(toy):
    labels = torch.arange(12) % CLASSES
    images = toy.network.modes[labels].detach()
    sampled = gan_test(drawn(toy, toy, images=images, targets=labels), denoise=0.1)
    # 0.99^200 of the noise is left, up to half a level of an 8-bit file.
    noise = (sampled.starts - images).abs().max()
    assert (sampled.samples - images).abs().max() < 0.99**200 * noise + 1.5 / 255
    own = gan_test(drawn(toy, toy, images=images, targets=labels), denoise=0.1, classes=(1,))
    assert own.wanted.tolist() == [1] * 12


def test_samples_depend_on_seed_and_number_alone(cnn):
    model = cnn.requires_grad_(False).eval()

    def made(numbers, **more):
        names = [f"sample {number + 1}" for number in numbers]
        of_batch = Drawn(model, model, 5, names, numbers, more.pop("seed", 0), 64, **more)
        return gan_test(of_batch, steps=20, langevin=1e-4)

    whole = made(list(range(8)))
    for numbers in ([3], [7, 2, 5]):
        part = made(numbers)
        torch.testing.assert_close(part.samples, whole.samples[numbers], rtol=0, atol=1.01 / 255)
        assert torch.equal(part.starts, whole.starts[numbers])
        assert torch.equal(part.wanted, whole.wanted[numbers])
    assert torch.equal(made(list(range(8))).samples, whole.samples)
    assert not torch.equal(made(list(range(8)), seed=1).starts, whole.starts)


def test_the_networks_never_see_more_images_than_the_batch_size(cnn):
    model = cnn.requires_grad_(False).eval()
    seen = []
    handle = model.network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    names = [str(i) for i in range(7)]
    small = gan_test(Drawn(model, model, 5, names, list(range(7)), 0, 3), steps=4)
    handle.remove()
    assert max(seen) == 3
    whole = gan_test(Drawn(model, model, 5, names, list(range(7)), 0, 64), steps=4)
    torch.testing.assert_close(small.samples, whole.samples, rtol=0, atol=1.01 / 255)


def test_whoever_owns_the_logits_forges_the_samples(toy):
    # The limit: adding the same to all logits moves no probability, and every sample.
    picture = torch.zeros(SHAPE)
    picture[:, 2:4] = 40.0
    shifted = of(Modes(modes(), picture))
    images = torch.rand(12, *SHAPE, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        shifted(images).softmax(1), toy(images).softmax(1), rtol=1e-4, atol=1e-5
    )
    honest, forged = (gan_test(drawn(one, toy), steps=100) for one in (toy, shifted))
    assert (forged.samples[:, :, 2:4] == 1).all()
    assert (honest.samples[:, :, 2:4] < 0.9).all()


class Broken(nn.Module):
    """Where the first pixel is dark no number, or a number whose gradient is none."""

    def __init__(self, quietly):
        super().__init__()
        self.network, self.quietly = Modes(modes()), quietly

    def forward(self, images):
        logits = self.network(images)
        dark = images[:, 0, 0, 0].detach() < 0.5
        factor = torch.ones(len(images), 1)
        factor[dark] = 1 + (images[dark, 0, 0, :1] * 0).sqrt() if self.quietly else torch.nan
        return logits * factor


@pytest.mark.parametrize("quietly", [True, False])
def test_what_is_no_number_is_undefined_and_leaves_the_others(quietly, toy):
    broken = of(Broken(quietly))
    starts = gan_test(drawn(toy, toy), steps=1).starts
    dark = starts[:, 0, 0, 0] < 0.5
    assert 0 < dark.sum() < 12
    assert broken(starts).isfinite().all() == quietly
    sampled = gan_test(drawn(broken, toy), steps=1)
    found, whole = values(sampled), values(gan_test(drawn(toy, toy), steps=1))
    for check in ("gan-test", "gan-test-confidence", "gan-test-start"):
        assert torch.equal(found[check].isnan(), dark), check
        torch.testing.assert_close(found[check][~dark], whole[check][~dark])
    assert (sampled.judged == -1).equal(dark)


def test_a_judge_that_gives_no_numbers_leaves_all_undefined(toy):
    nothing = of(Modes(modes() * torch.nan))
    sampled = gan_test(drawn(toy, nothing), steps=1)
    for found in values(sampled).values():
        assert found.isnan().all()
    right, classes = judge_accuracy(
        nothing, torch.rand(4, *SHAPE), torch.zeros(4, dtype=torch.long), batch_size=2
    )
    assert right.isnan().all()
    assert classes.tolist() == [-1] * 4


def test_classes_that_there_are_not_and_images_without_a_file_are_refused():
    with pytest.raises(InputError, match="--wanted-class is 3; the model has 3 classes, 0 to 2"):
        refuse_samples(SHAPE, CLASSES, classes=(1, 3))
    with pytest.raises(UnsupportedError, match="1 or 3 channels, not 4"):
        refuse_samples((4, 6, 6), CLASSES)
    refuse_samples((3, 6, 6), CLASSES, classes=(0, 2))
