"""A network that was trained elsewhere, explained from end to end on a tiny folder of pictures."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from helpers import cases, picture_folder
from matplotlib.text import Text
from safetensors.torch import save_file
from torch import nn

import asxai
from asxai.data.pictures import to_batch
from asxai.model import foreign, networks
from asxai.model.backbones import WeightsError
from asxai.run.command import main

QUICK = dict(size=64, basis_per_class=2, scene_vectors=1, channels=16, joint_epochs=12, cycles=1, batch_size=8)


class Small(nn.Module):
    def __init__(self, classes=2):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 5, 2, 2), nn.Conv2d(8, 16, 5, 2, 2)
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        x = F.relu(self.second(F.max_pool2d(F.relu(self.first(x)), 2)), inplace=True)
        return self.head(x.amax(dim=(2, 3)))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return picture_folder(tmp_path_factory.mktemp("pictures") / "shapes", count=20)


@pytest.fixture(scope="module")
def network(pictures):
    """Trained by a plain loop, without this package's normalisation, until it knows its training pictures."""
    train = asxai.load_data_set(pictures).train
    x, y = to_batch(train.paths, 64) / 255, torch.from_numpy(train.labels)
    torch.manual_seed(0)
    network = Small()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(60):
        loss = F.cross_entropy(network(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@pytest.fixture(scope="module")
def study(network, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "a"
    given = dict(backbone=network, normalisation="none", labels="network")
    return asxai.Study.train(pictures, folder=folder, **given, **QUICK)


def test_an_explanation_says_what_the_network_itself_decided(study, network):
    explanations = study.explain(list(study.data.test.paths))
    with torch.inference_mode():
        softmax = network(to_batch(study.data.test.paths, 64) / 255).softmax(dim=1)
    assert [e.network.predicted for e in explanations] == [study.class_names[k] for k in softmax.argmax(dim=1)]
    np.testing.assert_allclose([e.network.probability for e in explanations], softmax.amax(dim=1), atol=1e-5)
    said = explanations[0].to_dict()["network"]
    assert said["agreement"] == study.metrics["network"]["agreement"] and json.dumps(said)
    texts = [text.get_text() for text in explanations[0].figure().findobj(Text)]
    assert any("The given network says:" in " ".join(text.split()) for text in texts)


def test_every_output_says_what_the_given_network_decides(study, tmp_path, capsys, monkeypatch):
    """What the sentence explains may be another class than the network's own, in a table and on a page, too."""
    picture = study.data.test.paths[0]
    decision = study.explain(picture).network
    for command, out in (("explain", "folder"), ("report", "page.html")):
        assert main([command, str(study.folder), str(picture), "--out", str(tmp_path / out)]) == 0
        assert "1 picture " in capsys.readouterr().out
    row = pd.read_csv(tmp_path / "folder" / "explanations.csv").iloc[0]
    assert row["network_predicted"] == decision.predicted
    assert row["network_probability"] == pytest.approx(decision.probability)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    agreed = study.metrics["test_network"]["agreement"]
    assert study.explain(picture).given_network() in page
    assert f"of them, {100 * agreed:.0f} % are decided as by the given network" in page
    monkeypatch.setattr(asxai.Study, "train", lambda *_, **__: study)
    assert main(["train", "shapes"]) == 0
    tested = len(study.data.test)
    said = f"and {round(agreed * tested)} of {tested} are decided as it decides them"
    assert said in capsys.readouterr().out


def test_a_network_that_disagrees_is_said_to(study):
    one = study.explain(study.data.test.paths[0])
    other = next(name for name in study.class_names if name != one.predicted)
    for predicted, words in ((one.predicted, "network says: "), (other, "network disagrees and says: ")):
        decision = one.network._replace(predicted=predicted, probability=0.75)
        panel = dataclasses.replace(one, network=decision).figure()
        texts = [" ".join(text.get_text().split()) for text in panel.findobj(Text)]
        assert any(f"The given {words}{predicted}, 75.0 % (agreement: " in text for text in texts)


def test_fidelity_against_a_loop(study, network):
    test = study.data.test
    with torch.inference_mode():
        theirs = network(to_batch(test.paths, 64) / 255).double().numpy()
    ours = study.activate(test.paths).logits.numpy()
    same = [int(np.argmax(a) == np.argmax(b)) for a, b in zip(theirs, ours)]
    a, b = (np.concatenate([row - row.mean() for row in x]) for x in (theirs, ours))
    found = study.fidelity(test)
    assert found["agreement"] == np.mean(same) == study.metrics["test_network"]["agreement"]
    assert found["correlation"] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-3)
    assert found["accuracy"] == np.mean(theirs.argmax(axis=1) == test.labels)
    assert found["agreement"] == 1 and found["correlation"] > 0.8


def test_labels_of_the_network_are_learnt_and_not_those_of_the_folder(network, pictures, tmp_path):
    """A network that calls everything by the other name is followed."""

    class Turned(Small):
        def forward(self, x):
            return super().forward(x).flip(1)

    turned = Turned()
    turned.load_state_dict(network.state_dict())
    given = dict(backbone=turned, normalisation="none", labels="network")
    with pytest.warns(UserWarning, match="order of the sorted class names"):
        study = asxai.Study.train(pictures, folder=tmp_path / "study", **given, **QUICK)
    assert study.metrics["network"]["accuracy"] < 0.5 < study.metrics["network"]["agreement"]


def test_a_study_of_a_given_network_says_what_it_needs_to_be_loaded(study, network):
    notes = json.loads((study.folder / "study.json").read_text())["network"]
    assert notes["class"].endswith("Small") and notes["used"] == ["second"] and notes["outputs"] == 2
    before = dict(networks._given)
    try:
        networks._given.clear()  # as in another program
        with pytest.raises(
            WeightsError, match="Small' is a network that was given in another program .*backbone=module"
        ):
            asxai.Study.load(study.folder)
        with pytest.raises(WeightsError, match=r"head.bias \(\(2,\) there, \(3,\) in the network\)"):
            asxai.Study.load(study.folder, backbone=Small(3))
        loaded = asxai.Study.load(study.folder, backbone=Small())  # the weights are in the study
    finally:
        networks._given.update(before)
    state = loaded.model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in study.model.state_dict().items())
    assert loaded.explain(study.data.test.paths[0]).network == study.explain(study.data.test.paths[0]).network


def test_an_exported_study_of_a_given_network_opens_with_it(study, tmp_path):
    path, picture = study.export(tmp_path / "shapes.zip"), study.data.test.paths[0]
    before = dict(networks._given)
    try:
        networks._given.clear()  # as in another program
        with pytest.raises(WeightsError, match="^backbone=.*Study.open") as raised:
            asxai.Study.open(path)
        assert "damaged" not in str(raised.value)
        opened = asxai.Study.open(path, backbone=Small())
    finally:
        networks._given.update(before)
    one, other = opened.explain(picture), study.explain(picture)
    assert one.sentence == other.sentence and one.network == other.network


def test_a_large_network_is_left_out_of_the_study_and_must_come_with_its_weights(
    network, pictures, tmp_path, monkeypatch
):
    monkeypatch.setattr(foreign, "LARGE", 100)
    study = asxai.Study.train(pictures, folder=tmp_path / "study", backbone=network, normalisation="none", **QUICK)
    networks._given.clear()
    with pytest.raises(WeightsError, match="too large to be in it.*Give the module with the weights that it had"):
        asxai.Study.load(study.folder, backbone=Small())
    loaded = asxai.Study.load(study.folder, backbone=network)
    assert torch.equal(loaded.model.state_dict()[f"{foreign.START}head.weight"], network.head.weight)


def test_a_network_that_is_trained_further_is_kept_as_it_became(network, pictures, tmp_path):
    parameters = QUICK | dict(trainable="all", objective="paper", joint_epochs=1, normalisation="none")
    study = asxai.Study.train(pictures, folder=tmp_path / "study", backbone=network, **parameters)
    loaded = asxai.Study.load(study.folder, backbone=Small())
    name = f"{foreign.START}second.weight"
    assert torch.equal(loaded.model.state_dict()[name], study.model.state_dict()[name])
    assert not torch.equal(study.model.state_dict()[name], network.second.weight)
    assert study.explain(study.data.test.paths[0]).network is None
    with pytest.raises(ValueError, match="decides nothing here"):
        study.fidelity(study.data.test)


def test_a_file_of_weights_gives_the_same_study(network, study, pictures, tmp_path, monkeypatch):
    """The module or its weights in a file: the same key, so that nothing is trained again."""
    save_file(network.state_dict(), tmp_path / "small.safetensors")
    monkeypatch.setattr(asxai.Study, "_trained", None)
    given = dict(backbone=Small(), weights=tmp_path / "small.safetensors", normalisation="none", labels="network")
    again = asxai.Study.train(pictures, folder=study.folder, **given, **QUICK)
    assert again.metrics == study.metrics


@cases(
    "given, words",
    (dict(backbone=lambda: Small(5), labels="network"), "Small decides nothing here. It gives 5 numbers"),
    (dict(labels="network", weights="random"), "resnet18 decides nothing here. It gives no numbers"),
    (dict(backbone=lambda: Small(1), labels="network"), "gives 1 numbers .* there are 2 classes"),
    (dict(backbone=lambda: nn.Sequential(nn.Flatten())), "no submodule with a spatial map"),
)
def test_nothing_is_begun_where_it_cannot_be(given, words, pictures, tmp_path):
    given = {"backbone": "resnet18"} | {name: value() if callable(value) else value for name, value in given.items()}
    with pytest.raises(ValueError, match=words):
        asxai.Study.train(pictures, folder=tmp_path / "study", **given, **QUICK)
    assert not (tmp_path / "study").exists()


def test_a_network_that_sees_one_class_only_teaches_nothing(pictures, tmp_path):
    network = Small()
    nn.init.zeros_(network.head.weight)
    with pytest.raises(ValueError, match="takes 0 of 24 training pictures for 'stripes'.*labels='true'"):
        nn.init.constant_(network.head.bias, 1)
        asxai.Study.train(pictures, folder=tmp_path / "study", backbone=network, labels="network", **QUICK)
    assert not (tmp_path / "study").exists()
