#!/bin/sh
# Install a part of the pinned requirements into a virtual environment, with uv: install.sh serve|export|ray VENV
# Install this project without its requirements into a folder: install.sh code VENV FOLDER
#
#   VARIANT  cpu, or gpu (x86-64 only): which ONNX Runtime and which PyTorch
#
# Everything is pinned by hash but for PyTorch's builds for CPUs, which are on an index of their own and pinned by version.
# Where that cannot be reached, PyTorch is the pinned one with CUDA, less what only a GPU needs.
set -eu
part=$1 venv=$2
docker=$(dirname "$0")
case "$VARIANT-$(uname -m)" in
  cpu-* | gpu-x86_64) ;;
  *) echo "VARIANT must be cpu, or gpu on x86-64, is $VARIANT on $(uname -m)" >&2 && exit 2 ;;
esac

export UV_NO_CACHE=1 UV_SYSTEM_CERTS=1
if ! command -v uv >/dev/null; then # it is no part of the image, so it is here for this run alone
  programs=$(mktemp -d)
  trap 'rm -rf "$programs"' EXIT
  python -m pip install --quiet --no-cache-dir --root-user-action=ignore --require-hashes --target "$programs" \
    --requirement "$docker/requirements/uv.txt"
  PATH=$programs/bin:$PATH
fi

install() { uv pip install --python "$venv/bin/python" --no-deps "$@"; }

pinned() { # pinned PART…
  for name; do set -- "$@" --requirement "$docker/requirements/$name.txt"; shift; done
  install --require-hashes "$@"
}

version() { sed -n "s/^$1==\([^ ]*\).*/\1/p" "$docker/requirements/$1.txt"; }

with_cuda() { [ -e "$(echo "$venv"/lib/python3.*/site-packages/torch/lib/libtorch_cuda.so)" ]; }

torch() {
  if [ "$VARIANT" = gpu ]; then
    pinned torch torch-gpu
    return
  fi
  builds=$("$docker/torch_builds.sh" cpu "torch==$(version torch)")
  if [ -n "$builds" ]; then install "$builds" "torch==$(version torch)"; else pinned torch; fi
  "$venv/bin/python" "$docker/unused_cuda.py"
}

torchvision() { # of the same kind as torch
  if with_cuda; then pinned torchvision; else install --torch-backend=cpu "torchvision==$(version torchvision)"; fi
}

case "$part" in
  serve)
    pinned common "onnxruntime-$VARIANT"
    if [ "$VARIANT" = cpu ]; then pinned openvino; fi # the coarse pass in bf16
    torch
    "$venv/bin/python" "$docker/bytecode.py" serve
    ;;
  export)
    pinned export
    torchvision
    ;;
  ray)
    pinned ray
    "$venv/bin/python" "$docker/bytecode.py" ray
    ;;
  code)
    # Bytecode that does not hold the time of its source is the same in each build, and so is the layer that it lies in.
    PYC_INVALIDATION_MODE=UNCHECKED_HASH install --no-build-isolation --compile-bytecode --target "$3" .
    rm -f "$3/.lock"
    ;;
  *) echo "the parts are serve, export, ray and code, not $part" >&2 && exit 2 ;;
esac
# Without a GPU, PyTorch with CUDA lacks packages that it requires.
if [ "$VARIANT" = cpu ] && with_cuda; then exit; fi
uv pip check --python "$venv/bin/python"
