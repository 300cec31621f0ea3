import torch

from saliency_audit.methods.occlusion import occlusion


def definition(model, images, targets, window, stride, cover, scalar="logit"):
    """Every window in turn: the drop it causes, on each of its pixels; then the mean."""
    total, count = torch.zeros(2, *images[:, :1].shape)
    height, width = images.shape[2:]
    with torch.no_grad():
        whole = model.explained(scalar, model(images), targets)
        for top in range(0, height - window + stride, stride):
            for left in range(0, width - window + stride, stride):
                place = (..., slice(top, top + window), slice(left, left + window))
                covered = images.clone()
                covered[place] = cover.expand_as(images)[place]
                drop = whole - model.explained(scalar, model(covered), targets)
                total[place] += drop.view(-1, 1, 1, 1)
                count[place] += 1
    return total / count


def test_equals_the_definition(cnn, images, targets):
    saliency = occlusion(cnn, images, targets, window=4, stride=2, batch_size=7, scalar="log-prob")

    expected = definition(cnn, images, targets, 4, 2, cnn.mean, scalar="log-prob")
    torch.testing.assert_close(saliency, expected, rtol=1e-4, atol=1e-5)


def test_windows_that_do_not_fit_end_at_the_border(cnn, images, targets):
    saliency = occlusion(cnn, images, targets, window=5, stride=3, baseline=0.0)

    expected = definition(cnn, images, targets, 5, 3, torch.zeros(1))
    torch.testing.assert_close(saliency, expected, rtol=1e-4, atol=1e-5)


def test_a_pixel_of_a_linear_model_is_worth_its_weight(linear):
    images, targets = torch.rand(3, 2, 4, 4).double(), torch.tensor([0, 2, 1])

    saliency = occlusion(linear, images, targets, window=1)

    expected = (images * linear.network.weight[targets]).sum(1, keepdim=True)
    torch.testing.assert_close(saliency, expected, rtol=1e-5, atol=1e-6)
