"""Lines of losses, normalisations, random numbers and functions with a derivative of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.draft import Draft, Entry

Line = Callable[[Draft], str | None]
REDUCTIONS = ["mean", "sum", "none"]


def regression(draft: Draft) -> str | None:
    """Losses of a prediction and a target of one shape."""
    x = draft.pick()
    y = draft.pick("f", x.is_like)
    r = draft.one(REDUCTIONS)
    way = draft.integer(0, 3)
    distance = f"abs({x.name} - {y.name})"
    if way == 0:
        return f"F.mse_loss({x.name}, {y.name}, reduction='{r}')"
    draft.away(distance)
    if way == 1:
        return f"F.l1_loss({x.name}, {y.name}, reduction='{r}')"
    if way == 2:
        draft.away(f"{distance} - 0.6")
        return f"F.huber_loss({x.name}, {y.name}, reduction='{r}', delta=0.6)"
    draft.away(f"{distance} - 0.4")
    return f"F.smooth_l1_loss({x.name}, {y.name}, reduction='{r}', beta=0.4)"


def binary(draft: Draft) -> str | None:
    """Cross-entropies of probabilities and of logits."""
    x = draft.pick()
    y = draft.pick("f", x.is_like)
    target = draft.within(y, 0.05, 0.95)
    r = draft.one(REDUCTIONS)
    if draft.odds(60):
        z = draft.within(x, -12, 12)
        return f"F.binary_cross_entropy_with_logits({z}, {target}, reduction='{r}')"
    p = draft.within(x, 0.05, 0.95)
    return f"F.binary_cross_entropy({p}, {target}, reduction='{r}')"


def classes(draft: Draft) -> str | None:
    """cross_entropy and nll_loss of rows of logits."""
    x = draft.pick("f", lambda e: e.rank == 2 and e.fixed(1) and e.shape[1] > 0)
    z = draft.within(x, -20, 20)
    r = draft.one(REDUCTIONS)
    smoothing = draft.one(["", ", label_smoothing=0.1"])
    if draft.odds(30):
        y = draft.pick("f", x.is_like)
        return f"F.cross_entropy({z}, torch.softmax({y.name}, 1), reduction='{r}'{smoothing})"
    count = x.shape[1]
    if not x.fixed(0):

        def fits(e: Entry) -> bool:
            low, high = e.spans()
            return x.has_leading(e) and low >= 0 and high < count

        labels = draft.pick("i", fits).name + ".long()"
    else:
        labels = draft.captured(x.shape[:1], "int64", 0, count).name
    if draft.odds(30):
        return f"F.nll_loss({z}, {labels}, reduction='{r}')"
    return f"F.cross_entropy({z}, {labels}, reduction='{r}'{smoothing})"


def likelihood(draft: Draft) -> str | None:
    """kl_div, poisson_nll_loss, gaussian_nll_loss."""
    x = draft.pick()
    y = draft.pick("f", x.is_like)
    r = draft.one(REDUCTIONS)
    way = draft.integer(0, 2)
    positive = draft.within(y, 0.1, float("inf"))
    if way == 0:
        return f"F.kl_div({x.name}, {positive}, reduction='{r}')"
    if way == 1:
        return f"F.poisson_nll_loss({draft.within(x, -5, 5)}, {positive}, reduction='{r}')"
    spread = draft.one(["0.7 + {0} * {0}", "torch.exp(torch.tanh({0}))"]).format(y.name)
    return f"F.gaussian_nll_loss({x.name}, {y.name}.detach(), {spread}, reduction='{r}')"


def normalised(draft: Draft) -> str | None:
    """layer_norm, rms_norm, similarities and distances."""
    x = draft.pick("f", lambda e: e.rank > 1 and e.fixed(e.rank - 1) and e.shape[-1] > 1)
    size = x.shape[-1]
    way = draft.integer(0, 3)
    if way == 0:
        return f"F.layer_norm({x.name}, ({size},), eps=0.05)"
    if way == 1:
        return f"F.rms_norm({x.name}, ({size},), eps=0.05)"
    y = draft.pick("f", x.is_like)
    if way == 2:
        draft.away(f"({x.name} * {x.name}).sum(1)", f"({y.name} * {y.name}).sum(1)")
        return f"F.cosine_similarity({x.name}, {y.name})"
    draft.away(f"{x.name} - {y.name} + 1e-6")
    return f"F.pairwise_distance({x.name}, {y.name})"


def drawn(draft: Draft) -> str | None:
    """Random numbers by a seed, times a value."""
    x = draft.pick("f", lambda e: 0 not in e.shape)
    name = draft.one(["rand", "randn"])
    return f"{x.name} * drawn({x.name}, '{name}', {draft.integer(0, 99)}, {draft.integer(0, 3)})"


def custom(draft: Draft) -> str | None:
    """A function with a derivative of its author's."""
    return f"own_tanh({draft.pick().name})"


LINES: Mapping[str, Line] = {
    "regression": regression,
    "binary": binary,
    "classes": classes,
    "likelihood": likelihood,
    "normalised": normalised,
    "drawn": drawn,
    "custom": custom,
}
TORCH_ONLY = set(LINES) - {"drawn"}
