#!/bin/bash
# Written by edgegal flash. Run once by systemd before the system is up, as the kernel's command line says; then reboots.
set +e

boot=/boot/firmware
[ -f "$boot/cmdline.txt" ] || boot=/boot
# shellcheck source=/dev/null
. "$boot/edgegal/firstrun.env"

# Host name.
old=$(tr -d ' \t\n\r' </etc/hostname)
echo "$EDGEGAL_HOSTNAME" >/etc/hostname
if grep -q '^127\.0\.1\.1' /etc/hosts; then
    sed -i "s/^127\.0\.1\.1.*/127.0.1.1\t$EDGEGAL_HOSTNAME/" /etc/hosts
else
    printf '127.0.1.1\t%s\n' "$EDGEGAL_HOSTNAME" >>/etc/hosts
fi
hostname "$EDGEGAL_HOSTNAME" 2>/dev/null
echo "edgegal: host name $old is now $EDGEGAL_HOSTNAME"

# The image's first user takes the owner's name; where there is none yet, the owner is made.
first=$(getent passwd 1000 | cut -d: -f1)
if [ -z "$first" ]; then
    useradd --create-home --shell /bin/bash --uid 1000 "$EDGEGAL_USER"
elif [ "$first" != "$EDGEGAL_USER" ]; then
    usermod --login "$EDGEGAL_USER" "$first"
    usermod --home "/home/$EDGEGAL_USER" --move-home "$EDGEGAL_USER"
    groupmod --new-name "$EDGEGAL_USER" "$first"
fi
for group in adm sudo video plugdev dialout netdev render gpio i2c spi; do
    getent group "$group" >/dev/null && usermod --append --groups "$group" "$EDGEGAL_USER"
done
# By key only: no password is set, so administering takes none.
passwd --lock "$EDGEGAL_USER" >/dev/null
echo "$EDGEGAL_USER ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/010_edgegal
chmod 440 /etc/sudoers.d/010_edgegal
home=$(getent passwd "$EDGEGAL_USER" | cut -d: -f6)
owner=$(id -u "$EDGEGAL_USER"):$(id -g "$EDGEGAL_USER")
install -d -m 700 "$home/.ssh"
install -m 600 "$boot/edgegal/authorized_keys" "$home/.ssh/authorized_keys"
chown -R "$owner" "$home/.ssh"
# The image would otherwise ask for a user on its screen.
systemctl disable userconfig.service 2>/dev/null
systemctl enable getty@tty1.service 2>/dev/null

# Wi-Fi. The country stands on the kernel's command line.
if [ -n "$EDGEGAL_SSID" ]; then
    connection=/etc/NetworkManager/system-connections/edgegal.nmconnection
    install -d -m 755 "$(dirname "$connection")"
    (
        umask 077
        cat >"$connection" <<KEYFILE
[connection]
id=edgegal
type=wifi

[wifi]
mode=infrastructure
ssid=$EDGEGAL_SSID

[wifi-security]
key-mgmt=wpa-psk
psk=$EDGEGAL_PSK

[ipv4]
method=auto

[ipv6]
method=auto
KEYFILE
    )
    chmod 600 "$connection"
    rfkill unblock wifi 2>/dev/null
    for saved in /var/lib/systemd/rfkill/*:wlan; do
        [ -e "$saved" ] && echo 0 >"$saved"
    done
fi

bash "$boot/edgegal/setup.sh"

# Never again: the key leaves the card, and the command line goes back to what it was, the radio's country aside.
rm -f "$boot/firstrun.sh" "$boot/edgegal/firstrun.env"
sed -i 's| systemd\.run=[^ ]*||; s| systemd\.run_success_action=[^ ]*||; s| systemd\.unit=[^ ]*||' "$boot/cmdline.txt"
exit 0
