import torch
from scipy import ndimage

from saliency_audit.methods.random import random
from saliency_audit.methods.sobel import sobel


def test_random_is_uniform_and_each_images_own(cnn, draws):
    images = torch.rand(2, 3, 100, 100)

    saliency = random(cnn, images, torch.tensor([0, 1]), generators=draws("ab"))

    assert saliency.shape == (2, 1, 100, 100)
    assert saliency.min() >= 0
    assert saliency.max() < 1
    assert abs(float(saliency.mean()) - 0.5) < 0.01
    assert abs(float(saliency.var()) - 1 / 12) < 0.005
    assert not torch.equal(saliency[0], saliency[1])


def test_sobel_of_a_slope_is_the_slope(cnn):
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    image = (0.03 * rows + 0.04 * columns).expand(1, 3, 6, 8)

    saliency = sobel(cnn, image, torch.tensor([0]))

    torch.testing.assert_close(saliency[0, 0, 1:-1, 1:-1], torch.full((4, 6), 0.05))


def test_sobel_equals_scipy(cnn, images, targets):
    expected = torch.stack(
        [
            torch.from_numpy(ndimage.sobel(grey, 0, mode="mirror") / 8).hypot(
                torch.from_numpy(ndimage.sobel(grey, 1, mode="mirror") / 8)
            )
            for grey in images.mean(1).numpy()
        ]
    )

    torch.testing.assert_close(sobel(cnn, images, targets)[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_sobel_sees_no_slope_along_one_or_two_pixels(cnn):
    points = torch.rand(50, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sobel(cnn, points, torch.zeros(50)), torch.zeros(50, 1, 1, 2))

    rows = torch.tensor([0.1, 0.5, 0.3, 0.9])
    along = sobel(cnn, rows.view(1, 1, 1, 4), torch.zeros(1))
    expected = torch.tensor([0, 0.1, 0.2, 0])
    torch.testing.assert_close(along.flatten(), expected)
    torch.testing.assert_close(
        sobel(cnn, rows.view(1, 1, 4, 1).expand(1, 3, 4, 2), torch.zeros(1))[0, 0],
        expected[:, None].expand(4, 2),
    )
