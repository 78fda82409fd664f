"""Completion in a shell: python -m cvae_lightning -sc install=bash. Hydra's own does not know `python -m`."""

import re
from collections.abc import Sequence

from cvae_lightning.cli.keys import Keys
from cvae_lightning.core.build import CONF
from cvae_lightning.core.errors import refuse

BASH = r"""_cvae_lightning() {
    local line="${COMP_LINE:0:$COMP_POINT}" IFS=$'\n'
    local word="${line##* }" module="${line#* -m }"
    module="${module%% *}"
    COMPREPLY=()
    case "$line" in
        "$1 -m $word") COMPREPLY=($(compgen -W "MODULES" -- "$word")) ;;
        "$1 -m cvae_lightning"*) COMPREPLY=($("$1" -m "$module" -sc "query=$word" 2> /dev/null)) ;;
    esac
    case "$COMP_WORDBREAKS" in *=*) COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*=}"}"}") ;; esac
}
complete -o default -o nospace -F _cvae_lightning python python3
"""
ZSH = f"""whence compdef > /dev/null || {{ autoload -Uz compinit && compinit; }}
autoload -Uz bashcompinit && bashcompinit
{BASH}"""
FISH = r"""function __cvae_lightning
    set -l words (commandline -opc)
    $words[1] -m $words[3] -sc query=(commandline -ct) 2> /dev/null
end
function __cvae_lightning_is_run
    string match -qr -- '^\S+ -m cvae_lightning\S* ' (commandline -cp)
end
for python in python python3
    complete -c $python -n __cvae_lightning_is_run -f -a '(__cvae_lightning)'
end
"""
SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def asked(arguments: Sequence[str]) -> bool:
    return bool({"-sc", "--shell-completion"} & set(arguments))


def answer(arguments: Sequence[str], config_name: str) -> str:
    """The script for a shell, to install=<shell>; or what a word may become, to query=<word>, which the script asks.

    Raises UserError for another shell.
    """
    question, _, value = next((word for word in arguments if "=" in word), "").partition("=")
    if question == "query":
        return "\n".join(Keys(config_name).completed(value))
    if question != "install" or value not in SCRIPTS:
        refuse("install=bash, install=zsh or install=fish", "-sc", " ".join(arguments), "Name one of these.")
    return SCRIPTS[value].replace("MODULES", "\n".join(_modules()))


def _modules() -> list[str]:
    """Those that `python -m` runs, as their help says."""
    texts = (file.read_text(encoding="utf-8") for file in (CONF / "hydra" / "help").glob("*.yaml"))
    return sorted(set(re.findall(r"^app_name: python -m (\S+)", "\n".join(texts), re.MULTILINE)))
