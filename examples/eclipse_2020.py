"""The eclipse of 21 June 2020 over Shajing, Shenzhen: when it came, how much it covered, where the crescent stood.

After 日食记 (https://kexue.fm), a photograph of 16:02. Needs astropy and matplotlib; writes ``eclipse_2020.png``:

    pip install "kexue[report]" astropy && python examples/eclipse_2020.py
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq, minimize_scalar

__all__ = ["Eclipse", "View", "draw", "find_eclipse", "magnitude", "main", "obscuration", "observe"]

LONGITUDE, LATITUDE, HEIGHT = 113.80, 22.73, 10.0  # degrees east and north, metres
SUN_RADIUS, MOON_RADIUS = 695_700.0, 1737.4  # km
ZONE = datetime.timezone(datetime.timedelta(hours=8))
START = datetime.datetime(2020, 6, 21, 13, 0, tzinfo=ZONE)
END = datetime.datetime(2020, 6, 21, 19, 0, tzinfo=ZONE)
PHOTOGRAPH = datetime.datetime(2020, 6, 21, 16, 2, tzinfo=ZONE)
STEP = 60.0  # seconds between the places from which the greatest eclipse is searched


@dataclass(frozen=True)
class View:
    """Sun and Moon as one observer sees them at one moment; angles in degrees."""

    sun_radius: float
    moon_radius: float
    separation: float
    sun_altitude: float
    sun_azimuth: float
    moon_angle: float
    """Direction from the Sun's centre to the Moon's, clockwise from the zenith as one faces the Sun."""

    @property
    def magnitude(self) -> float:
        """Part of the Sun's diameter that is covered."""
        return magnitude(self.separation, self.sun_radius, self.moon_radius)

    @property
    def obscuration(self) -> float:
        """Part of the Sun's disc that is covered."""
        return obscuration(self.separation, self.sun_radius, self.moon_radius)


@dataclass(frozen=True)
class Eclipse:
    """First contact, greatest eclipse and last contact; a contact outside the interval is ``None``."""

    first: datetime.datetime | None
    greatest: datetime.datetime
    last: datetime.datetime | None


def magnitude(separation: float, sun: float, moon: float) -> float:
    """Part of the Sun's diameter covered, for the distance of the centres and the radii; 0 if the discs are apart."""
    return max(0.0, (sun + moon - separation) / (2 * sun))


def obscuration(separation: float, sun: float, moon: float) -> float:
    """Part of the Sun's disc covered: the area of the lens in which the discs overlap, over that of the Sun."""
    if separation >= sun + moon:
        return 0.0
    if separation <= abs(sun - moon):
        return min(1.0, (moon / sun) ** 2)
    d = separation
    kite = (-d + sun + moon) * (d + sun - moon) * (d - sun + moon) * (d + sun + moon)
    lens = (
        sun**2 * math.acos((d**2 + sun**2 - moon**2) / (2 * d * sun))
        + moon**2 * math.acos((d**2 + moon**2 - sun**2) / (2 * d * moon))
        - 0.5 * math.sqrt(kite)
    )
    return lens / (math.pi * sun**2)


def observe(moment: datetime.datetime) -> View:
    """Sun and Moon from the place of the photograph, without refraction; nothing is downloaded."""
    (view,) = _observe_all([moment])
    return view


def _observe_all(moments: list[datetime.datetime]) -> list[View]:
    from astropy import units
    from astropy.coordinates import AltAz, EarthLocation, get_body
    from astropy.time import Time
    from astropy.utils import iers

    place = EarthLocation.from_geodetic(LONGITUDE * units.deg, LATITUDE * units.deg, HEIGHT * units.m)
    with iers.conf.set_temp("auto_download", False):
        time = Time([moment.astimezone(datetime.UTC).replace(tzinfo=None) for moment in moments])
        sky = AltAz(obstime=time, location=place)
        sun, moon = (get_body(name, time, place, ephemeris="builtin").transform_to(sky) for name in ("sun", "moon"))
    radius = [
        np.degrees(np.arcsin(size / body.distance.to_value(units.km)))
        for size, body in ((SUN_RADIUS, sun), (MOON_RADIUS, moon))
    ]
    # The azimuth grows to the right of one who looks up at the Sun, so the angle from the zenith grows clockwise.
    columns: list[Any] = [
        *radius,
        sun.separation(moon).deg,
        sun.alt.deg,
        sun.az.deg,
        sun.position_angle(moon).wrap_at(360 * units.deg).deg,
    ]
    return [View(*map(float, row)) for row in zip(*columns, strict=True)]


