"""Methods that are told where parts are in training pictures: what a person's labels buy.

A person marks superpixels (S-XAI) or names cells (concept whitening; and the ceiling, in a file of its own). The true
masks of drawn pictures stand for a perfect annotator.
"""

import numpy as np
import torch
import torch.nn.functional as F

from ..concepts.cells import CELLS, cell_parts
from ..data.datasets import spread_over
from ..data.pictures import to_batch
from ..traits.pca import row_centred_pca
from .attributions import black_box_scores, linear_layer
from .base import Method, backbone_grid, backbone_maps, features, resized
from .from_captum import superpixels

PICTURES = 100  # training pictures of a class that are labelled
FEWEST = 3  # pictures that show a part, below which it has no trait
CELLS_EACH = 160  # labelled cells of a picture


class AnnotatedSuperpixels(Method, name="annotated superpixels"):
    """S-XAI's regions: the superpixels that a perfect annotator marks, here those that mostly show a part.

    Xu, Chen & Zhang, Advanced Science 2022. Of the superpixels that touch a part, where none mostly shows it, that
    which shows it most.
    """

    knows_parts = True

    def names(self, label):
        return tuple(self.study.data.part_names)

    def maps(self, pictures, label):
        if isinstance(pictures, torch.Tensor):
            raise ValueError("superpixels are marked by part masks, which a tensor lacks; give a Split of the data set")
        return marked(self.study, pictures)


def marked(study, split) -> torch.Tensor:
    """Superpixels marked by true masks, bool `(picture, part, size, size)`."""
    size, count, result = study.config.size, len(study.data.part_names), []
    for path, parts in zip(split.paths, split.part_masks(size)):
        segments = superpixels(to_batch([path], size)[0] / 255)[0, 0].numpy()
        table = np.zeros((segments.max() + 1, count + 1))
        np.add.at(table, (segments, parts), 1)
        share = table[:, 1:] / table.sum(axis=1, keepdims=True)
        chosen = (share > 0.5) | ((share == share.max(axis=0)) & (share > 0))
        result.append(chosen.T[:, segments])
    return torch.from_numpy(np.stack(result))


class SemanticXai(Method, name="S-XAI"):
    """How much each cell is like the common trait of a part: the first row-centred component of what was marked.

    Xu, Chen & Zhang, Advanced Science 2022: a semantic space for each class. Their marks are a person's.
    """

    told = "marked superpixels"

    def learn(self):
        study, train, grid = self.study, self.study.data.train, backbone_grid(self.study)
        self.parts, self.traits = [], []
        for label in range(len(study.class_names)):
            few = spread_over(train.take(train.labels == label), PICTURES)
            maps = standardised(study, few)
            cells = resized(marked(study, few), grid).float()  # (picture, part, height, width)
            means = torch.einsum("pchw,pkhw->kpc", maps, cells) / cells.sum(dim=(2, 3)).T[..., None].clamp(min=1)
            seen = cells.flatten(2).any(dim=2)  # (picture, part)
            known = [k for k in range(seen.shape[1]) if seen[:, k].sum() >= FEWEST]
            traits = [torch.from_numpy(row_centred_pca(means[k][seen[:, k]]).trait).float() for k in known]
            self.parts.append(known)
            self.traits.append(F.normalize(torch.stack([t - t.mean() for t in traits]), dim=1))

    def names(self, label):
        return tuple(self.study.data.part_names[k] for k in self.parts[label])

    def maps(self, pictures, label):
        maps = standardised(self.study, pictures)
        return F.conv2d(F.normalize(maps, dim=1), self.traits[label][..., None, None])


class ConceptWhitening(Method, name="concept whitening"):
    """Whitened features, turned so that one axis is each part: the network decides as before, its axes have names.

    Chen, Bei & Rudin, Nature Machine Intelligence 2020: there in place of batch normalisation and trained on; here on
    the fixed last map: ZCA, and the rotation by Procrustes.
    """

    told = "parts"
    explains = "black box"

    def learn(self):
        train, grid = self.study.data.train, backbone_grid(self.study)
        values, parts, rng = [], [], np.random.default_rng([self.study.config.seed, 23])
        for label in range(len(self.study.class_names)):
            few = spread_over(train.take(train.labels == label), PICTURES)
            maps, masks = standardised(self.study, few), few.part_masks(8 * CELLS)
            cells = torch.from_numpy(cell_parts(masks))[:, None].float()
            cells = F.interpolate(cells, size=(grid, grid), mode="nearest")[:, 0].long()
            for one, truth in zip(maps.flatten(2), cells.flatten(1)):
                chosen = torch.from_numpy(rng.permutation(len(truth))[:CELLS_EACH])
                values.append(one[:, chosen].T)
                parts.append(truth[chosen])
        self.fit_cells(torch.cat(values), torch.cat(parts))

    def names(self, label):
        return tuple(self.study.data.part_names)

    def scores(self, pictures):
        return black_box_scores(self.study, pictures)

    def fit_cells(self, values, parts):
        self.mean = values.mean(dim=0)
        spread, vectors = torch.linalg.eigh(torch.cov((values - self.mean).T).double())
        root = spread.clamp(min=1e-4 * float(spread[-1])).sqrt()
        whiten = vectors / root @ vectors.T
        count = len(self.study.data.part_names)
        white = (values - self.mean).double() @ whiten
        missing = torch.zeros(white.shape[1], dtype=torch.float64)
        means = [white[parts == k].mean(dim=0) if (parts == k).any() else missing for k in range(1, count + 1)]
        left, _, right = torch.linalg.svd(torch.stack(means, dim=1), full_matrices=False)
        axes = left @ right  # orthonormal (channel, part), as near to the means as can be
        self.read = (whiten @ axes).T.float()
        self.write = (axes.T @ (vectors * root @ vectors.T)).float()  # what a unit of an axis is in features

    def maps(self, pictures, label):
        maps = standardised(self.study, pictures) - self.mean[:, None, None]
        return F.conv2d(maps, self.read[..., None, None])

    def importance(self, pictures, label):
        """What each axis adds to the black box's logit."""
        weight = linear_layer(self.study)[0][label] * self.study.model.feature_std.flatten().cpu()
        return self.maps(pictures, label).mean(dim=(2, 3)) * (self.write @ weight)

    def evidence(self, pictures, label):
        return super().evidence(features(self.study.model, pictures, self.study.config.size), label)  # once for all


def standardised(study, pictures) -> torch.Tensor:
    """Standardised maps of the backbone, `(picture, channel, height, width)`."""
    return (backbone_maps(study, pictures) - study.model.feature_mean.cpu()) / study.model.feature_std.cpu()
