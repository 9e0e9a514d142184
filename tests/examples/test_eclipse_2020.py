"""The eclipse of 2020: published circumstances, and the area that two discs share."""

from __future__ import annotations

import datetime
import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "eclipse_2020.py"


@pytest.fixture(scope="module")
def eclipse() -> Any:
    specification = importlib.util.spec_from_file_location("eclipse_2020", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules["eclipse_2020"] = module  # its dataclasses look themselves up there
    specification.loader.exec_module(module)
    yield module
    del sys.modules["eclipse_2020"]


@pytest.fixture
def astropy() -> Any:
    return pytest.importorskip("astropy", reason="astropy is not installed")


def clock(eclipse: Any, text: str) -> datetime.datetime:
    return datetime.datetime.combine(eclipse.START.date(), datetime.time.fromisoformat(text), tzinfo=eclipse.ZONE)


def test_circumstances(eclipse: Any, astropy: Any) -> None:
    found = eclipse.find_eclipse(eclipse.START, eclipse.END)
    for moment, expected in (
        (found.first, "14:35:50"),
        (found.greatest, "16:07:31"),
        (found.last, "17:23:58"),
    ):
        assert abs((moment - clock(eclipse, expected)).total_seconds()) <= 20
    greatest = eclipse.observe(found.greatest)
    assert greatest.magnitude == pytest.approx(0.9006, abs=0.002)
    assert greatest.obscuration == pytest.approx(0.8704, abs=0.003)
    assert greatest.moon_radius / greatest.sun_radius == pytest.approx(0.990, abs=0.001)
    assert eclipse.observe(found.first).sun_altitude == pytest.approx(60.3, abs=0.1)
    assert eclipse.observe(found.last).sun_altitude == pytest.approx(22.5, abs=0.1)


def test_the_photograph(eclipse: Any, astropy: Any) -> None:
    view = eclipse.observe(eclipse.PHOTOGRAPH)
    assert view.magnitude == pytest.approx(0.8804, abs=0.002)
    assert view.obscuration == pytest.approx(0.8450, abs=0.003)
    assert view.sun_altitude == pytest.approx(40.8, abs=0.1)
    assert view.sun_azimuth == pytest.approx(282.0, abs=0.1)
    assert view.moon_angle == pytest.approx(110.2, abs=0.5)  # to the lower right: the crescent is at the upper left


def test_the_script(eclipse: Any, astropy: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    eclipse.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:2]] == ["first contact", "greatest"]
    assert lines[0].split()[2][:5] == "14:35"
    assert lines[3].startswith("photograph     16:02:00  sun altitude 40.8  azimuth 282.0  magnitude 0.880")
    assert "below the horizon" not in "".join(lines)
    assert (tmp_path / "eclipse_2020.png").read_bytes().startswith(b"\x89PNG")


def test_where_there_is_no_eclipse_it_says_so(
    eclipse: Any, astropy: Any, tmp_path: Path, monkeypatch: Any, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    day = datetime.timedelta(days=1)
    eclipse.main(eclipse.START - day, eclipse.END - day)
    assert capsys.readouterr().out == "no eclipse here from 2020-06-20 13:00 to 2020-06-20 19:00\n"
    assert not list(tmp_path.iterdir())


def test_an_interval_that_begins_within_the_eclipse(eclipse: Any, astropy: Any) -> None:
    found = eclipse.find_eclipse(clock(eclipse, "16:00:00"), clock(eclipse, "17:00:00"))
    assert found.first is None
    assert found.last is None
    assert abs((found.greatest - clock(eclipse, "16:07:31")).total_seconds()) <= 20


def test_a_sun_below_the_horizon_is_flagged(eclipse: Any, astropy: Any, tmp_path: Path, monkeypatch: Any, capsys: Any):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.chdir(tmp_path)
    eclipse.main(moment=clock(eclipse, "21:00:00"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].endswith("magnitude 0.0000  obscuration 0.0000  (sun below the horizon)")


def test_obscuration_of_discs_that_touch_or_share_a_centre(eclipse: Any) -> None:
    cover = eclipse.obscuration
    assert cover(0.0, 1.0, 0.5) == 0.25
    assert cover(0.5, 1.0, 0.5) == 0.25  # touching from inside
    assert cover(0.0, 1.0, 1.0) == 1.0
    assert cover(0.1, 1.0, 1.2) == 1.0
    assert cover(1.5, 1.0, 0.5) == 0.0  # touching from outside
    assert cover(9.0, 1.0, 0.5) == 0.0
    assert cover(1.0, 1.0, 1.0) == pytest.approx((2 * math.pi / 3 - math.sqrt(3) / 2) / math.pi, rel=1e-14)
    assert cover(0.5 + 1e-9, 1.0, 0.5) == pytest.approx(0.25, abs=1e-8)
    assert cover(1.5 - 1e-9, 1.0, 0.5) == pytest.approx(0.0, abs=1e-8)


def test_obscuration_is_an_area(eclipse: Any) -> None:
    """Against the sum of thin strips."""
    d, sun, moon = 0.7, 1.0, 0.9
    strips = 20_000
    area = 0.0
    for i in range(strips):
        y = moon * (2 * (i + 0.5) / strips - 1)
        right = min(math.sqrt(max(sun**2 - y**2, 0)), d + math.sqrt(moon**2 - y**2))
        left = max(-math.sqrt(max(sun**2 - y**2, 0)), d - math.sqrt(moon**2 - y**2))
        area += max(right - left, 0.0) * 2 * moon / strips
    assert eclipse.obscuration(d, sun, moon) == pytest.approx(area / math.pi, abs=1e-5)


def test_magnitude(eclipse: Any) -> None:
    assert eclipse.magnitude(0.0, 1.0, 1.0) == 1.0
    assert eclipse.magnitude(1.0, 1.0, 1.0) == 0.5
    assert eclipse.magnitude(3.0, 1.0, 1.0) == 0.0
