#!/usr/bin/env bash
# Update the replicas of `docker compose --profile scale` without a gap: docker/rollout.sh --help
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_PROFILES=scale

help() {
  cat <<'HELP'
docker/rollout.sh [IMAGE]

Replaces the running replicas of `docker compose --profile scale up` by as many new ones, without a gap:
  1. builds the image of this folder, or takes IMAGE, which is pulled if it is not here;
  2. starts the new replicas beside the old ones, with the settings of .env and the environment as they are now;
  3. waits until all of them are ready and the proxy has found them;
  4. takes the old ones out of the proxy, lets them finish, and removes them, one after the other.
If a new replica does not get ready, the new ones are removed, the old ones stay, and the exit code is 1.
Old and new replicas run together for a while: there must be memory for both.

  IMAGE            such as registry.example/pointrend:2. Set it in .env, too: the next `docker compose up` looks there.
  READY_SECONDS=   how long new replicas may take to get ready (180)
  DRAIN_SECONDS=   how long an old one may take to answer what it has, before it is told to end (150)
HELP
}

fail() { echo "error: $*" >&2 && exit 1; }
say() { echo "$* (${SECONDS} s)"; }
replicas() { docker compose ps --all --quiet replica; }

wait_until() { # wait_until SECONDS COMMAND…: false if the command does not succeed within this time
  local end=$((SECONDS + $1))
  until "${@:2}"; do
    ((SECONDS < end)) || return 1
    sleep 0.5
  done
}

proxy() { # proxy COMMAND: what the proxy answers to a command of HAProxy's runtime API
  docker exec "$the_proxy" sh -c "echo '$1' | busybox nc 127.0.0.1 9999"
}
address() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }
server() { # server ADDRESS: the proxy's server of this address, as "NAME STATE"; state 2 takes requests
  proxy "show servers state replicas" | awk -v address="$1" '$5 == address {print $4, $6}'
}

find_new() { mapfile -t new < <(replicas | grep --invert-match --fixed-strings --line-regexp "$(printf '%s\n' "${old[@]}")"); }
takes_requests() { for id; do [[ "$(server "$(address "$id")")" == *" 2" ]] || return 1; done; }
is_idle() { [ "$(proxy "show stat replicas 4 -1" | awk -F , -v name="$1" '$2 == name {print $5}')" = 0 ]; }
is_gone() { [[ "$(proxy "show servers state replicas" | awk -v name="$1" '$4 == name {print $6}')" != 2 ]]; }

are_ready() { # true when all are healthy; ends the rollout when one of them has died
  local id
  for id in "${new[@]}"; do
    case "$(docker inspect --format '{{.State.Health.Status}} {{.State.Status}} {{.RestartCount}}' "$id")" in
      "healthy running 0") ;;
      *" running 0" | *" created 0") return 1 ;;
      *) give_up "a new replica has ended: $(docker logs --tail 1 "$id" 2>&1)" ;;
    esac
  done
}

retire() { # retire ID: no new requests to it, then its end, then its removal
  local name
  name=$(server "$(address "$1")") name=${name% *}
  if [ -n "$name" ]; then
    proxy "set server replicas/$name state drain" >/dev/null
    wait_until "${DRAIN_SECONDS:-150}" is_idle "$name" || echo "it still has requests, which it may finish while it stops" >&2
  fi
  docker stop "$1" >/dev/null
  docker rm "$1" >/dev/null
  if [ -n "$name" ]; then # the place is free for whoever comes next
    wait_until 60 is_gone "$name" || fail "the proxy still has $name, which is gone"
    proxy "set server replicas/$name state ready" >/dev/null
  fi
}

give_up() { # give_up REASON: the new replicas go, the old ones stay
  trap - INT TERM
  find_new
  for id in "${new[@]}"; do retire "$id"; done
  fail "$1; the new replicas are removed, the ${#old[@]} old ones serve on"
}

case "${1:-}" in
  -h | --help) help && exit ;;
  -*) fail "there is no option $1: docker/rollout.sh --help" ;;
esac
(($# <= 1)) || fail "one image, not $#: docker/rollout.sh --help"

mapfile -t old < <(replicas)
the_proxy=$(docker compose ps --quiet proxy)
((${#old[@]})) && [ -n "$the_proxy" ] || fail "no replicas run behind a proxy: docker compose --profile scale up --wait"
places=$(sed -n 's/^ *server-template replica- \([0-9]*\) .*/\1/p' docker/haproxy.cfg)
both=$((2 * ${#old[@]}))
((both <= places)) || fail "the proxy has $places places, too few for ${#old[@]} old and as many new replicas: see docker/haproxy.cfg"

if [ -n "${1:-}" ]; then
  export IMAGE=$1
  docker image inspect "$IMAGE" >/dev/null 2>&1 || docker pull --quiet "$IMAGE" || fail "there is no image $IMAGE"
else
  docker compose build replica
fi

trap 'give_up "interrupted"' INT TERM
docker compose --progress quiet up --detach --no-build --no-deps --no-recreate --scale "replica=$both" replica || give_up "they do not start"
find_new
((${#new[@]} == ${#old[@]})) || give_up "${#new[@]} of ${#old[@]} new replicas started"
say "${#new[@]} new replicas start beside the old"
wait_until "${READY_SECONDS:-180}" are_ready || give_up "the new replicas are not ready after ${READY_SECONDS:-180} s"
wait_until 60 takes_requests "${new[@]}" || give_up "the proxy does not find the new replicas"
say "they are ready, and the proxy has found them"
trap 'echo "interrupted: new replicas serve, some old ones are left; run it again" >&2; exit 1' INT TERM
for id in "${old[@]}"; do
  retire "$id"
  say "an old one has ended"
done
