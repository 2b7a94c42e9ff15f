#!/usr/bin/env bash
# The main job on this machine, end to end: compose a file, conduct, share it from one member, fetch it with three
# others, and check every copy. Takes some seconds after the build; everything it makes is gone at the end.
#
#   examples/run.sh [SIZE]        SIZE as head -c takes it; default 64M
set -euo pipefail
size=${1:-64M}
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "Building"
cargo build --release --bins
programs=$(cd "${CARGO_TARGET_DIR:-target}/release" && pwd)

place=$(mktemp -d)
running=()
clean_up() {
  trap - EXIT
  ((${#running[@]} == 0)) || kill "${running[@]}" 2>/dev/null || true
  wait
  rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
cd "$place"
export XDG_STATE_HOME=$place/state

# named NAME CMD...: what it prints, each line behind its name
named() {
  local name=$1
  shift
  "$@" </dev/null > >(exec sed -u "s/^/  [$name] /") 2>&1
}

# first FILE WORDS: waits for a line with these words in what is being written to FILE, and prints it
first() {
  local pid=$1 file=$2 words=$3 line
  : >>"$file" # whoever writes it may not have opened it yet
  while read -r line; do
    if [[ $line == *"$words"* ]]; then
      echo "$line"
      return
    fi
  done < <(exec tail -n +1 -f --pid="$pid" "$file" 2>/dev/null)
  echo "it ended without a word of: $words" >&2
  cat "$file" >&2
  return 1
}

say "A conductor, on a free port"
"$programs/conductor" --listen 127.0.0.1:0 --store memory </dev/null >conductor.txt 2>&1 &
running+=($!)
line=$(first $! conductor.txt "conductor listens on")
echo "  [conductor] $line"
conductor=${line#conductor listens on }
conductor=${conductor%%,*}

say "A composition of $size, and its manifest"
mkdir original
head -c "$size" /dev/urandom >original/big.bin
named composer "$programs/composer" original/big.bin "$conductor"

say "One member shares it"
"$programs/member" big.orch -o original --port 0 --json </dev/null >seed.txt 2>&1 &
running+=($!)
first $! seed.txt '"event":"whole"' >/dev/null
echo "  [original] whole, sharing"

say "Three members fetch it"
fetching=()
for copy in copy1 copy2 copy3; do
  named "$copy" "$programs/member" big.orch -o "$copy" --port 0 --exit-when-done --no-progress &
  fetching+=($!)
  running+=($!)
done
for pid in "${fetching[@]}"; do
  wait "$pid" || { code=$?; echo "a member ended with exit code $code" >&2; exit "$code"; }
done

say "Every copy, checked by another program"
sum=$(sha1sum <original/big.bin)
for copy in original copy1 copy2 copy3; do
  sha1sum "$copy/big.bin"
  [[ $(sha1sum <"$copy/big.bin") == "$sum" ]] || { echo "$copy is different" >&2; exit 1; }
done
echo
echo "All four are the same."
