"""How each primitive carries leading axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters

from .batching import Batch, Operand, Rule, batched, stand_in
from .graph import Node
from .opdef import Kind
from .ops.custom import Rule as CustomRule
from .sizes import numel
from .value import Value


def _elementwise(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    first, *rest = (batch.every(x) for x in operands)
    return first.apply(node.op, *rest, **node.attrs)


def _reduction(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    axes = batch.shifted(node.attrs["axes"])
    return operands[0].value.apply(node.op, **{**node.attrs, "axes": axes})


def _broadcast(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    return operands[0].value.apply(
        "broadcast",
        shape=(*batch.lead, *node.shape),
        dims=(*range(batch.rank), *batch.shifted(node.attrs["dims"])),
    )


def _reshape(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    return operands[0].value.apply("reshape", shape=(*batch.lead, *node.shape))


def _permute(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    order = (*range(batch.rank), *batch.shifted(node.attrs["order"]))
    return operands[0].value.apply("permute", order=order)


def _along_axis(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    axis = node.attrs["axis"] + batch.rank
    return operands[0].value.apply(node.op, **{**node.attrs, "axis": axis})


def _contract(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    """The leading axes are labels of the result, and of the operands that have them."""
    lhs, rhs, out = (node.attrs[name] for name in ("lhs", "rhs", "out"))
    free = [c for c in ascii_letters if c not in lhs + rhs + out]
    extra = "".join(free[: batch.rank])
    if operands[0].many:
        lhs = extra + lhs
    if operands[1].many:
        rhs = extra + rhs
    x, y = (operand.value for operand in operands)
    return x.apply("contract", y, lhs=lhs, rhs=rhs, out=extra + out)


def _take(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    x, index = operands
    if not x.many:
        return x.value.apply("take", index.value)
    if index.many:
        rows = batch.offset(index.value, x.value.sizes[batch.rank])
        return batch.flat(x.value, x.ndim).apply("take", rows)
    # The rows come first: (lead, r, ...) -> (r, lead, ...), and back behind the index's axes.
    k = batch.rank
    order = (k, *range(k), *range(k + 1, x.value.ndim))
    taken = x.value.apply("permute", order=order).apply("take", index.value)
    return _lead_first(batch, taken, index.ndim)


def _scatter_add(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    x, index = operands
    k, size = batch.rank, node.attrs["size"]
    if not index.many:
        order = (*range(k, k + index.ndim), *range(k), *range(k + index.ndim, x.value.ndim))
        moved = x.value.apply("permute", order=order)
        return _lead_first(batch, moved.apply("scatter_add", index.value, size=size), 1)
    rows = batch.offset(index.value, size)
    total = numel((*batch.lead, size))
    out = batch.every(x).apply("scatter_add", rows, size=total)
    return out.apply("reshape", shape=(*batch.lead, *node.shape))


def _custom_vjp(batch: Batch, node: Node, operands: Sequence[Operand]) -> Value:
    """The rule of one example, itself carried over the batch where it is asked for."""
    rule: CustomRule = node.attrs["rule"]
    made, *inputs = operands

    def one(values: Sequence[Value]) -> tuple[list[Value], list[tuple[Value, Value]]]:
        """Stand-ins for the values that differ between examples, and their pairs."""
        singles, pairs = [], []
        for x, operand in zip(values, inputs, strict=True):
            single = stand_in(x, x.sizes[batch.rank :]) if operand.many else x
            singles.append(single)
            if operand.many:
                pairs.append((single, x))
        return singles, pairs

    def pull(values: Sequence[Value], output: int, ct: Value) -> list[Value | None]:
        singles, pairs = one(values)
        g = stand_in(ct, ct.sizes[batch.rank :])
        found = rule.pull(singles, output, g)
        some = [f for f in found if f is not None]
        mapped = iter(batched(some, [*pairs, (g, ct)], batch.lead))
        results: list[Value | None] = []
        for f, x in zip(found, inputs, strict=True):
            y = None if f is None else next(mapped)
            # Every example adds to the cotangent of what they share.
            if y is not None and not x.many:
                y = y.apply("sum", axes=tuple(range(batch.rank)))
            results.append(y)
        return results

    def push(values: Sequence[Value], output: int, tangents: Sequence[Value | None]) -> Value:
        assert rule.push is not None
        singles, pairs = one(values)
        moving: list[Value | None] = []
        for t, operand in zip(tangents, inputs, strict=True):
            differs = t is not None and operand.many
            single = stand_in(t, t.sizes[batch.rank :]) if t is not None and differs else t
            moving.append(single)
            if t is not None and single is not None and differs:
                pairs.append((single, t))
        return batched([rule.push(singles, output, moving)], pairs, batch.lead)[0]

    carried = CustomRule(rule.name, pull, push if rule.push is not None else None)
    values = [x.value for x in inputs]
    output = node.attrs["output"]
    return batch.every(made).apply("custom_vjp", *values, rule=carried, output=output)


def _lead_first(batch: Batch, x: Value, before: int) -> Value:
    """`x` with its leading axes, which stand after `before` others, in front."""
    k = batch.rank
    order = (*range(before, before + k), *range(before), *range(before + k, x.ndim))
    return x.apply("permute", order=order)


BY_KIND: Mapping[Kind, Rule] = {Kind.ELEMENTWISE: _elementwise, Kind.REDUCTION: _reduction}

BY_OP: Mapping[str, Rule] = {
    "broadcast": _broadcast,
    "reshape": _reshape,
    "permute": _permute,
    "slice": _along_axis,
    "embed": _along_axis,
    "contract": _contract,
    "take": _take,
    "scatter_add": _scatter_add,
    "custom_vjp": _custom_vjp,
}
