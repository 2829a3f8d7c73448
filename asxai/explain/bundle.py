"""A study as one file: what predicts and explains, without the training pictures.

    study.export("pets.zip")                            # exemplars=True puts small training pictures in
    asxai.Study.open("pets.zip").explain("some.jpg")    # anywhere; says the same as the study itself

The zip holds the files of a study's folder (see `asxai.explain.store`) without the place and names of pictures, and
`explainer.safetensors`: concepts, scores, and windows of 16 x 16 pixels around prototypes for the global similarity. If
the owner wants it, `exemplars/00000.jpg`, ... are in it, too. Files are read under fixed names into a folder that is
then removed, up to a size, and whatever else the zip holds makes it an error.
"""

import dataclasses
import io
import json
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from .. import paths
from ..cache import load_tensors, save_tensors
from ..concepts.concepts import Concepts
from ..data.features import BATCH
from ..data.folders import tail
from ..data.pictures import to_batch
from ..model.backbones import WeightsError
from ..model.networks import NotGiven
from . import store
from .scores import NUMBERS, Scores
from .similarity import Prototypes

if TYPE_CHECKING:
    from ..model.protocnn import ProtoCNN
    from ..study import Study

FORMAT = 1
FILES = ("study.json", "model.safetensors", "log.csv", "prototypes.csv", "explainer.safetensors")
EXEMPLAR = re.compile(r"exemplars/\d{5}\.jpg")
SIDE = 128  # pixels of an exemplar
# what readers raise on odd input
DAMAGE = (BadZipFile, zlib.error, SafetensorError, Image.UnidentifiedImageError, Image.DecompressionBombError)
DAMAGE += (ValueError, LookupError, TypeError, AttributeError, RuntimeError, EOFError)
LARGEST, LARGEST_TEXT = 4 * 2**30, 64 * 2**20  # bytes, unpacked: of all files, and of one that is text


@dataclass(frozen=True, eq=False)
class Kept:
    """What explanations need of training pictures."""

    concepts: Concepts
    numbers: dict  # of `Scores`, by name
    prototypes: Prototypes
    training: tuple[torch.Tensor, torch.Tensor]  # similarity (picture, class * basis) and labels, or of no picture
    names: tuple[str, ...]  # of these pictures, as "class/file"
    files: tuple[bytes, ...]  # and the pictures, JPEG

    def scores_of(self, concepts: Concepts) -> Scores:
        return Scores(concepts.class_names, concepts.names, *(self.numbers[name] for name in NUMBERS))

    def exemplars(self, numbers: list) -> tuple:
        """What reads these training pictures, uint8 `(exemplar, 128, 128, 3)`, and their names."""
        files = [self.files[n] for n in numbers]
        pictures = lambda: [np.asarray(Image.open(io.BytesIO(file), formats=["JPEG"]).convert("RGB")) for file in files]
        read = lambda: np.stack(pictures()) if files else np.zeros((0, SIDE, SIDE, 3), np.uint8)
        return cache(read), tuple(self.names[n] for n in numbers)

    def check(self, model: "ProtoCNN"):
        """Raises ValueError where these numbers are not of this model."""
        shape = tuple(model.basis_vectors.shape[:2])
        known, labels = self.training
        fits = self.concepts.members.shape == shape == self.prototypes.windows.shape[:2]
        fits &= self.prototypes.foreground.shape == shape and known.shape[1:] == (np.prod(shape),)
        fits &= all(array.shape == (shape[0], self.concepts.count) for array in self.numbers.values())
        fits &= len(known) == len(labels) == len(self.files) == len(self.names)
        if not fits:
            raise ValueError("its numbers are not those of its network")


def write(study: "Study", path: str | Path, exemplars: bool) -> Path:
    """See `Study.export`."""
    if study.kept:
        raise ValueError(f"{study.folder} is such a file already; copy it")
    explainer, train = study.explainer, study.data.train
    prototypes, (known, labels) = explainer._prototypes, explainer.training
    few = slice(None if exemplars else 0)
    names = [tail(path, 2) for path in train.paths[few]]
    notes = json.dumps({"format": FORMAT, "concepts": explainer.concepts.to_dict(), "exemplars": names})
    tensors = prototypes._asdict() | {"similarity": known[few], "labels": labels[few]}
    tensors |= {name: torch.from_numpy(getattr(explainer.scores, name)) for name in NUMBERS}
    with TemporaryDirectory(prefix="asxai-") as place:
        folder, unnamed = Path(place), study.prototypes if exemplars else study.prototypes.assign(source="")
        config = dataclasses.replace(study.config, data_set=study.data.name)  # where pictures lie is the owner's
        store.write(dataclasses.replace(study, config=config, prototypes=unnamed, folder=folder))
        save_tensors(folder / FILES[-1], tensors, notes)

        def pack(temporary):
            with ZipFile(temporary, "w") as file:
                for name in FILES:
                    kind = ZIP_STORED if name.endswith(".safetensors") else ZIP_DEFLATED
                    file.write(folder / name, name, kind)
                for n, picture in enumerate(_small(train.paths[few])):
                    file.writestr(f"exemplars/{n:05}.jpg", picture)

        paths.write_atomically(path, pack)
    return Path(path)


