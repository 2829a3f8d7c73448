"""Colours, sizes and the look that all figures share, and letters for every name."""

import warnings
from functools import cache

import matplotlib
import pandas as pd
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text

Drawn = tuple[Figure, pd.DataFrame]  # what a figure function gives: the figure, and the table that it was drawn from

OUTLINE = "#ffd400"  # yellow: seen on fur, grass, sand and petals alike, also without colour vision
# more outlines on one picture: light, to be seen on fur and grass with a dark rim, and other than those of classes
OUTLINES = (OUTLINE, "#00d5ff", "#ff6ec7", "#8dff5a", "#ff9d2e", "#c3a6ff", "#ffffff", "#ff5f5f", "#00f0b5")
YELLOW = "#f0e442"  # a good area, but a line on white that nobody sees
# Okabe and Ito's seven and two darker ones: told apart with every kind of colour vision, also when mixed with grey
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", YELLOW, "#d55e00", "#56b4e9", "#332288", "#882255")
LINE_COLOURS = tuple(colour for colour in COLOURS if colour != YELLOW)
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">")
OURS, OTHER = "#d55e00", "#0072b2"  # the paper's red and blue, also told apart without colour vision
TIER_COLOURS = ("#08519c", "#6baed6", "#fdae6b")  # sure, probably, not sure
# A_s rises, or falls; an odd number of colours, so that one of them, white, is 0. No darker: black frames are on them
DROP_COLOURS = LinearSegmentedColormap.from_list("drops", [OTHER, "#ffffff", OURS], 257)
OTHERS = "0.72"  # classes without a colour of their own
QUIET = "0.4"  # words that explain
BEST_SIDE = {"higher": "higher is better →", "lower": "← lower is better"}
# What a figure shows one by one; its table always holds all
MOST_CONCEPTS, MOST_CLASSES = 12, 16
MOST_NUMBERS = 10  # rows or columns of a matrix; with more, its cells hold no numbers
WIDTH = 11  # inches, of a notebook
SCRIPTS = "中あ한اअกאаհაአবతె🐈☃"  # a letter of each
_SAID = set()  # texts that readers were told about
LOOK = {
    "figure.dpi": 80,
    "figure.titlesize": 11,
    "figure.labelsize": 10,
    "figure.constrained_layout.use": True,
    "savefig.bbox": "tight",
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 10,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "grid.alpha": 0.4,
    "pdf.fonttype": 42,
    "image.cmap": "viridis",
}


def use_style():
    """One look for all figures: readable when the page is half as wide as the screen, colour-blind-safe colours."""
    import seaborn as sns
    from IPython import get_ipython

    sns.set_theme(context="notebook", style="white", palette="colorblind", rc=LOOK)
    matplotlib.rcParams["font.family"] = ["sans-serif", *fallback_fonts()]
    Text.get_parse_math = lambda text: "\\mathdefault" in text.get_text()  # powers on axes; a class may be called "$5"
    warnings.filterwarnings("ignore", "Glyph .* missing from font")  # `say_what_is_missing` says it once
    if shell := get_ipython():  # in a notebook; photographs as PNG would make it too large for code-hosting pages
        options = "{'bbox_inches': 'tight', 'pil_kwargs': {'quality': 88}}"
        shell.run_line_magic("config", "InlineBackend.figure_formats = ['jpeg']")
        shell.run_line_magic("config", f"InlineBackend.print_figure_kwargs = {options}")


@cache
def fallback_fonts() -> tuple[str, ...]:
    """Installed families, one for each script that matplotlib's font lacks and they have: for names of classes."""
    entries = [entry for entry in font_manager.fontManager.ttflist if matplotlib.get_data_path() not in entry.fname]
    plain = lambda entry: (entry.style == "normal") + (entry.weight == 400)  # the upright regular one stands for all
    families = {entry.name: entry.fname for entry in sorted(entries, key=plain)}
    covering = lambda letter: (name for name, file in families.items() if ord(letter) in _letters(file))
    usual = _letters(font_manager.findfont("DejaVu Sans"))
    found = [next(covering(letter), None) for letter in SCRIPTS if ord(letter) not in usual]
    return tuple(dict.fromkeys(filter(None, found)))


@cache
def _letters(file: str) -> frozenset[int]:
    try:
        return frozenset(font_manager.get_font(file).get_charmap())
    except (OSError, RuntimeError):  # a font that FreeType cannot read
        return frozenset()


@cache
def missing_letters(text: str) -> str:
    """The letters of a text that no font of the figures has, in order."""
    families = [font_manager.FontProperties(family=[name]) for name in matplotlib.rcParams["font.family"]]
    has = frozenset().union(*(_letters(font_manager.findfont(family)) for family in families))
    return "".join(dict.fromkeys(letter for letter in text if letter.isprintable() and ord(letter) not in has))


def say_what_is_missing(figure):
    """Warn once of each text in a figure with letters that no installed font has: readers see boxes there."""
    for text in sorted({text.get_text() for text in figure.findobj(Text)} - _SAID):
        if letters := missing_letters(text):
            _SAID.add(text)
            remedy = "install one (Debian: fonts-noto), and delete matplotlib's list of fonts; tables have the name"
            warnings.warn(f"“{text}” is drawn with boxes: no installed font has {letters}; {remedy}", stacklevel=2)


def looks(names, order=()):
    """Colour and marker of each name, the same in all figures with the same `order` of names."""
    count, every = len(LINE_COLOURS), dict.fromkeys([*order, *names])
    markers = [MARKERS[(i + i // count) % len(MARKERS)] for i in range(len(every))]
    return {name: {"color": LINE_COLOURS[i % count], "marker": markers[i]} for i, name in enumerate(every)}
