#!/bin/sh
# Install a part of the pinned requirements into a virtual environment: install.sh serve|export|ray VENV
#
#   VARIANT          cpu, or gpu (x86-64 only): which ONNX Runtime serves.
#   TORCH_CPU_INDEX  the address of an index with PyTorch's CPU builds. Without it PyTorch comes from pip's own index, whose
#                    wheels bring the CUDA libraries along, needed or not, but are pinned by hash; those are not.
set -eu
part=$1 venv=$2
requirements=$(dirname "$0")/requirements

pip() { python -m pip --disable-pip-version-check --python "$venv/bin/python" "$@"; }

pinned() {
  for name; do set -- "$@" --requirement "$requirements/$name.txt"; shift; done
  pip install --no-deps --require-hashes "$@"
}

torch_package() { # torch or torchvision: the pair must be of one kind
  if [ "$VARIANT" = cpu ] && [ -n "${TORCH_CPU_INDEX:-}" ]; then
    version=$(sed -n "s/^$1==\([^ ]*\).*/\1/p" "$requirements/$1.txt")
    pip install --no-deps --index-url "$TORCH_CPU_INDEX" "$1==$version+cpu"
  else
    pinned "$1"
  fi
}

case "$VARIANT-$(uname -m)" in
  cpu-* | gpu-x86_64) ;;
  *) echo "VARIANT must be cpu, or gpu on x86-64, is $VARIANT on $(uname -m)" >&2 && exit 2 ;;
esac
case "$part" in
  serve) pinned common "onnxruntime-$VARIANT" && torch_package torch && pip check ;;
  export) pinned export && torch_package torchvision ;;
  ray) pinned ray && pip check ;;
  *) echo "the parts are serve, export and ray, not $part" >&2 && exit 2 ;;
esac
