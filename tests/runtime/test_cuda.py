"""How trainings use a GPU's stream, on a device that does nothing before it is waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fake_cuda import FakeCuda, install
from regressions import by_name

import graphir
from graphir.codegen.epoch_choice import Way
from graphir.dtypes import float32
from graphir.errors import BackendError, DivergedError
from graphir.runtime import backend_triton
from graphir.runtime.backends import choose
from graphir.runtime.cuda import Cuda
from graphir.runtime.optim import SGD, Adam


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> list[FakeCuda]:
    return install(monkeypatch)


def trained(name: str, backend: str, **options: Any) -> Any:
    params, data = by_name(name).arguments(90)
    options = {"optimizer": Adam(lr=0.05), "batch_size": 4, "epochs": 3, "seed": 2, **options}

    def loss(*args: Any) -> Any:
        return by_name(name).loss(*args)

    return graphir.train(loss, params, data, backend=backend, progress=False, **options)


def same(got: Any, wanted: Any) -> None:
    np.testing.assert_allclose(got.history.step_loss, wanted.history.step_loss, rtol=1e-9)
    for ours, theirs in zip(got.params, wanted.params, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def way_of(result: Any) -> Way:
    (decision,) = (d for d in result.explain().decisions if d.kind == "epoch")
    return next(way for way in Way if decision.reason.startswith(way.value + ":"))


@pytest.mark.parametrize(
    ("name", "programs", "way"),
    [
        ("linear", None, Way.ALONE),
        ("softmax", 1, Way.ALONE),
        ("batch_normalised", None, Way.LAUNCHES),
        ("batch_normalised", 2, Way.LAUNCHES),
    ],
)
def test_nothing_waits_within_or_between_epochs(
    name: str, programs: int | None, way: Way, devices: list[FakeCuda]
) -> None:
    got = trained(name, "triton", threads=programs)
    same(got, trained(name, "reference"))
    assert way_of(got) is way
    (gpu,) = devices
    # Whenever the host waits the device has more to do, until the training is over: then come
    # the last slice's losses and the check of each parameter.
    done = 1 + len(got.params)
    assert len(gpu.waits) > done
    assert all(gpu.waits[:-done])


def test_an_epoch_is_one_launch(devices: list[FakeCuda]) -> None:
    trained("linear", "triton", epochs=4)
    (gpu,) = devices
    # The first epoch begins with a slice of one step, to see how long it takes.
    assert len(gpu.launched) <= 4 + 3
    assert gpu.replayed == 0


def test_a_step_is_launched_once_and_then_replayed(
    devices: list[FakeCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_triton, "_IN_A_GRAPH", 5)
    got = trained("batch_normalised", "triton", optimizer=SGD(lr=0.05, momentum=0.9))
    same(got, trained("batch_normalised", "reference", optimizer=SGD(lr=0.05, momentum=0.9)))
    (gpu,) = devices
    assert gpu.launched == [k.name for k in got.program.kernels]
    steps = len(got.history.step_loss)
    assert steps == 3 * 23
    assert steps / 5 <= gpu.replayed < steps


def test_losses_that_are_not_finite_are_found_behind(devices: list[FakeCuda]) -> None:
    with pytest.raises(DivergedError, match=r"in epoch 1, step"):
        trained("linear", "triton", optimizer=SGD(lr=1e30), epochs=2)


def test_validation_is_that_of_the_epoch(devices: list[FakeCuda]) -> None:
    options: dict[str, Any] = {"validation": by_name("linear").arguments(30, seed=7)[1]}
    got = trained("linear", "triton", **options)
    wanted = trained("linear", "reference", **options)
    np.testing.assert_allclose(
        got.history.validation_loss, wanted.history.validation_loss, rtol=1e-9
    )


def test_a_compiled_function(devices: list[FakeCuda]) -> None:
    params, data = by_name("softmax").arguments(50)
    loss = graphir.value_and_grad(by_name("softmax").loss)
    got = graphir.compile(loss, backend="triton")(params, *data)
    wanted = graphir.compile(loss, backend="reference")(params, *data)
    devices[-1].drain()
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-10)


class _Elsewhere(torch.Tensor):
    """A tensor that says it lies on another device."""

    place = "cuda:0"

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return torch.device(self.place)


def elsewhere(place: str, *shape: int) -> torch.Tensor:
    kind = type("Elsewhere", (_Elsewhere,), {"place": place})
    return torch.zeros(*shape).as_subclass(kind)


def test_where_arrays_may_lie() -> None:
    one, other = elsewhere("cuda:0", 3), elsewhere("cuda:1", 3)
    assert choose("auto", [one, torch.zeros(())]) == "triton"
    for mixed in ([one, other], [one, torch.zeros(3)], [one, np.zeros(3)]):
        with pytest.raises(BackendError, match=r"arrays lie on different devices: .*cuda:0") as e:
            choose("auto", mixed)
        assert "x.to(w.device)" in str(e.value)
    with pytest.raises(BackendError, match=r"backend='c' runs on the CPU, and the arrays lie on"):
        choose("c", [one])
    with pytest.raises(BackendError, match=r"the arrays lie on mps(:0)?; graphir runs on the CPU"):
        choose("auto", [elsewhere("mps", 3)])
    with pytest.raises(BackendError, match="needs tensors on a GPU, got tensors on cpu"):
        backend_triton.TritonBackend(None, torch.device("cpu"))  # type: ignore[arg-type]


def test_arrays_that_are_not_contiguous(devices: list[FakeCuda]) -> None:
    """They are copied, as by torch's own operations."""
    params, (x, y) = by_name("linear").arguments(40)
    wide = torch.stack([x, x + 1], dim=2)[:, :, 0]
    assert not wide.is_contiguous()
    got = graphir.train(
        by_name("linear").loss, params, (wide, y), optimizer=SGD(lr=0.1), backend="triton",
        progress=False,
    )  # fmt: skip
    wanted = graphir.train(
        by_name("linear").loss, params, (x, y), optimizer=SGD(lr=0.1), backend="reference",
        progress=False,
    )  # fmt: skip
    same(got, wanted)


def test_data_larger_than_the_devices_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Cuda.__new__(Cuda)
    gpu.device = torch.device("cuda:0")

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (1 << 30, 4 << 30))
    values = np.zeros(1 << 28, np.float32)
    for name, work in (
        ("torch.as_tensor", lambda: gpu.upload(values)),
        ("torch.empty", lambda: gpu.empty((1 << 28,), float32, zero=False)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(BackendError, match=r"1\.00 GiB do not fit the memory of") as e:
                work()
        assert "1.00 of 4.00 GiB are free" in str(e.value)
        assert "x.cpu()" in str(e.value)
