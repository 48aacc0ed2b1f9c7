"""The rest of the torch front end: movement, selection, creation, layers and losses."""

from __future__ import annotations

import math

import torch
from operations import INF, PAIR, Operation
from torch.nn import functional as F

Op = Operation
LABELS = torch.tensor([0, 2, 1, 3, 3])
FAR = torch.tensor([0, 2, -1, 3, -1])
IDS = torch.tensor([[2, 0], [1, 2], [2, 2]])
ROW = torch.tensor([2, 0])
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.25], dtype=torch.float64)
LOGITS = ((5, 4),)
PROBABILITIES = (0.05, 0.95)


def _weights(x: torch.Tensor) -> torch.Tensor:
    return WEIGHTS.to(x.dtype)


def _in_place(x: torch.Tensor) -> torch.Tensor:
    y = x * 1
    y += x
    y *= 2
    y -= 3
    y /= 2
    return y


MOVEMENT = [
    Op(
        "reshape",
        lambda x: (x.reshape(2, 6), x.view(-1), x.flatten(), torch.ravel(x), x.reshape(4, -1)),
    ),
    Op("unflatten", lambda x: (x.unflatten(1, (2, 2)), torch.unflatten(x, 1, (-1, 2)))),
    Op(
        "transposes",
        lambda x: (x.T, x.mT, x.t(), x.transpose(0, 1), x.permute(1, 0), x.swapaxes(0, 1)),
    ),
    Op(
        "movedim",
        lambda x: (x.movedim(0, 2), torch.moveaxis(x, (0, 1), (2, 0)), x.permute(2, 0, 1)),
        ((2, 3, 4),),
    ),
    Op("squeeze", lambda x: (x.squeeze(), x.squeeze(1), x.unsqueeze(0), x[:, :, None]), ((3, 1),)),
    Op(
        "expand",
        lambda x: (
            x.expand(2, 3, 4),
            x[:1].expand(5, -1),
            x.broadcast_to((2, 3, 4)),
            x[0].expand_as(x),
        ),
    ),
    Op(
        "cat",
        lambda x, y: (torch.cat([x, y]), torch.cat((x, y), 1), torch.concat([y, x], -1)),
        PAIR,
    ),
    Op(
        "stack",
        lambda x, y: (
            torch.stack([x, y]),
            torch.stack([x, y], 1),
            torch.hstack([x, y]),
            torch.vstack([x[0], y[0]]),
            torch.dstack([x, y]),
            torch.column_stack([x[:, 0], y]),
        ),
        PAIR,
    ),
    Op(
        "split",
        lambda x: (
            *x.split(3, 1),
            *torch.split(x, [1, 2]),
            *torch.chunk(x, 3, 1),
            *x.tensor_split(3, dim=1),
            *torch.tensor_split(x, (1, 3), dim=1),
        ),
    ),
    Op("unbind", lambda x: (*x.unbind(), *torch.unbind(x, 1), *x)),
    Op("narrow", lambda x: (x.narrow(1, 1, 2), x.select(0, -1), torch.select(x, 1, 2))),
    Op("flip", lambda x: (x.flip(0), torch.flip(x, (0, 1)), x.fliplr(), torch.flipud(x))),
    Op("roll", lambda x: (x.roll(1), torch.roll(x, (1, -2), (0, 1)), x.roll(2, 1), x.roll(-5, 0))),
    Op(
        "repeat",
        lambda x: (
            x.repeat(2, 1, 3),
            x.repeat((1, 2)),
            torch.tile(x, (2,)),
            x.tile(2, 1),
            x.repeat_interleave(2),
            torch.repeat_interleave(x, 3, dim=1),
        ),
    ),
    Op(
        "pad",
        lambda x: (
            F.pad(x, (1, 2)),
            F.pad(x, (0, 1, 2, 0), value=3.0),
            F.pad(x, (-1, 1)),
            F.pad(x, (1, -2, -1, 0), "constant", -1.5),
        ),
    ),
    Op(
        "slices",
        lambda x: (x[1:], x[:, ::2], x[..., 1], x[-1], x[1:3, None, :2], x[2, 3], x[:0].sum()),
    ),
    Op(
        "of noncontiguous",
        lambda x: (torch.exp(x.T)[1:], x.T.reshape(-1), (x.T + 1).flip(0).sum(1)),
    ),
    Op(
        "indexed",
        lambda x: (x[IDS], x[:, IDS[:, 0]], x[IDS[:, 0], IDS[:, 1]], x[[2, 0]]),
        ((3, 4),),
    ),
    Op(
        "gather",
        lambda x: (
            x.gather(1, IDS),
            torch.gather(x, 0, IDS),
            x.index_select(0, ROW),
            torch.take_along_dim(x, IDS, 1),
            torch.take_along_dim(x, torch.tensor([[3], [0], [1]]), 1),
        ),
    ),
    Op("embedding", lambda x: (F.embedding(IDS, x), F.embedding(IDS, x, padding_idx=2))),
    Op("one_hot", lambda x: (F.one_hot(IDS, 4) * x.sum(), F.one_hot(x.argmax(1), 4)), order=1),
    Op(
        "creation",
        lambda x: (
            torch.zeros(4) + x,
            x * torch.ones(3, 1),
            torch.full((4,), 2.0) * x,
            x + torch.arange(4),
            x @ torch.eye(4, dtype=x.dtype),
            torch.zeros_like(x),
            torch.ones_like(x) * x,
            torch.full_like(x, 2.5),
            x.new_zeros(2, 3),
            x.new_ones((2,)),
            x.new_full((2, 2), 3.0),
        ),
    ),
    Op(
        "casts",
        lambda x: (x.double() * 2, x.to(torch.float64), x.type_as(x), x.clone(), x.detach() * x),
    ),
    Op(
        "whole casts",
        lambda x: (x.long(), x.int(), x.bool(), x.round().to(torch.uint8), x.half(), x.float()),
        domain=(0.1, 3.0),
        order=0,
    ),
    Op("in place", _in_place),
]


