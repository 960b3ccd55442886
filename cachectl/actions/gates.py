"""The gate of our look-ups that other processes can read: server's door, storage's lock."""

from __future__ import annotations

from cachectl.server.topology.gate import Gate, OpenGate


def counted(run_id: str, address: str) -> Gate:
    """Return the gate of a new loop at the node with this run id (server.gate.Gates)."""
    from cachectl.storage.lookups import job_count

    return job_count(run_id, address) or OpenGate()
