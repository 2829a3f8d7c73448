"""Common traits of a study's concepts: the pictures, masks and features that go into `asxai.traits.vectors`.

    found = common_traits(study, concept_regions(study, concepts))      # a ClassTraits per class
    other = common_traits(study, superpixel_regions(study, [6, 6]))     # S-XAI's way to regions, the same pipeline
    table = specificity_table([(OURS, 0, found), (SUPERPIXELS, 0, other)])

Of each class some training pictures make the semantic vectors, and test pictures tell how specific these are. A_s of
all other pictures of the class is what the q-q plots show. Regions come from `concept_regions` (the study's own masks)
or, without the network, from `superpixel_regions` and `box_regions`; each is a function of a class and pictures of it.
"""

import numpy as np
import pandas as pd

from ..concepts.cells import own_class_maps
from ..concepts.masks import conceal
from ..concepts.names import is_named_after
from ..data.datasets import spread_over
from ..data.pictures import to_batch
from ..data.sources import drawn_without
from ..results import claim
from ..traits.inversion import race
from ..traits.pooled import Network, pooled_features, split_pooled
from ..traits.vectors import normality, specificity, weighted_activation

# the last two stand for S-XAI's manual annotation: from below, nobody says what they show, and from above, true parts
OURS, SUPERPIXELS, BOXES = "this study", "superpixels", "boxes around parts"
QQ_TARGET, DIAGONAL_TARGET, SPEED_TARGET = 0.98, 0.9, 10  # the paper's, and the two that this study set itself


def removal_examples(study, concepts, class_name, count=2, percentile=95.0, fill="black"):
    """Training pictures in which a concept fires most: `pictures`, `kept`, `removed`, `names`, a list entry each."""
    label, train = study.label_of(class_name), study.data.train
    members = train.take(train.labels == label)
    own, shown = own_class_maps(study, members), {"pictures": [], "kept": [], "removed": [], "names": []}
    best = concepts.exemplars(own, members.labels, count).pictures[label]
    for k in concepts.of_class(label):
        chosen = best[k - 1][best[k - 1] >= 0]
        pictures = to_batch([members.paths[i] for i in chosen], study.config.size)
        masks = concepts.masks(own[chosen], members.labels[chosen], study.config.size, percentile)[:, k - 1]
        hidden = [conceal(pictures, masks, keep, fill) for keep in (True, False)]
        for key, value in zip(("pictures", "kept", "removed"), (pictures, *hidden)):
            shown[key].append(value.permute(0, 2, 3, 1).numpy())
        shown["names"].append(concepts.names[k - 1])
    return shown


def rendered_drops(study, found, pictures=20):
    """Mean drop of A_s when a true part is not drawn at all: per class `(names of parts, (part, concept))`.

    In standard deviations of a concept's A_s over whole pictures, as in `concept_drops`. What was behind the part is
    seen then, so that nothing black is left to react to. Empty for data sets that are not drawn.
    """
    results, test = [], study.data.test
    for label, traits in enumerate(found if study.data.part_names else []):
        shown = spread_over(test.take(test.labels == label), pictures)
        parts, drawn = drawn_without(study, shown, f"drawing without parts, {traits.class_name}")
        without = pooled_features(study, drawn.flatten(0, 1)).unflatten(1, drawn.shape[:2])
        whole = weighted_activation(traits.reader(split_pooled(study, shown)), traits.vectors)
        scores = np.stack([weighted_activation(own, traits.vectors) for own in traits.reader(without)])
        results.append((parts, (whole - scores).mean(axis=1) / traits.unmasked.std(axis=0)))
    return results


# --- Tables ----------------------------------------------------------------------------------------------------------


