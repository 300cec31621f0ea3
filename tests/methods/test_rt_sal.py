import pytest
import torch
from torch import nn

from saliency_audit.errors import UnsupportedError
from saliency_audit.methods.rt_sal import rt_sal
from saliency_audit.models import Classifier, Design, feature_maps, restored, untrained
from saliency_audit.models.scales import scales


@pytest.fixture
def masked(cnn, images):
    with cnn.audited():
        cnn.masker = untrained(cnn, images, width=4, seed=0)
    return cnn


def test_a_mask_is_in_its_range_and_takes_one_pass(masked, images, targets):
    before = masked.passes

    mask = rt_sal(masked, images, targets)

    assert masked.passes - before == len(images)
    assert mask.shape == (4, 1, 12, 16)
    assert 0 <= float(mask.min()) < float(mask.max()) <= 1


def test_it_is_the_ratio_of_two_channels_of_what_the_decoder_makes(masked, images, targets):
    """A literal computation, map by map and position by position."""
    network = masked.masker.network
    with masked.audited(), torch.no_grad():
        _, (coarse, *finer) = feature_maps(masked, images, network.design.layers)
        gate = torch.stack(
            [
                (f * network.selector.weight[t].view(-1, 1, 1)).sum(0).sigmoid()
                for f, t in zip(coarse, targets, strict=True)
            ]
        )
        x = network.enter(coarse * gate[:, None])
        for stage, fine in zip(network.stages, finer, strict=True):
            up = nn.functional.interpolate(x, fine.shape[2:], mode="bilinear", align_corners=False)
            x = stage.join(torch.cat([up, stage.skip(fine)], 1))
            x = x + stage.further(x)
        a, b = network.leave(x).abs().unbind(1)
        expected = nn.functional.interpolate(
            (a / (a + b))[:, None], (12, 16), mode="bilinear", align_corners=False
        )

    torch.testing.assert_close(rt_sal(masked, images, targets), expected)


def test_it_explains_the_class_and_no_scalar(masked, images, targets):
    mask = rt_sal(masked, images, targets)

    assert torch.equal(mask, rt_sal(masked, images, targets, scalar="loss"))
    assert not torch.equal(mask, rt_sal(masked, images, (targets + 1) % 5))


def test_nothing_of_the_masking_network_is_trained_by_a_gradient_in_the_image(
    masked, images, targets
):
    pixels = images.requires_grad_()
    rt_sal(masked, pixels, targets, graph=True).sum().backward()

    assert pixels.grad is not None
    assert pixels.grad.abs().amax((1, 2, 3)).gt(0).all()
    weights = list(masked.masker.network.parameters())
    assert weights
    assert all(weight.grad is None and not weight.requires_grad for weight in weights)
    assert not any("masker" in name for name, _ in masked.named_parameters())


def test_the_coarsest_map_of_each_resolution_is_read(cnn, images):
    with cnn.audited():
        assert scales(cnn, images, most=4) == ["5", "3", "2"]
        assert scales(cnn, images, most=1) == ["5"]
        cnn.layer = "1"
        assert scales(cnn, images, most=4) == ["1"]


def test_models_made_of_a_model_have_its_masking_network(masked, images, targets):
    around = nn.ModuleDict({"network": masked.network})
    around.forward = masked.network.forward
    forged = masked.replaced(around)

    assert torch.equal(rt_sal(forged, images, targets), rt_sal(masked, images, targets))


def test_weights_that_were_saved_give_the_same_mask(masked, images, targets):
    network = masked.masker.network
    state = {name: value.clone() for name, value in network.state_dict().items()}
    again = restored(state, Design.read(network.design.written), masked)
    mask = rt_sal(masked, images, targets)
    masked.masker = again

    assert torch.equal(rt_sal(masked, images, targets), mask)


def test_what_has_no_masking_network_or_that_of_another_one_is_refused(masked, images, targets):
    bare = Classifier(masked.network, input_shape=(3, 12, 16))
    with pytest.raises(UnsupportedError, match="has no masking network; train one with --train or"):
        rt_sal(bare, images, targets)
    other = nn.Sequential(*masked.network[:-1], nn.Linear(8, 6)).eval()
    bare = Classifier(other, input_shape=(3, 12, 16), name="other")
    bare.masker = masked.masker
    with pytest.raises(
        UnsupportedError, match=r"for 5 classes and .* of 8, 8, 8 channels, and other"
    ):
        rt_sal(bare, images, targets)
