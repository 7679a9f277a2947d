"""Publications: whole, signed, accepted by apt, and none at all of media that are not what the catalogue says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from ksm_onboard.depot import publication as making
from ksm_onboard.depot import signing as keys
from ksm_onboard.depot.checking import altered, problems_of
from ksm_onboard.depot.feed import normalised
from ksm_onboard.depot.publication import Depot, MediaRefusedError, build, read_contents
from ksm_onboard.depot.signing import SigningError, ensure_key, read_key, renew_key
from ksm_onboard.planning.depot import DepotItem
from ksm_onboard.progress import Silent

from .conftest import Vendor, item

ROOT = Path(__file__).resolve().parents[3]


def _build(depot: Depot, items: list[DepotItem], now: datetime | None = None) -> tuple[Path, bool]:
    return build(depot, items, Silent(), now or datetime.now(UTC))


def _apt(publication: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """apt as a machine would use it, with folders of its own and nothing but this repository."""
    for name in ("lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/sources.list.d"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    apt = publication / "apt"
    (folder / "etc/sources.list").write_text(
        f"deb [signed-by={apt}/ksm-depot.gpg check-valid-until=yes] file:{apt} ksm main\n"
    )
    options = {
        "Dir::Etc": folder / "etc",
        "Dir::Etc::Parts": "-",
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Check-Date": "true",
        "Acquire::Check-Valid-Until": "true",
    }
    return subprocess.run(
        [words[0], *(f"-o{name}={value}" for name, value in options.items()), *words[1:]],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


def _refused(publication: Path, folder: Path, *then: str) -> str:
    """What the role depot_client makes of it when apt refuses the repository, or the package in it."""
    done = _apt(publication, folder, "apt-get", "update")
    if then:
        assert done.returncode == 0, done.stderr
        done = _apt(publication, folder, "apt-get", "--download-only", "--yes", *then, "ksm-standin-nscale")
    assert done.returncode
    told = yaml.safe_load((ROOT / "roles/depot_client/vars/main.yml").read_text())
    causes = [*told["__depot_client_causes"], {"sign": "", **told["__depot_client_otherwise"]}]
    return str(next(cause["means"] for cause in causes if re.search(cause["sign"], done.stderr)))


def test_apt_accepts_it_and_finds_media_and_stand_ins(depot: Depot, vendor: Vendor, tmp_path: Path) -> None:
    items = [item("bricscad", vendor.linux()), item("nscale", None), item("archikart", vendor.windows())]
    folder, new = _build(depot, items)
    assert new
    updated = _apt(folder, tmp_path / "apt", "apt-get", "update")
    assert updated.returncode == 0, updated.stderr
    shown = _apt(folder, tmp_path / "apt", "apt-cache", "show", "bricscad", "ksm-standin-nscale").stdout
    assert "Description: product" in shown
    assert "Description: Platzhalter (stand-in) for Nscale, NOT the product" in shown
    assert {(p.application, p.package, p.version, p.stand_in) for p in read_contents(folder).packages} == {
        ("bricscad", "bricscad", "24.1", False),
        ("nscale", "ksm-standin-nscale", "0~standin1", True),
        ("archikart", "ksm-archikart", "5.2", False),
    }


def test_apt_refuses_what_is_unsigned_altered_or_out_of_date(
    depot: Depot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And machines say of each what it is, by the signs that the role looks for in apt's words."""
    folder, _ = _build(depot, [item("nscale", None)])
    apt, suite = folder / "apt", folder / "apt/dists/ksm"
    [package] = (apt / "pool").iterdir()
    whole = package.read_bytes()
    package.write_bytes(whole + b"more")
    assert _refused(folder, tmp_path / "package", "install").startswith("what they serve has another checksum")
    package.write_bytes(whole)
    index = suite / "main/binary-amd64/Packages"
    for file in (index, index.with_suffix(".gz"), *(index.parent / "by-hash/SHA256").iterdir()):
        file.write_bytes(file.read_bytes() + b"more")
    assert _refused(folder, tmp_path / "index").startswith("what they serve has another checksum")
    ours = (apt / "ksm-depot.gpg").read_bytes()
    other = Depot(tmp_path / "other", "somebody else", simulated=True)
    ensure_key(other.key_files, other.owner)
    (apt / "ksm-depot.gpg").write_bytes(other.key_files.public.read_bytes())
    assert _refused(folder, tmp_path / "foreign").startswith("what they serve is not signed with the depot's key")
    (apt / "ksm-depot.gpg").write_bytes(ours)
    release = (suite / "InRelease").read_text()
    (suite / "InRelease").write_text(release.replace("KSM Softwaredepot", "KSM Softwaredepot 2"))
    assert _refused(folder, tmp_path / "altered").startswith("what they serve is not signed with the depot's key")
    (suite / "InRelease").unlink()
    (suite / "Release.gpg").unlink()
    assert _refused(folder, tmp_path / "unsigned").startswith("what they serve is not signed with the depot's key")
    monkeypatch.setattr(making, "VALID_FOR", timedelta(days=1))
    outdated, _ = _build(depot, [item("ecodms", None)], datetime.now(UTC) - timedelta(days=3))
    assert _refused(outdated, tmp_path / "outdated") == "what they serve is valid no longer"
    early, _ = _build(depot, [item("ecodms", None)], datetime.now(UTC) + timedelta(days=3))
    assert _refused(early, tmp_path / "early") == "what they serve is not valid yet"


