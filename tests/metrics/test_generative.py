import numpy as np
import pytest
import torch

import kexue.metrics.generative as generative
from kexue.metrics.generative import (
    energy_distance,
    evaluate_generator,
    frechet_distance,
    kernel_distance,
    prdc,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    return rng.random((80, 1, 3, 3)), rng.random((70, 1, 3, 3)) + 0.1


class Sampler:
    """Gives the rows of an array one after another."""

    def __init__(self, rows):
        self.rows, self.asked, self.at = rows, [], 0

    def __call__(self, n):
        self.asked.append(n)
        self.at += n
        return torch.from_numpy(self.rows[self.at - n : self.at])


def test_every_name_is_here():
    assert all(hasattr(generative, name) for name in generative.__all__)


def test_all_metrics_in_pixels(data):
    real, fake = data
    sampler = Sampler(fake)
    found = evaluate_generator(
        sampler, real, n=70, metrics=("frechet", "kernel", "prdc", "energy"), floor=real[:40], batch_size=32
    )
    assert sampler.asked == [32, 32, 6]
    x, y = real.reshape(80, 9), fake.reshape(70, 9)
    assert found == {
        "frechet": frechet_distance(y, x),
        "frechet_floor": frechet_distance(x[:40], x),
        "kernel": kernel_distance(y, x)[0],
        "kernel_sd": kernel_distance(y, x)[1],
        "energy": energy_distance(y, x),
        "n_fake": 70,
        "n_real": 80,
        "n_floor": 40,
        **prdc(x, y),
    }


def test_features_are_those_of_the_network(data):
    real, fake = data

    def features(images):
        return torch.as_tensor(images).flatten(1)[:, :2] ** 2

    found = evaluate_generator(Sampler(fake), real, features, n=60, metrics=["frechet"])
    expected = frechet_distance(features(fake[:60]), features(real))
    assert found == {"frechet": expected, "n_fake": 60, "n_real": 80}


def test_as_many_are_drawn_as_are_real(data):
    real, _ = data
    sampler = Sampler(real)
    found = evaluate_generator(sampler, real, metrics=["prdc"])
    assert sampler.asked == [80]
    assert (found["precision"], found["density"], found["coverage"]) == (1.0, 1.0, 1.0)


def test_bad_arguments_are_told(data):
    real, fake = data
    with pytest.raises(ValueError, match=r"metrics must be some of \['frechet', .*\], got \['fid'\]"):
        evaluate_generator(Sampler(fake), real, metrics=["fid"])
    with pytest.raises(ValueError, match="metrics must be some of .* got 'frechet'"):
        evaluate_generator(Sampler(fake), real, metrics="frechet")
    with pytest.raises(ValueError, match="metrics must be some of"):
        evaluate_generator(Sampler(fake), real, metrics=())
    with pytest.raises(ValueError, match="floor needs the metric 'frechet'"):
        evaluate_generator(Sampler(fake), real, metrics=["prdc"], floor=real)
    with pytest.raises(ValueError, match="sampler must give as many samples as asked for, got 70 for 80"):
        evaluate_generator(Sampler(fake), real)
    with pytest.raises(ValueError, match="n must be an integer >= 2, got 1"):
        evaluate_generator(Sampler(fake), real, n=1)
    with pytest.raises(ValueError, match="real must have shape"):
        evaluate_generator(Sampler(fake), real.ravel(), n=3)
