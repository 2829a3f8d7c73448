"""Explorers: what is under their sliders against slow oracles, and the widgets without a browser.

In a browser they are tried by `test_browser`.
"""

import io
import json
from datetime import UTC, datetime
from types import SimpleNamespace

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import picture_folder
from PIL import Image
from scipy.ndimage import binary_dilation

import asxai
from asxai import paths
from asxai.concepts.cells import own_class_maps
from asxai.concepts.concepts import Concepts
from asxai.explain import rules
from asxai.explain.explainer import Explainer
from asxai.figures import explore as explore_plots
from asxai.traits import basis as traits_basis
from asxai.traits.basis import LIMIT, TraitBasis, moved_traits, quick_errors, trait_components
from asxai.widgets import explorers, naming

SIZE, SIDE, PICTURES = 96, 64, 6
QUICK = dict(size=SIZE, basis_per_class=4, channels=16, cycles=1, joint_epochs=1, views=1, batch_size=8)
NOW = datetime.now(UTC)
FAST = dict(components=2, pictures=PICTURES, side=SIDE, steps=12)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two classes of ten pictures without part masks."""
    folder = tmp_path_factory.mktemp("shapes")
    return asxai.Study.train(picture_folder(folder / "shapes", size=SIZE), folder=folder / "study", **QUICK)


@pytest.fixture(scope="module")
def concepts(study):
    """Made by hand: both classes share concept 1, the second class lacks concept 2."""
    return Concepts(np.array([[1, 2, 0, 1], [3, 0, 1, 3]]), ("concept 1", "concept 2", "concept 3"), study.class_names)


@pytest.fixture(scope="module")
def basis(study, concepts):
    return traits_basis.trait_basis(study, concepts, study.class_names[0], "concept 1", **FAST)


@pytest.fixture
def shown(monkeypatch):
    """The figures that explorers display, in order."""
    figures = []
    monkeypatch.setattr(explorers, "display", lambda *drawn: figures.append(drawn[0]))
    monkeypatch.setattr(explorers, "_rendered", lambda figure: figure)
    return figures


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def controls(widget, kind=widgets.Widget):
    """All controls of a kind in a box, by their description."""
    inside = [found for child in getattr(widget, "children", ()) for found in controls(child, kind).items()]
    own = [(widget.description, widget)] if isinstance(widget, kind) and hasattr(widget, "description") else []
    return dict(own + inside)


# --- Traits ----------------------------------------------------------------------------------------------------------


def components_by_hand(features, count):
    """Row-centred PCA of flattened maps by NumPy's SVD: trait, deviations, standardised weights, ratios."""
    rows = features.reshape(len(features), -1).astype(np.float64)
    centred = rows - rows.mean(axis=1, keepdims=True)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    trait, deviations, scores = 0, [], []
    for k in range(count):
        weights = left[:, k] * np.sign(left[:, k].sum())
        component = sum(weight * row for weight, row in zip(weights, rows))
        trait = trait + weights.mean() * component
        deviations.append(weights.std() * component)
        scores.append((weights - weights.mean()) / weights.std())
    return trait, deviations, np.array(scores).T, (singular**2 / (singular**2).sum())[:count]


def test_components_are_those_of_the_svd():
    features = np.random.default_rng(0).gamma(2, 1, (7, 5, 3, 2))
    parts, scores, ratios = trait_components(features, 3)
    trait, deviations, by_hand, shares = components_by_hand(features, 3)
    assert parts.shape == (4, 5, 3, 2) and scores.shape == (7, 3)
    np.testing.assert_allclose(parts[0].flatten(), trait, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parts[1:].flatten(1), deviations, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores, by_hand, rtol=1e-8)
    np.testing.assert_allclose(ratios, shares, rtol=1e-10)


def test_all_components_together_give_every_picture_back():
    """The trait plus each picture's own weights times the deviations is that picture: nothing is lost or doubled."""
    features = np.random.default_rng(1).gamma(2, 1, (4, 6, 2, 2))
    parts, scores, _ = trait_components(features, 9)
    assert len(parts) == 1 + 4, "no more components than pictures"
    # up to what centring takes away: the components span the centred rows
    back = parts[0] + torch.einsum("pk,kchw->pchw", torch.from_numpy(scores).float(), parts[1:])
    np.testing.assert_allclose(back, features, rtol=1e-4, atol=1e-4)


