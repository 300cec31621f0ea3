import pickle
import sys

import numpy as np
import pytest
import torch

from saliency_audit.data import batches, open_data
from saliency_audit.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
LABELS = [6, 0, 9, 3]
SHAPE = (3, 32, 32)


def batch_of(images=IMAGES, labels=LABELS, protocol=2):
    rows = images.reshape(len(images), -1)
    return pickle.dumps({b"data": rows, b"labels": labels, b"batch_label": b"x"}, protocol)


def python_2_batch():
    """As Python 2 and the numpy of its day wrote the published files."""
    rows = IMAGES.reshape(4, -1).tobytes()
    return (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\n"
        b"ndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x04M\x00\x0c\x86cnumpy\ndtype\nq\x06"
        b"U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T" + len(rows).to_bytes(4, "little") + rows + b"tb"
        b"U\x06labelsq\x08]q\x09(K\x06K\x00K\x09K\x03eu."
    )


def check(data):
    (batch,) = batches(data, batch_size=10)
    assert torch.equal(batch.images, torch.from_numpy(IMAGES) / 255)
    assert batch.labels.tolist() == LABELS
    assert batch.names == [f"test/{i:05d}" for i in range(4)]
    assert data.class_names[6] == "frog"


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-py"])
@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_python_form(tmp_path, inside, protocol):
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / "test_batch").write_bytes(batch_of(protocol=protocol))
    check(open_data(f"cifar10:{tmp_path}", input_shape=SHAPE, outputs=10))


def test_python_2_form(tmp_path):
    (tmp_path / "test_batch").write_bytes(python_2_batch())
    check(open_data(f"cifar10:{tmp_path}", input_shape=SHAPE))


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_binary_form(tmp_path, inside):
    (tmp_path / inside).mkdir(exist_ok=True)
    rows = [bytes([y]) + x.tobytes() for x, y in zip(IMAGES, LABELS, strict=True)]
    (tmp_path / inside / "test_batch.bin").write_bytes(b"".join(rows))
    check(open_data(f"cifar10:{tmp_path}@test", input_shape=SHAPE))


def test_training_split_joins_five_batches(tmp_path):
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(batch_of(labels=[i] * 4))
    data = open_data(f"cifar10:{tmp_path}@train", input_shape=SHAPE)
    assert data.labels.tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 + [5] * 4
    assert data.names[-1] == "train/00019"
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(InputError, match=r"neither data_batch_4 nor data_batch_4.gz is there"):
        open_data(f"cifar10:{tmp_path}@train", input_shape=SHAPE)


class Malicious:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [exec, getattr, __import__])
def test_a_malicious_pickle_runs_nothing(tmp_path, function):
    sys.modules.pop("this", None)
    argument = {exec: "import this", getattr: (1, "real"), __import__: "this"}[function]
    payload = Malicious(function, *(argument if isinstance(argument, tuple) else (argument,)))
    (tmp_path / "test_batch").write_bytes(
        pickle.dumps({b"data": payload, b"labels": LABELS}, protocol=2)
    )
    with pytest.raises(InputError, match=r"is refused: opening it would use .*nothing was run"):
        open_data(f"cifar10:{tmp_path}", input_shape=SHAPE)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no CIFAR-10 batch"),
        (b"hello", "is no CIFAR-10 batch"),
        (batch_of()[:-50], "is no CIFAR-10 batch"),
        (pickle.dumps([1, 2]), "is no CIFAR-10 batch"),
        (pickle.dumps({b"data": IMAGES}), r"is no CIFAR-10 batch \('labels'\)"),
        (batch_of(images=IMAGES.astype(float)), "images are float64"),
        (batch_of(labels=["a", "b", "c", "d"]), "labels are no list of whole numbers"),
        (batch_of(images=IMAGES[:, :2]), "is no CIFAR-10 batch"),
        (batch_of(labels=[1, 2, 3]), "4 images and 3 labels"),
        (batch_of(labels=[1, 2, 3, 10]), "from 0 to 9"),
    ],
)
def test_damaged_python_form(tmp_path, content, message):
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_data(f"cifar10:{tmp_path}", input_shape=SHAPE)
    assert "\n" not in str(caught.value)


def test_damaged_binary_form(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(b"12345")
    with pytest.raises(InputError, match="has 5 bytes, not a multiple of 3073"):
        open_data(f"cifar10:{tmp_path}", input_shape=SHAPE)


def test_grey_model(tmp_path):
    (tmp_path / "test_batch").write_bytes(batch_of())
    with pytest.raises(InputError, match=r"colour images \(cifar10 \(test\)\) .* --channels 3"):
        open_data(f"cifar10:{tmp_path}", input_shape=(1, 32, 32))
