"""Compiles the kernels for GPUs as the program calls them; needs no GPU, only Triton's compiler."""

from collections.abc import Iterator

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from trainables.models import lrn_kernels, photo_kernels, pool_kernels, relu_kernels

POOL = {"C": 96, "H": 55, "W": 55, "OH": 27, "OW": 27, "size": 3, "stride": 2, "padding": 0}
#: Kernel, its pointers' and numbers' types, and its constants: AlexNet's first layers.
Call = tuple[JITFunction, str, dict[str, int]]


def calls(value: str) -> Iterator[Call]:
    """Every kernel, on values of a type such as `bf16`."""
    pointer = f"*{value}"
    photos = {"C": 3, "H": 227, "W": 227, "block": photo_kernels.BLOCK}
    rows = {"C": 96, "block": lrn_kernels.BLOCK}
    pool = POOL | {"block": pool_kernels.BLOCK}
    back = {"width": 64, "step": relu_kernels.STEP, "rows": relu_kernels.ROWS}
    scale = {"n_channels": 3, "block": photo_kernels.BLOCK}
    yield photo_kernels._scaled, f"*u8 *fp32 *fp32 {pointer} i32", scale
    yield photo_kernels._mirrored, "*u8 *u8 *u8 i32", photos
    yield lrn_kernels._forward, f"{pointer} {pointer} i32", rows
    yield lrn_kernels._backward, f"{pointer} {pointer} {pointer} i32", rows
    yield pool_kernels._forward, f"{pointer} {pointer} *i8 i32", pool
    yield pool_kernels._backward, f"{pointer} *i8 {pointer} i32", pool
    yield relu_kernels._forward, f"{pointer} *fp32 i32 i32", {"block": relu_kernels.BLOCK}
    yield relu_kernels._backward, f"{pointer} {pointer} {pointer} *fp32 i32 i32", back


def compiled(call: Call, capability: int) -> bytes:
    """Machine code for a compute capability, such as 90 for an H100."""
    kernel, types, constants = call
    names = kernel.arg_names
    signature = dict(zip(names, types.split(), strict=False))
    signature |= dict.fromkeys(constants, "constexpr")
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
