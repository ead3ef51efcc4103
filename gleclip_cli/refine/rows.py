"""Building blocks of compiled loops: rows of float32 held in one register.

LLVM cannot know that two arrays do not overlap and keeps reading them again; a row is read once
and stays in its register, whatever is written meanwhile.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

_intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = intrinsic


class _Row(types.Type):  # type: ignore[misc]
    """The type of `count` float32."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"Row({count})")

    @property
    def vector(self) -> ir.VectorType:
        return ir.VectorType(ir.FloatType(), self.count)


@register_model(_Row)
class _RowModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, row: _Row) -> None:
        super().__init__(manager, row, row.vector)


def _address(context: Any, builder: Any, row: _Row, table_type: Any, table: Any, at: Any) -> Any:
    data = context.make_array(table_type)(context, builder, table).data
    first = builder.gep(data, [builder.mul(at, ir.Constant(at.type, row.count))])
    return builder.bitcast(first, row.vector.as_pointer())


@_intrinsic
def zeros(_: Any, lanes: Any) -> Any:
    row = _Row(lanes.count)
    return row(lanes), lambda context, builder, signature, arguments: row.vector(None)


@_intrinsic
def load(_: Any, table: Any, at: Any, lanes: Any) -> Any:
    row = _Row(lanes.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_address(context, builder, row, table, *arguments[:2]), align=4)

    return row(table, types.intp, lanes), generate


@_intrinsic
def store(_: Any, table: Any, at: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, row, table, *arguments[:2])
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.void(table, types.intp, row), generate


@_intrinsic
def add(_: Any, total: Any, factor: Any, row: Any) -> Any:
    """Return total + factor * row."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        undefined = ir.Constant(row.vector, ir.Undefined)
        first = builder.insert_element(undefined, arguments[1], ir.IntType(32)(0))
        everywhere = ir.VectorType(ir.IntType(32), row.count)(None)
        factors = builder.shuffle_vector(first, undefined, everywhere)
        product = builder.fmul(factors, arguments[2], flags=["fast"])
        return builder.fadd(arguments[0], product, flags=["fast"])

    return row(row, types.float32, row), generate


@_intrinsic
def prefetch(_: Any, table: Any, at: Any, lanes: Any) -> Any:
    """Ask for a row that will be read and written soon."""
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, number, number, number])

    def generate(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        address = _address(context, builder, _Row(lanes.count), table, *arguments[:2])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [byte], signature)
        builder.call(fetch, [builder.bitcast(address, byte), number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(table, types.intp, lanes), generate


@_intrinsic
def from_bits(_: Any, bits: Any) -> Any:
    """Return the float32 with the bits of an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate
