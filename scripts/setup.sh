#!/usr/bin/env bash
# Make .venv ready for this project, or find in a blink that it already is.
#
#   scripts/setup.sh [auto|cpu|gpu] [EXTRAS]     EXTRAS: comma separated, default text,test,lint,notebooks,docs
#
#   PYTHON=python3.12   the interpreter to build with (3.11 or newer)
#   ROW=torch-2.11      which file of constraints/ to install; the default is the newest
#   FORCE=1             install again, whatever the stamp says
#   NO_UV=1             use plain pip, as happens by itself where uv cannot be had
#
# CPU machines: the torch of an ordinary registry is the CUDA build. It works without a GPU, but takes 3 to 4 GB more.
# For the small one either let uv use PyTorch's own CPU index, which it knows by name,
#   UV_TORCH_BACKEND=cpu scripts/setup.sh cpu
# or keep a CPU wheel of torch in a folder and configure that as pip's `find-links` (PIP_FIND_LINKS, or pip.conf).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

kind=${1:-auto}
extras=${2:-text,test,lint,notebooks,docs}
row=${ROW:-torch-2.13}
constraints=constraints/$row.txt
stamp=.venv/.setup-stamp
venv_python=.venv/bin/python

case $kind in auto | cpu | gpu) ;; *) die "'$kind' is not auto, cpu or gpu" ;; esac
[[ -f $constraints ]] || die "no $constraints; there are: $(cd constraints && echo *.txt)"

# ------------------------------------------------------------------------------------------------ is it up to date?
digest() { sha256sum "$@" 2>/dev/null || shasum -a 256 "$@"; }
hash=$(digest pyproject.toml "$constraints" stubs/*/pyproject.toml scripts/setup.sh | digest | cut -d' ' -f1)

# The stamp is four lines: hash, kind, extras, folder. A half-finished installation has the hash "unfinished".
old_hash='' old_kind='' old_extras='' old_root=''
if [[ -f $stamp ]]; then
    { read -r old_hash && read -r old_kind && read -r old_extras && read -r old_root; } <"$stamp" || true
fi
if [[ $kind == auto ]]; then
    if [[ -n $old_kind ]]; then kind=$old_kind
    elif nvidia-smi -L 2>/dev/null | grep -q GPU; then kind=gpu
    else kind=cpu; fi
fi

has_extras() { # are all of $1 among $2?
    local extra
    for extra in ${1//,/ }; do [[ ,$2, == *,$extra,* ]] || return 1; done
}
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# An environment of another kind, another folder or another Python is made anew: the two builds of fbgemm write over
# each other's files, scripts hold their folder's path, and wheels belong to one Python.
anew=''
if [[ -n $old_kind && $old_kind != "$kind" ]]; then anew="it was made for $old_kind"; fi
if [[ -n $old_root && $old_root != "$PWD" ]]; then anew='it was made in another folder'; fi
if [[ -e $venv_python && -n ${PYTHON:-} && $(version_of "$PYTHON") != "$(version_of $venv_python)" ]]; then
    anew="it has another Python than $PYTHON"
fi

if [[ -z ${FORCE:-} && -z $anew && -x $venv_python && $old_hash == "$hash" ]] && has_extras "$extras" "$old_extras"; then
    exit 0
fi
has_extras "$old_extras" "$extras" || extras="$old_extras,$extras" # what is there stays there

# ------------------------------------------------------------------------------------------------ the interpreter
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
    local candidate
    if [[ -n ${PYTHON:-} ]]; then
        new_enough "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    # Each is run, not only looked up: a version manager's shim may exist for a Python that does not.
    for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
        if new_enough "$candidate"; then echo "$candidate"; return; fi
    done
    die "needs Python 3.11 or newer and found $(python3 --version 2>/dev/null || echo none);" \
        "install one, or name it: PYTHON=/path/to/python3.11 make setup"
}

if [[ -e .venv && -z $anew ]] && ! new_enough $venv_python; then anew='its Python does not run, or is too old'; fi
if [[ -n $anew ]]; then
    say "making .venv anew: $anew"
    rm -rf .venv
fi
if [[ ! -e .venv ]]; then
    python=$(choose_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv || die "'$python -m venv' failed (on Debian and Ubuntu: apt-get install python3-venv)"
fi
printf '%s\n' unfinished "$kind" "$extras" "$PWD" >"$stamp"

# ------------------------------------------------------------------------------------------------ the installer
pip() { "$venv_python" -m pip --disable-pip-version-check "$@"; }

uv=''
if [[ -z ${NO_UV:-} ]]; then
    if command -v uv >/dev/null; then uv=uv
    elif [[ -x .venv/bin/uv ]] || pip install --quiet uv; then uv=.venv/bin/uv
    else say 'uv cannot be installed here; going on with pip, which takes some minutes longer'; fi
fi

# The stand-in in stubs/ keeps the CUDA build out. On a GPU the constraints cannot name fbgemm-gpu (they would then
# refuse the stand-in), so its version is that of the CPU build of the same row.
wanted=(-c "$constraints" -e ".[$kind,$extras]")
if [[ $kind == cpu ]]; then
    wanted+=(./stubs/fbgemm-gpu)
else
    wanted+=("fbgemm-gpu==$(sed -n 's/^fbgemm-gpu-cpu==//p' "$constraints")")
fi

say "installing $kind,$extras with $constraints ($(if [[ -n $uv ]]; then echo uv; else echo pip; fi)): takes a minute or so"
quiet=()
[[ -t 2 ]] || quiet=(--quiet)
if [[ -n $uv ]]; then
    # uv reads none of pip's configuration: hand over the local wheels and the index, where pip has been given any.
    settings=$(pip config list 2>/dev/null || true)
    pip_setting() { sed -n "s/^[a-z:]*\.$1='\(.*\)'\$/\1/p" <<<"$settings" | tail -n 1 | sed 's/\\n/ /g'; }
    links=$(pip_setting find-links)
    index=$(pip_setting index-url)
    # The local wheels only for CPU: a CPU build of torch among them would be taken for a GPU machine as well.
    [[ -z $links || $kind == gpu ]] || export UV_FIND_LINKS="${UV_FIND_LINKS-$(xargs <<<"$links" | tr ' ' ',')}"
    [[ -z $index ]] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX-$index}"
    # Compiled here once, or else by every process at every start where PYTHONDONTWRITEBYTECODE is set (torchrec: 8 s).
    "$uv" pip install "${quiet[@]}" --python "$venv_python" --compile-bytecode "${wanted[@]}"
else
    pip install "${quiet[@]}" --compile "${wanted[@]}"
fi

printf '%s\n' "$hash" "$kind" "$extras" "$PWD" >"$stamp"
say "ready: .venv ($kind, $row, $("$venv_python" --version))"
