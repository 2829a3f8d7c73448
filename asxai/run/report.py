"""One page about explained pictures that needs nothing else: no server, no kernel, no file beside it.

`report.html` beside this module is the page without its content; pictures are WebP inside it. Whatever comes from the
reader's files (names of files, classes and concepts) is escaped, and the page forbids itself to load anything.
"""

import base64
import io
import re
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .. import paths
from ..data.pictures import read_picture
from ..explain.rules import TIERS
from ..figures.explanation import anchor
from ..figures.style import OUTLINES, TIER_COLOURS
from .plan import RunError

if TYPE_CHECKING:
    from ..explain.explanation import Explanation
    from ..study import Study

LARGEST = 9_000_000  # bytes of a page that can be sent; more than 300 pictures or so need more all the same
SIDES = (880, 760, 640, 520, 420, 320, 240)  # pixels, of pictures: the largest with which the page stays below
EXEMPLAR = 112  # pixels
MOST_CLASSES = 5  # of a card, those of the highest softmax
KINDS = dict(zip(TIERS, ("sure", "probably", "unsure")))  # how the page's style calls the tiers


def write_report(
    path: Path, study: "Study", pictures: Iterable[tuple[str, "Explanation"]], count: int, failed: dict
) -> int:
    """Write the page about so many pictures, each with its name, as they come; how many there are in it.

    failed: by file, why others could not be read; looked at when all pictures have come. Raises RunError if none did.
    """
    cards, rows, budget = [], [], LARGEST / max(count, 1)
    for name, one in pictures:
        cards.append(_card(len(cards), name, one, budget))
        rows.append((one.predicted, one.tier, one.score, one.probability))
    if not cards:
        raise RunError(f"none of {count} pictures could be read. {next(iter(failed.values()), '')}")
    classes = dict.fromkeys(study.class_names)
    accuracy = f"{100 * study.metrics['test_accuracy']:.0f} % of its own test pictures are right"
    if given := study.metrics.get("test_network"):
        accuracy += f"; of them, {100 * given['agreement']:.0f} % are decided as by the given network"
    name = Path(study.folder).stem if study.kept else Path(study.config.data_set).name
    parts = {
        "title": escape(f"What the network sees: {name}"),
        "about": escape(f"{len(cards)} pictures explained by AS-XAI. {study.config.backbone}, {len(classes)} classes: ")
        + escape(f"{', '.join(list(classes)[:12])}{', …' if len(classes) > 12 else ''}. {accuracy}."),
        "tiers": _tiers([tier for _, tier, _, _ in rows]),
        "classes": _classes(rows, classes),
        "options": "".join(f'<option value="{i}">{escape(one)}</option>' for i, one in enumerate(classes)),
        "boxes": "".join(
            f'<label><input type="checkbox" name="tier" value="{i}" checked>{tier}</label>'
            for i, tier in enumerate(TIERS)
        ),
        "failed": _failed(failed),
        "cards": "\n".join(cards),
        **dict(zip(KINDS.values(), TIER_COLOURS)),
    }
    page = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], page)  # in one go: no name is a place for another
    paths.write_atomically(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return len(cards)


def _tiers(tiers: list[str]) -> str:
    counts = {tier: tiers.count(tier) for tier in TIERS}
    numbers = "".join(
        f'<div class="{KINDS[t]}"><dt>{t}</dt><dd>{n} <small>{100 * n / len(tiers):.0f} %</small></dd></div>'
        for t, n in counts.items()
    )
    stack = "".join(f'<i class="{KINDS[tier]}" style="flex:{n}"></i>' for tier, n in counts.items())
    return f'<dl class="tiers">{numbers}</dl><div class="stack" aria-hidden="true">{stack}</div>'


def _table(columns: tuple, rows: list[tuple]) -> str:
    """A table of names, which are escaped, and of numbers."""
    head = "".join(f'<th scope="col">{text}</th>' for text in columns)
    cells = lambda values: "".join(f"<td>{value}</td>" for value in values)
    body = "".join(f'<tr><th scope="row">{escape(name)}</th>{cells(values)}</tr>' for name, *values in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _classes(pictures: list[tuple], classes) -> str:
    rows = []
    for name in classes:
        own = [row for row in pictures if row[0] == name]
        means = [f"{np.mean([row[column] for row in own]):.2f}" if own else "–" for column in (2, 3)]
        rows.append((name, len(own), *(sum(row[1] == tier for row in own) for tier in TIERS), *means))
    return _table(("class", "pictures", *TIERS, "mean score", "mean softmax"), rows)


def _failed(failed: dict) -> str:
    reasons = [reason.replace(file, Path(file).name) for file, reason in failed.items()]  # places are the owner's
    items = "".join(f"<li>{escape(reason)}</li>" for reason in reasons)
    title = f"{len(failed)} pictures could not be read" if len(failed) > 1 else "1 picture could not be read"
    return f'<details class="box" open><summary>{title}</summary><ul>{items}</ul></details>' if failed else ""


def _card(number: int, name: str, one: "Explanation", budget: float) -> str:
    """A picture with outlines, the sentence, scores of its class's concepts, classes, and exemplars."""
    colours = {k: OUTLINES[k % len(OUTLINES)] for k in range(len(one.names))}
    seen = [k for k, mask in enumerate(one.masks) if mask.any()]
    outlined = ", ".join(one.names[k] for k in seen) or "no concept"
    label, kind = one.class_names.index(one.predicted), KINDS[one.tier]
    data = {"order": number, "name": name.lower(), "label": label, "tier": TIERS.index(one.tier)}
    data |= {"score": f"{one.score:.4f}", "softmax": f"{one.probability:.6f}"}
    softmax = f"softmax {100 * one.probability:.1f} %"
    if one.network:
        softmax += f" · {escape(one.given_network())}"
    attributes = " ".join(f'data-{key}="{escape(str(value))}"' for key, value in data.items())
    thumbs = "".join(
        f'<img src="{_webp(Image.fromarray(picture), EXEMPLAR)}" alt="{escape(source)}" title="{escape(source)}">'
        for source, picture in zip(one.exemplar_sources, one.exemplars)
    )
    promise = f'<p class="quiet">{escape(one.assurance)}</p>' if one.assurance else ""
    near = f'<h4>Nearest training pictures</h4><div class="near">{thumbs}</div>' if thumbs else ""
    text = (
        f'<div><h3 id="h{number}">{escape(one.predicted)}<span class="badge">{one.tier}</span></h3>'
        f'<p class="file quiet">{escape(name)} · score {one.score:.2f} · {softmax}</p>'
        f"<blockquote>{escape(one.sentence)}</blockquote>{promise}<h4>Concepts of “{escape(one.predicted)}”</h4>"
        f'<ul class="concepts">{_concepts(one, seen, colours)}</ul>{_class_table(one)}</div>'
    )
    overlay = _overlay(one, seen, colours)
    data = _fitting(one, 0.98 * budget - len((near + text + overlay).encode()))
    alt, ratio = escape(f"{name}, with outlines of {outlined}"), one.whole.width / one.whole.height
    figure = f'<figure style="--ratio:{ratio:.4f}"><img src="{data}" alt="{alt}">{overlay}</figure>'
    return f'<article class="{kind}" aria-labelledby="h{number}" {attributes}><div>{figure}{near}</div>{text}</article>'


def _concepts(one: "Explanation", seen: list[int], colours: dict) -> str:
    """A line for each concept of the class; those that are outlined are buttons."""
    items = []
    for concept in one.judgement.concepts:
        k = one.names.index(concept.name)
        found = (
            f"<small>next: {escape(concept.found)} {concept.pcs - concept.delta:.2f}</small>" if concept.found else ""
        )
        inside = (
            f'<span class="number" style="--c:{colours[k]}">{k + 1}</span>'
            f'<span class="name">{escape(concept.name)}{found}</span><span class="bar">'
            f'<i style="width:{100 * min(concept.pcs, 1):.0f}%"></i></span><span class="value">{concept.pcs:.2f}</span>'
        )
        button = f'<button type="button" aria-pressed="false" data-k="{k}">{inside}</button>'
        items.append(f"<li>{button if k in seen else f'<div class=row>{inside}</div>'}</li>")
    return "".join(items)


def _class_table(one: "Explanation") -> str:
    order = np.argsort(-one.class_probabilities, kind="stable")[:MOST_CLASSES]
    number = lambda value: "–" if np.isnan(value) else f"{value:.2f}"
    softmax = [f"{100 * value:.1f} %" for value in one.class_probabilities]
    rows = [(one.class_names[c], softmax[c], number(one.similarity[c])) for c in order]
    return _table(("class", "softmax", "similarity"), rows)


def _overlay(one: "Explanation", seen: list[int], colours: dict) -> str:
    """What lies over the picture, in its pixels: what the network did not see, and outlines with their numbers."""
    whole = one.whole
    left, top, right, bottom = whole.box
    scale, size = (right - left) / one.masks.shape[-1], max(whole.width, whole.height)
    parts = []
    if whole.width != whole.height:
        frame = f"M0 0H{whole.width}V{whole.height}H0ZM{left} {top}H{right}V{bottom}H{left}Z"
        parts.append(f'<path class="unseen" fill-rule="evenodd" d="{frame}"/>')
        parts.append(f'<rect class="seen" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}"/>')
    for k in seen:
        rings = (" ".join(f"{value:g}" for value in ring) for ring in whole.polygons(one.masks[k]))
        line = "".join(f"M{ring}Z" for ring in rings)
        x, y = (start + (at + 0.5) * scale for start, at in zip((left, top), anchor(one.masks[k])))
        dot = f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{size / 42:.1f}" vector-effect="non-scaling-stroke"/>'
        text = f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size / 34:.1f}">{k + 1}</text>'
        paths_of = f'<path class="rim" d="{line}"/><path class="line" fill-rule="evenodd" d="{line}"/>'
        parts.append(f'<g data-k="{k}" style="--c:{colours[k]}">{paths_of}{dot}{text}</g>')
    return f'<svg viewBox="0 0 {whole.width} {whole.height}" aria-hidden="true">{"".join(parts)}</svg>'


def _fitting(one: "Explanation", budget: float) -> str:
    """The whole picture in the page, as large as the budget of bytes allows."""
    picture = read_picture(one.whole.source)
    for side in SIDES:
        data = _webp(picture, side)
        if len(data) <= budget:
            break
    return data


def _webp(picture: Image.Image, side: int) -> str:
    small, buffer = picture.copy(), io.BytesIO()
    small.thumbnail((side, side))
    small.save(buffer, format="WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
