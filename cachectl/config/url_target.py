"""A server that is given by its URL alone."""

from __future__ import annotations

from dataclasses import replace

from cachectl.config.secrets import Secret
from cachectl.config.target import Target, Tls
from cachectl.config.urls import ServerUrl, UrlError, parse_url
from cachectl.errors import UsageError


def target_of_url(text: str, *, variable: str | None = None) -> Target:
    """Return the Target of a bare URL. variable: the environment variable that it came from.

    Raises UsageError for a URL that is not valid, and for one with a password that did not come
    from the environment: every user of the machine can read the command line of a process.
    """
    try:
        url = parse_url(text)
    except UrlError as error:
        raise UsageError(f"{variable or 'the URL'} {error}", hint=error.hint) from None
    if url.password is not None and variable is None:
        raise UsageError(
            "a password on the command line can be read by everybody on this machine (ps, history)",
            hint="leave it out of --url and set REDISCLI_AUTH, or write a profile: "
            "cachectl profiles init NAME",
        )
    return _target(url, f"environment variable {variable}")


def _target(url: ServerUrl, origin: str) -> Target:
    plain = Target(name=url.master or str(url.addresses[0]))
    password = None if url.password is None else Secret.of(url.password, origin)
    return replace(
        plain,
        topology=url.topology,
        addresses=url.addresses,
        login=replace(plain.login, username=url.username, password=password),
        sentinel_master=url.master,
        database=url.database or 0,
        protocol=url.protocol or plain.protocol,
        tls=Tls() if url.tls else None,
        timeout=url.timeout or plain.timeout,
        connect_timeout=url.timeout or plain.connect_timeout,
    )
