#!/bin/bash
# Written by edgegal flash. Installs edgegal into an environment of its own; repeated by systemd until it succeeds.
set -euo pipefail

# shellcheck source=/dev/null
. /etc/edgegal/service.env

if ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv
fi

wheels=(/opt/edgegal/wheels/edgegal-*.whl)
python3 -m venv /opt/edgegal/venv
/opt/edgegal/venv/bin/pip install --disable-pip-version-check --find-links /opt/edgegal/wheels \
    --constraint /opt/edgegal/constraints.txt "$EDGEGAL_REQUIREMENT @ file://${wheels[0]}"

# Done only when something here can infer; the journal keeps what the doctor saw.
/opt/edgegal/venv/bin/edgegal doctor
touch /opt/edgegal/installed

if [ -e /etc/systemd/system/edgegal.path ]; then
    systemctl enable --now edgegal.path
else
    systemctl enable --now edgegal.service
fi
