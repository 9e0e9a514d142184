"""Trainings with a name: seeded before the model, and nothing outside is disturbed."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from kexue.progress import NullProgress
from kexue.training.named import current_training, training
from kexue.training.seeding import seed_everything


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_training_depends_on_nothing_before_it_and_changes_nothing_after_it():
    seed_everything(4)
    outside = draw(), draw()
    seed_everything(4)
    first = draw()
    with training("a", seed=1):
        inside = draw()
    assert (first, draw()) == outside
    draw()
    with training("a", seed=1) as run:
        assert current_training() is run
        assert draw() == inside
    assert current_training() is None
    for name, seed in (("b", 1), ("a", 2)):
        with training(name, seed=seed):
            assert draw() != inside


def test_streams_of_its_own():
    with training("a", seed=1) as run:
        x = torch.rand(3, generator=run.generator("evaluation"))
        assert torch.equal(x, torch.rand(3, generator=run.generator("evaluation")))
        assert not torch.equal(x, torch.rand(3, generator=run.generator("interpolation")))
        assert run.derived_seed("x") != run.derived_seed("y")


def test_they_do_not_nest():
    with training("a", seed=1), pytest.raises(RuntimeError, match="'b' cannot begin inside the training 'a'"):
        training("b", seed=1).__enter__()
    with training("b", seed=1, progress=NullProgress()) as run:
        assert isinstance(run.progress, NullProgress)


@pytest.mark.parametrize(
    ("name", "seed", "error", "message"),
    [
        ("a/b", 1, ValueError, "name must be letters.* got 'a/b'"),
        ("", 1, ValueError, "name must be"),
        ("a", -1, ValueError, "seed must be"),
        ("a", 1.5, TypeError, "seed must be"),
    ],
)
def test_wrong_words(name, seed, error, message):
    with pytest.raises(error, match=message), training(name, seed=seed):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_waits_for_the_end_of_the_step(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with training("a", seed=1) as run:
        run.looping = True
        os.kill(os.getpid(), number)
        assert run.stopping
        os.kill(os.getpid(), signal.SIGTERM)  # a launcher sends it after the Ctrl-C that all have got
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        run.looping = False
        with pytest.raises(KeyboardInterrupt):  # outside of the loop there is nothing to wait for
            os.kill(os.getpid(), number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_in_a_thread_signals_are_left_alone():
    found = []

    def work():
        with training("a", seed=1):
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]
