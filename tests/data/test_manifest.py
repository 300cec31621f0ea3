import numpy as np
import pytest
from PIL import Image

from saliency_audit.data import batches, open_data
from saliency_audit.errors import InputError

SHAPE = (3, 8, 8)


@pytest.fixture
def write(tmp_path):
    (tmp_path / "images").mkdir()
    for i, name in enumerate(["a.png", "b.png", "c.png"]):
        Image.fromarray(np.full((8, 8, 3), i * 50, np.uint8)).save(tmp_path / "images" / name)

    def manifest(text):
        path = tmp_path / "list.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return manifest


def test_rows_labels_and_other_columns(write):
    spec = write(
        '\ufefflabel, path,name\n3,images/c.png,"tench, big"\n'
        ",./images/a.png,none\n\n7.0,images/b.png,\n"
    )
    data = open_data(spec, input_shape=SHAPE, outputs=8)
    (batch,) = batches(data, batch_size=8)
    assert batch.names == ["images/c.png", "images/a.png", "images/b.png"]
    assert batch.labels.tolist() == [3, -1, 7]
    assert (batch.images[:, 0, 0, 0] * 255).round().tolist() == [100, 0, 50]
    assert data.extra("images/c.png") == {"name": "tench, big"}
    assert data.labelled
    assert "1 of 3 images" in data.notes[0]


def test_missing_files_are_failures(write):
    data = open_data(write("path,label\nimages/no.png,1\nimages/a.png,2\n"), input_shape=SHAPE)
    (batch,) = batches(data, batch_size=2)
    assert batch.names == ["images/a.png"]
    (failure,) = batch.failures
    assert (failure.name, failure.label) == ("images/no.png", 1)
    assert failure.message == "No such file or directory"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column path and no column label; its first line names nothing"),
        ("file,label\na,1\n", "has no column path; its first line names file, label"),
        ("path;label\na;1\n", "names path;label, and must have path,label"),
        ("path,label\n", "names no pictures"),
        ("path,label\na.png,1\nb.png,cat\n", "line 3: label 'cat' is no class index"),
        ("path,label\na.png,-1\n", "line 2: label '-1' is no class index"),
        ("path,label\na.png,1.5\n", "line 2: label '1.5' is no class index"),
        ("path,label\na.png,10\n", r"line 2: a.png has label 10 but .* 10 outputs \(0 to 9\)"),
        ("path,label\n ,1\n", "line 2: the path is empty"),
        ("path,label\na.png\n", "line 2 has 1 values but there are 2 columns"),
        ("path,label\na.png,1\n./a.png,2\n", "line 3: a.png stands in line 2 already"),
        ("path,label\nno.png,1\n", r"none of its 1 pictures exists, such as .*/no.png;"),
        ('path,label\n"a.png,1\n', "cannot be read as CSV"),
    ],
)
def test_bad_manifests(write, text, message):
    with pytest.raises(InputError, match=message) as caught:
        open_data(write(text), input_shape=SHAPE, outputs=10)
    assert "\n" not in str(caught.value)


def test_not_utf_8(write, tmp_path):
    spec = write("")
    (tmp_path / "list.csv").write_bytes(b"path,label\n\xff.png,1\n")
    with pytest.raises(InputError, match="cannot be read as CSV in UTF-8"):
        open_data(spec, input_shape=SHAPE)


def test_classes_file_has_no_place_here(write, tmp_path):
    with pytest.raises(InputError, match="--classes is for folders"):
        open_data(
            write("path,label\nimages/a.png,1\n"),
            input_shape=SHAPE,
            classes_file=tmp_path / "classes.txt",
        )
