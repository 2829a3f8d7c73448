"""Semantic concepts: basis vectors grouped by where they fire, and matched across classes, without labels of parts.

    own = own_maps(maps, labels)                                   # cosines with the vectors of the own class
    concepts = find_concepts(own, labels, features, class_names)   # of training pictures
    concepts = concepts.renamed(name_by_parts(concepts.winners(naming, naming_labels), parts, part_names,
                                              concepts.count))
    winners = concepts.winners(test, test_labels)                  # for `asxai.agreement`

The paper's published code sorts pictures of masks into concept folders by hand. Here `own` are always the activation
maps of each picture's own class, `(picture, basis, height, width)`. A concept is a number 1..count with members in one
or more classes; 0 is the background. Maps and masks are tensors, whole numbers are NumPy arrays.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from .agreement import CELLS, part_iou
from .masks import semantic_masks, upsample
from .paths import write_atomically

LEAST_WON = 0.002  # share of its class's cells below which what a vector wins is too little to judge it by
STRONGEST = 0.01  # share of its class's cells, those of its highest cosines, by which it is judged then
LEAST_SEEN = 0.005  # share of a picture's cells, 4 of 28 x 28, that a concept must win to be there at all
LEAST_IOU = 0.05  # of a concept and a part that may name it
BATCH = 64  # pictures whose maps are held at picture resolution at once
FORMAT = 1  # of the file of names
HOW = ("Write what each concept shows between the quotes after its name. The figures of concepts (02_concepts_... and "
       "10_concepts_...) have them by number. A name may stand twice; one that stays empty is none.")
SHOWN = 4  # sources of a concept's exemplars in that file


def own_maps(maps, labels):
    """Of maps `(picture, class, basis, height, width)` those of the own class, `(picture, basis, height, width)`."""
    maps, labels = torch.as_tensor(maps), torch.as_tensor(labels).long()
    return maps[torch.arange(len(labels)), labels]


class Exemplars(NamedTuple):
    """Where each concept fires most strongly in a class; -1 (points: NaN) where there are fewer pictures, or none."""

    pictures: np.ndarray  # (class, concept, exemplar): index of the picture, the strongest first
    cells: np.ndarray  # (class, concept, exemplar, 2): row and column of the peak on the map's grid
    points: np.ndarray  # (class, concept, exemplar, 2): the middle of that cell, down and across, from 0 to 1


@dataclass(frozen=True, eq=False)
class Concepts:
    """Which basis vectors make up which concept. Made by `find_concepts`; entry k - 1 of `names` is concept k's."""

    members: np.ndarray  # int64 (class, basis): 0 is background, k is concept k
    names: tuple
    class_names: tuple

    def __post_init__(self):
        members = np.asarray(self.members)
        if members.ndim != 2 or not np.issubdtype(members.dtype, np.integer) or len(members) != len(self.class_names):
            raise ValueError(f"members {members.dtype} {members.shape} must be whole numbers (class, basis), a row for "
                             f"each of the {len(self.class_names)} class names")
        if set(members.ravel().tolist()) | {0} != set(range(len(self.names) + 1)):
            raise ValueError(f"members hold {np.unique(members).tolist()}; with {len(self.names)} names they must hold "
                             f"each of 1 to {len(self.names)}, and 0 for background")
        if len(set(self.names)) < len(self.names) or not all(isinstance(n, str) and n.strip() for n in self.names):
            raise ValueError(f"names={self.names!r} must be different texts, none empty, one per concept")
        for field, value in (("members", members.astype(np.int64)), ("names", tuple(self.names)),
                             ("class_names", tuple(self.class_names))):
            object.__setattr__(self, field, value)

    @property
    def count(self):
        """Number of concepts, without the background."""
        return len(self.names)

    def maps(self, own, labels):
        """Highest cosine over a concept's members, `(picture, count + 1, height, width)`; index 0 is background.

        -1, which no real cosine goes below, where the picture's class has no member of the concept. Raises ValueError
        for maps or labels that do not fit.
        """
        own, labels = _checked(own, labels, *self.members.shape)
        member = torch.from_numpy(self.members)[labels][..., None, None].expand(own.shape)
        lowest = own.new_full((len(own), self.count + 1, *own.shape[2:]), -1)
        return lowest.scatter_reduce(1, member, own, "amax")

    def winners(self, own, labels, cells=CELLS):
        """The concept of the highest cosine on `cells` x `cells` cells, int64 `(picture, cells, cells)`."""
        own, labels = _checked(own, labels, *self.members.shape)
        batches = zip(own.split(BATCH), labels.split(BATCH))
        return torch.cat([upsample(self.maps(*batch), cells).argmax(dim=1) for batch in batches]).numpy()

    def masks(self, own, labels, size, percentile=95.0):
        """Irregular masks, bool `(picture, count, size, size)`; all False where the class lacks the concept.

        As in `semantic_masks`: a mask covers its share of every picture, also of one in which the concept is hidden.
        """
        batches = self.maps(own, labels)[:, 1:].split(BATCH)
        # interpolation can give a map of only -1 some contrast, by rounding
        return torch.cat([semantic_masks(batch, size, percentile) & (batch > -1).flatten(2).any(dim=2)[..., None, None]
                          for batch in batches])

    def prevalence(self, winners, labels):
        """Share of a class's pictures that show a concept, `(class, count)` in [0, 1]; NaN for a class without any.

        A picture shows a concept that wins at least 0.5 % of its cells (4 of 28 x 28): fewer are strays of
        interpolation between neighbours.
        """
        winners, labels = np.asarray(winners), np.asarray(labels)
        index = np.arange(len(winners))[:, None, None] * (self.count + 1) + winners
        won = np.bincount(index.ravel(), minlength=len(winners) * (self.count + 1)).reshape(-1, self.count + 1)
        seen = won[:, 1:] >= LEAST_SEEN * winners[0].size
        return np.stack([seen[labels == label].mean(axis=0) if (labels == label).any() else np.full(self.count, np.nan)
                         for label in range(len(self.class_names))])

    def exemplars(self, own, labels, count=6):
        """The pictures of each class in which a concept has its highest cosine; concept k is entry k - 1."""
        maps = self.maps(own, labels)[:, 1:]
        best, peak = (values.numpy() for values in maps.flatten(2).max(dim=2))  # (picture, concept)
        grid, labels = np.array(maps.shape[2:]), np.asarray(labels)
        shape = (len(self.class_names), self.count, count)
        pictures, cells = np.full(shape, -1), np.full((*shape, 2), -1)
        for label in range(len(self.class_names)):
            members = np.flatnonzero(labels == label)
            for k in self.of_class(label) - 1:
                found = members[np.argsort(-best[members, k], kind="stable")[:count]]
                pictures[label, k, :len(found)] = found
                cells[label, k, :len(found)] = np.stack(np.divmod(peak[found, k], grid[1]), axis=1)
        return Exemplars(pictures, cells, np.where(cells < 0, np.nan, (cells + 0.5) / grid))

    def of_class(self, label):
        """Numbers of the concepts that a class has, in order, without the background."""
        return np.setdiff1d(self.members[label], [0])

    def renamed(self, names):
        """The same concepts under other names. Raises ValueError if these are not as many, all different."""
        return replace(self, names=tuple(names))

    def table(self):
        """A row per class and concept that it has: `class`, `concept`, `name`, `vectors` (their numbers), `count`."""
        rows = []
        for class_name, members in zip(self.class_names, self.members):
            for k in np.unique(members):
                vectors = np.flatnonzero(members == k)
                rows.append({"class": class_name, "concept": int(k), "name": self.names[k - 1] if k else "background",
                             "vectors": ", ".join(map(str, vectors)), "count": len(vectors)})
        return pd.DataFrame(rows)

    def to_dict(self):
        """Plain lists and texts, for JSON."""
        return {"members": self.members.tolist(), "names": list(self.names), "class_names": list(self.class_names)}

    @classmethod
    def from_dict(cls, values):
        """Concepts of `to_dict`. Raises ValueError for anything else."""
        try:
            return cls(np.array(values["members"]), tuple(values["names"]), tuple(values["class_names"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"values={values!r} are no concepts ({error!r}); give what to_dict gave") from error


def find_concepts(own, labels, descriptors, class_names, *, objects=None, border=0.6, percentile=90.0, overlap=0.5,
                  match=0.2):
    """Group the basis vectors of each class into concepts, and match these across classes; no part labels are used.

    own: cosines with the vectors of the own class, `(picture, basis, height, width)`, on training pictures
    labels, class_names: the class of each picture, `(picture,)`, and the names of the classes
    descriptors: features of the backbone on the same cells, `(picture, channel, height, width)`, of any scale

    1. Each cell goes to the vector of the highest cosine (winner takes all).
    2. Background. A vector's border ratio is the share of its cells on the outermost ring of the grid, over the ring's
       share of the grid: scenes reach the border (about 1 and above), objects mostly do not. Above `border` it is
       background. Where it is known which cells show objects (`objects`, bool `(picture, height, width)`, of
       `asxai.discovery.Objectness`) the share of its cells that do not is used instead, and the limit is a half: scene
       just beside an object does not reach the border either. In each class at least the lowest vector is kept.
    3. Groups, by where vectors fire, for their own cosines say nothing: they are trained to be orthogonal. Two vectors
       overlap by the mean over pictures of shared cells over cells of the smaller mask; a mask are the cells from the
       `percentile` of a map in its picture, and pictures where either map is flat do not count. Average linkage on
       1 - overlap; of the cuts that join no groups with a mean overlap of `overlap` or less, that of the highest mean
       silhouette (Rousseeuw, J. Comput. Appl. Math. 1987) gives the number of groups. All vectors apart score 0; if a
       cut leaves one group, which has no neighbour, the distance to it is taken as 1 - `overlap`. So nothing is joined
       where no two vectors overlap by more than `overlap`.
    4. Across classes. A group is described by its mean feature, in standard deviations over all cells, less that of all
       foreground cells of its class (what the whole class looks like), at unit length. The two concepts of the highest
       mean similarity between their groups become one until that falls below `match`; two groups of a class never do.
       Similarity is the cosine c, corrected as kappa is: (c - a) / (1 - a), where a is what unrelated groups have in
       common only because the same things were subtracted, 1 / n for two classes of n groups that share all others.
       A class of one group differs from itself in nothing, so that it stays alone.

    Concepts are numbered by the share of cells that they win, averaged over classes, largest first. Neither the order
    of pictures, classes nor vectors matters. Raises ValueError for shapes that do not fit, parameters out of range,
    values that are not finite, or a class without pictures.
    """
    own, labels = _checked(own, labels, len(class_names))
    descriptors = torch.as_tensor(descriptors).detach().cpu().float()
    if descriptors.ndim != 4 or descriptors[:, 0].shape != own[:, 0].shape:
        raise ValueError(f"descriptors {tuple(descriptors.shape)} must be (picture, channel, height, width) on the "
                         f"same cells as own {tuple(own.shape)}")
    if own.shape[2] != own.shape[3] or own.shape[2] < 3:
        raise ValueError(f"own {tuple(own.shape)} must have a square grid of at least 3 x 3 cells, for a smaller one "
                         "is all border; use larger pictures or finer stages")
    if not (own.isfinite().all() and descriptors.isfinite().all()):
        raise ValueError("own or descriptors hold values that are not finite; see where the network went astray")
    if not (border > 0 and 0 < overlap < 1 and 0 < match <= 1):
        raise ValueError(f"border={border}, overlap={overlap}, match={match}: border must be above 0, overlap between "
                         "0 and 1, match above 0 and at most 1, for example 0.6, 0.5 and 0.2")
    if set(labels.tolist()) != set(range(len(class_names))):
        raise ValueError(f"labels hold {labels.unique().tolist()}; give pictures of each of {len(class_names)} classes")
    if objects is not None:
        objects = torch.as_tensor(objects)
        if objects.dtype != torch.bool or objects.shape != own[:, 0].shape:
            raise ValueError(f"objects {objects.dtype} {tuple(objects.shape)} must be bool (picture, height, width) on "
                             f"the cells of own {tuple(own.shape)}")
        border = 0.5
    deviation = descriptors.std(dim=(0, 2, 3), correction=0).double().numpy()
    # a channel that never changes tells nothing
    scale = np.where(deviation > 1e-6 * deviation.max(), 1 / np.maximum(deviation, 1e-30), 0)
    groups = [group for label in range(len(class_names)) for group in _groups_of_class(
        label, own[labels == label], descriptors[labels == label], scale,
        None if objects is None else objects[labels == label], border, percentile, overlap)]
    # by what they are, not by where they stand, so that no tie below depends on the order of classes and vectors
    groups.sort(key=lambda group: (-group.share, group.strength))
    concept = _match(groups, match)
    shares = np.bincount(concept, [group.share for group in groups]).round(12)  # 0 for numbers that were merged away
    order = [k for k in np.argsort(-shares, kind="stable") if k in concept]
    members = np.zeros((len(class_names), own.shape[1]), np.int64)
    for k, group in zip(concept, groups):
        members[group.label, group.vectors] = 1 + order.index(k)
    return Concepts(members, _default_names(len(order)), tuple(class_names))


def _checked(own, labels, classes, basis=None):
    """Own maps and labels as tensors on the CPU, float and int64."""
    own, labels = torch.as_tensor(own).detach().cpu(), torch.as_tensor(labels).detach().cpu().long()
    if own.ndim != 4 or (basis is not None and own.shape[1] != basis) or labels.shape != own.shape[:1] or not len(own):
        raise ValueError(f"own {tuple(own.shape)} and labels {tuple(labels.shape)} must be (picture, "
                         f"{basis or 'basis'}, height, width) and (picture,), of the same pictures and at least one; "
                         "own_maps makes own from the maps of all classes")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"labels run from {labels.min()} to {labels.max()}; use 0 to {classes - 1}, as in class_names")
    return own if own.dtype == torch.float64 else own.float(), labels


class _Group(NamedTuple):
    label: int
    vectors: np.ndarray  # numbers of its vectors
    descriptor: np.ndarray  # (channel,), of unit length
    share: float  # of its class's cells
    strength: float  # mean cosine


def _groups_of_class(label, maps, features, scale, objects, border, percentile, overlap):
    """Steps 1 to 3, and the descriptors of step 4; maps and features are those of one class's pictures."""
    cells, share = _won(maps)
    strength = maps.double().mean(dim=(0, 2, 3)).numpy()
    scene = _border_ratio(cells) if objects is None else _scene_share(cells, objects)
    vectors = np.flatnonzero(scene <= max(border, scene.min()))
    vectors = vectors[np.argsort(strength[vectors], kind="stable")]  # as in find_concepts: by what they are
    cells = cells[:, vectors].flatten(2)
    # sums over cells, (basis, channel): in float32 within a picture, which spares a copy of all features in float64
    sums = torch.bmm(cells, features.flatten(2).transpose(1, 2)).double().sum(dim=0).numpy()
    counts = cells.double().sum(dim=(0, 2)).numpy()
    groups = []
    for number in _group(_distance(maps[:, vectors], percentile), 1 - overlap):
        difference = sums[number].sum(axis=0) / counts[number].sum() - sums.sum(axis=0) / counts.sum()
        # where the class has no other group, all that is left is rounding, which must not become a direction
        descriptor = difference * scale * (len(number) < len(vectors))
        own = vectors[number]
        groups.append(_Group(label, own, descriptor / max(np.linalg.norm(descriptor), 1e-12),
                             share[own].sum().round(12), strength[own].mean().round(12)))
    return groups


def _won(maps):
    """The cells to judge each vector by, `(picture, basis, height, width)`, and the share that it wins, `(basis,)`.

    Vectors with the same cosine share a cell, for several may have become the same patch.
    """
    won = (maps == maps.amax(dim=1, keepdim=True)).float()
    won /= won.sum(dim=1, keepdim=True)
    share = won.double().mean(dim=(0, 2, 3)).numpy()
    # a vector that always comes second wins next to nothing, and still fires somewhere
    beaten = torch.from_numpy(share < LEAST_WON)
    values = maps[:, beaten].transpose(0, 1).flatten(1)  # (basis, cell of any picture)
    threshold = values.topk(max(1, round(STRONGEST * values.shape[1])), dim=1).values[:, -1]
    won[:, beaten] = (maps[:, beaten] >= threshold[:, None, None]).float()
    return won, share


def _border_ratio(cells):
    """Share of each vector's cells on the outermost ring over the ring's share of the grid, `(basis,)`."""
    inside = cells[..., 1:-1, 1:-1]
    share = 1 - (inside.double().sum(dim=(0, 2, 3)) / cells.double().sum(dim=(0, 2, 3)))
    return (share / (1 - inside[0, 0].numel() / cells[0, 0].numel())).numpy().round(9)


def _scene_share(cells, objects):
    """Share of each vector's cells that show no object, `(basis,)`."""
    cells = cells.double()
    return ((cells * ~objects[:, None]).sum(dim=(0, 2, 3)) / cells.sum(dim=(0, 2, 3))).numpy().round(9)


def _distance(maps, percentile):
    """1 - overlap of the masks of every two vectors, `(basis, basis)`."""
    masks = semantic_masks(maps, maps.shape[-1], percentile).flatten(2).float()
    sizes = masks.sum(dim=2)  # (picture, basis)
    # of the smaller mask: a small part inside a large one is in the same place
    smaller = torch.minimum(sizes[:, :, None], sizes[:, None]).double()
    shared = torch.bmm(masks, masks.transpose(1, 2)).double() / smaller.clamp(min=1)
    pictures = (smaller > 0).sum(dim=0)
    distance = 1 - (shared.sum(dim=0) / pictures.clamp(min=1)).numpy().round(9)
    np.fill_diagonal(distance, 0)
    return distance


def _group(distance, furthest):
    """Numbers of the vectors in each group: the cut of the tree with the best silhouette, see `find_concepts`."""
    apart = np.arange(len(distance))
    if len(distance) < 2:
        return [apart]
    tree = linkage(squareform(distance, checks=False), "average")
    best, groups = 0, apart
    for height in np.unique(tree[:, 2][tree[:, 2] < furthest]):
        cut = fcluster(tree, height, "distance")
        if cut.max() == 1:
            inside = distance.sum(axis=1) / (len(distance) - 1)
            score = ((furthest - inside) / np.maximum(furthest, inside)).mean()
        else:
            score = silhouette_score(distance, cut, metric="precomputed")
        if score > best:
            best, groups = score, cut
    return [np.flatnonzero(groups == number) for number in np.unique(groups)]


def _match(groups, least):
    """The concept of each group: any whole number, the same for groups that were joined."""
    descriptors = np.stack([group.descriptor for group in groups])
    labels = np.array([group.label for group in groups])
    count = np.bincount(labels)[labels].astype(float)  # groups of each group's class
    # that of e_x - mean(e) and e_y - mean(e) for two classes that share all but one of the orthogonal directions e
    norms = np.sqrt(count * (count - 1))
    alike = (np.minimum.outer(count, count) - 1) / np.maximum(np.outer(norms, norms), 1)
    cosine = (descriptors @ descriptors.T - alike) / (1 - alike).clip(1e-9)
    # minus infinity within a class: means keep it, and so concepts that share a class never meet
    cosine = np.where(labels[:, None] == labels, -np.inf, cosine.round(9))
    concept, sizes = np.arange(len(groups)), np.ones(len(groups))
    while cosine.max() >= least:
        i, j = np.unravel_index(cosine.argmax(), cosine.shape)
        cosine[i] = cosine[:, i] = (sizes[i] * cosine[i] + sizes[j] * cosine[j]) / (sizes[i] + sizes[j])
        cosine[j] = cosine[:, j] = -np.inf
        concept[concept == j] = i
        sizes[i] += sizes[j]
    return concept


def _default_names(count):
    return tuple(f"concept {k}" for k in range(1, count + 1))


def _numbered(wanted, scores):
    """A name for each concept: the one wanted, "<name> 2" for the second by score, "concept k" where none is wanted."""
    names, taken = list(_default_names(len(wanted))), set()
    for k in np.argsort(-np.asarray(scores), kind="stable"):
        if wanted[k]:
            names[k], number = wanted[k], 1
            while names[k] in taken or (number > 1 and names[k] in wanted):
                number += 1
                names[k] = f"{wanted[k]} {number}"
            taken.add(names[k])
    return tuple(names)


def is_named_after(concept, part):
    """Whether a concept has a part's name, with or without the number that tells it from others of that name."""
    return re.fullmatch(re.escape(part) + r"( \d+)?", concept) is not None


def name_by_parts(winners, parts, part_names, count):
    """Names of concepts 1..count, from pictures with part masks that are used for nothing else.

    winners, parts: the concept that wins and the true part of each cell, `(picture, cells, cells)`, 0 is background;
    of `Concepts.winners` and `asxai.agreement.cell_parts`. part_names[k - 1] is the name of part k.

    A concept takes the part of the highest intersection over union (`part_iou`, pooled over all pictures). Where two
    take the same, the better is called by it and the other "<part> 2"; below 0.05 it stays "concept k".
    """
    everything = np.zeros(len(winners), np.int64)  # all pictures as one class
    iou = np.nan_to_num(part_iou(winners, parts, everything, count, len(part_names))[0])  # (concept, part)
    best = iou.max(axis=1)
    return _numbered([part_names[p] if b >= LEAST_IOU else "" for p, b in zip(iou.argmax(axis=1), best)], best)


def names_template(path, exemplars, hashes, sources=None, names=None):
    """Write the file of names, to be filled in by a person, unless it is there and holds a name already; its path.

    exemplars: of `Concepts.exemplars`. hashes: those of the pictures, as in `Split`. sources: what a person calls them.
    names: one per concept, to be written whatever the file holds; by default they are empty. Below a name the file has
    what shows to a person which concept it is, its number and the sources of its exemplars, and then these themselves,
    [hash of the picture, y, x], from 0 to 1: what lets names carry over to other seeds and grids. Raises ValueError if
    there is a file that cannot be read.
    """
    path = Path(path)
    if names is None and path.exists() and any(name for name, _ in read_names(path)):
        return path
    entries = []
    for k in range(exemplars.pictures.shape[1]):
        found = exemplars.pictures[:, k] >= 0
        own = exemplars.pictures[:, k][found]
        entry = {"name": names[k] if names else "", "concept": k + 1}
        if sources is not None:
            entry["strongest in"] = [sources[picture] for picture in dict.fromkeys(own.tolist())][:SHOWN]
        entry["points"] = [[hashes[picture], *point]
                           for picture, point in zip(own, exemplars.points[:, k][found].round(4).tolist())]
        lines = (f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in entry.items())
        entries.append("{" + ",\n  ".join(lines) + "}")
    text = (f'{{"format": {FORMAT},\n"how": {json.dumps(HOW)},\n"concepts": [\n\n' + ",\n\n".join(entries)
            + "\n\n]}\n")
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def names_from_file(path, winners, hashes, count):
    """Names of concepts 1..count, from the file of `names_template`.

    winners: `(picture, cells, cells)` for the pictures with these hashes, among them those of the file

    A concept takes the name whose points it wins most often; it stays "concept k" if that is an entry without a name,
    if two are equal, or if it wins none. Where two take the same name, the one of the earlier entry is called by it
    (of one entry that which wins more of its points) and the other "<name> 2". Raises ValueError for a file that is not
    as described.
    """
    entries, winners = read_names(path), np.asarray(winners)
    keys = [name or number for number, (name, _) in enumerate(entries)]  # an entry without a name competes, as itself
    names, position = list(dict.fromkeys(keys)), {picture: i for i, picture in enumerate(hashes)}
    votes, by_entry = np.zeros((count + 1, len(names)), np.int64), np.zeros((count + 1, len(entries)), np.int64)
    for number, (key, (_, points)) in enumerate(zip(keys, entries)):
        for picture, *point in points:
            if picture in position:
                row, column = (min(int(p * cells), cells - 1) for p, cells in zip(point, winners.shape[1:]))
                winner = winners[position[picture], row, column]
                votes[winner, names.index(key)] += 1
                by_entry[winner, number] += 1
    best = votes.max(axis=1)
    clear = (best > 0) & ((votes == best[:, None]).sum(axis=1) == 1)
    wanted = [names[v] if c and isinstance(names[v], str) else "" for v, c in zip(votes.argmax(axis=1), clear)]
    earlier = -by_entry.argmax(axis=1) * (best.max() + 1)
    return _numbered(wanted[1:], (earlier + best)[1:])


def read_names(path):
    """Pairs (name, points) of a file of names. Raises ValueError for one that is not as `names_template` writes it."""
    try:
        notes = json.loads(Path(path).read_text(encoding="utf-8"))
        if notes["format"] != FORMAT or not notes["concepts"]:
            raise ValueError(f"format {notes['format']} with {len(notes['concepts'])} concepts")
        entries = [(entry["name"].strip(), entry["points"]) for entry in notes["concepts"]]
        for picture, y, x in (point for _, points in entries for point in points):
            if not (isinstance(picture, str) and 0 <= y <= 1 and 0 <= x <= 1):
                raise ValueError(f"point {[picture, y, x]}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: also text that is no JSON
        reason = (f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                  if isinstance(error, ValueError) else "something in it is of another kind")
        raise ValueError(f"{path} is no file of names ({reason}); mend it (format {FORMAT}, per concept a name and "
                         "points [hash, y, x] from 0 to 1), or remove it: the next run writes an empty one") from error
    return entries
