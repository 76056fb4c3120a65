#!/usr/bin/env bash
# Builds the Dockerfile without a Docker engine, and runs what came of it: tests/image_check.sh [BUILDAH_FLAG...]
#
# buildah in chroot isolation, on a base that debootstrap makes: no registry of images is asked, only Debian's and
# pip's. For nights, not for CI: it takes minutes and gigabytes. Needs root, buildah and debootstrap (Debian). Flags
# go to `buildah bud`: a folder of wheels is `--volume DIR:DIR --build-arg PIP_FIND_LINKS=DIR`. Keeps everything in
# $SCRATCH (a temporary folder that goes again, unless it is set).
set -euo pipefail
cd "$(dirname "$0")/.."

if [[ -z ${SCRATCH:-} ]]; then
    SCRATCH=$(mktemp -d)
    trap 'rm -rf "$SCRATCH"' EXIT
fi
store=(--root "$SCRATCH/store" --runroot "$SCRATCH/run" --storage-driver vfs)
step() { printf '\n=== %s (%ss)\n' "$*" "$SECONDS"; }

step "a base of Debian's packages"
[[ -d $SCRATCH/base/etc ]] ||
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$SCRATCH/base"
empty=$(buildah "${store[@]}" from scratch)
buildah "${store[@]}" copy --quiet "$empty" "$SCRATCH/base" /
buildah "${store[@]}" commit --quiet "$empty" localhost/base
buildah "${store[@]}" rm "$empty" > /dev/null

step "the image"
buildah "${store[@]}" bud --layers --isolation chroot --build-arg BASE=localhost/base --tag raysweep "$@" .

step "its size"
box=$(buildah "${store[@]}" from --pull-never raysweep)
place=$(buildah "${store[@]}" mount "$box")
du -sh "$place" "$place"/home/ray/venv "$place"/home/ray/sweeps

inside() { buildah "${store[@]}" run --isolation chroot "$box" -- "$@"; }
step "who it runs as"
[[ $(inside id -u) == 1000 ]]
step "launch.py check"
inside sh -c 'python launch.py check sweeps/*.yaml'
step "a small sweep"
inside python launch.py sweeps/pbt.yaml --set trials=2 run.epochs=2
inside python launch.py status digits_pbt --json | grep '"state": "done"'
step "all sound"
