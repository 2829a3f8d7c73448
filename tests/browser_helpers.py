"""JupyterLab on a free port and a headless Chromium in front of it, for `test_browser`."""

import dataclasses
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager, suppress

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from asxai import paths
from asxai.data import sources
from asxai.data.datasets import load_data_set
from menagerie import DATA_SETS

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
SCREENSHOTS = paths.ROOT / "runs" / "tests" / "screenshots"  # kept for looking at, unlike the other results of tests
# all cells are in the page, not only those in sight; no question about news in front of them
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
SHOWN = (
    "[...(arguments[0] || document).querySelectorAll('.jp-OutputArea-output img')]"
    ".filter(image => image.complete && image.naturalWidth > 0)"
)


class Lab:
    """One browser window on one server."""

    def __init__(self, browser, url, token, folder, log):
        self.browser, self.url, self.token, self.folder, self.log = browser, url, token, folder, log

    def open(self, name):
        """Open a notebook of the folder by itself, with its kernel; the kernels of those before are ended."""
        self.browser.get("about:blank")  # a page that is still open would ask for its kernel again
        for session in self._api("sessions"):
            self._api(f"sessions/{session['id']}", "DELETE")
        self.browser.get(f"{self.url}/doc/tree/{name}?token={self.token}&reset")
        cells = "return window.jupyterapp?.shell.currentWidget?.content?.widgets?.length > 0"
        self.wait(lambda: self.js(cells), f"{name} to open")
        # Not left before: a kernel that is ended while the page connects to it keeps the next page waiting for the
        # minute after which the server gives it up.
        kernel = "jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
        self.wait(lambda: self.js(f"return {kernel}?.connectionStatus === 'connected'"), "a kernel")

    def run(self, seconds=300):
        """Run all cells and wait until each has its number. AssertionError with the traceback of a cell that fails."""
        # no waiting inside the browser, which is cut off after two minutes
        self.js("jupyterapp.commands.execute('notebook:run-all-cells')")
        prompts = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
        numbered = f"return {prompts}.every(prompt => /[0-9]/.test(prompt.innerText))"
        self.wait(lambda: self.errors() or self.js(numbered), "all cells to run", seconds)
        assert self.errors() == []

    def errors(self):
        """Tracebacks in the page, in outputs of cells and of widgets."""
        kinds = ",".join(f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in ("error", "stderr"))
        return self.js(f"return [...document.querySelectorAll('{kinds}')].map(output => output.innerText)")

    def pictures(self, area=None):
        """Sources of the pictures that are shown in outputs, of all cells or of one output area."""
        return self.js(f"return {SHOWN}.map(image => image.src)", area)

    def explorer(self, label):
        """The output area of the code cell with a control that has this label."""
        labelled = "[...area.querySelectorAll('.widget-label')].some(label => label.innerText === arguments[0])"
        find = f"return [...document.querySelectorAll('.jp-Cell-outputArea')].find(area => {labelled})"
        return self.wait(lambda: self.js(find, label), f"control {label!r}")

    def press(self, area, label, *keys):
        """Press keys on the handle of the slider with this label; its new value."""
        handle = lambda: self._labelled(area, ".widget-slider", label, ".noUi-handle")
        before = handle().get_attribute("aria-valuenow")
        self.js("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", handle())
        self.browser.switch_to.active_element.send_keys(*keys)
        self.wait(lambda: handle().get_attribute("aria-valuenow") != before, f"slider {label!r} to move", 10)
        return float(handle().get_attribute("aria-valuetext"))

    def list(self, area, label):
        """The drop-down list with this label, a `Select`."""
        return Select(self._labelled(area, ".widget-dropdown", label, "select"))

    def _labelled(self, area, kind, label, part):
        """A part of the control of a kind that has this label."""
        has_label = "control.querySelector('.widget-label').innerText === arguments[2]"
        control = f"[...arguments[0].querySelectorAll(arguments[1])].find(control => {has_label})"
        return self.js(f"return {control}.querySelector(arguments[3])", area, kind, label, part)

    def click(self, area, text):
        """Press the space bar on the button with this text."""
        has_text = "button => button.innerText.trim() === arguments[1]"
        button = self.js(f"return [...arguments[0].querySelectorAll('button')].find({has_text})", area, text)
        self.js("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", button)
        button.send_keys(Keys.SPACE)

    def text(self, area):
        """The Markdown that is shown in an output area."""
        rendered = "[...arguments[0].querySelectorAll('.jp-RenderedMarkdown')]"
        return self.js(f"return {rendered}.map(part => part.innerText).join(' ')", area)

    def changed(self, what, before, seconds=30):
        """What `what()` gives once it is neither empty nor `before`; AssertionError where it stays so."""
        return self.wait(lambda: (now := what()) and now != before and now, "a move to change what is shown", seconds)

    def wait(self, condition, what, seconds=60):
        """The first true value of `condition()`."""
        end = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds} s for {what}; {self.errors()}; see {self.screenshot('failed')}")
            time.sleep(0.1)
        return value

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.browser.save_screenshot(str(SCREENSHOTS / f"{name}.png"))
        return SCREENSHOTS / f"{name}.png"

    def js(self, script, *arguments):
        return self.browser.execute_script(script, *arguments)

    def _api(self, path, method="GET"):
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def lab(folder, **environment):
    """A `Lab` on the notebooks in `folder / "notebooks"`; its settings and logs lie beside them."""
    token, port, home = secrets.token_hex(16), _free_port(), folder / "jupyter"
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    kinds = ("LAB_SETTINGS", "LAB_WORKSPACES", "_CONFIG", "_RUNTIME", "_DATA")
    places = {f"JUPYTER{kind}_DIR": kind.split("_")[1].lower() for kind in kinds} | {"IPYTHONDIR": "ipython"}
    settings = os.environ | {name: str(home / place) for name, place in places.items()} | environment
    settings.pop("MPLBACKEND", None)  # that of the tests, which shows no figure in a notebook
    options = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token={token}"
    command = [sys.executable, "-m", "jupyterlab", *options.split(), "--expose-app-in-browser", "--allow-root"]
    command.append(f"--ServerApp.root_dir={folder / 'notebooks'}")
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    with open(log, "w") as file, _ended(subprocess.Popen(command, env=settings, stdout=file, stderr=file)) as server:
        _wait_for(server, f"{url}/api/status?token={token}", log)
        browser = webdriver.Chrome(options=_options(home / "chromium"), service=Service(DRIVER))
        try:
            yield Lab(browser, url, token, folder, log)
        finally:
            browser.quit()


