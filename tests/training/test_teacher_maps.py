"""A teacher's maps: closed forms, the threshold, the permuted control, and the file."""

import numpy as np
import pytest
import torch

from saliency_audit.data import from_tensors
from saliency_audit.data.images import Unreadable
from saliency_audit.errors import InputError
from saliency_audit.models import input_gradient
from saliency_audit.seeding import generators
from saliency_audit.training.teacher_maps import (
    create_targets,
    finish_targets,
    read_targets,
    standing_out,
    teacher_maps,
    write_targets,
)

NAMES = [str(i) for i in range(4)]


@pytest.fixture
def images(images):
    return images.double()


@pytest.fixture
def maps(smooth, images, targets):
    def make(names=NAMES, rows=slice(None), **options):
        settings = {"samples": 6, "seed": 0, "batch_size": 8, **options}
        return teacher_maps(smooth, images[rows], targets[rows], names, **settings)

    return make


def test_the_mean_magnitude_over_noisy_copies(maps, smooth, images, targets):
    found = maps(threshold=None, sigma=0.3)
    smooth.eval()
    for i in range(4):
        draw = generators(0, [NAMES[i]], "teacher-maps")[0]
        total = torch.zeros_like(images[i])
        for _ in range(6):
            # Not cut to [0, 1].
            noisy = images[i] + 0.3 * torch.randn(images[i].shape, generator=draw)
            total += input_gradient(smooth, noisy[None], targets[i : i + 1])[0].abs()
        torch.testing.assert_close(found[i], total / 6)


def test_every_map_of_a_linear_teacher_is_its_weight(linear):
    labels = torch.tensor([2, 0, 1])
    found = teacher_maps(
        linear,
        torch.rand(3, 2, 4, 4).double(),
        labels,
        NAMES[:3],
        threshold=None,
        seed=3,
        batch_size=7,
    )
    torch.testing.assert_close(found, linear.network.weight[labels].abs())


def test_what_is_below_the_mean_plus_deviations_is_0(maps):
    whole = maps(threshold=None)
    for threshold in (-0.5, 0.0, 1.0, 2.5):
        found = maps(threshold=threshold)
        for i in range(4):
            values = whole[i].double().numpy()
            least = values.mean() + threshold * values.std()
            expected = np.where(values < least, 0, values)
            assert np.allclose(found[i].numpy(), expected, rtol=1e-6, atol=0)
            assert 0 < (expected > 0).mean() < 1
    assert torch.equal(maps(threshold=-torch.inf), whole)


def test_a_sixth_of_gaussian_values_stands_out():
    values = 10 + torch.randn(20, 1, 50, 50, generator=torch.Generator().manual_seed(0))
    kept = (standing_out(values, 1.0) > 0).double().mean()
    assert float(kept) == pytest.approx(0.1587, abs=0.01)


def test_a_permuted_map_has_the_same_values_elsewhere(maps):
    plain, mixed = maps(), maps(permute=True)
    assert not torch.equal(plain, mixed)
    assert torch.equal(plain.flatten(1).sort().values, mixed.flatten(1).sort().values)
    assert torch.equal(mixed, maps(permute=True))
    torch.testing.assert_close(mixed[2:3], maps(NAMES[2:3], slice(2, 3), permute=True))
    assert not torch.equal(mixed, maps(permute=True, seed=1))


def test_no_two_images_and_no_two_seeds_are_permuted_alike(linear):
    def make(permute, seed):
        images, labels = torch.full((3, 2, 4, 4), 0.5).double(), torch.zeros(3).long()
        options = {"permute": permute, "threshold": None, "seed": seed, "batch_size": 3}
        return teacher_maps(linear, images, labels, NAMES[:3], **options).flatten(1)

    # The same map three times, whatever the noise.
    plain = make(False, 0)
    torch.testing.assert_close(plain, plain[:1].expand(3, -1))
    mixed = torch.cat([make(True, 0), make(True, 1)])
    torch.testing.assert_close(mixed.sort(1).values, plain[:1].sort(1).values.expand(6, -1))
    assert len({tuple(row) for row in mixed.argsort(1).tolist()}) == 6


def test_a_map_that_is_the_same_everywhere_stands_out_everywhere():
    assert torch.equal(standing_out(torch.ones(1, 1, 2, 2), 1.0), torch.ones(1, 1, 2, 2))


