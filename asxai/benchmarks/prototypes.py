"""The concepts of a trained study, and how well they and their baselines agree with true parts.

    concepts = study_concepts(study)               # grouped on training pictures, named on validation pictures
    table = measure(study, concepts)               # scored on test pictures: a row per measure, with its interval
    table = clustering_measures(study, "k-means")  # the same rule for a clustering of the same features

No part mask enters before the names; the pictures that give names give no scores.
"""

import numpy as np
import pandas as pd
import torch

from ..concepts.cells import MASK_SIZE, maps_of_features, own_class_maps, part_iou, true_parts
from ..concepts.names import is_named_after, named_by_parts, study_concepts
from ..data.features import BATCH, seeded
from ..data.pictures import to_batch
from ..methods.clusterings import CLUSTERINGS, clustering_winners
from ..model.geometry import within_class_cosine
from ..results import claim
from ..statistics import bootstrap
from . import agreement

PURITY_PATCH, CONSISTENCY_PATCH = 32, 72  # pixels of 224, as in the sources of the two measures
NOISE, NOISE_LIMIT = 0.2, 0.25  # standard deviation on the normalised picture, and where it is cut (Huang et al.)
STABILITY_PICTURES = 100  # of the test pictures: each needs another pass through the backbone
# what is compared: parameters that differ from the study's own, and what stands where the paper has its method
CONTROLS = {"paper's objective": {"objective": "paper"}, "random backbone": {"weights": "random"},
            "shuffled labels": {"labels": "shuffled"}}
OURS = "this study"
# name: (what is better, the target that this study set itself or None)
MEASURES = {"nmi": ("higher", 0.65), "ari": ("higher", None), "purity": ("higher", 0.85),
            "consistency": ("higher", 0.80), "stability": ("higher", None), "best part IoU": ("higher", None),
            "accuracy": ("higher", None), "cosine": ("lower", 0.01), "cosine before": ("lower", 0.01)}


def measure(study, concepts, split=None):
    """All measures of a study: `measure`, `value`, and `low` and `high`, a 95 % bootstrap interval over pictures.

    split: by default the test pictures. The measures are those of `asxai.benchmarks.agreement`: NMI and ARI of concepts and
    parts, purity, consistency and stability of the foreground vectors, mean over parts of the best IoU; accuracy; and
    the mean |cosine| inside a class, after and before replacement, which has no interval over pictures. Without part
    masks only the last three are left.
    """
    split = split or study.data.test
    labels, rows = split.labels, []
    if split.parts is not None:
        masks, parts = true_parts(split)
        own = own_class_maps(study, split)
        rows = cluster_rows(concepts.winners(own, labels), parts, labels, concepts.count, len(study.data.part_names))
        rows += _prototype_rows(study, concepts, split, own, masks)
    hits = np.asarray(study.predict_split(split).labels == labels, dtype=float)
    rows.append(measure_row("accuracy", hits.mean(), bootstrap(lambda w: (w * hits).sum(1) / w.sum(1), labels)))
    rows.append(measure_row("cosine", float(np.nanmean(within_class_cosine(study.model.basis)))))
    rows.append(measure_row("cosine before", float(np.nanmean(within_class_cosine(study.basis_before)))))
    return pd.DataFrame(rows)


def measure_row(name, value, interval=(np.nan, np.nan)):
    return {"measure": name, "value": float(value), "low": float(interval[0]), "high": float(interval[1])}


def cluster_rows(winners, parts, labels, count, part_count):
    counts = agreement.contingency(winners, parts, count, part_count)
    best = lambda weights=None: np.nanmean(agreement.best_part_iou(part_iou(
        winners, parts, labels, count, part_count, weights)), axis=(-2, -1))
    rows = []
    for name, function in (("nmi", agreement.foreground_nmi), ("ari", agreement.foreground_ari)):
        of = lambda weights=None, function=function: np.nanmean(function(counts, labels, weights), axis=-1)
        rows.append(measure_row(name, of(), bootstrap(of, labels)))
    rows.append(measure_row("best part IoU", best(), bootstrap(best, labels)))
    return rows


