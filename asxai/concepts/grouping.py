"""Grouping: basis vectors that turning the picture exchanges are a concept, and so are groups of two classes of which
each takes the other for itself.

No labels of parts are used.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from .concepts import Concepts, default_names
from .turning import Turned

SCENE = 0.5  # share of a vector's cells that show no object, above which it is background
EXCHANGED = 0.8  # cells that turning exchanges between two vectors of a class, over those that each keeps, to join them
MATCH = 0.5  # share of their cells that two groups of different classes take for the other, each way, to become one
ALIKE = 0.25  # cosine of the looks of two groups of different classes, below which they are strangers
LEAST_WON = 0.002  # share of its class's cells below which what a vector wins is too little to judge it by
STRONGEST = 0.01  # share of its class's cells, those of its highest cosines, by which it is judged then


def find_concepts(activations, labels, descriptors, objects, class_names, turned: Turned) -> Concepts:
    """Group the basis vectors of each class into concepts, and match these across classes; no part labels are used.

    activations: cosines with the vectors of the own class, `(picture, basis, height, width)`, on training pictures
    labels, class_names: the class of each picture, `(picture,)`, and the names of the classes
    descriptors: features of the backbone on the same cells, `(picture, channel, height, width)`, of any scale
    objects: which cells show objects, bool `(picture, height, width)`, of `asxai.model.parts.Objectness`
    turned: activations of some of the pictures after they were turned, of `asxai.concepts.turning.turned_maps`

    1. Each cell goes to the vector of the highest cosine (winner takes all).
    2. Background. A vector is background if more than half of its cells show no object. The vector of each class with
       the lowest share is kept in any case.
    3. Groups, by what turning exchanges; cosines of vectors say nothing, for they are trained to be orthogonal. Let
       C_ab be the object cells that a wins in the picture as it is and b in the turned one, or b and a. Two vectors are
       exchanged as often as they are kept where C_ab / sqrt(C_aa C_bb) is 1, as for two doubles, and above it for two
       petals that differ in where they point. Average linkage joins groups until no mean ratio reaches `EXCHANGED`.
    4. Across classes, by what each would be in the other. A group is described by its mean feature, in standard
       deviations over all cells, less that of all foreground cells of its class (what the whole class looks like). An
       object cell of another class, less the mean of its own, would be a cell of the group to which it has the highest
       cosine. Two groups are as much alike as the smaller of two shares: of the cells of each that would be the
       other's; or 0 where their own looks have a cosine below `ALIKE`, for the nearest of strangers is still a
       stranger. The two concepts of the highest mean likeness between their groups become one until that falls below
       `MATCH`; two groups of a class never do. A class of one group differs from itself in nothing, so that it stays
       alone.

    Concepts are numbered by the share of cells that they win, averaged over classes, largest first. Neither the order
    of pictures, classes nor vectors matters.
    """
    activations, labels, objects = map(torch.as_tensor, (activations, labels, objects))
    descriptors = torch.as_tensor(descriptors).float()
    deviation = descriptors.std(dim=(0, 2, 3), correction=0).double().numpy()
    # a channel that never changes tells nothing
    scale = np.where(deviation > 1e-6 * deviation.max(), 1 / np.maximum(deviation, 1e-30), 0)
    groups = []
    for label in range(len(class_names)):
        of_class = (values[labels == label] for values in (activations, descriptors, objects))
        shown = torch.as_tensor(turned.pictures)
        sample = shown[labels[shown] == label], turned.maps[:, labels[shown] == label]
        counts = _exchanges(activations[sample[0]], sample[1], objects[sample[0]])
        groups += _groups_of_class(label, *of_class, scale, counts)
    # by what they are, not by where they stand, so that no tie below depends on the order of classes and vectors
    groups.sort(key=lambda group: (-group.share, group.strength))
    concept = _match(_likeness(groups, labels, descriptors, scale), np.array([group.label for group in groups]))
    shares = np.bincount(concept, [group.share for group in groups]).round(12)  # 0 for numbers that were merged away
    order = [k for k in np.argsort(-shares, kind="stable") if k in concept]
    members = np.zeros((len(class_names), activations.shape[1]), np.int64)
    for k, group in zip(concept, groups):
        members[group.label, group.vectors] = 1 + order.index(k)
    return Concepts(members, default_names(len(order)), tuple(class_names))


class _Group(NamedTuple):
    label: int
    vectors: np.ndarray  # numbers of its vectors
    cells: torch.Tensor  # (picture of its class, cell): object cells that it wins, in parts where others win as well
    mean: np.ndarray  # (channel,): mean feature of its class's foreground
    descriptor: np.ndarray  # (channel,): how its own differs from that, of unit length
    share: float  # of its class's cells
    strength: float  # mean cosine


def _groups_of_class(label, maps, features, objects, scale, exchanges):
    """Steps 1 to 3, and what step 4 needs of a group; maps, features and objects are those of one class's pictures."""
    cells, share = _won(maps)
    strength = maps.double().mean(dim=(0, 2, 3)).numpy()
    scene = _scene_share(cells, objects)
    vectors = np.flatnonzero(scene <= max(SCENE, scene.min()))
    vectors = vectors[np.argsort(strength[vectors], kind="stable")]  # as in find_concepts: by what they are
    cells = cells[:, vectors].flatten(2)
    # sums over cells, (basis, channel): in float32 within a picture, which spares a copy of all features in float64
    sums = torch.bmm(cells, features.flatten(2).transpose(1, 2)).double().sum(dim=0).numpy()
    counts = cells.double().sum(dim=(0, 2)).numpy()
    mean, groups = sums.sum(axis=0) / counts.sum(), []
    for number in _group(exchanges[np.ix_(vectors, vectors)]):
        difference = sums[number].sum(axis=0) / counts[number].sum() - mean
        # where the class has no other group, all that is left is rounding, which must not become a direction
        descriptor = difference * scale * (len(number) < len(vectors))
        descriptor /= max(np.linalg.norm(descriptor), 1e-12)
        chosen = vectors[number]
        won, strong = share[chosen].sum().round(12), strength[chosen].mean().round(12)
        on_objects = cells[:, number].sum(dim=1) * objects.flatten(1)
        groups.append(_Group(label, chosen, on_objects, mean, descriptor, won, strong))
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


