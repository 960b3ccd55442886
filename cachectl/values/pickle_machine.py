"""Follow the opcodes of a pickle on a stack of our own, on which nothing runs.

`pickletools.genops` only takes the bytes apart. Here a class is its name and a call is a Thing:
nothing is imported and nothing is called. Opcodes: the docstrings of Lib/pickletools.py.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

from cachectl.values.plain import Pairs, Thing, shorten
from cachectl.values.sample import Limits

LISTED_OPCODES = 100


class _BrokenError(ValueError):
    """The opcodes take from an empty stack: not a pickle, or a damaged one."""


class _Mark:
    """What MARK puts on the stack."""


@dataclass(slots=True)
class Machine:
    """Follows the opcodes.

    imports: what a load would import; calls: whether it would call it. listing: one line for each
    of the first opcodes. end: offset after STOP, None when it was not reached; then result is what
    a load would return.
    """

    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    imports: list[str] = field(default_factory=list)
    calls: bool = False
    opcodes: int = 0
    listing: list[str] = field(default_factory=list)
    end: int | None = None
    result: object = None

    def step(self, opcode: pickletools.OpcodeInfo, argument: object) -> None:
        """Do to the stack what one opcode does; raise _BrokenError when it cannot."""
        name = opcode.name
        if name in _PUSHES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _ACTIONS:
            _ACTIONS[name](self, argument)

    def _pop(self) -> object:
        if not self.stack:
            raise _BrokenError
        return self.stack.pop()

    def _pop_mark(self) -> list[object]:
        for index in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[index], _Mark):
                items = self.stack[index + 1 :]
                del self.stack[index:]
                return items
        raise _BrokenError

    def _top(self) -> object:
        if not self.stack or isinstance(self.stack[-1], _Mark):
            raise _BrokenError
        return self.stack[-1]

    def _put(self, index: object) -> None:
        self.memo[int(str(index))] = self._top()

    def _get(self, index: object) -> None:
        key = int(str(index))
        if key not in self.memo:
            raise _BrokenError
        self.stack.append(self.memo[key])

    def _take(self, count: int) -> None:
        items = [self._pop() for _ in range(count)]
        self.stack.append(items[::-1])

    def _extend(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, Thing):
            target.parts.append(("items", items))
        elif isinstance(target, list) and not isinstance(target, Pairs):
            target.extend(items)
        else:
            raise _BrokenError

    def _set_items(self, items: list[object]) -> None:
        target = self._top()
        pairs = Pairs(zip(items[::2], items[1::2], strict=len(items) % 2 == 0))
        if isinstance(target, Pairs):
            target.extend(pairs)
        elif isinstance(target, Thing):
            target.parts.append(("items", pairs))
        else:
            raise _BrokenError

    def _mapping(self, _: object) -> None:
        items = self._pop_mark()
        self.stack.append(Pairs())
        self._set_items(items)

    def _refer(self, name: str) -> None:
        self.imports.append(name)
        self.stack.append(Thing(name))

    def _call(self, function: object, arguments: object) -> None:
        self.calls = True
        name = function.name if isinstance(function, Thing) else "something computed"
        self.stack.append(_known(name, arguments))

    def _reduce(self, _: object) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _new_with_keywords(self, _: object) -> None:
        keywords, arguments = self._pop(), self._pop()
        self._call(self._pop(), [arguments, keywords])

    def _stack_global(self, _: object) -> None:
        name, module = self._pop(), self._pop()
        self._refer(f"{_word(module)}.{_word(name)}")

    def _instance(self, argument: object) -> None:
        arguments = self._pop_mark()
        self._refer(str(argument).replace(" ", "."))
        self._call(self._pop(), arguments)

    def _instance_of_stack(self, _: object) -> None:
        function, *arguments = self._pop_mark() or [None]
        self._call(function, arguments)

    def _build(self, _: object) -> None:
        state = self._pop()
        self.calls = True
        target = self._top()
        if isinstance(target, Thing):
            target.parts.append(("state", state))


def follow(data: bytes, limits: Limits) -> tuple[Machine, str | None]:
    """Return the machine after the last opcode, and what is wrong with the bytes, or None."""
    machine = Machine()
    problem = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in the texts of protocol 0
            for opcode, argument, position in pickletools.genops(data):
                if machine.opcodes >= limits.opcodes:
                    break
                machine.opcodes += 1
                if len(machine.listing) < LISTED_OPCODES:
                    machine.listing.append(_opcode_line(position or 0, opcode.name, argument))
                if opcode.name == "STOP":
                    machine.result = machine._top()
                    machine._pop()
                    machine.end = (position or 0) + 1
                    break
                machine.step(opcode, argument)
    except _BrokenError:
        problem = "an opcode finds nothing on the stack"
    except ValueError as error:
        problem = shorten(str(error), 100)
    return machine, problem


def _opcode_line(position: int, name: str, argument: object) -> str:
    if argument is None:
        return f"  {position:>6}  {name}"
    if isinstance(argument, int) and argument.bit_length() > 256:
        return f"  {position:>6}  {name} integer of {argument.bit_length():,} bits"
    if isinstance(argument, str | bytes | bytearray):
        argument = argument[:80]
    return f"  {position:>6}  {name} {shorten(repr(argument), 80)}"


def _word(value: object) -> str:
    return value if isinstance(value, str) else "?"


def _known(name: str, arguments: object) -> object:
    """Spell the types that every cache holds; any other call keeps its class and arguments."""
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    if name in ("datetime.datetime", "datetime.date") and isinstance(first, bytes):
        return Thing(name, Pairs([("value", _date(first))]))
    if name == "_codecs.encode" and isinstance(first, str):  # how protocols 0 to 2 spell bytes
        return first.encode("latin-1", "replace")
    if name == "collections.OrderedDict" and not arguments:
        return Pairs()
    if name in ("copyreg._reconstructor", "copy_reg._reconstructor") and isinstance(first, Thing):
        return Thing(first.name)
    return Thing(name, Pairs([("arguments", arguments)]) if arguments else Pairs())


def _date(packed: bytes) -> object:
    """Year (2 bytes), month, day, then hour, minute, second, microsecond (3 bytes)."""
    if len(packed) not in (4, 10):
        return packed
    day = f"{packed[0] * 256 + packed[1]:04}-{packed[2] & 0x7F:02}-{packed[3]:02}"
    if len(packed) == 4:
        return day
    fraction = int.from_bytes(packed[7:10])
    time = f"{packed[4] & 0x7F:02}:{packed[5]:02}:{packed[6]:02}"
    return f"{day}T{time}" + (f".{fraction:06}" if fraction else "")


_PUSHES = frozenset(
    {
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "FLOAT",
        "BINFLOAT",
    }
)
_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": Pairs,
    "MARK": _Mark,
    "NEXT_BUFFER": lambda: Thing("out-of-band buffer"),
}


def _extension(machine: Machine, code: object) -> None:
    machine._refer(f"copyreg extension {code}")


_ACTIONS: dict[str, Callable[[Machine, object], object]] = {
    "POP": lambda machine, _: machine._pop(),
    "DUP": lambda machine, _: machine.stack.append(machine._top()),
    "POP_MARK": lambda machine, _: machine._pop_mark(),
    "LIST": lambda machine, _: machine.stack.append(machine._pop_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(machine._pop_mark()),
    "FROZENSET": lambda machine, _: machine.stack.append(machine._pop_mark()),
    "TUPLE1": lambda machine, _: machine._take(1),
    "TUPLE2": lambda machine, _: machine._take(2),
    "TUPLE3": lambda machine, _: machine._take(3),
    "DICT": Machine._mapping,
    "APPEND": lambda machine, _: machine._extend([machine._pop()]),
    "APPENDS": lambda machine, _: machine._extend(machine._pop_mark()),
    "ADDITEMS": lambda machine, _: machine._extend(machine._pop_mark()),
    "SETITEM": lambda machine, _: machine._set_items([machine._pop(), machine._pop()][::-1]),
    "SETITEMS": lambda machine, _: machine._set_items(machine._pop_mark()),
    "PUT": Machine._put,
    "BINPUT": Machine._put,
    "LONG_BINPUT": Machine._put,
    "MEMOIZE": lambda machine, _: machine._put(len(machine.memo)),
    "GET": Machine._get,
    "BINGET": Machine._get,
    "LONG_BINGET": Machine._get,
    "GLOBAL": lambda machine, argument: machine._refer(str(argument).replace(" ", ".")),
    "STACK_GLOBAL": Machine._stack_global,
    "REDUCE": Machine._reduce,
    "NEWOBJ": Machine._reduce,
    "NEWOBJ_EX": Machine._new_with_keywords,
    "INST": Machine._instance,
    "OBJ": Machine._instance_of_stack,
    "BUILD": Machine._build,
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
    "PERSID": lambda machine, argument: machine.stack.append(
        Thing("persistent id", Pairs([("id", argument)]))
    ),
    "BINPERSID": lambda machine, _: machine.stack.append(
        Thing("persistent id", Pairs([("id", machine._pop())]))
    ),
}