LOSSES = [
    *(
        Op(f"{name} {reduction}", lambda x, y, fn=fn, r=reduction: fn(x, y, reduction=r), PAIR)
        for reduction in ("mean", "sum", "none")
        for name, fn in (
            ("mse", F.mse_loss),
            ("l1", F.l1_loss),
            ("huber", F.huber_loss),
            ("smooth_l1", F.smooth_l1_loss),
        )
    ),
    Op(
        "huber delta",
        lambda x, y: F.huber_loss(x, y, delta=0.4) + F.smooth_l1_loss(x, y, beta=0.3),
        PAIR,
    ),
    Op(
        "bce",
        lambda x, y: (
            F.binary_cross_entropy(x, y),
            F.binary_cross_entropy(x, y, reduction="none"),
            F.binary_cross_entropy(x, y, x.detach()),
        ),
        PAIR,
        PROBABILITIES,
        # torch adds 1e-12 to the denominators of the second derivative.
        loose=1e6,
    ),
    Op(
        "bce with logits",
        lambda x, y: (
            F.binary_cross_entropy_with_logits(x, y.sigmoid().detach()),
            F.binary_cross_entropy_with_logits(x, (y > 0).to(x.dtype), pos_weight=_weights(x)),
        ),
        PAIR,
    ),
    *(
        Op(
            f"cross_entropy {reduction} {smoothing}",
            lambda x, r=reduction, s=smoothing: (
                F.cross_entropy(x, LABELS, reduction=r, label_smoothing=s),
                F.cross_entropy(x, LABELS, _weights(x), reduction=r, label_smoothing=s),
                F.cross_entropy(x, FAR, ignore_index=-1, reduction=r, label_smoothing=s),
                F.cross_entropy(
                    x, LABELS, _weights(x), ignore_index=3, reduction=r, label_smoothing=s
                ),
            ),
            LOGITS,
        )
        for reduction, smoothing in (("mean", 0.0), ("mean", 0.1), ("sum", 0.0), ("none", 0.1))
    ),
    Op(
        "cross_entropy of probabilities",
        lambda x, y: (
            F.cross_entropy(x, y.softmax(1)),
            F.cross_entropy(x, y.softmax(1), _weights(x)),
            F.cross_entropy(x, y.softmax(1), reduction="none", label_smoothing=0.2),
        ),
        LOGITS * 2,
    ),
    Op(
        "cross_entropy of images",
        lambda x: F.cross_entropy(x, torch.tensor([[0, 2], [1, 1]])),
        ((2, 3, 2),),
    ),
    Op("cross_entropy of one", lambda x: F.cross_entropy(x, torch.tensor(2)), ((4,),)),
    Op(
        "cross_entropy of marked",
        lambda x: F.cross_entropy(x, torch.where(x[:, 0] > 0, -100, LABELS)),
        LOGITS,
    ),
    Op(
        "nll",
        lambda x: (
            F.nll_loss(x, LABELS),
            F.nll_loss(x, LABELS, _weights(x), reduction="none"),
            F.nll_loss(x, FAR, ignore_index=-1, reduction="sum"),
        ),
        LOGITS,
    ),
    Op(
        "kl_div",
        lambda x, y: (
            F.kl_div(x, y.softmax(1), reduction="sum"),
            F.kl_div(x, y, reduction="sum", log_target=True),
            F.kl_div(x, y.softmax(1), reduction="batchmean"),
            F.kl_div(x, y.softmax(1), reduction="none"),
        ),
        PAIR,
    ),
    Op(
        "poisson",
        lambda x, y: (
            F.poisson_nll_loss(x, y),
            F.poisson_nll_loss(x, y, full=True),
            F.poisson_nll_loss(x, y, log_input=False, reduction="none"),
        ),
        PAIR,
        (0.2, 3.0),
    ),
    Op(
        "gaussian",
        lambda x, y, v: (
            F.gaussian_nll_loss(x, y, v),
            F.gaussian_nll_loss(x, y, v[:, 0], full=True, reduction="none"),
            F.gaussian_nll_loss(x, y, 0 * v + 1e-9),
        ),
        (*PAIR, (3, 4)),
        (0.2, 2.0),
    ),
    Op(
        "layer_norm",
        lambda x, w, b: (
            F.layer_norm(x, (4,)),
            F.layer_norm(x, (4,), w, b),
            F.layer_norm(x, (3, 4), eps=0.1),
        ),
        ((3, 4), (4,), (4,)),
    ),
    Op("rms_norm", lambda x, w: (F.rms_norm(x, (4,)), F.rms_norm(x, (4,), w, 0.1)), ((3, 4), (4,))),
    Op("similarity", lambda x, y: (F.cosine_similarity(x, y), F.pairwise_distance(x, y)), PAIR),
    Op("dropout that does not", lambda x: (F.dropout(x, 0.5, training=False), F.dropout(x, 0.0))),
]

