"""TPGM and FTP: projections, radii that have a closed form, and an optimiser state that outlives a
restart.
"""

import copy
import io
import math
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import pytest
import torch
from torch.testing import assert_close

from grace_geom.methods.ft import Ft
from grace_geom.methods.ftp import Ftp
from grace_geom.methods.radius import deviation, inside
from grace_geom.methods.tpgm import Tpgm
from tests.toys import toy_batch, toy_clip, toy_run, train

ROWS = torch.tensor([[3.0, -4.0], [0.5, 0.5], [0.0, 0.0]])


def test_norms_by_hand():
    assert deviation(ROWS, "l2").item() == pytest.approx(math.sqrt(25.5))
    assert_close(deviation(ROWS, "mars"), torch.tensor([[7.0], [1.0], [0.0]]))
    assert deviation(torch.tensor([1.0, -2.0]), "mars").item() == 3.0
    assert deviation(torch.ones(2, 3, 4, 4), "mars").flatten().tolist() == [48.0, 48.0]


@pytest.mark.parametrize("norm", ["l2", "mars"])
def test_projection_is_exact(norm):
    radius = torch.tensor(2.0)
    found = inside(ROWS, radius, deviation(ROWS, norm))
    norms, after = deviation(ROWS, norm), deviation(found, norm)
    assert_close(after, norms.minimum(radius))
    assert_close(
        found * norms.clamp_min(1e-9), ROWS * after, rtol=1e-6, atol=1e-6
    )  # only ever shorter
    assert torch.equal(inside(ROWS, torch.tensor(9.0), norms), ROWS), (
        "what is inside stays, bit for bit"
    )


@pytest.mark.parametrize("norm", ["l2", "mars"])
def test_tpgm_lands_inside_its_radii(norm):
    method, records = Tpgm(lr=1e-2, radius_steps=5, norm=norm), []
    run = toy_run(method, steps=3)
    run.emit = lambda stream, record: records.append((stream, record))
    train(method, run, [toy_batch(seed=s) for s in range(3)])
    tuned, left, base = method.snapshot(run), method.finish(run), toy_clip().weights()
    ((stream, record),) = records
    assert stream == "radii" and record["step"] == 3 and record["radius"].keys() == tuned.keys()
    shorter = 0
    for name, w in left.items():
        radius, before = record["radius"][name], deviation(tuned[name] - base[name], norm)
        assert 0 < radius <= max(before.max().item(), 1e-8) * (1 + 1e-6)
        assert_close(
            deviation(w - base[name], norm), before.clamp_max(radius), rtol=1e-3, atol=1e-6
        )
        shorter += radius < 0.99 * before.max()
    assert shorter > len(left) / 2


class Coin:
    """A model of one weight: P(class 1) = sigmoid(v). Its best v on labels is the log odds, in
    closed form.
    """

    head: ClassVar[dict[str, torch.Tensor]] = {}

    def weights(self):
        return {"v": torch.tensor([0.5])}

    def __call__(self, images, weights):
        return torch.stack([torch.zeros(len(images)), weights["v"].expand(len(images))], dim=1)


@pytest.mark.parametrize(("tuned", "wanted"), [(3.5, math.log(3) - 0.5), (0.9, 0.4), (-2.0, 1e-8)])
def test_tpgm_s_radius_has_a_closed_form(tuned, wanted):
    # Three of four held-out labels are 1: v = log 3 is best. From v0 = 0.5 the way there is log 3 -
    # 0.5, unless training went less far (all of it is kept) or away from there (nothing is).
    batch = replace(toy_batch(4), labels=torch.tensor([1, 1, 1, 0]))
    records = []
    run = toy_run(Ft())
    run = replace(
        run,
        model=Coin(),
        params={"v": torch.tensor([tuned])},
        images=lambda part: [batch] * (part == "val"),
    )
    run.emit = lambda stream, record: records.append(record)
    left = Tpgm(radius_steps=400).finish(run)
    assert records[0]["radius"]["v"] == pytest.approx(wanted, rel=1e-2, abs=1e-7)
    assert left["v"].item() == pytest.approx(0.5 + math.copysign(wanted, tuned - 0.5), abs=1e-2)


