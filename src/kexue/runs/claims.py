"""Claims and their three-valued verdicts."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Claim", "ClaimsError", "Verdict", "headline", "judge", "read_claims", "unmeasured"]

Verdict = Literal["reproduced", "not reproduced", "undecided"]
"""What the measurements say of a claim."""

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_SOURCES = ("article", "paper", "ours")
_VERDICTS = ("reproduced", "not reproduced", "undecided")

# Fewer seeds than this show something and decide nothing.
_DECIDING_SEEDS = 5


class ClaimsError(ValueError):
    """A claims file that cannot be read; the message is one line."""


@dataclass(frozen=True)
class Claim:
    """One claim, what was measured for it, and the verdict.

    Where nothing was measured (see `unmeasured`), there are no figures, no relation and no bound.

    Attributes
    ----------
    claim : str
        The claim in English, as its source made it.
    source : {"article", "paper", "ours"}
        Who claims it.
    relation : {"<", "<=", ">", ">="}
        The relation that `measured` should have to `bound`.
    bound : float or list of float
        What the figures are compared with: one number, or one a seed (paired).
    measured : list of float
        One figure a seed; a single one where nothing is random.
    mean : float
        Mean over the seeds of measured − bound.
    interval : tuple of float or None
        The 95 % interval of that mean (Student's t); None for a single figure.
    verdict : {"reproduced", "not reproduced", "undecided"}
        See `judge`.
    indicative : bool
        True where the run decides nothing: a quick preset, or fewer than five seeds of something random.
    scale : str
        At which scale this was measured, for instance "8×8 digits, 1437 training images".
    note : str
        What the reader should know besides; may be empty.
    zh : dict of str
        Chinese texts for "claim", "scale" and "note", where there are some.
    """

    claim: str
    source: str
    relation: str
    bound: float | list[float]
    measured: list[float]
    mean: float
    interval: tuple[float, float] | None
    verdict: Verdict
    indicative: bool
    scale: str
    note: str
    zh: dict[str, str]

    @property
    def word(self) -> str:
        """The verdict as it is printed: "indicative" goes before a verdict that decides nothing."""
        return f"indicative: {self.verdict}" if self.indicative else self.verdict

    @property
    def line(self) -> str:
        """The claim in one line: verdict, source, text, figures, and at its end the scale."""
        if not self.measured:
            return f"{self.word} [{self.source}] {self.claim}: not measured; {self.scale}"
        figure = sum(self.measured) / len(self.measured)
        bound = sum(self.bounds) / len(self.bounds)
        seeds = f" (mean of {len(self.measured)} seeds)" if len(self.measured) > 1 else ""
        if self.verdict == "undecided" and self.interval is not None:
            low, high = self.interval
            seeds = f"{seeds[:-1]}; the difference is in {low:.3g} to {high:.3g})"
        figures = f"{figure:.4g} {self.relation} {bound:.4g}{seeds}"
        return f"{self.word} [{self.source}] {self.claim}: {figures}; {self.scale}"

    @property
    def bounds(self) -> list[float]:
        """The bound of each measured figure."""
        return self.bound if isinstance(self.bound, list) else [self.bound] * len(self.measured)


def judge(measured: Sequence[float], relation: str, bound: float | Sequence[float]) -> Claim:
    r"""Compare figures with a bound and give the verdict.

    With the differences :math:`d_i = \text{measured}_i - \text{bound}_i` of n seeds, their mean m and
    the interval :math:`m \pm t_{0.975,\,n-1}\, s/\sqrt{n}`, the claim is

    - *reproduced* when m satisfies the relation to zero and the interval does not straddle zero,
    - *undecided* when the interval straddles zero, or a figure is not finite,
    - *not reproduced* otherwise.

    A single figure is compared once.

    Parameters
    ----------
    measured : sequence of float
        One figure a seed, or one figure in all.
    relation : {"<", "<=", ">", ">="}
        The relation that the figures should have to the bound.
    bound : float or sequence of float
        One number, or one a seed.

    Returns
    -------
    Claim
        With empty texts; `Record.claim` fills them in.

    Raises
    ------
    ValueError
        If the relation is unknown, nothing was measured, or the bounds are not as many as the figures.

    Examples
    --------
    >>> judge([0.8, 0.9, 0.7, 0.8, 0.8], "<", 1.0).verdict
    'reproduced'
    >>> judge([0.8, 1.3, 0.7, 1.2, 0.9], "<", 1.0).verdict
    'undecided'
    >>> judge([2.0], "<=", 1.0).verdict
    'not reproduced'
    """
    if relation not in _RELATIONS:
        raise ValueError(f"relation must be one of {', '.join(_RELATIONS)}, got {relation!r}")
    figures = [float(value) for value in measured]
    if not figures:
        raise ValueError("measured must hold at least one figure, got none")
    bounds = [float(b) for b in bound] if isinstance(bound, Iterable) else [float(bound)] * len(figures)
    if len(bounds) != len(figures):
        raise ValueError(f"bound must be one number or one a figure ({len(figures)}), got {len(bounds)}")
    differences = [m - b for m, b in zip(figures, bounds, strict=True)]
    mean, interval = _mean_and_interval(differences)
    verdict: Verdict
    if not all(math.isfinite(d) for d in differences) or (interval is not None and interval[0] < 0 < interval[1]):
        verdict = "undecided"
    else:
        verdict = "reproduced" if _RELATIONS[relation](mean, 0.0) else "not reproduced"
    return Claim(
        claim="",
        source="ours",
        relation=relation,
        bound=bounds if isinstance(bound, Iterable) else float(bound),
        measured=figures,
        mean=mean,
        interval=interval,
        verdict=verdict,
        indicative=1 < len(figures) < _DECIDING_SEEDS,
        scale="",
        note="",
        zh={},
    )


def unmeasured() -> Claim:
    """A claim that a run could not measure: undecided.

    Returns
    -------
    Claim
        With empty texts; `Record.unmeasured` fills them in.

    Examples
    --------
    >>> unmeasured().verdict, unmeasured().measured
    ('undecided', [])
    """
    return Claim(
        claim="",
        source="ours",
        relation="",
        bound=[],
        measured=[],
        mean=math.nan,
        interval=None,
        verdict="undecided",
        indicative=False,
        scale="",
        note="",
        zh={},
    )


def _mean_and_interval(differences: list[float]) -> tuple[float, tuple[float, float] | None]:
    n = len(differences)
    mean = math.fsum(differences) / n if all(math.isfinite(d) for d in differences) else math.nan
    if n == 1:
        return differences[0], None
    if not math.isfinite(mean):
        return mean, (math.nan, math.nan)
    if all(d == differences[0] for d in differences):
        return differences[0], (differences[0], differences[0])
    from scipy.special import stdtrit

    deviation = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    half = float(stdtrit(n - 1, 0.975)) * deviation / math.sqrt(n)
    return mean, (mean - half, mean + half)


def complete(
    judged: Claim,
    *,
    claim: str,
    source: str,
    scale: str,
    note: str,
    zh: dict[str, str],
    indicative: bool,
) -> Claim:
    """Fill the texts of a judged claim in, after checking them."""
    if source not in _SOURCES:
        raise ValueError(f"source must be one of {', '.join(_SOURCES)}, got {source!r}")
    if not claim.strip():
        raise ValueError("claim must say what is claimed, got an empty text")
    if not scale.strip():
        raise ValueError("scale must say at which scale the claim was measured (set record.scale), got an empty text")
    return replace(
        judged,
        claim=claim,
        source=source,
        scale=scale,
        note=note,
        zh={key: text for key, text in zh.items() if text},
        indicative=judged.indicative or indicative,
    )


def headline(claims: Sequence[Claim]) -> dict[str, int]:
    """How many claims of the article and its papers have which verdict; ours do not count.

    Parameters
    ----------
    claims : sequence of Claim
        Claims of one study.

    Returns
    -------
    dict of int
        Counts under "reproduced", "not reproduced" and "undecided".

    Examples
    --------
    >>> headline([judge([1.0], "<", 2.0)])
    {'reproduced': 0, 'not reproduced': 0, 'undecided': 0}
    """
    counts = dict.fromkeys(_VERDICTS, 0)
    for claim in claims:
        if claim.source != "ours":
            counts[claim.verdict] += 1
    return counts


def read_claims(entries: Any, where: str) -> list[Claim]:
    """Claims from their JSON form, checked.

    Parameters
    ----------
    entries : object
        What the JSON held; should be a list of claims as `Record.claim` writes them.
    where : str
        Name of the file, for messages.

    Returns
    -------
    list of Claim
        The claims in their order.

    Raises
    ------
    ClaimsError
        If anything is not as `Record.claim` writes it.

    Examples
    --------
    >>> read_claims([], "claims.json")
    []
    >>> read_claims({}, "claims.json")
    Traceback (most recent call last):
    ...
    kexue.runs.claims.ClaimsError: claims.json: expected a list of claims, got dict
    """
    if not isinstance(entries, list):
        raise ClaimsError(f"{where}: expected a list of claims, got {type(entries).__name__}")
    return [_read_claim(entry, f"{where}: claim {number}") for number, entry in enumerate(entries, 1)]


def _read_claim(entry: Any, where: str) -> Claim:
    if not isinstance(entry, dict):
        raise ClaimsError(f"{where}: expected an object, got {type(entry).__name__}")
    try:
        bound = entry["bound"]
        interval = entry["interval"]
        claim = Claim(
            claim=str(entry["claim"]),
            source=str(entry["source"]),
            relation=str(entry["relation"]),
            bound=[float(b) for b in bound] if isinstance(bound, list) else float(bound),
            measured=[float(m) for m in entry["measured"]],
            mean=float(entry["mean"]),
            interval=None if interval is None else (float(interval[0]), float(interval[1])),
            verdict=entry["verdict"],
            indicative=bool(entry["indicative"]),
            scale=str(entry["scale"]),
            note=str(entry["note"]),
            zh={str(key): str(text) for key, text in entry.get("zh", {}).items()},
        )
    except KeyError as error:
        raise ClaimsError(f"{where}: the key {error} is missing") from None
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ClaimsError(f"{where}: {error}") from None
    figures, bounds = len(claim.measured), len(claim.bounds)
    relations = tuple(_RELATIONS)
    if not figures and bound == [] and claim.verdict == "undecided":
        relations = ("",)  # nothing was measured
    elif not figures or bounds != figures:
        raise ClaimsError(f"{where}: expected one figure or more and as many bounds, got {figures} and {bounds}")
    for key, value, choices in (
        ("verdict", claim.verdict, _VERDICTS),
        ("source", claim.source, _SOURCES),
        ("relation", claim.relation, relations),
    ):
        if value not in choices:
            raise ClaimsError(f"{where}: {key} must be one of {', '.join(choices)}, got {value!r}")
    return claim
