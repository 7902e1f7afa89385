"""C++ kernels over NumPy arrays; they know no model.

Arrays are C-contiguous and may be read-only or memory-mapped. A wrong shape or type raises ValueError. The GIL is
released while computing. ``out=`` takes the result; without it a new array is made. Linear weights are packed once:
:func:`pack`, :func:`pack_glu`.

A row's result does not depend on the other rows of the call, nor on the number of threads, to the last bit.

Settings, read at first use: ``OWNLM_ISA`` (one of :func:`isas`), ``OWNLM_THREADS`` (default: the CPUs allowed to this
process). Nothing is loaded by importing this module.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ownlm.errors import InvalidSetting, OwnLMError
from ownlm.native.cpus import available_cpus

if TYPE_CHECKING:
    from types import ModuleType

    import numpy as np
    from numpy.typing import NDArray

    from ownlm.native._kernels import Linear

    Floats = NDArray[np.float32]

__all__ = [
    "Linear",
    "attention_varlen",
    "available_cpus",
    "coarse",
    "compiled",
    "dot_i8",
    "embed",
    "embed_sum",
    "from_parts",
    "isa",
    "isas",
    "layer_norm",
    "layout",
    "linear",
    "mean_pool",
    "pack",
    "pack_f32",
    "pack_glu",
    "pack_q8_0",
    "set_threads",
    "threads",
    "use_isa",
]

_MOST_THREADS = 1024
_lock = threading.Lock()
_ready: ModuleType | None = None


def _load() -> Any:
    """The extension, with OWNLM_ISA and OWNLM_THREADS applied."""
    global _ready
    if _ready is None:
        with _lock:
            if _ready is None:
                kernels = _extension()
                name = os.environ.get("OWNLM_ISA")
                if name:
                    _use_isa(kernels, "OWNLM_ISA", name)
                kernels.set_threads(_threads_wanted())
                _ready = kernels
    return _ready


def _extension() -> Any:
    try:
        from ownlm.native import _kernels
    except ImportError as error:
        raise OwnLMError(f"the native kernels cannot be loaded ({error}): reinstall with 'pip install ownlm'") from None
    return _kernels


def _use_isa(kernels: Any, setting: str, name: str) -> None:
    if not kernels.use_isa(name):
        reason = _compiled(kernels).get(name, "unknown")
        why = "" if reason == "unknown" else f" ({name}: {'not on this processor' if reason == 'yes' else reason})"
        raise InvalidSetting(setting, name, f"give one of {', '.join(reversed(kernels.usable()))}{why}")


def _threads_wanted() -> int:
    cpus = available_cpus()
    text = os.environ.get("OWNLM_THREADS", "")
    if not text:
        return min(cpus, _MOST_THREADS)
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= cpus):
        raise InvalidSetting("OWNLM_THREADS", text, f"give 1 to {cpus}, the CPUs that this process may use")
    return int(text)


def __getattr__(name: str) -> Any:
    if name == "Linear":
        return _load().Linear
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def isa() -> str:
    """The instruction set in use, one of:

    ``portable``       C++ of any processor
    ``avx2``           AVX2, FMA and F16C
    ``avx_vnni``       these with int8 dot products of 256 bits (AVX-VNNI)
    ``avx512vl_vnni``  the same of 256 bits, where AVX-512 has them
    ``avx512_vnni``    AVX-512 with int8 dot products of 512 bits
    ``avx512_bf16``    these with bfloat16 products
    ``amx_int8``       these with int8 products of tiles, where a layer has 16 rows and more
    ``neon_dotprod``   NEON of AArch64 with int8 dot products
    ``neon_i8mm``      these with int8 products of pairs of rows
    """
    name: str = _load().isa()
    return name


def isas() -> tuple[str, ...]:
    """The instruction sets that are compiled in and that this machine runs, slowest first."""
    return tuple(_extension().usable())


def compiled() -> dict[str, str]:
    """Every instruction set: "yes", or why it was not compiled."""
    return _compiled(_extension())


def _compiled(kernels: Any) -> dict[str, str]:
    return dict(line.split("=", 1) for line in kernels.built().splitlines())


def use_isa(name: str) -> None:
    """Switch to one of :func:`isas` for the calls that follow, in all threads; weights stay as packed."""
    _use_isa(_load(), "isa", name)


def threads() -> int:
    """The most threads that compute at a time, whoever calls."""
    count: int = _load().threads()
    return count


def set_threads(n: int) -> None:
    """Change :func:`threads`. Waits for running calls."""
    if not 1 <= n <= _MOST_THREADS:
        raise InvalidSetting("threads", n, f"give 1 to {_MOST_THREADS}")
    _load().set_threads(n)


def layout() -> int:
    """The number of the layout in which weights are packed here."""
    number: int = _load().layout()
    return number


Part = tuple[str, int, int, bool, Any, Any]
"""(format, rows, columns, glu, data, scales): the last two uint8 arrays in the layout of ``cpp/kernels.h``."""


def from_parts(parts: Sequence[Part]) -> Linear:
    """Weights over memory that holds them packed, such as a mapped file, without a copy; ``Linear.parts`` is the
    inverse. Data begins at multiples of 64 bytes; the arrays are kept. ValueError for sizes that do not agree."""
    packed: Linear = _load().from_parts(list(parts))
    return packed


def pack(matrices: Sequence[NDArray[Any]], format: str | Sequence[str]) -> Linear:
    """Pack weights, stacked by rows, as their checkpoint stores them.

    ``format``, one or one a matrix, is "f32" (float32 [N, K]), "bf16" (its bits, uint16 [N, K]), "q8_0" (uint8
    [N, K // 32 * 34]) or "q4_0" (uint8 [N, K // 32 * 18]); see :mod:`ownlm.formats`.
    """
    if isinstance(format, str):
        packed: Linear = _load().pack(list(matrices), format)
    else:
        packed = _load().pack_mixed(list(matrices), list(format))
    return packed


def pack_glu(gate: NDArray[Any], up: NDArray[Any], format: str) -> Linear:
    """Pack the two matrices of a gated layer, of one shape, so that :func:`linear` gives act(x gate^T) * (x up^T)."""
    packed: Linear = _load().pack_glu(gate, up, format)
    return packed


def coarse(rows: NDArray[np.uint8], format: str, columns: int) -> tuple[Linear, Floats]:
    """Rows of ``columns`` weights as a checkpoint stores them, rounded to Q4_0 and packed, to rank products with.

    ``rows``: the bytes of [N, columns] in "f32", "bf16" or "q8_0", uint8 [N, B]. The floats [columns] are the root mean
    square, over all rows, of what rounding changed in each column.
    """
    import numpy as np

    copy, spread = _load().coarse(rows, format, columns)
    return copy, np.array(spread, np.float32)


def pack_f32(w: Floats) -> Linear:
    """Pack float weights [N, K]."""
    return pack([w], "f32")


def pack_q8_0(blocks: NDArray[np.uint8]) -> Linear:
    """Pack Q8_0 blocks [N, K // 32 * 34] (see :mod:`ownlm.formats.q8_0`)."""
    return pack([blocks], "q8_0")


def linear(
    x: Floats,
    w: Linear,
    bias: Floats | None = None,
    residual: Floats | None = None,
    activation: str = "",
    out: Floats | None = None,
    scale: float = 1.0,
) -> Floats:
    """scale * activation(x w^T + bias) + residual: x [M, K], bias [N], residual and out [M, N].

    ``activation`` is "", "gelu" (with erf), "gelu_tanh", "silu" or "relu2" (max(0, x)^2). ``out`` may be ``residual``,
    not ``x``. With Q8_0 and Q4_0 weights, activations are quantized to int8 in groups of 32, and the products are exact
    integers; with bfloat16 weights they are rounded to bfloat16.

    Weights of :func:`pack_glu` give scale * (act(gate) * up) + residual, [M, N / 2], where bias [N] holds the gate's,
    then the up's, and ``activation`` is "silu", "gelu", "gelu_tanh" or "swiglu_oai" (gpt-oss: gate and up clamped at 7,
    gate * sigmoid(1.702 gate) * (up + 1)).
    """
    kernels = _load()
    if out is None:
        out = kernels.empty(_rows(x), w.rows // 2 if w.glu else w.rows)
    kernels.linear(x, w, bias, residual, activation, scale, out)
    return out


def embed(ids: NDArray[np.int32], table: NDArray[Any], out: Floats | None = None) -> Floats:
    """Rows ``ids`` [T] of a table: float32 [V, D] or Q8_0 blocks [V, D // 32 * 34]. ValueError if an id is outside."""
    return embed_sum([ids], [table], out)


def embed_sum(ids: Sequence[NDArray[np.int32]], tables: Sequence[NDArray[Any]], out: Floats | None = None) -> Floats:
    """The sum over pairs of ids [T] and tables, as :func:`embed` looks them up (word, position and type, say)."""
    kernels = _load()
    if out is None:
        if not ids or not tables or tables[0].ndim != 2:
            raise ValueError("embed needs ids and as many tables of two axes")
        columns = tables[0].shape[1]
        out = kernels.empty(len(ids[0]), columns if tables[0].itemsize == 4 else columns // 34 * 32)
    kernels.embed(list(ids), list(tables), out)
    return out


def layer_norm(
    x: Floats, weight: Floats, bias: Floats, eps: float, residual: Floats | None = None, out: Floats | None = None
) -> Floats:
    """Layer norm over the last axis of x + residual: x [T, D]. ``out`` may be ``x`` or ``residual``."""
    kernels = _load()
    if out is None:
        out = kernels.empty(_rows(x), x.shape[1])
    kernels.layer_norm(x, weight, bias, eps, residual, out)
    return out


def attention_varlen(
    qkv: Floats, cu_seqlens: NDArray[np.int32], heads: int, scale: float, out: Floats | None = None
) -> Floats:
    """Bidirectional attention within each of B packed sequences: qkv [T, 3 H Dh] (queries, keys, values) to [T, H Dh].

    Sequence b is rows cu_seqlens[b] to cu_seqlens[b + 1]; cu_seqlens [B + 1] starts at 0 and ends at T.
    """
    kernels = _load()
    if out is None:
        out = kernels.empty(_rows(qkv), qkv.shape[1] // 3)
    kernels.attention_varlen(qkv, cu_seqlens, heads, scale, out)
    return out


def mean_pool(x: Floats, cu_seqlens: NDArray[np.int32], normalize: bool, out: Floats | None = None) -> Floats:
    """Mean of each sequence's rows, [T, D] to [B, D], brought to length 1 if ``normalize``; zeros for an empty one."""
    kernels = _load()
    if out is None:
        out = kernels.empty(max(0, len(cu_seqlens) - 1), x.shape[1] if x.ndim == 2 else 0)
    kernels.mean_pool(x, cu_seqlens, normalize, out)
    return out


def dot_i8(
    vectors: NDArray[np.int8], query: NDArray[np.int8], out: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """Exact products of int8 vectors [N, D] with a query [D], as int32 [N]. D is at most 65536."""
    import numpy as np

    kernels = _load()
    if out is None:
        out = np.empty(len(vectors), np.int32)
    kernels.dot_i8(vectors, query, out)
    return out


def _rows(x: Floats) -> int:
    if x.ndim != 2:
        raise ValueError(f"x has shape {x.shape}: it must have two axes")
    return len(x)
