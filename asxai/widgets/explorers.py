"""Explorers: sliders and buttons for notebooks, each a thin layer over functions that compute and draw.

    trait_explorer(study, concepts)                     # weights of principal components -> the picture of a trait
    rule_explorer(scores, predicted, labels)            # thresholds of the rule table -> share and accuracy of tiers
    concept_explorer(explainer, pictures)               # mask percentile, concepts off and on -> explanation
    naming_widget(study, concepts)                      # names of concepts, written to the file of names

A widget holds nothing but its controls: `asxai.widgets.views` and `naming` compute and draw what it shows. A move
computes only what depends on it. What takes longer than a moment, the basis of a trait, is computed once, shows its
progress, and stops when the kernel is interrupted (the square in JupyterLab's toolbar).
"""

import io
import re
from typing import TYPE_CHECKING

import ipywidgets as widgets
import matplotlib
import matplotlib.pyplot as plt
from IPython.display import Image as Shown
from IPython.display import Markdown, display
from PIL import Image

from ..data.pictures import DataError
from ..explain.explainer import Explainer
from ..explain.rules import RULES
from ..figures import explore
from ..traits.basis import LIMIT, trait_basis
from .naming import concept_strips, given_names, write_names
from .views import THRESHOLDS, looked_at, read_upload, scores_in_words, tier_shares, tiers_in_words, trait_figure

if TYPE_CHECKING:
    from ..concepts.concepts import Concepts
    from ..study import Study


class Explorer(widgets.VBox):
    """A box of widgets that says what it is where no kernel shows it, as on a code-hosting page."""

    def __init__(self, title: str, children: list):
        super().__init__(children)
        self.title = title

    def __repr__(self):  # ipywidgets keeps 110 letters of it in the notebook
        return f"{self.title}: controls that need a running kernel (make lab)."


def trait_explorer(study: "Study", concepts: "Concepts", start: tuple, **options) -> Explorer:
    """A widget with sliders for the weights of principal components: the picture of the trait follows.

    start: (class, concept) to begin with. options: of `asxai.traits.basis.trait_basis`, which is called when a class
    and concept are first chosen.
    """
    bases, choices = {}, {}
    for c, class_name in enumerate(concepts.class_names):
        names = [concepts.names[k - 1] for k in concepts.of_class(c)]
        choices[class_name] = [(name, (class_name, name)) for name in names]
    of_class = widgets.Dropdown(options=list(choices), value=start[0], description="class")
    concept = widgets.Dropdown(options=choices[start[0]], value=start, description="concept")
    # its values carry the class, so that another class is one change and not two
    of_class.observe(lambda change: setattr(concept, "options", choices[change["new"]]), "value")
    names = [f"component {k + 1}" for k in range(options["components"])]
    sliders = {name: _slider(name, 0.0, -LIMIT, LIMIT, 0.25) for name in names}

    def show(concept, **weights):
        if concept not in bases:
            bases[concept] = trait_basis(study, concepts, *concept, **options)
        _show(trait_figure(study, bases[concept], list(weights.values())[: bases[concept].components])[0])

    columns = [[of_class, concept], list(sliders.values())]
    # another concept has components of its own, so that its sliders start anew
    return _explorer("Traits", show, {"concept": concept, **sliders}, columns, sliders.values(), anew=concept)


def rule_explorer(scores, predicted, labels) -> Explorer:
    """A widget with sliders for the thresholds of the rule table; arguments as for `views.tier_shares`."""
    usual = tier_shares(scores, predicted, labels)
    sliders = {name: _slider(words, getattr(RULES, name), 0.0, 1.0, 0.05) for name, words in THRESHOLDS.items()}

    def show(**thresholds):
        try:
            table = tier_shares(scores, predicted, labels, **thresholds)
        except ValueError as error:  # by their names in `Rules`, which no slider has
            said, names = str(error).split(";")[0], "|".join(THRESHOLDS)
            said = re.sub(rf"\b({names})=([\d.]+)", lambda name: f"“{THRESHOLDS[name[1]]}” ({name[2]})", said)
            raise ValueError(f"{said}: move one of the two.") from error
        _show(explore.rule_view(table, usual, "Tiers of the rule table (circles: its own thresholds)")[0])
        display(Markdown(tiers_in_words(table)))

    controls = list(sliders.values())
    return _explorer("Rules", show, sliders, [controls[:3], controls[3:]], controls)


