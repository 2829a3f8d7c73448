"""Grouping: basis vectors that fire in the same place are a concept, and so are groups of two classes that look alike.

No labels of parts are used.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import silhouette_score

from .concepts import Concepts, default_names
from .masks import semantic_masks

SCENE = 0.5  # share of a vector's cells that show no object, above which it is background
PERCENTILE = 90.0  # of an activation map in its picture: the cells from there on are the mask of a vector
OVERLAP = 0.5  # mean overlap that two groups of a class must exceed to be joined
MATCH = 0.2  # similarity from which on concepts of different classes become one
LEAST_WON = 0.002  # share of its class's cells below which what a vector wins is too little to judge it by
STRONGEST = 0.01  # share of its class's cells, those of its highest cosines, by which it is judged then


def find_concepts(activations, labels, descriptors, objects, class_names) -> Concepts:
    """Group the basis vectors of each class into concepts, and match these across classes; no part labels are used.

    activations: cosines with the vectors of the own class, `(picture, basis, height, width)`, on training pictures
    labels, class_names: the class of each picture, `(picture,)`, and the names of the classes
    descriptors: features of the backbone on the same cells, `(picture, channel, height, width)`, of any scale
    objects: which cells show objects, bool `(picture, height, width)`, of `asxai.model.parts.Objectness`

    1. Each cell goes to the vector of the highest cosine (winner takes all).
    2. Background. A vector is background if more than half of its cells show no object. The vector of each class with
       the lowest share is kept in any case.
    3. Groups, by where vectors fire, for their own cosines say nothing: they are trained to be orthogonal. Two vectors
       overlap by the mean over pictures of shared cells over cells of the smaller mask; a mask are the cells from the
       `PERCENTILE` of a map in its picture, and pictures where either map is flat do not count. Average linkage on
       1 - overlap; of the cuts that join no groups with a mean overlap of `OVERLAP` or less, that of the highest mean
       silhouette (Rousseeuw, J. Comput. Appl. Math. 1987) gives the number of groups. All vectors apart score 0; if a
       cut leaves one group, which has no neighbour, the distance to it is taken as 1 - `OVERLAP`. So nothing is joined
       where no two vectors overlap by more than `OVERLAP`.
    4. Across classes. A group is described by its mean feature, in standard deviations over all cells, less that of all
       foreground cells of its class (what the whole class looks like), at unit length. The two concepts of the highest
       mean similarity between their groups become one until that falls below `MATCH`; two groups of a class never do.
       Similarity is the cosine c, corrected as kappa is: (c - a) / (1 - a), where a is what unrelated groups have in
       common only because the same things were subtracted, 1 / n for two classes of n groups that share all others.
       A class of one group differs from itself in nothing, so that it stays alone.

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
        groups += _groups_of_class(label, *of_class, scale)
    # by what they are, not by where they stand, so that no tie below depends on the order of classes and vectors
    groups.sort(key=lambda group: (-group.share, group.strength))
    concept = _match(groups)
    shares = np.bincount(concept, [group.share for group in groups]).round(12)  # 0 for numbers that were merged away
    order = [k for k in np.argsort(-shares, kind="stable") if k in concept]
    members = np.zeros((len(class_names), activations.shape[1]), np.int64)
    for k, group in zip(concept, groups):
        members[group.label, group.vectors] = 1 + order.index(k)
    return Concepts(members, default_names(len(order)), tuple(class_names))


class _Group(NamedTuple):
    label: int
    vectors: np.ndarray  # numbers of its vectors
    descriptor: np.ndarray  # (channel,), of unit length
    share: float  # of its class's cells
    strength: float  # mean cosine


def _groups_of_class(label, maps, features, objects, scale):
    """Steps 1 to 3, and the descriptors of step 4; maps, features and objects are those of one class's pictures."""
    cells, share = _won(maps)
    strength = maps.double().mean(dim=(0, 2, 3)).numpy()
    scene = _scene_share(cells, objects)
    vectors = np.flatnonzero(scene <= max(SCENE, scene.min()))
    vectors = vectors[np.argsort(strength[vectors], kind="stable")]  # as in find_concepts: by what they are
    cells = cells[:, vectors].flatten(2)
    # sums over cells, (basis, channel): in float32 within a picture, which spares a copy of all features in float64
    sums = torch.bmm(cells, features.flatten(2).transpose(1, 2)).double().sum(dim=0).numpy()
    counts = cells.double().sum(dim=(0, 2)).numpy()
    groups = []
    for number in _group(_distance(maps[:, vectors])):
        difference = sums[number].sum(axis=0) / counts[number].sum() - sums.sum(axis=0) / counts.sum()
        # where the class has no other group, all that is left is rounding, which must not become a direction
        descriptor = difference * scale * (len(number) < len(vectors))
        descriptor /= max(np.linalg.norm(descriptor), 1e-12)
        chosen = vectors[number]
        won, mean = share[chosen].sum().round(12), strength[chosen].mean().round(12)
        groups.append(_Group(label, chosen, descriptor, won, mean))
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


def _distance(maps):
    """1 - overlap of the masks of every two vectors, `(basis, basis)`."""
    masks = semantic_masks(maps, maps.shape[-1], PERCENTILE).flatten(2).float()
    sizes = masks.sum(dim=2)  # (picture, basis)
    # of the smaller mask: a small part inside a large one is in the same place
    smaller = torch.minimum(sizes[:, :, None], sizes[:, None]).double()
    shared = torch.bmm(masks, masks.transpose(1, 2)).double() / smaller.clamp(min=1)
    pictures = (smaller > 0).sum(dim=0)
    distance = 1 - (shared.sum(dim=0) / pictures.clamp(min=1)).numpy().round(9)
    np.fill_diagonal(distance, 0)
    return distance


def _group(distance):
    """Numbers of the vectors in each group: the cut of the tree with the best silhouette, see `find_concepts`."""
    furthest, apart = 1 - OVERLAP, np.arange(len(distance))
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


def _match(groups):
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
    while cosine.max() >= MATCH:
        i, j = np.unravel_index(cosine.argmax(), cosine.shape)
        cosine[i] = cosine[:, i] = (sizes[i] * cosine[i] + sizes[j] * cosine[j]) / (sizes[i] + sizes[j])
        cosine[j] = cosine[:, j] = -np.inf
        concept[concept == j] = i
        sizes[i] += sizes[j]
    return concept