def _prototype_rows(study, concepts, split, own, masks):
    """Purity, consistency and stability over the vectors that are no background, each class on its own pictures."""
    part_count, visible = len(study.data.part_names), agreement.visible_parts(masks, len(study.data.part_names))
    scores, peaks = _peaks(own)
    noisy = _noisy_subset(split)
    noisy_split = split.take(noisy)
    _, noisy_peaks = _peaks(_perturbed_maps(study, noisy_split))
    blocks = []
    for label in range(len(study.class_names)):
        members, vectors = np.flatnonzero(split.labels == label), np.flatnonzero(concepts.members[label])
        held = {patch: agreement.held_parts(masks[members], peaks[members][:, vectors], patch, part_count)
                for patch in (PURITY_PATCH, CONSISTENCY_PATCH)}
        again = np.flatnonzero(noisy_split.labels == label)
        at = np.searchsorted(members, noisy[again])
        perturbed = agreement.held_parts(masks[noisy[again]], noisy_peaks[again][:, vectors], CONSISTENCY_PATCH,
                                         part_count)
        blocks.append({"members": members, "again": again, "at": at, "held": held, "perturbed": perturbed,
                       "scores": scores[members][:, vectors], "visible": visible[members]})

    def pooled(of, pictures="members"):  # mean over the foreground vectors of all classes
        def statistic(weights=None):
            found = [of(b, None if weights is None else weights[:, b[pictures]]) for b in blocks]
            return np.concatenate(found, axis=-1).mean(axis=-1)
        return statistic

    measures = {
        "purity": pooled(lambda b, w: agreement.purity(b["held"][PURITY_PATCH], b["scores"], weights=w)),
        "consistency": pooled(lambda b, w: agreement.consistency(b["held"][CONSISTENCY_PATCH], b["visible"],
                                                                 weights=w)[1].astype(float))}
    rows = [measure_row(name, of(), bootstrap(of, split.labels)) for name, of in measures.items()]
    stability = pooled(lambda b, w: agreement.stability(b["held"][CONSISTENCY_PATCH][b["at"]], b["perturbed"],
                                                        weights=w), "again")
    rows.append(measure_row("stability", stability(), bootstrap(stability, noisy_split.labels)))
    return rows


