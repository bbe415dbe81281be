"""A float64 network of some hundred weights with LayerNorm and attention, and its dense matrices
found another way.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from grace_geom.weights import Weights, flatten, unflatten

WIDTH, TOKENS, CLASSES = 4, 3, 3


class Net(nn.Module):
    """One pre-norm transformer block, pooled; ``unused`` takes part in nothing."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Linear(5, WIDTH)
        self.ln = nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.ln2 = nn.LayerNorm(WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 6), nn.GELU(), nn.Dropout(dropout), nn.Linear(6, WIDTH)
        )
        self.head = nn.Linear(WIDTH, CLASSES)
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        y = self.ln(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.mlp(self.ln2(x))
        return self.head(x.mean(dim=1))


@dataclass(frozen=True)
class Rows:
    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


def make(dropout: float = 0.0, seed: int = 0) -> tuple[Net, Weights]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Net(dropout).double().eval()
        for p in net.parameters():  # away from the special point of gains 1 and biases 0
            p.data += 0.3 * torch.randn_like(p)
    return net, {name: p.detach().clone() for name, p in net.named_parameters()}


def batches(sizes: tuple[int, ...] = (5, 2), seed: int = 1) -> list[Rows]:
    g = torch.Generator().manual_seed(seed)
    return [
        Rows(
            torch.randn(n, TOKENS, 5, generator=g, dtype=torch.float64),
            torch.randint(0, CLASSES, (n,), generator=g),
        )
        for n in sizes
    ]


def outputs(net: nn.Module):
    return lambda weights, rows: functional_call(net, weights, (rows.x,))


def criterion(z: Tensor, rows: Rows) -> Tensor:
    return F.cross_entropy(z, rows.y)


def loss(net: nn.Module):
    return lambda weights, rows: criterion(outputs(net)(weights, rows), rows)


@cache
def dense_hessian() -> Tensor:
    """Of :func:`make` on :func:`batches` as one batch: rows of the gradient by ``.backward`` on the
    module itself.

    Central differences of first derivatives: shares no second-derivative code with the operator.
    """
    net, weights = make()
    rows = batches()
    whole = Rows(torch.cat([r.x for r in rows]), torch.cat([r.y for r in rows]))
    w = flatten(weights)

    def gradient(w: Tensor) -> Tensor:
        net.load_state_dict(unflatten(w, weights))
        net.zero_grad()
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            F.cross_entropy(net(whole.x), whole.y).backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
        return torch.cat([p.reshape(-1) for p in parts])

    # fourth-order differences: error about 1e-11
    h, columns = 1e-3, []
    for e in torch.eye(len(w), dtype=w.dtype):
        near = gradient(w + h * e) - gradient(w - h * e)
        far = gradient(w + 2 * h * e) - gradient(w - 2 * h * e)
        columns.append((8 * near - far) / (12 * h))
    return torch.stack(columns)


@cache
def dense_ggn() -> Tensor:
    """``(1/n) sum_i J_i' (diag p - p p') J_i`` from one Jacobian row at a time."""
    net, _ = make()
    params = list(net.parameters())
    total, n = 0.0, 0
    for rows in batches():
        for x in rows.x:
            z = net(x[None])[0]
            jacobian = []
            for k in range(CLASSES):
                grads = torch.autograd.grad(z[k], params, retain_graph=True, allow_unused=True)
                parts = [
                    torch.zeros_like(p) if g is None else g
                    for p, g in zip(params, grads, strict=True)
                ]
                jacobian.append(torch.cat([g.reshape(-1) for g in parts]))
            J, p = torch.stack(jacobian), z.softmax(0).detach()
            total = total + J.T @ (p.diag() - p.outer(p)) @ J
            n += 1
    return total / n
