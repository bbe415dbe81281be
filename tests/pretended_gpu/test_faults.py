"""The pretended GPU sees what is planted: each fault here is one that CUDA refuses."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.pretended_gpu import DeviceMismatch, Race, pretended_gpu

HERE = "/tests/"


def gpu(*shape: int) -> Tensor:
    return torch.linspace(-1, 1, int(np.prod(shape)), device="cuda").reshape(shape)


def host(*shape: int) -> Tensor:
    return torch.ones(shape)


def mixed_in_recomputation() -> None:
    """The forward pass is right; what a backward pass recomputes is not."""
    elsewhere: list[Tensor] = [gpu(2)]

    def layer(x: Tensor) -> Tensor:
        return (x * elsewhere[0]).exp()

    y = checkpoint(layer, gpu(2).requires_grad_(), use_reentrant=False)
    elsewhere[0] = host(2)
    y.sum().backward()


def optimiser_on_the_host() -> None:
    model = nn.Linear(2, 2).to("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    model(gpu(1, 2)).sum().backward()
    optimizer.step()
    for state in optimizer.state.values():
        state["exp_avg"] = state["exp_avg"].cpu()
    optimizer.step()


def optimiser_state_of_many_on_the_host() -> None:
    model = nn.Linear(2, 2).to("cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=True)
    model(gpu(1, 2)).sum().backward()
    optimizer.step()
    for state in optimizer.state.values():
        state["momentum_buffer"] = state["momentum_buffer"].cpu()
    optimizer.step()


def gradient_on_the_host() -> None:
    x = gpu(2).requires_grad_()
    x.sum().backward()
    x.grad.add_(host(2))  # type: ignore[union-attr]


MIXED: dict[str, Callable[[], object]] = {
    "sum": lambda: gpu(2) + host(2),
    "product": lambda: gpu(2, 2) @ host(2, 2),
    "view of the host": lambda: gpu(2) + host(2, 2)[0].detach().view(2),
    "part of a cat": lambda: torch.cat([gpu(2), host(1)]),
    "one number in a stack": lambda: torch.stack([gpu(2).sum(), torch.tensor(1.0)]),
    "one number for a list": lambda: torch._foreach_mul([gpu(2)], torch.tensor(2.0)),
    "one number as destination": lambda: torch.tensor(0.0).add_(gpu(2).sum()),
    "gpu index into the host": lambda: host(3)[torch.tensor([0], device="cuda")],
    "gather by a host index": lambda: gpu(3).gather(0, torch.tensor([0])),
    "index_select by a host index": lambda: gpu(3).index_select(0, torch.tensor([0])),
    "labels on the host": lambda: F.cross_entropy(gpu(2, 2), torch.tensor([0, 1])),
    "mask on the host": lambda: gpu(2).masked_fill(torch.tensor([True, False]), 0.0),
    "condition on the host": lambda: torch.where(host(2) > 0, gpu(2), gpu(2)),
    "weights on the host": lambda: nn.Linear(2, 2)(gpu(1, 2)),
    "norm's weights on the host": lambda: nn.LayerNorm(2)(gpu(1, 2)),
    "buffer forgotten": lambda: nn.BatchNorm1d(2).to("cuda").cpu().eval()(gpu(2, 2)),
    "lists": lambda: torch._foreach_add([gpu(2)], [host(2)]),
    "two GPUs": lambda: gpu(2) + gpu(2).to("cuda:1"),
    "vmap": lambda: torch.vmap(lambda x: x + host(2))(gpu(3, 2)),
    "recomputation": mixed_in_recomputation,
    "optimiser": optimiser_on_the_host,
    "optimiser, many at once": optimiser_state_of_many_on_the_host,
    "gradient": gradient_on_the_host,
}


@pytest.mark.parametrize("name", MIXED)
def test_operands_on_two_devices_are_refused(name: str):
    with pretended_gpu(HERE, count=2) as seen, pytest.raises(DeviceMismatch, match="same device"):
        MIXED[name]()
    assert "pretended_gpu/test_faults.py" in seen.mixed[0][1]


def test_where_it_need_not_stop_it_is_noted():
    with pretended_gpu(HERE, strict=False) as seen:
        assert (gpu(2) + host(2)).tolist() == [0, 2]
    assert len(seen.mixed) == 1


OTHER: dict[str, tuple[type[Exception], str, Callable[[], object]]] = {
    "numpy": (TypeError, "Use Tensor.cpu", lambda: gpu(2).numpy()),
    "asarray": (TypeError, "Use Tensor.cpu", lambda: np.asarray(gpu(2))),
    "a GPU that is not there": (RuntimeError, "invalid device ordinal", lambda: host(1).cuda(2)),
    "a new tensor on one": (RuntimeError, "ordinal", lambda: torch.zeros(1, device="cuda:7")),
    "generator of the host": (
        RuntimeError,
        "'cuda:0' device type for generator but found 'cpu'",
        lambda: torch.randn(2, device="cuda", generator=torch.Generator()),
    ),
    "generator of the GPU": (
        RuntimeError,
        "'cpu' device type for generator but found 'cuda'",
        lambda: host(2).uniform_(generator=torch.Generator("cuda")),
    ),
    "generator of the other GPU": (
        RuntimeError,
        "generator",
        lambda: gpu(2).normal_(generator=torch.Generator("cuda:1")),
    ),
    "the host's state for a GPU": (
        RuntimeError,
        "wrong size",
        lambda: torch.Generator("cuda").set_state(torch.Generator().get_state()),
    ),
    "state on the GPU": (
        TypeError,
        "ByteTensor",
        lambda: torch.cuda.set_rng_state(torch.cuda.get_rng_state().to("cuda")),
    ),
    "pinned GPU memory": (RuntimeError, "cannot pin", lambda: gpu(2).pin_memory()),
    "linear algebra in bf16": (
        NotImplementedError,
        "not implemented for torch.bfloat16",
        lambda: torch.linalg.eigh(gpu(2, 2).bfloat16()),
    ),
    "product of integers": (
        NotImplementedError,
        "not implemented for torch.int64",
        lambda: gpu(2, 2).long() @ gpu(2, 2).long(),
    ),
    "an operator of the host": (
        NotImplementedError,
        "histogram",
        lambda: torch.histogram(gpu(9), 3),
    ),
    "autocast of the host": (DeviceMismatch, "no effect", lambda: cast("cpu")),
    "a copy read at once": (
        Race,
        "before anybody waited",
        lambda: gpu(2).to("cpu", non_blocking=True) + 1,
    ),
    "a copy listed at once": (Race, "waited", lambda: gpu(2).to("cpu", non_blocking=True).tolist()),
}


def cast(device: str) -> Tensor:
    with torch.autocast(device, dtype=torch.bfloat16):
        return gpu(2, 2) @ gpu(2, 2)


@pytest.mark.parametrize("name", OTHER)
def test_what_cuda_refuses_is_refused(name: str):
    error, words, fault = OTHER[name]
    with pretended_gpu(HERE, count=2), pytest.raises(error, match=words):
        fault()


def test_what_cuda_allows_is_allowed():
    with pretended_gpu(HERE, count=2) as seen:
        x = gpu(3)
        x * torch.tensor(2.0), torch.where(x > 0, x, torch.tensor(0.0)), x.clamp(min=0)
        x[torch.tensor([0, 2])], x.lerp(x, torch.tensor(0.5))
        x.copy_(host(3)), host(3).copy_(x), x.to("cuda:1").to("cuda:0") + x
        torch.nn.utils.clip_grad_norm_([x.requires_grad_()], 1.0)
        copy.deepcopy(nn.Linear(3, 3).to("cuda"))(x)
        torch.func.jvp(lambda w: w.sin() * torch.ones(3, device=w.device), (x,), (x,))
        torch.vmap(lambda w: w * torch.zeros(3, device=w.device))(gpu(2, 3))
    assert not seen.mixed


def test_operators_that_differ_from_run_to_run_are_counted_or_refused_where_that_is_asked():
    def both() -> None:
        gpu(2).index_add_(0, torch.zeros(2, dtype=torch.int64, device="cuda"), gpu(2))
        images = gpu(1, 1, 4, 4).requires_grad_()
        F.interpolate(images, size=6, mode="bicubic").sum().backward()

    def attention() -> None:
        q, k, v = gpu(3, 1, 2, 4, 8).requires_grad_().unbind()
        F.scaled_dot_product_attention(q, k, v).sum().backward()

    with pretended_gpu(HERE) as seen:
        both()
        attention()
    assert sorted(what for what, _ in seen.nondeterministic) == [
        "_scaled_dot_product_flash_attention_for_cpu_backward",
        "index_add_",
        "upsample_bicubic2d_backward",
    ]
    torch.use_deterministic_algorithms(True)
    try:
        with pretended_gpu(HERE) as seen, pytest.raises(RuntimeError, match="deterministic"):
            attention()  # has another algorithm
            both()
        assert not seen.nondeterministic
    finally:
        torch.use_deterministic_algorithms(False)


CONVOLVED = {
    "gradient of images": lambda x, w: F.conv2d(x.requires_grad_(), w).sum().backward(),
    "gradient of weights": lambda x, w: F.conv2d(x, w.requires_grad_()).sum().backward(),
    "transposed": F.conv_transpose2d,
}


@pytest.mark.parametrize("name", CONVOLVED)
def test_gradients_of_convolutions_are_counted_unless_cudnn_is_deterministic(name, monkeypatch):
    def seen() -> set[str]:
        with pretended_gpu(HERE) as found:
            CONVOLVED[name](gpu(1, 1, 4, 4), gpu(1, 1, 3, 3))
        return {what for what, _ in found.nondeterministic}

    assert seen() == {"convolution" if name == "transposed" else "convolution_backward"}
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    assert not seen()


def test_a_convolution_whose_algorithm_is_tried_out_is_counted(monkeypatch):
    with pretended_gpu(HERE) as seen:
        F.conv2d(gpu(1, 1, 4, 4), gpu(1, 1, 3, 3))
        assert not seen.nondeterministic
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
        F.conv2d(gpu(1, 1, 4, 4), gpu(1, 1, 3, 3))
    assert [what for what, _ in seen.nondeterministic] == ["convolution"]


def test_a_pretence_inside_another_is_refused_and_both_end():
    with pretended_gpu(), pytest.raises(RuntimeError, match="pretended already"), pretended_gpu():
        pass
    assert not torch.cuda.is_available() and torch.ones(1).device.type == "cpu"