def _options(profile):
    options, flags = webdriver.ChromeOptions(), "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage"
    options.binary_location = CHROMIUM
    for flag in (*flags.split(), "--window-size=1400,1000", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return options


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def _ended(process):
    try:
        yield process
    finally:
        process.terminate()  # which ends its kernels, too
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def _wait_for(server, url, log, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        with suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.2)
    raise AssertionError(f"JupyterLab does not answer:\n{log.read_text()[-2000:]}")


def drawn_folder(place, count):
    """`place/animals/class/NN.png`: drawn pictures of two classes, without part masks."""
    few = dataclasses.replace(DATA_SETS["menagerie-pets"], train_per_class=count, test_per_class=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_menagerie_specs", lambda: {few.name: few})
        data = load_data_set(few.name, root=place)
    for split in (data.train, data.validation):
        for path, label in zip(split.paths, split.labels):
            (place / "animals" / data.class_names[label]).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place / "animals" / data.class_names[label])
    return place / "animals"


def with_parameters(notebook, **values):
    """The notebook as it would be opened for the first time, without outputs, with other values of its parameters."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell = cell | {"outputs": [], "execution_count": None}
        if "parameters" in cell["metadata"].get("tags", []):
            known = {line.partition(" =")[0]: line for line in "".join(cell["source"]).splitlines()}
            assert set(values) <= set(known), f"no parameter {set(values) - set(known)}"
            cell["source"] = "\n".join(f"{n} = {values[n]!r}" if n in values else line for n, line in known.items())
        cells.append(cell)
    metadata = {key: value for key, value in notebook["metadata"].items() if key != "widgets"}
    return notebook | {"cells": cells, "metadata": metadata}
