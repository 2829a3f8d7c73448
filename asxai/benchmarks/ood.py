"""Pictures of classes that a study never saw: hybrids and strangers (section 3.4.1, Figure 5), and how to notice them.

    found = find_regions(explainer, pictures)               # per picture, the regions: which class, which concept
    hybrids = draw_hybrids("menagerie-wild", "liger", 200, 224)     # with the true parent of every part
    table = hybrid_parts(explainer, hybrids)                # a row per part: how often its parent was found
    known, strange = (detection_scores(explainer, own) for own in (study.data.test, hybrids.pictures))
    table = detection_table(known, strange)                 # AUROC of PCS beside four detectors of pytorch-ood

A region is where a concept fires most, whichever class's; every class is then asked how well that very place fits its
own concepts. So a picture may have one class's head and another's legs, which a softmax cannot say.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from ..concepts.masks import semantic_masks
from ..concepts.names import is_named_after
from ..data.features import BATCH
from ..data.pictures import DataError, to_batch
from ..explain.explainer import SEEN, Explainer
from ..progress import bar
from ..results import claim
from .detection import CONCEPTS, MSP, PCS, detection_scores, detection_table

FIRST_SEED = 6_000_000  # of drawn strangers: far from those of training and test pictures
SAME_PLACE = 0.4  # regions that overlap more than this are one
SMALLEST_PART = 40  # pixels of 224 x 224: what is hidden or tiny has no parent to find
LEAST_RESEMBLANCE = 0.4  # below it a place is said to fit no class; set by looking at drawn hybrids


# --- Regions and the classes they resemble ---------------------------------------------------------------------------


class Region(NamedTuple):
    """A place in a picture, and how well each class's concepts fit it."""

    name: str  # of the concept that marks it
    mask: np.ndarray  # bool (size, size)
    resemblance: np.ndarray  # (class,): mean over the place of the best cosine with any vector of the class's concepts
    concepts: tuple  # (class,): the class's concept that fits best there
    pcs: np.ndarray  # (class,): PCS (eq. 13) of that concept, of its highest cosine in this place

    def best(self, count=3):
        """Classes that fit best, in order, `(count,)` indices."""
        return np.argsort(-self.resemblance, kind="stable")[:count]


@torch.inference_mode()
def place_resemblance(concepts, maps, masks):
    """How well each class fits places, float64 `(picture, place, class)`: mean best cosine over each place's cells.

    maps: cosines, `(picture, class, basis, height, width)`. masks: bool `(picture, place, size, size)`. Background
    vectors do not count. A place of no cells has 0 everywhere.
    """
    member = torch.from_numpy(concepts.members > 0)
    best = maps.masked_fill(~member[None, :, :, None, None], -1).amax(dim=2)  # (picture, class, height, width)
    cells = F.adaptive_avg_pool2d(masks.float(), maps.shape[-2:])  # (picture, place, height, width)
    total = cells.flatten(2).sum(dim=2)[..., None]
    found = torch.einsum("pkhw,pchw->pkc", cells, best) / total.clamp(min=1e-6)
    return torch.where(total > 0, found, 0).double().numpy()


