"""All figures of these tests have the study's style, and none is left open."""

from helpers import styled_figures  # noqa: F401
