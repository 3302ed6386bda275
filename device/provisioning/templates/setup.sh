#!/bin/bash
# Written by edgegal flash. Puts edgegal's files and units onto the root file system; needs no network.
# Run by firstrun.sh, which reboots afterwards, or with `now` by cloud-init. Running it again changes nothing.
set -euo pipefail

payload=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$payload/service.env"

install -d -m 755 /opt/edgegal /opt/edgegal/wheels /etc/edgegal
install -m 644 "$payload"/wheels/*.whl /opt/edgegal/wheels/
install -m 644 "$payload/bundle.edgegal" "$payload/constraints.txt" /opt/edgegal/
install -m 755 "$payload/install.sh" /opt/edgegal/install.sh
install -m 644 "$payload/service.env" /etc/edgegal/service.env
install -m 644 "$payload/edgegal.service" "$payload/edgegal-install.service" /etc/systemd/system/

# What is watched all night is there from the start, for whoever writes to it.
if [[ $EDGEGAL_SOURCE == watch:/* ]]; then
    folder=${EDGEGAL_SOURCE#watch:}
    install -d -m 1777 "${folder%%\?*}"
fi

# A folder is read whenever something in it was written, however often that is; any other source runs from boot.
if [[ $EDGEGAL_SOURCE == /* ]]; then
    install -d -m 1777 "$EDGEGAL_SOURCE"
    install -d -m 755 /etc/systemd/system/edgegal.service.d
    printf '[Unit]\nStartLimitIntervalSec=0\n' >/etc/systemd/system/edgegal.service.d/folder.conf
    printf '[Unit]\nDescription=New frames for edgegal\n\n[Path]\nPathChanged=%s\n\n[Install]\nWantedBy=multi-user.target\n' \
        "${EDGEGAL_SOURCE//%/%%}" >/etc/systemd/system/edgegal.path
fi

systemctl enable ssh.service || true
systemctl enable edgegal-install.service
if [ "${1-}" = now ]; then
    systemctl daemon-reload
    systemctl start ssh.service || true
    systemctl start --no-block edgegal-install.service
fi