@torch.inference_mode()
def find_regions(explainer, pictures, percentile=95.0, least=SEEN):
    """The important regions of pictures, a list of `Region` for each, the one that fits best first.

    pictures: uint8 `(picture, 3, size, size)`. A concept marks a region where any class's vectors of it fire most.
    Regions that fit no class (resemblance below .4, or a best PCS below `least`) are left out, and those at the same
    place as a better one; one is always kept.
    """
    concepts, scores, result = explainer.concepts, explainer.scores, []
    has = torch.from_numpy(concepts.members[:, :, None] == np.arange(1, concepts.count + 1))  # (class, basis, concept)
    for out in explainer.activate(pictures):
        marks, inside = [], []
        for k in range(concepts.count):  # (picture, class, height, width): the highest vector of concept k
            own = out.maps.masked_fill(~has[None, :, :, k, None, None], -1).amax(dim=2)
            marks.append(own.amax(dim=1))
            inside.append(own)
        marks, inside = torch.stack(marks, dim=1), torch.stack(inside, dim=2)  # ..., (picture, class, concept, h, w)
        masks = semantic_masks(marks, pictures.shape[-1], percentile)  # (picture, concept, size, size)
        resemblance = place_resemblance(concepts, out.maps, masks)
        cells = F.adaptive_max_pool2d(masks.float(), out.maps.shape[-2:]) > 0  # (picture, place, h, w)
        for i in range(len(masks)):
            # highest cosine of each class's concepts in each place: (place, class, concept)
            highest = inside[i][None].masked_fill(~cells[i][:, None, None], -1).amax(dim=(3, 4)).double().numpy()
            highest = np.where(np.isfinite(scores.mean), highest, np.nan)
            pcs = np.nan_to_num(scores.pcs(highest), nan=-1)
            fits = np.where(np.isfinite(highest), highest, -2).argmax(axis=2)  # (place, class)
            of_fit = np.take_along_axis(pcs, fits[..., None], axis=2)[..., 0].clip(0)
            found = [Region(name, masks[i, k].numpy(), resemblance[i, k],
                            tuple(concepts.names[c] for c in fits[k]), of_fit[k])
                     for k, name in enumerate(concepts.names)]
            result.append(_apart(found, least))
    return result


def _apart(regions, least):
    """Regions from the best, without those that fit no class or lie where a better one does; at least one."""
    kept = []
    for region in sorted(regions, key=lambda own: -own.resemblance.max()):
        fits = region.resemblance.max() >= LEAST_RESEMBLANCE and region.pcs[region.best(1)[0]] >= least
        # shared pixels, as a share of the smaller region's
        apart = all((region.mask & other.mask).sum() <= SAME_PLACE * min(region.mask.sum(), other.mask.sum())
                    for other in kept)
        if not kept or (fits and apart):
            kept.append(region)
    return kept


def class_votes(regions, classes):
    """How much each class has of a picture's regions, `(class,)`: the PCS of each region goes to its best class."""
    votes = np.zeros(classes)
    for own in regions:
        best = own.best(1)[0]
        votes[best] += own.pcs[best]
    return votes


# --- Hybrids with known parents --------------------------------------------------------------------------------------


class Hybrids(NamedTuple):
    """Drawn pictures of one kind of hybrid."""

    name: str
    parents: dict  # of each part, the class that it comes from
    pictures: torch.Tensor  # uint8 (picture, 3, size, size)
    parts: np.ndarray  # uint8 (picture, height, width), as in `asxai.data.datasets.Split.part_masks`
    part_names: tuple


def hybrid_kinds(data_set):
    """Names of the hybrids that a drawn data set knows, with the parent of each part; empty for others."""
    from ..data.sources import _menagerie_specs

    spec = _menagerie_specs().get(data_set)
    return dict(spec.hybrids) if spec else {}