KINKS = [
    Op(
        "kinks",
        lambda x: (
            torch.relu(x),
            torch.abs(x),
            torch.sign(x),
            x.clamp(-1, 1),
            F.relu6(x),
            F.hardtanh(x),
            F.leaky_relu(x, 0.2),
            F.hardswish(x),
            F.threshold(x, 1.0, 0.0),
            F.softsign(x),
        ),
        given=([-3.0, -1.0, 0.0, 1.0, 3.0, 6.0],),
    ),
    Op(
        "kinks of elu",
        lambda x: (F.elu(x, 0.5), F.celu(x, 2.0), F.selu(x)),
        given=([-1.0, 0.0, 1.0],),
    ),
    # Not elu and hardtanh: torch's derivative at NaN depends on where in memory the NaN lies.
    Op(
        "kinks of nan",
        lambda x: (
            torch.sign(x),
            torch.abs(x),
            torch.relu(x),
            x.clamp(-1, 1),
            x.clamp(min=0.5),
            F.threshold(x, 0.5, 0.0),
            F.leaky_relu(x, 0.2),
            x.max(),
            x.max(0)[0],
        ),
        given=([math.nan, -1.0, 0.0, 1.0, math.nan, 7.0],),
    ),
    Op(
        "kinks of nan of two",
        lambda x, y: (
            torch.maximum(x, y),
            torch.minimum(x, y),
            torch.clamp(x, y, y + 1),
            torch.where(x > y, x, y),
            F.l1_loss(x, y, reduction="none"),
            F.huber_loss(x, y, reduction="none"),
        ),
        given=([math.nan, 1.0, math.nan, 0.5], [1.0, math.nan, math.nan, 0.5]),
    ),
    Op(
        "kinks of two",
        lambda x, y: (
            torch.maximum(x, y),
            torch.minimum(x, y),
            F.l1_loss(x, y),
            F.huber_loss(x, y),
            F.smooth_l1_loss(x, y, beta=0.0),
        ),
        given=([1.0, 2.0, 0.0, 3.0], [1.0, 1.0, 0.0, 4.0]),
    ),
    Op(
        "norms at 0",
        lambda x: (
            x.norm(),
            torch.norm(x, 1),
            torch.norm(x, 3),
            x.norm(INF),
            x.std(),
            x.norm(dim=1),
            torch.linalg.norm(x),
        ),
        given=([[0.0, 0.0], [0.0, 0.0]],),
        order=1,
    ),
    Op(
        "rows of 0",
        lambda x: x.norm(dim=1).sum() + x.std(1).sum(),
        given=([[0.0, 0.0], [3.0, 4.0]],),
        order=1,
    ),
    Op("origin", torch.xlogy, given=([0.0, 0.0, 2.0], [2.0, 3.0, 0.5])),
]
