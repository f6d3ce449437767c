import pytest
import torch

from forecast.core.errors import BackendUnavailable
from forecast.models.base.torch.device import resolve_device, use_threads


def test_the_cpu_is_always_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")


def test_auto_takes_an_accelerator_before_the_cpu() -> None:
    accelerated = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (resolve_device("auto").type != "cpu") is accelerated


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_absent_is_refused_and_the_alternative_named(kind: str) -> None:
    if resolve_device("auto").type == kind:
        pytest.skip(f"this machine has {kind}")
    with pytest.raises(BackendUnavailable, match=f"no {kind} device; ask for auto or"):
        resolve_device(kind)


def test_a_device_beyond_the_last_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="this machine has 1 cpu device; ask"):
        resolve_device("cpu:1")


def test_a_name_that_is_no_device_is_refused() -> None:
    with pytest.raises(BackendUnavailable, match="'tpu' is not available"):
        resolve_device("tpu")


def test_the_number_of_threads_is_set() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        use_threads(before)
    assert torch.get_num_threads() == before