def test_every_file_is_signed_for(depot: Depot, vendor: Vendor) -> None:
    folder, _ = _build(depot, [item("bricscad", vendor.linux()), item("archikart", None, "windows")])
    public = depot.key_files.public
    assert list(altered(folder, public)) == []
    (folder / "stranger").write_text("x")
    [package] = (folder / "nuget").rglob("*.nupkg")
    package.write_bytes(b"other")
    (folder / "media/bricscad/bricscad_24.1_all.deb").unlink()
    assert sorted(problem.partition(": ")[2] for problem in altered(folder, public)) == [
        "media/bricscad/bricscad_24.1_all.deb is missing",
        f"{package.relative_to(folder)} is not what was signed",
        "stranger was signed by nobody",
    ]
    (folder / "SHA256SUMS").write_text("")
    assert "signature is not valid" in next(altered(folder, public))


def test_the_feed_leads_from_its_index_to_the_installer(depot: Depot, vendor: Vendor) -> None:
    media = vendor.windows()
    folder, _ = _build(depot, [item("archikart", media), item("acta", None, "windows")])

    def follow(address: str) -> Path:
        assert address.startswith("https://depot.invalid/nuget/")
        return folder / "nuget" / address.removeprefix("https://depot.invalid/nuget/")

    index = json.loads((folder / "nuget/v3/index.json").read_text())
    resources = {resource["@type"]: resource["@id"] for resource in index["resources"]}
    found = json.loads(follow(resources["SearchQueryService"]).read_text())
    assert [(entry["id"], entry["title"]) for entry in found["data"]] == [
        ("ksm-archikart", "Archikart"),
        ("ksm-standin-acta", "Platzhalter (stand-in) for Acta"),
    ]
    registration = json.loads(follow(resources["RegistrationsBaseUrl"] + "ksm-archikart/index.json").read_text())
    [leaf] = registration["items"][0]["items"]
    base = follow(resources["PackageBaseAddress/3.0.0"])
    assert follow(leaf["packageContent"]) == base / "ksm-archikart/5.2.0/ksm-archikart.5.2.0.nupkg"
    assert json.loads((base / "ksm-archikart/index.json").read_text()) == {"versions": ["5.2.0"]}
    with zipfile.ZipFile(follow(leaf["packageContent"])) as archive:
        assert archive.read("tools/archikart.exe") == b"MZ installer"
        install = archive.read("tools/chocolateyInstall.ps1").decode()
    assert media.sha256 in install and "-SilentArgs '/S'" in install


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("5.2", "5.2.0"), ("5.2.0.0", "5.2.0"), ("05.2.1.7", "5.2.1.7"), ("0.0.1-StandIn1", "0.0.1-standin1")],
)
def test_versions_in_addresses_are_normalised(written: str, wanted: str) -> None:
    assert normalised(written) == wanted


def test_the_same_input_makes_nothing_new(depot: Depot, vendor: Vendor) -> None:
    items = [item("bricscad", vendor.linux()), item("nscale", None)]
    first, _ = _build(depot, items)
    assert _build(depot, items) == (first, False)
    second, new = _build(depot, items, datetime.now(UTC) + timedelta(days=50))
    assert new and second != first
    sums = [(folder / "SHA256SUMS").read_text().splitlines() for folder in (first, second)]
    changed = {line.partition("  ")[2] for line in set(sums[0]) ^ set(sums[1])}
    assert changed == {"contents.json", *(f"apt/dists/ksm/{name}" for name in ("InRelease", "Release", "Release.gpg"))}


