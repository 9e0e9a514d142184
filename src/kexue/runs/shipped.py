"""Verdicts that ship with the package: written from finished standard runs, read without running anything."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kexue.runs.claims import Claim, ClaimsError, headline, read_claims
from kexue.runs.run import Figure, Run
from kexue.storage import StorageError, read_json, write_bytes, write_json

__all__ = ["ShipError", "Shipped", "read_shipped", "ship"]


class ShipError(ValueError):
    """A run that must not be shipped; the message is one line that says why."""


@dataclass(frozen=True)
class Shipped:
    """The shipped result of one study.

    Attributes
    ----------
    study, preset : str
        Names.
    claims : list of Claim
        Every claim with every seed's figure.
    facts : dict
        Configuration, seeds, command, versions, machine, start and seconds of the run.
    quick_seconds : float or None
        How long the quick preset took on the same machine.
    figure : Figure or None
        The key figure, the first one whose data may be printed; its file lies beside the verdict.
    folder : Path
        Where the files lie.
    """

    study: str
    preset: str
    claims: list[Claim]
    facts: dict[str, Any]
    quick_seconds: float | None
    figure: Figure | None
    folder: Path

    @property
    def headline(self) -> dict[str, int]:
        """Verdicts of the claims that are not ours, counted."""
        return headline(self.claims)


def ship(run: Run, folder: Path, *, quick_seconds: float | None) -> Path:
    """Write the result of a finished standard run as a file of the package.

    Parameters
    ----------
    run : Run
        A finished run of a standard preset.
    folder : Path
        Where shipped verdicts lie.
    quick_seconds : float or None
        How long the quick preset took.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ShipError
        If the run is not a finished standard run that decides its claims.
    StorageError
        If the disk refuses.
    """
    if run.status != "finished" or run.preset != "standard":
        raise ShipError(
            f"only a finished standard run is shipped, got a {run.status} {run.preset} run: {run.directory}"
        )
    claims = run.claims
    if not any(claim.measured for claim in claims) or any(claim.indicative for claim in claims):
        raise ShipError(f"only decided claims are shipped; {run.directory} holds none, or some that are indicative")
    figure = next((figure for figure in run.figures if figure.printable), None)
    entry = None
    if figure is not None:
        target = f"{run.study}{Path(figure.file).suffix}"
        write_bytes(folder / target, (run.directory / figure.file).read_bytes())
        entry = {**vars(figure), "file": target}
    path = folder / f"{run.study}.json"
    write_json(
        path,
        {
            "study": run.study,
            "preset": run.preset,
            "quick_seconds": quick_seconds,
            "figure": entry,
            "facts": {key: run.facts[key] for key in _FACTS if key in run.facts},
            "claims": [vars(claim) for claim in claims],
        },
    )
    return path


_FACTS = ("config", "seed", "seeds", "threads", "command", "versions", "machine", "started", "seconds")


def read_shipped(folder: Path) -> dict[str, Shipped]:
    """Every shipped verdict, by the name of its study.

    Parameters
    ----------
    folder : Path
        Where shipped verdicts lie; it need not exist.

    Returns
    -------
    dict of Shipped
        Sorted by name.

    Raises
    ------
    StorageError
        If a file is damaged.
    """
    found = {}
    for path in sorted(folder.glob("*.json")):
        content = read_json(path)
        try:
            shipped = Shipped(
                study=str(content["study"]),
                preset=str(content["preset"]),
                claims=read_claims(content["claims"], str(path)),
                facts=dict(content["facts"]),
                quick_seconds=None if content["quick_seconds"] is None else float(content["quick_seconds"]),
                figure=None if content["figure"] is None else Figure(**content["figure"]),
                folder=folder,
            )
        except ClaimsError as error:
            raise StorageError(str(error)) from None
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(f"{path} is damaged: {error!r}") from None
        if shipped.figure is not None and mimetypes.guess_type(shipped.figure.file)[0] not in _PICTURES:
            raise StorageError(f"{path} is damaged: {shipped.figure.file!r} is no picture")
        found[shipped.study] = shipped
    return found


_PICTURES = ("image/svg+xml", "image/png")
