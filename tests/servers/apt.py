"""Debian packages unpacked into a private directory, without root and without installing.

apt gets sources, lists, cache and status files of its own, so the system's package state is
neither read (beyond the mirror address) nor changed. The program then runs through the dynamic
loader and the libraries it was built with, whatever the machine's own are.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.apt_sources import Source
from tests.servers.base import ServerUnavailableError

_NOT_FOLLOWED = (
    "recommends",
    "suggests",
    "conflicts",
    "breaks",
    "replaces",
    "enhances",
    "pre-depends",
)
# Scripts and their interpreters: large, and nothing we run needs them.
_UNNEEDED = re.compile(r"^(perl|libperl|libgdbm|debconf|cdebconf|lsb-base|init-system-helpers)")


def cache_root() -> Path:
    """Where unpacked servers are kept: ``CDC_SERVER_CACHE`` or below ``~/.cache``."""
    configured = os.environ.get("CDC_SERVER_CACHE")
    return Path(configured or Path.home() / ".cache" / "cdc-assets" / "servers").absolute()


@contextmanager
def exclusive(name: str) -> Iterator[Path]:
    """Hold the cache's lock of this name, so that one process makes an entry and others wait."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    with (root / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root


def unpacked(name: str, sources: Sequence[Source], packages: Sequence[str]) -> Path:
    """Return the directory with the packages and all they depend on, unpacked once.

    Args:
        name: Entry in the cache.
        sources: Archives to take them from.
        packages: Names of the wanted packages.

    Raises:
        ServerUnavailableError: apt could not deliver them.
    """
    target = cache_root() / name
    if target.is_dir():
        return target
    with exclusive(name) as root:
        if target.is_dir():
            return target
        work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=root))
        try:
            _unpack(work, sources, packages)
            (work / "root").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


def _unpack(work: Path, sources: Sequence[Source], packages: Sequence[str]) -> None:
    for part in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / part).mkdir(parents=True)
    (work / "status").touch()
    (work / "apt.sources").write_text("\n".join(source.render() for source in sources))
    # A file given by -c is read last, so it can also clear the machine's hooks (image clean-up,
    # package kit), while the machine's proxy and certificate settings stay in force.
    (work / "apt.conf").write_text(
        f"""#clear APT::Update;
#clear DPkg::Post-Invoke;
Dir::Etc::sourcelist "{work}/apt.sources";
Dir::Etc::sourceparts "/dev/null";
Dir::State::Lists "{work}/lists";
Dir::State::status "{work}/status";
Dir::Cache "{work}/cache";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
"""
    )
    flags = ["-c", str(work / "apt.conf")]
    _run(["apt-get", *flags, "update", "-q"], work)
    skipped = [f"--no-{relation}" for relation in _NOT_FOLLOWED]
    listing = _run(["apt-cache", *flags, "depends", "--recurse", *skipped, *packages], work)
    names = sorted({line for line in listing.splitlines() if re.match(r"\w", line)})
    wanted = [name for name in names if not _UNNEEDED.match(name)]
    _run(["apt-get", *flags, "download", "-q", *wanted], work / "debs")
    for deb in sorted((work / "debs").glob("*.deb")):
        _run(["dpkg", "-x", str(deb), str(work / "root")], work)


def _run(argv: list[str], cwd: Path) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise ServerUnavailableError(f"{argv[0]} {argv[-1]} failed:\n{tail}")
    return done.stdout


@functools.cache
def loader(root: Path) -> tuple[str, ...]:
    """The command prefix that runs a program of an unpacked tree with that tree's libraries."""
    loaders = [
        path
        for base in ("usr/lib", "lib", "usr/lib64", "lib64")
        for pattern in ("*/ld-linux*.so.*", "ld-linux*.so.*", "*/ld64.so.*", "ld64.so.*")
        for path in sorted((root / base).glob(pattern))
        # Some releases ship absolute links here; those lead out of the tree.
        if path.is_file() and path.resolve().is_relative_to(root.resolve())
    ]
    folders = [str(p) for base in ("usr/lib", "lib") for p in (root / base).glob("*-linux-gnu*")]
    folders += [str(p) for p in root.glob("usr/lib/*/private")]
    if not loaders or not folders:
        raise ServerUnavailableError(f"no dynamic loader or no libraries below {root}")
    return (str(loaders[0]), "--library-path", ":".join(folders))
