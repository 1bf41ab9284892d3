"""The package archives the machine is configured with; no address is written in this project."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers.base import ServerUnavailableError

APT_ETC = Path("/etc/apt")
_OWN_ALIASES = {"stable", "oldstable", "testing", "unstable", "sid"}


@dataclass(frozen=True)
class Source:
    """One entry of apt's configuration.

    Attributes:
        uri: Address of the archive.
        suites: Releases named there.
        components: Components named there.
        signed_by: Keyring file, or an empty string.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""

    def with_suites(self, *suites: str) -> Source:
        """The same archive, other releases of it."""
        return Source(self.uri, suites, ("main",), self.signed_by)

    def render(self) -> str:
        """The entry as a deb822 paragraph."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def machine_sources(etc: Path = APT_ETC) -> list[Source]:
    """Read the binary-package entries of the machine's apt configuration."""
    found: list[Source] = []
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            found += _one_line_entries(path.read_text(errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        found += _deb822_entries(path.read_text(errors="replace"))
    return found


def _one_line_entries(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            options, uri, suite, components = match.groups()
            signed = re.search(r"signed-by=(\S+)", options or "", re.I)
            yield Source(uri, (suite,), tuple(components.split()), signed[1] if signed else "")


def _deb822_entries(text: str) -> Iterator[Source]:
    uncommented = "\n".join(x for x in text.splitlines() if not x.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", uncommented):
        fields = {
            name.lower(): value.strip()
            for name, value in re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.M)
        }
        disabled = fields.get("enabled", "").lower() == "no"
        if disabled or "deb" not in fields.get("types", "").split():
            continue
        for uri in fields.get("uris", "").split():
            yield Source(
                uri,
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                fields.get("signed-by", ""),
            )


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    pairs = (x.partition("=") for x in path.read_text().splitlines()) if path.exists() else ()
    return {name: value.strip("\"'") for name, _, value in pairs}


def own_suite_sources() -> list[Source]:
    """The distribution's own archives (release, updates, security), not third-party ones."""
    codename = _os_release().get("VERSION_CODENAME", "")
    names = {codename} - {""} | _OWN_ALIASES
    return [
        source
        for source in machine_sources()
        if "main" in source.components
        and any(s.removesuffix("/updates").split("-")[0] in names for s in source.suites)
        and re.search(r"/(debian|debian-security|ubuntu)\b|^mirror", source.uri)
    ]


def debian_mirror() -> Source:
    """The machine's mirror of the Debian archive.

    Raises:
        ServerUnavailableError: apt-get is missing or no entry looks like such a mirror.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise ServerUnavailableError("apt-get and dpkg are not on this machine")
    for source in own_suite_sources():
        security = any(s.endswith(("-security", "/updates")) for s in source.suites)
        if not security and "ubuntu" not in source.uri:
            return source
    raise ServerUnavailableError(f"no Debian archive mirror is configured in {APT_ETC}")