def find_eclipse(start: datetime.datetime, end: datetime.datetime) -> Eclipse | None:
    """The eclipse between two moments, or ``None`` if the discs do not meet."""
    length = (end - start).total_seconds()

    def at(seconds: float) -> datetime.datetime:
        return start + datetime.timedelta(seconds=float(seconds))

    def gap(seconds: float) -> float:
        view = observe(at(seconds))
        return view.separation - view.sun_radius - view.moon_radius

    grid = np.append(np.arange(0.0, length, STEP), length)
    gaps = [view.separation - view.sun_radius - view.moon_radius for view in _observe_all([at(s) for s in grid])]
    nearest = int(np.argmin(gaps))
    bounds = grid[max(nearest - 1, 0)], grid[min(nearest + 1, len(grid) - 1)]
    separation: Callable[[float], float] = lambda seconds: observe(at(seconds)).separation  # noqa: E731
    greatest = float(minimize_scalar(separation, bounds=bounds, method="bounded", options={"xatol": 0.1}).x)
    if gap(greatest) >= 0:
        return None
    first, last = (
        at(brentq(gap, *sorted((edge, greatest)), xtol=0.1)) if outside > 0 else None
        for edge, outside in ((0.0, gaps[0]), (length, gaps[-1]))
    )
    return Eclipse(first, at(greatest), last)


def draw(view: View, moment: datetime.datetime, path: Path) -> None:
    """The two discs with the zenith up, in minutes of arc."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    angle = math.radians(view.moon_angle)
    centre = 60 * view.separation * math.sin(angle), 60 * view.separation * math.cos(angle)
    figure = Figure(figsize=(4, 4), layout="constrained", facecolor="#10141c")
    axes = figure.subplots()
    axes.add_patch(Circle((0, 0), 60 * view.sun_radius, color="#ffd35c"))
    axes.add_patch(Circle(centre, 60 * view.moon_radius, facecolor="#10141c", edgecolor="#7a7a7a"))
    axes.annotate(
        "zenith", (0, 30), (0, 22), color="#c8c8c8", ha="center", arrowprops={"arrowstyle": "->", "color": "#c8c8c8"}
    )
    axes.set(xlim=(-34, 34), ylim=(-34, 34), aspect="equal", xticks=[], yticks=[])
    axes.set_facecolor("#10141c")
    axes.set_title(f"{moment:%Y-%m-%d %H:%M}, obscuration {view.obscuration:.3f}", color="#c8c8c8", fontsize=10)
    figure.savefig(path, dpi=150, format="png")


def main(
    start: datetime.datetime = START, end: datetime.datetime = END, moment: datetime.datetime = PHOTOGRAPH
) -> None:
    """Print the eclipse and the view at the moment of the photograph, and draw that view."""
    eclipse = find_eclipse(start, end)
    if eclipse is None:
        print(f"no eclipse here from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}")
        return
    for name, time in (
        ("first contact", eclipse.first),
        ("greatest", eclipse.greatest),
        ("last contact", eclipse.last),
    ):
        if time is None:
            print(f"{name:14} outside the interval")
            continue
        view = observe(time)
        # Rounded, not cut, to the second.
        line = f"{name:14} {time + datetime.timedelta(milliseconds=500):%H:%M:%S}  sun altitude {view.sun_altitude:.1f}"
        if name == "greatest":
            line += f"  magnitude {view.magnitude:.4f}  obscuration {view.obscuration:.4f}"
            line += f"  radius of moon / sun {view.moon_radius / view.sun_radius:.3f}"
        print(line + _below(view))
    view = observe(moment)
    print(
        f"{'photograph':14} {moment:%H:%M:%S}  sun altitude {view.sun_altitude:.1f}  azimuth {view.sun_azimuth:.1f}  "
        f"magnitude {view.magnitude:.4f}  obscuration {view.obscuration:.4f}{_below(view)}"
    )
    print(
        f"the moon's centre lies {view.moon_angle:.1f} degrees clockwise from the zenith, "
        f"the crescent opposite, at {(view.moon_angle + 180) % 360:.1f}"
    )
    draw(view, moment, Path("eclipse_2020.png"))


def _below(view: View) -> str:
    return "  (sun below the horizon)" if view.sun_altitude < 0 else ""


if __name__ == "__main__":
    main()
