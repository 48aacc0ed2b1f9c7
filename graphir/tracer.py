"""The traced value that a user's function meets: a Value that answers torch's and NumPy's calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn, TypeAlias

import numpy as np

from .activations import floor_divide, remainder
from .assignment import at_mask, put
from .dtypes import dtype_of, uint8
from .errors import TraceError, UnsupportedError
from .frontend import names, numpy_names, torch_names
from .frontend.torch_sizes import size_type
from .indexing import getitem
from .masking import Masked
from .placed import PlacedValue
from .symbolic import NeedsNumber, SymbolicSize
from .value import Value, binary

Method: TypeAlias = Callable[..., Any]


class UnsupportedAttributeError(UnsupportedError, AttributeError):
    """An attribute or method that traced values do not have; `hasattr` sees that it is missing."""

    name: str


class NotASequenceError(TraceError, TypeError):
    """What `len()` of a 0-d value raises."""


def is_array(x: object) -> bool:
    """Whether `x` is a NumPy array or a torch tensor."""
    return isinstance(x, np.ndarray) or torch_names.is_tensor(x)


class Tracer(PlacedValue):
    """A Value with the attributes, methods and protocols of the user's arrays.

    Python's operators are Value's; functions and methods are looked up in the front ends' tables.
    Concrete arrays that it meets become hidden inputs of its graph.

    Attributes:
        device: where the arguments live.
        needs: the numbers behind Dims that the code asked for; of one trace.
    """

    __slots__ = ()
    device: Any = "cpu"
    needs: ClassVar[list[NeedsNumber]]

    @classmethod
    def number_needed(cls, need: NeedsNumber) -> None:
        """Remember `need`, which torch swallows in `torch.zeros(n, 3)`."""
        cls.needs.append(need)

    # -- what it meets --------------------------------------------------------------------------

    def lift(self, other: Any) -> Value:
        """`other` as a value of this graph; an array becomes a hidden input, the same one twice
        the same input, and a NumPy scalar is as weak as a Python number."""
        if isinstance(other, np.generic):
            return super().lift(other.item())
        if not is_array(other):
            return super().lift(other)
        for node, array in self.graph.captured.items():
            if array is other:
                return type(self)(self.graph, node)
        shape, dtype = tuple(int(s) for s in other.shape), dtype_of(other.dtype)
        node = self.graph.add_input(shape, dtype, f"captured{len(self.graph.captured)}")
        self.graph.captured[node] = other
        return type(self)(self.graph, node)

    def put(self, index: Any, new: Any, *, accumulate: bool = False) -> None:
        """`self[index] = new`, or `+= new` with every repetition of an index counted.

        Raises:
            ShapeError, DTypeError, UnsupportedError: where it does not fit, or the index is none.
        """
        given = new if isinstance(new, Masked) else self.lift(self.lift_within(new))
        put(self, self._items(index), given, accumulate=accumulate)

    def lift_within(self, x: Any) -> Any:
        """`x` with every array inside it lifted, and NumPy scalars as Python numbers."""
        if is_array(x):
            return self.lift(x)
        if isinstance(x, np.generic):
            return x.item()
        if type(x) in (tuple, list):
            return type(x)(self.lift_within(item) for item in x)
        return x

    # -- protocols ------------------------------------------------------------------------------

    @classmethod
    def __torch_function__(
        cls,
        function: Any,
        types: Any,
        args: Sequence[Any] = (),
        keywords: Mapping[str, Any] | None = None,
    ) -> Any:
        return _dispatch(torch_names.call_function, function, args, keywords or {})

    def __array_function__(
        self, function: Any, types: Any, args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        return _dispatch(numpy_names.call_function, function, args, keywords)

    def __array_ufunc__(self, ufunc: np.ufunc, way: str, *args: Any, **keywords: Any) -> Any:
        call = partial(numpy_names.call_ufunc, way=way)
        return _dispatch(lambda f, a, k: call(f, args=a, keywords=k), ufunc, args, keywords)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TraceError(
            f"a traced value ({self!r}) cannot become a NumPy array: its elements are known only "
            "when the kernel runs",
            hint="use a NumPy function that graphir knows, pass an array that is indexed by traced "
            "values as an argument too, or convert the result after the call",
        )

    # -- attributes and methods -----------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        front: Any = torch_names if self.flavour == "torch" else numpy_names
        if name in front.PROPERTIES:
            return front.PROPERTIES[name](self)
        prefix = "Tensor." if self.flavour == "torch" else "ndarray."
        method: Method | None = front.method(name)
        if method is not None:
            return partial(_call_method, self, prefix + name, method)
        refused = front.refusal(name)
        if refused is not None:
            return partial(_refuse, refused)
        known = [*front.METHODS, *front.TABLE, *front.PROPERTIES]
        error = names.unknown(prefix + name, name, known, "x.")
        raise UnsupportedAttributeError(prefix + name, error.message, hint=error.hint)

    def __len__(self) -> int:
        if not self.sizes:
            raise NotASequenceError(
                f"a 0-d traced value ({self!r}) has no length",
                hint="use it as it is: torch.tensor(x) and list(x) cannot hold traced values",
            )
        return super().__len__()

    def __getitem__(self, index: Any) -> Any:
        items = self._items(index)
        under_mask = at_mask(self, items)
        if under_mask is not None:
            return under_mask
        result = getitem(self, items, ints_first=self.flavour == "torch")
        assert isinstance(result, Tracer)
        number = self.flavour == "numpy" and not result.ndim and Ellipsis not in map(_kind, items)
        return result.copied() if number else result

    def __setitem__(self, index: Any, value: Any) -> None:
        self.put(index, value)

    def _items(self, index: Any) -> tuple[Any, ...]:
        items = index if isinstance(index, tuple) else (index,)
        lifted: tuple[Any, ...] = self.lift_within(tuple(_index_array(i) for i in items))
        # To torch bytes are truth values here, as they were before it had bools.
        return tuple(map(_mask_of_bytes, lifted)) if self.flavour == "torch" else lifted

    def __pos__(self) -> Value:
        return self if self.flavour == "torch" else self.copied()

    def __pow__(self, other: Any) -> Value:
        result = super().__pow__(other.item() if isinstance(other, np.generic) else other)
        return self.copied() if result is self else result

    def __floordiv__(self, other: Any) -> Value:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Value:
        return floor_divide(other, self)

    def __mod__(self, other: Any) -> Value:
        return remainder(self, other)

    def __rmod__(self, other: Any) -> Value:
        return remainder(other, self)

    def __iadd__(self, other: Any) -> Value:
        return self.write("+=", self + other)

    def __isub__(self, other: Any) -> Value:
        return self.write("-=", self - other)

    def __imul__(self, other: Any) -> Value:
        return self.write("*=", self * other)

    def __itruediv__(self, other: Any) -> Value:
        return self.write("/=", self / other)

    def __ipow__(self, other: Any) -> Value:
        return self.write("**=", self**other)

    def __ifloordiv__(self, other: Any) -> Value:
        return self.write("//=", self // other)

    def __imod__(self, other: Any) -> Value:
        return self.write("%=", self % other)

    def __imatmul__(self, other: Any) -> Value:
        return self.write("@=", self @ other)

    def __iand__(self, other: Any) -> Value:
        return self.write("&=", self & other)

    def __ior__(self, other: Any) -> Value:
        return self.write("|=", self | other)

    def __ixor__(self, other: Any) -> Value:
        return self.write("^=", self ^ other)

    def __ilshift__(self, other: Any) -> Value:
        return self.write("<<=", self << other)

    def __irshift__(self, other: Any) -> Value:
        return self.write(">>=", self >> other)

    def _no_operator(self, other: Any) -> NoReturn:
        raise UnsupportedError(
            "operator",
            f"divmod on a traced value ({self!r}) is not supported",
            hint="use x // y and x % y",
        )

    __divmod__ = __rdivmod__ = _no_operator

    def __format__(self, spec: str) -> str:
        return str(self._no_number()) if spec else repr(self)


class TorchTracer(Tracer):
    """A Tracer that looks like a torch tensor."""

    __slots__ = ()
    flavour = "torch"


def tracer_type(flavour: str, device: Any) -> type[Tracer]:
    """The class of one trace's values, whose arguments live on `device`."""
    own = own_attributes(device)
    if flavour != "torch":
        return type(Tracer.__name__, (Tracer,), own)
    return type(TorchTracer.__name__, (TorchTracer,), {**own, "size_type": size_type()})


