"""Sentences."""

import re

from .rules import BARE, MOST_NAMED, TIERS

ARTICLE = r"^(some|an?|the)\s+(?=\S)"  # of a name; "some" is kept, for only a person knows what cannot be counted
SOME = r"some\b"
MOST_CLAUSES = 3  # that speak for the class, the strongest first, as in the sentence of Figure 6c


def reasons_text(judged, names, column, rules):
    """The sentences about concepts; names: the predicted class, then those that compete with it."""
    reasons = _reasons(judged, names[0])
    doubts = [concept for concept in judged if concept.semanteme == "confusing"]
    contrary = [concept for concept in doubts if concept.delta < -rules.unsure]  # another class has more of it
    confusing = [concept.name for concept in doubts if concept.delta >= -rules.unsure]

    if column < TIERS.index("not sure"):
        sentences = [f"{('I am sure it is', 'It is probably')[column]} {_a(names[0])}"]
        sentences[0] += f" mainly because {reasons[0]}" if reasons else ""
    else:
        sentences = [f"From this perspective, I am not sure whether this is {_alternatives(names)}"]
        sentences[0] += "" if reasons or doubts else f": {_why_nothing(judged, rules)}"
        sentences += [f"It may be {_a(names[0])} mainly because {reasons[0]}"] if reasons else []
    clauses = reasons[1:] + ([_confusing(confusing)] if confusing else [])
    links = ("Meanwhile, ", "In addition, ", "Finally, ") if reasons else ("",)
    sentences += [capitalised(link + clause) for link, clause in zip(links, clauses)]
    if contrary:
        sentences.append(capitalised(("" if column == BARE else "However, ") + _contrary(contrary)))
    return ". ".join(sentences) + "."


def _why_nothing(judged, rules):
    if not judged:
        return "the predicted class has no concepts"
    if all(concept.pcs <= rules.noticed for concept in judged):
        return "no concept stands out"
    return "no concept is decisive" if judged[0].delta <= rules.unsure else "too few concepts stand out"


def _reasons(judged, class_name):
    """A clause for all concepts of the same words, the strongest first; of more than three the weakest are left out."""
    groups = {}
    for concept in judged:
        if concept.semanteme not in (None, "confusing"):
            groups.setdefault((concept.position, concept.semanteme), []).append(concept.name)
    return [_reason(names, position == "vivid", semanteme, class_name)
            for (position, semanteme), names in list(groups.items())[:MOST_CLAUSES]]


def _reason(names, vivid, semanteme, class_name):
    """That it has a vivid N, which is obviously a C's N; has Ns, which are perhaps those of a C; and so on."""
    verb = "shows" if any(_parsed(name)[0] is None for name in names) else "has"
    if len(names) > 1:
        which = f"{'both' if len(names) == 2 else 'all'} vivid and" if vivid else "which are"
        return f"it {verb} {_phrases(names)}, {which} {semanteme} those of {_a(class_name)}"
    noun, number = _parsed(names[0])
    if noun is None or number > 1 or looks_plural(class_name):
        whose = f"{'those' if _is_plural(names[0]) else 'that'} of {_a(class_name)}"
    else:
        whose = f"{_a(class_name)}'s {_bare(names[0])}"
    be = "are" if _is_plural(names[0]) else "is"
    if noun is None:
        return f"it {verb} {_phrase(names[0])}, which {be} {'vivid and ' if vivid else ''}{semanteme} {whose}"
    return f"it {verb} {_phrase(names[0], 'vivid' if vivid else '')}, which {be} {semanteme} {whose}"


def _confusing(names):
    if len(names) == 1 and _parsed(names[0])[0] is not None:
        return f"it seems to have {_phrase(names[0], 'confusing')}"
    return f"{_its(names)} {'seems' if len(names) == 1 else 'seem'} confusing"


def _contrary(concepts):
    """Which other classes have more of these concepts: the two that have more of most."""
    groups = {}
    for concept in sorted(concepts, key=lambda concept: concept.delta):
        groups.setdefault(concept.found, []).append(concept.name)
    clauses = []
    for class_name, names in sorted(groups.items(), key=lambda group: -len(group[1]))[:2]:
        many = len(names) > 1 or _is_plural(names[0])
        clauses.append(f"{_its(names)} {'are' if many else 'is'} more like {'those' if many else 'that'} of "
                       f"{_a(class_name)}")
    return ", and ".join(clauses)


def _alternatives(class_names):
    shown, left = _shortened(class_names)
    return joined([_a(name) for name in shown] + ([f"one of {left} other classes"] if left else []), "or")


def _phrases(names):
    """Several concepts; those without a noun go by their numbers if they are alone."""
    shown, left = _shortened(names)
    others = [f"{left} others"] if left else []
    if all(_parsed(name)[0] is None for name in names):
        return "concepts " + joined([str(_parsed(name)[1]) for name in shown] + others)
    return joined([_phrase(name) for name in shown] + others)


def _its(names):
    if all(_parsed(name)[0] is None for name in names):
        return _phrase(names[0]) if len(names) == 1 else _phrases(names)
    shown, left = _shortened(names)
    named = [name for name in shown if _parsed(name)[0]]  # first, so that none of the others follows "its"
    rest = [_phrase(name) for name in shown if not _parsed(name)[0]]
    return "its " + joined([_bare(name) for name in named] + rest + ([f"{left} other concepts"] if left else []))


def _shortened(items):
    """The first items, and how many are left out: none, or at least two."""
    return (items, 0) if len(items) <= MOST_NAMED else (items[: MOST_NAMED - 1], len(items) - MOST_NAMED + 1)


def _phrase(name, adjective=""):
    """A concept with its article."""
    noun, number = _parsed(name)
    if noun is None:
        return f"concept {number}"
    text = f"{adjective} {_bare(name)}".strip()
    if number == 1 and re.match(SOME, noun):
        return f"some {text}"
    return text if _is_plural(name) else f"{_article(text)} {text}"


def _bare(name):
    """A concept without an article, also where its name has one: whoever gives names may write "the", or "some"."""
    noun, number = _parsed(name)
    noun = re.sub(ARTICLE, "", noun)
    if number == 1:
        return noun
    return f"{_ordinal(number)} region of {noun}" if looks_plural(noun) else f"{_ordinal(number)} {noun} region"


def _is_plural(name):
    noun, number = _parsed(name)
    return noun is not None and number == 1 and looks_plural(noun)


def _parsed(name):
    """Noun and number of a concept, as `asxai.concepts.concepts` names them; no noun where it has none but "concept"."""
    found = re.fullmatch(r"(.+) ([1-9]\d*)", readable(name))
    if not found:
        return readable(name), 1
    return (None if found[1].lower() == "concept" else found[1]), int(found[2])


def _a(class_name):
    """A class with its article; folders are often named in the plural."""
    name = readable(class_name)
    return f"one of the {name}" if looks_plural(name) else f"{_article(name)} {name}"


def with_the(class_name):
    return f"the {readable(class_name)}"


def readable(name):
    """Underscores to blanks, without a leading number as in 001.Some_name."""
    return re.sub(r"^\d+\.\s*(?=\D)", "", re.sub(r"[_+\s]+", " ", name).strip())


def looks_plural(noun):
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


def _ordinal(number):
    words = ("second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    if number <= len(words) + 1:
        return words[number - 2]
    last = 0 if number // 10 % 10 == 1 else number % 10
    return str(number) + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")


def joined(items, word="and"):
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {word} {items[-1]}"


def capitalised(text):
    return text[0].upper() + text[1:]
