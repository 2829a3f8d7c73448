"""An executed notebook without what differs from run to run."""

import json
import re

from .plan import KERNEL, Places, tags_of


def tidy(executed, before: list[dict], places: Places) -> str:
    """The text of an executed notebook without what differs from run to run.

    Gone are times, papermill's notes, the kernel's version and the checkout's path; streams that arrived in pieces
    are joined; cells keep the ids that they had, and widgets are numbered in the order of their creation.
    """
    import nbformat

    text = json.dumps(executed)
    widgets = executed["metadata"].get("widgets", {})
    for number, old in enumerate(key for state in widgets.values() for key in state.get("state", {})):
        text = text.replace(old, f"{number:032x}")
    root = json.dumps(str(places.notebooks.parent))[1:-1]
    text = re.sub(r"/[^\s\"]*/ipykernel_\d+/\d+\.py", "cell", text.replace(f"{root}/", ""))
    notebook = json.loads(text)
    for number, (cell, old) in enumerate(zip(notebook["cells"], before), 1):
        cell["id"] = old.get("id", f"cell-{number:02}")
        for note in ("papermill", "execution") + (() if tags_of(cell) else ("tags",)):
            cell["metadata"].pop(note, None)
        if cell["cell_type"] == "code":
            cell["outputs"] = _joined(cell["outputs"])
    kept = {"widgets": notebook["metadata"]["widgets"]} if "widgets" in notebook["metadata"] else {}
    notebook["metadata"] = kept | {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": KERNEL},
        "language_info": {"name": "python", "pygments_lexer": "ipython3"},
    }
    notebook["nbformat"], notebook["nbformat_minor"] = 4, 5
    return nbformat.writes(nbformat.from_dict(notebook)) + "\n"


def _joined(outputs: list[dict]) -> list[dict]:
    """Neighbouring pieces of the same stream as one output."""
    joined = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output["output_type"] == "stream" and last.get("name") == output["name"]:
            last["text"] += output["text"]
        else:
            joined.append(output)
    return joined
