"""Our RMS norm against PyTorch's, in double precision too."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
from ownlm.train.norm import rms_norm  # noqa: E402


@pytest.mark.parametrize("shape", [(7, 32), (5, 3, 16), (1, 1)])
def test_value_and_gradients(shape: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(shape[-1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, 1e-6), (x, weight))
    expected = torch.nn.functional.rms_norm(x, (shape[-1],), weight, 1e-6)
    assert torch.allclose(rms_norm(x, weight, 1e-6), expected, rtol=1e-12, atol=1e-12)


def test_what_does_not_learn_has_no_gradient() -> None:
    x, weight = torch.randn(4, 8), torch.ones(8, requires_grad=True)
    rms_norm(x, weight, 1e-6).sum().backward()
    assert x.grad is None and weight.grad is not None
    x, weight = torch.randn(4, 8, requires_grad=True), torch.ones(8)
    rms_norm(x, weight, 1e-6).sum().backward()
    assert x.grad is not None and weight.grad is None


def test_a_row_of_zeros_and_a_gradient_that_is_not_contiguous() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    weight = torch.ones(4, requires_grad=True)
    y = rms_norm(x, weight, 1e-6)
    y.T.contiguous().backward(torch.ones(4, 3))
    assert torch.equal(y, torch.zeros(3, 4))
    assert x.grad is not None and torch.isfinite(x.grad).all()
