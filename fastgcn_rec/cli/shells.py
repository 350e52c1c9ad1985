"""Scripts that complete a command line in bash, zsh and fish, out of what its parser knows."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Word(NamedTuple):
    """An option, or, without flags, the words that stand alone."""

    flags: tuple[str, ...]
    about: str
    takes: int  # words behind the option: 0, 1, or 2 for one and more
    names: tuple[str, ...]  # that these words may be
    files: bool  # whether they may be files


class Command(NamedTuple):
    name: str
    about: str
    words: list[Word]


_BASH = """\
# {program}: completion in bash, made by `{program} completion bash`.
{function}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} command= option= takes=0 since=0 options= names= files= i word
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        if [[ $word == "=" ]]; then
            continue
        elif [[ -z $command ]]; then
            [[ $word == -* ]] || command=$word
        elif [[ $word == -* ]]; then
            option=$word since=0
        else
            ((since += 1))
        fi
    done
    [[ $current == "=" ]] && current=
    case "$command $option" in
{values}
    esac
    if ((takes == 0 || takes == 1 && since > 0)) || [[ $current == -* ]]; then
        names= files=
        case $command in
{commands}
        esac
    fi
    [[ $current == -* ]] && names=$options files=
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(compgen -W "$names" -- "$current"; [[ -n $files ]] && compgen -f -- "$current")
    [[ -n $files ]] && compopt -o filenames 2> /dev/null
}}
complete -F {function} {program}
"""


def bash(program: str, own: list[Word], commands: list[Command]) -> str:
    values: dict[str, list[str]] = {}
    for command in commands:
        for word in _options(command.words):
            if word.takes:
                sets = f'takes={word.takes} names="{" ".join(word.names)}"{" files=yes" * word.files}'
                values.setdefault(sets, []).extend(f'"{command.name} {flag}"' for flag in word.flags)
    rows = ['"") ' + f'options="{_flags(own)}" names="{" ".join(c.name for c in commands)}" ;;']
    for command in commands:
        names, files = _alone(command.words)
        sets = f'options="{_flags(command.words)}" names="{" ".join(names)}"{" files=yes" * files}'
        rows.append(f"{command.name}) {sets} ;;")
    return _BASH.format(
        program=program,
        function=_function(program),
        values=_indented(8, (f"{' | '.join(of)}) {sets} ;;" for sets, of in values.items())),
        commands=_indented(12, rows),
    )


_ZSH = """\
#compdef {program}
# {program}: completion in zsh, made by `{program} completion zsh`.
{lists}
{function}() {{
    local context state state_descr line
    typeset -A opt_args
    _arguments -S -C \\
{own}
        '1:command:->command' '*::word:->word'
    case $state in
    command)
        local -a commands
        commands=(
{commands}
        )
        _describe command commands
        ;;
    word)
        case $words[1] in
{words}
        esac
        ;;
    esac
}}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    {function} "$@"
else
    compdef {function} {program}
fi
"""


def zsh(program: str, own: list[Word], commands: list[Command]) -> str:
    lists: dict[tuple[str, ...], str] = {}

    def action(names: tuple[str, ...], files: bool) -> str:
        if not names:
            return "_files" if files else " "
        if not files:
            return f"({' '.join(names)})"
        return lists.setdefault(names, f"{_function(program)}_names_{len(lists) + 1}")

    def specs(words: list[Word]) -> list[str]:
        found = []
        for word in _options(words):
            about = _short(word.about).replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
            value = f":{'*-*:' * (word.takes == 2)}value:{action(word.names, word.files)}" if word.takes else ""
            flags = [flag + "=" * (word.takes > 0 and flag.startswith("--")) for flag in word.flags]
            quoted = _quoted(f"[{about}]{value}")
            if len(flags) == 1:
                found.append(f"{flags[0]}{quoted}")
            else:
                found.append(f"'({' '.join(word.flags)})'{{{','.join(flags)}}}{quoted}")
        if any(not word.flags for word in words):
            found.append(_quoted(f"*:word:{action(*_alone(words))}"))
        return found

    of = [f"{c.name})\n{' ' * 16}_arguments -S {_continued(specs(c.words))}\n{' ' * 16};;" for c in commands]
    return _ZSH.format(
        program=program,
        function=_function(program),
        own="\n".join(f"        {spec} \\" for spec in specs(own)),
        commands=_indented(12, (_quoted(f"{c.name}:{_short(c.about)}") for c in commands)),
        words=_indented(12, of),
        lists="\n".join(
            f"{name}() {{ _alternative 'names:name:({' '.join(names)})' 'files:file:_files' }}"
            for names, name in lists.items()
        ),
    )


_FISH = """\
# {program}: completion in fish, made by `{program} completion fish`.
function {function}_command
    for word in (commandline -opc)[2..-1]
        if not string match -q -- '-*' $word
            echo $word
            return
        end
    end
