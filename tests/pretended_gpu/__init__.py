"""A machine with GPUs, pretended: numbers are the CPU's, the rules are CUDA's.

::

    with pretended_gpu(count=2) as seen:
        train_run(config(device="cuda"))
    assert not seen.waits

Every tensor stays an ordinary tensor on the CPU. The device that it *claims* is noted on its
storage (``tags``), so views, ``detach`` and optimiser state carry it. A function mode (``face``)
answers ``x.device`` and makes ``x.to("cuda")`` a copy that claims another device; a dispatch mode
(``rules``) sees every operator, those of backward passes too, refuses operands on two devices as
CUDA does, and counts what makes the host wait. The remaining files stand in for what asks a driver:
``torch.cuda`` (``cuda``), generators, autocast, ``torch.load`` and ``torch.save`` (``serialised``),
process groups (``groups``).

What cannot be seen this way is in ``docs/gpu.md``.
"""

import contextlib
from collections.abc import Iterator

from tests.pretended_gpu import autocast, cuda, face, generators, groups, rules, serialised
from tests.pretended_gpu import state as _state
from tests.pretended_gpu.state import DeviceMismatch as DeviceMismatch
from tests.pretended_gpu.state import Hang as Hang
from tests.pretended_gpu.state import Pretence, Race, Seen

__all__ = ["DeviceMismatch", "Hang", "Race", "Seen", "pretended_gpu"]
STAND_INS = (cuda, generators, autocast, serialised, groups, face)


@contextlib.contextmanager
def pretended_gpu(
    package: str = "/grace_geom/",
    count: int = 1,
    strict: bool = True,
    free: int = 80 * 2**30,
    tf32: bool = False,
) -> Iterator[Seen]:
    """A machine with GPUs until the end of the block.

    Args:
        package: Part of the path of the files whose lines are named in what is seen.
        count: GPUs.
        strict: Raise where CUDA would; else only note it in ``seen.mixed``.
        free: Bytes that ``torch.cuda.mem_get_info`` reports as free on each.
        tf32: Round what convolutions and matrix products read to TF32, where
            ``torch.backends`` allows it: what an Ampere card or a newer one does.

    Raises:
        DeviceMismatch: Inside, for operands on two devices.
        Hang: Inside, for a wait that would never end.
        Race: Inside, for a host copy that is read before it is there.
    """
    if _state.pretence is not None:
        raise RuntimeError("a GPU is pretended already")
    with contextlib.ExitStack() as stack:
        pretence = Pretence(package, count, strict, free, tf32)
        stack.callback(setattr, _state, "pretence", None)
        _state.pretence = pretence
        for module in STAND_INS:
            for owner, name, stand_in in list(module.stand_ins(pretence)):
                stack.callback(setattr, owner, name, getattr(owner, name))
                setattr(owner, name, stand_in)
        stack.enter_context(face.Face())
        stack.enter_context(rules.Rules())
        yield pretence.seen
