"""Pictures of classes that a study never saw: hybrids and strangers (section 3.4.1, Figure 5).

    regions = find_regions(explainer, pictures)                     # per picture: which class, which concept, where
    hybrids = draw_hybrids("menagerie-wild", "liger", 200, 224)     # with the true parent of every part
    table = hybrid_parts(explainer, hybrids)                        # a row per part: how often its parent is named

A region is where a concept fires most, whichever class's; every class is then asked how well that very place fits its
concepts. So a picture may have one class's head and another's legs, which a softmax cannot say.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from joblib import Parallel, cpu_count, delayed

from ..concepts.concepts import Concepts
from ..concepts.masks import semantic_masks
from ..concepts.names import is_named_after
from ..data import sources
from ..data.features import BATCH
from ..data.pictures import DataError, to_batch
from ..explain.explainer import SEEN, Explainer
from ..progress import bar
from ..study import Study
from .claims import claim_over_seeds, over_seeds, seed_row
from .detection import CONCEPTS, EXPLANATION, MSP, detection_scores, detection_table

FIRST_SEED = 6_000_000  # of drawn strangers: far from those of training and test pictures
SAME_PLACE = 0.4  # regions that overlap more than this are one
SMALLEST_PART = 40  # pixels of 224 x 224: what is hidden or tiny has no parent to find
LEAST_RESEMBLANCE = 0.4  # below it a place is said to fit no class; set by looking at drawn hybrids
PATCH = 0.25  # side of the patch beside a region, as a share of the picture's


class Region(NamedTuple):
    """A place in a picture, and how well each class's concepts fit it."""

    name: str  # of the concept that marks it
    mask: np.ndarray  # bool (size, size)
    resemblance: np.ndarray  # (class,): mean over the place of the best cosine with any vector of the class's concepts
    concepts: tuple  # (class,): the class's concept that fits best there
    pcs: np.ndarray  # (class,): PCS (eq. 13) of that concept, of its highest cosine in this place

    @property
    def best(self):
        """The class that fits best, a number."""
        return int(self.resemblance.argmax())


@torch.inference_mode()
def place_resemblance(concepts: Concepts, maps: torch.Tensor, masks: torch.Tensor) -> np.ndarray:
    """How well each class fits places, float64 `(picture, place, class)`: mean best cosine over each place's cells.

    maps: cosines, `(picture, class, basis, height, width)`. masks: bool `(picture, place, size, size)`. Background
    vectors do not count. A place of no cells has 0 everywhere.
    """
    member = torch.from_numpy(concepts.members > 0)
    best = maps.masked_fill(~member[None, :, :, None, None], -1).amax(dim=2)  # (picture, class, height, width)
    cells = F.adaptive_avg_pool2d(masks.float(), maps.shape[-2:])  # (picture, place, height, width)
    total = cells.flatten(2).sum(dim=2)[..., None]
    mean = torch.einsum("pkhw,pchw->pkc", cells, best) / total.clamp(min=1e-6)
    return torch.where(total > 0, mean, 0).double().numpy()


@torch.inference_mode()
def find_regions(explainer: Explainer, pictures: torch.Tensor, percentile: float = 95.0) -> list[list[Region]]:
    """The important regions of pictures, a list of `Region` for each, the one that fits best first.

    pictures: uint8 `(picture, 3, size, size)`. A concept marks a region where any class's vectors of it fire most.
    Regions that fit no class (resemblance below .4, or a best PCS below `SEEN`) are left out, and those at the same
    place as a better one; one is always kept.
    """
    concepts, scores, result = explainer.concepts, explainer.scores, []
    has = torch.from_numpy(concepts.members[:, :, None] == np.arange(1, concepts.count + 1))  # (class, basis, concept)
    has = has.permute(2, 0, 1)[:, None, :, :, None, None]  # (concept, 1, class, basis, 1, 1)
    for out in explainer.activate(pictures):
        # the highest vector of each concept, (picture, class, concept, height, width)
        inside = torch.stack([out.maps.masked_fill(~of_concept, -1).amax(dim=2) for of_concept in has], dim=2)
        masks = semantic_masks(inside.amax(dim=1), pictures.shape[-1], percentile)  # (picture, concept, size, size)
        resemblance = place_resemblance(concepts, out.maps, masks)
        cells = F.adaptive_max_pool2d(masks.float(), out.maps.shape[-2:]) > 0  # (picture, place, height, width)
        for i in range(len(masks)):
            # highest cosine of each class's concepts in each place: (place, class, concept)
            highest = inside[i][None].masked_fill(~cells[i][:, None, None], -1).amax(dim=(3, 4)).double().numpy()
            highest = np.where(np.isfinite(scores.mean), highest, np.nan)
            fits = np.where(np.isfinite(highest), highest, -2).argmax(axis=2)  # (place, class)
            pcs = np.nan_to_num(scores.pcs(highest), nan=-1)
            pcs = np.take_along_axis(pcs, fits[..., None], axis=2)[..., 0].clip(0)
            names = [tuple(concepts.names[c] for c in of_place) for of_place in fits]
            places = zip(concepts.names, masks[i].numpy(), resemblance[i], names, pcs)
            result.append(_apart([Region(*place) for place in places]))
    return result


