"""Grouping: basis vectors that turning the picture exchanges are a concept, and so are groups of two classes that look
alike.

No labels of parts are used.
"""

from typing import NamedTuple

import numpy as np
import torch

from .concepts import Concepts, default_names
from .turning import Turned

SCENE = 0.5  # share of a vector's cells that show no object, above which it is background
EXCHANGED = 0.8  # cells that turning exchanges between two groups of a class, over those that each keeps, to join them
MATCH = 0.2  # similarity from which on concepts of different classes become one
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
       C_ab be the object cells that a wins in the picture as it is and b in the turned one, or b and a. Two groups are
       exchanged as often as they are kept where C_ab / sqrt(C_aa C_bb) is 1, as for two doubles, and for two petals
       that differ in where they point. The two of the highest ratio are joined, and their counts added, until none
       reaches `EXCHANGED`.
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
        shown = torch.as_tensor(turned.pictures)
        sample = shown[labels[shown] == label], turned.maps[:, labels[shown] == label]
        counts = _exchanges(activations[sample[0]], sample[1], objects[sample[0]])
        groups += _groups_of_class(label, *of_class, scale, counts)
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


def _groups_of_class(label, maps, features, objects, scale, exchanges):
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
    for number in _group(exchanges[np.ix_(vectors, vectors)]):
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


def _exchanges(maps, turned, objects):
    """C of step 3, `(basis, basis)`, from maps `(picture, basis, height, width)` and turned `(turn, picture, ...)`."""
    before = (_won(maps)[0] * objects[:, None]).double().transpose(0, 1).flatten(1)  # (basis, cell of any picture)
    counts = sum(before @ _won(turn)[0].double().transpose(0, 1).flatten(1).T for turn in turned)
    return ((counts + counts.T) / 2).numpy()


def _group(counts):
    """Numbers of the vectors in each group, from the exchanges of all pairs, `(basis, basis)`, see `find_concepts`."""
    counts, groups = counts.copy(), [np.array([vector]) for vector in range(len(counts))]
    while len(groups) > 1:
        kept = np.sqrt(counts.diagonal().clip(1))  # of a cell at least: some win none
        ratio = np.tril(counts / np.outer(kept, kept), -1).round(9)
        if ratio.max() < EXCHANGED:
            break
        second, first = np.unravel_index(ratio.argmax(), ratio.shape)
        groups[first] = np.concatenate([groups[first], groups.pop(second)])
        counts[first] += counts[second]
        counts[:, first] += counts[:, second]
        counts = np.delete(np.delete(counts, second, axis=0), second, axis=1)
    return groups


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
