"""Certificates for one test run, made with the openssl command: a CA, servers' and clients'
certificates, right and wrong ones.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.chaos.server import lacking


class Authority:
    """A CA that lives in `folder`; `file` is its certificate."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        if shutil.which("openssl") is None:
            lacking("TLS scenarios need openssl", "apt-get install openssl")
        self._folder, self._name = folder, name
        self._key = self._new_key(name)
        self.file = folder / f"{name}.crt"
        self._openssl(
            *("req", "-x509", "-new", "-key", str(self._key), "-days", "2"),
            *("-subj", f"/CN=taskq test {name}", "-out", str(self.file)),
        )

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=30)

    def _new_key(self, name: str) -> Path:
        path = self._folder / f"{name}.key"
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
        return path

    def sign(self, name: str, *, names: str = "IP:127.0.0.1", days: int = 2) -> tuple[Path, Path]:
        """(certificate, key) for `names` (a subjectAltName); `days` -1: it ended yesterday."""
        key = self._new_key(name)
        request, extra = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        certificate = self._folder / f"{name}.crt"
        self._openssl("req", "-new", "-key", str(key), "-subj", "/CN=taskq", "-out", str(request))
        extra.write_text(f"subjectAltName={names}\n")
        self._openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", str(days), "-extfile", str(extra)),
            *("-out", str(certificate)),
        )
        return certificate, key