def _apart(regions):
    """Regions from the best, without those that fit no class or lie where a better one does; at least one."""
    kept = []
    for region in sorted(regions, key=lambda region: -region.resemblance.max()):
        fits = region.resemblance.max() >= LEAST_RESEMBLANCE and region.pcs[region.best] >= SEEN
        # shared pixels, as a share of the smaller region's
        shared = lambda other: (region.mask & other.mask).sum() / max(1, min(region.mask.sum(), other.mask.sum()))
        if not kept or (fits and all(shared(other) <= SAME_PLACE for other in kept)):
            kept.append(region)
    return kept


def class_votes(regions: list[Region], classes: int) -> np.ndarray:
    """How much each class has of a picture's regions, `(class,)`: the PCS of each region goes to its best class."""
    best = np.array([one.best for one in regions], int)
    return np.bincount(best, [one.pcs[one.best] for one in regions], minlength=classes)


class Hybrids(NamedTuple):
    """Drawn pictures of one kind of hybrid."""

    name: str
    parents: dict  # of each part, the class that it comes from
    pictures: torch.Tensor  # uint8 (picture, 3, size, size)
    parts: np.ndarray  # uint8 (picture, height, width), as in `asxai.data.datasets.Split.part_masks`
    part_names: tuple


def hybrid_kinds(data_set: str) -> dict[str, dict]:
    """Names of the hybrids that a drawn data set knows, with the parent of each part; empty for others."""
    spec = sources._menagerie_specs().get(data_set)
    return dict(spec.hybrids) if spec else {}


