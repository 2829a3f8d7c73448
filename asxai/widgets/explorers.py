"""Explorers: what a notebook shows under sliders, each a thin layer over functions that compute and draw.

    trait_explorer(study, concepts)                     # weights of principal components -> the picture of a trait
    rule_explorer(scores, predicted, labels)            # thresholds of the rule table -> share and accuracy of tiers
    concept_explorer(explainer, pictures)               # mask percentile, concepts off and on -> explanation
    naming_widget(study, concepts)                      # names of concepts, written to the file of names

A widget holds nothing but its controls. What it shows is computed by `asxai.traits.basis`, `tier_shares` and an
explainer, and drawn by `asxai.figures.explore`. A move computes only what depends on it. What takes longer than a
moment, the basis of a trait, is computed once, shows its progress, and stops when the kernel is interrupted (the square
in JupyterLab's toolbar).
"""

import dataclasses
import io
import re

import ipywidgets as widgets
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image as Shown
from IPython.display import Markdown, display
from PIL import Image

from ..benchmarks.trustworthy import tier_table
from ..data.datasets import spread_over
from ..data.pictures import FORMATS, DataError, read_picture, to_batch
from ..explain import rules
from ..figures import explore as explorer_plots
from ..traits.basis import LIMIT, moved_traits, trait_basis

# of `asxai.explain.rules.Rules` those thresholds that decide about tiers, and what they are of
THRESHOLDS = {"sure": "largest delta, to be sure", "probably": "largest delta, to say probably",
              "unsure": "largest delta, to give reasons", "vivid": "PCS of a vivid concept",
              "noticed": "PCS of a noticed concept", "majority": "share of concepts that agree"}


# --- Traits ----------------------------------------------------------------------------------------------------------


def trait_explorer(study, concepts, start=None, components=3, **options):
    """A widget with sliders for the weights of principal components: the picture of the trait follows.

    start: (class, concept) to begin with, by default the first ones. options: of `asxai.traits.basis.trait_basis`, which
    is called when a class and concept are first chosen.
    """
    kept = {}
    choices = {class_name: [(concepts.names[k - 1], (class_name, concepts.names[k - 1])) for k in concepts.of_class(c)]
               for c, class_name in enumerate(concepts.class_names)}
    start = start or next(iter(choices.values()))[0][1]
    of_class = widgets.Dropdown(options=list(choices), value=start[0], description="class")
    concept = widgets.Dropdown(options=choices[start[0]], value=tuple(start), description="concept")
    # its values carry the class, so that another class is one change and not two
    of_class.observe(lambda change: setattr(concept, "options", choices[change["new"]]), "value")
    sliders = {f"component {k + 1}": _slider(f"component {k + 1}", 0.0, -LIMIT, LIMIT, 0.25) for k in range(components)}

    def show(concept, **weights):
        if concept not in kept:
            kept[concept] = trait_basis(study, concepts, *concept, components=components, **options)
        _show(trait_figure(study, kept[concept], list(weights.values())[:kept[concept].components]))

    return _explorer("Traits", show, {"concept": concept, **sliders}, [[of_class, concept], list(sliders.values())],
                     back=sliders.values(), anew=concept)  # another concept has components of its own


