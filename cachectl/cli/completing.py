"""What can stand in the place of an argument, for the completions of every shell.

`autocompletion=completing.profiles` on a parameter does two things: Typer's own protocol calls the
function, and the generated scripts, which start no program, look up the same in the shell.
"""

from __future__ import annotations


def profiles(incomplete: str) -> list[str]:
    """Names of profiles."""
    from cachectl.config.locate import profile_names

    return [name for name in profile_names() if name.startswith(incomplete)]


def profiles_or_files(incomplete: str) -> list[str]:
    """Names of profiles; the scripts offer files besides."""
    return profiles(incomplete)


def topics(incomplete: str) -> list[str]:
    """Help topics and commands."""
    from cachectl.cli.app import COMMANDS
    from cachectl.cli.help import topic_names

    names = dict.fromkeys([*topic_names(), *COMMANDS])
    return [name for name in names if name.startswith(incomplete)]


def policies(incomplete: str) -> list[str]:
    """Examples of policies."""
    from cachectl.config.policy_template import example_names

    return [name for name in example_names() if name.startswith(incomplete)]
