"""The shape of a command: its name, the namespaces of its keys, and nothing of what it carried.

`SET session:4711 {"user": 1} EX 60` is `SET session:{id} ? EX ?`. Only words that are known to be
syntax, and names of keys as templates, are kept; whatever else stands in a command may be a value,
a password or a script, and becomes `?`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cachectl.analysis.naming.templates import template

_FIRST_KEY = frozenset(
    b"get set setnx setex psetex getset getdel getex append strlen incr decr incrby decrby "
    b"incrbyfloat setrange getrange substr setbit getbit bitcount bitpos bitfield bitfield_ro "
    b"hset hsetnx hget hmset hmget hdel hlen hstrlen hkeys hvals hgetall hexists hincrby "
    b"hincrbyfloat hscan hrandfield hexpire hpexpire httl hpttl hpersist hgetex hsetex hgetdel "
    b"lpush rpush lpushx rpushx lpop rpop llen lrange lindex linsert lset lrem ltrim lpos "
    b"sadd srem smembers sismember smismember scard spop srandmember sscan "
    b"zadd zrem zscore zmscore zincrby zcard zcount zlexcount zrange zrevrange zrangebyscore "
    b"zrevrangebyscore zrangebylex zrevrangebylex zrank zrevrank zpopmin zpopmax zrandmember "
    b"zremrangebyrank zremrangebyscore zremrangebylex zscan "
    b"xadd xlen xrange xrevrange xdel xtrim xack xclaim xautoclaim xpending xsetid "
    b"expire pexpire expireat pexpireat expiretime pexpiretime persist ttl pttl type dump restore "
    b"sort sort_ro pfadd geoadd geodist geohash geopos georadius georadiusbymember geosearch "
    b"move delifeq delex digest vadd vsim vcard vrem".split()
)
_ALL_KEYS = frozenset(
    b"del unlink exists touch mget watch sunion sinter sdiff sunionstore sinterstore sdiffstore "
    b"pfcount pfmerge rename renamenx".split()
)
_TWO_KEYS = frozenset(
    b"smove rpoplpush brpoplpush lmove blmove copy zrangestore geosearchstore lcs".split()
)
_PAIRS = frozenset((b"mset", b"msetnx"))
_ALL_BUT_LAST = frozenset((b"blpop", b"brpop", b"bzpopmin", b"bzpopmax"))
_COUNTED_FIRST = frozenset(
    (b"zunion", b"zinter", b"zdiff", b"zintercard", b"sintercard", b"lmpop", b"zmpop")
)
_COUNTED_SECOND = frozenset(
    b"eval evalsha eval_ro evalsha_ro fcall fcall_ro zunionstore zinterstore zdiffstore "
    b"blmpop bzmpop".split()
)
_CONTAINERS = frozenset(
    b"object memory xgroup xinfo config client cluster acl debug script function latency slowlog "
    b"commandlog command pubsub module".split()
)
_KEY_AFTER_WORD = frozenset((b"object", b"xgroup", b"xinfo"))
_KEY_AFTER_WORDS = frozenset((b"MEMORY USAGE", b"DEBUG OBJECT"))
_PATTERNS = frozenset((b"keys",))
_SYNTAX = frozenset(
    b"ex px exat pxat keepttl nx xx gt lt ch incr get withscores withvalues withcoord withdist "
    b"limit count match type by asc desc alpha store rev byscore bylex bylex bybox byradius left "
    b"right before after block streams group noack maxlen minid nomkstream async sync replace "
    b"absttl idletime freq weights aggregate sum min max samples any fields fnx fxx".split()
)
_SHOWN_ARGUMENTS = 8
_CUT = re.compile(rb"\.\.\. \((\d+) more (?:arguments|bytes)\)$")
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9_.-]{0,40}")


def shape_of(arguments: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return (shape, namespace of the first key): what may be shown of a logged command."""
    if not arguments:
        return b"(empty)", b""
    name = arguments[0].lower()
    if not _WORD.fullmatch(name):
        return b"(not a command)", b""
    rest = list(arguments[1:])
    words = [name.upper()]
    if name in _CONTAINERS and rest and _WORD.fullmatch(rest[0]):
        words.append(rest.pop(0).upper())
    more = 0
    if rest and (cut := _CUT.fullmatch(rest[-1])):
        more = int(cut[1])
        rest.pop()
    keys = {0} if b" ".join(words) in _KEY_AFTER_WORDS else key_positions(name, rest)
    pieces = [_piece(name, one, index in keys) for index, one in enumerate(rest)]
    shown = _folded(pieces, more)
    first = min((index for index in keys if index < len(rest)), default=None)
    namespace = template(rest[first]) if first is not None else b""
    return b" ".join([*words, *shown]), namespace


def key_positions(name: bytes, rest: Sequence[bytes]) -> set[int]:
    """Return which arguments of a command are keys. name: in lower case; rest: its arguments."""
    if name in _FIRST_KEY or name in _KEY_AFTER_WORD:
        return {0}
    if name in _ALL_KEYS:
        return set(range(len(rest)))
    if name in _TWO_KEYS:
        return {0, 1}
    if name in _PAIRS:
        return set(range(0, len(rest), 2))
    if name in _ALL_BUT_LAST:
        return set(range(len(rest) - 1))
    if name in _COUNTED_FIRST:
        return _counted(rest, 0)
    if name in _COUNTED_SECOND:
        stores = {0} if name.endswith(b"store") else set()
        return stores | _counted(rest, 1)
    if name in (b"xread", b"xreadgroup"):
        at = next((i for i, one in enumerate(rest) if one.lower() == b"streams"), len(rest))
        after = len(rest) - at - 1
        return set(range(at + 1, at + 1 + (after + 1) // 2))
    return set()


def _counted(rest: Sequence[bytes], at: int) -> set[int]:
    if at >= len(rest) or not rest[at].isdigit():
        return set()
    return set(range(at + 1, min(len(rest), at + 1 + int(rest[at][:6]))))


def _piece(name: bytes, argument: bytes, is_key: bool) -> bytes:
    if is_key or name in _PATTERNS:
        if cut := re.search(rb"\.\.\. \(\d+ more bytes\)$", argument):
            argument = argument[: cut.start()]
        return argument if name in _PATTERNS else template(argument)
    return argument.upper() if argument.lower() in _SYNTAX else b"?"


def _folded(pieces: Sequence[bytes], more: int) -> list[bytes]:
    """Say what repeats once: `MGET user:{id} …` whether it was of 3 keys or of 300."""
    shown: list[bytes] = []
    index = 0
    while index < len(pieces) and len(shown) < _SHOWN_ARGUMENTS:
        for width in (1, 2):
            unit = list(pieces[index : index + width])
            end = index + width
            while list(pieces[end : end + width]) == unit:
                end += width
            if end > index + width and (width == 1 or len(set(unit)) == width):
                shown += [*unit, "…".encode()]
                index = end
                break
        else:
            shown.append(pieces[index])
            index += 1
    rest = "…".encode()
    if (index < len(pieces) or more) and (not shown or shown[-1] != rest):
        shown.append(rest)
    return shown