def trait_figure(study, basis, weights, count=4):
    """`asxai.figures.explore.trait_view` of a `TraitBasis` at some weights `(component,)`."""
    (picture,), scores = _uint8(moved_traits(study, basis, [weights])), basis.along(weights)
    ends = basis.ends(weights, min(count, len(scores) // 2))
    way = "the way the sliders point" if np.any(weights) else "component 1 (all sliders at 0)"
    return explorer_plots.trait_view(picture, *(basis.windows[end] for end in ends), [scores[end] for end in ends],
                                     f"{basis.class_name}, {basis.concept}; pictures along {way}")


def trait_sheet(study, basis, values=(-3, -1.5, 0, 1.5, 3), count=2):
    """`asxai.figures.explore.trait_sheet` of a `TraitBasis`: what its sliders do, for readers without a kernel."""
    single = np.eye(basis.components)
    pictures = _uint8(moved_traits(study, basis, [value * weights for weights in single for value in values]))
    highest, lowest = zip(*(basis.ends(weights, min(count, len(basis.scores) // 2)) for weights in single))
    return explorer_plots.trait_sheet(pictures.reshape(len(single), len(values), *pictures.shape[1:]), values,
                                      [basis.windows[end] for end in lowest], [basis.windows[end] for end in highest],
                                      basis.ratios, f"Trait of “{basis.class_name}, {basis.concept}”, moved")


def _uint8(pictures):
    """`(picture, 3, height, width)` in 0..1 for drawing."""
    return (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()


# --- Rules -----------------------------------------------------------------------------------------------------------


def tier_shares(scores, predicted, labels, **thresholds):
    """Share and accuracy of each tier, see `asxai.benchmarks.trustworthy.tier_table`.

    scores: PCS, `(picture, class, concept)`. predicted, labels: `(picture,)`, of the network and true; -1 where no
    class is right. `asxai.benchmarks.trustworthy.joined` gives all three. thresholds: of `asxai.explain.rules.Rules`, those that are to be
    others. Raises ValueError as that class does.
    """
    changed = dataclasses.replace(rules.RULES, **thresholds)
    return tier_table(rules.tiers(scores, predicted, changed), np.asarray(predicted) == np.asarray(labels))


def rule_explorer(scores, predicted, labels):
    """A widget with sliders for the thresholds of the rule table; arguments as for `tier_shares`."""
    usual = tier_shares(scores, predicted, labels)
    sliders = {name: _slider(words, getattr(rules.RULES, name), 0.0, 1.0, 0.05) for name, words in THRESHOLDS.items()}

    def show(**thresholds):
        try:
            table = tier_shares(scores, predicted, labels, **thresholds)
        except ValueError as error:  # by their names in `Rules`, which no slider has
            raise ValueError(re.sub(rf"\b({'|'.join(THRESHOLDS)})=([\d.]+)",
                                    lambda found: f"“{THRESHOLDS[found[1]]}” ({found[2]})",
                                    str(error).split(";")[0]) + ": move one of the two.") from error
        _show(explorer_plots.rule_view(table, usual, "Tiers of the rule table (circles: its own thresholds)"))
        display(Markdown(tiers_in_words(table)))

    controls = list(sliders.values())
    return _explorer("Rules", show, sliders, [controls[:3], controls[3:]], back=controls)


def tiers_in_words(table):
    """The table of `tier_shares` as a sentence."""
    clauses = [f"{row.tier}: {100 * row.share:.1f} % of pictures"
               + (f", {100 * row.accuracy:.1f} % of them right" if row.pictures else "") for row in table.itertuples()
               if row.tier in rules.TIERS]
    return "; ".join(clauses) + "."


def rule_sheet(scores, predicted, labels, points=21):
    """What each threshold does by itself, for readers without a kernel: figure and table of `rule_sweeps`.

    The table has a row per threshold, value and tier: `threshold`, `value`, `tier`, `share`, `accuracy`. Values that
    the other thresholds do not allow are left out.
    """
    rows = []
    for name in THRESHOLDS:
        for value in np.linspace(0, 1, points).round(6).tolist():
            try:
                table = tier_shares(scores, predicted, labels, **{name: value})
            except ValueError:
                continue
            rows += [{"threshold": name, "value": value, "tier": row.tier, "share": row.share, "accuracy": row.accuracy}
                     for row in table.itertuples() if row.tier in rules.TIERS]
    return explorer_plots.rule_sweeps(pd.DataFrame(rows), {name: getattr(rules.RULES, name) for name in THRESHOLDS},
                                      THRESHOLDS, "Tier")


# --- Explanations ----------------------------------------------------------------------------------------------------


def concept_explorer(explainer, pictures, percentile=95.0):
    """A widget that explains a picture, chosen or uploaded, with masks of any size and with concepts switched off.

    explainer: an `asxai.explain.explainer.Explainer`. pictures: by name, what `asxai.data.pictures.read_picture` takes. percentile: of
    an activation map, to begin with. The network sees each picture once, whatever is switched afterwards.
    """
    sources, seen, concepts = dict(pictures), {}, explainer.concepts.names
    picture = widgets.Dropdown(options=list(sources), description="picture")
    upload = widgets.FileUpload(accept="image/*", multiple=False, description="Upload")
    state = widgets.Label()
    percent = _slider("mask percentile", percentile, 50.0, 99.5, 0.5)
    whose = [", ".join(name for c, name in enumerate(explainer.concepts.class_names)
                       if k in explainer.concepts.of_class(c)) for k in range(1, len(concepts) + 1)]
    switches = [widgets.ToggleButton(True, description=name, tooltip=f"count it or not; a concept of {classes}")
                for name, classes in zip(concepts, whose)]

    def add(change):
        for file in change["new"]:
            try:
                sources[file["name"]] = read_upload(file)
            except DataError as error:
                state.value = str(error)
            else:
                seen.pop(file["name"], None)
                state.value, picture.options = "", list(sources)
                picture.value = file["name"]

    upload.observe(add, "value")

    def show(picture, percentile, **counted):
        if picture not in seen:
            seen[picture] = looked_at(explainer, sources[picture])
        without = [name for name, on in zip(concepts, counted.values()) if not on]
        if len(without) == len(concepts):
            raise ValueError("All concepts are switched off: there is nothing to explain with. Switch one on.")
        explanation, = explainer.explain_seen(seen[picture], percentile, tuple(without))
        _show((explanation.figure(), None))
        display(Markdown(scores_in_words(explanation)))

    keys = {f"concept {k}": switch for k, switch in enumerate(switches)}  # names may be anything, also "picture"
    row = widgets.HBox(switches, layout=widgets.Layout(flex_flow="row wrap"))
    return _explorer("Explanations", show, {"picture": picture, "percentile": percent, **keys},
                     [[widgets.HBox([picture, upload, state]), percent, row]], back=[percent, *switches])


def looked_at(explainer, source):
    """`asxai.explain.explainer.Seen` of one picture, of which all that the controls change is explained at once."""
    return next(explainer.look(to_batch([source], explainer.study.config.size)))


def scores_in_words(explanation):
    """Tier and PCS of the predicted class as a sentence, the highest first."""
    scores = dict(zip(explanation.names, explanation.scores[explanation.class_names.index(explanation.predicted)]))
    own = sorted(((value, name) for name, value in scores.items() if not np.isnan(value)), reverse=True)
    listed = ", ".join(f"{name} {value:.2f}" for value, name in own) or "it has no concept"
    return f"**{explanation.tier}** · PCS of {explanation.predicted}: {listed}"


def examples(study, per_class=4):
    """Some test pictures of each class, spread evenly, by name: paths."""
    found = {}
    for label, class_name in enumerate(study.class_names):
        own = spread_over(study.data.test.take(study.data.test.labels == label), per_class)
        found |= {f"{class_name} {number}": path for number, path in enumerate(own.paths, 1)}
    return found


def read_upload(file):
    """The picture of an entry of `ipywidgets.FileUpload.value`. Raises `DataError` that names the file."""
    try:
        return read_picture(Image.open(io.BytesIO(file["content"]), formats=FORMATS))
    except OSError as error:
        raise DataError(f"{file['name']}: no picture of a kind that can be read ({', '.join(FORMATS)})") from error
    except DataError as error:
        raise DataError(f"{file['name']}: {error}") from error


def explanation_sheet(explainer, source, percentiles=(90.0, 95.0, 99.0)):
    """What the concept explorer's controls do, for readers without a kernel: `asxai.figures.explore.explanation_sheet`.

    Concepts are taken away, each time that which speaks most for the class among those that are left. Shown are the
    explanations with all, without the first, and without as many as make it less sure; if none do, without all but one.
    """
    seen, without, found = looked_at(explainer, source), [], []
    while True:
        own, = explainer.explain_seen(seen, without=tuple(without))
        found.append((tuple(without), own))
        left = [concept.name for concept in own.judgement.concepts if concept.name not in without]
        if len(left) < 2 or (own.tier != found[0][1].tier and len(found) > 2):
            break
        without = [*without, left[0]]
    whole, found = found[0][1], found if len(found) < 3 else [*found[:2], found[-1]]
    masks = np.stack([explainer.explain_seen(seen, percentile)[0].masks for percentile in percentiles])
    return explorer_plots.explanation_sheet(whole.picture, masks, percentiles, whole.names, whole.class_names,
                                            whole.predicted, [(own, e.scores, e.tier, e.sentence) for own, e in found])


# --- What explorers share --------------------------------------------------------------------------------------------


def _slider(words, value, low, high, step):
    return widgets.FloatSlider(value, min=low, max=high, step=step, description=words, continuous_update=False,
                               readout_format=".2f", style={"description_width": "16em"},
                               layout=widgets.Layout(width="37em"))


class Explorer(widgets.VBox):
    """A box of widgets that says what it is where no kernel shows it, as on a code-hosting page."""

    def __init__(self, title, children):
        super().__init__(children)
        self.title = title

    def __repr__(self):  # ipywidgets keeps 110 letters of it in the notebook
        return f"{self.title}: controls that need a running kernel (make lab)."


def _explorer(title, show, controls, columns, back, anew=None):
    """Columns of controls above what `show`, called with their values, displays.

    back: those of the controls that a button puts back to where they start; anew: one whose change does so as well.
    """
    start, quiet = {control: control.value for control in back}, False

    def put_back(show_last):
        nonlocal quiet
        moved = [control for control, value in start.items() if control.value != value]
        for control in moved:  # one by one, and shown once
            quiet = not (show_last and control is moved[-1])
            control.value = start[control]
        quiet = False

    def guarded(**values):
        if quiet:
            return
        try:
            show(**values)
        except KeyboardInterrupt:
            print("Stopped. Move a control to go on.")
        except ValueError as error:  # what a reader can put right by another move
            print(error)

    if anew:  # before what shows its change
        anew.observe(lambda change: put_back(show_last=False), "value")
    button = widgets.Button(description="Back to the start", tooltip="put the controls back to where they started")
    button.on_click(lambda clicked: put_back(show_last=True))
    output = widgets.interactive_output(guarded, controls)
    output.layout.min_height = "18em"  # so that the page does not jump while a figure is replaced
    columns = [widgets.VBox(column) for column in (*columns[:-1], [*columns[-1], button])]
    return Explorer(title, [widgets.HBox(columns), output])


def _show(drawn):
    figure, _ = drawn
    plt.close(figure)  # else it would be shown twice
    display(_rendered(figure))


def _rendered(figure):
    """The figure as a picture. A notebook draws figures twice, to cut their margins: half of the time of a move."""
    file = io.BytesIO()
    with matplotlib.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(file, format="jpeg", dpi=80, pil_kwargs={"quality": 88})
    return Shown(file.getvalue(), format="jpeg")
