"""`graphir.compile`: signatures, sizes, kinds of arrays, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import graphir
from graphir.runtime import backends

BACKENDS = ["reference", "c", "interpret"]


def predict(params: Any, x: Any) -> Any:
    w, b = params
    return x @ w + b


def numbers(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_batch_size_shares_one_entry(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b = numbers(3), numbers()
    for rows in (5, 1, 2, 3, 17, 64, 1000):
        x = numbers(rows, 3, seed=rows)
        got = compiled((w, np.asarray(b)), x)
        np.testing.assert_allclose(got, x @ w + b, rtol=1e-5, atol=1e-6)
    assert len(compiled.entries) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_traced_with_one_row_runs_with_many(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b = numbers(3), np.float32(0.5)
    for rows in (1, 4):
        x = numbers(rows, 3)
        np.testing.assert_allclose(compiled((w, b), x), x @ w + b, rtol=1e-5, atol=1e-6)
    assert len(compiled.entries) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_are_of_the_inputs_kind(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b, x = numbers(3), np.zeros((), np.float32), numbers(4, 3)
    assert isinstance(compiled((w, b), x), np.ndarray)
    tensors = [torch.from_numpy(a) for a in (w, b, x)]
    got = compiled((tensors[0], tensors[1]), tensors[2])
    assert isinstance(got, torch.Tensor)
    torch.testing.assert_close(got, tensors[2] @ tensors[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_sizes_are_guarded(backend: str) -> None:
    @graphir.compile(backend=backend)
    def total(scale: Any, x: Any, y: Any) -> Any:
        return scale * x.sum() + y.sum()

    scale = np.float32(2.0)
    for rows, others in ((4, 4), (5, 5), (4, 6), (7, 2)):
        x, y = numbers(rows), numbers(others, seed=1)
        np.testing.assert_allclose(total(scale, x, y), 2 * x.sum() + y.sum(), rtol=1e-5, atol=1e-6)
    assert len(total.entries) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_is_a_runtime_scalar(backend: str) -> None:
    @graphir.compile(backend=backend)
    def scaled(factor: float, x: Any) -> Any:
        return factor * x

    x = numbers(6)
    for factor in (0.5, 2.0, -3.0):
        got = scaled(factor, x)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, np.float32(factor) * x, rtol=1e-6)
    assert len(scaled.entries) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_inputs_that_are_not_contiguous(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    w, b = numbers(6)[::2], np.float32(0.0)
    x = numbers(3, 8).T
    np.testing.assert_allclose(compiled((w, b), x), x @ w, rtol=1e-5, atol=1e-6)
    got = compiled((torch.from_numpy(w.copy()), torch.zeros(())), torch.from_numpy(x))
    np.testing.assert_allclose(got.numpy(), x @ w, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_value_and_grad(backend: str) -> None:
    def loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(predict(params, x), y)

    w, b = torch.randn(3), torch.randn(())
    x, y = torch.randn(9, 3), torch.randn(9)
    value, (dw, db) = graphir.compile(graphir.value_and_grad(loss), backend=backend)((w, b), x, y)
    leaves = w.clone().requires_grad_(), b.clone().requires_grad_()
    expected = loss(leaves, x, y)
    expected.backward()
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(dw, leaves[0].grad)
    torch.testing.assert_close(db, leaves[1].grad)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_compiled_function_is_inlined_into_another(backend: str) -> None:
    inner = graphir.compile(predict, backend=backend)

    @graphir.compile(backend=backend)
    def outer(params: Any, x: Any) -> Any:
        return inner(params, x) * 2

    w, b, x = numbers(3), np.float32(1.0), numbers(5, 3)
    np.testing.assert_allclose(outer((w, b), x), 2 * (x @ w + b), rtol=1e-5, atol=1e-6)
    assert not inner.entries


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_that_are_closed_over_are_read_at_each_call(backend: str) -> None:
    offset = np.ones(3, np.float32)

    @graphir.compile(backend=backend)
    def shifted(scale: Any, x: Any) -> Any:
        return scale * x + offset

    x = numbers(4, 3)
    np.testing.assert_allclose(shifted(np.float32(2), x), 2 * x + 1, rtol=1e-6)
    offset[:] = 5
    np.testing.assert_allclose(shifted(np.float32(2), x), 2 * x + 5, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_trees_out(backend: str) -> None:
    @graphir.compile(backend=backend)
    def both(params: Any, x: Any) -> Any:
        return {"sum": x.sum(), "same": (x, params)}

    x = numbers(4)
    got = both(np.float32(1.5), x)
    np.testing.assert_allclose(got["sum"], x.sum(), rtol=1e-5)
    np.testing.assert_array_equal(got["same"][0], x)
    assert got["same"][1] == np.float32(1.5)


def test_keywords_and_metadata() -> None:
    compiled = graphir.compile(predict, backend="reference")
    assert compiled.__name__ == "predict"
    w, b, x = numbers(3), np.float32(1.0), numbers(5, 3)
    np.testing.assert_allclose(compiled((w, b), x=x), x @ w + b, rtol=1e-6)


def test_a_tracked_tensor_is_not_detached_silently() -> None:
    compiled = graphir.compile(predict, backend="reference")
    w, b, x = torch.zeros(3, requires_grad=True), torch.zeros(()), torch.ones(2, 3)
    assert compiled((w, b), x).requires_grad
    with torch.no_grad():
        assert compiled((w, b), x).shape == (2,)


def test_an_empty_batch() -> None:
    """It is compiled for itself: what serves every other number of rows serves 1 and more."""
    compiled = graphir.compile(predict, backend="c")
    for rows in (2, 0, 5, 0):
        assert compiled((numbers(3), np.float32(0)), numbers(rows, 3)).shape == (rows,)
    assert len(compiled.entries) == 2

    @graphir.compile(backend="c")
    def loss(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return table[ids].sum()

    assert loss(torch.ones(3, 2), torch.zeros(0, dtype=torch.int64)) == 0
    gradient = graphir.compile(graphir.grad(loss), backend="c")
    ids = torch.zeros(0, dtype=torch.int64)
    assert torch.equal(gradient(torch.ones(3, 2), ids), torch.zeros(3, 2))


def test_an_index_out_of_range_names_argument_and_place() -> None:
    @graphir.compile(backend="reference")
    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels)

    with pytest.raises(graphir.GraphirError, match=r"`labels\[1\]`: index 7 is out of range"):
        loss(torch.zeros(3, 4), torch.tensor([0, 7, 2]))


def test_an_argument_that_is_no_array() -> None:
    with pytest.raises(graphir.DTypeError, match="str"):
        graphir.compile(predict, backend="reference")(("w", "b"), numbers(2, 3))


def test_an_unknown_backend_names_the_four() -> None:
    with pytest.raises(graphir.BackendError, match="triton, c, interpret, reference"):
        graphir.compile(predict, backend="cuda")


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise graphir.BackendError("no C compiler", hint="install one")

    monkeypatch.setattr(backends, "find_compiler", missing)
    w, b, x = numbers(3), np.float32(1.0), numbers(5, 3)
    with pytest.warns(RuntimeWarning, match="no C compiler"):
        got = graphir.compile(predict)((w, b), x)
    np.testing.assert_allclose(got, x @ w + b, rtol=1e-6)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(graphir.BackendError, match="no-such-compiler"):
        graphir.compile(predict, backend="c")((w, b), x)


def test_triton_needs_tensors_on_a_gpu() -> None:
    with pytest.raises(graphir.BackendError, match="GPU"):
        graphir.compile(predict, backend="triton")((numbers(3), np.float32(1.0)), numbers(5, 3))


@pytest.mark.parametrize("backend", ["c", "interpret"])
def test_what_was_made_can_be_read(backend: str) -> None:
    compiled = graphir.compile(predict, backend=backend)
    args = (numbers(3), np.float32(1.0)), numbers(5, 3)
    assert "contract" in str(compiled.graph(*args))
    (kernel,) = compiled.kernels(*args)
    assert kernel.name in kernel.source
    assert kernel.source == (kernel.c if backend == "c" else kernel.triton)
    assert "@triton.jit" in kernel.triton
    assert "graphir_run" in kernel.c
    text = str(compiled.explain(*args))
    assert kernel.name in text
    assert "1 kernel" in text


@pytest.mark.parametrize("backend", BACKENDS)
def test_tensors_whose_memory_does_not_hold_their_numbers(backend: str) -> None:
    """torch's autograd gives zeros that have no memory, and negates some views when it reads."""
    one = torch.arange(3.0)
    zeros, negated = torch._efficientzerotensor((3,)), torch.complex(one, one).conj().imag
    assert zeros._is_zerotensor()
    assert negated.is_neg()
    compiled = graphir.compile(lambda a, b: a + 2 * b, backend=backend)
    for other in (one, zeros, one, negated):
        torch.testing.assert_close(compiled(one, other), one + 2 * other)


@pytest.mark.filterwarnings("ignore:.*(Sparse CSR|nested tensors).*:UserWarning")
def test_tensors_that_are_not_dense_are_refused() -> None:
    sparse, compressed = torch.eye(3).to_sparse(), torch.eye(3).to_sparse_csr()
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    double = graphir.compile(lambda x: 2 * x, backend="c")
    for x, hint in ((sparse, "to_dense"), (compressed, "to_dense"), (nested, "to_padded_tensor")):
        with pytest.raises(graphir.DTypeError, match="dense one is expected") as caught:
            double(x)
        assert hint in str(caught.value)
    with pytest.raises(graphir.DTypeError, match="sparse_coo"):
        graphir.train(
            lambda w, x: ((x @ w) ** 2).mean(), torch.ones(3), (sparse,),
            optimizer=graphir.optim.SGD(0.1),
        )  # fmt: skip