def _small(files) -> Iterator[bytes]:
    for start in range(0, len(files), BATCH):
        for picture in to_batch(files[start : start + BATCH], SIDE).permute(0, 2, 3, 1).numpy():
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, format="JPEG", quality=85)
            yield buffer.getvalue()


class NoExport(WeightsError):
    """A zip that holds nothing of a study; the message says what to do."""


@contextmanager
def unpacked(path: str | Path) -> Iterator[tuple[Path, Kept]]:
    """A folder with the study in a file, until the end of the block, and what explanations need besides.

    Raises FileNotFoundError where there is no file, and `WeightsError` that names it for one that is damaged, too large
    or no study, also where the block finds so.
    """
    path = Path(path)
    if not path.is_file():
        problem = "a folder: Study.load reads that of a study" if path.is_dir() else "no such file: check the path"
        raise FileNotFoundError(f"{path} is {problem}")
    with TemporaryDirectory(prefix="asxai-") as place:
        folder = Path(place)
        try:
            with ZipFile(path) as file:
                pictures = _checked(file)
                for name in FILES:
                    with file.open(name) as source, open(folder / name, "wb") as target:
                        shutil.copyfileobj(source, target)
                files = tuple(map(file.read, pictures))
            yield folder, _kept(folder, files)
        except (NotGiven, NoExport):
            raise  # the file is whole
        except DAMAGE as error:
            reason = str(error).replace(f"{folder}/", "").partition("; remove ")[0]
            raise WeightsError(
                f"{path} is damaged, or no file of Study.export ({reason}); fetch it again, or export it again"
            ) from error


def _checked(file: ZipFile) -> list[str]:
    """The names of its exemplars. Raises `NoExport` for a zip without any of our files, and ValueError for one that
    holds others besides, holds one twice, or is too large."""
    sizes = {entry.filename: entry.file_size for entry in file.infolist()}
    if not set(FILES) & set(sizes):
        raise NoExport(
            f"{file.filename} is a zip, but no export of a study: none of its files is of one. Give a file that "
            "`asxai export` or Study.export wrote; pictures to explain have to be unpacked"
        )
    pictures = sorted(filter(EXEMPLAR.fullmatch, sizes))
    if odd := sorted(sizes.keys() - {*FILES, *pictures}) or [n for n in FILES if n not in sizes]:
        raise ValueError(f"{odd[0]!r} is {'not a file of it' if odd[0] in sizes else 'missing'}")
    if len(sizes) < len(file.infolist()):
        raise ValueError("a file is in it twice")
    texts = [size for name, size in sizes.items() if not name.endswith(".safetensors")]
    if max(texts) > LARGEST_TEXT or sum(sizes.values()) > LARGEST:
        raise ValueError(f"unpacked it has {sum(sizes.values())} bytes, which is too large")
    return pictures


def _kept(folder: Path, files: tuple[bytes, ...]) -> Kept:
    tensors, notes = load_tensors(folder / FILES[-1])
    notes = json.loads(notes)
    if notes["format"] != FORMAT:
        raise ValueError(f"format {notes['format']}; this version reads {FORMAT}")
    for file in files:
        with Image.open(io.BytesIO(file), formats=["JPEG"]) as picture:
            if picture.size != (SIDE, SIDE):
                raise ValueError(f"an exemplar of {picture.size} pixels")
    concepts, numbers = Concepts.from_dict(notes["concepts"]), {name: tensors[name].numpy() for name in NUMBERS}
    prototypes = Prototypes(tensors["windows"], tensors["foreground"])
    training = tensors["similarity"], tensors["labels"]
    return Kept(concepts, numbers, prototypes, training, tuple(notes["exemplars"]), files)
