"""From words to English, whatever classes and concepts are called: the sentences of Figure 6.

    reasons_text(judged, ["dog", "cat"], 0, RULES)              # "I am sure it is a dog mainly because it has ..."
    similarity_text(["dog", "cat"], 1, True, "", False)         # "The dog shows a higher semantic similarity score."

Names are as folders and part masks have them. Of a name of several words the last one is inflected. The number in
"ear 2" tells two concepts of one name apart, and is left out where a class has no other. Otherwise it stays a number,
as legends have it, and no count: nothing has a sixth ear. "concept 3" has no name yet.
"""

import re
from typing import NamedTuple

from .rules import BARE, TIERS, Rules

NAMELESS = "concept"  # the noun of a concept without a name
MOST_NAMED = 4  # concepts of one clause, or classes one is not sure about, that are named one by one
MOST_CLAUSES = 3  # that speak for the class, the strongest first, as in the sentence of Figure 6c


class JudgedConcept(NamedTuple):
    """A concept of the predicted class in a picture."""

    name: str
    pcs: float
    delta: float
    found: str | None  # name of the best other class that has the concept
    position: str | None  # "vivid", "be" or None
    semanteme: str | None  # "obviously", "something like", "perhaps", "confusing" or None


def reasons_text(judged: list[JudgedConcept], names: list[str], column: int, rules: Rules) -> str:
    """The sentences about concepts. names: the predicted class, then those that compete; column: of the table.

    judged: all concepts of the predicted class, also those of which nothing is said.
    """
    judged = _without_needless_numbers(judged)
    reasons = _reasons(judged, names[0])
    doubts = [concept for concept in judged if concept.semanteme == "confusing"]
    contrary = [concept for concept in doubts if concept.delta < -rules.unsure]  # another class has more of it
    confusing = [_Noun(concept.name) for concept in doubts if concept.delta >= -rules.unsure]

    if column < TIERS.index("not sure"):
        sentences = [f"{('I am sure it is', 'It is probably')[column]} {_a(names[0])}"]
        sentences[0] += f" mainly because {reasons[0]}" if reasons else ""
    else:
        alternatives = _listed([_a(name) for name in names], "one of {} other classes", "or")
        sentences = [f"From this perspective, I am not sure whether this is {alternatives}"]
        sentences[0] += "" if reasons or doubts else f": {_why_nothing(judged, rules)}"
        sentences += [f"It may be {_a(names[0])} mainly because {reasons[0]}"] if reasons else []
    clauses = reasons[1:] + ([_confusing(confusing)] if confusing else [])
    links = ("Meanwhile, ", "In addition, ", "Finally, ") if reasons else ("",)
    sentences += [_capitalised(link + clause) for link, clause in zip(links, clauses)]
    if contrary:
        sentences.append(_capitalised(("" if column == BARE else "However, ") + _contrary(contrary)))
    return ". ".join(sentences) + "."


def similarity_text(names: list[str], equal: int, clear: bool, link: str, settles: bool) -> str:
    """The sentence about global similarity.

    names: classes, the most similar first; equal: how many of them share the highest similarity; clear: whether the
    first has a clear lead. link: how the sentence begins. settles: whether similarity speaks where concepts do not.
    """
    highest, count = f"the highest semantic similarity score of {len(names)} classes", len(names)
    if equal > 1:
        who = _listed([_the(name) for name in names[:equal]]) if equal <= MOST_NAMED else f"{equal} classes"
        who = f"all {who}" if equal == count > MOST_NAMED else who
        return _capitalised(
            f"{who} {'show equal semantic similarity scores' if equal == count else f'share {highest}'}."
        )
    verb, it = ("show", "them") if _looks_plural(_readable(names[0])) else ("shows", "it")
    followed = "" if clear else f", closely followed by {_the(names[1])}"
    what = f"a {'' if clear else 'slightly '}higher semantic similarity score" if count == 2 else highest + followed
    return _capitalised(f"{link}{_the(names[0])} {verb} {what}{f', which speaks for {it}' if settles else ''}.")


def _without_needless_numbers(judged):
    """Names are numbered over all classes; of a class that has one ear no sentence says "ear region 2"."""
    nouns = [_numbered(concept.name)[0].lower() for concept in judged]
    alone = [noun != NAMELESS and nouns.count(noun) == 1 for noun in nouns]
    names = (_numbered(concept.name)[0] if one else concept.name for concept, one in zip(judged, alone))
    return [concept._replace(name=name) for concept, name in zip(judged, names)]


# --- Clauses ---------------------------------------------------------------------------------------------------------


def _why_nothing(judged, rules):
    if not judged:
        return "the predicted class has no concepts"
    if all(concept.pcs <= rules.noticed for concept in judged):
        return "no concept stands out"
    return "no concept is decisive" if judged[0].delta <= rules.unsure else "too few concepts stand out"


def _reasons(judged, class_name):
    """A clause for all concepts of the same words, the strongest first; of more than three the weakest are left out."""
    return [_reason([_Noun(concept.name) for concept in group], *words, class_name) for words, group in _groups(judged)]


def _groups(judged):
    """Concepts that speak for the class, by whether they are vivid and their semanteme."""
    groups = {}
    for concept in judged:
        if concept.semanteme not in (None, "confusing"):
            groups.setdefault((concept.position == "vivid", concept.semanteme), []).append(concept)
    return list(groups.items())[:MOST_CLAUSES]


def named_reasons(judged: list[JudgedConcept]) -> list[str]:
    """Names of the concepts that the sentence gives as reasons for the class, without mere "others"."""
    shown = lambda group: group if len(group) <= MOST_NAMED else group[: MOST_NAMED - 1]
    return [concept.name for _, group in _groups(judged) for concept in shown(group)]


