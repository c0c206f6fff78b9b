"""Pickles of plain numbers, read without unpickling: nothing in the file is ever called.

`pickletools.genops` splits a pickle into its operations and runs none of them. The few that
dictionaries, lists, texts and numpy arrays of floats are made of are followed here, on our own
stack; every other operation, and every Python object that is no such array, refuses the file.
"""

import itertools
from collections.abc import Callable
from pickletools import genops
from typing import Any

from trainables.models.pickled_arrays import (
    CALLS,
    KNOWN,
    Array,
    DType,
    ForbiddenError,
    Global,
    filled,
    order_of,
    text_of,
)

MARK = object()


def read_pickle(data: bytes) -> Any:
    """Follow a pickle of numbers, texts, dictionaries, lists, tuples and `Array`s.

    Args:
        data: a pickle of any protocol; memory stays within a few times its length.

    Raises:
        ForbiddenError: for any other Python object, naming it.
        ValueError: when the pickle is damaged.
    """
    machine = _Machine(n_bytes=len(data))
    try:
        operations = itertools.takewhile(lambda each: each[0].name != "STOP", genops(data))
        for opcode, argument, _ in operations:
            machine.follow(opcode.name, argument)
        return machine.pop()
    except ForbiddenError:
        raise
    except Exception as error:  # a damaged pickle fails in any of a dozen ways
        raise ValueError(f"its pickle is damaged ({error})") from error


class _Machine:
    """The stack and the memory of a pickle."""

    def __init__(self, n_bytes: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._text_left = 2 * n_bytes + 1000

    def pop(self) -> Any:
        return self.stack.pop()

    def follow(self, name: str, argument: Any) -> None:
        if name in PUSHES_ARGUMENT:
            self.stack.append(argument)
        elif name in PUSHES:
            self.stack.append(PUSHES[name]())
        elif name in WORKS:
            WORKS[name](self, argument)
        elif name not in PASSED_OVER:
            raise ForbiddenError(f"the pickle operation {name}")

    def items(self) -> list[Any]:
        """All above the last mark, which goes too."""
        items = list(itertools.takewhile(lambda item: item is not MARK, reversed(self.stack)))
        del self.stack[len(self.stack) - len(items) :]
        self.stack.pop()  # the mark; without one the stack is empty now
        return items[::-1]

    def spend(self, values: tuple) -> None:
        """Count texts that are about to be copied; one that is remembered could be endlessly."""
        self._text_left -= sum(len(value) for value in values if isinstance(value, str))
        if self._text_left < 0:
            raise ValueError("it copies a text again and again")

    def remember(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else int(index)] = self.stack[-1]

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"no {kind.__name__} where one belongs")
        return self.stack[-1]


def _tuple_of(count: int) -> Callable[[_Machine, Any], None]:
    def work(machine: _Machine, _: Any) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.stack.append(tuple(items[::-1]))

    return work


def _set_items(machine: _Machine, items: list[Any]) -> None:
    target = machine.top(dict)
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes):
            raise ValueError("a key that is no text")
        target[text_of(key)] = value


def _make_dict(machine: _Machine, _: Any) -> None:
    items = machine.items()
    machine.stack.append({})
    _set_items(machine, items)


def _append(machine: _Machine, _: Any) -> None:
    item = machine.pop()
    machine.top(list).append(item)


def _append_all(machine: _Machine, _: Any) -> None:
    items = machine.items()
    machine.top(list).extend(items)


def _set_item(machine: _Machine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _fetch(machine: _Machine, argument: Any) -> None:
    machine.stack.append(machine.memo[int(argument)])


def _global(machine: _Machine, argument: Any) -> None:
    if argument is None:
        name, module = machine.pop(), machine.pop()
        argument = f"{module} {name}"
    if argument not in KNOWN:
        raise ForbiddenError(str(argument)[:200].replace(" ", "."))
    machine.stack.append(Global(KNOWN[argument]))


def _reduce(machine: _Machine, _: Any) -> None:
    arguments, function = machine.pop(), machine.pop()
    if type(function) is not Global or type(arguments) is not tuple:
        raise ValueError("a call of nothing")
    if function.name not in CALLS:
        raise ForbiddenError(f"a call of {function.name}")
    machine.spend(arguments)
    machine.stack.append(CALLS[function.name](*arguments))


def _build(machine: _Machine, _: Any) -> None:
    state, target = machine.pop(), machine.stack[-1]
    if type(state) is not tuple:
        raise ValueError("a state that is no tuple")
    if type(target) is DType:
        target.order = order_of(state[1])
    elif type(target) is Array:
        _, shape, dtype, fortran, content = state
        machine.spend(state)
        target.value = filled(content, dtype, shape, fortran=bool(fortran))
    else:
        raise ValueError("a state without an array")


PASSED_OVER = ("PROTO", "FRAME")
_VALUES = (
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING "
    "UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 "
    "BYTEARRAY8"
)
PUSHES_ARGUMENT = frozenset(_VALUES.split())
PUSHES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "MARK": lambda: MARK,
}
WORKS: dict[str, Callable[[_Machine, Any], Any]] = {
    "POP": lambda machine, _: machine.pop(),
    "POP_MARK": lambda machine, _: machine.items(),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.items())),
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "LIST": lambda machine, _: machine.stack.append(machine.items()),
    "APPEND": _append,
    "APPENDS": _append_all,
    "DICT": _make_dict,
    "SETITEM": _set_item,
    "SETITEMS": lambda machine, _: _set_items(machine, machine.items()),
    "PUT": lambda machine, index: machine.remember(index),
    "BINPUT": lambda machine, index: machine.remember(index),
    "LONG_BINPUT": lambda machine, index: machine.remember(index),
    "MEMOIZE": lambda machine, _: machine.remember(None),
    "GET": _fetch,
    "BINGET": _fetch,
    "LONG_BINGET": _fetch,
    "GLOBAL": _global,
    "STACK_GLOBAL": _global,
    "REDUCE": _reduce,
    "BUILD": _build,
}