def _scene_share(cells, objects):
    """Share of each vector's cells that show no object, `(basis,)`."""
    cells = cells.double()
    return ((cells * ~objects[:, None]).sum(dim=(0, 2, 3)) / cells.sum(dim=(0, 2, 3))).numpy().round(9)


def _exchanges(maps, turned, objects):
    """C of step 3, `(basis, basis)`, from maps `(picture, basis, height, width)` and turned `(turn, picture, ...)`."""
    before = (_won(maps)[0] * objects[:, None]).double().transpose(0, 1).flatten(1)  # (basis, cell of any picture)
    counts = sum(before @ _won(turn)[0].double().transpose(0, 1).flatten(1).T for turn in turned)
    return ((counts + counts.T) / 2).numpy()


def _group(counts):
    """Numbers of the vectors in each group, from the exchanges of all pairs, `(basis, basis)`, see `find_concepts`."""
    if len(counts) == 1:
        return [np.array([0])]
    kept = np.sqrt(counts.diagonal().clip(1))  # of a cell at least: some win none
    ratio = (counts / np.outer(kept, kept)).round(9)
    top = max(ratio.max(), EXCHANGED)  # SciPy joins what is near, and the mean of top - ratio is top - its mean
    tree = linkage(squareform(top - ratio, checks=False), "average")
    number = fcluster(tree, top - EXCHANGED + 1e-9, "distance")
    return [np.flatnonzero(number == k) for k in np.unique(number)]


def _likeness(groups, labels, features, scale):
    """How much alike two groups of different classes are, `(group, group)`, in [0, 1]: step 4 of `find_concepts`."""
    of_class = np.array([group.label for group in groups])
    directions = torch.from_numpy(np.stack([group.descriptor for group in groups]) * scale).float()
    taken = np.zeros((len(groups), len(groups)))  # share of the cells of one that would be cells of the other
    for label in np.unique(of_class):
        own = np.flatnonzero(of_class == label)
        mean = torch.from_numpy(groups[own[0]].mean).float()
        towards = directions @ (features[labels == int(label)].flatten(2) - mean[:, None])  # (picture, group, cell)
        for other in np.setdiff1d(of_class, label):
            theirs = np.flatnonzero(of_class == other)
            nearest = towards[:, theirs].argmax(dim=1).flatten().numpy()
            for k in own:
                cells = groups[k].cells.flatten().numpy()
                taken[k, theirs] = np.bincount(nearest, cells, len(theirs)) / max(cells.sum(), 1e-9)
    looks = np.stack([group.descriptor for group in groups])
    told = looks.any(axis=1)  # else cells have no reason to be its own
    return np.minimum(taken, taken.T) * np.outer(told, told) * ((looks @ looks.T).round(9) >= ALIKE)


def _match(likeness, labels):
    """The concept of each group, from likeness `(group, group)`: any whole number, the same for those that joined."""
    # minus infinity within a class: means keep it, and so concepts that share a class never meet
    mean = np.where(labels[:, None] == labels, -np.inf, likeness.round(9))
    concept, sizes = np.arange(len(labels)), np.ones(len(labels))
    while mean.max() >= MATCH:
        i, j = np.unravel_index(mean.argmax(), mean.shape)
        mean[i] = mean[:, i] = (sizes[i] * mean[i] + sizes[j] * mean[j]) / (sizes[i] + sizes[j])
        mean[j] = mean[:, j] = -np.inf
        concept[concept == j] = i
        sizes[i] += sizes[j]
    return concept
