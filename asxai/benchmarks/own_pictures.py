"""Few pictures of one's own: a small folder to try it with, and what so few pictures do not allow to say.

All of it speaks to the person whose pictures these are.

    folder = own_folder("menagerie-pets", 10)       # ten training pictures of each class, as one's own would lie there
    cautions(load_data_set(folder))                 # sentences, made from the numbers of pictures
    concept_cautions(study.concepts(), study.data)  # and from the concepts in them
    learning_curve("menagerie-pets", [3, 10, 30])   # what more pictures bring
    common_mistakes(folder)                         # folders that cannot be used, and what is said about them
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from .. import paths
from ..cache import key_of
from ..concepts.cells import own_class_maps, true_parts
from ..concepts.concepts import Concepts
from ..concepts.names import found_concepts
from ..data.datasets import DataSet, data_set_names, load_data_set
from ..data.pictures import DataError
from ..statistics import accuracy_interval
from ..study import Study
from . import agreement

FEW = 20  # pictures of a class to train on, below which a spread is an estimate of little worth


def own_folder(data_set: str | Path, per_class: int) -> Path:
    """The folder of pictures to go on with: one's own as it is, or a small one made from a registered data set."""
    return sample_folder(data_set, per_class) if str(data_set) in data_set_names() else Path(data_set)


def sample_folder(data_set: str | Path, per_class: int) -> Path:
    """A folder with `per_class` training pictures of each class of a data set, copied once; its path.

    It has a folder per class and no splits and no part masks, like a folder of one's own. It lies in runs/own_pictures
    under a name that tells the pictures of the data set from others: a data set of the same name has another sample.
    Raises ValueError where a class has fewer training pictures.
    """
    data = load_data_set(data_set)
    folder = paths.SAMPLES / f"{data.name}-{per_class}-{data.fingerprint[:8]}"
    if folder.exists():
        return folder
    fewest = data.train.class_counts(len(data.class_names)).min()
    if not 1 <= per_class <= fewest:
        raise ValueError(
            f"per_class={per_class} must be from 1 to {fewest}, the fewest training pictures of a class of {data.name}"
        )
    chosen = {}
    for label, class_name in enumerate(data.class_names):
        members = np.flatnonzero(data.train.labels == label)
        members = members[np.linspace(0, len(members) - 1, per_class).round().astype(int)]
        chosen[class_name] = [data.train.paths[i] for i in members]
    return _made(folder, chosen)


def folder_without(data_set: str | Path, classes: Iterable[str]) -> Path:
    """A folder with the pictures of a data set but for some classes, copied once, with its splits; its path.

    It lies where `sample_folder` lays its folders. Raises ValueError for classes that the data set does not have.
    """
    data, classes = load_data_set(data_set), sorted(classes)
    if unknown := [name for name in classes if name not in data.class_names]:
        raise ValueError(f"{', '.join(unknown)}: no classes of {data.name}; there are {', '.join(data.class_names)}")
    folder = paths.SAMPLES / f"{data.name}-without-{key_of(classes, data.fingerprint)[:8]}"
    left = {
        f"{split}/{class_name}": [path for path, its in zip(of.paths, of.labels) if its == label]
        for split, of in data.splits.items()
        for label, class_name in enumerate(data.class_names)
        if class_name not in classes
    }
    return folder if folder.exists() else _made(folder, left)


