"""Few pictures of one's own: a small folder to try it with, and what so few pictures do not allow to say.

    folder = own_folder("menagerie-pets", 10)       # ten training pictures of each class, as one's own would lie there
    cautions(load_data_set(folder))                 # sentences, made from the numbers of pictures
    concept_cautions(study.concepts(), study.data)  # and from what was found in them
    learning_curve("menagerie-pets", [3, 10, 30])   # what more pictures bring
    common_mistakes(folder)                         # folders that cannot be used, and what is said about them
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .. import paths
from ..concepts.cells import own_class_maps, true_parts
from ..concepts.names import found_concepts
from ..data.datasets import data_set_names, load_data_set
from ..data.pictures import DataError
from ..statistics import accuracy_interval
from ..study import Study
from . import agreement

FEW = 20  # pictures of a class to train on, below which a spread is an estimate of little worth


def own_folder(data_set, per_class, place=None):
    """The folder of pictures to go on with: one's own as it is, or a small one made from a registered data set."""
    return sample_folder(data_set, per_class, place) if str(data_set) in data_set_names() else Path(data_set)


def sample_folder(data_set, per_class, place=None):
    """A folder with `per_class` training pictures of each class of a data set, copied once; its path.

    data_set: a registered name or a folder. place: where the folder is made, by default runs/own_pictures. It has one
    folder per class and no splits and no part masks, like a folder of one's own. Raises ValueError where a class has
    fewer training pictures.
    """
    data = load_data_set(data_set)
    folder = Path(place or paths.RUNS / "own_pictures") / f"{data.name}-{per_class}"
    if folder.exists():
        return folder
    counts = data.train.class_counts(len(data.class_names))
    if not 1 <= per_class <= counts.min():
        raise ValueError(f"per_class={per_class} must be from 1 to {counts.min()}, the fewest training pictures that a "
                         f"class of {data.name} has")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        for label, class_name in enumerate(data.class_names):
            own = np.flatnonzero(data.train.labels == label)
            (Path(temporary) / "all" / class_name).mkdir(parents=True)
            for number, i in enumerate(own[np.linspace(0, len(own) - 1, per_class).round().astype(int)], 1):
                source = data.train.paths[i]
                shutil.copy(source, Path(temporary) / "all" / class_name / f"{number:03}{source.suffix}")
        (Path(temporary) / "all").rename(folder)
    return folder


def cautions(data):
    """What a data set is too small for: sentences, none where it is large enough for all that is looked at here."""
    train, validation, test = (int(split.class_counts(len(data.class_names)).min())
                               for split in (data.train, data.validation, data.test))
    pictures, sentences = len(data.test), []
    low, _ = accuracy_interval(pictures, pictures)
    if low < 0.95:
        sentences.append(f"Accuracy: even if all {pictures} test pictures are right, it may be as low as "
                         f"{100 * low:.0f} %, and two studies cannot be told apart.")
    if len(data.validation) < 100:
        sentences.append(f"Choice of the best cycle: one of {len(data.validation)} validation pictures is "
                         f"{100 / len(data.validation):.0f} % of their accuracy, so that chance chooses.")
    if train < FEW:
        spread = 100 / np.sqrt(2 * max(train - 1, 1))
        sentences.append(f"Probabilities of concepts: their spread comes from {train} pictures and is itself uncertain "
                         f"by about {spread:.0f} %; “sure” and “not sure” are no more certain than that.")
        sentences.append(f"Traits: what {train} pictures have in common may be chance, such as the same pose or "
                         "background.")
    if min(validation, test) < 2:
        sentences.append(f"Single pictures: some class has {validation} to validate with and {test} to test with; what "
                         "is said about that class is said about one picture.")
    return sentences