def _reason(nouns, vivid, semanteme, class_name):
    """That it has a vivid N, which is obviously a C's N; has Ns, which are perhaps those of a C; and so on."""
    verb = "shows" if any(noun.nameless for noun in nouns) else "has"
    if len(nouns) > 1:
        which = f"{'both' if len(nouns) == 2 else 'all'} vivid and" if vivid else "which are"
        return f"it {verb} {_phrases(nouns)}, {which} {semanteme} those of {_a(class_name)}"
    (noun,), (be, that) = nouns, ("are", "those") if nouns[0].plural else ("is", "that")
    by_name = not noun.label and not _looks_plural(class_name)
    whose = f"{_a(class_name)}'s {noun.bare}" if by_name else f"{that} of {_a(class_name)}"
    if noun.label:
        return f"it {verb} {noun.bare}, which {be} {'vivid and ' if vivid else ''}{semanteme} {whose}"
    return f"it {verb} {noun.phrase('vivid' if vivid else '')}, which {be} {semanteme} {whose}"


def _confusing(nouns):
    if len(nouns) == 1 and not nouns[0].label:
        return f"it seems to have {nouns[0].phrase('confusing')}"
    return f"{_its(nouns)} {'seems' if len(nouns) == 1 else 'seem'} confusing"


def _contrary(concepts):
    """Which other classes have more of these concepts: the two that have more of most."""
    groups, clauses = {}, []
    for concept in sorted(concepts, key=lambda concept: concept.delta):
        groups.setdefault(concept.found, []).append(_Noun(concept.name))
    for class_name, nouns in sorted(groups.items(), key=lambda group: -len(group[1]))[:2]:
        be, that = ("are", "those") if len(nouns) > 1 or nouns[0].plural else ("is", "that")
        clauses.append(f"{_its(nouns)} {be} more like {that} of {_a(class_name)}")
    return ", and ".join(clauses)


def _phrases(nouns):
    """Several concepts; those without a noun go by their numbers if they are alone."""
    if all(noun.nameless for noun in nouns):
        return "concepts " + _listed([str(noun.number) for noun in nouns], "{} others")
    return _listed([noun.phrase() for noun in nouns], "{} others")


def _its(nouns):
    if all(noun.nameless for noun in nouns):
        return nouns[0].bare if len(nouns) == 1 else _phrases(nouns)
    nouns = sorted(nouns, key=lambda noun: noun.nameless)  # so that no concept without a noun follows "its"
    return "its " + _listed([noun.bare for noun in nouns], "{} other concepts")


def _listed(items, others="", word="and"):
    """Items one by one; of many the first ones, and how many others there are, at least two."""
    if len(items) > MOST_NAMED:
        items = [*items[: MOST_NAMED - 1], others.format(len(items) - MOST_NAMED + 1)]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


# --- Names. The library inflect takes walrus, lens and iris for plurals, says "a 8", and needs 2 s to be imported. ----


class _Noun:
    """A concept's name as sentences use it, without an article: whoever gives names may write "the", or "some"."""

    def __init__(self, name):
        noun, number = _numbered(name)
        self.number = number or 1
        self.nameless = number is not None and noun.lower() == NAMELESS
        self.label = self.nameless or self.number > 1  # stands without an article
        self.plural = not self.label and _looks_plural(noun)
        self.some = not self.label and noun.startswith("some ")  # only a person knows what cannot be counted
        self.bare = re.sub(r"^(some|an?|the)\s+(?=\S)", "", noun)
        if self.nameless:
            self.bare = f"concept {self.number}"
        elif self.label:
            self.bare = (
                f"region {self.number} of {self.bare}" if _looks_plural(noun) else f"{self.bare} region {self.number}"
            )

    def phrase(self, adjective=""):
        """With its article."""
        text = f"{adjective} {self.bare}".strip()
        if self.label or self.plural and not self.some:
            return text
        return f"{'some' if self.some else _article(text)} {text}"


def _numbered(name):
    """Noun and number of a name, ("ear", 2) of "ear 2"; without a number it is None."""
    found = re.fullmatch(r"(.+) ([1-9]\d*)", _readable(name))
    return (found[1], int(found[2])) if found else (_readable(name), None)


def _a(class_name):
    """A class with its article; folders are often named in the plural."""
    name = _readable(class_name)
    return f"one of the {name}" if _looks_plural(name) else f"{_article(name)} {name}"


def _the(class_name):
    return f"the {_readable(class_name)}"


def _readable(name):
    """Underscores to blanks, without a leading number as in 001.Some_name."""
    return re.sub(r"^\d+\.\s*(?=\D)", "", re.sub(r"[_+\s]+", " ", name).strip())


def _looks_plural(noun):
    """Whether the last word looks like a plural; words like lens, iris, grass, walrus and rhinoceros do not."""
    last = noun.split()[-1].lower()
    if re.search(r"(ss|us|is|eros|smos|lens|species|series)$", last):
        return False
    return len(last) > 3 and re.search(r"(s|[ft]ee(t|th)|nae)$", last) is not None


def _article(text):
    """By sound, as far as letters tell."""
    text = text.lower()
    if re.match(r"e[uw]|uni(?![dmn])|u[bcfhjkqrst][aeiou]|ua|uga|ukr|one\b|once\b", text):
        return "a"
    return "an" if re.match(r"[aeiou]|8|1[18](?!\d)|hour|honest|hono|heir", text) else "a"


def _capitalised(text):
    return text[0].upper() + text[1:]
