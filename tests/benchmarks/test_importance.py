"""What hiding parts does to the logits of a tiny study of drawn animals, and measures that are to foretell it."""

import dataclasses
import functools

import numpy as np
import pytest
import scipy.stats
import torch
from helpers import QUICK, REGIONS, fixed_regions, planted_ranks

import menagerie
from asxai.benchmarks import importance
from asxai.benchmarks.importance import ACTIVATION, GRADIENT, HIDDEN, MEAN, RANK, SOBOL, UNDRAWN
from asxai.concepts.masks import Region
from asxai.data import sources
from asxai.data.datasets import spread_over
from asxai.data.pictures import to_batch
from asxai.ranks import layers

SIZE = QUICK["size"]


@pytest.fixture(scope="module")
def ranks(study):
    return layers.layer_ranks(study, fixed_regions, study.data.test, layers.LAST, pictures=5)


def of_class(study, label, pictures):
    return spread_over(study.data.test.take(study.data.test.labels == label), pictures)


def logits_by_hand(study, pictures, label):
    """One picture at a time, through the model's own forward pass."""
    model = study.model
    with torch.inference_mode():
        return np.array([model(model.features(picture[None])).logits[0, label].item() for picture in pictures])


def test_what_hidden_concepts_and_undrawn_parts_take_from_the_logit(study, ranks, monkeypatch):
    """An ear is drawn nowhere; the picture's mean colour is where a concept was."""
    monkeypatch.setattr(sources, "cpu_count", lambda: 1)

    def regions(label, split):
        masks = fixed_regions(label, split).masks
        return Region(("ear", "low", "corner"), masks[:, [0, 1, 2]])

    named = [dataclasses.replace(one, names=("ear", "low")) for one in ranks]
    measured = importance.causal_check(study, regions, named, study.data.test, pictures=2)
    for label, one in enumerate(measured):
        assert one.names == ("ear", "low") and list(one.causes) == [HIDDEN, UNDRAWN]
        shapes = {method: values.shape for method, values in one.methods.items()}
        assert shapes == {RANK: (5, 2), ACTIVATION: (5, 2), GRADIENT: (6, 2), SOBOL: (2, 2)}
        split = of_class(study, label, 2)
        pictures, names = to_batch(split.paths, SIZE), zip(split.paths, split.fine or [None] * 2)
        before = logits_by_hand(study, pictures, label)
        for k, (rows, columns) in enumerate(REGIONS.values()):
            hidden = pictures.clone()
            hidden[:, :, rows, columns] = pictures.double().mean(dim=(2, 3), keepdim=True).round().to(torch.uint8)
            drops = before - logits_by_hand(study, hidden, label)
            np.testing.assert_allclose(one.causes[HIDDEN][:, k], drops, atol=1e-4)
        draw = functools.partial(menagerie.render, study.data.name, study.class_names[label], size=SIZE, remove={"ear"})
        bare = to_batch([draw(1_000_000 + int(path.stem), fine=fine).picture for path, fine in names], SIZE)
        drops = before - logits_by_hand(study, bare, label)
        np.testing.assert_allclose(one.causes[UNDRAWN][:, 0], drops, atol=1e-4)
        assert np.isnan(one.causes[UNDRAWN][:, 1]).all()  # no part is called low


def test_pictures_that_are_not_drawn_have_hidden_concepts_only(study, ranks):
    photographs = dataclasses.replace(study, _data=dataclasses.replace(study.data, part_names=()))
    measured = importance.causal_check(photographs, fixed_regions, ranks, study.data.test, pictures=1)
    assert [list(one.causes) for one in measured] == [[HIDDEN]] * 2 and measured[0].names == tuple(REGIONS)


def test_gradient_activation_by_finite_differences(study):
    """What the logit gains as one filter's map grows a little, over the cells of the map.

    Not where the two best cells of a vector tie in float32: they share the gradient then.
    """
    features, step, checked = study.features(of_class(study, 1, 4))[0][:], 1e-8, 0
    products, model = importance.gradient_activation(study.model, features, 1), study.model.double()
    try:
        with torch.no_grad():
            embedding = model.embed(features.double())
            cells, grown = embedding[0, 0].numel(), torch.eye(embedding.shape[1]).double()[:, :, None, None] * step
            for row, one in zip(products, embedding):
                first, second = model.compare(one[None]).maps.flatten(3).topk(2, dim=3).values.unbind(3)
                if (first - second).min() > 1e-5:
                    more, less = (model.compare(one * (1 + sign * grown)).logits[:, 1] for sign in (1, -1))
                    expected = ((more - less) / 2 / step / cells).abs().numpy()
                    assert expected.max() > 1e-4
                    np.testing.assert_allclose(row, expected, rtol=0.01, atol=1e-6)
                    checked += 1
    finally:
        model.float()
    assert checked >= 2


