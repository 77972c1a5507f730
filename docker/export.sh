#!/bin/sh
# Export all shipped weights: export.sh VENV OUT [PLACE]
#
# OUT gets a bundle each and settings that name them, as folders of PLACE (OUT itself if absent). With VARIANT=gpu the
# settings also say that they are served on CUDA.
set -eu
venv=$1 out=$2 place=${3:-$2}
mkdir -p "$out"
# The first is the default of the service: `people` where it is shipped, as in the Makefile.
names=$(for weights in model/weights/people.safetensors model/weights/*.safetensors; do
  test ! -f "$weights" || basename "$weights" .safetensors
done | awk '!seen[$0]++')
# An export keeps one core busy: two at a time.
for name in $names; do echo "--checkpoint model/weights/$name.safetensors --out $out/$name"; done |
  xargs -P 2 -L 1 "$venv/bin/python" -m export
bundles=$(for name in $names; do printf '"%s/%s", ' "$place" "$name"; done)
printf 'bundles = [%s]\n' "${bundles%, }" >"$out/service.toml"
if [ "${VARIANT:-cpu}" = gpu ]; then echo 'device = "cuda"' >>"$out/service.toml"; fi
