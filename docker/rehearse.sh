#!/usr/bin/env bash
# Do what `docker build` and `docker run` do, without a container engine: take the Dockerfile's steps in a folder, start the
# result as an unprivileged user on a read-only file system, send it requests, and drain it.
#   docker/rehearse.sh [FOLDER]     VARIANT, TORCH_CPU_INDEX and PYTHON (3.12) from the environment
# FOLDER (new; a temporary one if absent) takes 7 GB. Only root can make the read-only file system; the service gets no such rights.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.12}
base=$("$python" -c 'import sys; assert sys.version_info[:2] == (3, 12); print(sys.base_prefix)' 2>/dev/null) || {
  echo "error: $python is no Python 3.12, which the image has: name one, PYTHON=… docker/rehearse.sh" >&2
  exit 1
}
export VARIANT=${VARIANT:-cpu}
root=${1:-$(mktemp -d)}
port=${PORT:-8765}
mkdir -p "$root/build"
[ -n "${1:-}" ] || trap 'rm -rf "$root"' EXIT
say() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

say "stage packages"
# The image's Python, which everybody may run.
cp -a "$base" "$root/python"
[ -e "$root/python/bin/python" ] || ln -s python3 "$root/python/bin/python"
export PATH=$root/python/bin:$PATH LD_LIBRARY_PATH=$root/python/lib # of a Python that is built with a shared library
python -m venv --without-pip "$root/venv"
docker/install.sh serve "$root/venv"
# What .dockerignore lets through.
mkdir -p "$root"/build/{model/weights,export,service}
cp pyproject.toml README.md "$root/build/"
git archive HEAD model export service | tar -x -C "$root/build" --exclude=model/weights
(cd "$root/build" && python -m pip --python "$root/venv/bin/python" install --quiet --no-deps --no-build-isolation .)
cp -a "$root/venv" "$root/serving" # the final stage copies the environment as it is now

say "stage bundles"
docker/install.sh export "$root/venv"
cp model/weights/*.safetensors "$root/build/model/weights/"
(cd "$root/build" && OMP_WAIT_POLICY=passive "$OLDPWD/docker/export.sh" "$root/venv" "$root/bundles")
rm -rf "$root/venv" && mv "$root/serving" "$root/venv" # environments know their path

say "final stage"
"$root/venv/bin/python" - <<'CHECK'
from importlib.util import find_spec
there = [n for n in ("pip", "timm", "torchvision", "onnx", "onnxscript", "pycocotools", "matplotlib") if find_spec(n)]
raise SystemExit(f"in the image, but not needed to serve: {there}" if there else 0)
CHECK
du -shL "$root/venv" "$root/bundles"
settings=(PATH="$root/venv/bin:/usr/bin:/bin" PYTHONDONTWRITEBYTECODE=1 OMP_WAIT_POLICY=passive HOME=/tmp
  LD_LIBRARY_PATH="$LD_LIBRARY_PATH"
  POINTREND_HOST=127.0.0.1 POINTREND_PORT="$port" POINTREND_CONFIG="$root/bundles/service.toml")
serve=(env -i "${settings[@]}" python -m service serve)
if [ "$(id -u)" = 0 ]; then
  chmod -R a+rX "$root"
  # A mount namespace of its own: everything read-only but an empty /tmp, unless the rehearsal itself is below it.
  case "$root" in /tmp/*) tmp= ;; *) tmp='mount -t tmpfs -o nosuid,nodev,noexec tmpfs /tmp &&' ;; esac
  serve=(unshare --mount sh -c "mount -o remount,bind,ro / && $tmp cd $root && exec setpriv --reuid=10001 --regid=10001 \
    --clear-groups --bounding-set=-all --no-new-privs \"\$@\"" sh "${serve[@]}")
fi
"${serve[@]}" >"$root/access.log" 2>"$root/error.log" &
server=$!
trap 'kill -KILL $server 2>/dev/null; [ -n "${1:-}" ] || rm -rf "$root"' EXIT
ask() { curl --silent --show-error --fail --max-time 60 "$@"; }

say "ready?"
for _ in $(seq 120); do
  ask "http://127.0.0.1:$port/readyz" 2>/dev/null && break
  kill -0 $server 2>/dev/null || { cat "$root/error.log" && exit 1; }
  sleep 0.5
done
ask --output /dev/null "http://127.0.0.1:$port/readyz"
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' "/proc/$server/status"

say "a request"
for model in $(ask "http://127.0.0.1:$port/models" | python -c 'import json, sys; print(*(m["name"] for m in json.load(sys.stdin)))'); do
  ask -F image=@examples/astronaut.jpg "http://127.0.0.1:$port/segment?model=$model" >"$root/$model.json"
  echo "$model: $(head -c 180 "$root/$model.json")…"
done

say "drain: a request in flight, then SIGTERM"
ask -F image=@examples/astronaut.jpg "http://127.0.0.1:$port/segment" -o "$root/last.json" &
request=$!
# This very question counts as a request in flight, too.
until ask "http://127.0.0.1:$port/metrics" | grep -qE '^pointrend_requests_in_flight ([2-9]|[1-9][0-9])'; do
  kill -0 $request 2>/dev/null || break
done
kill -TERM $server
wait $request && echo "answered: $(wc -c <"$root/last.json") bytes"
wait $server && echo "exit code 0"
trap '[ -n "${1:-}" ] || rm -rf "$root"' EXIT
tail -n 3 "$root/error.log"
say "done"
