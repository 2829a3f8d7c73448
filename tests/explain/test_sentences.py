"""The sentences as English, as they are in the paper, and for any names of classes and concepts."""

import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import cases
from slow_rules import PRINTED, random_scores

from asxai.explain.judgement import judge

NAN = np.nan
TWO, PARTS = ("cat", "dog"), ("ear", "eyes", "nose", "legs")
UNSURE = "From this perspective, I am not sure whether this is a cat or a dog"


def sentence(own, others, class_names=TWO, names=PARTS, rules=PRINTED, similarity=None):
    scores = np.array([own, *np.atleast_2d(others)], dtype=float)
    return judge(scores, 0, class_names, names[: scores.shape[1]], rules, similarity).sentence


# --- Whole sentences -------------------------------------------------------------------------------------------------


def test_the_sentence_of_figure_6c():
    """The paper: "I am sure it is a dog mainly because it has a vivid nose, which is a dog's nose obviously. Meanwhile,
    it has eyes, which are something like a dog's eyes. In addition, it seems to have confused ears. The dog shows a
    higher semantic similarity score."
    """
    scores = np.array([[0.1, 0.05, 0.55], [0.8, 0.45, 0.6]])
    found = judge(scores, 1, TWO, ("nose", "eyes", "ears"), PRINTED, [0.4, 0.7])
    assert found.sentence == (
        "I am sure it is a dog mainly because it has a vivid nose, which is obviously a dog's nose. Meanwhile, it has "
        "eyes, which are something like a dog's eyes. In addition, it seems to have confusing ears. The dog shows a "
        "higher semantic similarity score."
    )
    assert (found.tier, found.predicted, found.other, found.settled) == ("sure", "dog", "cat", None)
    assert [(c.name, c.found) for c in found.concepts] == [("nose", "cat"), ("eyes", "cat"), ("ears", "cat")]


SURE, EAR = "I am sure it is a cat mainly because it has ", "a vivid ear, which is obviously a cat's ear."
SENTENCES = {  # by the scores of the cat, and those of the dog
    "0.09 0.03 / 0.07 0.05": f"{UNSURE}: no concept stands out.",  # Figure 6a
    "0.45 0.3 / 0 0": "It is probably a cat mainly because it has an ear, which is something like a cat's ear. "
    "Meanwhile, it has eyes, which are perhaps a cat's eyes.",
    "0.3 0.1 / 0.1 0.1": f"{UNSURE}. It may be a cat mainly because it has an ear, which is something like "
    "a cat's ear.",
    "0.6 0.8 / 0.6 0.8": f"{UNSURE}. Its eyes and ear seem confusing.",
    "0.6 0.1 / 0.6 0.1": f"{UNSURE}. It seems to have a confusing ear.",
    "0.1 0.1 / 0.6 0.1": f"{UNSURE}. Its ear is more like that of a dog.",
    "0.4 0.1 / 0.4 0.1": f"{UNSURE}: no concept is decisive.",
    "0.9 0.1 / 0.1 0.8": f"{SURE}{EAR} However, its eyes are more like those of a dog.",
    "0.9 0.9 / 0.1 0.1": f"{SURE}an ear and eyes, both vivid and obviously those of a cat.",
    "0.9 0.9 0.8 0.2 / 0.1 0.1 0.1 0.1": f"{SURE}an ear, eyes and a nose, all vivid and obviously those of a cat.",
    "0.9 0.3 0.3 / 0.1 0.1 0.1": f"{SURE}{EAR} Meanwhile, it has eyes and a nose, which are perhaps those of a cat.",
    # the legs, of a fourth wording, are left out
    "0.9 0.55 0.48 0.3 / 0.1 0.1 0 0.1": f"{SURE}{EAR} Meanwhile, it has a nose, which is something like a cat's nose. "
    "In addition, it has vivid eyes, which are something like a cat's eyes.",
    # all that can be said at once
    "0.9 0.3 0.6 0.1 / 0.1 0.1 0.6 0.7": f"{SURE}{EAR} Meanwhile, it has eyes, which are perhaps a cat's eyes. In "
    "addition, it seems to have a confusing nose. However, its legs are more like those of a dog.",
}


@pytest.mark.parametrize("scores, expected", SENTENCES.items(), ids=SENTENCES)
def test_sentences(scores, expected):
    assert sentence(*([float(value) for value in part.split()] for part in scores.split("/"))) == expected


def test_thresholds_that_leave_nothing_to_say():
    dim = replace(PRINTED, reasons_count=2, noticed=0.3, vivid=0.9)
    assert sentence([0.3, 0.3], [0, 0], rules=dim).endswith("no concept stands out.")
    assert sentence([0.32, 0.25], [0, 0], rules=replace(dim, vivid=0.5)).endswith("too few concepts stand out.")
    odd = replace(PRINTED, unsure=0, probably=0, sure=0, named=0.3, noticed=0.3, vivid=0.3)
    more = "I am sure it is a cat. However, its eyes are more like those of a dog."
    assert sentence([0.2, 0.4], [0.1, 0.5], rules=odd) == more
    assert sentence([0.2, 0.4], [0.1, 0.4], rules=odd) == "I am sure it is a cat. It seems to have confusing eyes."


