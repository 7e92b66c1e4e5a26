"""The files on a boot partition, as texts by name. Today's Pi OS reads cloud-init's files, older ones firstrun.sh.

Both run the same `homeside/setup.sh`, so that a kit is the same whichever image was flashed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from provisioning.image.plan import Plan

FOLDER = "homeside"
ALWAYS: dict[str, str | bool] = {"update.outcome": "/var/lib/homeside-updater/outcome.json", "session.keep": True}
"""Settings of every kit's agent: where the updater writes its outcome, and that a restart does not end a session."""
FIRSTRUN = (
    "systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target"
)
SETUP = """\
#!/bin/sh
# Makes this Raspberry Pi the kit {kit}. May be run again; what it did stays as it is. ROOT is empty but in tests.
set -eu
ROOT="${{ROOT:-}}"
HERE="$(dirname "$0")"

umask 077
mkdir -p "$ROOT/etc/homeside" "$ROOT/etc/ssh/sshd_config.d"
for name in agent.toml updater.toml enrol.toml release-keys; do
  if [ -f "$HERE/$name" ]; then
    mode=644
    [ "$name" = enrol.toml ] && mode=600
    install -m "$mode" "$HERE/$name" "$ROOT/etc/homeside/$name.new"
    mv "$ROOT/etc/homeside/$name.new" "$ROOT/etc/homeside/$name"
  fi
done
chmod 755 "$ROOT/etc/homeside"

# Nobody signs in by password, nobody as root; without a key nobody signs in from the network at all.
printf '%s\\n' 'PasswordAuthentication no' 'KbdInteractiveAuthentication no' 'PermitRootLogin no' 'X11Forwarding no' \\
  'AllowUsers {user}' > "$ROOT/etc/ssh/sshd_config.d/10-homeside.conf"
chmod 644 "$ROOT/etc/ssh/sshd_config.d/10-homeside.conf"
{ssh}
ln -sf /usr/share/zoneinfo/{zone} "$ROOT/etc/localtime"
echo {zone} > "$ROOT/etc/timezone"
echo {kit} > "$ROOT/etc/hostname"
chmod 644 "$ROOT/etc/timezone" "$ROOT/etc/hostname"

if [ -z "$ROOT" ]; then
  hostname {kit} || true
  for package in "$HERE"/homeside_*.deb; do
    [ -f "$package" ] && {{ dpkg -i "$package" || apt-get -y -f install; }}
  done
  systemctl daemon-reload
  systemctl enable --now homeside-enrol.service homeside-agent.service homeside-updater.path homeside-updater.timer
fi

# The claim has been taken from the card, which anybody can read.
rm -f "$HERE/enrol.toml" "$HERE/../user-data" "$HERE/../network-config"
"""
FIRSTRUN_SH = """\
#!/bin/sh
# Run once by systemd at the first start, as Raspberry Pi Imager's own is; then taken out of the command line.
set +e
BOOT="$(dirname "$0")"
{wifi}
if ! id {user} >/dev/null 2>&1; then useradd -m -s /bin/bash -G sudo,dialout,video {user}; fi
passwd -l {user} >/dev/null 2>&1
rm -f /etc/systemd/system/getty@tty1.service.d/autologin.conf
systemctl disable userconfig 2>/dev/null
sh "$BOOT/{folder}/setup.sh" > "$BOOT/{folder}/setup.log" 2>&1
sed -i 's| systemd\\.run.*||g' "$BOOT/cmdline.txt"
rm -f "$BOOT/firstrun.sh"
exit 0
"""
WIFI_SH = """\
rfkill unblock wifi
raspi-config nonint do_wifi_country {country} 2>/dev/null || iw reg set {country}
install -d -m 700 /etc/NetworkManager/system-connections
install -m 600 "$BOOT/{folder}/wifi.nmconnection" /etc/NetworkManager/system-connections/homeside.nmconnection
rm -f "$BOOT/{folder}/wifi.nmconnection"
"""


