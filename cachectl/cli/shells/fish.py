"""The completion script for fish, 3.1 and later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cachectl.cli.shells import GENERATED
from cachectl.cli.shells.profile_places import built_in, system_directory
from cachectl.cli.tree import Command, Parameter


def script(root: Command) -> str:
    """Return the script."""
    return (
        _TEMPLATE.replace("@generated@", GENERATED.replace("SHELL", "fish"))
        .replace("@system@", system_directory())
        .replace("@built_in@", built_in())
        .replace("@commands@", "\n".join(_commands(root)))
        .replace("@options@", "\n".join(_options(root)))
        .replace("@valued@", "\n".join(_valued(root)))
        .replace("@values@", "\n".join(_values(root)))
    )


def _commands(root: Command) -> Iterator[str]:
    for command in root.walk():
        if command.children:
            yield _case(" ".join(command.path))
            yield _print((child.path[-1], child.summary) for child in command.children)


def _options(root: Command) -> Iterator[str]:
    for command in root.walk():
        yield _case(" ".join(command.path))
        yield _print((name, option.help) for option in command.options for name in option.names)


def _valued(root: Command) -> Iterator[str]:
    for command in root.walk():
        names = [name for option in command.options if option.takes_value for name in option.names]
        if names:
            yield _case(" ".join(command.path))
            yield f"            printf '%s\\n' {' '.join(names)}"


def _values(root: Command) -> Iterator[str]:
    for command in root.walk():
        path = " ".join(command.path)
        for option in command.options:
            if option.completes != "nothing":
                yield _case(*(f"{path} {name}" for name in option.names))
                yield f"            {_what(option)}"
        for number, argument in enumerate(command.arguments, start=1):
            if argument.completes != "nothing":
                yield _case(f"{path} #{'*' if argument.many else number}")
                yield f"            {_what(argument)}"


def _what(parameter: Parameter) -> str:
    match parameter.completes:
        case "choices":
            return f"printf '%s\\n' {' '.join(parameter.choices)}"
        case "profiles":
            return "__cachectl_profiles"
        case "profiles-or-files":
            return "__cachectl_profiles; __cachectl_files"
    return "__cachectl_files"


def _case(*patterns: str) -> str:
    return f"        case {' '.join(_quoted(pattern) for pattern in patterns)}"


def _print(pairs: Iterable[tuple[str, str]]) -> str:
    words = " ".join(f"{_quoted(name)} {_quoted(text)}" for name, text in pairs)
    return f"            printf '%s\\t%s\\n' {words}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_TEMPLATE = r"""# fish completion of cachectl. @generated@

function __cachectl_profiles
    set -l config ~/.config
    set -q XDG_CONFIG_HOME; and test -n "$XDG_CONFIG_HOME"; and set config $XDG_CONFIG_HOME
    set -l places $config/cachectl/profiles @system@
    set -l shared /tmp
    set -q TMPDIR; and test -n "$TMPDIR"; and set shared $TMPDIR
    for place in $XDG_RUNTIME_DIR/cachectl/profiles $shared/cachectl-(id -u)/profiles
        test -O $place; and set -a places $place
    end
    for file in $places/*.yaml $places/*.yml
        string match -rq '/(?<name>[A-Za-z0-9][A-Za-z0-9._-]*)\.ya?ml$' -- $file
        and printf '%s\tprofile\n' $name
    end
    printf '%s\tprofile\n' @built_in@
end

function __cachectl_files
    __fish_complete_path (commandline -ct | string replace -r '^--[^=]*=' '')
end

function __cachectl_commands
    switch "$argv[1]"
@commands@
    end
end

function __cachectl_options
    switch "$argv[1]"
@options@
    end
end

function __cachectl_valued
    switch "$argv[1]"
@valued@
    end
end

# What stands as the value of an option (`scan --output`) or as an argument (`keys show #1`).
function __cachectl_value
    switch "$argv[1]"
@values@
    end
end

function __cachectl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l path
    set -l expects
    set -l only_arguments
    set -l count 1
    for word in $words[2..-1]
        if test -n "$expects"
            set expects
        else if test "$word" = --
            set only_arguments yes
        else if string match -q -- '-?*' $word; and test -z "$only_arguments"
            contains -- $word (__cachectl_valued "$path"); and set expects $word
        else if contains -- $word (__cachectl_commands "$path" | string replace -r '\t.*' '')
            set -a path $word
        else
            set count (math $count + 1)
        end
    end
    if test -n "$expects"
        __cachectl_value "$path $expects"
    else if string match -rq '^(?<option>--[^=]+=)' -- $current
        set -l name (string replace = '' -- $option)
        printf "$option%s\n" (__cachectl_value "$path $name")
    else if string match -q -- '-*' $current; and test -z "$only_arguments"
        __cachectl_options "$path"
    else
        test $count = 1; and __cachectl_commands "$path"
        __cachectl_value "$path #$count"
    end
end

complete -c cachectl -f -a '(__cachectl_complete)'
"""