end
function {function}_in
    contains -- "$({function}_command)" $argv
end
function {function}_last_option
    for word in (commandline -opc)[-1..1]
        if string match -q -- '-*' $word
            contains -- $word $argv
            return
        end
    end
    return 1
end
complete -c {program} -f
{lines}
"""


def fish(program: str, own: list[Word], commands: list[Command]) -> str:
    function = _function(program)
    lines = [
        f"complete -c {program} -n '{function}_in \"\"' {_fish_flags(word)} -d {_fish_quoted(_short(word.about))}"
        for word in _options(own)
    ]
    for command in commands:
        about = _fish_quoted(_short(command.about))
        lines.append(f"complete -c {program} -n '{function}_in \"\"' -a {command.name} -d {about}")
    known: dict[Word, list[str]] = {}
    for command in commands:
        for word in _options(command.words):
            known.setdefault(word, []).append(command.name)
        names, files = _alone(command.words)
        if names or files:
            what = " -F" * files + f" -a '{' '.join(names)}'" * bool(names)
            lines.append(f"complete -c {program} -n '{function}_in {command.name}'{what}")
    for word, of in known.items():
        within = f"{function}_in {' '.join(of)}"
        value = _fish_value(word)
        about = _fish_quoted(_short(word.about))
        lines.append(f"complete -c {program} -n '{within}' {_fish_flags(word)}{value} -d {about}")
        if word.takes == 2 and (word.names or word.files):
            after = f"{within}; and {function}_last_option {' '.join(word.flags)}"
            what = " -F" * word.files + f" -a '{' '.join(word.names)}'" * bool(word.names)
            lines.append(f"complete -c {program} -n '{after}'{what}")
    return _FISH.format(program=program, function=function, lines="\n".join(lines))


def _fish_flags(word: Word) -> str:
    return " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in word.flags)


def _fish_value(word: Word) -> str:
    if not word.takes:
        return ""
    return (" -r -F" if word.files else " -x") + f" -a '{' '.join(word.names)}'" * bool(word.names)


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: dict[str, Callable[[str, list[Word], list[Command]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _function(program: str) -> str:
    return f"_{program.replace('-', '_')}"


def _options(words: list[Word]) -> list[Word]:
    return [word for word in words if word.flags]


def _flags(words: list[Word]) -> str:
    return " ".join(flag for word in words for flag in word.flags)


def _alone(words: list[Word]) -> tuple[tuple[str, ...], bool]:
    """What the words that belong to no option may be."""
    alone = [word for word in words if not word.flags]
    return tuple(dict.fromkeys(name for word in alone for name in word.names)), any(word.files for word in alone)


def _short(text: str) -> str:
    return textwrap.shorten(text, 70, placeholder=" ...")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _indented(by: int, lines: Iterable[str]) -> str:
    return "\n".join(" " * by + line for line in lines)


def _continued(specs: list[str]) -> str:
    return " \\\n".join(["", *(f"{' ' * 20}{spec}" for spec in specs)]).lstrip(" ")