def _made(folder, pictures):
    """The folder, filled, which appears as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        _fill(Path(temporary) / "all", pictures)
        (Path(temporary) / "all").rename(folder)
    return folder


def _fill(place, pictures):
    """Copies of files in a folder per class, `{class: files}`; a class "" is the place itself."""
    for class_name, files in pictures.items():
        (place / class_name).mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(files, 1):
            shutil.copy(file, place / class_name / f"{number:03}{file.suffix}")


def cautions(data: DataSet) -> list[str]:
    """What a data set is too small for: sentences, none where it is large enough for all that is looked at here."""
    splits = (data.train, data.validation, data.test)
    train, validation, test = (int(split.class_counts(len(data.class_names)).min()) for split in splits)
    pictures, sentences = len(data.test), []
    low, _ = accuracy_interval(pictures, pictures)
    if low < 0.95:
        sentences.append(
            f"Accuracy: even if all {pictures} test pictures are right, it may be as low as {100 * low:.0f} %, and two "
            "studies cannot be told apart."
        )
    if len(data.validation) < 100:
        sentences.append(
            f"Choice of the best cycle: one of {len(data.validation)} validation pictures is "
            f"{100 / len(data.validation):.0f} % of their accuracy, so that chance chooses."
        )
    if train < FEW:
        spread = 100 / np.sqrt(2 * max(train - 1, 1))
        sentences += [
            f"Probabilities of concepts: their spread comes from {train} pictures and is itself uncertain by about "
            f"{spread:.0f} %; “sure” and “not sure” are no more certain than that.",
            f"Traits: what {train} pictures have in common may be chance, such as the same pose or background.",
        ]
    if min(validation, test) < 2:
        sentences.append(
            f"Single pictures: some class has {validation} to validate with and {test} to test with; what is said "
            "about that class is said about one picture."
        )
    return sentences


def concept_cautions(concepts: Concepts, data: DataSet) -> list[str]:
    """What may be wrong with the concepts of a data set: sentences.

    None where each class has several concepts, most vectors are in one, and concepts of several classes come from
    `FEW` or more pictures of each.
    """
    sentences, total = [], concepts.members.shape[1]
    for label, name in enumerate(concepts.class_names):
        count, left = len(concepts.of_class(label)), int((concepts.members[label] == 0).sum())
        if count < 2:
            sentences.append(
                f"“{name}” has {'a single concept' if count else 'no concept'}: nothing can be told apart in it, and "
                "no explanation of it is ever sure. More pictures of the class help."
            )
        if left > total / 2:
            sentences.append(
                f"“{name}”: {left} of {total} vectors are in no concept. They fire on scenes, or on something of the "
                "class that its few pictures do not share; notebook 02 shows them."
            )
    shared = [k for k in range(1, concepts.count + 1) if (concepts.members == k).any(axis=1).sum() > 1]
    train = int(data.train.class_counts(len(data.class_names)).min())
    if shared and train < FEW:
        sentences.append(
            f"Concepts that are in several classes ({', '.join(map(str, shared))}) were matched by what {train} "
            "pictures of a class look like, which can join different things. Look at each class before you give one "
            "name to all."
        )
    return sentences


def learning_curve(data_set: str | Path, counts: list[int], seed=0, **parameters) -> pd.DataFrame:
    """Studies on few pictures, scored on all test pictures of the data set: a row per number of pictures of a class.

    counts: pictures of each class, as in `sample_folder`; those that the data set does not have are left out.
    parameters: of `asxai.Config`. Columns: `pictures`, `train` (those of a class that are trained on), `accuracy`,
    `concepts` (how many), `nmi` (`asxai.benchmarks.agreement` with true parts; NaN without part masks).
    """
    data, rows = load_data_set(data_set), []
    most = data.train.class_counts(len(data.class_names)).min()
    for count in [count for count in counts if count <= most]:
        study = Study.train(sample_folder(data_set, count), seed=seed, **parameters)
        concepts, nmi = found_concepts(study), np.nan  # nobody is to name those
        if data.test.parts is not None:
            winners = concepts.winners(own_class_maps(study, data.test), data.test.labels)
            table = agreement.contingency(winners, true_parts(data.test)[1], concepts.count, len(data.part_names))
            nmi = float(np.nanmean(agreement.foreground_nmi(table, data.test.labels)))
        accuracy = float((study.predict_split(data.test).labels == data.test.labels).mean())
        rows.append((count, int(study.data.train.class_counts().min()), accuracy, concepts.count, nmi))
    return pd.DataFrame(rows, columns=["pictures", "train", "accuracy", "concepts", "nmi"])


def common_mistakes(folder: Path) -> pd.DataFrame:
    """Folders that cannot be used, and what is said about each: a row per mistake, `mistake` and `message`.

    folder: one that can be used; copies of some of its pictures make those that cannot.
    """
    data, rows = load_data_set(folder), []  # and not the folder's layout, which may have splits
    every = sorted(path for split in data.splits.values() for path in split.paths)
    labels = {path: label for split in data.splits.values() for path, label in zip(split.paths, split.labels)}
    first, second = ([path for path in every if labels[path] == label][:3] for label in (0, 1))
    one, other = data.class_names[:2]
    usable, nothing = {one: first, other: second}, lambda place: None
    mistakes = {
        "no class folder": ({"": first[:1]}, nothing),
        "one class": ({one: first}, nothing),
        "two pictures": ({one: first[:2], other: second}, nothing),
        "empty file": (usable, lambda place: (place / one / "broken.jpg").touch()),
        "tiny picture": (usable, lambda place: Image.new("RGB", (12, 12)).save(place / other / "icon.png")),
        "in both": ({one: first, other: [*second, first[0]]}, nothing),
    }
    for mistake, (pictures, spoil) in mistakes.items():
        with tempfile.TemporaryDirectory() as temporary:
            place = Path(temporary).resolve() / "my_pictures"
            _fill(place, pictures)
            spoil(place)
            try:
                load_data_set(place)
            except DataError as error:
                rows.append((mistake, str(error).replace(f"{place.parent}/", "")))
    return pd.DataFrame(rows, columns=["mistake", "message"])
