"""Every op and composite of the torch front end: how it is called, and where it is smooth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

INF = float("inf")


@dataclass(frozen=True)
class Operation:
    """One form of a function.

    Attributes:
        fn: of float tensors of these shapes.
        shapes: of its arguments.
        domain: where to draw arguments from; `given` stands in for drawn ones.
        order: how often to differentiate: 0 for results that are whole or truth values.
        loose: how far float64 results may lie from torch's, in units of the last place.
    """

    name: str
    fn: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = ((3, 4),)
    domain: tuple[float, float] = (-2.0, 2.0)
    order: int = 2
    given: tuple[Any, ...] = ()
    loose: float = 200

    def arguments(self, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
        """The point, off the kinks at 0."""
        if self.given:
            return [torch.tensor(x, dtype=dtype) for x in self.given]
        rng = torch.Generator().manual_seed(sum(map(ord, self.name)))
        low, high = self.domain
        drawn = []
        for shape in self.shapes:
            x = torch.rand(shape, generator=rng, dtype=torch.float64) * (high - low) + low
            drawn.append(torch.where(x.abs() < 0.02, 0.02, x).to(dtype))
        return drawn

    def __str__(self) -> str:
        return self.name


def _one(name: str, *domain: float, **options: Any) -> Operation:
    """A function of one tensor, of torch or of torch.nn.functional, by its name."""
    fn = getattr(torch, name, None) or getattr(F, name)
    if domain:
        options["domain"] = domain
    return Operation(name, fn, **options)


def _holed(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x > 0.5, torch.nan, x)


PAIR = ((3, 4), (3, 4))
Op = Operation

ELEMENTWISE = [
    *map(
        _one,
        [
            "abs",
            "sign",
            "square",
            "exp",
            "expm1",
            "exp2",
            "sin",
            "cos",
            "atan",
            "sinh",
            "cosh",
            "tanh",
            "erf",
            "sigmoid",
            "relu",
        ],
    ),
    *map(
        _one,
        [
            "logsigmoid",
            "silu",
            "elu",
            "celu",
            "selu",
            "gelu",
            "softplus",
            "hardtanh",
            "relu6",
            "hardswish",
            "mish",
        ],
    ),
    *map(_one, ["softsign", "tanhshrink", "leaky_relu", "deg2rad", "rad2deg", "neg", "positive"]),
    *(_one(name, 0.1, 3.0) for name in ["log", "log2", "log10", "sqrt", "rsqrt"]),
    *(_one(name, -0.8, 0.8) for name in ["asin", "acos", "tan", "log1p"]),
    *(_one(name, order=1) for name in ["floor", "ceil", "trunc", "frac", "round"]),
    # torch's derivative of it is 1/6 as a float32.
    _one("hardsigmoid", order=1, loose=1e9),
    _one("reciprocal", 0.3, 2.0),
    *(
        Op(name, getattr(torch, name), PAIR)
        for name in ["add", "sub", "mul", "maximum", "minimum", "atan2", "hypot", "logaddexp"]
    ),
    *(Op(name, getattr(torch, name), PAIR, (0.2, 2.0)) for name in ["div", "pow", "xlogy"]),
    Op("remainder", torch.remainder, PAIR, (0.3, 3.0)),
    Op("fmod", torch.fmod, PAIR, (0.3, 3.0)),
    Op("remainder of both signs", lambda x: torch.remainder(x, -0.7) + x % 0.6),
    Op("floor_divide", lambda x: x // 0.7 + torch.div(x, 0.3, rounding_mode="trunc"), order=0),
    Op("pow of a number", lambda x: 2.0**x + x**3 + x**-2 + (x * x) ** 0.5),
    Op("round decimals", lambda x: torch.round(x, decimals=1), order=0),
    Op("tanh gelu", lambda x: F.gelu(x, approximate="tanh")),
    Op("elu alpha", lambda x: F.elu(x, 0.7)),
    Op("celu alpha", lambda x: F.celu(x, 2.0)),
    Op("leaky slope", lambda x: F.leaky_relu(x, 0.3)),
    Op("prelu", F.prelu, ((5, 3), (3,))),
    Op("prelu shared", F.prelu, ((5, 3), (1,))),
    Op("threshold", lambda x: F.threshold(x, 0.3, 7.0)),
    Op("softplus beta", lambda x: F.softplus(x, beta=2.0)),
    Op("clamp", lambda x: x.clamp(-1, 0.5)),
    Op("clamp max", lambda x: torch.clamp_max(x, 0.5)),
    Op("clamp by tensors", torch.clamp, ((3, 4), (4,), (3, 1))),
    Op("hardtanh limits", lambda x: F.hardtanh(x, -0.5, 1.5)),
    Op("where", lambda x, y: torch.where(x > y, x * y, y), PAIR),
    Op("masked_fill", lambda x: x.masked_fill(x > 0, -3.0) * x),
    Op("lerp", lambda x, y: torch.lerp(x, y, 0.3) + torch.lerp(x, y, 0.8), PAIR),
    Op("lerp by tensor", torch.lerp, (*PAIR, (4,))),
    Op("addcmul", lambda x, y, z: torch.addcmul(x, y, z, value=0.5), (*PAIR, (4,))),
    Op("addcdiv", lambda x, y, z: torch.addcdiv(x, y, z, value=2), (*PAIR, (4,)), (0.3, 2.0)),
    Op("nan_to_num", torch.nan_to_num),
    _one("logit", 0.02, 0.98),
    Op("logit within limits", lambda x: torch.logit(x, eps=0.1), domain=(-0.3, 1.3)),
    Op("fmax, fmin", lambda x, y: torch.fmax(x, y) * torch.fmin(y, x * x), PAIR),
    Op("fmax of missing values", lambda x, y: torch.fmax(_holed(x), y) - y.fmin(_holed(x)), PAIR),
    Op("rsub", lambda x, y: torch.rsub(x, y, alpha=3), PAIR),
    Op("alpha", lambda x, y: torch.add(x, y, alpha=2) * torch.sub(x, y, alpha=3), PAIR),
    Op(
        "logic",
        lambda x, y: (
            (x > 0) & (y <= 1) | (x != y) ^ (y >= 0.5),
            torch.isnan(x),
            torch.isinf(x),
            torch.isfinite(x),
            torch.logical_not(x),
            torch.logical_and(x > 0, y < 0),
            torch.logical_or(x > 1, y < 0),
            torch.logical_xor(x > 0, y > 0),
            torch.eq(x, y),
            torch.ne(x, y),
            torch.lt(x, y),
            torch.le(x, y),
            torch.gt(x, y),
            torch.ge(x, y),
        ),
        PAIR,
        order=0,
    ),
    Op("heaviside", lambda x, y: torch.heaviside(x.round(), y), PAIR, order=0),
    Op("methods", lambda x: x.exp().sub(1).mul(2).tanh().add(x.square()).neg().clamp(min=-3)),
    Op("scalar", lambda x: torch.exp(x) * torch.erf(x), ((),)),
    Op("of size one", lambda x, y: torch.atan(x) * y, ((1,), (3, 1))),
]

REDUCTIONS = [
    Op("nansum", lambda x: (_holed(x).nansum(), torch.nansum(_holed(x), 1, keepdim=True))),
    Op("nanmean", lambda x: (_holed(x).nanmean(), torch.nanmean(_holed(x), (0, 1)))),
    Op("cov", lambda x: (torch.cov(x), torch.cov(x[0]), torch.cov(x, correction=0))),
    Op("corrcoef", lambda x: (torch.corrcoef(x), x[0].corrcoef()), ((3, 5),)),
    Op("sum", lambda x: (x.sum(), x.sum(0), torch.sum(x, (0, 1), keepdim=True), x.sum(-1))),
    Op("mean", lambda x: (x.mean(), x.mean(1, keepdim=True), x.mean((0, 1)))),
    Op("prod", lambda x: (x.prod(), x.prod(0), torch.prod(x, 1, keepdim=True))),
    Op(
        "prod of zeros",
        lambda x: (x.prod(1), x.prod()),
        given=([[0.0, 2.0, 3.0], [0.0, 0.0, 5.0], [1.0, 2.0, 4.0]],),
    ),
    Op("amax", lambda x: (x.amax(), x.amax(0), x.amin(1, keepdim=True), x.amin((0, 1)))),
    Op("max", lambda x: (x.max(), x.max(1).values, x.max(0, keepdim=True)[0], x.min(-1)[0])),
    Op(
        "max of ties",
        lambda x: (x.amax(1), x.max(1)[0], x.min(1)[0], x.amin(), x.max()),
        given=([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0], [0.0, 0.0, 0.0]],),
    ),
    Op(
        "arguments",
        lambda x: (
            x.argmax(),
            x.argmin(1),
            torch.argmax(x, 0, keepdim=True),
            x.max(1).indices,
            x.min(0, keepdim=True)[1],
        ),
        order=0,
    ),
    Op(
        "arguments of ties",
        lambda x: (x.argmax(1), x.argmin(1), x.argmax(), x.max(0)[1]),
        given=([[1.0, 1.0, 0.0], [INF, 3.0, 3.0], [-INF, -INF, -INF]],),
        order=0,
    ),
    Op(
        "arguments of nan",
        lambda x: (x.argmax(1), x.argmin(1), x.max(1)[0], x.min(0)[1]),
        given=([[1.0, float("nan"), 2.0], [4.0, 3.0, float("nan")]],),
        order=0,
    ),
    Op(
        "arguments of whole",
        lambda x: (x.round().long().argmax(1), (x > 0).long().argmin(0)),
        order=0,
    ),
    Op(
        "var",
        lambda x: (
            x.var(),
            x.var(0),
            torch.var(x, 1, unbiased=False),
            x.var(correction=0),
            torch.var(x, False),
            x.var((0, 1), keepdim=True),
        ),
    ),
    Op("std", lambda x: (x.std(), x.std(0), torch.std(x, 1, correction=0), *torch.std_mean(x, 1))),
    Op("var_mean", lambda x: torch.var_mean(x, 0)),
    *(
        Op(
            f"norm {p}",
            lambda x, p=p: (
                torch.norm(x, p),
                x.norm(p, dim=1),
                torch.linalg.vector_norm(x, p, dim=0, keepdim=True),
            ),
        )
        for p in (1, 1.5, 2, 3, INF, -INF, -1)
    ),
    Op("norm 0", lambda x: torch.linalg.vector_norm(x, 0, dim=1), order=0),
    Op(
        "matrix norms",
        lambda x: (
            torch.linalg.norm(x),
            torch.linalg.norm(x, "fro"),
            torch.linalg.norm(x, INF),
            torch.linalg.norm(x, -1),
            torch.linalg.matrix_norm(x, 1),
            torch.linalg.norm(x, 3, dim=1),
        ),
    ),
    Op("l21 norm", lambda x: x.norm(dim=1).sum() + torch.sqrt((x * x).sum())),
    Op("normalize", lambda x: (F.normalize(x), F.normalize(x, p=1.0, dim=0))),
    Op("logsumexp", lambda x: (x.logsumexp(1), torch.logsumexp(x, (0, 1), keepdim=True))),
    Op("softmax", lambda x: (x.softmax(1), F.softmax(x, 0), F.softmin(x, -1))),
    Op("log_softmax", lambda x: (x.log_softmax(1), F.log_softmax(x, dim=0))),
    Op("cumsum", lambda x: (x.cumsum(0), torch.cumsum(x, -1))),
    Op("cumprod", lambda x: (x.cumprod(1), torch.cumprod(x, 0))),
    Op(
        "any and all",
        lambda x: (
            (x > 0).any(),
            (x > 0).all(1),
            torch.any(x > 1, 0, keepdim=True),
            torch.count_nonzero(x > 0, 1),
            (x > 0).sum(),
            (x > 0).prod(0),
        ),
        order=0,
    ),
    Op(
        "of size one axes",
        lambda x: (x.sum(1), x.prod(0), x.argmax(1), x.cumsum(1), x.norm()),
        ((1, 1),),
    ),
    Op("of a scalar", lambda x: (x.sum(), x.prod(), x.amax(), x.norm(), x.cumsum(0)), ((),)),
    Op("over empty", lambda x: (x[:0].sum(0), x[:0].prod(0), x[:, :0].sum()), order=0),
]

PRODUCTS = [
    *(
        Op(f"matmul {a} {b}", torch.matmul, (a, b))
        for a, b in (
            ((3,), (3,)),
            ((2, 3), (3,)),
            ((3,), (3, 2)),
            ((2, 3), (3, 4)),
            ((2, 2, 3), (3, 2)),
            ((3,), (2, 3, 2)),
            ((2, 1, 2, 3), (3, 3, 2)),
            ((2, 3, 2), (2,)),
        )
    ),
    Op("mm and mv", lambda x, y: (torch.mm(x, x.T), torch.mv(x, y), x @ y), ((3, 4), (4,))),
    Op("bmm", torch.bmm, ((2, 3, 4), (2, 4, 2))),
    Op("dot", lambda x, y: torch.dot(x, y) + torch.vdot(x, y) + x.inner(y), ((4,), (4,))),
    Op("outer", torch.outer, ((3,), (4,))),
    Op("inner", torch.inner, ((2, 3), (4, 3))),
    Op("vecdot", lambda x, y: torch.linalg.vecdot(x, y, dim=0), PAIR),
    Op(
        "einsum",
        lambda x, y, z: (
            torch.einsum("ij,jk,kl->il", x, y, z),
            torch.einsum("ij,jk,kl", [x, y, z]),
        ),
        ((2, 3), (3, 4), (4, 2)),
    ),
    Op(
        "einsum of one",
        lambda x: (
            torch.einsum("ij->ji", x),
            torch.einsum("ij->", x),
            torch.einsum("ij->i", x),
            torch.einsum("ij", x),
        ),
    ),
    Op(
        "einsum diagonal",
        lambda x: (torch.einsum("ii->i", x), torch.einsum("ii", x), torch.einsum("ij,ii->j", x, x)),
        ((3, 3),),
    ),
    Op(
        "einsum dots",
        lambda x, y: (torch.einsum("...ij,jk->...ik", x, y), torch.einsum("b...j,jk->k...b", x, y)),
        ((2, 3, 4), (4, 2)),
    ),
    Op(
        "einsum outer",
        lambda x, y: (
            torch.einsum("i,j->ji", x, y),
            torch.einsum("i,i->i", x, x),
            torch.einsum("i,j->i", x, y),
        ),
        ((3,), (4,)),
    ),
    Op(
        "tensordot",
        lambda x, y: (
            torch.tensordot(x, y, 1),
            torch.tensordot(x, y, ([2, 1], [0, 1])),
            torch.tensordot(x, y, 0).sum(),
        ),
        ((2, 3, 3), (3, 3)),
    ),
    Op(
        "addmm",
        lambda x, y, z: (torch.addmm(x, y, z), torch.addmm(x, y, z, beta=0.5, alpha=2)),
        ((2, 4), (2, 3), (3, 4)),
    ),
    Op("addmv", lambda x, y, z: torch.addmv(x, y, z, alpha=3), ((2,), (2, 3), (3,))),
    Op("addr", lambda x, y, z: torch.addr(x, y, z, beta=2), ((2, 3), (2,), (3,))),
    Op("baddbmm", torch.baddbmm, ((2, 2, 2), (2, 2, 3), (2, 3, 2))),
    Op("linear", F.linear, ((2, 3), (4, 3), (4,))),
    Op("linear 1-d", F.linear, ((3,), (4, 3))),
    Op("trace", lambda x: (x.trace(), torch.trace(x @ x.T))),
    Op(
        "diagonal",
        lambda x: (
            x.diagonal(),
            torch.diagonal(x, 1),
            torch.diagonal(x, -1, 1, 0),
            torch.diag(x),
            torch.diag(x[0], 1),
            torch.diag_embed(x),
        ),
    ),
    Op("diagonals of a batch", lambda x: torch.diagonal(x, 0, 0, 2), ((2, 3, 2),)),
    Op("triangles", lambda x: (x.tril(), torch.triu(x, 1), x.tril(-1), torch.triu(x, -1))),
]
