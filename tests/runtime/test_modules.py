"""torch modules: compiled, as arguments, differentiated, trained in place, and restored."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import graphir

BACKENDS = pytest.mark.parametrize("backend", ["reference", "c"])


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).double()


def data(rows: int = 16, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, generator=rng, dtype=torch.float64)
    return x, x.sum(1, keepdim=True).sin()


def loss(module: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(module(x), y)


def parameters(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


# -- compile --------------------------------------------------------------------------------------


@BACKENDS
def test_a_compiled_module(backend: str) -> None:
    net = network()
    compiled = graphir.compile(net, backend=backend)
    for rows in (16, 5, 1):
        x, _ = data(rows)
        torch.testing.assert_close(compiled(x), net(x))
        torch.testing.assert_close(compiled(input=x), net(x))
    assert len(compiled.entries) == 1
    graph = compiled.graph(x)
    assert [graph.names[n] for n in graph.inputs] == [
        "self.0.weight", "self.0.bias", "self.2.weight", "self.2.bias", "input",
    ]  # fmt: skip


@BACKENDS
def test_its_parameters_are_read_at_each_call_and_have_gradients(backend: str) -> None:
    ours, theirs = network(), network()
    compiled = graphir.compile(ours, backend=backend)
    x, y = data()
    for model, call in ((ours, compiled), (theirs, theirs)):
        sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            sgd.zero_grad()
            F.mse_loss(call(x), y).backward()
            sgd.step()
    torch.testing.assert_close(parameters(ours), parameters(theirs))
    assert len(compiled.entries) == 1


@BACKENDS
def test_a_module_as_an_argument_of_a_compiled_function(backend: str) -> None:
    net, (x, y) = network(), data()
    compiled = graphir.compile(loss, backend=backend)
    torch.testing.assert_close(compiled(net, x, y), loss(net, x, y))
    found = torch.autograd.grad(compiled(net, x, y), list(net.parameters()))
    torch.testing.assert_close(found, torch.autograd.grad(loss(net, x, y), list(net.parameters())))
    other = network(7)
    torch.testing.assert_close(compiled(other, x, y), loss(other, x, y))


def test_training_mode_is_part_of_the_signature() -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2 if self.training else x

    net = nn.Sequential(Scaled(), nn.Linear(2, 2))
    compiled = graphir.compile(net, backend="reference")
    x = torch.ones(3, 2)
    torch.testing.assert_close(compiled(x), net(x))
    net.eval()
    torch.testing.assert_close(compiled(x), net(x))


# -- derivatives ----------------------------------------------------------------------------------


def test_gradients_have_the_form_of_the_module() -> None:
    net, (x, y) = network(), data()
    value, grads = graphir.value_and_grad(loss)(net, x, y)
    torch.testing.assert_close(value, loss(net, x, y))
    expected = torch.autograd.grad(loss(net, x, y), list(net.parameters()))
    torch.testing.assert_close(list(grads.parameters()), list(expected))
    torch.testing.assert_close(grads[0].weight, expected[0])
    assert type(grads) is type(net)


def test_gradients_inside_a_compiled_function() -> None:
    net, (x, y) = network(), data()
    compiled = graphir.compile(graphir.value_and_grad(loss), backend="c")
    _, grads = compiled(net, x, y)
    expected = torch.autograd.grad(loss(net, x, y), list(net.parameters()))
    torch.testing.assert_close(list(grads.parameters()), list(expected))


def test_a_module_that_is_differentiated_through() -> None:
    net, (x, _) = network(), data()
    found = graphir.jacrev(lambda x: net(x)[:, 0])(x)
    torch.testing.assert_close(found, torch.func.jacrev(lambda x: net(x)[:, 0])(x))
    found = graphir.vmap(graphir.grad(lambda row: net(row)[0]))(x)
    torch.testing.assert_close(found, torch.func.vmap(torch.func.grad(lambda row: net(row)[0]))(x))


def test_a_penalty_that_names_the_module_counts() -> None:
    """Also where the function reaches the same module by another way than its argument."""
    net, (x, y) = network(), data()

    def penalised(module: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return loss(module, x, y) + sum((p**2).sum() for p in net.parameters())

    _, grads = graphir.value_and_grad(penalised)(net, x, y)
    expected = torch.autograd.grad(penalised(net, x, y), list(net.parameters()))
    torch.testing.assert_close(list(grads.parameters()), list(expected))


def test_per_example_gradients_of_a_module() -> None:
    net, (x, y) = network(), data()
    grads = graphir.vmap(graphir.grad(loss), (None, 0, 0))(net, x, y)
    params = dict(net.named_parameters())

    def functional(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(torch.func.functional_call(net, params, (x,)), y)

    expected = torch.func.vmap(torch.func.grad(functional), (None, 0, 0))(params, x, y)
    torch.testing.assert_close(dict(grads.named_parameters()), expected)


def test_tied_and_frozen_parameters() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight
            self.second.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(torch.tanh(self.first(x)))

    torch.manual_seed(0)
    net = Tied().double()
    x, _ = data()
    wrt = [net.first.weight, net.first.bias]
    grads = graphir.grad(lambda net, x: (net(x) ** 2).sum())(net, x)
    expected = torch.autograd.grad((net(x) ** 2).sum(), wrt)
    torch.testing.assert_close((grads.first.weight, grads.first.bias), expected)
    assert grads.second.weight is grads.first.weight
    before = net.second.bias.clone()
    graphir.train(
        lambda net, x: (net(x) ** 2).mean(), net, (x,), optimizer=graphir.optim.SGD(lr=0.1),
        backend="reference", progress=False,
    )  # fmt: skip
    assert torch.equal(net.second.bias, before)
    assert net.second.weight is net.first.weight


# -- train ----------------------------------------------------------------------------------------


@BACKENDS
def test_train_updates_the_module_in_place(backend: str) -> None:
    ours, theirs = network(), network()
    x, y = data()
    own = list(ours.parameters())
    result = graphir.train(
        loss, ours, (x, y), optimizer=graphir.optim.SGD(lr=0.1), epochs=20, backend=backend,
        progress=False,
    )  # fmt: skip
    sgd = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(20):
        sgd.zero_grad()
        loss(theirs, x, y).backward()
        sgd.step()
    torch.testing.assert_close(parameters(ours), parameters(theirs))
    assert result.params is ours
    assert all(a is b for a, b in zip(own, ours.parameters(), strict=True))
    assert all(p.requires_grad and isinstance(p, nn.Parameter) for p in own)


def test_train_takes_a_module_among_other_parameters() -> None:
    net, (x, y) = network(), data()
    before = parameters(net)
    scale = torch.ones((), dtype=torch.float64)

    def scaled(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(params["net"](x) * params["scale"], y)

    result = graphir.train(
        scaled, {"net": net, "scale": scale}, (x, y), optimizer=graphir.optim.SGD(lr=0.1),
        backend="reference", progress=False,
    )  # fmt: skip
    assert result.params["net"] is net
    assert not torch.equal(net[0].weight, before["0.weight"])
    assert scale == 1.0
    assert result.params["scale"] != 1.0


# -- whatever happens -----------------------------------------------------------------------------


def test_parameters_are_restored_after_an_error() -> None:
    net, (x, y) = network(), data()
    own = dict(net.named_parameters())

    def broken(module: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        module(x)
        raise RuntimeError("stop")

    for call in (graphir.compile(broken), graphir.grad(broken)):
        with pytest.raises(RuntimeError, match="stop"):
            call(net, x, y)
        assert all(p is own[name] for name, p in net.named_parameters())
        assert loss(net, x, y).requires_grad
        assert not any(name.startswith("_graphir") for name in net.__dict__)


def test_batch_norm_in_training_is_refused_before_it_counts() -> None:
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    x, _ = data()
    with pytest.raises(graphir.UnsupportedError, match=r"buffer `Sequential\.1\.running_mean`"):
        graphir.compile(net, backend="reference")(x)
    assert net[1].num_batches_tracked == 0
    with pytest.raises(graphir.UnsupportedError, match=r"running_mean"):
        graphir.train(lambda net, x: net(x).sum(), net, (x,),
                      optimizer=graphir.optim.SGD(lr=0.1), progress=False)  # fmt: skip


def test_a_buffer_that_is_written_is_named_and_restored() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return x * self.weight

    net = Counting()
    with pytest.raises(graphir.UnsupportedError, match=r"buffer `Counting\.calls` is written"):
        graphir.compile(net, backend="reference")(torch.ones(2, 3))
    assert net.calls == 0


@BACKENDS
def test_a_buffer_that_is_only_read_is_an_input(backend: str) -> None:
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))
            self.register_buffer("shift", torch.tensor([1.0, 2.0, 3.0]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.weight + self.shift

    net, x = Shifted(), torch.ones(2, 3)
    compiled = graphir.compile(net, backend=backend)
    torch.testing.assert_close(compiled(x), net(x))
    net.shift += 1
    torch.testing.assert_close(compiled(x), net(x))
