"""Cards and labels: what is on them, that nothing breaks out of its line, and that setup.sh does what it says."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provisioning.errors import ImageUnusable, TableUnusable
from provisioning.image.card import write_card
from provisioning.image.files import boot_files, command_line
from provisioning.image.labels import labels
from provisioning.image.plan import Plan, wifi
from provisioning.image.table import read_table
from tests import peers

CLAIM = "ABCDE-FGHJK-MNPQR-STUVW-XYZ23"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0l operator@ward"
CMDLINE = "console=serial0,115200 console=tty1 root=PARTUUID=1234-02 rootfstype=ext4 rootwait quiet\n"


def plan(**changes: object) -> Plan:
    given: dict[str, object] = {
        "kit": "home-031",
        "relay": "https://relay.example.org:8443",
        "claim": CLAIM,
        "fingerprint": "ab" * 32,
        "zone": "Europe/Berlin",
        "wifi": wifi("Café Nord", "correct horse", "DE"),
        "ssh_keys": (KEY,),
        "settings": {"source.serial.port": "/dev/ttyACM0"},
        "release_keys": "ed25519 AAAA release\n",
    }
    return Plan(**{**given, **changes})  # type: ignore[arg-type]


def test_cloud_init_gets_what_it_reads() -> None:
    files = boot_files(plan())
    user = yaml.safe_load(files["user-data"])
    assert files["user-data"].startswith("#cloud-config\n")
    assert (user["hostname"], user["timezone"], user["ssh_pwauth"]) == ("home-031", "Europe/Berlin", False)
    assert user["users"][0]["ssh_authorized_keys"] == [KEY]
    wlan = yaml.safe_load(files["network-config"])["network"]["wifis"]["wlan0"]
    assert wlan["regulatory-domain"] == "DE"
    assert list(wlan["access-points"]) == ["Café Nord"]
    assert re.fullmatch("[0-9a-f]{64}", wlan["access-points"]["Café Nord"]["password"])
    assert yaml.safe_load(files["meta-data"])["instance-id"].startswith("homeside-home-031-")


def test_the_key_of_a_network_is_what_wpa_makes_of_its_password() -> None:
    """The test vectors of IEEE 802.11, annex J.4.2."""
    found = wifi("IEEE", "password", "DE")
    other = wifi("ThisIsASSID", "ThisIsAPassword", "DE")
    assert found is not None
    assert other is not None
    assert found.key == "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert other.key == "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af"


def test_no_password_is_on_a_card() -> None:
    assert "correct horse" not in json.dumps(boot_files(plan()))


def test_a_new_claim_is_a_new_instance() -> None:
    same = [boot_files(plan())["meta-data"] for _ in range(2)]
    assert same[0] == same[1] != boot_files(plan(claim="ABCDE-FGHJK-MNPQR-STUVW-XYZ24"))["meta-data"]


@pytest.mark.parametrize(
    "change",
    [
        {"kit": "a; reboot"},
        {"kit": "a_b"},
        {"relay": "http://relay"},
        {"relay": "https://relay\nx"},
        {"claim": "$(reboot)"},
        {"fingerprint": "zz"},
        {"zone": "Europe/Berlin; reboot"},
        {"zone": "../../etc/shadow"},
        {"user": "root"},
        {"user": "a b"},
        {"ssh_keys": ("END_OF_KEYS\nreboot",)},
        {"ssh_keys": ("ssh-dss AAAA",)},
        {"settings": {"a=b\n[x]": "1"}},
    ],
)
def test_what_cannot_be_right_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(TableUnusable):
        plan(**change)


@given(value=st.text(max_size=40))
def test_no_setting_breaks_out_of_its_line(value: str) -> None:
    if any(0xD800 <= ord(char) < 0xE000 for char in value):
        return
    text = boot_files(plan(settings={"source.serial.port": value}))["homeside/agent.toml"]
    assert tomllib.loads(text)["source"]["serial"]["port"] == value


@given(network=st.text(st.characters(categories=("L", "N", "P", "Zs")), min_size=1, max_size=8))
def test_any_networks_name_arrives_whole(network: str) -> None:
    if not network.isprintable():
        return
    files = boot_files(plan(wifi=wifi(network, "correct horse", "DE")))
    assert list(yaml.safe_load(files["network-config"])["network"]["wifis"]["wlan0"]["access-points"]) == [network]
    listed = re.search(r"ssid=([\d;]+)", files["homeside/wifi.nmconnection"])
    assert listed is not None
    assert bytes(int(byte) for byte in listed[1].split(";") if byte).decode() == network


def test_a_card_is_made_of_pi_oss_boot_partition_alone(tmp_path: Path) -> None:
    with pytest.raises(ImageUnusable, match="no cmdline"):
        write_card(tmp_path, plan(), None, mounted=True)
    (tmp_path / "cmdline.txt").write_text(CMDLINE)
    for _ in range(2):
        write_card(tmp_path, plan(), None, mounted=True)
    line = (tmp_path / "cmdline.txt").read_text()
    assert line.startswith(CMDLINE.strip() + " systemd.run=/boot/firmware/firstrun.sh ")
    assert line.count("systemd.run=") == 1
    assert line.count("\n") == 1
    assert (tmp_path / "homeside" / "enrol.toml").stat().st_mode & 0o777 == 0o600
    assert tomllib.loads((tmp_path / "homeside" / "enrol.toml").read_text())["claim"] == CLAIM
    assert command_line(line) == line


@pytest.mark.parametrize("keys", [(KEY,), ()])
def test_setup_does_what_it_says_as_often_as_it_is_run(tmp_path: Path, keys: tuple[str, ...]) -> None:
    card, root = tmp_path / "card", tmp_path / "root"
    write_card(card, plan(ssh_keys=keys), None, mounted=False)
    root.mkdir()
    for _ in range(2):
        words = ["sh", str(card / "homeside" / "setup.sh")]
        done = subprocess.run(words, env={"ROOT": str(root), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
    assert (root / "etc/hostname").read_text() == "home-031\n"
    assert str((root / "etc/localtime").readlink()) == "/usr/share/zoneinfo/Europe/Berlin"
    invitation = root / "etc/homeside/enrol.toml"
    assert tomllib.loads(invitation.read_text())["kit"] == "home-031"
    assert invitation.stat().st_mode & 0o777 == 0o600
    assert "PasswordAuthentication no" in (root / "etc/ssh/sshd_config.d/10-homeside.conf").read_text()
    authorized = root / "home/operator/.ssh/authorized_keys"
    assert (authorized.read_text() if keys else authorized.exists()) == (KEY + "\n" if keys else False)
    assert not (card / "homeside" / "enrol.toml").exists(), "the claim stayed on the card"
    assert not (card / "user-data").exists()


def test_both_scripts_are_plain_shell(tmp_path: Path) -> None:
    for name in ("firstrun.sh", "homeside/setup.sh"):
        path = tmp_path / Path(name).name
        path.write_text(boot_files(plan())[name])
        assert subprocess.run(["sh", "-n", str(path)], capture_output=True, text=True).stderr == ""


def test_a_table_names_all_its_wrong_lines() -> None:
    good = read_table("\ufeffkit,tags,serial_port\nhome-1,ward 3;pilot,/dev/ttyACM0\nhome-2,,\n")
    assert [(row.kit, row.tags, row.get("serial_port")) for row in good] == [
        ("home-1", ["ward 3", "pilot"], "/dev/ttyACM0"),
        ("home-2", [], ""),
    ]
    with pytest.raises(TableUnusable, match=r"line 2: .* line 4: .*there already.* line 5: more values"):
        read_table("kit\nbad name\nhome-1\nhome-1\nhome-3,x\n")
    for text, said in (
        ("name\nx\n", "no column kit"),
        ("kit,colour\nx,red\n", "no column is called colour"),
        ("kit\n", "found 0"),
    ):
        with pytest.raises(TableUnusable, match=said):
            read_table(text)


def test_labels_can_be_read_and_scanned(tmp_path: Path) -> None:
    """By poppler and OpenCV, which know nothing of how they were drawn."""
    plans = [plan(kit=f"home-{number:03}") for number in range(26)]
    path = tmp_path / "labels.pdf"
    path.write_bytes(labels(plans))
    assert labels(plans) == path.read_bytes()
    text = subprocess.run(
        [peers.find_peer("pdftotext", "poppler-utils"), str(path), "-"], capture_output=True, text=True
    )
    assert all(one.kit in text.stdout for one in plans)
    assert text.stdout.count("\f") == 2
    words = [
        peers.find_peer("pdftoppm", "poppler-utils"),
        "-r",
        "200",
        "-png",
        "-f",
        "1",
        "-l",
        "1",
        str(path),
        str(tmp_path / "page"),
    ]
    subprocess.run(words, check=True)
    import cv2

    picture = cv2.imread(str(next(tmp_path.glob("page*.png"))))
    high, wide = picture.shape[0] // 8, picture.shape[1] // 3
    for number, one in enumerate(plans[:6]):
        row, column = divmod(number, 3)
        part = picture[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        said, _, _ = cv2.QRCodeDetector().detectAndDecode(part)
        assert said == one.link
    assert parse_qs(plans[0].link.split("?")[1])["claim"] == [CLAIM]