def test_every_sentence_is_well_formed():
    """On random pictures of every kind: no double blanks or links, a verb that agrees, a capital and a full stop."""
    rng, seen = np.random.default_rng(0), set()
    names = ["ear", "ear 2", "eyes", "eyes 2", "nose", "concept 6", "concept 7", "upper_lip", "antlers"]
    class_names = ["ibex", "Manx_cat", "otters", "walrus", "unicorn", "8"]
    for round_ in range(400):
        scores, (label,) = random_scores(rng, 1, rng.integers(1, 7), rng.integers(1, 10), 0.2)
        similarity = rng.choice([NAN, 0.1, 0.5, 0.51, 0.9], scores.shape[1]) if round_ % 2 else None
        text = judge(scores[0], label, class_names, names, similarity=similarity).sentence
        seen.add(text)
        assert re.fullmatch(r"[A-Z][^.]*\.( [A-Z][^.]*\.)*", text), text
        assert not re.search(r"  |_| ,|,,|None|nan|\ban? (eyes|antlers|otters|concept \d)\b", text), text
        assert not re.search(r"\ba (ear|ibex|upper|8)\b|\ban (nose|unicorn|Manx|vivid)", text), text
        assert not re.search(r"(?<!of )(eyes|antlers), which is|has an? (\w+ )?\w+, which are|vivid vivid", text), text
        assert text.count("However, ") < 2 and text.count("Meanwhile, ") < 2 and len(text.split(". ")) <= 7, text
    assert len(seen) > 300


# --- Names of concepts -----------------------------------------------------------------------------------------------


@cases(
    "concept, phrase",
    ("ear", "has a vivid ear, which is obviously a cat's ear"),
    ("eyes", "has vivid eyes, which are obviously a cat's eyes"),
    ("left_ear", "has a vivid left ear, which is obviously a cat's left ear"),
    ("upper tail feathers", "has vivid upper tail feathers, which are obviously a cat's upper tail feathers"),
    ("eye 1", "has a vivid eye, which is obviously a cat's eye"),
    ("eye 2", "has eye region 2, which is vivid and obviously that of a cat"),
    ("ear 3", "has ear region 3, which is vivid and obviously that of a cat"),
    ("legs 2", "has region 2 of legs, which is vivid and obviously that of a cat"),
    ("ear 12", "has ear region 12, which is vivid and obviously that of a cat"),
    ("concept 3", "shows concept 3, which is vivid and obviously that of a cat"),
    ("concept", "has a vivid concept, which is obviously a cat's concept"),
    ("some fur", "has some vivid fur, which is obviously a cat's fur"),
    ("the left ear", "has a vivid left ear, which is obviously a cat's left ear"),
    ("some fur 2", "has fur region 2, which is vivid and obviously that of a cat"),
    ("the_whiskers", "has vivid whiskers, which are obviously a cat's whiskers"),
)
def test_a_concept_in_a_sentence(concept, phrase):
    names = [concept, *another(concept)]  # of which nothing is said
    found = sentence([0.9, 0.01][: len(names)], [0.1, 0.01][: len(names)], TWO, names)
    assert found == f"I am sure it is a cat mainly because it {phrase}."


def another(concept):
    """A concept of the same noun, where the name has a number."""
    return [f"{concept[:-2].strip()} 99"] if concept[-1].isdigit() else []


@cases("concept", "ear 2", "ear 12", "Ear 2")
def test_the_only_ear_of_a_class_is_no_second_one(concept):
    noun = concept.split()[0]
    because = f"I am sure it is a cat mainly because it has a vivid {noun}, which is obviously a cat's {noun}."
    assert sentence([0.9, 0.01], [0.1, 0.01], TWO, [concept, "concept 2"]) == because
    judged = judge(np.array([[0.9, 0.01], [0.1, 0.01]]), 0, TWO, [concept, "eye"])
    assert [one.name for one in judged.concepts] == [concept, "eye"]  # as legends and files have it


@cases(
    "concept, phrase",
    ("ear", "it seems to have a confusing ear"),
    ("eyes", "it seems to have confusing eyes"),
    ("eye 2", "its eye region 2 seems confusing"),
    ("concept 3", "concept 3 seems confusing"),
)
def test_a_confusing_concept(concept, phrase):
    names = ["nose", concept, *another(concept)]
    scores = [0.9, 0.6, 0.01][: len(names)], [0.1, 0.6, 0.01][: len(names)]
    assert sentence(*scores, TWO, names).endswith(f" Meanwhile, {phrase}.")


@cases(
    "concepts, phrase",
    (["ear", "nose"], "has an ear and a nose, both"),
    (["ear", "eye", "legs"], "has an ear, an eye and legs, all"),
    (["eye", "eye 2"], "has an eye and eye region 2, both"),
    (["concept 4", "concept 1"], "shows concepts 4 and 1, both"),
    (["ear", "concept 1"], "shows an ear and concept 1, both"),
    (["some fur", "a nose", "someone"], "has some fur, a nose and a someone, all"),
    (["a", "b", "c", "d"], "has an a, a b, a c and a d, all"),
    (["a", "b", "c", "d", "e"], "has an a, a b, a c and 2 others, all"),
    ([f"concept {k}" for k in range(1, 13)], "shows concepts 1, 2, 3 and 9 others, all"),
)
def test_lists_of_concepts(concepts, phrase):
    found = sentence([0.9] * len(concepts), [0.1] * len(concepts), TWO, concepts)
    assert found == f"I am sure it is a cat mainly because it {phrase} vivid and obviously those of a cat."


@cases(
    "concepts, phrase",
    (["ear", "nose"], "Its ear and nose"),
    (["some fur", "the nose"], "Its fur and nose"),
    (["eye", "eye 2", "legs 2"], "Its eye, eye region 2 and legs"),
    (["legs 2", "legs 3"], "Its region 2 of legs and region 3 of legs"),
    (["concept 4", "concept 1"], "Concepts 4 and 1"),
    (["concept 1", "ear"], "Its ear and concept 1"),
    (["a", "b", "c", "d", "e"], "Its a, b, c and 2 other concepts"),
    (["a", "concept 2", "c", "d", "e"], "Its a, c, d and 2 other concepts"),
    ([f"concept {k}" for k in range(1, 13)], "Concepts 1, 2, 3 and 9 others"),
)
def test_lists_without_articles(concepts, phrase):
    alike, less = [0.9] * len(concepts), [0.1] * len(concepts)
    assert sentence(alike, alike, TWO, concepts).endswith(f" {phrase} seem confusing.")
    assert sentence(less, alike, TWO, concepts).endswith(f" {phrase} are more like those of a dog.")


def test_a_single_concept_that_is_more_like_others():
    others = np.array([[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.7, 0.1], [0.1, 0.1, 0.1, 0.9]])
    found = sentence([0.1, 0.1, 0.1, 0.1], others, ("cat", "dog", "fox", "owl"), ("ear", "eyes", "nose", "concept 4"))
    assert found.endswith(" Its eyes and nose are more like those of a fox, and concept 4 is more like that of an owl.")


# --- Names of classes ------------------------------------------------------------------------------------------------


ARTICLES = {  # of names as they are said
    "a": "cat, unicorn, European robin, uakari, one-toed sloth, 118, 7, walrus, rhinoceros, lens, bear grass, bus, gas",
    "an": "otter, urchin, hourglass dolphin, 8, 11, 18, iris, ox",
    "one of the": "dogs, Great Pyrenees, Feet, antennae",
}
NAMES = {name: f"{article} {name}" for article, names in ARTICLES.items() for name in names.split(", ")}
NAMES |= {"Russian_Blue": "a Russian Blue", "umbrella_bird": "an umbrella bird", "german+shepherd": "a german shepherd"}
NAMES |= {"001.Black_footed_Albatross": "a Black footed Albatross"}


@pytest.mark.parametrize("name, article", NAMES.items())
def test_article_and_number_of_a_class(name, article):
    found = sentence([0.9], [0.1], (name, "zebra"), ["ear"])
    assert found.startswith(f"I am sure it is {article} mainly because it has a vivid ear, which is obviously ")
    whose = f"that of {article}" if article.startswith("one of") else f"{article}'s ear"
    assert found.endswith(f" obviously {whose}.")


@cases(
    "count, expected",
    (1, "a bird 0"),
    (2, "a bird 0 or a bird 1"),
    (3, "a bird 0, a bird 1 or a bird 2"),
    (4, "a bird 0, a bird 1, a bird 2 or a bird 3"),
    (5, "a bird 0, a bird 1, a bird 2 or one of 2 other classes"),
    (30, "a bird 0, a bird 1, a bird 2 or one of 27 other classes"),
)
def test_many_classes_that_it_could_be(count, expected):
    found = judge(np.zeros((count, 3)), 0, [f"bird {k}" for k in range(count)], PARTS[:3])
    assert found.sentence == f"{UNSURE[: UNSURE.index('a cat')]}{expected}: no concept stands out."
    assert found.other == (None if count == 1 else "bird 1")


def test_one_class():
    reason = "mainly because it has a vivid ear, which is obviously a walrus's ear."
    alone = sentence([0.9, 0.05], np.zeros((0, 2)), ["walrus"], similarity=[0.7])
    assert alone == f"I am sure it is a walrus {reason}"


def test_classes_in_the_plural():
    found = sentence([0.0], [0.0], ("cats", "dogs"), ["ear"], similarity=[0.2, 0.8])
    assert found == (
        "From this perspective, I am not sure whether this is one of the cats or one of the dogs: no concept stands "
        "out. The dogs show a higher semantic similarity score, which speaks for them."
    )
