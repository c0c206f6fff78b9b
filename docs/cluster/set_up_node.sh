#!/usr/bin/env bash
# Sets up a node: the packages of requirements.lock, this repository, a login shell that finds both.
# Run again, it does only what is missing; an image that was made with it starts at once.
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
packages=$HOME/f2c-env
wanted=$(sha256sum < "$repository/requirements.lock")

if [ -d ~/.ray ]; then chmod 700 ~/.ray; fi
if [ -f ~/.ray/auth_token ]; then chmod 600 ~/.ray/auth_token; fi

if [ "$(cat "$packages/.lock" 2> /dev/null)" != "$wanted" ]; then
  uv=$(command -v uv || true)
  if [ -z "$uv" ]; then
    python3 -c 'import ensurepip' 2> /dev/null \
      || { sudo apt-get update -qq && sudo apt-get install -y -qq python3-venv; }
    python3 -m venv ~/f2c-uv
    ~/f2c-uv/bin/pip install --quiet --require-hashes -r "$repository/docs/cluster/uv.txt"
    uv=$HOME/f2c-uv/bin/uv
  fi
  "$uv" venv --quiet --allow-existing --python 3.11 "$packages"
  "$uv" pip sync --quiet --python "$packages/bin/python" --require-hashes \
    "$repository/requirements.lock"
  "$uv" pip install --quiet --python "$packages/bin/python" --no-deps --no-build-isolation \
    --editable "$repository"
  echo "$wanted" > "$packages/.lock"
fi

# The first line, since Ubuntu's own .bashrc ends early in shells that nobody types in.
login='[ -f ~/f2c.env ] && . ~/f2c.env; export PATH=~/f2c-env/bin:$PATH RAY_AUTH_MODE=token'
touch ~/.bashrc
grep -qxF "$login" ~/.bashrc || { { echo "$login"; cat ~/.bashrc; } > ~/.bashrc.new \
  && mv ~/.bashrc.new ~/.bashrc; }
