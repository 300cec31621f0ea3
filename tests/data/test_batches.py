import os

import numpy as np
import pytest
import torch
from PIL import Image

from saliency_audit.data import batches, from_tensors, open_data
from saliency_audit.errors import InputError

SHAPE = (3, 16, 16)


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for i in range(11):
        (tmp_path / str(i % 2)).mkdir(exist_ok=True)
        Image.fromarray(pixels(i)).save(tmp_path / str(i % 2) / f"{i:02d}.png")
    return tmp_path


def same(some, others):
    assert len(some) == len(others)
    for a, b in zip(some, others, strict=True):
        assert (a.index, a.names, a.failures) == (b.index, b.names, b.failures)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


def test_every_image_once_in_order(folder):
    data = open_data(str(folder), input_shape=SHAPE)
    got = list(batches(data, batch_size=4))
    assert [b.index for b in got] == [0, 1, 2]
    assert [len(b.names) for b in got] == [4, 4, 3]
    assert [name for b in got for name in b.names] == data.names
    assert torch.cat([b.labels for b in got]).tolist() == [0] * 6 + [1] * 5
    assert got[0].images.dtype == torch.float32
    assert got[0].labels.dtype == torch.int64


# Python 3.12 warns when a process with threads forks, as torch's loader does on Linux.
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_workers_change_nothing(folder):
    (folder / "0" / "00.png").write_bytes(b"broken")
    data = open_data(str(folder), input_shape=SHAPE)
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    alone = list(batches(data, batch_size=3))
    helped = list(batches(data, batch_size=3, workers=2))
    assert torch.rand(1) == expected  # nothing was taken from the caller's random numbers
    same(alone, helped)


@pytest.mark.slow
def test_spawned_workers_change_nothing(folder):
    data = open_data(str(folder), input_shape=SHAPE, max_samples=7)
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=1, multiprocessing_context="spawn"
    )
    for here, there in zip(data, loader, strict=True):
        assert (here.name, here.label) == (there.name, there.label)
        assert torch.equal(here.image, there.image)


def test_skipped_batches_are_not_read(folder, monkeypatch):
    data = open_data(str(folder), input_shape=SHAPE)
    opened = []
    original = Image.open
    monkeypatch.setattr(
        Image, "open", lambda path, **how: opened.append(path.name) or original(path, **how)
    )
    whole = list(batches(data, batch_size=4))
    assert len(opened) == 11
    opened.clear()
    rest = list(batches(data, batch_size=4, skip={0, 2}))
    assert opened == [os.path.basename(name) for name in data.names[4:8]]
    same(rest, whole[1:2])
    assert list(batches(data, batch_size=4, skip=range(9))) == []


def test_shards_share_the_batches_out(folder):
    data = open_data(str(folder), input_shape=SHAPE)
    whole = list(batches(data, batch_size=2))
    shards = [list(batches(data, batch_size=2, shard=(rank, 4))) for rank in range(4)]
    assert [[b.index for b in shard] for shard in shards] == [[0, 4], [1, 5], [2], [3]]
    same(sorted((b for shard in shards for b in shard), key=lambda b: b.index), whole)
    assert list(batches(data, batch_size=100, shard=(1, 2))) == []


def test_unreadable_images_become_failures(folder):
    png = (folder / "0" / "00.png").read_bytes()
    jpeg = folder / "0" / "ok.jpg"
    Image.fromarray(pixels(0)).resize((200, 200)).save(jpeg)
    broken = {
        "0/a-empty.png": b"",
        "0/b-text.jpg": b"this is no picture",
        "0/c-truncated.png": png[: len(png) // 2],
        "0/d-truncated.jpg": jpeg.read_bytes()[:2000],
        "0/e-flipped.png": png[:60] + bytes(20) + png[80:],
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    (folder / "0" / "f-dangling.png").symlink_to("nowhere.png")
    data = open_data(str(folder), input_shape=SHAPE)
    got = list(batches(data, batch_size=5))
    failures = {f.name: f for b in got for f in b.failures}
    assert sorted(failures) == [*broken, "0/f-dangling.png"]
    assert all(f.label == 0 and f.message and "\n" not in f.message for f in failures.values())
    assert str(folder) not in "".join(f.message for f in failures.values())
    assert sum(len(b.names) for b in got) == 12
    assert all(len(b.names) == len(b.images) == len(b.labels) for b in got)


def test_a_batch_may_have_only_failures(tmp_path):
    (tmp_path / "a.png").write_bytes(b"broken")
    (batch,) = batches(open_data(str(tmp_path), input_shape=SHAPE), batch_size=4)
    assert batch.images.shape == (0, 3, 16, 16)
    assert batch.labels.shape == (0,)
    assert batch.labels.dtype == torch.int64
    assert batch.names == []
    assert batch.failures[0].label is None


def test_bad_counts(folder):
    data = open_data(str(folder), input_shape=SHAPE)
    with pytest.raises(InputError, match="--batch-size is 0"):
        next(batches(data, batch_size=0))
    with pytest.raises(InputError, match="--workers is -1"):
        next(batches(data, batch_size=1, workers=-1))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_cuda(folder):
    data = open_data(str(folder), input_shape=SHAPE)
    for here, there in zip(
        batches(data, batch_size=4), batches(data, batch_size=4, device="cuda"), strict=True
    ):
        assert there.images.is_cuda
        assert there.labels.is_cuda
        assert torch.equal(here.images, there.images.cpu())


def test_from_tensors():
    images = torch.rand(5, 1, 4, 6, dtype=torch.float64)
    data = from_tensors(images, torch.tensor([2, -1, 0, 1, 1]), ["a", "b", "c", "d", "e"])
    first, second = batches(data, batch_size=3)
    assert first.names == ["a", "b", "c"]
    assert torch.equal(second.images, images[3:].float())
    assert first.labels.tolist() == [2, -1, 0]
    assert data.input_shape == (1, 4, 6)
    assert not from_tensors(images).labelled


@pytest.mark.parametrize(
    ("images", "labels", "names", "message"),
    [
        (torch.rand(3, 4, 4), None, None, r"shape \(3, 4, 4\); give \(n, c, h, w\)"),
        (torch.rand(0, 3, 4, 4), None, None, "with n > 0"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), None, None, "divide 8-bit pixels by 255"),
        (torch.full((1, 3, 4, 4), 2.0), None, None, r"lie in \[2, 2\]; give pixels in \[0, 1\]"),
        (torch.full((1, 3, 4, 4), torch.nan), None, None, "lie in"),
        (torch.rand(2, 3, 4, 4), torch.tensor([1]), None, "give 2 class indices"),
        (torch.rand(2, 3, 4, 4), torch.tensor([1.0, 2.0]), None, "labels are torch.float32"),
        (torch.rand(2, 3, 4, 4), torch.tensor([1, -2]), None, "smallest -2"),
        (torch.rand(2, 3, 4, 4), None, ["a", "a"], "1 different names for 2 images"),
    ],
)
def test_bad_tensors(images, labels, names, message):
    with pytest.raises(InputError, match=message):
        from_tensors(images, labels, names)