# --- Tables ----------------------------------------------------------------------------------------------------------


def measured():
    gradients, array = np.tile(np.repeat([3.0, 1.0, 2.0], 3), (4, 1)), lambda *values: np.array(values)
    sobol = {"eye": array(0.3), "ear": array(0.1), "ear 2": array(0.2)}
    hidden = {"ear": array(1.0, 1.0), "ear 2": array(2.0, 2.0), "eye": array(4.0, 2.0)}
    undrawn = {"ear": array(5.0, 5.0), "wing": array(7.0, 7.0)}
    return [importance.class_importance(planted_ranks(), gradients, sobol, hidden, undrawn)]


def test_importance_and_its_correlation_by_hand():
    table = importance.importance_table(measured())
    values = table[table["reference"] == HIDDEN].pivot(index="method", columns="concept", values="value")
    expected = {RANK: [2, 4, 6], ACTIVATION: [0.3, 0.5, 0.1], GRADIENT: [3, 1, 2], SOBOL: [0.1, 0.2, 0.3]}
    for method, row in expected.items():
        assert values.loc[method].tolist() == pytest.approx(row)
    undrawn = table[(table["reference"] == UNDRAWN) & (table["method"] == RANK)]
    assert list(zip(undrawn["concept"], undrawn["causal"])) == [("ear", 5), ("ear 2", 5)]  # no part is called eye
    correlations = importance.correlation_table(measured(), draws=50).set_index(["reference", "method", "class"])
    hidden = correlations.loc[HIDDEN].xs("finch", level="class")["spearman"]
    assert hidden[RANK] == hidden[SOBOL] == 1  # causal 1, 2, 3
    assert hidden[ACTIVATION] == hidden[GRADIENT] == pytest.approx(-0.5)
    assert (correlations.xs(MEAN, level="class")["spearman"] == hidden.tolist()).all()
    undrawn = correlations.loc[UNDRAWN]
    assert undrawn["spearman"].isna().all() and len(undrawn) == 4  # two concepts have no order; there is no mean
    table = correlations.reset_index()
    assert importance.causal_reference(table) == HIDDEN  # for two concepts have no order
    assert importance.causal_reference(table.assign(reference=UNDRAWN)) == UNDRAWN


def test_correlations_with_intervals_chance_and_means():
    """Eight concepts, two classes: draws by loops over pictures and over all random orders."""
    generator, classes = np.random.default_rng(0), []
    for name in ("lark", "finch"):
        methods, causes = {RANK: generator.normal(size=(9, 8))}, {HIDDEN: generator.normal(size=(5, 8))}
        classes.append(importance.ClassImportance(name, tuple("abcdefgh"), methods, causes))
    table = importance.correlation_table(classes, draws=2000).set_index("class")
    assert table.index.tolist() == ["lark", "finch", MEAN]
    correlation = lambda *sides: scipy.stats.spearmanr(*(side.mean(axis=0) for side in sides)).statistic
    for one in classes:
        values, drops, row = one.methods[RANK], one.causes[HIDDEN], table.loc[one.class_name]
        assert row["spearman"] == pytest.approx(correlation(values, drops))
        again = [(values[generator.integers(9, size=9)], drops[generator.integers(5, size=5)]) for _ in range(1500)]
        interval = np.quantile([correlation(*sides) for sides in again], [0.025, 0.975])
        np.testing.assert_allclose(row[["low", "high"]].astype(float), interval, atol=0.08)
        assert row["chance"] == pytest.approx(0.714, abs=0.05)  # of 8! orders, from tables of the statistic
    assert table.loc[MEAN, "spearman"] == pytest.approx(table["spearman"][:2].mean())
    assert table.loc[MEAN, "chance"] == pytest.approx(0.714 / np.sqrt(2), abs=0.06)
    assert table.loc[MEAN, "concepts"] == 16
