"""A new method in a scratch file stands in every benchmark and its figures, without a change elsewhere."""

import importlib.util

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from asxai.benchmarks import ablation, common_traits, concept_cosines, prototypes
from asxai.figures import ablation as ablation_plots
from asxai.figures import prototypes as prototypes_plots
from asxai.study import Study

NEW = {
    "random directions": '''
import torch

from asxai.methods import Method
from asxai.methods.base import backbone_maps


class RandomDirections(Method, name="random directions"):
    """Where random directions of feature space are strongest."""

    def learn(self):
        generator = torch.Generator().manual_seed(self.study.config.seed)
        self.directions = torch.randn(4, self.study.model.feature_std.numel(), generator=generator)

    def names(self, label):
        return tuple(f"direction {k}" for k in range(1, 5))

    def maps(self, pictures, label):
        return torch.einsum("kc,pchw->pkhw", self.directions, backbone_maps(self.study, pictures))
''',
    "thirds of the picture": '''
import torch

from asxai.methods import Method


class Thirds(Method, name="thirds of the picture"):
    """Regions, not strengths: the upper, middle and lower third of every picture."""

    def names(self, label):
        return "upper", "middle", "lower"

    def maps(self, pictures, label):
        thirds = torch.arange(12) // 4 == torch.arange(3)[:, None]  # (concept, row)
        return thirds[None, :, :, None].expand(len(pictures), 3, 12, 12)
''',
}
OF_CELLS, OF_PEAKS = {"nmi", "ari", "best part IoU"}, {"purity", "consistency", "stability"}


@pytest.fixture(params=NEW)
def name(request, registry, tmp_path):
    text = NEW[request.param]
    assert len(text.splitlines()) <= 40
    (tmp_path / "scratch.py").write_text(text)
    spec = importlib.util.spec_from_file_location("scratch", tmp_path / "scratch.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    yield request.param
    plt.close("all")


def test_a_new_method_stands_in_every_benchmark(study, name, monkeypatch):
    table = prototypes.measures_of([study], "this study", name)
    own = table[table["method"] == name].set_index("measure")
    assert set(own.index) == OF_CELLS | (OF_PEAKS if name == "random directions" else set())
    assert own["value"].between(-0.5, 1).all() and (own["low"] <= own["high"]).all() and (own["seed"] == 0).all()
    assert prototypes.seed_agreement([study, study], study.data.test, name)["agreement"].tolist() == [1]
    prototypes_plots.measure_dots(table)

    traits = common_traits.traits_of(name, study, pictures=3, measured=3)
    runs, rows = [(name, 0, traits)], pd.DataFrame(common_traits.trait_rows(traits)).set_index("measure")
    assert set(rows.index) == {"specificity", "q-q r2"} and rows["value"].between(0, 1).all()
    assert common_traits.specificity_table(runs)["share"].item() == rows.loc["specificity", "value"]
    assert common_traits.normality_table(runs)["r2"].median() == rows.loc["q-q r2", "value"]
    assert len(common_traits.value_table(traits)) > 0

    monkeypatch.setattr(Study, "train", lambda data_set, **parameters: study)
    arms = ablation.train_arms("menagerie-pets", ablation.named(["both losses", name]))
    table = ablation.measure_arms(arms, "settings", pictures=4, measured=4)
    measured = table[table["arm"] == name].set_index("measure")["value"]
    assert set(measured.index) == set(own.index) | {"accuracy", "specificity", "q-q r2", "off-diagonal"}
    assert measured["nmi"] == own.loc["nmi", "value"] and np.isfinite(measured).all()
    again = pd.concat([table, table.assign(seed=1)])
    differences = ablation.paired(again)
    verdicts = differences.assign(verdict=differences.apply(ablation.verdict, axis=1))
    ablation_plots.difference_dots(verdicts, ablation.MEASURES, "differences")
    prototypes_plots.measure_dots(ablation.for_dots(table))
    cosines = concept_cosines.concept_cosines(name, study, 4)
    assert [own.names for own in cosines] == [arms[name].names(0)] * 2
    beside = ablation.beside(arms, "dog", "", pictures=3, steps=1)
    assert beside.names[1] in arms[name].names(0)
