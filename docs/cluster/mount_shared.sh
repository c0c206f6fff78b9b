#!/usr/bin/env bash
# Mounts an NFS 4.1 export (EFS is one) on a node: mount_shared.sh HOST:/EXPORT FOLDER
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: mount_shared.sh HOST:/EXPORT FOLDER" >&2; exit 2; }
command -v mount.nfs4 > /dev/null \
  || { sudo apt-get update -qq && sudo apt-get install -y -qq nfs-common; }
sudo mkdir -p "$2"
mountpoint -q "$2" || sudo mount -t nfs4 -o nfsvers=4.1,hard,timeo=600,noresvport "$1" "$2"
[ -w "$2" ] || sudo chown "$(id -u):$(id -g)" "$2"
