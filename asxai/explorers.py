"""Explorers: what a notebook shows under sliders, each a thin layer over functions that compute and draw.

    trait_explorer(study, concepts)                     # weights of principal components -> the picture of a trait
    rule_explorer(scores, predicted, labels)            # thresholds of the rule table -> share and accuracy of tiers
    concept_explorer(explainer, pictures)               # mask percentile, concepts off and on -> explanation
    naming_widget(study, concepts)                      # names of concepts, written to the file of names

A widget holds nothing but its controls. What it shows is computed by `asxai.trait_basis`, `tier_shares` and an
explainer, and drawn by `asxai.explorer_plots`. A move computes only what depends on it. What takes longer than a
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
import torch
from IPython.display import Image as Shown
from IPython.display import Markdown, display
from matplotlib.colors import to_rgb
from PIL import Image

from . import explorer_plots, rules
from .common_traits import spread_over, windows_around
from .evaluation import own_class_maps, write_names_file
from .pictures import FORMATS, DataError, read_picture, to_batch
from .plots import OUTLINE
from .trait_basis import LIMIT, moved_traits, trait_basis

# of `asxai.rules.Rules` those thresholds that decide about tiers, and what they are of
THRESHOLDS = {"sure": "largest delta, to be sure", "probably": "largest delta, to say probably",
              "unsure": "largest delta, to give reasons", "vivid": "PCS of a vivid concept",
              "noticed": "PCS of a noticed concept", "majority": "share of concepts that agree"}


# --- Traits ----------------------------------------------------------------------------------------------------------


def trait_explorer(study, concepts, start=None, components=3, **options):
    """A widget with sliders for the weights of principal components: the picture of the trait follows.

    start: (class, concept) to begin with, by default the first ones. options: of `asxai.trait_basis.trait_basis`, which
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
    """`asxai.explorer_plots.trait_view` of a `TraitBasis` at some weights `(component,)`."""
    (picture,), scores = _uint8(moved_traits(study, basis, [weights])), basis.along(weights)
    ends = basis.ends(weights, min(count, len(scores) // 2))
    way = "the way the sliders point" if np.any(weights) else "component 1 (all sliders at 0)"
    return explorer_plots.trait_view(picture, *(basis.windows[end] for end in ends), [scores[end] for end in ends],
                                     f"{basis.class_name}, {basis.concept}; pictures along {way}")


def trait_sheet(study, basis, values=(-3, -1.5, 0, 1.5, 3), count=2):
    """`asxai.explorer_plots.trait_sheet` of a `TraitBasis`: what its sliders do, for readers without a kernel."""
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
    """Share and accuracy of each tier, see `asxai.rules.tier_table`.

    scores: PCS, `(picture, class, concept)`. predicted, labels: `(picture,)`, of the network and true; -1 where no
    class is right. `asxai.trust.joined` gives all three. thresholds: of `asxai.rules.Rules`, those that are to be
    others. Raises ValueError as that class does.
    """
    changed = dataclasses.replace(rules.RULES, **thresholds)
    return rules.tier_table(rules.tiers(scores, predicted, changed), np.asarray(predicted) == np.asarray(labels))


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

    explainer: an `asxai.explain.Explainer`. pictures: by name, what `asxai.pictures.read_picture` takes. percentile: of
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
    """`asxai.explain.Seen` of one picture, of which all that the controls change is explained at once."""
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
    """What the concept explorer's controls do, for readers without a kernel: `asxai.explorer_plots.explanation_sheet`.

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


# --- Names -----------------------------------------------------------------------------------------------------------


def naming_widget(study, concepts, count=5):
    """A widget with the strongest pictures of each concept and a field for its name; a button writes the names.

    Where the data set has part masks these give the names. Then there is nothing to write: raises ValueError.
    """
    if study.data.validation.parts is not None:
        raise ValueError(f"study: concepts of {study.data.name!r} are named by its part masks; names are given by hand "
                         "to data sets without any")
    sheets = concept_strips(study, concepts, count)
    fields = [widgets.Text(name, description=f"concept {k}", placeholder="no name yet")
              for k, name in enumerate(_given(concepts.names), 1)]
    button, state = widgets.Button(description="Write names", button_style="primary"), widgets.Label()

    def write(_):
        try:
            written = write_names(study, concepts, [field.value for field in fields])
        except ValueError as error:
            state.value = str(error)
        else:
            state.value = f"written: {', '.join(written.names)}; run the cells from “Concepts” on again"

    button.on_click(write)
    layout = widgets.Layout(height="96px")
    images = [widgets.Image(value=_jpeg(sheet), format="jpeg", layout=layout) for sheet in sheets]
    rows = [widgets.HBox(pair) for pair in zip(images, fields)]
    return Explorer("Names", [*rows, widgets.HBox([button, state])])


def concept_strips(study, concepts, count=5, side=128):
    """Of each concept its strongest training pictures, cut around the place: uint8 `(side, count * side, 3)` each.

    Its mask is outlined, and a line parts two pictures. White where there are fewer. The classes take turns, so that a
    concept of several classes is seen in each.
    """
    train, side = study.data.train, min(side, study.config.size)
    own = own_class_maps(study, train)
    best = concepts.exemplars(own, train.labels, count)
    strips = []
    for k in range(concepts.count):
        turns = [(best.pictures[c, k, e], best.points[c, k, e]) for e in range(count) for c in range(len(best.pictures))
                 if best.pictures[c, k, e] >= 0][:count]
        chosen, points = np.array([i for i, _ in turns]), np.stack([point for _, point in turns])
        masks = concepts.masks(own[chosen], train.labels[chosen], study.config.size)[:, [k]]
        windows = windows_around(to_batch([train.paths[i] for i in chosen], study.config.size), points, side)
        windows = _outlined(windows, windows_around(masks, points, side))
        windows[:, :, :, -2:] = 255
        strip = np.full((side, count * side, 3), 255, np.uint8)
        strip[:, :len(turns) * side] = windows.permute(2, 0, 3, 1).flatten(1, 2).numpy()
        strips.append(strip)
    return strips


def _outlined(pictures, masks):
    """uint8 `(picture, 3, side, side)` with a rim of 2 pixels around masks `(picture, 1, side, side)`."""
    widened = torch.nn.functional.max_pool2d(masks.float(), 5, stride=1, padding=2) > 0
    colour = torch.tensor([round(255 * c) for c in to_rgb(OUTLINE)], dtype=torch.uint8)[:, None, None]
    return torch.where(widened & ~masks, colour, pictures)


def write_names(study, concepts, names):
    """Write names of concepts to the data set's file of names; the study's concepts under these names.

    names: one for each of concepts 1, 2, ..., or those of some by number, {1: ..., 4: ...}; the others keep theirs. An
    empty name leaves a concept as "concept k", and _ stands for a space. What the file held before is replaced. Raises
    ValueError for another number of names than there are concepts, and for a number that none has.
    """
    if isinstance(names, dict):
        names = _by_number(names, concepts)
    names = [str(name).replace("_", " ").strip() for name in names]
    if len(names) != concepts.count:
        raise ValueError(f"names={names} must be {concepts.count}, one for each concept; \"\" for one without a name")
    write_names_file(study, concepts, ["" if name == f"concept {number}" else name
                                       for number, name in enumerate(names, 1)])
    return study.concepts()


def _given(names):
    """Names as a person gave them: "" for "concept k", and without the number that tells two of one name apart."""
    alone = [re.sub(r" \d+$", "", name) for name in names]
    return ["" if name == f"concept {k}" else base if base in names else name
            for k, (name, base) in enumerate(zip(names, alone), 1)]


def _by_number(names, concepts):
    """The names of all concepts; some of them, by number, are new. As a key, 1, "1" and "concept 1" are the same."""
    result = _given(concepts.names)
    for key, name in names.items():
        number = str(key).removeprefix("concept ")
        if not (number.isdecimal() and 1 <= int(number) <= concepts.count):
            raise ValueError(f"names: {key!r} is no number of a concept; use 1 to {concepts.count}")
        result[int(number) - 1] = name
    return result


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


def _jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=85)
    return file.getvalue()
