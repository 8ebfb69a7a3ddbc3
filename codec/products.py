"""Matrix products that are fast on every CPU."""

import torch
from torch import Tensor, nn


class Linear(nn.Linear):
    """`torch.nn.Linear`, by oneDNN with weights that were laid out for it once.

    In float32 on a CPU, PyTorch's own goes to MKL, which is slow on processors that are not
    Intel's; and what goes to oneDNN is laid out anew at each call, which for the few hundred
    frames of a streamed piece costs a fifth of the product. The operators used here are
    those that `torch.compile` puts in for the same purpose.
    """

    _packed: Tensor | None = None

    def pack(self) -> None:
        """Lay the weights out, where that is of use; they must not change any more.

        They are kept a second time for it.
        """
        weight = self.weight
        if weight.device.type == "cpu" and weight.dtype == torch.float32 and _available():
            with torch.inference_mode():
                self._packed = torch.ops.mkldnn._reorder_linear_weight(weight)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (named so in the base class)
        """As `torch.nn.Linear`."""
        if self._packed is None or torch.is_grad_enabled():
            return super().forward(input)
        made: Tensor = torch.ops.mkldnn._linear_pointwise(
            input, self._packed, self.bias, "none", [], ""
        )
        return made


def pack(module: nn.Module) -> None:
    """Lay out the weights of every `Linear` in a module."""
    for part in module.modules():
        if isinstance(part, Linear):
            part.pack()


def _available() -> bool:
    operators = ("_reorder_linear_weight", "_linear_pointwise")
    return torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in operators
    )
