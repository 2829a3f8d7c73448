"""The page of `asxai report`: everything in it, nothing beside it, names as they are, and a size that can be sent."""

import base64
import dataclasses
import io
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import noise
from PIL import Image

from asxai.explain.explanation import Explanation
from asxai.explain.judgement import judge
from asxai.explain.whole import Whole
from asxai.run import report

NAMES = ("<script>alert(1)</script>", 'a "quoted" & <b>')
CONFIG = SimpleNamespace(backbone="none", data_set="/home/owner/{{cards}}")
STUDY = SimpleNamespace(class_names=NAMES, metrics={"test_accuracy": 0.5}, kept=None, config=CONFIG)


def explanation(number, size=(300, 200), classes=NAMES):
    rng = np.random.default_rng(number)
    scores, masks = rng.random((2, 3)), np.zeros((3, 64, 64), bool)
    masks[0, 5:25, 8:30] = masks[1, 40:50, 40:60] = True
    softmax, concepts = np.array([0.3, 0.7]), ("ear<i>", "eye", "tip")
    picture = noise(number, *size[::-1])
    judgement = judge(scores, 1, classes, concepts)
    arrays = softmax, judgement, scores, scores, masks, np.array([np.nan, 0.5])
    read, sources = lambda: np.stack([noise(n, 96, 96) for n in range(4)]), [f"{classes[1]}/{n}.png" for n in range(4)]
    return Explanation(picture[:64, :64], classes, concepts, *arrays, read, tuple(sources), Whole(picture, *size))


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    pictures = [(f"<{n}>.jpg", explanation(n)) for n in range(3)]
    assert report.write_report(path, STUDY, pictures, 4, {"/home/owner/x.jpg": "/home/owner/x.jpg: <damaged>"}) == 3
    return path.read_text(encoding="utf-8")


def test_names_are_text_and_nothing_else(page):
    body = page[page.index("<body>") : page.index("<script>\n")]
    assert "<script" not in body and "<b>&" not in body and "<i>" not in re.sub(r"<i [^>]*>", "", body)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body and "&lt;2&gt;.jpg" in body and "ear&lt;i&gt;" in body
    assert "What the network sees: {{cards}}" in page and len(re.findall("<article", page)) == 3
    assert "x.jpg: &lt;damaged&gt;" in body and "/home/owner" not in page


def test_nothing_lies_outside(page):
    found = re.findall(r"(?:src|href|url|action|poster)\s*[=(]\s*[\"']?([^\"')\s>]{0,20})", page)
    assert len(found) == 3 * 5 and all(link.startswith("data:image/webp") for link in found)
    assert "default-src 'none'" in page and "http:" not in page and "https:" not in page


def test_a_card_shows_the_picture_its_outlines_and_numbers(page):
    one, card = explanation(2), page.split("<article")[3]
    picture = Image.open(io.BytesIO(base64.b64decode(re.search(r"webp;base64,([^\"]+)", card)[1])))
    assert picture.size == (300, 200)
    assert 'viewBox="0 0 300 200"' in card and "M0 0H300V200H0ZM50.0 0.0H250.0V200.0H50.0Z" in card
    ring = [float(text) for text in re.search(r'class="line"[^>]*d="M([^Z]+)Z', card)[1].split()]
    assert ring == pytest.approx(one.whole.polygons(one.masks[0])[0])
    assert "with outlines of ear&lt;i&gt;, eye" in card and card.count("<button") == 2
    assert f"score {one.score:.2f}" in card and all(f"{word.pcs:.2f}</span>" in card for word in one.judgement.concepts)


def test_fifty_photographs_are_below_ten_megabytes(tmp_path, page):
    """The first two of them, of noise, which no format makes small: they are shown smaller, as the budget says."""
    pictures = ((f"{n}.jpg", explanation(n, (900, 700))) for n in range(2))
    report.write_report(tmp_path / "page.html", STUDY, pictures, 50, {})
    card = ((tmp_path / "page.html").stat().st_size - len(page.split("<article")[0].encode())) / 2
    assert 100_000 < card < 190_000 and report.LARGEST + len(page.split("<article")[0]) < 9_500_000


def test_a_page_without_pictures_is_none(tmp_path):
    with pytest.raises(report.RunError, match="none of 2 pictures could be read. a.jpg: damaged"):
        report.write_report(tmp_path / "page.html", STUDY, [], 2, {"a.jpg": "a.jpg: damaged"})
    assert not list(tmp_path.iterdir())


def test_a_study_without_exemplars_has_none_on_its_page(tmp_path):
    one = dataclasses.replace(
        explanation(0), read_exemplars=lambda: np.zeros((0, 8, 8, 3), np.uint8), exemplar_sources=()
    )
    report.write_report(tmp_path / "page.html", STUDY, [("a.jpg", one)], 1, {})
    assert "Nearest training pictures" not in (tmp_path / "page.html").read_text(encoding="utf-8")
