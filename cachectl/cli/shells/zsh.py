"""The completion script for zsh: a function for `fpath`."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from cachectl.cli.shells import GENERATED
from cachectl.cli.shells.profile_places import in_posix_shells
from cachectl.cli.tree import Command, Parameter

_ACTIONS = {
    "nothing": " ",
    "files": "_files",
    "profiles": "__cachectl_profiles",
    "profiles-or-files": "__cachectl_profiles_or_files",
}


def script(root: Command) -> str:
    """Return the script."""
    functions = [_group(c) if c.children else _leaf(c) for c in reversed(list(root.walk()))]
    return (
        in_posix_shells(_TEMPLATE)
        .replace("@generated@", GENERATED.replace("SHELL", "zsh"))
        .replace("@functions@", "\n".join(functions))
    )


def _function(command: Command) -> str:
    return "_".join(("_cachectl", *command.path)) if command.path else "_cachectl"


def _group(command: Command) -> str:
    described = "\n".join(
        f"            {quote(f'{child.path[-1]}:{child.summary}')}" for child in command.children
    )
    cases = "\n".join(
        f"        {child.path[-1]}) {_function(child)} && ret=0 ;;" for child in command.children
    )
    if command.runs:
        cases += f"\n        *) _arguments -s \\\n{_all_specs(command)} && ret=0 ;;"
    return f"""
{_function(command)}() {{
    local curcontext=$curcontext state ret=1
    local -a line commands
    _arguments -C -s \\
{_specs(command)}
        '1: :->command' \\
        '*:: :->words' && ret=0
    case $state in
    command)
        commands=(
{described}
        )
        _describe -t commands command commands && ret=0 ;;
    words)
        curcontext=${{curcontext%:*:*}}:cachectl-$line[1]:
        case $line[1] in
{cases}
        esac ;;
    esac
    return ret
}}"""


def _leaf(command: Command) -> str:
    return f"""
{_function(command)}() {{
    _arguments -s \\
{_all_specs(command)}
}}"""


def _all_specs(command: Command) -> str:
    arguments = [
        f"        {quote(_argument(argument, number))} \\"
        for number, argument in enumerate(command.arguments, start=1)
    ]
    return "\n".join([_specs(command), *arguments]).removesuffix(" \\")


def _argument(argument: Parameter, number: int) -> str:
    position = "*" if argument.many else str(number)
    optional = "" if argument.required or argument.many else ":"
    return f"{position}:{optional}{_plain(argument.metavar)}:{_action(argument)}"


def _specs(command: Command) -> str:
    return "\n".join(f"        {line} \\" for option in command.options for line in _spec(option))


def _spec(option: Parameter) -> Iterator[str]:
    """Yield one spec for each name; the names exclude each other unless it can be repeated."""
    others = "*" if option.many else f"({' '.join(option.names)})"
    text = option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    for name in option.names:
        if option.takes_value:
            sign = "=" if name.startswith("--") else "+"
            yield quote(f"{others}{name}{sign}[{text}]:{_plain(option.metavar)}:{_action(option)}")
        else:
            yield quote(f"{others}{name}[{text}]")


def _action(parameter: Parameter) -> str:
    if parameter.completes == "choices":
        return f"({' '.join(parameter.choices)})"
    return _ACTIONS[parameter.completes]


def _plain(text: str) -> str:
    return text.replace(":", "\\:")


_TEMPLATE = r"""#compdef cachectl
# zsh completion of cachectl. @generated@

__cachectl_profiles() {
    local -a names places=(@user@)
    local place
    for place in @own@; do
        [[ -O $place ]] && places+=("$place")
    done
    for place in $places; do
        names+=($place/[A-Za-z0-9]*.(yaml|yml)(N:t:r))
    done
    names+=(@built_in@)
    compadd "$@" -- ${(u)names}
}

__cachectl_profiles_or_files() {
    _alternative 'profiles:profile:__cachectl_profiles' \
        'files:file of a profile:_files -g "*.(yaml|yml)"'
}
@functions@

if [[ ${funcstack[1]} == _cachectl ]]; then
    _cachectl "$@"
else
    compdef _cachectl cachectl
fi
"""
