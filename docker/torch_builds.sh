#!/bin/sh
# Print uv's option for the builds of PyTorch that suit this machine: torch_builds.sh cpu|auto [REQUIREMENT]
#
#   auto  of the CUDA that the driver here knows, or for CPUs where there is no driver
#
# They are on indexes of PyTorch's own, which uv knows. Where these cannot be had, nothing is printed and one line says what
# follows: on Linux the package index has PyTorch with all CUDA libraries.
set -eu
if said=$(echo "${2:-torch}" | UV_HTTP_RETRIES=1 UV_HTTP_TIMEOUT=10 uv pip compile --quiet --no-deps --torch-backend "$1" - 2>&1); then
  echo "--torch-backend=$1"
else
  reason=$(printf '%s\n' "$said" | sed -n '$s/^ *cause: *//p')
  echo "PyTorch's own index cannot be used${reason:+ ($reason)}: PyTorch comes from the package index," \
    "on Linux with CUDA's libraries, 3 GB to download" >&2
fi
