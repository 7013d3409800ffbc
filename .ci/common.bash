# What the checks share: where things are built, steps that say how long they took, and the tools they need. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export POLICYDECK_CACHE=${POLICYDECK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/policydeck}
# Outside the clone, so that the next clone finds the dependencies built. The program itself is compiled again for each clone; keeping its incremental
# state would only fill the disk.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$POLICYDECK_CACHE/target}
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

times=

# step NAME COMMAND...: says what runs and how long it took; the first failure ends the check.
step() {
  local name=$1 start=$SECONDS status=0; shift
  printf '\n== %s\n' "$name"
  "$@" || status=$?
  local took=$((SECONDS - start))
  printf '== %s: %s after %d s\n' "$name" "$([ $status -eq 0 ] && echo ok || echo "FAILED ($status)")" $took
  times+=$(printf '%6d s  %s' $took "$name")$'\n'
  [ $status -eq 0 ] || exit $status
}

# Everything passed: what took how long.
passed() { printf '\n%s\neverything passed after %d s\n' "$times" $SECONDS; }

# cargo_tool NAME VERSION: a tool for cargo, built once and kept in the cache.
cargo_tool() {
  local name=$1 version=$2 root=$POLICYDECK_CACHE/tools target status=0
  export PATH=$root/bin:$PATH
  if ! grep -qsF "\"$name $version (" "$root/.crates.toml"; then
    # Not into the program's own target folder: nothing there is needed again.
    target=$(mktemp -d)
    CARGO_TARGET_DIR=$target nice cargo install --quiet --locked --debug --root "$root" --version "$version" "$name" || status=$?
    rm -rf "$target"
  fi
  return $status
}

# Licenses and sources of dependencies; what `deny.toml` allows.
dependencies() {
  cargo_tool cargo-deny 0.20.2 || { echo "cargo-deny cannot be installed here: licenses and sources of dependencies are not checked"; return 0; }
  cargo deny --locked check --hide-inclusion-graph licenses bans sources
}

tools() {
  local tool
  for tool in cargo go openssl curl; do command -v $tool >/dev/null || { echo "no $tool on the PATH" >&2; return 1; }; done
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt || return
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy || return
  # The tests set a clock while the program runs; they say so where that cannot be done.
  if ! command -v faketime >/dev/null && command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get update -qq && apt-get install -y -qq faketime; } >/dev/null 2>&1 || echo "no faketime: what happens when the clock is set is left out"
  fi
  # The second recount, where it lies beside the repository, is a Python script.
  if [ -e "${POLICYDECK_SHARED:-../shared}/accept/recount" ] && ! python3 -c 'import yaml' 2>/dev/null; then
    export PYTHONPATH=$POLICYDECK_CACHE/python
    python3 -c 'import yaml' 2>/dev/null || python3 -m pip install --quiet --target "$PYTHONPATH" pyyaml || return
  fi
}
