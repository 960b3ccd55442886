"""Where the scripts look for profiles: the places of config.locate, in the words of a shell."""

from __future__ import annotations

USER = "${XDG_CONFIG_HOME:-$HOME/.config}/cachectl/profiles"
"""For bash and zsh: the directory of the user's own profiles."""

OWN = (
    "${XDG_RUNTIME_DIR:-/nonexistent}/cachectl/profiles",
    "${TMPDIR:-/tmp}/cachectl-$UID/profiles",
)
"""For bash and zsh: directories that count only when they are this user's."""


def system_directory() -> str:
    """Return the directory of profiles for all users."""
    from cachectl.config.locate import SYSTEM_DIRECTORY

    return str(SYSTEM_DIRECTORY)


def built_in() -> str:
    """Return the names of the built-in profiles, as words."""
    from cachectl.config.locate import BUILT_INS

    return " ".join(sorted(BUILT_INS))


def in_posix_shells(template: str) -> str:
    """Fill the places into the script of bash or zsh."""
    return (
        template.replace("@user@", f'"{USER}" "{system_directory()}"')
        .replace("@own@", " ".join(f'"{place}"' for place in OWN))
        .replace("@built_in@", built_in())
    )
