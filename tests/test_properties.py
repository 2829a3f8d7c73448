"""What holds for any folder, parameter, name and score, tried on many."""

import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from helpers import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from asxai import paths
from asxai.concepts.names import names_template, read_names
from asxai.data.datasets import load_data_set
from asxai.data.pictures import DataError
from asxai.explain.rules import RULES, TIERS, tiers
from asxai.run import make, parameters, plan

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
WORDS = ["train", "test", "val", "Valid", "cat", "dog", "a b", "it's", "$x", "#1", "-p", "nan", "001", "é", "e\u0301"]
texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="/\0"), min_size=1, max_size=30)
file_names = st.sampled_from(WORDS) | texts.filter(lambda text: not text.startswith(".") and len(text.encode()) < 200)

# Folders


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Twenty different pictures, as bytes."""
    path = tmp_path_factory.mktemp("one") / "a.png"
    contents = []
    for number in range(20):
        Image.fromarray(noise(number)).save(path)
        contents.append(path.read_bytes())
    return contents


pictures = st.lists(st.integers(0, 19), max_size=6)  # which of them a folder holds; one may be there twice
classes = st.dictionaries(file_names, pictures, max_size=4)
splits = st.fixed_dictionaries({"train": classes, "test": classes})
trees = classes | splits | st.dictionaries(file_names, classes, max_size=3)


def fill(place, tree, files):
    for name, inside in tree.items():
        (place / name).mkdir(parents=True, exist_ok=True)
        if isinstance(inside, dict):
            fill(place / name, inside, files)
        else:
            for copy, number in enumerate(inside):
                (place / name / f"{copy}.png").write_bytes(files[number])


@quick
@given(trees)
def test_any_folder_is_a_data_set_or_an_error_that_names_it(files, tree):
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary).resolve() / "place"
        place.mkdir()
        fill(place, tree, files)
        before = sorted(place.rglob("*"))
        try:
            data = load_data_set(place)
        except DataError as error:
            assert str(place) in str(error)
        else:
            hashes = [picture for split in data.splits.values() for picture in split.hashes]
            assert len(set(hashes)) == len(hashes) and len(data.class_names) >= 2
            for split in data.splits.values():
                assert set(split.labels) == set(range(len(data.class_names)))
            assert load_data_set(place).fingerprint == data.fingerprint
        assert sorted(place.rglob("*")) == before


# Parameters

values = st.none() | st.booleans() | st.integers(0, 10**9) | st.floats(0, 1e9) | st.lists(st.integers(0, 9))
values |= st.dictionaries(st.integers(0, 9), texts)


@quick
@given(values.filter(lambda value: value is not None))
def test_a_value_that_was_written_as_python_writes_it_comes_back(value):
    back = parameters.convert("name", repr(value), type(value)())
    assert back == value and type(back) is type(value)


@quick
@given(texts, st.sampled_from([1, 0.5, True, [1], {}, None, "text"]))
def test_any_text_has_the_type_of_the_default_or_is_an_error_that_names_it(text, default):
    try:
        value = parameters.convert("name", text, default)
    except plan.RunError as error:
        assert f"name={text}" in str(error)
    else:
        assert default is None or type(value) is type(default)


plain = texts.map(str.strip).filter(lambda text: text and "=" not in text)


@quick
@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), plain, min_size=1))
def test_parameters_arrive_from_make_as_they_were_given(given):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASXAI_PARAMS", " ".join(f"{name}={text}" for name, text in given.items()))
        assert make.arguments_of_make() == [f"-p{name}={text}" for name, text in given.items()]


# Names


@quick
@given(file_names, file_names)
def test_slugs_are_tidy_names_of_one_thing(one, other):
    assert paths.slug(paths.slug(one)) == paths.slug(one) and len(paths.slug(one)) < 70
    assert (paths.slug(one) == paths.slug(other)) == (one == other)
    assert not set(paths.slug(one)) & set("/\\ '\"$#;:*?\n")


@quick
@given(st.lists(texts.map(str.strip), min_size=1, max_size=5))
def test_names_of_concepts_are_read_as_they_were_written(names):
    Exemplars = namedtuple("Exemplars", "pictures points")
    exemplars = Exemplars(np.zeros((1, len(names)), int), np.full((1, len(names), 2), 0.5))
    with tempfile.TemporaryDirectory() as temporary:
        path = names_template(Path(temporary) / "names.json", exemplars, ["abc"], ["cat/1.png"], names)
        assert [(name, points) for name, points in read_names(path)] == [(name, [["abc", 0.5, 0.5]]) for name in names]


# Rules

scores = st.lists(st.lists(st.floats(0, 1) | st.just(np.nan), min_size=3, max_size=3), min_size=2, max_size=4)


@quick
@given(scores, st.integers(0, 2), st.floats(0, 1), st.randoms(use_true_random=False))
def test_more_evidence_is_never_less_sure_and_order_does_not_matter(rows, concept, more, random):
    whole = np.array(rows)[None]
    tier = tiers(whole, np.array([0]), RULES)[0]
    assert tier in range(len(TIERS))
    raised = whole.copy()
    raised[0, 0, concept] = min(1, raised[0, 0, concept] + more)  # NaN stays: the class lacks the concept
    assert tiers(raised, np.array([0]), RULES)[0] <= tier
    others, concepts = [0, *random.sample(range(1, len(rows)), len(rows) - 1)], random.sample(range(3), 3)
    assert tiers(whole[:, others][:, :, concepts], np.array([0]), RULES)[0] == tier
