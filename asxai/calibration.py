"""What a confidence is worth: is it as often right as it says, and does it put the errors last?

    expected_calibration_error(confidence, right)
    risk_coverage(confidence, right).aurc

References
    Expected calibration error: Guo et al., ICML 2017. Risk-coverage curve: El-Yaniv & Wiener, JMLR 2010; its area:
    Geifman et al., ICLR 2019.
"""

from typing import NamedTuple

import numpy as np


def expected_calibration_error(confidence, right, bins=10):
    """Mean gap between confidence and accuracy over bins of equal width, weighted by pictures, in [0, 1].

    confidence: in [0, 1], `(picture,)`; right: bool `(picture,)`. A confidence on the border of two bins counts in the
    upper one. Raises ValueError for other values or shapes, or fewer than one bin.
    """
    confidence, right = _confidence(confidence, right)
    if confidence.min() < 0 or confidence.max() > 1:
        raise ValueError(f"confidence runs from {confidence.min():g} to {confidence.max():g}; give probabilities, from "
                         "0 to 1")
    if bins < 1:
        raise ValueError(f"bins={bins} must be at least 1, for example 10")
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


class RiskCoverage(NamedTuple):
    """Errors among the most confident pictures, as more and more are answered."""

    coverage: np.ndarray  # (picture,): share of pictures that are answered, ascending
    risk: np.ndarray  # (picture,): share of errors among them
    aurc: float  # area under the curve: mean risk; lower is better


def risk_coverage(confidence, right):
    """`RiskCoverage` of confidences and hits `(picture,)`. Pictures that tie share the mean of their hits.

    Raises ValueError for other shapes or values.
    """
    confidence, right = _confidence(confidence, right)
    values, index = np.unique(-confidence, return_inverse=True)  # the most confident first
    errors = np.bincount(index, ~right, minlength=len(values)) / np.bincount(index, minlength=len(values))
    expected = np.sort(index)  # which tie each place falls into
    risk = np.cumsum(errors[expected]) / np.arange(1, len(right) + 1)
    return RiskCoverage(np.arange(1, len(right) + 1) / len(right), risk, float(risk.mean()))


def _confidence(confidence, right):
    confidence, right = np.asarray(confidence, np.float64), np.asarray(right)
    if confidence.ndim != 1 or right.shape != confidence.shape or right.dtype != bool or not len(right):
        raise ValueError(f"confidence {confidence.shape} and right {right.dtype} {right.shape} must be numbers and "
                         "bool (picture,), of the same pictures and at least one")
    if not np.isfinite(confidence).all():
        raise ValueError("confidence holds values that are not finite; leave out such pictures")
    return confidence, right
