"""Clusters and Sentinel groups of real servers, built without redis-cli.

`with start_cluster("redis-8.2", replicas=1) as cluster:` · `with start_sentinel() as group:`
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import redis
from filling import SLOTS, key_slot
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry
from servers import DEFAULT_FLAVOUR, TestServer, start


def wait_until(what: str, condition: Callable[[], object], timeout: float = 30) -> None:
    """Wait until condition() is true; an error of the server counts as "not yet"."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        time.sleep(0.02)
    message = f"not within {timeout:g} s: {what}"
    raise AssertionError(message)


class _Group:
    """Servers that start, stop and are filled together."""

    def __init__(self) -> None:
        self.nodes: list[TestServer] = []

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()


# --- Cluster --------------------------------------------------------------------------------


class TestCluster(_Group):
    """Primaries that share the slots evenly, each with its replicas. Get one by start_cluster."""

    __test__ = False

    def __init__(self, flavour: str) -> None:
        super().__init__()
        self.flavour = flavour
        self.primaries: list[TestServer] = []
        self.replicas: list[TestServer] = []
        self._first_owners: list[int] = []
        self._followed: dict[int, TestServer] = {}  # by the replica's port

    @property
    def url(self) -> str:
        """The first primary's URL: the address that a profile would name."""
        return self.primaries[0].url

    @property
    def addresses(self) -> list[str]:
        """host:port of each primary."""
        return [node.address for node in self.primaries]

    def client(self, **options: Any) -> RedisCluster:
        """Return an independent redis-py cluster client. Close it."""
        nodes = [ClusterNode(node.host, node.port) for node in self.primaries]
        return RedisCluster(
            startup_nodes=nodes,
            retry=Retry(NoBackoff(), 0),
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
            **options,
        )

    def node_id(self, node: TestServer) -> str:
        """Return CLUSTER MYID."""
        reply = node.run("CLUSTER", "MYID")
        return reply.decode() if isinstance(reply, bytes) else str(reply)

    def slot_owners(self) -> list[int]:
        """Return for each slot the index into `primaries` of the node that owns it now."""
        owners = [-1] * SLOTS
        for index, node in enumerate(self.primaries):
            for low, high in _slots_of(node):
                owners[low : high + 1] = [index] * (high - low + 1)
        return owners

    def owner(self, key: bytes) -> TestServer:
        """Return the primary that owns the key's slot now."""
        return self.primaries[self.slot_owners()[key_slot(key)]]

    def keys(self) -> set[bytes]:
        """Return every key of every primary, read by KEYS: the truth to compare with."""
        return {key for node in self.primaries for key in node.run("KEYS", "*")}

    def acquainted(self) -> bool:
        """Whether every running node knows as many nodes as there are."""
        infos = [_cluster_info(node) for node in self.nodes if node.running()]
        return all(info["cluster_known_nodes"] == str(len(self.nodes)) for info in infos)

    def wait_ok(self, timeout: float = 30) -> None:
        """Wait until every running node says that the cluster is fine, and knows all others."""

        def fine() -> bool:
            infos = [_cluster_info(node) for node in self.nodes if node.running()]
            return all(info["cluster_state"] == "ok" for info in infos) and self.acquainted()

        wait_until("the cluster is ok", fine, timeout)

    def reset(self) -> bool:
        """Bring every node back to the state after start; False when it is no longer the same."""
        try:
            for node in self.nodes:
                node.resume()
                node.reset_state()
        except (redis.RedisError, OSError):
            return False
        return not self.replicas and self.slot_owners() == self._first_owners

    def begin_move(self, slot: int, source: TestServer, target: TestServer) -> None:
        """Mark a slot MIGRATING and IMPORTING: from here on, absent keys get ASK or TRYAGAIN."""
        target.run("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.run("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))

    def move_keys(self, slot: int, source: TestServer, target: TestServer) -> int:
        """Move what a marked slot holds now; return how many keys that were."""
        moved = 0
        while keys := source.run("CLUSTER", "GETKEYSINSLOT", slot, 500):
            source.run("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        return moved

    def finish_move(self, slot: int, source: TestServer, target: TestServer) -> None:
        """Tell every primary the slot's new owner, the new owner first."""
        others = [node for node in self.primaries if node not in (target, source)]
        for node in (target, source, *others):
            node.run("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))

    def move_slots(self, slots: Iterable[int], source: TestServer, target: TestServer) -> int:
        """Reshard: move these slots with their keys; return how many keys moved."""
        moved = 0
        for slot in slots:
            self.begin_move(slot, source, target)
            moved += self.move_keys(slot, source, target)
            self.finish_move(slot, source, target)
        return moved

    def follow(self, replica: TestServer, primary: TestServer) -> None:
        """Make replica a replica of primary, and wait until it is one and in step."""
        primary_id = self.node_id(primary)

        def replicating() -> bool:
            replica.run("CLUSTER", "REPLICATE", primary_id)
            return True

        wait_until("the replica knows its primary", replicating)
        _wait_synchronised(replica, primary)
        self._followed[replica.port] = primary

    def replica_of(self, primary: TestServer) -> TestServer:
        """Return a replica of this primary."""
        return next(node for node in self.replicas if self._followed[node.port] is primary)

    def failover(self, primary: TestServer) -> TestServer:
        """Promote the primary's replica gracefully; return the new primary."""
        replica = self.replica_of(primary)
        replica.run("CLUSTER", "FAILOVER")
        self.wait_promoted(primary)
        _wait_synchronised(primary, replica)
        return replica

    def wait_promoted(self, old: TestServer, *, timeout: float = 30) -> TestServer:
        """Wait until old's replica has taken over, as after `old.kill9()`; return it."""
        new = self.replica_of(old)
        wait_until(f"{new} is promoted", lambda: _role(new) == "master", timeout)
        self.primaries[self.primaries.index(old)] = new
        self.replicas[self.replicas.index(new)] = old
        self._followed[old.port] = new
        return new


def _role(node: TestServer) -> str:
    return str(node.info("replication")["role"])


def _cluster_info(node: TestServer) -> dict[str, str]:
    reply = node.run("CLUSTER", "INFO")
    if isinstance(reply, dict):
        return {str(name): str(value) for name, value in reply.items()}
    return dict(line.split(":", 1) for line in reply.decode().split("\r\n") if ":" in line)


def _own_line(node: TestServer) -> list[str]:
    """Return this node's row of CLUSTER NODES, in words."""
    with node.client(protocol=2) as client:
        client.response_callbacks.pop("CLUSTER NODES", None)
        rows = client.execute_command("CLUSTER", "NODES")
    lines: list[str] = rows.decode().splitlines()
    return next(line for line in lines if "myself" in line).split()


def _slots_of(node: TestServer) -> list[tuple[int, int]]:
    ranges = [word for word in _own_line(node)[8:] if not word.startswith("[")]
    bounds = [word.partition("-")[::2] for word in ranges]
    return [(int(low), int(high or low)) for low, high in bounds]


def start_cluster(
    flavour: str = DEFAULT_FLAVOUR,
    *args: str,
    primaries: int = 3,
    replicas: int = 0,
    node_timeout: float = 2.0,
) -> TestCluster:
    """Start a cluster and wait until it is fine (2 to 4 s). replicas: for each primary.

    args: added to every node's command line. node_timeout: seconds until a node counts as dead.
    """
    cluster = TestCluster(flavour)
    try:
        words = ["--cluster-enabled", "yes", "--repl-diskless-sync-delay", "0"]
        words += ["--cluster-node-timeout", str(int(node_timeout * 1000))]
        for _ in range(primaries * (1 + replicas)):
            cluster.nodes.append(start(flavour, *words, *args, bus=True))
        cluster.primaries = cluster.nodes[:primaries]
        cluster.replicas = cluster.nodes[primaries:]
        _share_slots(cluster.primaries)
        _introduce(cluster.nodes)
        cluster._first_owners = cluster.slot_owners()
        wait_until("all nodes know each other", cluster.acquainted)
        for index, node in enumerate(cluster.replicas):
            cluster.follow(node, cluster.primaries[index % primaries])
        cluster.wait_ok()
        for node in cluster.nodes:
            node.remember()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _share_slots(primaries: Sequence[TestServer]) -> None:
    bounds = [SLOTS * i // len(primaries) for i in range(len(primaries) + 1)]
    for epoch, (node, low, high) in enumerate(zip(primaries, bounds, bounds[1:], strict=False), 1):
        # Epochs that differ from the start spare the nodes from settling it among themselves.
        node.run("CLUSTER", "SET-CONFIG-EPOCH", epoch)
        node.run("CLUSTER", "ADDSLOTS", *range(low, high))  # ADDSLOTSRANGE came with 7.0


def _introduce(nodes: Sequence[TestServer]) -> None:
    """Let everybody meet everybody, which is faster than gossip."""
    for node in nodes:
        for other in nodes:
            if node is not other:
                node.run("CLUSTER", "MEET", other.host, other.port)


def _wait_synchronised(replica: TestServer, primary: TestServer) -> None:
    def in_step() -> bool:
        info = replica.info("replication")
        return info["role"] == "slave" and info["master_link_status"] == "up"

    wait_until(f"{replica} follows {primary}", in_step)


def wait_replicated(primary: TestServer) -> None:
    """Wait until every replica of a primary has all that was written to it.

    WAIT would not do: it knows of the writes of its own connection only.
    """

    def in_step() -> bool:
        info = primary.info("replication")
        replicas = [info[name] for name in info if re.fullmatch(r"slave\d+", name)]
        offset = info["master_repl_offset"]
        return bool(replicas) and all(
            one["state"] == "online" and int(one["offset"]) >= offset for one in replicas
        )

    wait_until(f"the replicas of {primary} are in step", in_step)


# --- Sentinel -------------------------------------------------------------------------------


class TestSentinels(_Group):
    """A primary, its replicas, and the Sentinels that watch them. Get one by start_sentinel."""

    __test__ = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.primary: TestServer
        self.replicas: list[TestServer] = []
        self.sentinels: list[TestServer] = []

    @property
    def addresses(self) -> list[str]:
        """host:port of each Sentinel: what a profile would name."""
        return [node.address for node in self.sentinels]

    def current_primary(self) -> TestServer:
        """Return the server that the Sentinels name as primary now."""
        for sentinel in self.sentinels:
            if not sentinel.running():
                continue
            reply = sentinel.run("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
            port = int(reply[1])
            return next(node for node in (self.primary, *self.replicas) if node.port == port)
        message = "no Sentinel is running"
        raise AssertionError(message)

    def wait_settled(self, *, timeout: float = 60) -> None:
        """Wait until every Sentinel sees the primary with all replicas in step, ready for more.

        After a failover it takes Sentinel some ten seconds to make the old primary a replica.
        """

        def settled() -> bool:
            for sentinel in self.sentinels:
                state = _sentinel_master(sentinel, self.name)
                if state["flags"] != "master" or int(state["port"]) != self.primary.port:
                    return False
            return all(
                node.info("replication").get("master_link_status") == "up" for node in self.replicas
            )

        wait_until("the Sentinels have settled", settled, timeout)

    def failover(self, *, timeout: float = 60) -> TestServer:
        """Order a failover by Sentinel; return the new primary once it is one."""
        old = self.primary
        wait_until(
            "the Sentinel has a replica to promote",
            lambda: self.sentinels[0].run("SENTINEL", "FAILOVER", self.name) or True,
            timeout,
        )
        return self.wait_promoted(old, timeout=timeout)

    def wait_promoted(self, old: TestServer, *, timeout: float = 60) -> TestServer:
        """Wait until the Sentinels name another primary than old; return it, and remember it."""

        def moved() -> bool:
            new = self.current_primary()
            return new is not old and _role(new) == "master"

        wait_until("a replica is promoted", moved, timeout)
        new = self.current_primary()
        self.replicas = [node for node in (old, *self.replicas) if node is not new]
        self.primary = new
        return new


def start_sentinel(
    flavour: str = DEFAULT_FLAVOUR,
    *args: str,
    replicas: int = 1,
    sentinels: int = 3,
    name: str = "mymaster",
    password: str | None = None,
    sentinel_password: str | None = None,
    down_after: float = 1.0,
) -> TestSentinels:
    """Start a primary, replicas and Sentinels that agree; wait until they know each other.

    args: added to the data servers' command line. password: of the data servers;
    sentinel_password: of the Sentinels. down_after: seconds until a server counts as down.
    """
    group = TestSentinels(name)
    try:
        login = ["--requirepass", password, "--masterauth", password] if password else []
        data = [*args, *login, "--repl-diskless-sync-delay", "0"]
        group.primary = start(flavour, *data)
        group.nodes.append(group.primary)
        for _ in range(replicas):
            follow = ["--replicaof", group.primary.host, str(group.primary.port)]
            group.replicas.append(start(flavour, *data, *follow))
            group.nodes.append(group.replicas[-1])
        for node in group.nodes:
            node.password = password
        for node in group.replicas:
            _wait_synchronised(node, group.primary)
        for _ in range(sentinels):
            node = start(flavour, sentinel=True)
            group.sentinels.append(node)
            group.nodes.append(node)
            _watch(node, group, sentinels // 2 + 1, password, down_after)
            if sentinel_password:
                node.run("SENTINEL", "CONFIG", "SET", "sentinel-pass", sentinel_password)
        _wait_agreed(group, replicas)
        if sentinel_password:
            for node in group.sentinels:
                node.run("ACL", "SETUSER", "default", f">{sentinel_password}")
                node.password = sentinel_password
    except BaseException:
        group.stop()
        raise
    return group


def _watch(
    node: TestServer, group: TestSentinels, quorum: int, password: str | None, down_after: float
) -> None:
    primary = group.primary
    node.run("SENTINEL", "MONITOR", group.name, primary.host, primary.port, quorum)
    settings = {"down-after-milliseconds": int(down_after * 1000), "failover-timeout": 5000}
    if password:
        settings["auth-pass"] = password  # type: ignore[assignment]
    for option, value in settings.items():
        node.run("SENTINEL", "SET", group.name, option, value)


def _wait_agreed(group: TestSentinels, replicas: int) -> None:
    def agreed() -> bool:
        for node in group.sentinels:
            state = _sentinel_master(node, group.name)
            if int(state["num-other-sentinels"]) != len(group.sentinels) - 1:
                return False
            if int(state["num-slaves"]) != replicas:
                return False
        return True

    wait_until("the Sentinels know each other and the replicas", agreed, 60)


def _sentinel_master(node: TestServer, name: str) -> dict[str, str]:
    with node.client(protocol=2) as client:
        client.response_callbacks.pop("SENTINEL MASTER", None)
        words = [word.decode() for word in client.execute_command("SENTINEL", "MASTER", name)]
    return dict(zip(words[::2], words[1::2], strict=True))