def made_basis(components=2, side=8, seed=0):
    rng = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=rng)
    return TraitBasis("wing", "tip", draw(1 + components, 5, 2, 2), draw(1 + 2 * components, 3, side, side),
                      draw(9, components).double().numpy(), np.full(components, 0.2), np.zeros(1 + 2 * components),
                      np.zeros((9, side, side, 3), np.uint8))


def test_a_blend_is_exact_for_a_single_component_and_adds_up_for_several():
    basis = made_basis()
    np.testing.assert_allclose(basis.blend([0, 0]), basis.logits[0], rtol=1e-6)
    for weights, number in (([-LIMIT, 0], 1), ([LIMIT, 0], 2), ([0, -LIMIT], 3), ([0, LIMIT], 4)):
        np.testing.assert_allclose(basis.blend(weights), basis.logits[number], rtol=1e-4, atol=1e-6)
    trait, below, _, _, above = basis.logits
    by_hand = trait + 2 / 3 * (below - trait) + 1 / 3 * (above - trait)
    np.testing.assert_allclose(basis.blend([-2, 1]), by_hand, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(basis.target([-2, 1]), basis.features[0] - 2 * basis.features[1] + basis.features[2],
                               rtol=1e-5, atol=1e-6)


def test_ends_are_sorted_by_projection():
    basis = made_basis()
    along = [np.dot(scores, [3, -1]) / np.sqrt(10) for scores in basis.scores]
    np.testing.assert_allclose(basis.along([3, -1]), along, rtol=1e-6)
    highest, lowest = basis.ends([3, -1], 3)
    assert highest.tolist() == sorted(range(9), key=lambda i: -along[i])[:3]
    assert lowest.tolist() == sorted(range(9), key=lambda i: along[i])[:3]
    np.testing.assert_array_equal(basis.along([0, 0]), basis.scores[:, 0])


@pytest.mark.parametrize("weights", [[0], [0, 0, 0], [3.5, 0], [0, float("nan")]])
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights=.* must be 2 numbers from -3 to 3, one per component"):
        made_basis().target(weights)


def test_a_basis_is_made_of_the_windows_where_a_concept_fires(study, concepts, basis):
    assert (basis.class_name, basis.concept, basis.components) == (study.class_names[0], "concept 1", 2)
    assert basis.windows.shape == (PICTURES, SIDE, SIDE, 3) and basis.windows.dtype == np.uint8
    maps = [study.model.backbone(torch.from_numpy(window).permute(2, 0, 1)[None])[0] for window in basis.windows]
    with torch.no_grad():
        trait, deviations, scores, ratios = components_by_hand(torch.stack(maps).detach().numpy(), 2)
    np.testing.assert_allclose(basis.features[0].flatten(), trait, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(basis.scores, scores, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(basis.ratios, ratios, rtol=1e-4)
    with torch.no_grad():  # errors are those of the pictures that are kept, against the very targets
        for row, weights in ((0, [0, 0]), (2, [LIMIT, 0]), (3, [0, -LIMIT])):
            target = basis.target(weights)
            found = study.model.backbone(basis.logits[row].float().sigmoid()[None])[0]
            assert basis.errors[row] == pytest.approx(float((found - target).square().sum() / target.square().sum()),
                                                      rel=0.05)


def test_a_basis_is_computed_once(study, concepts, basis, monkeypatch):
    monkeypatch.setattr(traits_basis, "invert", None)  # must not be called
    again = traits_basis.trait_basis(study, concepts, study.class_names[0], "concept 1", **FAST)
    np.testing.assert_array_equal(again.windows, basis.windows)
    assert torch.equal(again.logits, basis.logits)
    with pytest.raises(TypeError):
        traits_basis.trait_basis(study, concepts, study.class_names[0], "concept 1", **FAST | {"seed": 1})


def test_classes_and_concepts_that_are_not_there(study, concepts):
    first, second = study.class_names
    with pytest.raises(ValueError, match=f"class_name='zebra' is none of {first}, {second}"):
        traits_basis.trait_basis(study, concepts, "zebra", "concept 1")
    with pytest.raises(ValueError, match=f"concept='concept 2' is none of the concepts of '{second}': concept 1, conc"):
        traits_basis.trait_basis(study, concepts, second, "concept 2")


def test_quick_steps_come_nearer_than_a_blend(study, basis):
    weights = [[2.0, -1.5], [-1.0, 2.5]]
    blends, quick = (moved_traits(study, basis, weights, steps) for steps in (0, 8))
    np.testing.assert_allclose(blends[1], basis.blend(weights[1]).sigmoid(), atol=1e-4)
    assert quick.shape == (2, 3, SIDE, SIDE) and 0 <= quick.min() and quick.max() <= 1
    table = quick_errors(study, basis, weights, steps=12)
    with torch.no_grad():
        for row, own in enumerate(weights):
            target = basis.target(own)
            error = lambda shown: ((study.model.backbone(shown[None])[0] - target).square().sum()
                                   / target.square().sum()).item()
            assert error(quick[row]) < error(blends[row])
            assert table["quick"][row] == pytest.approx(error(quick[row]), rel=1e-3)
            assert table["unmoved"][row] == pytest.approx(error(basis.logits[0].float().sigmoid()), rel=1e-3)
    together, alone = quick[1], moved_traits(study, basis, weights[1:])[0]
    np.testing.assert_allclose(together, alone, atol=1e-4)  # whatever else is in the batch


def test_trait_figures(study, basis):
    figure, table = explorers.trait_figure(study, basis, [1.0, -1.0], count=2)
    assert len(figure.axes) == 1 + 4
    highest, lowest = basis.ends([1.0, -1.0], 2)
    np.testing.assert_allclose(table["score"], basis.along([1.0, -1.0])[[*highest, *lowest]])
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), basis.windows[highest[0]])
    assert basis.class_name in figure.get_suptitle() and basis.concept in figure.get_suptitle()
    figure, table = explorers.trait_sheet(study, basis, values=(-3, 0, 3))
    assert len(table) == 6 and (table[table["value"] == 0]["changed"] == 0).all()
    assert (table[table["value"] != 0]["changed"] > 0).all()
    with pytest.raises(ValueError, match=r"values=\[1, 2\] must have 0 among them"):
        explorers.trait_sheet(study, basis, values=(1, 2))


def test_trait_explorer_follows_its_sliders(study, concepts, basis, shown, monkeypatch):
    made, real = [], traits_basis.trait_basis
    monkeypatch.setattr(explorers, "trait_basis",
                        lambda *args, **options: made.append(args[2:]) or real(*args, **options))
    explorer = explorers.trait_explorer(study, concepts, **FAST)
    own = controls(explorer)
    assert not any(slider.continuous_update for slider in controls(explorer, widgets.FloatSlider).values())
    own["component 2"].value = 2.0
    first, moved = (figure.axes[0].images[0].get_array() for figure in shown)
    assert (first != moved).any()
    np.testing.assert_array_equal(moved, explorers._uint8(moved_traits(study, basis, [[0, 2.0]]))[0])
    assert made == [(study.class_names[0], "concept 1")], "moving a slider makes no new basis"
    own["class"].value = study.class_names[1]
    assert [name for name, _ in own["concept"].options] == ["concept 1", "concept 3"]
    assert made[1:] == [(study.class_names[1], "concept 1")] and len(shown) == 3, "one change, one figure"
    assert own["component 2"].value == 0, "which is another component now"
    own["class"].value = study.class_names[0]
    assert len(made) == 2, "what was made is kept"


def test_sliders_go_back_to_the_start_in_one_move(study, concepts, shown):
    explorer = explorers.trait_explorer(study, concepts, **FAST)
    own = controls(explorer)
    own["component 1"].value, own["component 2"].value = 1.0, -2.0
    assert len(shown) == 3
    own["Back to the start"].click()
    assert len(shown) == 4 and [own[f"component {k}"].value for k in (1, 2)] == [0, 0]
    first, last = (shown[i].axes[0].images[0].get_array() for i in (0, 3))
    np.testing.assert_array_equal(first, last)
    assert "component 1" in shown[3].get_suptitle() and "component 1" not in shown[2].get_suptitle()
    own["Back to the start"].click()
    assert len(shown) == 4, "they are there already"
    own["component 1"].value = 0.5
    assert len(shown) == 5, "and it goes on from there"


def test_without_a_kernel_an_explorer_says_what_it_is(study, concepts, scored, shown):
    for explorer, title in ((explorers.trait_explorer(study, concepts, **FAST), "Traits"),
                            (explorers.rule_explorer(*scored), "Rules")):
        plain = explorer._repr_mimebundle_()["text/plain"]
        assert plain.startswith(f"{title}: controls that need a running kernel") and not plain.endswith("…")


def test_what_takes_long_can_be_stopped(study, concepts, shown, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(explorers, "trait_basis", interrupted)
    explorer = explorers.trait_explorer(study, concepts, **FAST)
    assert shown == [] and "Stopped" in capsys.readouterr().out
    monkeypatch.undo()
    monkeypatch.setattr(explorers, "display", lambda picture: shown.append(picture))
    controls(explorer)["component 1"].value = 1.0
    (picture,) = shown
    assert Image.open(io.BytesIO(picture.data)).format == "JPEG"


# --- Rules -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored():
    """PCS of 60 pictures, two classes and three concepts, predicted and true classes."""
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 2, 60)
    scores = rng.random((60, 2, 3)) * 0.6
    scores[np.arange(60), predicted] *= 1.6
    scores[:, 1, 2] = np.nan
    return scores, predicted, np.where(rng.random(60) < 0.9, predicted, 1 - predicted)


def shares_by_hand(scores, predicted, labels, sure):
    """Share and accuracy of "sure", one by one: a delta above `sure`, a PCS above .5, and most concepts agree."""
    chosen = []
    for own, label in zip(scores, predicted):
        deltas = [own[label, k] - (0 if np.isnan(own[1 - label, k]) else own[1 - label, k]) for k in range(3)
                  if not np.isnan(own[label, k])]
        agree = sum(delta > sure for delta in deltas) >= max(2, rules.RULES.majority * len(deltas))
        chosen.append(max(deltas) > sure and np.nanmax(own[label]) > 0.5 and agree)
    chosen = np.array(chosen)
    return chosen.mean(), (predicted == labels)[chosen].mean() if chosen.any() else np.nan


@pytest.mark.parametrize("sure", [0.5, 0.4])
def test_shares_of_tiers(scored, sure):
    table = explorers.tier_shares(*scored, sure=sure).set_index("tier")
    assert table.loc["sure", ["share", "accuracy"]].tolist() == pytest.approx(shares_by_hand(*scored, sure))
    assert table.loc[list(rules.TIERS), "share"].sum() == pytest.approx(1)


def test_rule_explorer_follows_its_sliders(scored, shown):
    explorer = explorers.rule_explorer(*scored)
    own = controls(explorer, widgets.FloatSlider)
    assert list(own) == list(explorers.THRESHOLDS.values())
    own[explorers.THRESHOLDS["sure"]].value = 0.4
    words = [text for text in shown if hasattr(text, "data")]
    for text, sure in zip(words, (0.5, 0.4)):
        share, accuracy = shares_by_hand(*scored, sure)
        assert f"sure: {100 * share:.1f} % of pictures, {100 * accuracy:.1f} % of them right" in text.data
    assert len(words) == 2 and words[0].data != words[1].data


def test_rule_explorer_says_what_cannot_be(scored, shown, capsys):
    explorer = explorers.rule_explorer(*scored)
    before = len(shown)
    controls(explorer)[explorers.THRESHOLDS["unsure"]].value = 0.6
    words = explorers.THRESHOLDS
    assert len(shown) == before and (f"“{words['unsure']}” (0.6) must not be above “{words['probably']}” (0.35)"
                                     in capsys.readouterr().out)
    controls(explorer)[words["unsure"]].value = 0.1
    assert len(shown) == before + 2  # it goes on from there


def test_thresholds_go_back_to_the_paper_s(scored, shown, capsys):
    explorer = explorers.rule_explorer(*scored)
    own = controls(explorer)
    for name in ("unsure", "probably", "sure"):  # on the way back no pair of them may be one that cannot be
        own[explorers.THRESHOLDS[name]].value = 0.0
    own[explorers.THRESHOLDS["majority"]].value = 1.0
    capsys.readouterr()
    before = len(shown)
    own["Back to the start"].click()
    words = [text for text in shown if hasattr(text, "data")]
    assert len(shown) == before + 2 and words[-1].data == words[0].data
    assert "must not be" not in capsys.readouterr().out
    assert {name: own[label].value for name, label in explorers.THRESHOLDS.items()} == {
        name: getattr(rules.RULES, name) for name in explorers.THRESHOLDS}


def test_rule_sheet_leaves_out_what_cannot_be(scored):
    figure, table = explorers.rule_sheet(*scored, points=11)
    assert set(table["threshold"]) == set(explorers.THRESHOLDS) and set(table["tier"]) == set(rules.TIERS)
    own = table[(table["threshold"] == "sure") & (table["tier"] == "sure")].set_index("value")
    assert own.index.min() == pytest.approx(0.4)  # below .35 "probably" would be surer than "sure"
    for value in own.index:
        assert own.loc[value, "share"] == pytest.approx(shares_by_hand(*scored, value)[0])
    assert len(figure.axes) == 2 * len(explorers.THRESHOLDS)
    labels = [axis.get_xlabel().replace("\n", " ") for axis in figure.axes if axis.get_xlabel()]
    assert labels == list(explorers.THRESHOLDS.values())


def test_a_tier_without_pictures_is_said(scored):
    table = explorers.tier_shares(*scored, sure=1.0, vivid=1.0)
    figure, given = explore_plots.rule_view(table, explorers.tier_shares(*scored), "Tiers")
    assert given is table
    assert any(text.get_text() == "no picture" for text in figure.axes[1].texts)


# --- Explanations ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explainer(study, concepts):
    return Explainer(study, concepts)


@pytest.fixture
def passes(explainer, monkeypatch):
    """How many pictures went through the network."""
    counted, real = [], explainer.activate
    monkeypatch.setattr(explainer, "activate", lambda pixels: counted.append(len(pixels)) or real(pixels))
    return counted


def test_a_picture_that_was_looked_at_is_explained_as_by_the_explainer(study, explainer):
    path = study.data.test.paths[1]
    seen = explorers.looked_at(explainer, path)
    for percentile, without in ((95.0, ()), (80.0, ("concept 1",))):
        (ours,), theirs = explainer.explain_seen(seen, percentile, without), explainer.explain(
            path, percentile=percentile, without=without)
        assert (ours.sentence, ours.predicted, ours.tier) == (theirs.sentence, theirs.predicted, theirs.tier)
        np.testing.assert_array_equal(ours.masks, theirs.masks)
        np.testing.assert_allclose(ours.scores, theirs.scores)


def test_concept_explorer_follows_its_controls(study, explainer, shown, passes, capsys):
    whole = {path: explainer.explain(path) for path in study.data.train.paths}
    first, second = [path for path in study.data.train.paths if whole[path].masks.any()][:2]  # concepts are seen
    passes.clear()
    explorer = explorers.concept_explorer(explainer, {"first": first, "second": second})
    own, said = controls(explorer), lambda: [text.data for text in shown if hasattr(text, "data")]
    assert own["mask percentile"].value == 95.0 and not own["mask percentile"].continuous_update
    own["mask percentile"].value = 80.0
    assert said() == [explorers.scores_in_words(whole[first])] * 2, "masks are no scores"
    assert drawn_lines(shown[0]) != drawn_lines(shown[2]), "outlines are others"
    off = whole[first].judgement.concepts[0].name
    own[off].value = False
    assert f"{off} " in said()[1] and f"{off} " not in said()[2]
    own[off].value = True
    assert said()[3] == said()[1]
    assert passes == [1], "one pass through the network, whatever is switched"
    own["picture"].value = "second"
    assert passes == [1, 1] and said()[4] == explorers.scores_in_words(whole[second])
    own["picture"].value = "first"
    assert passes == [1, 1] and said()[5] == said()[3]
    for switch in [control for control in own.values() if isinstance(control, widgets.ToggleButton)]:
        switch.value = False
    assert "All concepts are switched off" in capsys.readouterr().out


def drawn_lines(figure):
    """Vertices of all contours of a figure."""
    return [path.vertices.tolist() for axis in figure.axes for own in axis.collections for path in own.get_paths()]


def test_uploaded_pictures_are_explained(study, explainer, shown):
    explorer = explorers.concept_explorer(explainer, explorers.examples(study, 1))
    own, path = controls(explorer), study.data.test.paths[-1]
    upload = own["Upload"]
    upload.value = uploaded("mine.png", path.read_bytes())
    assert own["picture"].value == "mine.png"
    expected = explorers.scores_in_words(explainer.explain(path))
    assert shown[-1].data == expected
    (state,) = [found for found in everything(explorer) if isinstance(found, widgets.Label)]
    upload.value = uploaded("notes.txt", b"words")
    assert "notes.txt: no picture of a kind that can be read" in state.value and own["picture"].value == "mine.png"
    small = io.BytesIO()
    Image.new("RGB", (4, 4)).save(small, "png")
    upload.value = uploaded("dot.png", small.getvalue())
    assert "dot.png" in state.value and "4 x 4 pixels are too few" in state.value


def uploaded(name, content):
    """What the browser makes of a file."""
    return ({"name": name, "type": "", "size": len(content), "content": memoryview(content), "last_modified": NOW},)


def everything(widget):
    return [widget, *(found for child in getattr(widget, "children", ()) for found in everything(child))]


def test_scores_in_words():
    explanation = SimpleNamespace(tier="sure", predicted="b", class_names=("a", "b"), names=("wing", "tip", "edge"),
                                  scores=np.array([[0.9, 0.1, 0.2], [0.25, np.nan, 0.75]]))
    assert explorers.scores_in_words(explanation) == "**sure** · PCS of b: edge 0.75, wing 0.25"


def test_explanation_sheet_takes_the_strongest_concepts_away(study, explainer):
    path = study.data.test.paths[0]
    figure, table = explorers.explanation_sheet(explainer, path, percentiles=(80.0, 95.0))
    steps = [explainer.explain(path)]
    own = [concept.name for concept in steps[0].judgement.concepts]
    for count in range(1, len(own)):  # as if each of the concepts taken before were still the strongest
        steps.append(explainer.explain(path, without=tuple(own[:count])))
    less_sure = [count for count in range(2, len(own)) if steps[count].tier != steps[0].tier]
    shown = [0, 1, (less_sure or [len(own) - 1])[0]][:len(own)]
    assert list(dict.fromkeys(table["without"])) == [", ".join(own[:count]) for count in shown]
    words = " ".join(" ".join(text.get_text() for axis in figure.axes for text in axis.texts).split())
    for count in shown:
        rows, expected = table[table["without"] == ", ".join(own[:count])], steps[count]
        np.testing.assert_allclose(rows["score"], expected.scores.flatten())
        assert set(rows["tier"]) == {expected.tier} and " ".join(expected.sentence.split()) in words
    assert [axis.get_title() for axis in figure.axes[:2]] == ["masks above the 80th percentile",
                                                              "masks above the 95th percentile"]


# --- Names -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def names(tmp_path, monkeypatch, study):
    monkeypatch.setattr(paths, "DATA", tmp_path)
    return tmp_path / "names" / f"{study.data.name}.json"


def test_names_are_written_and_carry_over(study, names):
    concepts = study.concepts()
    assert set(concepts.names) == {f"concept {k}" for k in range(1, concepts.count + 1)}
    wanted = [f"thing {'abcdefgh'[k]}" for k in range(concepts.count)]
    assert naming.write_names(study, concepts, wanted).names == tuple(wanted)
    assert study.concepts().names == tuple(wanted), "also for the next call"
    again = naming.write_names(study, study.concepts(), ["first", *[""] * (concepts.count - 1)])
    assert again.names[0] == "first" and again.names[1:] == concepts.names[1:], "what was there is replaced"
    assert len(json.loads(names.read_text())["concepts"]) == concepts.count
    with pytest.raises(ValueError, match=r"names=\['one'\] must be \d, one for each concept"):
        naming.write_names(study, concepts, ["one"][:1] if concepts.count > 1 else [])


def test_names_by_number_leave_the_others_as_they_are(study, names):
    concepts = study.concepts()
    assert concepts.count >= 2
    named = naming.write_names(study, concepts, {"1": "stripe", 2: "dot"})  # a notebook's parameters have texts
    assert named.names[:2] == ("stripe", "dot") and named.names[2:] == concepts.names[2:]
    assert naming.write_names(study, named, {"concept 2": "ring"}).names[:2] == ("stripe", "ring")
    for odd in ("0", concepts.count + 1, "dot", "concept x"):
        with pytest.raises(ValueError, match=f"names: {odd!r} is no number of a concept; use 1 to {concepts.count}"):
            naming.write_names(study, concepts, {odd: "x"})
    assert study.concepts().names[:2] == ("stripe", "ring")


def test_naming_widget_writes_what_is_in_its_fields(study, names):
    concepts = study.concepts()
    widget = naming.naming_widget(study, concepts, count=3)
    fields, buttons = controls(widget, widgets.Text), controls(widget, widgets.Button)
    assert len(fields) == concepts.count
    fields["concept 1"].value = "  stripe of colour "
    buttons["Write names"].click()
    assert study.concepts().names[0] == "stripe of colour"
    (state,) = [child for row in widget.children for child in row.children if isinstance(child, widgets.Label)]
    assert "stripe of colour" in state.value


def test_strips_take_turns_between_classes(study, concepts):
    strips = naming.concept_strips(study, concepts, count=4, side=SIDE)
    assert [strip.shape for strip in strips] == [(SIDE, 4 * SIDE, 3)] * 3
    maps = own_class_maps(study, study.data.train)
    best = concepts.exemplars(maps, study.data.train.labels, 2)
    for place, (label, rank) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1)]):
        picture = study.pictures([study.data.train.paths[best.pictures[label, 0, rank]]])[0]
        top, left = np.clip(np.round(best.points[label, 0, rank] * SIZE - SIDE / 2), 0, SIZE - SIDE).astype(int)
        shown = strips[0][:, place * SIDE:(place + 1) * SIDE - 2]
        index = best.pictures[label, 0, rank]
        mask = concepts.masks(maps[[index]], [label], SIZE)[0, 0].numpy()
        mask = mask[top:top + SIDE, left:left + SIDE]
        rim = (binary_dilation(mask, np.ones((5, 5))) & ~mask)[:, :-2]
        expected = np.where(rim[..., None], [255, 212, 0], picture[top:top + SIDE, left:left + SIDE - 2])
        assert rim.any() and not rim.all()
        np.testing.assert_array_equal(shown, expected)
        assert (strips[0][:, (place + 1) * SIDE - 2:(place + 1) * SIDE] == 255).all()


def test_named_by_part_masks(tmp_path):
    named = SimpleNamespace(data=SimpleNamespace(name="drawn", validation=SimpleNamespace(parts=("mask.png",))))
    with pytest.raises(ValueError, match="concepts of 'drawn' are named by its part masks"):
        naming.naming_widget(named, None)


def test_names_that_two_concepts_share_are_given_back_as_they_were(study, names):
    concepts = study.concepts()
    written = naming.write_names(study, concepts, {1: "left_wing", 2: "left wing"})
    assert written.names[:2] == ("left wing", "left wing 2")
    widget = naming.naming_widget(study, written, count=2)
    fields = controls(widget, widgets.Text)
    assert [fields[f"concept {k}"].value for k in (1, 2)] == ["left wing", "left wing"]
    assert naming.write_names(study, written, {1: "left_wing"}).names[:2] == ("left wing", "left wing 2")
    assert [entry["name"] for entry in json.loads(names.read_text())["concepts"]][:2] == ["left wing"] * 2
