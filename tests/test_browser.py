"""The notebooks in JupyterLab, in a browser: each shows its figures, and the explorers answer to the keyboard.

Where Chromium is not installed these tests are skipped. Screenshots are kept in runs/tests/screenshots.
"""

import json
import re
import shutil

import pytest

pytest.importorskip("selenium", reason="selenium is not installed: `make setup`")

from browser_helpers import CHROMIUM, DRIVER, drawn_folder, lab, with_parameters
from helpers import QUICK
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

import asxai
from asxai import paths
from asxai.paths import NOTEBOOKS
from asxai.run.command import main
from asxai.widgets.views import THRESHOLDS

MISSING = "Chromium or its driver is not installed (Debian: apt-get install chromium chromium-driver): no browser"
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)
FILES = sorted(NOTEBOOKS.glob("*.ipynb"))
PICTURES = ("image/png", "image/jpeg")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Copies of the notebooks, and `explore.ipynb`: 09, and the widget of 10, on twelve pictures of two classes."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copytree(NOTEBOOKS, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
    explore = json.loads((NOTEBOOKS / "09_explore.ipynb").read_text())
    few = with_parameters(
        explore, data_set=str(drawn_folder(folder, 12)), steps=5, pictures=6, side=64, training={"basis_per_class": 5}
    )
    naming = {"cell_type": "code", "id": "names", "metadata": {}, "execution_count": None, "outputs": []}
    few["cells"].append(naming | {"source": "explorers.naming_widget(study, concepts)"})
    (folder / "notebooks" / "explore.ipynb").write_text(json.dumps(few))
    with lab(folder, ASXAI_DATA=str(folder / "data")) as page:
        yield page


@pytest.fixture(scope="module")
def explore(page):
    page.open("explore.ipynb")
    page.run()
    return page


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_a_notebook_opens_and_shows_its_figures(page, file):
    outputs = [output for cell in json.loads(file.read_text())["cells"] for output in cell.get("outputs", [])]
    figures = sum(any(kind in output.get("data", {}) for kind in PICTURES) for output in outputs)
    assert figures, f"{file.name} is committed without outputs"
    page.open(file.name)
    page.wait(lambda: len(page.pictures()) >= figures, f"{figures} figures")
    page.screenshot(file.stem)
    assert page.errors() == []


def test_trait_explorer(explore):
    area = explore.explorer("component 2")
    before = explore.wait(lambda: explore.pictures(area), "the trait")
    assert explore.press(area, "component 2", Keys.PAGE_UP) > 0
    moved = explore.changed(lambda: explore.pictures(area), before)
    assert explore.press(area, "component 2", Keys.PAGE_DOWN) == 0
    assert explore.changed(lambda: explore.pictures(area), moved) == before, "and back again"
    explore.list(area, "class").select_by_index(1)
    explore.changed(lambda: explore.pictures(area), before)
    explore.screenshot("explorer_traits")
    assert explore.errors() == []


def test_concept_explorer(explore):
    area = explore.explorer("mask percentile")
    before, scores = explore.wait(lambda: explore.pictures(area), "the explanation"), explore.text(area)
    assert "PCS of" in scores
    explore.press(area, "mask percentile", Keys.PAGE_DOWN)
    wider = explore.changed(lambda: explore.pictures(area), before)
    assert explore.text(area) == scores, "masks are no scores"
    strongest = re.search(r"PCS of [^:]+: (.+?) \d\.\d\d", scores)[1]
    explore.click(area, strongest)
    assert f"{strongest} " not in explore.changed(lambda: explore.text(area), scores)
    explore.changed(lambda: explore.pictures(area), wider)
    explore.screenshot("explorer_concepts")
    assert explore.errors() == []