def concept_explorer(explainer: Explainer, pictures: dict, percentile: float = 95.0) -> Explorer:
    """A widget that explains a picture, chosen or uploaded, with masks of any size and with concepts switched off.

    pictures: by name, what `asxai.data.pictures.read_picture` takes. percentile: of an activation map, to begin with.
    The network sees each picture once, whatever is switched afterwards.
    """
    sources, seen, concepts = dict(pictures), {}, explainer.concepts
    picture = widgets.Dropdown(options=list(sources), description="picture")
    upload, state = widgets.FileUpload(accept="image/*", multiple=False, description="Upload"), widgets.Label()
    percent, switches = _slider("mask percentile", percentile, 50.0, 99.5, 0.5), {}
    for k, name in enumerate(concepts.names, 1):  # names may be anything, also "picture"
        classes = [class_name for class_name, row in zip(concepts.class_names, concepts.members) if k in row]
        tooltip = f"count it or not; a concept of {', '.join(classes)}"
        switches[f"concept {k}"] = widgets.ToggleButton(True, description=name, tooltip=tooltip)

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
        without = tuple(name for name, on in zip(concepts.names, counted.values()) if not on)
        if len(without) == len(concepts.names):
            raise ValueError("All concepts are switched off: there is nothing to explain with. Switch one on.")
        (explanation,) = explainer.explain_seen(seen[picture], percentile, without)
        _show(explanation.figure())
        display(Markdown(scores_in_words(explanation)))

    controls, buttons = {"picture": picture, "percentile": percent, **switches}, list(switches.values())
    row = widgets.HBox(buttons, layout=widgets.Layout(flex_flow="row wrap"))
    rows = [widgets.HBox([picture, upload, state]), percent, row]
    return _explorer("Explanations", show, controls, [rows], [percent, *buttons])


def naming_widget(study: "Study", concepts: "Concepts", count: int = 5) -> Explorer:
    """A widget with the strongest pictures of each concept and a field for its name; a button writes the names.

    Where the data set has part masks these give the names. Then there is nothing to write: raises ValueError.
    """
    if study.data.validation.parts is not None:
        remedy = "names are given by hand to data sets without any"
        raise ValueError(f"study: concepts of {study.data.name!r} are named by its part masks; {remedy}")
    fields, rows = [], []
    for k, (name, strip) in enumerate(zip(given_names(concepts), concept_strips(study, concepts, count)), 1):
        picture = widgets.Image(value=_jpeg(strip), format="jpeg", layout=widgets.Layout(height="96px"))
        look = {"description": f"concept {k}", "placeholder": "no name yet"}
        # a busy kernel would send each letter back over those typed since
        fields.append(widgets.Text(name, continuous_update=False, **look))
        rows.append(widgets.HBox([picture, fields[-1]]))
    button, state = widgets.Button(description="Write names", button_style="primary"), widgets.Label()

    def write(_):
        try:
            written = write_names(study, concepts, [field.value for field in fields])
        except ValueError as error:
            state.value = str(error)
        else:
            state.value = f"written: {', '.join(written.names)}; run the cells from “Concepts” on again"

    button.on_click(write)
    return Explorer("Names", [*rows, widgets.HBox([button, state])])


# --- What explorers share --------------------------------------------------------------------------------------------


def _slider(words, value, low, high, step):
    look = {"style": {"description_width": "16em"}, "layout": widgets.Layout(width="37em"), "readout_format": ".2f"}
    moves = {"min": low, "max": high, "step": step, "continuous_update": False}
    return widgets.FloatSlider(value, description=words, **moves, **look)


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


def _show(figure):
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
