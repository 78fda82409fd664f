"""Completion in a shell after `cvae-lightning` and `python -m cvae_lightning`, which Hydra's own does not complete."""

from collections.abc import Sequence

from cvae_lightning.cli.commands import COMMANDS
from cvae_lightning.cli.keys import Keys
from cvae_lightning.core.build import PACKAGE
from cvae_lightning.core.errors import refuse

BASH = r"""_cvae_lightning() {
    local line="${COMP_LINE:0:$COMP_POINT}" IFS=$'\n'
    local word="${line##* }" module="${line#* -m }" command="${line#* }"
    module="${module%% *}" command="${command%% *}"
    COMPREPLY=()
    case "${1##*/} ${line#* }" in
        "cvae-lightning $word") COMPREPLY=($(compgen -W "COMMANDS" -- "$word")) ;;
        cvae-lightning\ *) COMPREPLY=($("$1" "$command" -sc "query=$word" 2> /dev/null)) ;;
        *\ "-m $word") COMPREPLY=($(compgen -W "MODULES" -- "$word")) ;;
        *\ "-m cvae_lightning"*) COMPREPLY=($("$1" -m "$module" -sc "query=$word" 2> /dev/null)) ;;
    esac
    case "$COMP_WORDBREAKS" in *=*) COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}") ;; esac
}
complete -o default -o nospace -F _cvae_lightning python python3 cvae-lightning
"""
ZSH = f"""whence compdef > /dev/null || {{ autoload -Uz compinit && compinit; }}
autoload -Uz bashcompinit && bashcompinit
{BASH}"""
FISH = r"""function __cvae_lightning
    set -l words (commandline -opc)
    if test "$words[2]" = -m
        $words[1] -m $words[3] -sc query=(commandline -ct) 2> /dev/null
    else if test (count $words) -gt 1
        $words[1] $words[2] -sc query=(commandline -ct) 2> /dev/null
    else
        string split \n "COMMANDS"
    end
end
function __cvae_lightning_is_run
    string match -qr -- '^\S+ -m cvae_lightning\S* ' (commandline -cp)
end
for python in python python3
    complete -c $python -n __cvae_lightning_is_run -f -a '(__cvae_lightning)'
end
complete -c cvae-lightning -f -a '(__cvae_lightning)'
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def asked(arguments: Sequence[str]) -> bool:
    """Whether `arguments` ask for completion."""
    return bool({"-sc", "--shell-completion"} & set(arguments))


def answer(arguments: Sequence[str], config_name: str) -> str:
    """The script that completes in a shell, for install=<shell>, or the completions of a word, for query=<word>.

    The script itself asks the latter. Raises UserError for any other question.
    """
    question, _, value = next((word for word in arguments if "=" in word), "").partition("=")
    if question == "query":
        return "\n".join(Keys(config_name).completed(value))
    if question != "install" or value not in SCRIPTS:
        refuse("install=bash, install=zsh or install=fish", "-sc", " ".join(arguments), "Name one of these.")
    modules = [f"{PACKAGE.name}.{name}".removesuffix(".train") for name in COMMANDS]
    return SCRIPTS[value].replace("COMMANDS", "\n".join(COMMANDS)).replace("MODULES", "\n".join(modules))