def boot_files(plan: Plan) -> dict[str, str]:
    """Names below the boot partition, with their texts. JSON is valid YAML, and quotes any value safely."""
    files = {
        "user-data": "#cloud-config\n" + _json(_user_data(plan)),
        "meta-data": _json({"instance-id": f"homeside-{plan.kit}-{_mark(plan)}", "local-hostname": plan.kit}),
        "firstrun.sh": _firstrun(plan),
        f"{FOLDER}/setup.sh": _setup(plan),
        f"{FOLDER}/enrol.toml": _toml(
            {"kit": plan.kit, "relay": plan.relay, "claim": plan.claim, "fingerprint": plan.fingerprint}
        ),
        f"{FOLDER}/agent.toml": _toml({**ALWAYS, **plan.settings}),
    }
    if plan.release_keys:
        files[f"{FOLDER}/release-keys"] = plan.release_keys
    if plan.wifi is not None:
        files["network-config"] = _json(_network(plan))
        files[f"{FOLDER}/wifi.nmconnection"] = _connection(plan)
    return files


def command_line(text: str) -> str:
    """The content of cmdline.txt with firstrun.sh added; one line, as the firmware requires."""
    words = text.split()
    kept = [word for word in words if not word.startswith(("systemd.run", "systemd.unit=kernel-command-line"))]
    return " ".join([*kept, FIRSTRUN]) + "\n"


def _mark(plan: Plan) -> str:
    """The cloud-init instance id: it changes with the claim, so that cloud-init runs again on a card used before."""
    return uuid.uuid5(uuid.NAMESPACE_URL, plan.link).hex[:12]


def _user_data(plan: Plan) -> dict[str, object]:
    user: dict[str, object] = {
        "name": plan.user,
        "groups": ["sudo", "dialout", "video"],
        "shell": "/bin/bash",
        "lock_passwd": True,
        "sudo": "ALL=(ALL) NOPASSWD:ALL" if plan.ssh_keys else False,
    }
    if plan.ssh_keys:
        user["ssh_authorized_keys"] = list(plan.ssh_keys)
    return {
        "hostname": plan.kit,
        "timezone": plan.zone,
        "users": [user],
        "ssh_pwauth": False,
        "disable_root": True,
        "runcmd": [["sh", f"/boot/firmware/{FOLDER}/setup.sh"]],
    }


def _network(plan: Plan) -> dict[str, object]:
    assert plan.wifi is not None
    access = {plan.wifi.network: {"password": plan.wifi.key}}
    wlan = {"dhcp4": True, "optional": True, "regulatory-domain": plan.wifi.country, "access-points": access}
    return {
        "network": {"version": 2, "ethernets": {"eth0": {"dhcp4": True, "optional": True}}, "wifis": {"wlan0": wlan}}
    }


def _connection(plan: Plan) -> str:
    """A connection file for NetworkManager; the network's name is given as numbers, since it may contain any byte."""
    assert plan.wifi is not None
    name = ";".join(str(byte) for byte in plan.wifi.network.encode()) + ";"
    return (
        f"[connection]\nid=homeside\nuuid={uuid.uuid5(uuid.NAMESPACE_URL, plan.wifi.network)}\ntype=wifi\n\n"
        f"[wifi]\nmode=infrastructure\nssid={name}\n\n"
        f"[wifi-security]\nkey-mgmt=wpa-psk\npsk={plan.wifi.key}\n\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n"
    )


def _firstrun(plan: Plan) -> str:
    wifi = WIFI_SH.format(country=plan.wifi.country, folder=FOLDER) if plan.wifi is not None else ""
    return FIRSTRUN_SH.format(wifi=wifi, user=plan.user, folder=FOLDER)


def _setup(plan: Plan) -> str:
    home = f'"$ROOT/home/{plan.user}/.ssh"'
    lines = [f"mkdir -p {home}", f"cat > {home}/authorized_keys <<'END_OF_KEYS'", *plan.ssh_keys, "END_OF_KEYS"]
    lines.append(f'[ -n "$ROOT" ] || {{ chown -R {plan.user}: {home}; systemctl enable --now ssh; }}')
    ssh = "\n".join(lines) if plan.ssh_keys else '[ -n "$ROOT" ] || systemctl disable --now ssh ssh.socket || true'
    return SETUP.format(kit=plan.kit, user=plan.user, zone=plan.zone, ssh=ssh + "\n")


def _toml(values: Mapping[str, str | bool]) -> str:
    """Dotted TOML keys. A JSON string is a valid TOML one except for DEL and surrogate pairs, which do not
    occur here.
    """
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n".replace("\x7f", "\\u007f") for key, value in values.items()
    )


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
