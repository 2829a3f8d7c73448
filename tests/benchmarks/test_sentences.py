"""What sentences claim, on a tiny study of drawn animals: each measure once more by plain loops."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import concepts_by_hand

from asxai.benchmarks import sentences
from asxai.data.pictures import to_batch
from asxai.data.sources import redraw
from asxai.explain.explainer import Explainer
from asxai.explain.sentences import named_reasons


@pytest.fixture(scope="module")
def explainer(study):
    return Explainer(study, replace(concepts_by_hand(study), by_class={(0, 2): "concept 2"}))


@pytest.fixture(scope="module")
def rows(study, explainer):
    return sentences.sentence_rows(sentences.ways(explainer), study.data.test)


def test_ways_are_the_options_of_an_explainer_and_two_besides(explainer):
    found = sentences.ways(explainer)
    assert list(found) == [sentences.RANK, sentences.NONE, sentences.SOBOL, sentences.CAUSAL, sentences.UNCHECKED]
    hidden = found[sentences.CAUSAL].scores.importance
    np.testing.assert_array_equal(np.isfinite(hidden), np.isfinite(explainer.scores.mean))
    np.testing.assert_allclose(np.nanmean(hidden, axis=1), 1)
    assert found[sentences.UNCHECKED].concepts.by_class == {} != explainer.concepts.by_class
    assert found[sentences.UNCHECKED].scores is explainer.scores is not found[sentences.CAUSAL].scores


def test_contributions_add_up_to_the_lead(study, explainer):
    """Over all concepts and the background, to the lead of the class less its mean over validation pictures."""
    similarity, usual = study.similarity(study.data.test), study.similarity(study.data.validation)
    weight = study.model.last_layer.weight.detach().double()
    logits, before = (of.flatten(1).double() @ weight.T for of in (similarity, usual))
    order = logits.argsort(dim=1, descending=True).numpy()
    concepts = explainer.concepts
    found = sentences._contributions(explainer, similarity, order)
    assert found.shape == (12, concepts.count)
    for i, (first, second) in enumerate(order[:, :2]):
        lead = logits[i, first] - logits[i, second] - (before[:, first] - before[:, second]).mean()
        other = weight.view(2, 2, 5)[first] - weight.view(2, 2, 5)[second]
        rest = (other * (similarity[i] - usual.double().mean(dim=0)))[torch.from_numpy(concepts.members == 0)].sum()
        assert found[i].sum() + rest == pytest.approx(float(lead), abs=1e-6)


def test_causality_by_drawing_again(study, explainer, rows):
    """The picture without the named parts, and without any choice of as many others, once more."""
    known, checked = rows[rows["causality"].notna()], 0
    assert len(known) and set(known["causality"]) <= {0.0, 1.0}
    split, label_of = study.data.test, study.label_of
    options = {sentences.RANK: explainer, sentences.SOBOL: Explainer(study, explainer.concepts, importance="sobol")}
    for row in known[known["way"].isin(options)].to_dict("records"):
        path, fine, label = split.paths[row["picture"]], split.fine[row["picture"]], label_of(row["class"])
        explanation = options[row["way"]].explain(path)
        named = named_reasons(explanation.judgement.concepts)
        mask = split.part_masks(96)[row["picture"]]
        seen = [part for k, part in enumerate(study.data.part_names, 1) if (mask == k).sum() >= 40]
        named = [part for part in named if part in seen]
        others = [part for part in seen if part not in named]
        assert (row["named"], row["unnamed"]) == (len(named), len(others))
        count = min(len(named), len(others))
        every = [tuple(named[:count]), *itertools.combinations(others, count)]
        drawn = [redraw("menagerie-pets", path, parts, fine) for parts in every]
        first, *rest = study.activate(list(to_batch(drawn, 96))).logits[:, label].tolist()
        outcomes = {first < other for other in rest}  # whichever others were picked
        assert row["causality"] in outcomes
        checked += len(outcomes) == 1
    assert checked


def test_truth_table_and_claims():
    rows = pd.DataFrame(
        {
            "way": [sentences.RANK] * 4 + [sentences.SOBOL] * 2,
            "fidelity": [1, 1, 1, 0, 1, 1],
            "contrast": [1, 0, np.nan, np.nan, 0, 0],
            "causality": [np.nan] * 4 + [1, 0],
        }
    )
    table = sentences.truth_table(rows)
    assert table["measure"].tolist() == list(sentences.MEASURES) * 2
    assert table["sentences"].tolist() == [4, 2, 0, 2, 2, 2]
    assert table["value"].tolist()[:2] == [0.75, 0.5] and np.isnan(table["value"][2])
    assert sentences.shares(table).loc[sentences.SOBOL].tolist() == [1, 0, 0.5]
    claimed = {row["claim"]: (row["here"], row["holds"]) for row in sentences.claims(table, pd.DataFrame())}
    assert claimed == {
        "sentence_fidelity": (0.75, "no"),
        "sentence_contrast": (0.5, "yes"),
        "sentence_fidelity: Sobol index": (1, "yes"),
        "sentence_contrast: Sobol index": (0, "no"),
        "sentence_causality: Sobol index": (0.5, "no"),
    }
    others = pd.DataFrame({"seed": [1], "sentence_fidelity": [0.25]})
    first = sentences.claims(table, others)[0]
    assert (first["claim"], first["here"], first["seeds"]) == ("sentence_fidelity", 0.5, 2)
    assert sentences.claims(pd.DataFrame(), others) == []
