"""Commands on a pretended GPU, and what is asked of all of them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grace_geom.errors import Interrupted
from grace_geom.methods import METHODS
from grace_geom.training import train_run
from tests.pretended_gpu import Seen, pretended_gpu
from tests.small_run import small_config


@contextlib.contextmanager
def gpu(**machine: Any) -> Iterator[Seen]:
    """A pretended GPU on which no operator may meet another device and no GPU tensor is
    pickled.
    """
    with pretended_gpu(**machine) as seen:
        yield seen
    assert not seen.mixed and not seen.pickled


def trained(folder: Path, method: str, device: str = "cuda", **values: Any) -> Path:
    """The directory of a run of one epoch that was stopped after two steps and resumed."""
    common = {"device": device, "workers": 0, "epochs": 1, **values}
    if not METHODS[method].trains:
        return train_run(small_config(folder, method, **common), quiet=True)
    with contextlib.suppress(Interrupted):
        train_run(small_config(folder, method, stop_after=2, **common), quiet=True)
    return train_run(small_config(folder, method, resume=True, **common), quiet=True)