def call_with_sizes(
    size: SymbolicSize, function: Any, args: Sequence[Any], keywords: Mapping[str, Any]
) -> Any:
    """A torch function of sizes and arrays that are not traced.

    Raises:
        NeedsNumber: where graphir does not know it: torch is to run it, with numbers.
    """
    if not torch_names.knows(function):
        size.__index__()
    like = size.value()
    assert isinstance(like, Tracer)
    return _dispatch(torch_names.call_function, function, args, keywords, like)


def own_attributes(device: Any) -> dict[str, Any]:
    """What the class of one trace's values has of its own."""
    return {"__slots__": (), "device": device, "needs": []}


def _index_array(item: Any) -> Any:
    return np.asarray(item) if isinstance(item, list) else item


def _mask_of_bytes(item: Any) -> Any:
    return binary("ne", item, 0) if isinstance(item, Value) and item.element is uint8 else item


def _kind(item: Any) -> Any:
    """`item`, unless comparing it would be an operation on arrays."""
    return None if isinstance(item, Value) else item


def _tracer_in(items: Sequence[Any]) -> Tracer | None:
    for x in items:
        if isinstance(x, Tracer):
            return x
        inner = _tracer_in(x) if isinstance(x, (tuple, list)) else None
        if inner is not None:
            return inner
    return None


def _dispatch(
    call: Callable[[Any, Sequence[Any], Mapping[str, Any]], Any],
    function: Any,
    args: Sequence[Any],
    keywords: Mapping[str, Any],
    like: Tracer | None = None,
) -> Any:
    first = like if like is not None else _tracer_in((*args, *keywords.values()))
    assert first is not None
    named = {k: v if k in ("out", "dtype") else first.lift_within(v) for k, v in keywords.items()}
    given = first.lift_within(tuple(args))
    return call(function, given, named)


def _call_method(x: Tracer, name: str, method: Method, *args: Any, **keywords: Any) -> Any:
    given = x.lift_within(args)
    named = {k: v if k in ("out", "dtype") else x.lift_within(v) for k, v in keywords.items()}
    return names.call(name, method, (x, *given), named)


def _refuse(error: Exception, *args: Any, **keywords: Any) -> NoReturn:
    raise error
