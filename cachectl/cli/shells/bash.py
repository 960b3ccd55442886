"""The completion script for bash: 3.2 (macOS) and later, with or without bash-completion."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from cachectl.cli.shells import GENERATED
from cachectl.cli.shells.profile_places import in_posix_shells
from cachectl.cli.tree import Command, Parameter


def script(root: Command) -> str:
    """Return the script."""
    return (
        in_posix_shells(_TEMPLATE)
        .replace("@generated@", GENERATED.replace("SHELL", "bash"))
        .replace("@commands@", "\n".join(_commands(root)))
        .replace("@values@", "\n".join(_values(root)))
    )


def _commands(root: Command) -> Iterator[str]:
    for command in root.walk():
        options = [name for option in command.options for name in option.names]
        valued = [name for o in command.options if o.takes_value for name in o.names]
        yield f"    {quote(' '.join(command.path))})"
        yield f"        commands={quote(' '.join(child.path[-1] for child in command.children))}"
        yield f"        options={quote(' '.join(options))}"
        yield f"        valued={quote(' '.join(valued))} ;;"


def _values(root: Command) -> Iterator[str]:
    for command in root.walk():
        path = " ".join(command.path)
        for option in command.options:
            if option.completes != "nothing":
                patterns = "|".join(quote(f"{path} {name}") for name in option.names)
                yield f"    {patterns}) {_what(option)} ;;"
        for number, argument in enumerate(command.arguments, start=1):
            if argument.completes != "nothing":
                position = "*" if argument.many else quote(str(number))
                yield f"    {quote(f'{path} #')}{position}) {_what(argument)} ;;"


def _what(parameter: Parameter) -> str:
    if parameter.completes == "choices":
        return f"what=choices choices={quote(' '.join(parameter.choices))}"
    return f"what={parameter.completes}"


_TEMPLATE = r"""# bash completion of cachectl. @generated@

_cachectl_profiles() {
    local place file name
    local places=(@user@)
    for place in @own@; do
        [[ -O $place ]] && places+=("$place")
    done
    for place in "${places[@]}"; do
        for file in "$place"/*.yaml "$place"/*.yml; do
            name=${file##*/} name=${name%.yaml} name=${name%.yml}
            [[ -e $file && $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] && printf '%s\n' "$name"
        done
    done
    printf '%s\n' @built_in@
}

# What there is after these words of the command: sets commands, options, valued.
_cachectl_command() {
    case $1 in
@commands@
    esac
}

# What stands as the value of an option (`scan --output`) or as an argument (`keys show #1`).
_cachectl_value() {
    case $1 in
@values@
    *) what=nothing ;;
    esac
}

_cachectl() {
    local cur=${COMP_WORDS[COMP_CWORD]} path= expects= only_arguments= count=0 i word
    local commands options valued what choices IFS=$' \t\n'
    COMPREPLY=()
    _cachectl_command ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == : ]]; then # bash takes a URL or a key apart at its colons
            ((i++))
        elif [[ -n $expects ]]; then
            [[ $word == '=' ]] || expects=
        elif [[ $word == -- ]]; then
            only_arguments=yes
        elif [[ $word == -?* && -z $only_arguments ]]; then
            [[ " $valued " == *" $word "* ]] && expects=$word
        elif [[ " $commands " == *" $word "* ]]; then
            path=${path:+$path }$word
            _cachectl_command "$path"
        else
            ((count++))
        fi
    done
    [[ $cur == '=' || $cur == : ]] && cur=

    if [[ -n $expects ]]; then
        _cachectl_value "$path $expects"
    elif [[ $cur == -* && -z $only_arguments ]]; then
        what=choices choices=$options
    elif [[ -n $commands && $count == 0 ]]; then
        what=choices choices=$commands
    else
        _cachectl_value "$path #$((count + 1))"
    fi

    if [[ $what == profiles* ]]; then
        choices=$(_cachectl_profiles)
        [[ $what == profiles-or-files && $cur == *[/.~]* ]] && what=files || what=choices
    fi
    case $what in
    choices) while IFS= read -r word; do COMPREPLY+=("$word"); done \
        < <(compgen -W "$choices" -- "$cur") ;;
    files)
        compopt -o filenames 2>/dev/null
        while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$cur") ;;
    esac
}

complete -F _cachectl cachectl
"""