def test_a_picture_of_ones_own_is_uploaded(explore):
    area = explore.explorer("mask percentile")
    before = explore.wait(lambda: explore.pictures(area), "the explanation")
    # the field for files is not on the page: its button would open a window of the system, which no test can use
    explore.js("HTMLInputElement.prototype.click = function () { document.body.append(this) }")
    explore.js(
        "[...arguments[0].querySelectorAll('button')].find(found => found.innerText.startsWith('Upload')).click()", area
    )
    chooser = explore.browser.find_element("css selector", "body > input[type=file]")
    broken = explore.folder / "broken.png"
    broken.write_text("no picture")
    chooser.send_keys(str(broken))
    explore.wait(lambda: "broken.png: no picture" in area.text, "the reason why it is refused")
    mine = explore.folder / "my own.png"
    shutil.copy(sorted((explore.folder / "animals").rglob("*.png"))[-1], mine)
    chooser.send_keys(str(mine))
    explore.changed(lambda: explore.pictures(area), before)
    assert explore.list(area, "picture").first_selected_option.text == "my own.png"
    assert "broken.png" not in area.text
    explore.screenshot("explorer_upload")
    assert explore.errors() == []


def test_rule_explorer(explore):
    label = THRESHOLDS["sure"]
    area = explore.explorer(label)
    before, words = explore.wait(lambda: explore.pictures(area), "the tiers"), explore.text(area)
    assert "sure: " in words and "% of pictures" in words
    explore.press(area, label, Keys.END)
    explore.changed(lambda: explore.pictures(area), before)
    assert "sure: 0.0 % of pictures" in explore.changed(lambda: explore.text(area), words)
    explore.screenshot("explorer_rules")
    assert explore.errors() == []


def test_naming_widget(explore):
    area = explore.explorer("concept 1")
    field = area.find_element("css selector", ".widget-text input")
    field.clear()
    field.send_keys("spotted side", Keys.TAB)
    explore.click(area, "Write names")
    explore.wait(lambda: "written: spotted side, concept 2" in area.text, "the names to be written")
    explore.screenshot("naming_widget")
    (written,) = (explore.folder / "data" / "names").glob("*.json")
    assert "spotted side" in written.read_text()


def test_a_report_sorts_filters_and_answers_to_the_keyboard(page, monkeypatch):
    """Opened as a file, without a server: cards come in the order of a score, and only those of a class or tier."""
    monkeypatch.setattr(paths, "DATA", page.folder / "data")
    animals, study, out = drawn_folder(page.folder / "few", 12), page.folder / "study", page.folder / "report.html"
    asxai.Study.train(animals, folder=study, **QUICK)
    assert main(["report", str(study), str(animals), "--out", str(out)]) == 0
    page.browser.get(out.as_uri())
    shown = "[...document.querySelectorAll('article')].filter(card => !card.hidden)"
    values = lambda key: page.js(f"return {shown}.map(card => card.dataset[arguments[0]])", key)
    told = lambda: page.js("return document.getElementById('shown').textContent")
    choose = lambda name, value: Select(page.browser.find_element("id", name)).select_by_value(value)
    assert told() == f"{len(values('order'))} of 24 shown" == "24 of 24 shown"
    assert page.js("return [...document.images].every(image => image.complete && image.naturalWidth && image.alt)")
    page.screenshot("report")
    for way in (1, -1):
        choose("sort", f"score {way}")
        scores = [float(text) for text in values("score")]
        assert scores == sorted(scores, reverse=way < 0) and len(set(scores)) > 3
    choose("label", "1")
    assert set(values("label")) == {"1"} and told() == f"{len(values('order'))} of 24 shown"
    choose("label", "")
    tiers = set(values("tier"))
    for tier in tiers:
        page.js(f"document.querySelector('input[name=tier][value=\"{tier}\"]').focus()")
        page.browser.switch_to.active_element.send_keys(Keys.SPACE)
        assert tier not in values("tier")
    assert told() == "0 of 24 shown"
    page.browser.find_element("css selector", "button[type=reset]").send_keys(Keys.ENTER)
    page.wait(lambda: told() == "24 of 24 shown", "all pictures again", 10)
    least = page.browser.find_element("id", "least")
    least.send_keys(Keys.END)
    assert all(float(text) >= 1 for text in values("score"))
    least.send_keys(Keys.HOME)
    button = page.js("return document.querySelector('.concepts button')")
    button.send_keys(Keys.ENTER)
    page.js("arguments[0].blur()", button)
    lit = "return [arguments[0].closest('article').querySelectorAll('g.lit').length, arguments[0].ariaPressed]"
    assert page.js(lit, button) == [1, "true"]
    assert [entry for entry in page.browser.get_log("browser") if out.name in entry["message"]] == []
