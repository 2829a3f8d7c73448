"""How to notice pictures of classes that a study never saw: the explanation's confidence beside five detectors (05).

known, strange = (detection_scores(explainer, pictures) for pictures in (study.data.test, hybrids))
table = detection_table(known, strange)     # AUROC, and FPR at 95 %, of each
held_out_table("flowers", [["rose"]])       # or of studies that did not see some classes of their data set
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pytorch_ood.detector import KNN, EnergyBased, Mahalanobis, MaxSoftmax, ViM
from sklearn.metrics import roc_auc_score, roc_curve

from .. import results
from ..concepts.names import found_concepts
from ..data.datasets import Split, load_data_set
from ..data.pictures import to_batch
from ..explain.confidence import evidence, weakest_leads
from ..explain.explainer import Explainer
from ..explain.scores import concept_activation
from ..statistics import bootstrap
from ..study import Study
from .own_pictures import folder_without

NEIGHBOURS = 10  # of the k-nearest-neighbour detector: fewer than a class has pictures
EXPLANATION, CONCEPTS, MSP, ENERGY = "explanation", "lead of concepts", "maximum softmax", "energy"
MAHALANOBIS, NEAREST, VIM = "Mahalanobis", "k nearest neighbours", "ViM"


def detection_scores(explainer: Explainer, pictures: torch.Tensor | Split) -> dict[str, np.ndarray]:
    """How strange pictures look, by seven detectors: `{name: (picture,)}`, higher is stranger.

    pictures: uint8 `(picture, 3, size, size)`, or a split of the data set, whose features are cached

    The explanation's: how improbable it is that its answer is right, the score of notebook 06, which was fitted without
    any stranger. Lead of concepts: minus `weakest_leads` of A_s, one of its numbers, alone. The others are those of
    pytorch-ood, on the network's logits and on its pooled features, the best cosine of each basis vector, fitted on
    training pictures; ViM keeps half of their dimensions.
    """
    study, train = explainer.study, explainer.study.data.train
    if isinstance(pictures, torch.Tensor):
        similarity = torch.cat([out.similarity for out in explainer.activate(pictures)])
    else:
        similarity = study.similarity(pictures)
    activation, features = concept_activation(explainer.concepts, similarity), similarity.flatten(1)
    weight = study.model.last_layer.weight.detach().cpu()
    logits = F.linear(features, weight)
    predicted = logits.argmax(dim=1).numpy()
    fitted, labels = study.similarity(train).flatten(1), torch.from_numpy(train.labels)
    # float32, as the detector computes it: on 140 features that agrees with float64 to five digits
    mahalanobis = Mahalanobis(None).fit_features(fitted, labels)
    nearest = KNN(None, k=min(NEIGHBOURS, len(fitted))).fit_features(fitted, labels)
    virtual = ViM(None, features.shape[1] // 2, weight, torch.zeros(len(weight))).fit_features(fitted, labels)
    return {
        EXPLANATION: -explainer.confidence.log_odds(evidence(explainer, similarity, logits)),
        CONCEPTS: -weakest_leads(activation, predicted),
        MSP: MaxSoftmax.score(logits).numpy(),
        ENERGY: EnergyBased.score(logits).numpy(),
        MAHALANOBIS: mahalanobis.predict_features(features).numpy(),
        NEAREST: nearest.predict_features(features).numpy(),
        VIM: virtual.predict_features(features).numpy(),
    }


def detection_table(known: dict, strange: dict, draws: int = 300) -> pd.DataFrame:
    """AUROC and FPR at 95 % of telling strangers from known pictures, a row per method and measure, with intervals.

    known, strange: of `detection_scores`. FPR: share of strangers taken for known where 95 % of the known are.
    Columns `method`, `measure`, `value`, `low`, `high`, `better` ("higher" or "lower").
    """
    rows = []
    for method in known:
        values = np.concatenate([known[method], strange[method]])
        truth = np.repeat([0, 1], [len(known[method]), len(strange[method])])
        for measure, of, better in (("AUROC", _auroc, "higher"), ("FPR at 95 %", _false_positive_rate, "lower")):
            low, high = bootstrap(lambda weights: np.array([of(truth, values, w) for w in weights]), truth, draws)
            rows.append((method, measure, of(truth, values), float(low), float(high), better))
    return pd.DataFrame(rows, columns=["method", "measure", "value", "low", "high", "better"])


def held_out_table(data_set: str | Path, groups: list[list[str]], **training) -> pd.DataFrame:
    """`detection_table` of studies that were trained without some classes, whose test pictures are the strangers.

    groups: the classes that one study does not see. training: of `Study.train`. With columns `held out` and `strangers`
    (how many pictures) in front.
    """
    every, tables = load_data_set(data_set), []
    for classes in groups:
        study = Study.train(folder_without(data_set, classes), **training)
        unseen = np.isin(np.array(every.class_names)[every.test.labels], classes)
        pictures = to_batch(every.test.take(np.flatnonzero(unseen)).paths, study.config.size)
        explainer = Explainer(study, found_concepts(study))  # nobody is to name those
        known, strange = (detection_scores(explainer, one) for one in (study.data.test, pictures))
        table = detection_table(known, strange)
        table.insert(0, "held out", " + ".join(classes))
        table.insert(1, "strangers", len(pictures))
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def held_out_claims(table: pd.DataFrame) -> list[dict]:
    """Claims of notebook 05 about classes that were held out, from `held_out_table` with a column `seed`, or nothing.

    Each is a mean over studies. The best baseline is the best of pytorch-ood's on each; the explanation's holds where
    it is not below that by more than the mean upper half of its interval.
    """
    if table.empty:
        return []
    of = table[table["measure"] == "AUROC"].pivot(index=["seed", "held out"], columns="method")
    values, slack = of["value"], (of["high"] - of["value"])[EXPLANATION].mean()
    best = values.drop(columns=[EXPLANATION, CONCEPTS]).max(axis=1)
    holds = values[EXPLANATION].mean() + slack >= best.mean()
    claimed = results.claim("held_out_auroc_explanation", values[EXPLANATION], "", holds)
    return [claimed, results.claim("held_out_auroc_best_baseline", best)]


def _auroc(truth, values, weights=None):
    return float(roc_auc_score(truth, values, sample_weight=weights))


def _false_positive_rate(truth, values, weights=None):
    """Share of strangers taken for known, at the threshold that keeps 95 % of the known."""
    # known pictures are the positives here; every threshold counts, also those that a drawn curve would not show
    missed, kept, _ = roc_curve(1 - truth, -values, sample_weight=weights, drop_intermediate=False)
    return float(missed[np.searchsorted(kept, 0.95 - 1e-12)])