def draw_hybrids(data_set: str, name: str, count: int, size: int) -> Hybrids:
    """Drawn hybrids of one of the `hybrid_kinds`, always the same ones."""
    import menagerie

    processes = min(cpu_count(), 1 + count // 32)  # one takes some seconds to start
    jobs = (delayed(menagerie.render)(data_set, name, FIRST_SEED + number) for number in range(count))
    drawn = Parallel(n_jobs=processes, return_as="generator")(jobs)
    drawn = list(bar(drawn, total=count, desc=f"drawing {name}"))
    pictures, parts = to_batch([one.picture for one in drawn], size), np.stack([one.parts for one in drawn])
    return Hybrids(name, hybrid_kinds(data_set)[name], pictures, parts, tuple(menagerie.DATA_SETS[data_set].parts))


def hybrid_parts(explainer: Explainer, hybrids: Hybrids) -> pd.DataFrame:
    """A row per visible part of each picture: `hybrid`, `picture`, `part`, `parent`, `found`, `right`, `right_among`.

    Here the true part is the region, so that only the question "which class?" is open. `found` is the class that fits
    best, `right` whether it is the parent, `right_among` whether the parent fits best of all parents.
    """
    class_names, rows = list(explainer.study.class_names), []
    masks = torch.from_numpy(hybrids.parts)[:, None] == torch.arange(1, len(hybrids.part_names) + 1)[:, None, None]
    batches = zip(masks.split(BATCH), explainer.activate(hybrids.pictures))
    batches = bar(batches, total=-(-len(masks) // BATCH), desc=f"parts of {hybrids.name}")
    fits = np.concatenate([place_resemblance(explainer.concepts, out.maps, batch) for batch, out in batches])
    visible = masks.flatten(2).sum(dim=2).numpy() >= SMALLEST_PART  # (picture, part)
    among = [class_names.index(parent) for parent in sorted(set(hybrids.parents.values()))]
    for k, part in enumerate(hybrids.part_names):
        for i in np.flatnonzero(visible[:, k]) if part in hybrids.parents else ():
            parent, best = class_names.index(hybrids.parents[part]), int(fits[i, k].argmax())
            right_among = among[int(fits[i, k, among].argmax())] == parent
            named = (class_names[parent], class_names[best], best == parent, right_among)
            rows.append((hybrids.name, int(i), part, *named))
    return pd.DataFrame(rows, columns=["hybrid", "picture", "part", "parent", "found", "right", "right_among"])


def parts_summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row per hybrid and part: `parent`, `pictures`, `right`, `right_among`, and the class named most often."""
    most_often = ("found", lambda names: names.mode().iloc[0])
    means = {"parent": ("parent", "first"), "pictures": ("part", "size")}
    means |= {"right": ("right", "mean"), "right_among": ("right_among", "mean"), "most often": most_often}
    return table.groupby(["hybrid", "part"], sort=False).agg(**means).reset_index()


def parents_table(explainer: Explainer, hybrids: Hybrids) -> pd.DataFrame:
    """A row per picture: are all its parents among as many best classes? By concepts and by the network's softmax.

    Columns `hybrid`, `picture`, `predicted`, `probability`, `concepts` and `softmax` (bool). Classes are ordered by
    their summed PCS over the concepts.
    """
    class_names = explainer.study.class_names
    parents = {class_names.index(parent) for parent in hybrids.parents.values()}
    pcs, softmax = explainer.pcs(hybrids.pictures)
    best = lambda values: np.argsort(-values, axis=1, kind="stable")[:, : len(parents)].tolist()
    columns = {"hybrid": hybrids.name, "picture": range(len(softmax))}
    columns |= {"predicted": [class_names[c] for c in softmax.argmax(axis=1)], "probability": softmax.max(axis=1)}
    columns |= {"concepts": [set(row) == parents for row in best(np.nansum(pcs, axis=2))]}
    columns |= {"softmax": [set(row) == parents for row in best(softmax)]}
    return pd.DataFrame(columns)


def region_sheet(explainer: Explainer, picture: torch.Tensor, percentile=95.0, title="") -> dict:
    """What `asxai.figures.ood.region_panel` draws of one uint8 picture `(3, size, size)`."""
    regions = find_regions(explainer, picture[None], percentile)[0]
    return {
        "picture": picture.permute(1, 2, 0).numpy(),
        "masks": np.stack([region.mask for region in regions]),
        "names": [place_name(explainer.concepts, region) for region in regions],
        "scores": np.stack([region.resemblance.clip(0) for region in regions]),
        "class_names": list(explainer.study.class_names),
        "probabilities": explainer.pcs(picture[None])[1][0],
        "title": title,
        "exemplars": [concept_patch(explainer, one.best, one.concepts[one.best]) for one in regions],
        "quantity": "mean best cosine",
    }


def place_name(concepts: Concepts, region: Region) -> str:
    """What the class on top calls the concept that marks a place; "concept k" where it has none."""
    k = concepts.names.index(region.name) + 1
    return concepts.names_in(region.best)[k - 1] if k in concepts.of_class(region.best) else f"concept {k}"


def place_parents(hybrids: Hybrids, picture: int, masks: np.ndarray) -> list[str]:
    """The parent that has more pixels of a place than any other, a name per mask.

    It is "" where more than half of the place is background: that is no part of the object.
    masks: bool `(place, height, width)`, of any size. Of equal parents the first in the order of parts counts.
    """
    parts = hybrids.parts[picture]
    middles = [((np.arange(count) + 0.5) * of / count).astype(int) for count, of in zip(masks.shape[1:], parts.shape)]
    each = [hybrids.parents.get(part) for part in hybrids.part_names]
    names = list(dict.fromkeys(filter(None, each)))
    owners = np.array([0, *(1 + names.index(parent) if parent else 0 for parent in each)])[parts[np.ix_(*middles)]]
    pixels = np.stack([(masks & (owners == k)).sum(axis=(1, 2)) for k in range(1, len(names) + 1)], axis=1)
    beside = (masks & (parts[np.ix_(*middles)] == 0)).sum(axis=(1, 2)) > masks.sum(axis=(1, 2)) / 2
    return ["" if out or not each.any() else names[each.argmax()] for each, out in zip(pixels, beside)]


def concept_patch(explainer: Explainer, label: int, name: str) -> np.ndarray:
    """Around the patch of a training picture that a vector of this class's concept became, uint8 (side, side, 3).

    The vector is the concept's of the largest weight for its class.
    """
    study, concepts, table = explainer.study, explainer.concepts, explainer.study.prototypes
    vectors = np.flatnonzero(concepts.members[label] == concepts.names.index(name) + 1)
    of_concept = table[(table["class"] == study.class_names[label]) & table["basis"].isin(vectors)]
    row, size = of_concept.loc[of_concept["weight"].idxmax()], study.config.size
    picture, side = study.pictures([study.data.train.paths[row["picture"]]])[0], round(PATCH * size)
    corner = ((row[axis] + 0.5) * size / explainer.grid - side / 2 for axis in ("row", "column"))
    top, left = (int(np.clip(at, 0, size - side)) for at in corner)
    return picture[top : top + side, left : left + side]


def folder_pictures(folder: str | Path, size: int) -> dict[str, tuple[list[str], torch.Tensor]]:
    """Pictures of strangers, `{kind: (file names, uint8 (picture, 3, size, size))}`, from a folder per kind.

    Raises `asxai.data.pictures.DataError` for a folder without such folders, or pictures that cannot be read.
    """
    place, kinds = Path(folder).expanduser(), {}
    for kind in sorted(place.iterdir()) if place.is_dir() else ():
        files = sorted(path for path in kind.glob("[!.]*") if path.is_file())
        if files:
            kinds[kind.name] = ([path.name for path in files], to_batch(files, size))
    if not kinds:
        raise DataError(f"strangers={str(folder)!r} holds no folders of pictures; give one with a folder per kind")
    return kinds


def folder_votes(explainer: Explainer, folder: str | Path, percentile=95.0) -> tuple[pd.DataFrame, dict[str, dict]]:
    """Which classes the places of strangers resemble: a table, and a `region_sheet` of the first picture of each kind.

    The table has a row per picture and class: `kind`, `picture`, `predicted`, `probability`, `class`, `share` of the
    picture's votes (`class_votes`), 0 everywhere where it has none.
    """
    class_names, rows, panels = explainer.study.class_names, [], {}
    for kind, (names, pictures) in folder_pictures(folder, explainer.study.config.size).items():
        _, softmax = explainer.pcs(pictures)
        for name, regions, probabilities in zip(names, find_regions(explainer, pictures, percentile), softmax):
            votes = class_votes(regions, len(class_names))
            answer = (kind, name, class_names[probabilities.argmax()], probabilities.max())
            rows += [(*answer, *each) for each in zip(class_names, votes / max(votes.sum(), 1e-12))]
        panels[kind] = region_sheet(explainer, pictures[0], percentile, f"{kind}: {names[0]}")
    return pd.DataFrame(rows, columns=["kind", "picture", "predicted", "probability", "class", "share"]), panels


def concept_means(explainer: Explainer, species: list[str]) -> pd.DataFrame:
    """Mean PCS of each concept over test pictures of some classes: `class`, `concept`, `pcs`, highest first."""
    study, test, rows = explainer.study, explainer.study.data.test, []
    if unknown := set(species) - set(study.class_names):
        known = ", ".join(study.class_names)
        raise ValueError(f"species: {sorted(unknown)} are no classes of {study.data.name}; there are {known}")
    scores, _ = explainer.split_pcs(test)
    for name in species:
        label = study.label_of(name)
        means = scores[test.labels == label, label].mean(axis=0)  # NaN where the class lacks a concept
        each = zip(explainer.concepts.names, means)
        rows += [(name, concept, mean) for concept, mean in each if np.isfinite(mean)]
    table = pd.DataFrame(rows, columns=["class", "concept", "pcs"])
    return table.sort_values(["class", "pcs"], ascending=[True, False], kind="stable", ignore_index=True)


def ranked_means(plants: pd.DataFrame, parts: list[str]) -> pd.DataFrame:
    """Mean PCS of the concepts named after each of some parts, a row per class: `class` and a column per part.

    plants: of `concept_means`. NaN where a class has no concept of that name.
    """
    named = {part: plants[[is_named_after(name, part) for name in plants["concept"]]] for part in parts}
    means = {part: table.groupby("class")["pcs"].mean() for part, table in named.items()}
    return pd.DataFrame(means, index=plants["class"].unique()).rename_axis("class").reset_index()


def seed_claims(study: Study, drawn: dict[str, Hybrids], unknown: torch.Tensor, first_kind: str) -> pd.DataFrame:
    """Claims of another study on the same pictures, a table of one row; drawn: `{kind: Hybrids}`, unknown: all of them
    and other strangers, uint8 `(picture, 3, size, size)`."""
    explainer, nothing = Explainer(study), pd.DataFrame()
    tables = [[of(explainer, one) for one in drawn.values()] for of in (hybrid_parts, parents_table)]
    parts, parents = (pd.concat(own) if own else nothing for own in tables)
    known, strange = (detection_scores(explainer, one) for one in (study.data.test, unknown))
    tables = (parts, parents, detection_table(known, strange, draws=2), nothing)
    return seed_row(study.config.seed, claims(*tables, first_kind, [], nothing))


def claims(parts, parents, detection, plants, first_kind, ranks_above, others, ranks_paper="") -> list[dict]:
    """Claims of notebook 05, from tables or empty ones.

    parts, parents, detection, plants: of `hybrid_parts`, `parents_table`, `detection_table`, `concept_means`
    first_kind: the hybrid whose parents the paper names. ranks_above: two names of concepts; the mean PCS of those
    named after the first should be above that of the second, in every class of plants; ranks_paper: what the paper has
    for them. others: rows of `seed_claims` of other seeds, whose values enter means and spreads
    """
    claim, rows = partial(claim_over_seeds, others), []
    if len(parents):
        by_kind = parents.groupby("hybrid")[["concepts", "softmax"]].mean()
        if first_kind in by_kind.index:
            both = by_kind.loc[first_kind, "concepts"]
            rows.append(claim(f"hybrid_parents_top2: {first_kind}", both, "both are found", lambda mean: mean >= 0.95))
        means = by_kind.mean()
        rows.append(claim("hybrid_parents_all_kinds", means["concepts"], "", lambda mean: mean >= 0.95))
        rows.append(claim("hybrid_parents_all_kinds_softmax", means["softmax"]))
    if len(parts):
        right = parts["right"].mean()
        rows.append(claim("hybrid_part_accuracy", right, "as figures show", lambda mean: mean >= 0.8))
    if len(detection):
        table = detection[detection["measure"] == "AUROC"].set_index("method")
        auroc, slack = table["value"], (table["high"] - table["value"])[EXPLANATION]  # of chance, over pictures
        best = auroc.drop([EXPLANATION, CONCEPTS]).max()  # whichever is best on a seed counts there
        baseline = np.mean(over_seeds(others, "ood_auroc_best_baseline", best))
        rows.append(claim("ood_auroc_explanation", auroc[EXPLANATION], "", lambda mean: mean + slack >= baseline))
        rows += [claim("ood_auroc_concept_lead", auroc[CONCEPTS]), claim("ood_auroc_msp", auroc[MSP])]
        rows.append(claim("ood_auroc_best_baseline", best))
    if len(plants):
        first, second = ranks_above
        means = ranked_means(plants, ranks_above)
        leads = (means[first] - means[second]).to_numpy()
        if np.isfinite(leads).all():  # one value: the spread of a claim is over seeds, not over classes
            holds = lambda _: leads.min() > 0
            rows.append(claim(f"{first}s_above_{second}_pcs", leads.mean(), ranks_paper, holds))
    return rows
