"""The profile that `profiles init` writes: short, commented, and valid as it is."""

from __future__ import annotations

import json

from cachectl.config.target import Environment
from cachectl.config.urls import parse_url

_TEXT = """\
# A profile of cachectl; `cachectl help profiles` explains every field.

# redis://host:port/db   rediss:// with TLS   unix:///path   redis+sentinel://host,host/master
url: {url}

# development, staging or production (gentle pace; changes ask for this profile's name)
environment: {environment}

# The login. A password never stands here, but where to take it from:
# username: cachectl
# password: {{env: CACHE_PASSWORD}}
# password: {{file: secret}}                 # mode 0600, starting at this directory
# password: {{command: [pass, show, cache]}} # a program that prints it; no shell
# password: {{prompt: true}}

{tls}
# true refuses every command that changes a key.
# read_only: true

# timeouts: {{connect: 3s, reply: 5s, loading: 30s}}
# limits: {{max_rate: 20000, max_keys: 100000, max_percent: 5%}}
# thresholds: {{hit_ratio: 80%, memory: 80%}}
# policy: policy.yaml
"""
_TLS = """\
# TLS trusts the system's CAs unless told otherwise; it wants a URL that begins with rediss://
# tls: {ca_file: ca.pem}
"""
DEFAULT_URL = "redis://127.0.0.1:6379/0"


def profile_text(url: str = DEFAULT_URL, environment: Environment = "development") -> str:
    """Return the YAML of a new profile.

    url: without a password. Raises UrlError when it is not valid.
    """
    parse_url(url)
    # A JSON string is a YAML one, and needs no thought about which characters need quotes.
    return _TEXT.format(url=json.dumps(url, ensure_ascii=False), environment=environment, tls=_TLS)
