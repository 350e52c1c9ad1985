"""Completion in shells: what the scripts offer, and that they start no Python to know it."""

import os
import re
import shutil
import subprocess

import pytest
from commands import code_of

from fastgcn_rec.cli.program import COMMANDS, parser

SHELLS = ("bash", "zsh", "fish")
# What stands before the cursor, some that are offered, and some that are not.
LINES = [
    ("", {"train", "recommend", "completion"}, {"--help", "plays.csv"}),
    ("train --sp", {"--split"}, {"--sep"}),
    ("train --split t", {"temporal", "temporal-user"}, {"random", "train"}),
    ("train plays.csv --split leave-k-out --by t", {"time"}, {"random", "ml-100k"}),
    ("train pl", {"plays.csv"}, {"my songs.csv"}),
    ("train ml", {"ml-100k", "ml-1m"}, {"gowalla"}),
    ("train --recipe so", {"softmax"}, {"best"}),
    ("train --recipe m", {"mf", "my songs.csv"}, {"ml-100k"}),
    ("train --optimizer a", {"adam", "adagrad"}, {"sgd"}),
    ("train --no-he", {"--no-header"}, {"--header"}),
    ("compare ml-100k --models ease use", {"userknn"}, {"ease"}),
    ("evaluate lists.csv --metrics recall n", {"ndcg", "novelty"}, {"recall"}),
    ("recommend --us", {"--users"}, {"--user", "--users-file"}),
    ("datasets ", {"gowalla"}, {"plays.csv"}),
    ("completion ", set(SHELLS), {"plays.csv"}),
    ("doctor ", set(), {"plays.csv", "train"}),
]
# A terminal of its own, in which Tab is pressed; what zsh adds to its matches is printed.
_ZSHRC = r"""
PROMPT=
autoload -Uz compinit && compinit -u -D
source $SCRIPT
compadd() {
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]]; then
    local -a found
    builtin compadd -A found "$@"
    print -rl -- "" "FOUND:"$^found
  fi
  builtin compadd "$@"
}
finish() { print END; exit }
zle -N finish
bindkey '^I' complete-word '^M' finish
"""
_ZSH = r"""
zmodload zsh/zpty
zpty z "zsh -i"
zpty -w -n z "$1"$'\t\r'
while zpty -r z line; do print -r -- "${line%%$'\r'*}"; [[ $line == *END* ]] && break; done
"""
_BASH = """
source "$SCRIPT"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) PATH=
_fastgcn_rec
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        with (folder / shell).open("w") as out, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", out)
            assert code_of("completion", shell) == 0
    (folder / ".zshrc").write_text(_ZSHRC)
    return folder


def offered(shell, script, line, folder):
    """What a shell offers behind a line, in a folder, where no program is called fastgcn-rec."""
    words = ["fastgcn-rec", *line.split(" ")]
    whole = "fastgcn-rec " + line
    command = {
        "bash": ["bash", "--norc", "-c", _BASH, "bash", *words],
        "zsh": ["zsh", "-f", "-c", _ZSH, "zsh", whole],
        "fish": ["fish", "--no-config", "-c", f"source $SCRIPT; set PATH; complete -C '{whole}'"],
    }[shell]
    env = {**os.environ, "SCRIPT": str(script), "ZDOTDIR": str(script.parent), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    env |= {"HOME": str(script.parent), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    if shell == "zsh":
        return {found.replace("\\ ", " ") for found in re.findall(r"^FOUND:(.*)$", done.stdout, re.MULTILINE)}
    assert done.stderr == ""
    return {found.split("\t")[0] for found in done.stdout.splitlines()}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_offers_what_may_come_next(shell, scripts, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    for name in ("plays.csv", "my songs.csv"):
        (tmp_path / name).touch()
    for line, some, others in LINES:
        found = {one.rstrip("=") for one in offered(shell, scripts / shell, line, tmp_path)}
        if shell == "zsh" and len(some) > 1:  # its first match may be overwritten on the line that is being typed
            assert found & some, (line, found)
        else:
            assert some <= found, (line, found)
        assert found.isdisjoint(others), (line, found)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_every_command_and_option(shell, scripts):
    text = (scripts / shell).read_text()
    whole = parser(tuple(COMMANDS))
    (of,) = (action.choices for action in whole._actions if isinstance(action.choices, dict))
    flags = {flag for one in (whole, *of.values()) for action in one._actions for flag in action.option_strings}
    assert len(flags) > 80
    written = [f"-l {flag[2:]} " if flag.startswith("--") else f"-s {flag[1:]} " for flag in sorted(flags)]
    for word in written if shell == "fish" else sorted(flags):
        assert re.search(rf"(?<![\w-]){re.escape(word.strip())}(?![\w-])", text), word
    for name in of:
        assert re.search(rf"\b{name}\b", text), name
    assert "<class" not in text
    assert "%%" not in text


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_a_value_behind_an_equals_sign_is_completed_too(scripts, tmp_path):
    assert offered("bash", scripts / "bash", "train --split = temporal-", tmp_path) == {"temporal-user"}


def test_an_unknown_shell_is_refused_with_those_that_there_are(capsys):
    assert code_of("completion", "csh") == 2
    assert re.search("'?bash'?, '?zsh'?, '?fish'?", capsys.readouterr().err)
