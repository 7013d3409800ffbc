# What build, up, up-kyverno and down share: options, folders, and processes that never outlive their run. Sourced, not run.
#
# A root folder (--dir) holds bin/ (programs), crds/ (CRDs by release), modules/ (links to the Go modules they came from), runs/ (one folder per
# set of running clusters) and ports/ (claims, so that runs beside each other keep apart).

set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
script=${0##*/}
dir=${POLICYDECK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/policydeck}/envtest
run_name=default

die() { echo "$script: $*" >&2; exit 1; }

# The script's head comment is its help.
help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
misuse() { [ $# -eq 0 ] || echo "$script: $*" >&2; help >&2; exit 2; }

# The value of an option: value_of "$@" fails where there is none.
value_of() { [ $# -ge 2 ] && [ -n "$2" ] || misuse "$1 needs a value"; printf '%s' "$2"; }

# Makes dir absolute and names the run's folder; run_name may not leave runs/.
settle() {
  mkdir -p "$dir"; dir=$(cd "$dir" && pwd)
  case $run_name in ''|.*|*/*) misuse "not a name for a run: $run_name";; esac
  run=$dir/runs/$run_name
}

# tool NAME: the program's path, from $KUBEBUILDER_ASSETS (the convention of envtest) where it is there, else from our own build.
tool() {
  local place
  for place in ${KUBEBUILDER_ASSETS:+"$KUBEBUILDER_ASSETS"} "$dir/bin"; do
    [ -x "$place/$1" ] && { printf '%s' "$place/$1"; return; }
  done
  die "no $1 in ${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS or }$dir/bin: run $here/build first"
}

# alive NAME: whether the run's process of that name runs.
alive() { [ -s "$run/$1.pid" ] && kill -0 "$(cat "$run/$1.pid")" 2>/dev/null; }

# launch NAME PROGRAM ARG...: in the background, in a session of its own (a ctrl-c meant for a test does not reach it), with its log and pid in the run's
# folder. `down` moves that folder away before it ends what is named in it, so where the pid cannot be written the run is over and so is the process.
launch() {
  local name=$1 session=; shift
  command -v setsid >/dev/null && session=setsid
  $session "$@" >>"$run/$name.log" 2>&1 </dev/null &
  disown # or bash would announce its end
  echo $! >"$run/$name.pid" || { kill -KILL $!; die "the run $run_name was taken down"; }
}

# Programs keep caches and trust roots in the user's home (kubectl's discovery, sigstore's roots): give them one that goes with the run.
own_home() { export HOME=$run/home; mkdir -p "$HOME"; }

# until_true SECONDS COMMAND...: asks again until it succeeds or the time is over.
until_true() {
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || return 1; sleep 0.1; done
}

# locked NAME COMMAND...: one at a time on this machine, where flock exists (util-linux); elsewhere without.
locked() {
  local lock=$dir/.$1.lock; shift
  if command -v flock >/dev/null; then { flock 9; "$@"; } 9>"$lock"; else "$@"; fi
}

kubernetes_release() { awk '$1 == "k8s.io/kubernetes" {print $2; exit}' "$here/go.mod"; }
kyverno_release() { awk '$1 == "github.com/kyverno/kyverno" && $2 ~ /^v/ {print $2; exit} $2 == "github.com/kyverno/kyverno" && $3 ~ /^v/ {print $3; exit}' "$here/kyverno/go.mod"; }
