"""What a pretended GPU counts: waits of the host, copies, and where they were asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.pretended_gpu import pretended_gpu

HERE = "/tests/"


def data() -> Tensor:
    return torch.tensor([[3.0, 1.0], [1.0, 2.0]])


WAITS: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "int": lambda x: int(x.sum()),
    "bool": lambda x: bool(x.sum() > 0),
    "if": lambda x: 1 if (x > 0).all() else 0,
    "tolist": lambda x: x.tolist(),
    "str": lambda x: str(x),
    "format": lambda x: f"{x.sum():.2f}",
    "cpu": lambda x: x.cpu(),
    "numpy": lambda x: x.cpu().numpy(),
    "to": lambda x: x.to("cpu"),
    "copy_": lambda x: torch.empty(2, 2).copy_(x),
    "copy_ to pageable memory": lambda x: torch.empty(2, 2).copy_(x, non_blocking=True),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 1),
    "mask": lambda x: x[x > 1],
    "mask of rows": lambda x: x[x[:, 0] > 1],
    "assignment by a mask": lambda x: x.index_put_((x > 1,), x[0, :1].expand(2).contiguous()),
    "masked_select": lambda x: x.masked_select(x > 1),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x + 1),
    "allclose": lambda x: torch.allclose(x, x),
    "one_hot of unknown classes": lambda x: F.one_hot(x.long()),
    "repeats": lambda x: x[0].repeat_interleave(torch.tensor([1, 2], device="cuda")),
    "eigh": lambda x: torch.linalg.eigh(x),
    "solve": lambda x: torch.linalg.solve(x, x),
    "cholesky": lambda x: torch.linalg.cholesky(x),
    "synchronize": lambda x: torch.cuda.synchronize(),
}


@pytest.mark.parametrize("name", WAITS)
def test_each_wait_is_counted_once(name: str):
    with pretended_gpu(HERE) as seen:
        x = data().to("cuda")
        WAITS[name](x)
    assert seen.waits.total() == 1
    ((_, at),) = seen.waits
    assert "test_waits_and_copies.py" in at


NONE: dict[str, Callable[[Tensor], object]] = {
    "arithmetic": lambda x: (x @ x).relu().sum().sqrt(),
    "shapes": lambda x: [x.shape, len(x), x.device, x.dtype, x.numel()],
    "filled by a mask": lambda x: x.masked_fill(x > 1, 0),
    "one number by a mask": lambda x: x.index_put_((x > 1,), torch.tensor(0.0, device="cuda")),
    "rows by number": lambda x: x[torch.arange(2, device="cuda")],
    "cholesky without a check": lambda x: torch.linalg.cholesky_ex(x),
    "repeats of known number": lambda x: x[0].repeat_interleave(
        torch.tensor([1, 2], device="cuda"), output_size=3
    ),
    "one_hot": lambda x: F.one_hot(x.long(), 4),
    "asynchronous copy": lambda x: x.to("cpu", non_blocking=True),
    "host": lambda x: [data().sum().item(), data().tolist(), bool(data().all())],
}


@pytest.mark.parametrize("name", NONE)
def test_what_waits_for_nothing_is_not_counted(name: str):
    with pretended_gpu(HERE) as seen:
        NONE[name](data().to("cuda"))
    assert not seen.waits


def test_a_copy_that_somebody_waited_for_may_be_read():
    with pretended_gpu(HERE) as seen:
        x = data().to("cuda")
        early, late = (x.to("cpu", non_blocking=True) for _ in range(2))
        torch.cuda.synchronize()
        assert early.tolist() == late.tolist() == data().tolist()
        third, event = x.to("cpu", non_blocking=True), torch.cuda.Event()
        event.record()
        event.synchronize()
        assert third.tolist() == data().tolist()
    assert [what for what, _ in seen.waits] == ["torch.cuda.synchronize", "event.synchronize"]


UPLOADS: dict[str, tuple[Callable[[], object], str]] = {
    "pageable": (lambda: data().to("cuda"), "copy to the GPU, pageable, blocking"),
    "pageable whatever is hoped": (
        lambda: data().to("cuda", non_blocking=True),
        "copy to the GPU, pageable",
    ),
    "page-locked": (lambda: data().pin_memory().cuda(), "copy to the GPU, pinned, blocking"),
    "asynchronous": (
        lambda: data().pin_memory().to("cuda", non_blocking=True),
        "copy to the GPU, asynchronous",
    ),
    "made pinned": (
        lambda: torch.zeros(2, pin_memory=True).to("cuda", non_blocking=True),
        "copy to the GPU, asynchronous",
    ),
    "numbers": (lambda: torch.tensor([1, 2], device="cuda"), "torch.tensor on the GPU, blocking"),
    "copy_": (
        lambda: torch.zeros(2, 2, device="cuda").copy_(data()),
        "copy_ to the GPU, pageable, blocking",
    ),
    "index": (
        lambda: torch.zeros(2, device="cuda")[torch.tensor([0])],
        "host index into a GPU tensor, pageable, blocking",
    ),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_each_upload_says_how(name: str):
    call, what = UPLOADS[name]
    with pretended_gpu(HERE) as seen:
        call()
    assert [key for key, _ in seen.uploads] == [what] and seen.uploads.total() == 1


def test_nothing_is_uploaded_that_is_made_there():
    with pretended_gpu(HERE) as seen:
        torch.zeros(2, device="cuda"), torch.randn(2, device="cuda"), data().to("cpu")
        torch.arange(3, device="cuda"), torch.full((2,), 0.5, device="cuda")
    assert not seen.uploads


def test_a_loader_pins_in_a_thread_of_its_own():
    with pretended_gpu(HERE) as seen:
        for (rows,) in torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.arange(4)), 2, pin_memory=True, num_workers=1,
            multiprocessing_context="fork",
        ):  # fmt: skip
            rows.to("cuda", non_blocking=True)
    assert [what for what, _ in seen.uploads] == ["copy to the GPU, asynchronous"]


def test_a_saved_gpu_tensor_is_told_and_its_file_says_where_it_lay(tmp_path: Path):
    with pretended_gpu(HERE, count=2) as seen:
        torch.save({"x": data().to("cuda:1"), "y": data()}, tmp_path / "gpu.pt")
        assert torch.load(tmp_path / "gpu.pt")["x"].device == torch.device("cuda:1")
        there = torch.load(tmp_path / "gpu.pt", map_location="cuda:0")
        assert {x.device for x in there.values()} == {torch.device("cuda:0")}
        moved = torch.load(tmp_path / "gpu.pt", map_location={"cuda:1": "cpu"})["x"]
        assert moved.device.type == "cpu" and torch.equal(moved, data())
    assert list(seen.pickled.values()) == [1] and next(iter(seen.pickled))[0].startswith(
        "torch.save"
    )
    with pretended_gpu(HERE, count=1), pytest.raises(RuntimeError, match="CUDA device 1 but"):
        torch.load(tmp_path / "gpu.pt")
    with pytest.raises(RuntimeError, match="deserialize object on a CUDA device"):
        torch.load(tmp_path / "gpu.pt")  # torch's own word, without a GPU
    assert torch.equal(torch.load(tmp_path / "gpu.pt", map_location="cpu")["x"], data())


def test_what_was_seen_is_told_in_lines():
    with pretended_gpu(HERE, strict=False) as seen:
        x = data().to("cuda")
        x.tolist(), x.tolist(), x + data()
    text = "\n".join(seen.lines())
    assert "waits: 2" in text and "       2  tolist" in text and "uploads: 1" in text
    assert "refused: Expected all tensors to be on the same device" in text
