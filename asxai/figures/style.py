"""Style."""

import matplotlib
from matplotlib.colors import LinearSegmentedColormap


def use_style():
    """One look for all figures: readable when the page is half as wide as the screen, colour-blind-safe colours."""
    import seaborn as sns
    from IPython import get_ipython

    sns.set_theme(context="notebook", style="white", palette="colorblind")
    matplotlib.rcParams.update({"figure.dpi": 80, "savefig.bbox": "tight", "axes.titlesize": 11, "axes.labelsize": 10,
                                "pdf.fonttype": 42, "image.cmap": "viridis", "figure.constrained_layout.use": True})
    if shell := get_ipython():  # in a notebook; photographs as PNG would make it too large for code-hosting pages
        shell.run_line_magic("config", "InlineBackend.figure_formats = ['jpeg']")
        shell.run_line_magic("config", "InlineBackend.print_figure_kwargs = "
                             "{'bbox_inches': 'tight', 'pil_kwargs': {'quality': 88}}")


OUTLINE = "#ffd400"  # yellow: seen on fur, grass, sand and petals alike, also without colour vision
MOST_CONCEPTS = 12  # that a sheet shows one by one; its table always holds all
# Okabe and Ito's seven and two darker ones: told apart with every kind of colour vision, also when mixed with grey
YELLOW = "#f0e442"  # a good area, but a line on white that nobody sees
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", YELLOW, "#d55e00", "#56b4e9", "#332288", "#882255")
BEST_SIDE = {"higher": "higher is better →", "lower": "← lower is better"}
MOST_NUMBERS = {"concepts": 10, "classes": 8}  # with more, cells of matrices hold no numbers
OURS, OTHER = "#d55e00", "#0072b2"  # the paper's red and blue, also told apart without colour vision
# A_s rises, or falls; an odd number of colours, so that one of them, white, is 0. No darker: black frames are on them
DROP_COLOURS = LinearSegmentedColormap.from_list("drops", [OTHER, "#ffffff", OURS], 257)
OTHERS = "0.72"  # classes without a colour of their own
QUIET, LINE = "0.4", "0.8"  # words and lines that explain
SIZES = (10, 9.5, 9, 8.5, 8, 7.5, 7, 6.5, 6)  # points that labels may have, the first that fits
LEADING = 1.25  # height of a line, in letters