def _peaks(own):
    """Best cosine `(picture, basis)` and the pixel of its cell's middle `(picture, basis, 2)` on a part mask."""
    height, width = own.shape[2:]
    best, at = own.flatten(2).max(dim=2)
    cells = torch.stack([at // width, at % width], dim=2)
    pixels = (cells + 0.5) * MASK_SIZE / torch.tensor([height, width])
    return best.numpy(), pixels.long().numpy()


def _noisy_subset(split):
    """Pictures for stability, spread evenly over the split, which is sorted by class: sorted indices."""
    count = max(min(STABILITY_PICTURES, len(split)), min(len(split), 4 * (int(split.labels.max()) + 1)))
    return np.unique(np.linspace(0, len(split) - 1, count).round().astype(int))


@torch.inference_mode()
def _perturbed_maps(study, split):
    """Own-class maps under Gaussian noise on the normalised picture."""
    std = study.model.backbone.std.cpu()
    features = []
    for start in range(0, len(split), BATCH):
        pictures = to_batch(split.paths[start:start + BATCH], study.config.size).float() / 255
        noise = torch.randn(pictures.shape, generator=seeded("stability", start)) * NOISE
        noisy = pictures + noise.clamp(-NOISE_LIMIT, NOISE_LIMIT) * std
        features.append(study.model.features(noisy.to(study.model.feature_mean.device)).cpu())
    return maps_of_features(study, torch.cat(features), torch.from_numpy(split.labels))


def clustering_measures(study, method, clusters=None, split=None, seed=0):
    """NMI, ARI and best part IoU of a clustering, as in `measure`. clusters: by default as many as vectors a class."""
    split, clusters = split or study.data.test, clusters or study.model.basis_per_class
    winners = clustering_winners(study, method, clusters, split, seed)
    _, parts = true_parts(split)
    return pd.DataFrame(cluster_rows(winners, parts, split.labels, clusters, len(study.data.part_names)))


def seed_agreement(studies, split):
    """Agreement of the concepts of studies with different seeds: NMI of their assignments of the same cells.

    A row per pair of studies, see `asxai.benchmarks.agreement.map_agreement`; 1 if all cells are grouped alike.
    """
    winners = [study_concepts(study).winners(own_class_maps(study, split), split.labels) for study in studies]
    return pd.DataFrame([{"first": studies[i].config.seed, "second": studies[j].config.seed,
                          "agreement": float(agreement.map_agreement(winners[i], winners[j], split.labels))}
                         for i in range(len(studies)) for j in range(i + 1, len(studies))])


# --- What a notebook shows -------------------------------------------------------------------------------------------


def measures_of(studies, method=OURS):
    """Measures of studies that differ in their seed; further columns `method`, `seed`, `better` and `target`."""
    return _tidy([(method, study.config.seed, measure(study, study_concepts(study))) for study in studies])


def clusterings_of(studies, methods=CLUSTERINGS):
    """The same for clusterings of the features of studies; empty without part masks."""
    if studies[0].data.test.parts is None:
        return _tidy([])
    return _tidy([(method, study.config.seed, clustering_measures(study, method, seed=study.config.seed))
                  for method in methods for study in studies])


def _tidy(found):
    tables = [table.assign(method=method, seed=seed) for method, seed, table in found]
    columns = ["measure", "method", "seed", "value", "low", "high", "better", "target"]
    if not tables:
        return pd.DataFrame(columns=columns)
    table = pd.concat(tables, ignore_index=True)
    better, target = (table["measure"].map(lambda name, i=i: MEASURES[name][i]) for i in (0, 1))
    table = table.assign(better=better, target=target.astype(float))[columns]
    order = {name: i for i, name in enumerate(MEASURES)}
    return table.sort_values("measure", key=lambda column: column.map(order), kind="stable", ignore_index=True)


def sheet(study, concepts, class_name, count=6, percentile=95.0):
    """What a concept sheet of a class needs: `pictures`, `masks`, `names`, `prevalence`, per concept; and `out_of`.

    The exemplars are the training pictures of the highest cosine, strongest first; prevalence is over test pictures, of
    which there are `out_of`. A name that a person gave has the concept's number before it, by which it was given.
    """
    label, train, test = study.label_of(class_name), study.data.train, study.data.test
    of_class = concepts.of_class(label)
    members = train.take(train.labels == label)
    own = own_class_maps(study, members)
    found = concepts.exemplars(own, members.labels, count).pictures[label]
    shown, seen = test.take(test.labels == label), np.full(concepts.count, np.nan)
    if len(shown):
        seen = concepts.prevalence(concepts.winners(own_class_maps(study, shown), shown.labels), shown.labels)[label]
    pictures, masks = [], []
    for k in of_class:
        chosen = found[k - 1][found[k - 1] >= 0]
        pictures.append(study.pictures([members.paths[i] for i in chosen]))
        found_masks = concepts.masks(own[chosen], members.labels[chosen], study.config.size, percentile)
        masks.append(found_masks[:, k - 1].numpy())
    names = [concepts.names[k - 1] for k in of_class]
    if not named_by_parts(study):
        names = [name if name == f"concept {k}" else f"{k}: {name}" for k, name in zip(of_class, names)]
    return {"pictures": pictures, "masks": masks, "names": names, "prevalence": seen[of_class - 1],
            "out_of": len(shown)}


def strip(study, concepts, split, per_class=3, classes=4):
    """Some `pictures` of a split, with the concept that wins each cell (`winners`, `names`), and true parts if any."""
    chosen = np.concatenate([np.flatnonzero(split.labels == label)[:per_class]
                             for label in range(min(classes, len(study.class_names)))])
    part = split.take(chosen)
    result = {"pictures": study.pictures(part.paths), "names": concepts.names,
              "winners": concepts.winners(own_class_maps(study, part), part.labels)}
    if part.parts is not None:
        result |= {"parts": true_parts(part)[1], "part_names": study.data.part_names}
    return result


def part_counts(study, concepts, split=None):
    """Cells by concept (background first) and true part, `(concept + 1, part)`, summed over a split's pictures."""
    split = split or study.data.test
    winners = concepts.winners(own_class_maps(study, split), split.labels)
    return agreement.contingency(winners, true_parts(split)[1], concepts.count, len(study.data.part_names)).sum(axis=0)


def other_parts_in_words(counts, concept_names, part_names):
    """Which concepts win more of another part's cells than the concept that is called after that part: a sentence.

    counts: of `part_counts`. The share is of the part's cells.
    """
    shares, found = counts[1:] / np.maximum(counts.sum(axis=0), 1), []  # (concept, part)
    for p, part in enumerate(part_names):
        named = [k for k, name in enumerate(concept_names) if is_named_after(name, part)]
        best = int(shares[:, p].argmax())
        if best not in named and shares[best, p] > 0:
            own = f"{100 * shares[named, p].max():.0f} %" if named else "no concept of that name"
            found.append(f"“{concept_names[best]}” wins {100 * shares[best, p]:.0f} % of “{part}” ({own})")
    return ("Concepts that win more of a part than those that are called after it: " + "; ".join(found) + "." if found
            else "Each part is won most by a concept that is called after it.")


def named_parts(study, concepts, split=None):
    """A row per class and part that covers at least 1 % of the class's object: is it the name of one of its concepts?

    Columns `class`, `part`, `share` of the object's cells, and `named`. Empty without part masks.
    """
    split, rows = split or study.data.test, []
    if split.parts is None:
        return pd.DataFrame(columns=["class", "part", "share", "named"])
    _, parts = true_parts(split)
    for label, class_name in enumerate(study.class_names):
        cells = np.bincount(parts[split.labels == label].ravel(), minlength=len(study.data.part_names) + 1)[1:]
        names = {concepts.names[k - 1] for k in concepts.of_class(label)}
        for part, share in zip(study.data.part_names, cells / max(cells.sum(), 1)):
            if share >= 0.01:
                named = any(name == part or name.rsplit(" ", 1)[0] == part for name in names)
                rows.append({"class": class_name, "part": part, "share": share, "named": named})
    return pd.DataFrame(rows)


def claims(measures, pairs):
    """Claims of a data set, from the tables of `measures_of` and its like and of `seed_agreement`."""
    rows = []
    ours = measures[measures["method"] == OURS]
    for name, measure_name, words in (("concept_nmi", "nmi", "semantic, as figures show"), ("concept_ari", "ari", ""),
                                      ("prototype_purity", "purity", ""), ("consistency", "consistency", ""),
                                      ("stability", "stability", "")):
        found = ours[ours["measure"] == measure_name]
        target = MEASURES[measure_name][1]
        if len(found):
            rows.append(claim(name, found["value"], words, None if target is None else found["value"].mean() >= target))
    if len(pairs):
        rows.append(claim("concept_agreement_seeds", pairs["agreement"]))
    for name, method in (("paper_objective_nmi", "paper's objective"), ("kmeans_nmi", "k-means"), ("nmf_nmi", "nmf"),
                         ("random_backbone_nmi", "random backbone"), ("shuffled_labels_nmi", "shuffled labels")):
        found = measures[(measures["method"] == method) & (measures["measure"] == "nmi")]
        if len(found):
            rows.append(claim(name, found["value"]))
    return rows
