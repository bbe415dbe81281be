import numpy as np
import pytest
import torch

from grace_geom.geometry.spectrum import spectrum
from grace_geom.geometry.trace import hutchinson, mean_of, rademacher
from tests.geometry import nets
from tests.geometry.test_lanczos import rotated

LIKE = torch.empty(0, dtype=torch.float64)
VALUES = torch.cat([torch.linspace(-1, 1, 80), torch.tensor([4.0, 9.0])])
A = rotated(VALUES)


def test_mass_is_one_and_weights_are_real_and_positive():
    found = spectrum(lambda v: A @ v, LIKE, 82, steps=30, probes=4)
    assert found.weights.min() >= 0
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-12)
    grid = found.grid(0.1, 4000)
    assert np.trapezoid(found.density(grid, 0.1), grid, axis=1) == pytest.approx(
        np.ones(4), abs=1e-6
    )
    assert found.products == 120


def test_first_moment_is_hutchinson_s_trace_of_the_same_probes():
    found = spectrum(lambda v: A @ v, LIKE, 82, steps=12, probes=5, seed=4)
    trace = hutchinson(lambda v: A @ v, LIKE, {"all": 82}, 5, seed=4).trace
    assert 82 * found.moment(1).value == pytest.approx(trace.value, rel=1e-10)
    probes = [rademacher(82, 4, i).to(A) for i in range(5)]
    scatter = mean_of([float(z @ A @ z) for z in probes], "", 5)
    assert 82 * found.moment(1).error == pytest.approx(scatter.error, rel=1e-8)


def test_moments_agree_with_the_spectrum():
    found = spectrum(lambda v: A @ v, LIKE, 82, steps=20, probes=100)
    for order in (1, 2, 3):
        moment = found.moment(order)
        assert abs(moment.value - (VALUES.double() ** order).mean()) < 4 * moment.error


def test_density_is_the_smoothed_histogram():
    H = nets.dense_hessian()
    H = (H + H.T) / 2
    lams = torch.linalg.eigvalsh(H).numpy()
    found = spectrum(lambda v: H @ v, LIKE, len(H), steps=40, probes=20)
    width = 0.2
    grid = found.grid(width, 300)
    truth = np.exp(-0.5 * ((grid[:, None] - lams) / width) ** 2).mean(axis=1) / (
        width * np.sqrt(2 * np.pi)
    )
    samples = found.density(grid, width)
    error = samples.std(axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(samples.mean(axis=0) - truth) < 5 * error + 1e-9).all()


def test_an_invariant_space_ends_a_probe():
    found = spectrum(lambda v: 3 * v, LIKE, 10, steps=5, probes=2)
    assert found.products == 2
    assert found.moment(1).value == pytest.approx(3)
    assert found.grid(0.1).min() > 2  # padding is no node
