"""IDX files written here by hand, from the format's description."""

import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from saliency_audit.data import batches, open_data
from saliency_audit.errors import InputError

REAL = (
    Path(os.environ.get("SALIENCY_AUDIT_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "fashion-mnist"
)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = bytes([3, 1, 4, 1, 5, 9])
IMAGES_FILE = struct.pack(">HBBIII", 0, 8, 3, 6, 28, 28) + PIXELS.tobytes()
LABELS_FILE = struct.pack(">HBBI", 0, 8, 1, 6) + LABELS


def write(folder, *, prefix="t10k", gz=False, images=IMAGES_FILE, labels=LABELS_FILE):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
        path = folder / f"{prefix}-{name}"
        if gz:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)


@pytest.mark.parametrize("gz", [True, False])
@pytest.mark.parametrize(
    ("kind", "inside"),
    [("mnist", ""), ("mnist", "MNIST/raw"), ("fashion-mnist", "FashionMNIST/raw")],
)
@pytest.mark.parametrize(
    ("prefix", "suffix"), [("t10k", ""), ("t10k", "@test"), ("train", "@train")]
)
def test_round_trip(tmp_path, gz, kind, inside, prefix, suffix):
    write(tmp_path / inside, prefix=prefix, gz=gz)
    data = open_data(f"{kind}:{tmp_path}{suffix}", input_shape=(1, 28, 28), outputs=10)
    (batch,) = batches(data, batch_size=10)
    assert torch.equal(batch.images, torch.from_numpy(PIXELS)[:, None] / 255)
    assert batch.labels.tolist() == list(LABELS)
    split = "train" if prefix == "train" else "test"
    assert batch.names[5] == f"{split}/00005"
    assert data.name == f"{kind} ({split})"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"images": b""}, "starts with nothing, not 00000803"),
        ({"images": LABELS_FILE}, "starts with 00000801, not 00000803"),
        ({"labels": IMAGES_FILE}, "starts with 00000803, not 00000801"),
        ({"images": IMAGES_FILE[:10]}, "ends inside its header"),
        ({"images": IMAGES_FILE[:-1]}, "holds 4703 bytes but its header promises 6x28x28"),
        ({"labels": struct.pack(">HBBI", 0, 8, 1, 5) + LABELS[:5]}, "6 images and .* 5 labels"),
        (
            {
                "images": struct.pack(">HBBIII", 0, 8, 3, 0, 28, 28),
                "labels": struct.pack(">HBBI", 0, 8, 1, 0),
            },
            "0 images",
        ),
    ],
)
def test_damaged_files(tmp_path, files, message):
    write(tmp_path, **files)
    with pytest.raises(InputError, match=message):
        open_data(f"mnist:{tmp_path}", input_shape=(1, 28, 28))


def test_damaged_gzip(tmp_path):
    write(tmp_path, gz=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(
        InputError, match=r"images-idx3-ubyte.gz cannot be read .*download it again"
    ):
        open_data(f"mnist:{tmp_path}", input_shape=(1, 28, 28))


def test_what_does_not_fit_the_model(tmp_path):
    write(tmp_path)
    with pytest.raises(InputError, match=r"grey images \(mnist \(test\)\) .* takes colour ones"):
        open_data(f"mnist:{tmp_path}", input_shape=(3, 28, 28))
    with pytest.raises(InputError, match="test/00002 has label 4 but the model has 4 outputs"):
        open_data(f"mnist:{tmp_path}", input_shape=(1, 28, 28), outputs=4)
    with pytest.raises(InputError, match="--classes is for folders"):
        open_data(f"mnist:{tmp_path}", input_shape=(1, 28, 28), classes_file=tmp_path / "c.txt")


def test_other_sizes_are_resized(tmp_path):
    write(tmp_path)
    assert open_data(f"mnist:{tmp_path}", input_shape=(1, 32, 24))[0].image.shape == (1, 32, 24)


@pytest.mark.skipif(not REAL.is_dir(), reason="no real Fashion-MNIST; set SALIENCY_AUDIT_DATA")
def test_bundled_images_are_those_of_the_real_files():
    real = open_data(f"fashion-mnist:{REAL}", input_shape=(1, 28, 28))
    bundled = open_data("bundled:fashion-mnist", input_shape=(1, 28, 28))
    where = {name: i for i, name in enumerate(real.names)}
    assert len(real) == 10_000
    for sample in bundled:
        same = real[where[sample.name]]
        assert sample.label == same.label
        assert torch.equal(sample.image, same.image)
