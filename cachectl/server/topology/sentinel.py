"""Sentinel: who is the primary now? Asked of the sentinels in turn, verified at the node itself."""

from __future__ import annotations

import time
from functools import partial

from cachectl.config.target import Address, Target
from cachectl.errors import AuthenticationError, CachectlError, CannotConnectError
from cachectl.server.topology.node import Node, open_node
from cachectl.server.topology.parallel import first_of
from cachectl.server.wire.addresses import reachable
from cachectl.server.wire.connection import NodeConnection
from cachectl.server.wire.dial import left
from cachectl.server.wire.loading import OnLoading
from cachectl.server.wire.resp import ReplyError, as_dict, as_text

_RETRY = 0.2


class _UnknownNameError(CannotConnectError):
    """A sentinel does not watch a primary of that name. names: those that it watches."""

    def __init__(self, names: list[str]) -> None:
        super().__init__("unknown name")
        self.names = names


def open_primary(target: Target, on_loading: OnLoading | None = None) -> Node:
    """Return the primary that the sentinels name, connected. Raises CannotConnectError.

    A node that turns out to be a replica was demoted a moment ago: the sentinels are asked again
    until the connect timeout is over.
    """
    deadline = time.monotonic() + target.connect_timeout
    while True:
        began = time.monotonic()
        address = find_primary(target, deadline)
        asked = time.monotonic() - began
        node = open_node(target, address, on_loading=on_loading)
        node.connection.durations = {"sentinel": asked, **node.connection.durations}
        if node.facts.role != "replica":
            return node
        node.connection.close()
        if time.monotonic() + _RETRY > deadline:
            raise CannotConnectError(
                f"the sentinels name {address} as the primary of {target.sentinel_master}, "
                "but it says that it is a replica",
                hint="is a failover under way? try again in a moment",
                target=str(address),
            )
        time.sleep(_RETRY)


def find_primary(target: Target, deadline: float) -> Address:
    """Return where the primary is reached from here. deadline: of time.monotonic().

    Raises CannotConnectError when no sentinel answers or none knows the name, and
    AuthenticationError at the first one that refuses the login.
    """
    found = first_of([partial(_ask, target, address, deadline) for address in target.addresses])
    if isinstance(found, Address):
        return found
    raise _nobody_knows(target, found)


def _ask(target: Target, address: Address, deadline: float) -> Address:
    """Return the primary that one sentinel names."""
    sentinel = NodeConnection(target, address, login=target.sentinel_login, database=0)
    sentinel.timeout = min(sentinel.timeout, left(deadline))
    name = target.sentinel_master or ""
    try:
        sentinel.open(deadline)
        reply, masters = sentinel.pipeline(
            [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), ("SENTINEL", "MASTERS")]
        )
    except AuthenticationError as error:
        raise AuthenticationError(
            f"sentinel {error.message}",
            hint="the sentinels' own login is `sentinel.username` and `sentinel.password`",
            target=error.target,
        ) from error
    finally:
        sentinel.close()
    if isinstance(reply, ReplyError):
        raise _no_answer(address, reply)
    if isinstance(reply, list) and len(reply) == 2:
        return reachable(target.address_map, as_text(reply[0]), int(reply[1]))
    known = [] if isinstance(masters, ReplyError) else masters
    raise _UnknownNameError([as_text(as_dict(master).get("name")) for master in known])


def _no_answer(address: Address, reply: ReplyError) -> CannotConnectError:
    if reply.is_unknown_command:
        return CannotConnectError(
            f"{address} is not a Sentinel",
            hint="sentinels usually listen on port 26379, data nodes on 6379",
            target=str(address),
        )
    return CannotConnectError(
        f"sentinel {address} refused to answer: {reply.text}",
        hint="its ACL must allow +sentinel|get-master-addr-by-name",
        target=str(address),
    )


def _nobody_knows(target: Target, errors: list[CachectlError]) -> CannotConnectError:
    denials = [error for error in errors if isinstance(error, _UnknownNameError)]
    if denials:
        names = ", ".join(sorted({name for error in denials for name in error.names}))
        return CannotConnectError(
            f"no sentinel knows a primary named {target.sentinel_master}",
            hint=f"they watch: {names}" if names else "they watch no primary at all",
            target=target.name,
        )
    hint = "check the sentinels' addresses in the profile"
    if len(errors) == 1:
        return CannotConnectError(
            f"the sentinel does not answer: {errors[0].message}",
            hint=errors[0].hint or hint,
            target=target.name,
        )
    reasons = "; ".join(error.message for error in errors)
    return CannotConnectError(
        f"none of the {len(errors)} sentinels answers: {reasons}", hint=hint, target=target.name
    )
