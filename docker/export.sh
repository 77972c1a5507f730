#!/bin/sh
# Export all shipped weights: export.sh VENV OUT [PLACE]
#
# OUT gets a bundle each and settings that name them, as folders of PLACE (OUT itself if absent).
set -eu
venv=$1 out=$2 place=${3:-$2}
mkdir -p "$out"
bundles=
for weights in model/weights/*.safetensors; do
  name=$(basename "$weights" .safetensors)
  "$venv/bin/python" -m export --checkpoint "$weights" --out "$out/$name"
  bundles="$bundles\"$place/$name\", "
done
printf 'bundles = [%s]\n' "${bundles%, }" >"$out/service.toml"
