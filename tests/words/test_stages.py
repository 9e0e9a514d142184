"""Megabytes of text as items that are tracked."""

from __future__ import annotations

import io

import pytest

from kexue.progress import StandardErrorProgress
from kexue.words.stages import Stage


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (None, "reading, MB: 0\nreading, MB: 4\n"),
        (3.2e6, "reading, MB: 0/4\nreading, MB: 4/4\n"),
        (3e6, "reading, MB: 0/3\nreading, MB: 3/3\n"),
        (4.5e6, "reading, MB: 0/5\nreading, MB: 5/5\n"),
        (0, "reading, MB: 0/1\nreading, MB: 1/1\n"),
    ],
)
def test_it_ends_at_its_total(size, shown):
    stream = io.StringIO()
    with Stage(StandardErrorProgress(stream), "reading", size) as stage:
        for _ in range(8):
            stage.advance(0.4e6)
    assert stream.getvalue() == shown
    assert stage.done == pytest.approx(3.2e6)


def test_what_is_done_is_shown_on_the_way():
    class Recorded:
        done = 0

        def track(self, items, description, total, *, done=0, status=None):
            for item in items:
                yield item
                self.done += 1

    recorded = Recorded()
    with Stage(recorded, "cutting", 5e6) as stage:
        for _ in range(10):
            stage.advance(0.5e6)
            assert recorded.done == min(int(stage.done / 1e6), 4)  # the last one is done when all is
    assert recorded.done == 5


def test_an_interruption_is_no_end():
    stream = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Stage(StandardErrorProgress(stream), "reading", 5e6) as stage:
        stage.advance(2e6)
        raise KeyboardInterrupt
    assert stream.getvalue() == "reading, MB: 0/5\n"


def test_nobody_has_to_look():
    with Stage(None, "reading", None) as stage:
        stage.advance(1e7)
    with Stage(StandardErrorProgress(io.StringIO(), lines=False), "reading", 1e6) as stage:
        stage.advance(1e6)