def test_an_interruption_leaves_the_publication_before(
    depot: Depot, vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = _build(depot, [item("nscale", None)])

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "write_feed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _build(depot, [item("nscale", None), item("bricscad", vendor.linux())])
    assert list(depot.publications.iterdir()) == [first]
    latest = depot.latest()
    assert latest is not None and latest[0] == first


def test_only_the_newest_two_are_kept(depot: Depot) -> None:
    start = datetime.now(UTC)
    made = [_build(depot, [item("nscale", None)], start + timedelta(days=50 * n))[0] for n in range(3)]
    assert sorted(depot.publications.iterdir()) == made[1:]


# --- what is refused ------------------------------------------------------------------------


def test_media_that_are_not_what_the_catalogue_says_are_all_named_and_nothing_is_published(
    depot: Depot, vendor: Vendor
) -> None:
    right = vendor.linux()
    other = vendor.linux("nscale", "1.0")
    items = [
        item("bricscad", right.model_copy(update={"sha256": "0" * 64})),
        item("nscale", other.model_copy(update={"version": "2.0"})),
        item("loga", vendor.linux("loga", "1", "arm64")),
        item("archikart", vendor.windows(silent=None)),
    ]
    with pytest.raises(MediaRefusedError) as refused:
        _build(depot, items)
    told = str(refused.value)
    assert f"bricscad (linux): wrong checksum: {depot.inbox}/bricscad_24.1_all.deb has SHA-256 {right.sha256}" in told
    assert "nscale (linux)" in told and "is nscale 1.0, catalogue/bau.yaml says nscale 2.0" in told
    assert "is for arm64, machines here run amd64 and all" in told
    assert "archikart (windows): how archikart.exe installs without asking is not known" in told
    assert not depot.publications.exists()


def test_missing_media_are_refused_by_a_real_depot_and_stood_in_for_in_a_lab(depot: Depot, vendor: Vendor) -> None:
    media = vendor.linux()
    (depot.inbox / media.file).unlink()
    items = [item("bricscad", media), item("nscale", None)]
    with pytest.raises(MediaRefusedError, match=r"bricscad \(linux\): missing media: .*bricscad_24.1_all.deb"):
        _build(replace(depot, simulated=False), items)
    assert [p.package for p in read_contents(_build(depot, items)[0]).packages] == [
        "ksm-standin-bricscad",
        "ksm-standin-nscale",
    ]


def test_a_real_depot_holds_no_stand_ins(depot: Depot, vendor: Vendor) -> None:
    folder, _ = _build(replace(depot, simulated=False), [item("bricscad", vendor.linux()), item("nscale", None)])
    assert [(p.package, p.stand_in) for p in read_contents(folder).packages] == [("bricscad", False)]


def test_an_expired_key_signs_nothing_until_it_is_renewed(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_VALIDITY", "seconds=1")
    key = ensure_key(depot.key_files, depot.owner)
    while datetime.now(UTC) < key.expires:
        time.sleep(0.2)
    with pytest.raises(SigningError, match="expired"):
        _build(depot, [item("nscale", None)])
    monkeypatch.undo()
    assert renew_key(depot.key_files).fingerprint == key.fingerprint
    assert _build(depot, [item("nscale", None)])[1]


def test_the_private_key_is_its_owners_alone(depot: Depot) -> None:
    ensure_key(depot.key_files, depot.owner)
    secret = depot.key_files.secret
    assert secret.stat().st_mode & 0o777 == 0o600 and depot.key_files.folder.stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in depot.key_files.public.read_bytes()
    secret.chmod(0o640)
    with pytest.raises(SigningError, match="others can read"):
        _build(depot, [item("nscale", None)])
    depot.key_files.public.write_bytes(b"nonsense")
    with pytest.raises(SigningError, match="cannot read"):
        read_key(depot.key_files)


def test_check_tells_everything_that_is_wrong(depot: Depot, vendor: Vendor) -> None:
    now = datetime.now(UTC)
    assert "there is no signing key" in next(problems_of(depot, [], now))
    media = vendor.linux()
    items = [item("bricscad", media)]
    folder, _ = _build(depot, items)
    assert list(problems_of(depot, items, now)) == []
    vendor.hand_out("stranger.exe", b"")
    (depot.inbox / media.file).write_bytes(b"other")
    (folder / "contents.json").touch()
    told = list(problems_of(depot, items, now + timedelta(days=70)))
    assert len(told) == 3
    assert "wrong checksum" in told[0] and "stranger.exe" in told[1] and "valid until" in told[2]
    assert any("valid no longer" in problem for problem in problems_of(depot, items, now + timedelta(days=91)))
