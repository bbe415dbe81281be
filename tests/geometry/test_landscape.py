import numpy as np
import pytest
import torch

from grace_geom.geometry.landscape import filter_normalised, grid, line, plane, same_shapes
from grace_geom.weights import flatten
from tests.geometry import nets


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    return nets.make(seed=seed)[1]


def test_filters_have_the_norms_of_the_weights_and_vectors_stay():
    w = weights() | {"conv": torch.randn(3, 2, 2, 2, generator=torch.Generator().manual_seed(0))}
    d = filter_normalised(w, seed=1)
    assert list(d) == list(w)
    for name in w:
        if w[name].ndim < 2:
            assert not d[name].any()
        else:
            assert d[name].flatten(1).norm(dim=1).tolist() == pytest.approx(
                w[name].flatten(1).norm(dim=1).tolist()
            )


def test_direction_is_the_same_up_to_scale_for_another_checkpoint():
    a, b = filter_normalised(weights(0), 3), filter_normalised(weights(1), 3)
    for name in a:
        if a[name].ndim > 1:
            cosine = torch.nn.functional.cosine_similarity(a[name], b[name], dim=1)
            assert cosine.tolist() == pytest.approx([1.0] * len(cosine))
    other = filter_normalised(weights(0), 4)
    assert abs(torch.nn.functional.cosine_similarity(flatten(a), flatten(other), dim=0)) < 0.5


def quadratic(w):
    return 0.5 * flatten(w).square().sum().item()


def test_line_and_grid_of_a_quadratic():
    w = {"a": torch.tensor([[1.0, 0.0]]).double(), "b": torch.tensor([2.0]).double()}
    d1 = {"a": torch.tensor([[1.0, 0.0]]).double(), "b": torch.zeros(1).double()}
    d2 = {"a": torch.zeros(1, 2).double(), "b": torch.ones(1).double()}
    xs, ys = [-1.0, 0.0, 2.0], [0.0, 3.0]
    assert line(quadratic, w, d1, xs) == pytest.approx([0.5 * ((1 + x) ** 2 + 4) for x in xs])
    expected = [[0.5 * ((1 + x) ** 2 + (2 + y) ** 2) for x in xs] for y in ys]
    assert grid(quadratic, w, d1, d2, xs, ys) == pytest.approx(np.array(expected))


def test_plane_passes_through_its_three_points():
    points = [weights(s) for s in (0, 1, 2)]
    found = plane(*points)
    assert flatten(found.d1) @ flatten(found.d2) == pytest.approx(0, abs=1e-12)
    for (x, y), point in zip(found.corners, points, strict=True):
        reached = flatten(found.centre) + x * flatten(found.d1) + y * flatten(found.d2)
        assert torch.allclose(reached, flatten(point), atol=1e-12)


def test_points_on_a_line_and_other_shapes_are_refused():
    a, b = weights(0), weights(1)
    middle = {n: (a[n] + b[n]) / 2 for n in a}
    with pytest.raises(ValueError, match="one line"):
        plane(a, b, middle)
    with pytest.raises(ValueError, match="equal"):
        plane(a, a, b)
    with pytest.raises(ValueError, match="cannot be compared"):
        same_shapes([a, a | {"ln.weight": torch.ones(7)}])