def test_the_batch_does_not_matter_and_bounds_what_the_teacher_sees(maps, smooth):
    whole = maps()
    seen = []
    hook = smooth.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    for size in (1, 5, 9):
        torch.testing.assert_close(maps(batch_size=size), whole)
        assert max(seen) <= size
        assert sum(seen) == 4 * 6
        seen.clear()
    hook.remove()
    torch.testing.assert_close(maps(NAMES[1:2], slice(1, 2)), whole[1:2])


def test_the_teacher_is_as_it_was(maps, smooth):
    smooth.train()
    dropped = torch.nn.Dropout()
    smooth.network.append(dropped)
    weights = [weight.clone() for weight in smooth.parameters()]
    first = maps()
    assert torch.equal(first, maps())
    assert smooth.training
    assert dropped.training
    assert all(weight.requires_grad and weight.grad is None for weight in smooth.parameters())
    assert all(torch.equal(a, b) for a, b in zip(weights, smooth.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, "--samples is 0; give 1 or more"),
        ({"sigma": -1.0}, "--sigma is -1; give 0 or more"),
    ],
)
def test_options_that_mean_nothing(maps, options, words):
    with pytest.raises(InputError, match=words):
        maps(**options)


# The file


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(8)
    pixels = torch.rand(11, 3, 12, 16, generator=generator)
    return from_tensors(pixels, torch.arange(11) % 5, [f"image {i}" for i in range(11)])


OPTIONS = {
    "samples": 3,
    "sigma": 0.1,
    "threshold": 0.5,
    "permute": True,
    "seed": 4,
    "batch_size": 2,
}


def write(path, teacher, data, world=1, **options):
    create_targets(path, data)
    for rank in range(world):
        write_targets(path, teacher, data, shard=(rank, world), **OPTIONS, **options)
    finish_targets(path)
    return read_targets(path, data)


def test_what_was_written_is_read_by_name(tmp_path, cnn, data):
    read = write(tmp_path / "maps.npy", cnn, data)
    images = torch.stack([data[i].image for i in range(11)])
    expected = teacher_maps(cnn, images, torch.arange(11) % 5, data.names, **OPTIONS)
    chosen = [7, 0, 10, 0]
    found = read([data.names[i] for i in chosen])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected[chosen])
    assert [path.name for path in tmp_path.iterdir()] == ["maps.npy"]


def test_two_processes_write_what_one_writes(tmp_path, cnn, data):
    write(tmp_path / "one.npy", cnn, data)
    seen = []
    hook = cnn.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    write(tmp_path / "two.npy", cnn, data, world=2)
    hook.remove()
    assert sum(seen) == 11 * OPTIONS["samples"]
    assert (tmp_path / "one.npy").read_bytes() == (tmp_path / "two.npy").read_bytes()


def test_an_interrupted_run_leaves_nothing_to_read_and_the_next_starts_again(tmp_path, cnn, data):
    path = tmp_path / "maps.npy"
    whole = write(path, cnn, data)(data.names)
    path.unlink()
    create_targets(path, data)
    write_targets(path, cnn, data, shard=(0, 3), **OPTIONS)
    assert not path.exists()
    with pytest.raises(FileNotFoundError):
        read_targets(path, data)
    assert torch.equal(write(path, cnn, data)(data.names), whole)


def test_progress_counts_all_images_and_an_unreadable_one_has_no_map(tmp_path, cnn, data):
    def read(position):
        if position == 3:
            raise Unreadable("broken")
        return data.read(position)

    broken = type(data)(**{**vars(data), "read": read})
    counts = []
    found = write(tmp_path / "maps.npy", cnn, broken, advance=counts.append)(data.names)
    assert sum(counts) == 11
    shown = found.flatten(1).any(1).tolist()
    assert shown == [i != 3 for i in range(11)]


def test_a_file_of_other_images_is_refused(tmp_path, cnn, data):
    path = tmp_path / "maps.npy"
    write(path, cnn, data)
    with pytest.raises(InputError, match=r"maps of shape \(11, 3, 12, 16\).*\(2, 3, 12, 16\)"):
        read_targets(path, from_tensors(torch.rand(2, 3, 12, 16)))
