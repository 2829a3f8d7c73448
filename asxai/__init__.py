"""AS-XAI: self-supervised automatic semantic interpretation for CNNs.

    import asxai
    study = asxai.Study.train("menagerie-pets")
    study.predict(["my_picture.jpg"])

The rooms follow the paper: `data`, `model`, `concepts`, `traits`, `ranks`, `explain`; `study` goes through them all.
`methods` holds what is compared, `benchmarks` the comparisons, a module per notebook, and `figures` draws them.
`widgets` are the sliders, `run` the notebooks and the shell commands. A room knows only those before it.

Names load on first use, so that light tools (the notebook runner) do not pay for importing torch.
"""

from importlib import import_module

__version__ = "0.1.0"
_HOME = {
    "Study": "study",
    "choose_stage": "benchmarks.stages",
    "Config": "config",
    "PAPER": "config",
    "ProtoCNN": "model.protocnn",
    "load_data_set": "data.datasets",
    "read_picture": "data.pictures",
}
__all__ = sorted(_HOME)


def __getattr__(name):
    if name in _HOME:
        return getattr(import_module(f"asxai.{_HOME[name]}"), name)
    raise AttributeError(f"module 'asxai' has no attribute {name!r}; it has {', '.join(__all__)}")
