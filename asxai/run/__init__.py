"""Executes the notebooks: `python -m asxai.run figures`."""