def qq_pairs(found, beside):
    """For `asxai.figures.common_traits.qq_plots`: A_s of each concept beside that of another method's concept of its name.

    beside: of `value_table`, may be empty. "x 2" is compared with "x" where the other method has no "x 2"; without that
    name nothing stands beside.
    """
    values = {class_name: {concept: own["value"].to_numpy(copy=True)
                           for concept, own in rows.groupby("concept", sort=False)}
              for class_name, rows in (beside.groupby("class", sort=False) if len(beside) else ())}
    classes = []
    for own in found:
        theirs = values.get(own.class_name, {})
        names = [next((part for part in (name, *theirs) if part in theirs and is_named_after(name, part)), None)
                 for name in own.names]
        classes.append({"class": own.class_name, "names": list(own.names), "ours": own.normality(),
                        "other": [normality(theirs[name]) if name else None for name in names]})
    return classes


def value_table(found):
    """A_s of held-out pictures: a row per class, concept and picture, `class`, `concept`, `value`."""
    return pd.DataFrame([{"class": own.class_name, "concept": name, "value": value}
                         for own in found for name, values in zip(own.names, own.held_out.T) for value in values])


def specificity_table(runs, draws=1000):
    """How specific: a row per method and seed, `method`, `seed`, `classes`, `concepts`, `share`, `low`, `high`.

    runs: (method, seed, what `common_traits` gave) each
    """
    rows = []
    for method, seed, found in runs:
        result = specificity([(own.unmasked, own.removed) for own in found], draws=draws)
        rows.append({"method": method, "seed": seed, "classes": len(found), "concepts": len(result.diagonal),
                     "share": result.share, "low": result.low, "high": result.high})
    return pd.DataFrame(rows)


def normality_table(runs):
    """A row per method, seed, class and concept: `r2`, `w`, `p`, `count`, `mean`, `std`, `skew` of its A_s."""
    rows = []
    for method, seed, found in runs:
        for own in found:
            for name, result in zip(own.names, own.normality()):
                rows.append({"method": method, "seed": seed, "class": own.class_name, "concept": name,
                             **{key: getattr(result, key) for key in ("r2", "w", "p", "count", "mean", "std", "skew")}})
    return pd.DataFrame(rows)


def vector_table(found):
    """A row per class, concept and channel of its vector: `class`, `concept`, `channel`, `weight`."""
    return pd.DataFrame([{"class": own.class_name, "concept": name, "channel": int(channel), "weight": weight}
                         for own in found for name, vector in zip(own.names, own.vectors)
                         for channel, weight in zip(vector.channels, vector.weights)])


def claims(specific, normal, ratios, races):
    """Claims of notebook 03 from `specificity_table`, `normality_table`, explained variance ratios and a race's table.

    Values are over seeds where there are several. races: of `asxai.traits.inversion.race`, or empty where it was never run.
    """
    ours = normal[normal["method"] == OURS]
    by_seed = ours.groupby("seed")
    shares = {method: own["share"] for method, own in specific.groupby("method", sort=False)}
    rows = [claim("qq_r2_min", by_seed["r2"].min(), "above .98", by_seed["r2"].min().mean() >= QQ_TARGET),
            claim("qq_r2_median", by_seed["r2"].median()), claim("shapiro_w_min", by_seed["w"].min()),
            claim("trait_explained_variance", [np.mean(ratios)])]
    above = SUPERPIXELS not in shares or shares[OURS].mean() > shares[SUPERPIXELS].mean()
    if shares[OURS].notna().any():  # else no class has several concepts
        rows.append(claim("specificity_diagonal", shares[OURS].dropna(), "higher than S-XAI, as figures show",
                          shares[OURS].mean() >= DIAGONAL_TARGET and above))
    for name, method in (("specificity_diagonal_superpixels", SUPERPIXELS), ("specificity_diagonal_boxes", BOXES)):
        if method in shares:
            rows.append(claim(name, shares[method]))
    if len(races):
        speed = races.loc[races["method"] == "fast", "speedup"].fillna(0)  # 0: never as low
        rows.append(claim("inversion_speedup", [speed.median()], "", speed.min() >= SPEED_TARGET))
    return rows


def trait_race(study, traits, concepts=3, crop=128, steps=None, fast_steps=400):
    """Both methods of inversion on the targets of the first `concepts` of a class, see `asxai.traits.inversion.race`."""
    targets = traits.targets[:concepts].to(study.model.feature_mean.device)
    return race(Network(study.model), targets, crop, steps, fast_steps)
