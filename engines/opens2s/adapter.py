"""From the audio encoder's rows to rows of the language model's input."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

#: Of each convolution.
STRIDE = 2


class Subsampler(nn.Module):
    """Convolutions with gated linear units, each halving the rate (Synnaeve et al., 2019).

    Args:
        width: Of the rows that come in.
        hidden: Of the rows that go out.
        kernels: One a convolution, odd.
    """

    def __init__(self, width: int, hidden: int, kernels: Sequence[int]) -> None:
        super().__init__()
        outs = [width] * (len(kernels) - 1) + [hidden]
        self.conv_layers = nn.ModuleList(
            nn.Conv1d(width, 2 * out, kernel, stride=STRIDE, padding=kernel // 2)
            for out, kernel in zip(outs, kernels, strict=True)
        )

    def forward(self, rows: Tensor) -> Tensor:
        """`[clips, rows, width]` to `[clips, fewer rows, hidden]`; see `length`."""
        rows = rows.transpose(1, 2)
        for convolution in self.conv_layers:
            rows = functional.glu(convolution(rows), dim=1)
        return rows.transpose(1, 2)

    def length(self, rows: int) -> int:
        """How many rows come of so many."""
        for _ in self.conv_layers:
            rows = (rows - 1) // STRIDE + 1
        return rows


class Adapter(nn.Module):
    """Subsampling, then one residual layer; names of modules as in the checkpoint.

    Args:
        width: Of the encoder's rows.
        hidden: Of the language model's.
        inner: Of the residual layer.
        kernels: Of the convolutions.
    """

    def __init__(self, width: int, hidden: int, inner: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.subsampler = Subsampler(width, hidden, kernels)
        self.fc1 = nn.Linear(hidden, inner, bias=False)
        self.fc2 = nn.Linear(inner, hidden, bias=False)
        self.ln = nn.LayerNorm(hidden)

    def forward(self, rows: Tensor) -> Tensor:
        """`[clips, rows, width]` to `[clips, fewer rows, hidden]`."""
        rows = self.subsampler(rows)
        made: Tensor = self.ln(rows + self.fc2(functional.gelu(self.fc1(rows))))
        return made
