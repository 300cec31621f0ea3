"""The page holds everything itself and believes nothing it is given."""

from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from saliency_audit.report.html import Picture, Section, write_html
from saliency_audit.report.table import Table, verdict

HOSTILE = "<script>alert('x')</script>\" onload=\"y"


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


@pytest.fixture
def page(tmp_path):
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "p.png")
    path = write_html(
        tmp_path / "report.html",
        title=HOSTILE,
        subtitle=HOSTILE,
        verdict_sentence=HOSTILE,
        sections=[
            Section(
                HOSTILE,
                (HOSTILE,),
                {HOSTILE: HOSTILE, "forged": "shown"},
                [Picture(tmp_path / "p.png", HOSTILE)],
                [Table((HOSTILE, "n"), [(HOSTILE, "1"), (verdict("not distinguishable"), "2")])],
            ),
            Section("Folded", tables=[Table((), [("a", "b\udcff")], title=HOSTILE)], folded=True),
        ],
    )
    return path.read_text("utf-8")


def test_hostile_names_are_text(page):
    parser = Tags()
    parser.feed(page)
    assert "script" not in parser.tags
    assert {name for name, _ in parser.attributes}.isdisjoint({"onload", "onerror"})
    assert "&lt;script&gt;" in page


def test_nothing_comes_from_elsewhere(page):
    parser = Tags()
    parser.feed(page)
    sources = [value for name, value in parser.attributes if name in ("src", "href")]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "http://" not in page
    assert "https://" not in page


def test_words_are_coloured_and_sections_fold(page):
    assert '<span class="verdict bad">forged</span>' in page
    assert '<span class="verdict warn">not distinguishable</span>' in page
    assert ".warn { background: #" in page
    assert page.count("<details>") == 1
    assert '<td class="number">1</td>' in page