def test_tpgm_needs_held_out_images():
    method = Tpgm()
    run = replace(toy_run(method), images=lambda part: [toy_batch()] * (part == "train"))
    with pytest.raises(RuntimeError, match="no held-out images"):
        method.finish(run)


def quadratic(p, H, goal):
    return ((p - goal) * H * (p - goal)).sum() / 2


def ftp_by_hand(p, H, goal, lr, mu, k, steps):
    """FTP on a diagonal quadratic in plain double precision, loop by loop, with the radius after
    each step.
    """
    p0, radii = p.double().clone(), []
    p, H, goal = p.double().clone(), H.double(), goal.double()
    m = v = torch.zeros_like(p)
    gm = gv = 0.0
    gamma = previous = None
    for t in range(1, steps + 1):
        g = H * (p - goal)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        free = p - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        c = free - p0
        norms = [sum(abs(x) for x in row) for row in c.tolist()]
        if gamma is None:
            gamma = 1e-8
        else:
            slope = 0.0
            for row, old in zip(g.tolist(), previous.tolist(), strict=True):
                slope += sum(a * b for a, b in zip(row, old, strict=True)) / (
                    sum(map(abs, old)) + 1e-8
                )
            slope *= k if slope > 0 else 1.0
            gm, gv = 0.9 * gm + 0.1 * slope, 0.999 * gv + 0.001 * slope**2
            gamma -= (
                mu * gm / (1 - 0.9 ** (t - 1)) / (math.sqrt(gv / (1 - 0.999 ** (t - 1))) + 1e-8)
            )
            gamma = min(max(gamma, 1e-8), max(norms))
        ratio = torch.tensor([[min(1.0, gamma / n)] for n in norms])
        p, previous = p0 + ratio * c, c
        radii.append(gamma)
    return p, radii


SETTINGS = {"lr": 0.4, "mu": 0.5, "k": 0.5}


def ftp_setting():
    g = torch.Generator().manual_seed(0)
    p, goal = torch.randn(3, 4, generator=g), torch.randn(3, 4, generator=g)
    return p.requires_grad_(), 0.5 + torch.rand(3, 4, generator=g), goal


def test_ftp_is_the_algorithm_written_out():
    p, H, goal = ftp_setting()
    wanted, radii = ftp_by_hand(p.detach(), H, goal, **SETTINGS, steps=40)
    optimizer, start, found = Ftp(**SETTINGS).make_optimizer({"w": p}), p.detach().clone(), []
    for _ in range(40):
        optimizer.zero_grad()
        quadratic(p, H, goal).backward()
        optimizer.step()
        found.append(optimizer.state[p]["gamma"].item())
        assert deviation(p.detach() - start, "mars").max() <= found[-1] * (1 + 1e-5) + 1e-7, (
            "inside its radius"
        )
    assert found == pytest.approx(radii, rel=1e-3)
    assert_close(p.detach().double(), wanted, rtol=1e-3, atol=1e-4)
    assert min(b - a for a, b in pairwise(radii)) < 0, "the radius shrank somewhere: k acted"


def test_ftp_goes_on_after_a_restart_bit_for_bit():
    ends = []
    for restart in (False, True):
        p, H, goal = ftp_setting()
        method = Ftp(**SETTINGS)
        optimizer = method.make_optimizer({"w": p})
        for step in range(12):
            if restart and step == 5:
                file = io.BytesIO()
                torch.save((p.detach(), optimizer.state_dict()), file)
                values, state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
                p = ftp_setting()[0]
                optimizer = method.make_optimizer(
                    {"w": p}
                )  # around the pretrained weights, as a resumed run does
                p.data.copy_(values)
                optimizer.load_state_dict(copy.deepcopy(state))
            optimizer.zero_grad()
            quadratic(p, H, goal).backward()
            optimizer.step()
        ends.append(p.detach())
    assert torch.equal(*ends)


def test_ftp_s_head_is_free_unless_asked():
    for project_head in (False, True):
        method = Ftp(lr=1e-2, project_head=project_head)
        run = toy_run(method)
        train(method, run, [toy_batch()])
        moved = {
            name: (w.detach() - run.model.weights()[name]).abs().max()
            for name, w in run.params.items()
        }
        assert (moved.pop("head.weight") > 1e-3) != project_head
        assert moved.pop("head.bias") > 1e-3 or project_head
        assert max(moved.values()) <= 1e-7, "the first radius is 1e-8"