def draw_hybrids(data_set, name, count, size, first_seed=FIRST_SEED):
    """`Hybrids` of one kind, the same for the same seeds. Raises ValueError for a kind that is not known."""
    import menagerie

    kinds = hybrid_kinds(data_set)
    if name not in kinds:
        raise ValueError(f"name={name!r} is no hybrid of {data_set!r}; it knows {', '.join(kinds) or 'none'}")
    processes = min(cpu_count(), 1 + count // 32)  # one takes some seconds to start
    drawn = Parallel(n_jobs=processes, return_as="generator")(
        delayed(menagerie.render)(data_set, name, first_seed + number) for number in range(count))
    drawn = list(bar(drawn, total=count, desc=f"drawing {name}"))
    return Hybrids(name, kinds[name], to_batch([own.picture for own in drawn], size),
                   np.stack([own.parts for own in drawn]), tuple(menagerie.DATA_SETS[data_set].parts))


def hybrid_parts(explainer, hybrids):
    """A row per visible part of each picture: `hybrid`, `picture`, `part`, `parent`, `found`, `right`, and
    `right_among` whether the parent fits best of all parents.

    Here the true part is the region, so that only the question "which class?" is open. Raises ValueError for parents
    that are no classes of the study.
    """
    class_names, rows = list(explainer.study.class_names), []
    _check_parents(class_names, hybrids)
    pixels = np.stack([(hybrids.parts == k).sum(axis=(1, 2)) for k in range(1, len(hybrids.part_names) + 1)], axis=1)
    masks = torch.from_numpy(hybrids.parts)[:, None] == torch.arange(1, len(hybrids.part_names) + 1)[:, None, None]
    outs = bar(list(range(0, len(masks), BATCH)), desc=f"parts of {hybrids.name}")
    found = np.concatenate([place_resemblance(explainer.concepts, out.maps, masks[start:start + BATCH])
                            for start, out in zip(outs, explainer.activate(hybrids.pictures))])
    among = [class_names.index(parent) for parent in sorted(set(hybrids.parents.values()))]
    for k, part in enumerate(hybrids.part_names):
        if part not in hybrids.parents:
            continue
        own = class_names.index(hybrids.parents[part])
        for i in np.flatnonzero(pixels[:, k] >= SMALLEST_PART):
            best = int(found[i, k].argmax())
            rows.append({"hybrid": hybrids.name, "picture": int(i), "part": part, "parent": class_names[own],
                         "found": class_names[best], "right": best == own,
                         "right_among": among[int(found[i, k, among].argmax())] == own})
    return pd.DataFrame(rows)


def parts_summary(table):
    """A row per hybrid and part: `parent`, `pictures`, `right`, `right_among`, and the class found most often."""
    rows = []
    for (hybrid, part), own in table.groupby(["hybrid", "part"], sort=False):
        rows.append({"hybrid": hybrid, "part": part, "parent": own["parent"].iloc[0], "pictures": len(own),
                     "right": own["right"].mean(), "right_among": own["right_among"].mean(),
                     "most often": own["found"].mode().iloc[0]})
    return pd.DataFrame(rows)


def parents_table(explainer, hybrids):
    """A row per picture: are all its parents among as many best classes? By concepts and by the network's softmax.

    Columns `hybrid`, `picture`, `predicted`, `probability`, `concepts` and `softmax` (bool). Classes are ordered by
    their summed PCS over the concepts. Raises ValueError for parents that are no classes of the study.
    """
    class_names = explainer.study.class_names
    _check_parents(class_names, hybrids)
    parents = {class_names.index(parent) for parent in hybrids.parents.values()}
    pcs, probabilities = explainer.pcs(hybrids.pictures)
    best = lambda values: [set(row[:len(parents)].tolist()) == parents
                           for row in np.argsort(-values, axis=1, kind="stable")]
    labels = probabilities.argmax(axis=1)
    return pd.DataFrame({"hybrid": hybrids.name, "picture": range(len(labels)),
                         "predicted": [class_names[label] for label in labels],
                         "probability": probabilities.max(axis=1), "concepts": best(np.nansum(pcs, axis=2)),
                         "softmax": best(probabilities)})


def _check_parents(class_names, hybrids):
    if unknown := sorted(set(hybrids.parents.values()) - set(class_names)):
        raise ValueError(f"hybrids {hybrids.name!r} have parents that the study does not know: {', '.join(unknown)}; "
                         "use a study of the data set that they were drawn for")


# --- What a notebook shows -------------------------------------------------------------------------------------------


def region_sheet(explainer, picture, percentile=95.0, title=""):
    """What `asxai.figures.ood.region_panel` draws of one uint8 picture `(3, size, size)`, a dict."""
    study, regions = explainer.study, find_regions(explainer, picture[None], percentile)[0]
    _, probabilities = explainer.pcs(picture[None])
    patches = [concept_patch(explainer, best, own.concepts[best])
               for own in regions for best in own.best(1)]
    return {"picture": picture.permute(1, 2, 0).numpy(), "masks": np.stack([own.mask for own in regions]),
            "names": [own.name for own in regions], "scores": np.stack([own.resemblance.clip(0) for own in regions]),
            "class_names": list(study.class_names), "probabilities": probabilities[0], "title": title,
            "exemplars": patches, "quantity": "mean best cosine"}


def hybrid_sheet(explainer, hybrids, percentile=95.0, title="", picture=0):
    """`region_sheet` of one drawn hybrid, with the true parent of each place (`place_parents`)."""
    sheet = region_sheet(explainer, hybrids.pictures[picture], percentile, title)
    return sheet | {"truths": place_parents(hybrids, picture, sheet["masks"])}


def place_parents(hybrids, picture, masks):
    """The parent that has more pixels of a place than any other, a name per mask, "" for mere background.

    masks: bool `(place, height, width)`, of any size. Of equal parents the first in the order of parts counts.
    """
    parts = hybrids.parts[picture]
    rows, columns = (((np.arange(count) + 0.5) * of / count).astype(int)
                     for count, of in zip(masks.shape[1:], parts.shape))
    names = list(dict.fromkeys(hybrids.parents[part] for part in hybrids.part_names if part in hybrids.parents))
    owners = np.array([0, *(1 + names.index(hybrids.parents[part]) if part in hybrids.parents else 0
                            for part in hybrids.part_names)])[parts[np.ix_(rows, columns)]]
    pixels = np.stack([(masks & (owners == k)).sum(axis=(1, 2)) for k in range(1, len(names) + 1)], axis=1)
    return [names[own.argmax()] if own.any() else "" for own in pixels]


def places_told(sheet):
    """How many places of a `hybrid_sheet` are given to their true parent, and which are not, a sentence."""
    said = [sheet["class_names"][best] for best in sheet["scores"].argmax(axis=1)]
    known = [own for own in zip(sheet["names"], said, sheet["truths"]) if own[2]]
    wrong = [f"{name} (of {truth}) is given to {found}" for name, found, truth in known if found != truth]
    count = len(known) - len(wrong)
    return (f"{count} of {len(known)} places {'is' if count == 1 else 'are'} given to their true parent"
            + (": " + ", ".join(wrong) if wrong else "") + ".")


def kinds_told(parents):
    """For which kinds of hybrids concepts find all parents more often than the softmax does, and for which less.

    parents: of `parents_table`, of one kind or several; "" for an empty table.
    """
    if not len(parents):
        return ""
    table = parents.groupby("hybrid", sort=False).agg(concepts=("concepts", "mean"), softmax=("softmax", "mean"),
                                                      pictures=("picture", "size"))
    difference = table["concepts"] - table["softmax"]
    groups = (("more often than the softmax", difference > 0), ("less often than the softmax", difference < 0),
              ("as often as the softmax", difference == 0))
    each = {kind: f"{kind} ({100 * row['concepts']:.1f} % against {100 * row['softmax']:.1f} %)"
            for kind, row in table.iterrows()}
    told = [f"{how} for {', '.join(each[kind] for kind in table.index[own])}" for how, own in groups if own.any()]
    low, high = table["pictures"].min(), table["pictures"].max()
    concepts, softmax = 100 * table[["concepts", "softmax"]].mean()
    return (f"Concepts find all parents {'; '.join(told)}. The mean over kinds ({len(table)}, of "
            f"{low if low == high else f'{low} to {high}'} pictures each) is {concepts:.1f} % by concepts and "
            f"{softmax:.1f} % by the softmax.")


def concept_patch(explainer, label, name, share=0.25):
    """Around the patch of a training picture that a vector of this class's concept became, uint8 (side, side, 3).

    The vector is the concept's of the largest weight for its class; share: side of the window over that of the picture.
    """
    study, concepts, table = explainer.study, explainer.concepts, explainer.study.prototypes
    vectors = np.flatnonzero(concepts.members[label] == concepts.names.index(name) + 1)
    own = table[(table["class"] == study.class_names[label]) & table["basis"].isin(vectors)]
    row = own.loc[own["weight"].idxmax()]
    picture, size = study.pictures([study.data.train.paths[row["picture"]]])[0], study.config.size
    side = round(share * size)
    top, left = (int(np.clip((row[axis] + 0.5) * size / explainer.grid - side / 2, 0, size - side))
                 for axis in ("row", "column"))
    return picture[top:top + side, left:left + side]


def every_picture(drawn):
    """Pictures of all kinds of hybrids, one tensor; drawn: `{kind: Hybrids}`."""
    return torch.cat([own.pictures for own in drawn.values()])


def folder_pictures(folder, size):
    """Pictures of strangers, `{kind: (file names, uint8 (picture, 3, size, size))}`, from a folder per kind.

    Raises `asxai.data.pictures.DataError` for a folder without such folders, or pictures that cannot be read.
    """
    place = Path(folder).expanduser()
    kinds = {own.name: sorted(path for path in own.iterdir() if path.is_file() and not path.name.startswith("."))
             for own in sorted(place.iterdir()) if own.is_dir()} if place.is_dir() else {}
    if not any(kinds.values()):
        raise DataError(f"strangers={str(folder)!r} holds no folders of pictures; give a folder with one folder per "
                        "kind")
    return {kind: ([path.name for path in files], to_batch(files, size)) for kind, files in kinds.items() if files}


def folder_votes(explainer, folder, percentile=95.0):
    """Which classes the places of strangers resemble: a table, and the panel of the first picture of each kind.

    The table has a row per picture and class: `kind`, `picture`, `predicted`, `probability`, `class`, `share` of the
    picture's votes (`class_votes`), 0 everywhere where it has none. Panels are what
    `asxai.figures.ood.region_panel` takes.
    """
    study, rows, panels = explainer.study, [], {}
    for kind, (names, pictures) in folder_pictures(folder, study.config.size).items():
        _, probabilities = explainer.pcs(pictures)
        for name, regions, own in zip(names, find_regions(explainer, pictures, percentile), probabilities):
            votes = class_votes(regions, len(study.class_names))
            rows += [{"kind": kind, "picture": name, "predicted": study.class_names[own.argmax()],
                      "probability": own.max(), "class": class_name, "share": vote / max(votes.sum(), 1e-12)}
                     for class_name, vote in zip(study.class_names, votes)]
        panels[kind] = region_sheet(explainer, pictures[0], percentile, f"{kind}: {names[0]}")
    columns = ["kind", "picture", "predicted", "probability", "class", "share"]
    return pd.DataFrame(rows, columns=columns), panels


def concept_means(explainer, species):
    """Mean PCS of each concept over test pictures of some classes: `class`, `concept`, `pcs`, highest first."""
    study, rows = explainer.study, []
    scores, _ = explainer.split_pcs(study.data.test)
    for name in species:
        if name not in study.class_names:
            raise ValueError(f"species: {name!r} is no class of {study.data.name}; there are "
                             f"{', '.join(study.class_names)}")
        label = study.label_of(name)
        own = scores[study.data.test.labels == label, label]
        rows += [{"class": name, "concept": concept, "pcs": own[:, k].mean()}
                 for k, concept in enumerate(explainer.concepts.names) if np.isfinite(own[:, k]).all()]
    table = pd.DataFrame(rows, columns=["class", "concept", "pcs"])
    return table.sort_values(["class", "pcs"], ascending=[True, False], kind="stable", ignore_index=True)


def first_picture(split, study, class_name):
    """Path of the first picture of a class in a split."""
    return split.paths[int(np.flatnonzero(split.labels == study.label_of(class_name))[0])]


def ranked_means(plants, ranks_above):
    """Mean PCS of the concepts named after each of two parts, a row per class: `class` and a column per part.

    plants: of `concept_means`. NaN where a class has no concept of that name.
    """
    rows = [{"class": one, **{part: own.loc[[is_named_after(name, part) for name in own["concept"]], "pcs"].mean()
                              for part in ranks_above}}
            for one, own in (plants.groupby("class", sort=False) if len(plants) else ())]
    return pd.DataFrame(rows, columns=["class", *ranks_above])


def ranks_told(plants, ranks_above):
    """Which concept has the highest PCS of each class, and whether the first part is above the second, sentences."""
    means, told = ranked_means(plants, ranks_above).set_index("class"), []
    for one, own in plants.groupby("class", sort=False) if len(plants) else ():
        top = own.loc[own["pcs"].idxmax()]
        pair = " and ".join(f"{part} {means.loc[one, part]:.2f}" for part in ranks_above
                            if pd.notna(means.loc[one, part]))
        told.append(f"Of {one} the highest is {top['concept']} ({top['pcs']:.2f})"
                    + (f"; as means over concepts of one name, {pair}" if pair else "") + ".")
    if len(both := means.dropna()):
        first, second = ranks_above
        above = int((both[first] > both[second]).sum())
        told.append(f"The paper's order, {first} above {second}, is found for {above} of {len(both)} "
                    f"class{'es' if len(both) > 1 else ''}"
                    + (": here it is the reverse." if (both[first] < both[second]).all() else "."))
    return " ".join(told)


# --- Claims ----------------------------------------------------------------------------------------------------------


def summary_row(seed, parts, parents, detection, first_kind):
    """The claims of one seed side by side, a table of one row; arguments as for `claims`."""
    rows = claims(parts, parents, detection, pd.DataFrame(), first_kind, ())
    return pd.DataFrame([{"seed": seed, **{row["claim"]: row["here"] for row in rows}}])


def seed_row(study, drawn, first_kind):
    """`summary_row` of another study on the same hybrids; drawn: `{kind: Hybrids}`."""
    explainer = Explainer(study)
    parts, parents = (pd.concat([of(explainer, own) for own in drawn.values()]) for of in (hybrid_parts, parents_table))
    known, strange = (detection_scores(explainer, own) for own in (study.data.test, every_picture(drawn)))
    return summary_row(study.config.seed, parts, parents, detection_table(known, strange, draws=2), first_kind)


def claims(parts, parents, detection, plants, first_kind, ranks_above, others=None, ranks_paper=""):
    """Claims of notebook 05; parts, parents of `hybrid_parts` and `parents_table`, detection of `detection_table`,
    plants of `concept_means`, or empty tables.

    first_kind: the hybrid whose parents the paper names. ranks_above: two names of concepts; the mean PCS of those
    named after the first should be above that of the second, in every class of plants; ranks_paper: what the paper has
    for them. others: rows of `summary_row` of other seeds, whose values enter means and spreads
    """
    def values(name, own):
        more = others[name].dropna() if others is not None and name in others else []
        return np.array([own, *more])

    rows = []
    own = parents[parents["hybrid"] == first_kind] if len(parents) else parents
    if len(own):
        both = values("hybrid_parents_top2", own["concepts"].mean())
        rows.append(claim("hybrid_parents_top2", both, "both are found", both.mean() >= 0.95))
    if len(parents):
        means = parents.groupby("hybrid")[["concepts", "softmax"]].mean().mean()
        every = values("hybrid_parents_all_kinds", means["concepts"])
        softmax = values("hybrid_parents_all_kinds_softmax", means["softmax"])
        rows += [claim("hybrid_parents_all_kinds", every, "", every.mean() >= 0.95),
                 claim("hybrid_parents_all_kinds_softmax", softmax)]
    if len(parts):
        right = values("hybrid_part_accuracy", parts["right"].mean())
        rows.append(claim("hybrid_part_accuracy", right, "as figures show", right.mean() >= 0.8))
    if len(detection):
        auroc = detection[detection["measure"] == "AUROC"].set_index("method")["value"]
        rivals = auroc.drop([PCS, CONCEPTS])  # whichever is best on a seed counts there
        softmax = values("ood_auroc_msp", auroc[MSP])
        for name, method in (("ood_auroc_pcs", PCS), ("ood_auroc_concept_lead", CONCEPTS)):
            here = values(name, auroc[method])
            rows.append(claim(name, here, "", here.mean() >= softmax.mean()))
        rows += [claim("ood_auroc_msp", softmax),
                 claim("ood_auroc_best_baseline", values("ood_auroc_best_baseline", rivals.max()))]
    if len(plants):
        means = ranked_means(plants, ranks_above)
        differences = (means[ranks_above[0]] - means[ranks_above[1]]).to_numpy()
        if np.isfinite(differences).all():
            # one value: the spread of a claim is over seeds, not over classes
            first, second = ranks_above
            rows.append(claim(f"{first}s_above_{second}_pcs", differences.mean(), ranks_paper, differences.min() > 0))
    return rows