def concept_cautions(concepts, data):
    """What may be wrong with concepts found in a data set: sentences.

    None where each class has several concepts, most vectors are in one, and concepts of several classes were found in
    `FEW` or more pictures of each.
    """
    sentences = []
    for label, name in enumerate(concepts.class_names):
        own, left = len(concepts.of_class(label)), int((concepts.members[label] == 0).sum())
        total = concepts.members.shape[1]
        if own < 2:
            sentences.append(f"“{name}” has {'a single concept' if own else 'no concept'}: nothing can be told apart "
                             "in it, and no explanation of it is ever sure. More pictures of the class help.")
        if left > total / 2:
            sentences.append(f"“{name}”: {left} of {total} vectors are in no concept. They fire on scenes, or on "
                             "something of the class that its few pictures do not share; notebook 02 shows them.")
    shared = [k for k in range(1, concepts.count + 1) if (concepts.members == k).any(axis=1).sum() > 1]
    train = int(data.train.class_counts(len(data.class_names)).min())
    if shared and train < FEW:
        which = f"concepts {', '.join(map(str, shared))} are" if len(shared) > 1 else f"concept {shared[0]} is"
        sentences.append(f"{which.capitalize()} in several classes: matched by what {train} pictures of a class look "
                         "like, which can join different things. Look at each class before you give the one name "
                         "that all of them get.")
    return sentences


def learning_curve(data_set, counts, seed=0, place=None, **parameters):
    """Studies on few pictures, scored on all test pictures of the data set: a row per number of pictures of a class.

    counts: pictures of each class, as in `sample_folder`; those that the data set does not have are left out.
    parameters: of `asxai.Config`. Columns: `pictures`, `train` (those of a class that are trained on), `accuracy`,
    `concepts` (how many), `nmi` (agreement of concepts with true parts, see `asxai.benchmarks.agreement`; NaN without part masks).
    """
    data, rows = load_data_set(data_set), []
    for count in [count for count in counts if count <= data.train.class_counts(len(data.class_names)).min()]:
        study = Study.train(sample_folder(data_set, count, place), seed=seed, **parameters)
        concepts, nmi = found_concepts(study), np.nan  # nobody is to name those
        if data.test.parts is not None:
            winners = concepts.winners(own_class_maps(study, data.test), data.test.labels)
            table = agreement.contingency(winners, true_parts(data.test)[1], concepts.count, len(data.part_names))
            nmi = float(np.nanmean(agreement.foreground_nmi(table, data.test.labels)))
        rows.append({"pictures": count, "train": int(study.data.train.class_counts().min()),
                     "accuracy": float((study.predict_split(data.test).labels == data.test.labels).mean()),
                     "concepts": concepts.count, "nmi": nmi})
    return pd.DataFrame(rows, columns=["pictures", "train", "accuracy", "concepts", "nmi"])


def common_mistakes(folder):
    """Folders that cannot be used, and what is said about each: a row per mistake, `mistake` and `message`.

    folder: one that can be used; copies of some of its pictures make those that cannot.
    """
    data = load_data_set(folder)  # and not the folder's own layout, which may have splits
    every = [path for split in data.splits.values() for path in split.paths]
    labels = np.concatenate([split.labels for split in data.splits.values()])
    own = [sorted(every[i] for i in np.flatnonzero(labels == label))[:3] for label in (0, 1)]
    first, second = data.class_names[:2]

    def no_class_folder(place):
        shutil.copy(own[0][0], place)

    def one_class(place):
        _fill(place, {first: own[0]})

    def two_pictures(place):
        _fill(place, {first: own[0][:2], second: own[1]})

    def empty_file(place):
        _fill(place, {first: own[0], second: own[1]})
        (place / first / "broken.jpg").write_bytes(b"")

    def tiny_picture(place):
        _fill(place, {first: own[0], second: own[1]})
        Image.new("RGB", (12, 12)).save(place / second / "icon.png")

    def in_both(place):
        _fill(place, {first: own[0], second: [*own[1], own[0][0]]})

    rows = []
    for make in (no_class_folder, one_class, two_pictures, empty_file, tiny_picture, in_both):
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary).resolve() / "my_pictures"
            place.mkdir()
            make(place)
            try:
                load_data_set(place)
            except DataError as error:
                rows.append({"mistake": make.__name__.replace("_", " "),
                             "message": str(error).replace(f"{place.parent}/", "")})
    return pd.DataFrame(rows)


def _fill(place, pictures):
    for class_name, files in pictures.items():
        (place / class_name).mkdir()
        for number, file in enumerate(files, 1):
            shutil.copy(file, place / class_name / f"{number}{file.suffix}")
