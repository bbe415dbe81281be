"""An analysis that was interrupted on a GPU goes on there; its state lies on the CPU."""

from pathlib import Path

import pytest
import torch

from grace_geom.analysis.curvature import Curvature, CurvatureOptions, curvature
from grace_geom.analysis.objective import objective
from grace_geom.analysis.state import State
from grace_geom.errors import Interrupted
from grace_geom.geometry.krylov import Krylov, random_start
from grace_geom.progress import Progress
from tests.pretended_gpu import pretended_gpu
from tests.toys import toy_batch, toy_clip


def measured(state: Path) -> Curvature:
    """Two eigenvalues, a trace and a density of the toy's Hessian on the GPU."""
    model = toy_clip().to("cuda").eval()
    batches = [toy_batch(6, seed).to("cuda") for seed in range(2)]
    options = CurvatureOptions((), params="ln_", top=2, probes=2, max_products=12)
    mean = objective(model, model, batches, options.params)
    return curvature(mean, options, state, Progress(0, quiet=True), 1, 3)


def test_an_interrupted_spectrum_goes_on_and_finds_what_a_whole_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the eigenvalues, whose basis is kept, then in the density, whose probes
    are.
    """
    seen = [0]

    def interrupt(self: State) -> None:
        seen[0] += 1
        if seen[0] in (4, whole.products - 1):
            raise KeyboardInterrupt

    with pretended_gpu():
        whole = measured(tmp_path / "whole.state")
        monkeypatch.setattr(State, "keep_now_and_then", interrupt)
        for _ in range(2):
            with pytest.raises(Interrupted, match="products are kept"):
                measured(tmp_path / "cut.state")
        cut = measured(tmp_path / "cut.state")
        assert (
            whole.krylov.vectors().device == cut.krylov.vectors().device == torch.device("cuda:0")
        )
    assert cut.earlier == whole.products - 1 and whole.earlier == 0
    # float32, whose sums are taken in another order where the basis lies in other blocks
    torch.testing.assert_close(cut.pairs.values, whole.pairs.values, rtol=1e-4, atol=1e-5)
    assert cut.probed.trace.value == pytest.approx(whole.probed.trace.value, rel=1e-4)
    assert whole.density is not None and cut.density is not None
    assert cut.density.nodes == pytest.approx(whole.density.nodes, rel=1e-4, abs=1e-5)


def test_the_state_of_a_basis_on_a_gpu_needs_no_second_one_there() -> None:
    with pretended_gpu() as seen:
        start = random_start(20, 0, torch.zeros(1, device="cuda"))
        krylov = Krylov(start)
        for _ in range(3):
            krylov.extend(lambda v: v * torch.arange(1.0, 21.0, device=v.device))
        state = krylov.state_dict()
        assert {state[name].device.type for name in ("basis", "next", "T", "lost")} == {"cpu"}
        other = Krylov(start)
        other.load_state_dict({k: v.cuda() if torch.is_tensor(v) else v for k, v in state.items()})
        assert other.vectors().device.type == "cuda" and not seen.mixed
        assert torch.equal(other.vectors().cpu(), krylov.vectors().cpu())
