"""Composites over `contract`: every product of vectors, matrices and batches of them."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

from .dtypes import bool_, int64
from .errors import ShapeError
from .layout import reshape
from .sizes import Shape, Size, format_shape
from .symbolic import require_equal
from .value import Value, binary, cast, contract, lift_all, result_dtype


def factors(*operands: Any) -> list[Value]:
    """The operands of a product as values: NumPy promotes them to one dtype, torch does not."""
    values = lift_all(*operands)
    if values[0].flavour == "torch":
        return values
    common = result_dtype(*values)
    return [cast(x, common) for x in values]


def matmul(input: Any, other: Any) -> Value:
    """`input @ other` for vectors, matrices and batches, which broadcast.

    Raises:
        ShapeError: where the inner sizes or the batches do not fit, or for a 0-d operand.
        DTypeError: for operands of two dtypes, in torch's functions.
    """
    x, y = factors(input, other)
    if not x.ndim or not y.ndim:
        raise ShapeError(f"matmul: a 0-d operand: {_pair(x, y)}", hint="multiply with *")
    left, right = x.sizes[-1], y.sizes[-2 if y.ndim > 1 else 0]
    require_equal(
        f"matmul: inner sizes differ: {_pair(x, y)}", left, right, x.graph.hints, _remedy(x, y)
    )
    return _batched(x, y)


def _pair(x: Value, y: Value) -> str:
    return f"{format_shape(x.sizes)} @ {format_shape(y.sizes)}"


def _remedy(x: Value, y: Value) -> str:
    if y.ndim > 1 and y.sizes[-1] == x.sizes[-1]:
        return "transpose the right operand"
    if x.ndim > 1 and x.sizes[-2] == y.sizes[-2 if y.ndim > 1 else 0]:
        return "transpose the left operand"
    return "the last axis of the left operand must be as long as the right operand's rows"


def _batched(x: Value, y: Value) -> Value:
    """The product, with an einsum label per axis; a batch axis of size 1 is dropped."""
    batch_x, batch_y = x.sizes[:-2], y.sizes[:-2]
    rank = max(len(batch_x), len(batch_y))
    labels = ascii_letters[3 : 3 + rank]
    left: Shape = (1,) * (rank - len(batch_x)) + batch_x
    right: Shape = (1,) * (rank - len(batch_y)) + batch_y
    lhs = rhs = ""
    kept: tuple[list[Size], list[Size]] = ([], [])
    ones: list[int] = []
    for i, (s, t) in enumerate(zip(left, right, strict=True)):
        if s != t and 1 not in (s, t):
            require_equal(
                f"matmul: batches differ: {_pair(x, y)}",
                s,
                t,
                x.graph.hints,
                "only batch axes of size 1 stretch",
            )
        if s == t == 1:
            ones.append(i)
        if s != 1:
            lhs += labels[i]
            kept[0].append(s)
        if t != 1:
            rhs += labels[i]
            kept[1].append(t)
    rows, columns = "a" if x.ndim > 1 else "", "c" if y.ndim > 1 else ""
    x = reshape(x, (*kept[0], *x.sizes[-2:]))
    y = reshape(y, (*kept[1], *y.sizes[-2:]))
    batch = "".join(c for i, c in enumerate(labels) if i not in ones)
    out = contract(x, y, f"{lhs}{rows}b,{rhs}b{columns}->{batch}{rows}{columns}")
    sizes = list(out.sizes)
    for i in ones:
        sizes.insert(i, 1)
    return reshape(out, sizes)


def product_of_ranks(what: str, a: Any, b: Any, ranks: tuple[int, int]) -> Value:
    """`a @ b` for exactly these ranks: torch's mv, mm, bmm, dot.

    Raises:
        ShapeError: for other ranks.
    """
    x, y = lift_all(a, b)
    if (x.ndim, y.ndim) != ranks:
        raise ShapeError(
            f"{what}: a {ranks[0]}-d and a {ranks[1]}-d value are expected, got "
            f"{format_shape(x.sizes)} and {format_shape(y.sizes)}",
            hint="x @ y takes any of these ranks",
        )
    if len(x.sizes) == 3 and x.sizes[0] != y.sizes[0]:
        require_equal(
            f"{what}: batches differ: {_pair(x, y)}",
            x.sizes[0],
            y.sizes[0],
            x.graph.hints,
            "x @ y stretches batch axes of size 1",
        )
    return matmul(x, y)


def outer(input: Any, vec2: Any) -> Value:
    """The products of each element of one vector with each of another, (n,) and (m,) to (n, m).

    Raises:
        ShapeError: for operands that are not vectors.
    """
    x, y = lift_all(input, vec2)
    if x.ndim != 1 or y.ndim != 1:
        raise ShapeError(
            f"outer: two vectors are expected, got {format_shape(x.sizes)} and "
            f"{format_shape(y.sizes)}",
            hint="flatten them first",
        )
    return reshape(x, (x.sizes[0], 1)) * y


def tensor_dot(a: Any, b: Any) -> Value:
    """NumPy's dot: the last axis of `a` with the second last of `b`, all other axes kept."""
    x, y = factors(a, b)
    if not x.ndim or not y.ndim:
        return binary("mul", x, y)
    if y.ndim <= 2:
        return matmul(x, y)
    require_equal(
        f"dot: inner sizes differ: {_pair(x, y)}",
        x.sizes[-1],
        y.sizes[-2],
        x.graph.hints,
        "transpose the right operand",
    )
    kept = ascii_letters[1 : x.ndim]
    rest = ascii_letters[x.ndim : x.ndim + y.ndim - 1]
    return contract(x, y, f"{kept}a,{rest[:-1]}a{rest[-1]}->{kept}{rest}")


def linear(x: Any, weight: Any, bias: Any = None) -> Value:
    """`x @ weight.T + bias` for a weight of shape (out, in), as torch's linear.

    Raises:
        ShapeError: where the last axis of `x` is not the weight's last.
    """
    x, weight = lift_all(x, weight)
    if not x.ndim or weight.ndim not in (1, 2):
        raise ShapeError(
            f"linear: got x {format_shape(x.sizes)} and weight {format_shape(weight.sizes)}",
            hint="the weight's shape is (out, in)",
        )
    require_equal(
        f"linear: x {format_shape(x.sizes)} does not fit the weight {format_shape(weight.sizes)}",
        x.sizes[-1],
        weight.sizes[-1],
        x.graph.hints,
        "the weight's shape is (out, in)",
    )
    batch, out = ascii_letters[2 : 1 + x.ndim], "b" if weight.ndim == 2 else ""
    y = contract(x, weight, f"{batch}a,{out}a->{batch}{out}")
    return y if bias is None else y + bias


def scaled_sum(input: Any, product: Value, beta: float, alpha: float) -> Value:
    """`beta * input + alpha * product`, where a beta of 0 leaves `input` out, NaN and all.

    Of integers, both are cut to whole numbers, as in torch.
    """
    if not product.element.is_float:
        beta, alpha = int(beta), int(alpha)
    if product.element is bool_:
        number = cast(product, int64)
        return cast(scaled_sum(cast(product.lift(input), int64), number, beta, alpha), bool_)
    scaled = product if alpha == 1 else product * alpha
    if beta == 0:
        return scaled
    return binary("add", input if beta == 1 else input * beta, scaled)
