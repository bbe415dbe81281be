"""How often an evaluation has the host wait for a GPU: a few times a batch, never an image."""

import pytest

from grace_geom.attacks import AttackSpec
from grace_geom.evaluation.accuracy import evaluate_set
from tests.pretended_gpu import pretended_gpu
from tests.test_distributed import noisy_set
from tests.toys import toy_clip
from tests.training.test_waits import told

CLEAN, ATTACKED = "an evaluation, each batch of clean", "an evaluation, each batch under attack"
RUN = "an attack, each run"


@pytest.mark.parametrize("attack", [None, AttackSpec("pgd", 1e-4, steps=2, restarts=2)])
def test_a_batch_more_costs_what_the_page_says(attack: AttackSpec | None):
    model, images = toy_clip(), noisy_set()
    with pretended_gpu() as seen:
        on_gpu, counts = model.to("cuda"), []
        for n in (8, 16):
            seen.waits.clear()
            evaluate_set(on_gpu, images.subset(n, 0), "id", "x", attack=attack, batch_size=8)
            counts.append(seen.waits.total())
    more = told(CLEAN) if attack is None else told(ATTACKED) + 2 * told(RUN)
    assert counts == [more, 2 * more], seen.lines()
