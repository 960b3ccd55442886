"""`warm verify` as its users meet it: exit codes, formats, repair under guards."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest
from programs import cachectl

MANIFEST = """\
manifest: 1
sources:
  products:
    file: products.ndjson
entries:
  - source: products
    key: "product:{id}"
    ttl: 1h
"""


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "catalogue.yaml"
    path.write_text(MANIFEST)
    lines = [json.dumps({"id": i, "name": f"n{i}"}) for i in range(50)]
    (tmp_path / "products.ndjson").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def warm(any_server, manifest):
    def run(command, *words):
        return cachectl("--url", any_server.url, "warm", command, manifest, *words)

    run("run").check(0)
    return run


def test_findings_are_exit_code_1_until_they_are_repaired(any_server, warm):
    fine = warm("verify", "-o", "json").check(0).json
    assert (fine["checked"], fine["ok"], fine["missing"], fine["different"]) == (50, 50, 0, 0)
    assert fine["cache_p50"] > 0
    assert fine["source_p95"] is not None
    any_server.admin.delete("product:1")
    found = warm("verify", "-o", "json").check(1).json
    assert (found["missing"], found["wrong_keys"][0]["key"]) == (1, "product:1")
    assert found["findings"][0]["id"] == "warm.missing"
    warm("verify", "--fail-on", "none").check(0)
    assert warm("verify", "--repair", "-o", "json").check(0).json["repaired"] == 1
    warm("verify").check(0)


def test_junit_and_a_sample(any_server, warm):
    any_server.admin.delete(*(f"product:{i}" for i in range(25)))
    document = ET.fromstring(warm("verify", "-o", "junit").check(1).out)
    assert [case.get("name") for case in document.iter("testcase")] == ["entry.products"]
    assert len(list(document.iter("failure"))) == 1
    sampled = warm("verify", "--sample", "20", "-o", "json").check(1).json
    assert sampled["checked"] == 20
    assert sampled["wrong_low"] <= sampled["wrong"] <= sampled["wrong_high"]


def test_repair_is_guarded(any_server, manifest, tmp_path):
    profile = tmp_path / "prod.yaml"
    text = f"host: {any_server.host}\nport: {any_server.port}\nenvironment: production\n"
    profile.write_text(text)
    cachectl("-p", profile, "warm", "verify", manifest).check(1)
    assert (
        "--confirm"
        in cachectl("-p", profile, "warm", "verify", manifest, "--repair").check(5).stderr
    )
    assert any_server.admin.dbsize() == 0
    words = ("warm", "verify", manifest, "--repair", "--confirm", "prod")
    cachectl("-p", profile, *words).check(0)
    assert any_server.admin.dbsize() == 50
