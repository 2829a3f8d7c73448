"""Networks with prototypes, from their papers: ProtoPNet, TesNet, Deformable ProtoPNet, PIP-Net.

All get what this study gets: the same features of a fixed backbone, as many vectors a class, the same added layers,
optimiser, batches and number of epochs. The published ones also train the backbone, so their numbers are not these.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .. import paths
from ..cache import code_hash, kept_tensors, key_of
from ..data.features import BATCH, seeded
from ..model.losses import aggregation, orthogonality, separation, subspace_separation
from ..model.protocnn import LARGEST_WEIGHT, WRONG_CLASS
from ..model.recipe import training_features
from ..model.replacement import fit_last_layer
from .base import Method, features, placed

CLUSTER, SEPARATE = 0.8, 0.08  # weights of the two losses that ProtoPNet, TesNet and Deformable ProtoPNet share
L1 = 1e-4  # on weights between a class and prototypes of others


class Head(nn.Module):
    """ProtoPNet: squared distance to prototypes, as similarity log((d + 1) / (d + 1e-4)).

    Chen et al., NeurIPS 2019. Maps are `(picture, prototype, height, width)`; prototypes of a class are neighbours.
    """

    pushed = True  # prototypes become the most similar patches of their class

    def __init__(self, width: int, classes: int, each: int, channels: int):
        super().__init__()
        self.classes, self.each = classes, each
        first, second = nn.Conv2d(width, channels, 1), nn.Conv2d(channels, channels, 1)
        self.add_on = nn.Sequential(first, nn.ReLU(), second, nn.Sigmoid())
        self.prototypes = nn.Parameter(torch.rand(classes * each, channels))
        self.last_layer = nn.Linear(classes * each, classes, bias=False)
        own = self.own_class().flatten(1)
        self.last_layer.weight.data = own * LARGEST_WEIGHT + (1 - own) * WRONG_CLASS

    def own_class(self):
        return torch.eye(self.classes).unsqueeze(2).expand(-1, -1, self.each)

    @torch.no_grad()
    def clamp_last_layer(self):
        self.last_layer.weight.clamp_(WRONG_CLASS, LARGEST_WEIGHT)

    def maps(self, embedding):
        kernels = self.prototypes[..., None, None]
        distance = embedding.square().sum(dim=1, keepdim=True) - 2 * F.conv2d(embedding, kernels)
        distance = (distance + self.prototypes.square().sum(dim=1)[:, None, None]).clamp(min=0)
        return ((distance + 1) / (distance + 1e-4)).log()

    def forward(self, x):
        """Logits and maps of standardised features."""
        maps = self.maps(self.add_on(x))
        return self.last_layer(maps.amax(dim=(2, 3))), maps

    def losses(self, x, labels, generator, done):
        """What is minimised: x `(picture, channel, height, width)`; done: the share of training that is over."""
        logits, maps = self(x)
        distance = (1 - 1e-4) / (maps.exp() - 1).clamp(min=1e-6) - 1e-4  # back from the similarity
        best = distance.amin(dim=(2, 3)).unflatten(1, (self.classes, self.each)).amin(dim=2)
        own = F.one_hot(labels, self.classes).bool()
        away = best.masked_fill(own, torch.inf).amin(dim=1)
        return F.cross_entropy(logits, labels) + CLUSTER * best[own].mean() - SEPARATE * away.mean()

    @torch.no_grad()
    def push(self, batches):
        """Prototypes become patches; batches of (standardised features, labels)."""
        best, kept = torch.full((self.classes, self.each), -torch.inf), self.prototypes.clone()
        kept = kept.unflatten(0, best.shape)
        for x, labels in batches:
            embedding = self.add_on(x)
            maps = self.maps(embedding).unflatten(1, best.shape)
            for i, label in enumerate(labels.tolist()):
                value, at = maps[i, label].flatten(1).max(dim=1)
                better = value.cpu() > best[label]
                best[label] = torch.where(better, value.cpu(), best[label])
                kept[label, better] = embedding[i].flatten(1).T[at[better]]
        self.prototypes.copy_(kept.flatten(0, 1))


class TesNetHead(Head):
    """TesNet: projection of a patch on orthonormal basis vectors, and class subspaces far apart.

    Wang et al., ICCV 2021. Weights of its losses as published, but for orthogonality, which has this study's: the
    published 1e-4 is for a sum over 200 classes, and of two classes leaves all vectors on one place.
    """

    def maps(self, embedding):
        return F.conv2d(embedding, F.normalize(self.prototypes, dim=1)[..., None, None])

    def losses(self, x, labels, generator, done):
        embedding, shape = self.add_on(x), (self.classes, self.each)
        logits = self.last_layer(self.maps(embedding).amax(dim=(2, 3)))
        cosines = self.maps(F.normalize(embedding, dim=1)).unflatten(1, shape)
        basis = F.normalize(self.prototypes, dim=1).unflatten(0, shape)
        near = CLUSTER * aggregation(cosines, labels) + SEPARATE * separation(cosines, labels)
        return F.cross_entropy(logits, labels) + near + orthogonality(basis) + 1e-7 * subspace_separation(basis)


class DeformableHead(Head):
    """Deformable ProtoPNet: a prototype is 2 x 2 parts, each of which may move a little, to where it fits.

    Donnelly, Barnett & Chen, CVPR 2022. Cosines; places between cells by norm-preserving interpolation; offsets from
    the features; the margin of the logits is theirs. Prototypes are not pushed here.
    """

    pushed, margin = False, 0.1

    def __init__(self, width, classes, each, channels):
        super().__init__(width, classes, each, channels)
        self.prototypes = nn.Parameter(torch.rand(classes * each, channels, 4))
        self.offsets = nn.Conv2d(channels, 8, 3, padding=1)
        nn.init.zeros_(self.offsets.weight), nn.init.zeros_(self.offsets.bias)
        corners = torch.tensor([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]])
        self.register_buffer("corners", corners)

    def maps(self, embedding):
        unit, (height, width) = F.normalize(embedding, dim=1), embedding.shape[2:]
        move = self.offsets(unit).tanh().unflatten(1, (4, 2)).permute(0, 1, 3, 4, 2) + self.corners[:, None, None]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        at = torch.stack([rows, columns], dim=-1).to(embedding) + move  # (picture, part, height, width, 2) in cells
        at = (2 * at + 1) / at.new_tensor([height, width]) - 1
        square, total = unit.square(), 0
        for part in range(4):
            place = at[:, part].flip(-1)
            moved = F.grid_sample(square, place, padding_mode="border", align_corners=False).clamp(min=1e-12).sqrt()
            kernels = F.normalize(self.prototypes[..., part], dim=1)[..., None, None]
            total = total + F.conv2d(moved, kernels) / 4
        return total

    def losses(self, x, labels, generator, done):
        logits, maps = self(x)
        own = F.one_hot(labels, self.classes).bool()
        best = maps.amax(dim=(2, 3))
        harder = torch.cos(best.clamp(-0.999, 0.999).acos() - self.margin)  # wrong classes by a margin nearer
        mine = own.repeat_interleave(self.each, dim=1)
        logits = self.last_layer(torch.where(mine, best, harder))
        per_class = best.unflatten(1, (self.classes, self.each)).amax(dim=2)
        away = per_class.masked_fill(own, -1).amax(dim=1)
        parts = (
            F.normalize(self.prototypes, dim=1).unflatten(0, (self.classes, self.each)).transpose(2, 3).flatten(1, 2)
        )
        near = SEPARATE * away.mean() - CLUSTER * per_class[own].mean()
        return F.cross_entropy(logits, labels) + near + 1e-2 * orthogonality(parts) / parts.shape[1]


class PipHead(Head):
    """PIP-Net: prototypes share each patch by a softmax; two views of it agree; each prototype occurs in a batch.

    Nauta et al., CVPR 2023. Weights are at least 0 and sparse. As views of fixed features serve two copies with noise.
    """

    pushed, noise = False, 0.3

    def __init__(self, width, classes, each, channels):
        super().__init__(width, classes, each, channels)
        self.add_on, self.prototypes = nn.Conv2d(width, classes * each, 1), None
        self.last_layer.weight.data = 1 + 0.1 * torch.rand(classes, classes * each)

    def maps(self, embedding):
        return embedding.softmax(dim=1)

    def forward(self, x):
        maps = self.maps(self.add_on(x))
        return self.last_layer(maps.amax(dim=(2, 3))), maps

    @torch.no_grad()
    def clamp_last_layer(self):
        self.last_layer.weight.clamp_(min=0)

    def losses(self, x, labels, generator, done):
        noise = torch.randn((2, *x.shape), generator=generator).to(x) * self.noise
        first, second = (self.maps(self.add_on(x + one)) for one in noise)
        align = (
            -(first * second.detach()).sum(dim=1).log().mean() / 2
            - (second * first.detach()).sum(dim=1).log().mean() / 2
        )
        best = torch.cat([first, second]).amax(dim=(2, 3))
        occurs = -(torch.tanh(best.sum(dim=0)) + 1e-8).log().mean()
        if done < 1 / 3:  # prototypes first, as there
            return 5 * align + 5 * occurs
        score = (self.last_layer(best.clamp(min=1e-6)) ** 2 + 1).log()
        return 5 * align + 2 * occurs + 2 * F.cross_entropy(score, labels.repeat(2))


class PrototypeNet(Method):
    """A network of the kind `head`. A prototype is a concept of the class that it belongs to."""

    head = Head

    def learn(self):
        study, model, config = self.study, self.study.model, self.study.config
        shape = (model.feature_mean.shape[1], model.classes, model.basis_per_class, config.channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.net = self.head(*shape).to(model.device)
        code = code_hash("data", "model", "methods.prototype_nets")
        key = key_of(self.name, study.folder.name, config.key(study.data.fingerprint), code)
        kept = kept_tensors(paths.CACHE / f"prototypes-{key}.safetensors", self._trained)
        self.net.load_state_dict(kept)
        self.net.eval().requires_grad_(False)
        of_class = torch.arange(shape[1] * shape[2]).unflatten(0, shape[1:3])  # (class, prototype)
        shared = self.net.last_layer.weight.topk(shape[2], dim=1).indices.sort(dim=1).values.cpu()
        self.own = shared if self.head is PipHead else of_class

    def _trained(self):
        study, config, net = self.study, self.study.config, self.net
        (views, labels), _ = training_features(study.model, study.data, config)
        epochs = config.cycles * (config.warm_up_epochs + config.joint_epochs)
        groups = [{"params": [p for name, p in net.named_parameters() if not name.startswith("last")]}]
        slow = 0.1 if self.head is not PipHead else 1.0  # others fit the last layer at the end
        groups += [{"params": net.last_layer.parameters(), "lr": slow * config.learning_rate}]
        optimiser = torch.optim.Adam(groups, lr=config.learning_rate)
        flat, labels = torch.cat([rows[:] for rows in views]), labels.repeat(len(views))
        for epoch in range(epochs):
            generator = seeded(self.name, config.seed, epoch)
            for batch in torch.randperm(len(labels), generator=generator).split(config.batch_size):
                if len(batch) > 1:
                    loss = net.losses(
                        self._standard(flat[batch]), labels[batch].to(study.model.device), generator, epoch / epochs
                    )
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    net.clamp_last_layer()
        pictures = labels[: len(views[0])]
        whole = [(self._standard(x), y) for x, y in zip(views[0].split(BATCH), pictures.split(BATCH))]
        if net.pushed:
            net.push(whole)
        if self.head is not PipHead:
            with torch.no_grad():
                similarity = torch.cat([net(x)[1].amax(dim=(2, 3)).cpu() for x, _ in whole])
            fit_last_layer(net, similarity.unflatten(1, (net.classes, net.each)), pictures, L1)
        return net.state_dict()

    def _standard(self, values):
        model = self.study.model
        return (model.backbone_map(values.to(model.device)).detach() - model.feature_mean) / model.feature_std

    @torch.inference_mode()
    def _run(self, pictures):
        values = features(self.study.model, pictures, self.study.config.size)
        outs = [self.net(self._standard(batch)) for batch in values.split(BATCH)]
        return [torch.cat(each).cpu() for each in zip(*outs)]

    def names(self, label):
        return tuple(f"prototype {k}" for k in self.own[label].tolist())

    def maps(self, pictures, label):
        return self._run(pictures)[1][:, self.own[label]]

    def importance(self, pictures, label):
        weights = self.net.last_layer.weight[label].cpu()[self.own[label]]
        return self.maps(pictures, label).amax(dim=(2, 3)) * weights

    def scores(self, pictures):
        return self._run(pictures)[0]

    def predict(self, pictures):
        return self.scores(pictures).double().softmax(dim=1).numpy()

    def evidence(self, pictures, label):
        maps = self._run(pictures)[1]
        return placed(maps.amax(dim=(2, 3)) * self.net.last_layer.weight[label].cpu(), maps, self.percentile)


class ProtoPNet(PrototypeNet, name="ProtoPNet"):
    """Which patches look like patches of training pictures: see `Head`."""


class TesNet(PrototypeNet, name="TesNet"):
    """How far patches reach along orthonormal vectors of each class: see `TesNetHead`."""

    head = TesNetHead


class DeformableProtoPNet(PrototypeNet, name="Deformable ProtoPNet"):
    """Which places look like four patches in a loose arrangement: see `DeformableHead`."""

    head = DeformableHead


class PipNet(PrototypeNet, name="PIP-Net"):
    """Which of few shared prototypes each patch shows: see `PipHead`. A class has those that weigh most for it."""

    head = PipHead
