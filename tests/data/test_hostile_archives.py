"""Hostile data archives, manifests and lists: one line, before the memory is full."""

import pickle
import struct

import numpy as np
import pytest

from saliency_audit.data import open_data
from saliency_audit.errors import InputError
from tests import hostile

MNIST = "t10k-images-idx3-ubyte"


def one_line(spec, message, **options):
    with pytest.raises(InputError, match=message) as caught:
        open_data(str(spec), input_shape=(1, 8, 8), **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 2000


def idx(*shape):
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)


def write_idx(folder, *, images=None, labels=None):
    (folder / MNIST).write_bytes(images or idx(2, 8, 8) + bytes(128))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(labels or idx(2) + bytes(2))


@pytest.mark.parametrize(("make", "said"), hostile.IRREGULAR.items())
def test_what_is_no_file_is_said_wherever_it_is_given(tmp_path, make, said):
    hostile.picture(tmp_path / "cat.png")
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    hostile.picture(tmp_path / "photos" / "cat" / "a.png")
    make(tmp_path / "x.csv")
    if make is not hostile.directory:
        one_line(tmp_path / "x.csv", f"--data .*x.csv {said}; give a folder")
    one_line(f"manifest:{tmp_path}/x.csv", f"CSV file '.*x.csv' {said}")
    one_line(tmp_path / "photos", f"--classes '.*x.csv' {said}", classes_file=tmp_path / "x.csv")
    make(tmp_path / MNIST)
    one_line(f"mnist:{tmp_path}", f"--data mnist:.*: '.*{MNIST}' {said}")
    make(tmp_path / "test_batch")
    one_line(f"cifar10:{tmp_path}", f"'.*test_batch' {said}")


def test_idx_files_that_promise_too_much(tmp_path):
    write_idx(tmp_path, images=idx(2**32 - 1, 2**32 - 1, 2**32 - 1))
    one_line(f"mnist:{tmp_path}", "promises 4294967295x4294967295x4294967295 bytes; at most")
    write_idx(tmp_path, images=idx(2**29, 1, 1))
    one_line(f"mnist:{tmp_path}", "promises 536870912x1x1 bytes; at most 4,194,304 images")


def test_gzip_is_not_unpacked_beyond_what_the_header_promises(tmp_path):
    write_idx(tmp_path)
    (tmp_path / MNIST).unlink()
    hostile.gz_of_zeros(tmp_path / f"{MNIST}.gz", idx(2, 8, 8), 3 << 30)
    one_line(f"mnist:{tmp_path}", "holds more than 128 bytes but its header promises 2x8x8")


def test_a_file_without_end_is_not_read_to_its_end(tmp_path):
    write_idx(tmp_path)
    hostile.sparse(tmp_path / MNIST, 1 << 36, idx(2, 8, 8))
    one_line(f"mnist:{tmp_path}", "holds more than 128 bytes but its header promises 2x8x8")


def test_cifar_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("saliency_audit.data.cifar10.MOST_BYTES", 1 << 24)
    hostile.gz_of_zeros(tmp_path / "test_batch.bin.gz", b"", 1 << 30)
    one_line(f"cifar10:{tmp_path}", "holds more than 16,777,216 bytes; CIFAR-10 has 31 million")


def again_and_again():
    """Ten lists of ten lists of ... one list: a few hundred bytes, 10**30 labels."""
    nested = [1] * 10
    for _ in range(30):
        nested = [nested] * 10
    return pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": nested}, 2)


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
PICKLES = {
    # LONG_BINPUT: C's unpickler reserves 8 bytes for each place up to that.
    "far place": (b"\x80\x02}r\xff\xff\xff\x7f.", "a memory of 2,147,483,647 places"),
    "many steps": (b"\x80\x02" + b"N0" * 600_000 + b"N.", "more than 1,000,000 steps"),
    "nested": (again_and_again(), "its labels are no list of whole numbers"),
    "large array": (
        b"(dS'data'\n" + ARRAY + b"(L10000000000000L\ntS'f8'\ntRsS'labels'\n(lI1\nas.",
        "is no CIFAR-10 batch",
    ),
    "array by itself": (b"cnumpy\nndarray\n(I5\ntR.", "would use numpy.ndarray by itself"),
    "odd numbers": (b"cnumpy\ndtype\n(S'V2000000000'\ntR.", "would use numbers of the kind V2000"),
    "odd state": (b"cnumpy\ndtype\n(S'u1'\ntR(I3\nS'|'\nNNNI5\nI5\nI9\ntb.", "no CIFAR-10 batch"),
    "deep": (b"(" * 100_000 + b"l" * 100_000 + b".", "is no CIFAR-10 batch"),
}


@pytest.mark.parametrize("case", PICKLES)
def test_pickles_that_would_fill_the_memory(tmp_path, case):
    content, message = PICKLES[case]
    (tmp_path / "test_batch").write_bytes(content)
    one_line(f"cifar10:{tmp_path}", message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"path,label\na.png," + b"0" * 2_000_000, "line 2 has more than 1,048,576 characters"),
        (b"path,label\na.png,\0\n", "line 2 holds a NUL character; save it as plain text in UTF-8"),
        (b"path,label,path\na.png,1,b.png\n", "has the column path 2 times; keep one of them"),
        (b"path,label,note,note\na.png,1,x,y\n", "has the column note 2 times; keep one of them"),
        (b"path,label" + b",c" * 5_000, "has 5,002 columns; keep at most 1,000, among them path,"),
        (b"path" + b",a long name" * 900, r"has no column label; its first line names path, a l"),
        (b"path,label\na.png," + b"0" * 200_000, "field larger than field limit"),
    ],
)
def test_hostile_manifests(tmp_path, content, message):
    hostile.picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_bytes(content)
    one_line(tmp_path / "list.csv", message)


def test_a_manifest_without_end(tmp_path):
    hostile.sparse(tmp_path / "list.csv", 1 << 36, b"path,label\n")
    one_line(tmp_path / "list.csv", "has 68,719,476,736 bytes; at most 1,073,741,824 are read")


def test_columns_without_a_name_may_stand_twice(tmp_path):
    hostile.picture(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("path,label,,\na.png,1,,\n")
    assert open_data(str(tmp_path / "list.csv"), input_shape=(1, 8, 8)).labels.tolist() == [1]


def test_lists_of_classes_without_end_or_of_very_many(tmp_path):
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    hostile.picture(tmp_path / "photos" / "cat" / "a.png")
    file = tmp_path / "classes.txt"
    hostile.sparse(file, 1 << 36)
    one_line(tmp_path / "photos", "has 68,719,476,736 bytes, more than", classes_file=file)
    # Each is compared with all before it no longer.
    file.write_text("\n".join(["cat", *(f"c{i}" for i in range(100_000))]))
    data = open_data(str(tmp_path / "photos"), input_shape=(1, 8, 8), classes_file=file)
    assert data.labels.tolist() == [0]
