"""Names in any script: another font that is installed, else a word about it; and a dollar is a dollar."""

import warnings

import matplotlib.pyplot as plt
import pytest
from matplotlib import font_manager

from asxai import results
from asxai.figures import style


def test_a_letter_comes_from_another_font_that_is_installed(monkeypatch):
    """Of one that matplotlib brings, for no other is sure to be there."""
    (stix,) = {entry.fname for entry in font_manager.fontManager.ttflist if entry.fname.endswith("STIXGeneral.ttf")}
    usual = style._letters(font_manager.findfont("DejaVu Sans"))
    letter = chr(min(code for code in style._letters(stix) - usual if code < 0xE000))
    monkeypatch.setattr(style, "SCRIPTS", f"a{letter}")
    with monkeypatch.context() as patch:
        patch.setattr(style.matplotlib, "get_data_path", lambda: "/nowhere")
        families = style.fallback_fonts.__wrapped__()
    assert len(families) == 1
    plt.rcParams["font.family"] = ["sans-serif", *families]
    assert style.missing_letters.__wrapped__(f"a {letter}") == ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plt.figure().text(0.5, 0.5, f"{letter} cat").figure.canvas.draw()


@pytest.mark.parametrize(
    "name, missing", [("Bär 5 €", ""), ("\U0010fffd", "\U0010fffd"), ("a\nb", ""), ("x中中", "中")]
)
def test_missing_letters(name, missing):
    if name == "x中中" and style.fallback_fonts():
        pytest.skip("this machine has a font for it")
    assert style.missing_letters(name) == ("" if missing and not missing.isprintable() else missing)


def test_what_is_missing_is_said_once_and_tables_keep_it(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(results.paths, "FIGURES", tmp_path)
    monkeypatch.setattr(style, "missing_letters", lambda text: "猫" if "猫" in text else "")
    table = results.pd.DataFrame({"class": ["猫"]})
    for name in ("a", "b"):
        figure, axis = plt.subplots()
        axis.bar(["猫"], [1])
        results.save_figure(figure, table, "pets", name)
    assert [str(w.message)[:8] for w in recwarn if "boxes" in str(w.message)] == ["“猫” is d"]
    assert "猫" in (tmp_path / "pets" / "a.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["$5", "$5 and $6", "$\\nonsense{$", "a_b^c $x$", "100 %"])
def test_a_dollar_is_a_dollar_and_axes_have_their_powers(name):
    figure, axis = plt.subplots()
    axis.set(yscale="log", ylim=(1, 1e6), title=name)
    axis.bar([name], [10])
    figure.canvas.draw()
    labels = [*axis.get_xticklabels(), axis.title]
    assert [label._preprocess_math(label.get_text()) for label in labels] == [(name, False)] * 2
    powers = [label for label in axis.get_yticklabels() if label.get_text()]
    assert powers and all(label._preprocess_math(label.get_text())[1] for label in powers)
