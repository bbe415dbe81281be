"""Random number generators that say which device they lie on; their numbers are the CPU's."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.pretended_gpu.state import Pretence
from tests.pretended_gpu.tags import device_of, exact

BYTES = 16
"""Of a CUDA generator's state: seed and offset. The CPU's has thousands."""

_states: dict[bytes, Tensor] = {}
"""What a short state stands for."""


class Generator(torch._C.Generator):
    """``torch.Generator("cuda")``, which lies on a device of its own and has a short state."""

    def __new__(cls, device: Any = "cpu") -> "Generator":
        made = super().__new__(cls)
        made.claims = exact(device)  # type: ignore[attr-defined]
        return made

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.claims  # type: ignore[attr-defined, no-any-return]

    def get_state(self) -> Tensor:
        """Its state, a byte tensor on the host."""
        state = super().get_state()
        return state if self.device.type == "cpu" else _short(state)

    def set_state(self, state: Tensor) -> "Generator":  # type: ignore[override]
        """Go on from a state of a generator of the same kind of device.

        Raises:
            TypeError: If the state is not a byte tensor on the host.
            RuntimeError: If it has another length.
        """
        _check_bytes(state)
        super().set_state(state if self.device.type == "cpu" else _long(state))
        return self

    def clone_state(self) -> Any:
        """Not pretended."""
        raise NotImplementedError


def _check_bytes(state: Tensor) -> None:
    if device_of(state).type != "cpu" or state.dtype != torch.uint8:
        raise TypeError("RNG state must be a torch.ByteTensor")


def _short(state: Tensor) -> Tensor:
    key = hashlib.blake2b(bytes(state.numpy()), digest_size=BYTES).digest()
    _states[key] = state
    return torch.frombuffer(bytearray(key), dtype=torch.uint8)


def _long(short: Tensor) -> Tensor:
    if len(short) != BYTES:
        raise RuntimeError("RNG state is wrong size")
    key = bytes(short.numpy())
    if key not in _states and _kept(key).is_file():
        whole = bytearray(_kept(key).read_bytes())
        _states[key] = torch.frombuffer(whole, dtype=torch.uint8)
    return _states[key]


def _kept(key: bytes) -> Path:
    return Path(tempfile.gettempdir()) / "pretended-gpu" / key.hex()


def keep(x: Tensor) -> None:
    """Another process may go on from a state that is being pickled: what it stands for is kept in
    the folder of temporary files.
    """
    if x.dtype == torch.uint8 and x.shape == (BYTES,):
        key = bytes(x.detach().numpy())
        if key in _states and not _kept(key).is_file():
            _kept(key).parent.mkdir(exist_ok=True)
            _kept(key).write_bytes(bytes(_states[key].numpy()))


def stand_ins(pretence: Pretence) -> Iterator[tuple[Any, str, Any]]:
    """``torch.Generator`` and the generators of the GPUs themselves, from which nothing draws
    here: what uses no generator of its own draws from the CPU's.
    """
    states = {}

    def get(device: Any = "cuda") -> Tensor:
        return states.get(exact(device), torch.zeros(BYTES, dtype=torch.uint8)).clone()

    def put(state: Tensor, device: Any = "cuda") -> None:
        _check_bytes(state)
        if len(state) != BYTES:
            raise RuntimeError("RNG state is wrong size")
        states[exact(device)] = state.clone()

    yield torch, "Generator", Generator
    yield torch.cuda, "get_rng_state", get
    yield torch.cuda, "set_rng_state", put
    yield torch.cuda, "manual_seed", lambda seed: None
    yield torch.cuda, "manual_seed_all", lambda seed: None
